/*
 * after_commit.h
 *		Hints: events of a committed transaction, handed to the publisher through the ring.
 *
 * A hint makes publishing fast; the row in the outbox makes it certain. A hint that is lost costs a
 * look at the table.
 */
#ifndef AFTER_COMMIT_H
#define AFTER_COMMIT_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "storage/itemptr.h"

/* One record of the ring: this head, then |event_count| times a HintEvent with its payload. */
typedef struct HintHead
{
	XLogRecPtr
		commit_end; /* WAL position behind the commit: publish only what is flushed up to here */
	TimestampTz committed_at;
	Oid outbox;         /* the outbox table the events are in */
	uint32 event_count; /* > 0 */
} HintHead;

typedef struct HintEvent
{
	int64 event_id;
	int64 previous_event_id; /* of the same order; 0 for the first */
	int64 order_id;
	int32 order_version;
	uint16 event_type;
	uint16 payload_size;   /* the payload follows, padded to a multiple of 8 bytes */
	ItemPointerData place; /* of its row */
} HintEvent;

#define HINT_EVENT_SIZE(payload_size) (sizeof(HintEvent) + TYPEALIGN(8, (payload_size)))

/* Installs the callbacks; to be called once per process, from _PG_init(). */
extern void after_commit_init(void);

/*
 * Remembers an event of the running transaction, to be hinted at when it commits. Dropped with the
 * subtransaction or transaction that rolls back. |payload| is copied.
 */
extern void after_commit_add(Oid outbox, const HintEvent *event, const void *payload);

/*
 * Has the publisher read the table when the running transaction has committed: some of its changes
 * have no hint.
 */
extern void after_commit_request_catch_up(Oid outbox);

#endif /* AFTER_COMMIT_H */
