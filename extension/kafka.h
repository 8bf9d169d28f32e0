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

#include "lib/ilist.h"

#include "verdict.h"

typedef struct Kafka Kafka;

/* How a record travels. */
typedef enum KafkaLane
{
	KAFKA_TOGETHER, /* in a batch with others, which the broker accepts or refuses as a whole */
	KAFKA_ALONE,    /* one at a time: slow, but what is reported was said of this record */
} KafkaLane;

#define KAFKA_LANES 2

/*
 * What becomes of one record. The caller embeds it in what it keeps of the record, sets |reports|,
 * and leaves both in place until the report is there.
 */
typedef struct KafkaTicket
{
	dlist_head *reports; /* where kafka_poll() puts this ticket at the end */
	dlist_node node;     /* in that list */
	Verdict verdict;     /* once it is there */
	const char *error;   /* likewise; static, NULL for VERDICT_DELIVERED */
} KafkaTicket;

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
 * "name=value" separated by spaces. Both texts stay the caller's. ERROR when a property is not
 * accepted.
 */
extern Kafka *kafka_open(const char *brokers, const char *options);

/*
 * Lets the producer look up a topic before the first record for it, which would else wait for that
 * up to a second. Never waits.
 */
extern void kafka_prepare(Kafka *kafka, const char *topic);

/*
 * Hands a record over; everything but the ticket is copied. VERDICT_DELIVERED means only that it
 * was taken and that a report will follow; for any other verdict no report follows and |error| says
 * why, statically. Records keep their order within a lane, not across.
 */
extern Verdict kafka_produce(Kafka *kafka, const KafkaRecord *record, KafkaLane lane,
							 KafkaTicket *ticket, const char **error);

/*
 * Has the records handed over since the last call sent now, instead of when linger.ms has passed;
 * without any it does nothing. Waits a millisecond at most, and serves callbacks as kafka_poll()
 * does.
 */
extern void kafka_push(Kafka *kafka);

/*
 * Delivers what has arrived: tickets to their lists, log lines to the server log. Never waits.
 */
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
