/*
 * ids.c
 *		Order and event ids.
 *
 * DESIGN	(timeline - 1) << 44 | sequence value. A sequence alone hands out the same values again
 *			when a failover or a point-in-time recovery loses its last steps; Account and Kafka,
 *			which do not go back with the database, would then take a new order for one they know.
 *			Each of the two starts a new timeline of the WAL, so the ids jump instead. The first
 *			timeline counts 1, 2, 3, ...
 *
 *			A clock plays no part: ids rise however it is set.
 *
 *			nextval() gives one value a call; those of a batch are taken in one step of the same
 *			sequence, on its page, with the same WAL record. Whoever calls nextval() meanwhile does
 *			no harm, as long as the sequence has no cache.
 *
 * FAILURE	The record says more values than were taken, so that not each step needs one. After a
 *			crash the rest of them is skipped, as with nextval().
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "catalog/namespace.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "bounds.h"
#include "compat.h"
#include "ids.h"

/* Values that the WAL knows as taken before they are; nextval() has as many. */
#define LOGGED_AHEAD 32

Oid
ids_sequence(const char *name)
{
	Oid schema = get_namespace_oid("order_service", false);
	Oid sequence = get_relname_relid(name, schema);

	if (!OidIsValid(sequence))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("sequence \"order_service.%s\" does not exist", name)));
	return sequence;
}

/* Tells the WAL what the sequence's row, on its page, says. */
static void
log_row(Relation sequence, Buffer buffer, HeapTupleHeader header, Size size)
{
	xl_seq_rec record = compat_sequence_record(sequence);
	XLogRecPtr end;

	XLogBeginInsert();
	XLogRegisterBuffer(0, buffer, REGBUF_WILL_INIT);
	XLogRegisterData((char *) &record, sizeof(record));
	XLogRegisterData((char *) header, (int) size);
	end = XLogInsert(RM_SEQ_ID, XLOG_SEQ_LOG);
	PageSetLSN(BufferGetPage(buffer), end);
}

/*
 * Moves the sequence on by |count|; returns the first of these values. After a checkpoint the WAL
 * is to say anew where it is: recovery begins there.
 */
static int64
advance(Relation sequence, Buffer buffer, int count)
{
	Page page = BufferGetPage(buffer);
	ItemId item = PageGetItemId(page, FirstOffsetNumber);
	HeapTupleHeader header = (HeapTupleHeader) PageGetItem(page, item);
	Form_pg_sequence_data state = (Form_pg_sequence_data) ((char *) header + header->t_hoff);
	int64 first = state->last_value + (state->is_called ? 1 : 0);
	int64 last = first + count - 1;
	int64 ahead = state->log_cnt - count;
	bool is_logged = ahead < 0 || PageGetLSN(page) <= GetRedoRecPtr();

	(void) ids_compose(last);
	START_CRIT_SECTION();
	MarkBufferDirty(buffer);
	state->is_called = true;
	if (is_logged)
	{
		ahead = LOGGED_AHEAD;
		state->last_value = last + ahead;
		state->log_cnt = 0;
		if (RelationNeedsWAL(sequence))
			log_row(sequence, buffer, header, ItemIdGetLength(item));
	}
	state->last_value = last;
	state->log_cnt = ahead;
	END_CRIT_SECTION();
	return first;
}

int64
ids_take(Oid sequence_oid, int count)
{
	Relation sequence;
	Buffer buffer;
	int64 first;

	PreventCommandIfReadOnly("nextval()");
	(void) GetTopTransactionId();
	sequence = relation_open(sequence_oid, RowExclusiveLock);
	if (sequence->rd_rel->relkind != RELKIND_SEQUENCE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not a sequence", RelationGetRelationName(sequence))));
	buffer = ReadBuffer(sequence, 0);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	first = advance(sequence, buffer, count);
	UnlockReleaseBuffer(buffer);
	relation_close(sequence, NoLock);
	return ids_compose(first);
}

int64
ids_compose(int64 value)
{
	int64 timeline = (int64) GetWALInsertionTimeLine() - 1;

	if (value < 0 || value >> ID_SEQUENCE_BITS != 0 ||
		timeline > (PG_INT64_MAX >> ID_SEQUENCE_BITS))
		ereport(ERROR, (errcode(ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED),
						errmsg("ids of order_service are exhausted")));
	return (timeline << ID_SEQUENCE_BITS) | value;
}

int64
ids_timeline(int64 id)
{
	return id >> ID_SEQUENCE_BITS;
}

int
ids_compare(const void *left, const void *right)
{
	int64 a = *(const int64 *) left;
	int64 b = *(const int64 *) right;

	return a < b ? -1 : a > b;
}
