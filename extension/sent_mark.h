/*
 * sent_mark.h
 *		The mark on the row of an event that says it was sent, written where the row is.
 */
#ifndef SENT_MARK_H
#define SENT_MARK_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"

/* An event that was acknowledged, and the place at which its committed row was seen. */
typedef struct SentMark
{
	int64 event_id;
	ItemPointerData place;
} SentMark;

/*
 * Makes READY rows SENT, at |now|. |outbox| is the table outbox, locked by RowExclusiveLock until
 * the end of the transaction. Returns how many rows are left to an UPDATE, which come first in
 * |marks| then: those that are not at their place, or that somebody has locked or changed; all of
 * them when the table has something that must learn of a change: an index, a trigger, a check, a
 * subscriber (wal_level = logical). Reorders |marks|.
 */
extern int sent_mark_write(Relation outbox, SentMark *marks, int count, TimestampTz now);

#endif /* SENT_MARK_H */
