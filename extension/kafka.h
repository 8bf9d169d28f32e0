/*
 * kafka.h
 *		A producer of Kafka records. Knows no table; the only file behind it includes rdkafka.h.
 *
 * One producer per process, used by its main thread only, and only in a process that opened it
 * itself: threads do not survive a fork. There is no close: the process ends instead (see kafka.c).
 */
#ifndef KAFKA_H
#define KAFKA_H

#include "postgres.h"

typedef struct Kafka Kafka;

typedef enum KafkaOutcome
{
	KAFKA_DELIVERED,     /* all in-sync replicas have it */
	KAFKA_NOT_DELIVERED, /* not for a fault of its own: try again */
	KAFKA_REFUSED,       /* the record itself cannot be accepted: too large, not allowed, ... */
} KafkaOutcome;

/*
 * Tells what became of a record. |record| is what kafka_produce() was given. Called within
 * kafka_poll(), through frames of a foreign library: it must not raise an error, so it must not
 * allocate. |error| is static, NULL for KAFKA_DELIVERED.
 */
typedef void (*KafkaReportCallback)(void *record, KafkaOutcome outcome, const char *error,
									void *context);

typedef struct KafkaHeader
{
	const char *name;
	const char *value;
} KafkaHeader;

typedef struct KafkaRecord
{
	const char *topic;
	const char *key;
	const char *payload;
	Size payload_size;
	const KafkaHeader *headers;
	int header_count;
} KafkaRecord;

/*
 * Opens a producer: idempotent, acknowledged by all in-sync replicas, partitioned by key as Java
 * clients do, without a time limit of its own. |options| are further librdkafka properties,
 * "name=value" separated by spaces. ERROR when a property is not accepted.
 */
extern Kafka *kafka_open(const char *brokers, const char *options, KafkaReportCallback report,
						 void *context);

/*
 * Lets the producer look up a topic before the first record for it, which would else wait for that
 * up to a second. Never waits.
 */
extern void kafka_prepare(Kafka *kafka, const char *topic);

/*
 * Hands a record over; everything is copied. KAFKA_DELIVERED means only that it was taken and a
 * report will follow; for the other outcomes no report follows and |error| says why, statically.
 */
extern KafkaOutcome kafka_produce(Kafka *kafka, const KafkaRecord *record, void *reference,
								  const char **error);

/* Delivers what has arrived: reports to the callback, log lines to the server log. Never waits. */
extern void kafka_poll(Kafka *kafka);

/* A descriptor that becomes readable when kafka_poll() has something to do. */
extern int kafka_descriptor(const Kafka *kafka);

/* True while no broker can be reached; cleared by the next delivery. */
extern bool kafka_is_down(const Kafka *kafka);

/* True when the producer can never produce again: the process must start anew. */
extern bool kafka_is_fatal(const Kafka *kafka);

/*
 * The newest error the producer reported; "" when there was none. Valid until the next
 * kafka_poll().
 */
extern const char *kafka_error(const Kafka *kafka);

#endif /* KAFKA_H */
