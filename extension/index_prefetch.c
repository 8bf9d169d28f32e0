/*
 * index_prefetch.c
 *		The pages of indexes that rows will be entered on, asked for all at once.
 *
 * DESIGN	Who enters rows one after the other waits for one page after the other. Where millions
 *			of orders have gone before, those of a batch go to as many pages, and after a start of
 *			the server or a change of the leader none of them is in memory. So the way to each
 *			is gone first, down to the page above the leaf; there are a hundred times fewer of
 *			those.
 *
 *			An index that grows at its end needs nothing of this.
 *
 * LIMITS	What is found is a hint. Each page is looked at under its lock, but a page that was
 *			split or deleted meanwhile may lead to the wrong one, which is then read for nothing.
 */
#include "index_prefetch.h" /* first: it must need nothing that is included below */

#include "access/nbtree.h"
#include "catalog/pg_am.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"
#include "utils/spccache.h"

#include "compat.h"

/* Of an inner page: where to go on for |key|, to its left where entries are equal to it. */
static BlockNumber
child(Relation index, BTScanInsert key, Page page)
{
	OffsetNumber low = P_FIRSTDATAKEY(BTPageGetOpaque(page));
	OffsetNumber high = OffsetNumberNext(PageGetMaxOffsetNumber(page));

	/* The first entry counts as lower than any key, so |low| ends behind it. */
	while (low < high)
	{
		OffsetNumber middle = low + (high - low) / 2;

		if (_bt_compare(index, key, page, middle) > 0)
			low = OffsetNumberNext(middle);
		else
			high = middle;
	}
	return BTreeTupleGetDownLink(
		(IndexTuple) PageGetItem(page, PageGetItemId(page, OffsetNumberPrev(low))));
}

/* The leaf of |key|; InvalidBlockNumber where there is no page above it. */
static BlockNumber
find_leaf(Relation index, Relation table, BTScanInsert key)
{
	Buffer buffer = compat_index_root(index, table);
	BlockNumber found = InvalidBlockNumber;

	while (BufferIsValid(buffer))
	{
		Page page = BufferGetPage(buffer);
		BTPageOpaque opaque = BTPageGetOpaque(page);

		if (P_ISLEAF(opaque) || P_IGNORE(opaque))
			break;
		found = child(index, key, page);
		if (opaque->btpo_level == 1)
			break;
		buffer = _bt_relandgetbuf(index, buffer, found, BT_READ);
		found = InvalidBlockNumber;
	}
	if (BufferIsValid(buffer))
		_bt_relbuf(index, buffer);
	return found;
}

/* Makes the row of |slot| what |key| looks for; false if it has NULLs, which are not worth it. */
static bool
set_key(BTScanInsert key, const IndexInfo *info, TupleTableSlot *slot)
{
	for (int i = 0; i < key->keysz; i++)
	{
		bool is_null;
		ScanKey part = &key->scankeys[i];

		part->sk_argument = slot_getattr(slot, info->ii_IndexAttrNumbers[i], &is_null);
		if (is_null)
			return false;
		part->sk_flags &= ~SK_ISNULL;
	}
	return true;
}

static int
prefetch(Relation index, Relation table, const IndexInfo *info, TupleTableSlot **slots, int count)
{
	BTScanInsert key = _bt_mkscankey(index, NULL);
	BlockNumber before = InvalidBlockNumber;
	int asked = 0;

	key->keysz = IndexRelationGetNumberOfKeyAttributes(index);
	for (int i = 0; i < count; i++)
	{
		BlockNumber leaf =
			set_key(key, info, slots[i]) ? find_leaf(index, table, key) : InvalidBlockNumber;

		/* The last one, which the server remembers: the index grows at its end. */
		if (i == 0 && leaf == RelationGetTargetBlock(index))
			break;
		if (BlockNumberIsValid(leaf) && leaf != before &&
			PrefetchBuffer(index, MAIN_FORKNUM, leaf).initiated_io)
			asked++;
		before = leaf;
	}
	pfree(key);
	return asked;
}

/* Whether rows have their places by the values of their columns. */
static bool
is_plain(Relation index, const IndexInfo *info)
{
	return index->rd_rel->relam == BTREE_AM_OID && info->ii_Expressions == NIL &&
		   info->ii_Predicate == NIL;
}

int
index_prefetch(ResultRelInfo *target, TupleTableSlot **slots, int count)
{
	Relation table = target->ri_RelationDesc;
	int asked = 0;

	if (get_tablespace_maintenance_io_concurrency(table->rd_rel->reltablespace) == 0)
		return 0;
	for (int i = 0; i < target->ri_NumIndices; i++)
	{
		Relation index = target->ri_IndexRelationDescs[i];
		const IndexInfo *info = target->ri_IndexRelationInfo[i];

		if (is_plain(index, info))
			asked += prefetch(index, table, info, slots, count);
	}
	return asked;
}
