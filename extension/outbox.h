/*
 * outbox.h
 *		The table outbox: written by the functions, read and marked by the publisher. Knows no
 *		Kafka.
 *
 * All functions but the first two run within SPI and allocate in the current memory context.
 */
#ifndef OUTBOX_H
#define OUTBOX_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "sent_mark.h"

/* An event to be written. */
typedef struct OutboxEvent
{
	int64 event_id;
	int64 previous_event_id; /* of the same order; 0 for the first */
	int64 order_id;
	int64 account_id;
	int32 order_version;
	int16 event_type;
	const uint8 *payload;
	Size payload_size;
} OutboxEvent;

/* An event as read. Of a row that is not READY only ids, place and status are set. */
typedef struct OutboxRow
{
	int64 event_id;
	ItemPointerData place;
	int16 status;
	int64 previous_event_id;
	int64 order_id;
	int32 order_version;
	int16 event_type;
	int16 attempts; /* that failed by its own fault */
	TimestampTz created_at;
	TimestampTz next_attempt_at; /* 0: at once */
	const char *payload;
	Size payload_size;
} OutboxRow;

/* An event that failed for good, with what is told of it; texts are never NULL. */
typedef struct OutboxDeadLetter
{
	int64 event_id;
	int64 order_id;
	int32 order_version;
	int16 event_type;
	char *payload;
	Size payload_size;
	char *error;
	char *attempts;
	char *failed_at; /* ISO 8601, UTC */
} OutboxDeadLetter;

/*
 * The oid of the table; InvalidOid while the extension does not exist. Needs a transaction, not
 * SPI.
 */
extern Oid outbox_relation(void);

/* Whether that table, which exists, belongs to the extension. Needs a transaction, not SPI. */
extern bool outbox_is_of_extension(Oid outbox);

/*
 * Takes the ids of the next |count| events, one or more; returns the first, the others follow it.
 * The rows of their orders are locked, so ids rise with the versions of each.
 */
extern int64 outbox_take_ids(int count);

/*
 * Writes events, in ascending order of ids, and remembers them for the publisher (after_commit.h).
 */
extern void outbox_append(const OutboxEvent *events, int count);

/*
 * Reads the first |limit| rows with |from| <= event_id < |to|, whatever their status, in the order
 * of ids. Returns their number; |rows| points to them.
 */
extern int outbox_read(int64 from, int64 to, int limit, OutboxRow **rows);

/* Marks those of the events that are READY as SENT. Reorders |marks|. */
extern void outbox_mark_sent(SentMark *marks, int count);

/*
 * Counts a failed attempt at an event that was its own fault. The next is due after |retry_after_s|
 * seconds; after |max_attempts| of them the event is FAILED. Returns whether it is.
 */
extern bool outbox_record_failure(int64 event_id, const char *error, int retry_after_s,
								  int max_attempts);

/*
 * Reads FAILED events that were made more than |age_s| seconds ago, of the first |limit| parked
 * orders above |order_id|, in the order of these. Returns their number; |letters| points to them,
 * in |context|.
 */
extern int outbox_read_dead_letters(int64 order_id, int age_s, int limit, MemoryContext context,
									OutboxDeadLetter **letters);

/* Marks a FAILED event as DLQ, unless requeue() is at it. */
extern void outbox_mark_dead(int64 event_id);

/* The lowest event id that was not handed out before this call. */
extern int64 outbox_end(void);

/*
 * The id below which every event is finished, as last saved; and saving it, unless it is that
 * already.
 */
extern int64 outbox_low_water(void);
extern void outbox_save_low_water(int64 event_id);

/* Takes the saved one back to this id, if it is above it. */
extern void outbox_lower_low_water(int64 event_id);

/*
 * The oldest transaction id that is running anywhere in the cluster, and the next to be given out.
 */
extern uint64 outbox_oldest_running(void);
extern uint64 outbox_next_transaction(void);

#endif /* OUTBOX_H */
