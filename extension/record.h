/*
 * record.h
 *		The Kafka record of an event: its key, value and headers, in the form that the settings ask
 *		for.
 */
#ifndef RECORD_H
#define RECORD_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "kafka.h"

#define RECORD_HEADERS_MAX 12

/* What is needed of an event. */
typedef struct RecordEvent
{
	int64 order_id;
	int32 order_version;
	int16 event_type;
	const char *payload; /* as the outbox has it */
	Size payload_size;
} RecordEvent;

/* A record with the memory that it points to; must not be moved once it is set. */
typedef struct EventRecord
{
	KafkaRecord record;
	KafkaHeader headers[RECORD_HEADERS_MAX];
	char key[MAXINT8LEN + 1];
	char id[2 * (MAXINT8LEN + 1)];
	char source[3 * NAMEDATALEN];
	StringInfoData json; /* data is NULL unless it is the value */
} EventRecord;

/*
 * Sets a record up as order_service.event_format, event_key and event_headers say at this moment.
 * |database| is the source of the event; |topic| and |event| stay the caller's and in place. False
 * when the payload would have to be read for that and is not an event; |error| then says so,
 * statically, and there is nothing to release.
 */
extern bool record_set(EventRecord *result, const char *topic, const char *database,
					   const RecordEvent *event, const char **error);

/* Adds a header; there is room for RECORD_HEADERS_MAX in all. Strings stay the caller's. */
extern void record_add_header(EventRecord *record, const char *name, const char *value);

/* Frees what a record has of its own; kafka_produce() has copied it. */
extern void record_release(EventRecord *record);

#endif /* RECORD_H */
