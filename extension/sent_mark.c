/*
 * sent_mark.c
 *		The mark on the row of an event that says it was sent, written where the row is.
 *
 * DESIGN	That an event was sent is a fact of Kafka's, which no rollback takes back and which is
 *			true in every snapshot. So it needs no new version of the row: status and sent_at are
 *			overwritten in place, as the server itself does with counts in pg_class. An UPDATE
 *			writes the whole event to the page once more, wants room for it there and leaves a dead
 *			row to be pruned; here all rows of a page take one WAL record of some twenty bytes each,
 *			and the table is as large as its events.
 *
 *			The WAL record is a generic one, which knows pages and no rows: crash recovery, standbys
 *			and pg_rewind take it, logical decoding does not see it.
 *
 * LOCKING	The buffer is locked exclusively, so nobody looks whether the row is visible, or is
 *			about to change it, meanwhile. A reader that has looked holds only a pin, and may find
 *			the one column new and the other old; each is aligned and written at once. A row with
 *			an xmax is left to an UPDATE, which waits for whoever it is.
 *
 * FAILURE	A mark that a crash loses is a duplicate, as always. The record is written like an
 *			asynchronous commit: the WAL writer flushes it.
 *
 * LIMITS	Somebody who changes a READY row by hand, and has read it before it was marked, writes
 *			READY again. The event was sent all the same, and is not sent again once the low-water
 *			mark is above it.
 */
#include "postgres.h"

#include "access/generic_xlog.h"
#include "access/htup_details.h"
#include "catalog/catalog.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "utils/rel.h"

#include "rules.h"
#include "sent_mark.h"

/* What a row begins with; none of it can be NULL, so it lies in each row as it does here. */
typedef struct RowHead
{
	int64 event_id;
	int64 previous_event_id;
	int64 order_id;
	int64 account_id;
	TimestampTz created_at;
	TimestampTz sent_at;
	int32 order_version;
	int16 event_type;
	int16 status;
} RowHead;

static const struct
{
	const char *name;
	Oid type;
} head_columns[] = {
	{"event_id", INT8OID},      {"previous_event_id", INT8OID}, {"order_id", INT8OID},
	{"account_id", INT8OID},    {"created_at", TIMESTAMPTZOID}, {"sent_at", TIMESTAMPTZOID},
	{"order_version", INT4OID}, {"event_type", INT2OID},        {"status", INT2OID},
};

static bool
has_head(TupleDesc description)
{
	if (description->natts < (int) lengthof(head_columns))
		return false;
	for (int i = 0; i < (int) lengthof(head_columns); i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(description, i);

		if (attribute->attisdropped || !attribute->attnotnull ||
			attribute->atttypid != head_columns[i].type ||
			strcmp(NameStr(attribute->attname), head_columns[i].name) != 0)
			return false;
	}
	return true;
}

/* Whether nothing but the rows themselves has to learn that they change. */
static bool
is_plain(Relation outbox)
{
	TupleConstr *constraints = RelationGetDescr(outbox)->constr;
	List *indexes = RelationGetIndexList(outbox);
	bool is_only_primary_key = list_length(indexes) == 1;

	list_free(indexes);
	return is_only_primary_key && outbox->trigdesc == NULL && !RelationIsLogicallyLogged(outbox) &&
		   outbox->rd_rel->relam == HEAP_TABLE_AM_OID &&
		   (constraints == NULL ||
			(constraints->num_check == 0 && !constraints->has_generated_stored)) &&
		   has_head(RelationGetDescr(outbox));
}

static int
compare_places(const void *left, const void *right)
{
	const SentMark *a = left;
	const SentMark *b = right;

	return ItemPointerCompare(unconstify(ItemPointerData *, &a->place),
							  unconstify(ItemPointerData *, &b->place));
}

/*
 * The row of an event on its page; NULL if it is not there, or somebody is at it. No other row has
 * its id, and it is known to be committed: that is how the event came into hand.
 */
static RowHead *
find_row(Page page, const SentMark *mark)
{
	OffsetNumber offset = ItemPointerGetOffsetNumberNoCheck(&mark->place);
	ItemId item;
	HeapTupleHeader row;
	RowHead *head;

	if (offset < FirstOffsetNumber || offset > PageGetMaxOffsetNumber(page))
		return NULL;
	item = PageGetItemId(page, offset);
	if (!ItemIdIsNormal(item))
		return NULL;
	row = (HeapTupleHeader) PageGetItem(page, item);
	if (HeapTupleHeaderGetNatts(row) < (int) lengthof(head_columns) ||
		(row->t_infomask & HEAP_XMAX_INVALID) == 0)
		return NULL;
	head = (RowHead *) ((char *) row + row->t_hoff);
	return head->event_id == mark->event_id ? head : NULL;
}

/* Marks rows of one page. Returns how many could not be, which come first in |marks| then. */
static int
mark_page(Relation outbox, SentMark *marks, int count, TimestampTz now)
{
	Buffer buffer = ReadBuffer(outbox, ItemPointerGetBlockNumber(&marks[0].place));
	bool is_changed = false;
	int rest_count = 0;
	GenericXLogState *wal;
	Page page;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	wal = GenericXLogStart(outbox);
	page = GenericXLogRegisterBuffer(wal, buffer, 0);
	for (int i = 0; i < count; i++)
	{
		RowHead *row = find_row(page, &marks[i]);

		if (row == NULL)
			marks[rest_count++] = marks[i];
		else if (row->status == OUTBOX_READY)
		{
			row->status = OUTBOX_SENT;
			row->sent_at = now;
			is_changed = true;
		}
	}
	if (is_changed)
		(void) GenericXLogFinish(wal);
	else
		GenericXLogAbort(wal);
	UnlockReleaseBuffer(buffer);
	return rest_count;
}

int
sent_mark_write(Relation outbox, SentMark *marks, int count, TimestampTz now)
{
	BlockNumber block_count;
	int rest_count = 0;
	int from = 0;

	if (!is_plain(outbox))
		return count;
	block_count = RelationGetNumberOfBlocks(outbox);
	qsort(marks, count, sizeof(SentMark), compare_places);
	/* A table that was rewritten has other places; what lies behind its end is last. */
	while (from < count)
	{
		BlockNumber block = ItemPointerGetBlockNumberNoCheck(&marks[from].place);
		int to = from + 1;
		int kept;

		while (to < count && ItemPointerGetBlockNumberNoCheck(&marks[to].place) == block)
			to++;
		kept = block < block_count ? mark_page(outbox, &marks[from], to - from, now) : to - from;
		memmove(&marks[rest_count], &marks[from], sizeof(SentMark) * kept);
		rest_count += kept;
		from = to;
	}
	return rest_count;
}
