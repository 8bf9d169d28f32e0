/*
 * hot_table.c
 *		The tables on the path of every order, searched and written without the executor.
 *
 * DESIGN	To set a statement up and to carry rows through it (arrays, function scans, tuplestores,
 *			expressions) costs several times what the table and its indexes need. So rows go
 *			straight to the table. What a user may add to a table works as for a statement:
 *			constraints, indexes, triggers, foreign keys, publications.
 *
 *			Rows are found by the primary key, with a snapshot like that of a statement. Those of a
 *			batch mostly lie side by side, so a search goes on from the row before if it is near.
 *
 * LOCKING	A search waits for nobody; a lock waits for the row, and then has its latest version.
 *			Under REPEATABLE READ and above, a row that somebody changed since is an error instead.
 *
 * LIMITS	Unlike a statement it asks for no permission: SECURITY DEFINER functions own the tables.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "hot_command.h"
#include "hot_insert.h"
#include "hot_table.h"

/* Rows that are inserted together: enough to fill pages, few enough to keep their slots cheap. */
#define ROWS_TOGETHER 64
/*
 * Keys that a scan in ascending order covers, so that it never passes over more of what is gone;
 * and the distance from which on it is cheaper to look anew than to go there row by row.
 */
#define WINDOW_KEYS 256
#define NEAR_KEYS 16

struct HotTable
{
	HotColumns *columns;
	LOCKMODE lock_mode;
	Relation relation;
	TupleTableSlot *current; /* the row that is set */

	/* Rows to be inserted. */
	TupleTableSlot *added[ROWS_TOGETHER]; /* NULL: not made yet */
	int added_count;
	ItemPointerData *places; /* where that of the next is written; NULL: nowhere */
	bool *is_inserted;       /* where it is written of the next; NULL: all are to be inserted */

	/* The search by key; NULL: there was none yet. */
	Relation index;
	IndexScanDesc scan;
	int condition_count; /* of the search */

	/* The scan in ascending order: the key of the row it is at, and the last one it covers. */
	bool is_ascending;
	int64 reached;
	int64 window_end;

	BlockNumber block_count; /* when first asked; the lock keeps it from shrinking. 0: not yet */

	/* The row that is read and its new version; NULL: none was found yet. */
	TupleTableSlot *found;
	TupleTableSlot *changed;

	HotCommand command; /* begun when something is written */
};

HotTable *
hot_table_open(HotColumns *columns, LOCKMODE lock_mode)
{
	HotTable *table = palloc0(sizeof(HotTable));
	Oid schema = get_namespace_oid("order_service", false);
	Oid oid = get_relname_relid(columns->table, schema);

	if (!OidIsValid(oid))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("table \"order_service.%s\" does not exist", columns->table)));
	table->columns = columns;
	table->lock_mode = lock_mode;
	table->relation = table_open(oid, lock_mode);
	if (table->relation->rd_rel->relkind != RELKIND_RELATION)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"order_service.%s\" is not an ordinary table", columns->table)));
	hot_columns_locate(columns, table->relation);
	table->command.relation = table->relation;
	table->command.columns = columns;
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	return table;
}

void
hot_table_add(HotTable *table)
{
	TupleTableSlot *slot;

	if (table->added_count == ROWS_TOGETHER)
		hot_table_insert(table);
	slot = table->added[table->added_count];
	if (slot == NULL)
		slot = table->added[table->added_count] = table_slot_create(table->relation, NULL);
	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, sizeof(bool) * slot->tts_tupleDescriptor->natts);
	table->added_count++;
	table->current = slot;
}

void
hot_table_set(HotTable *table, int column, Datum value)
{
	int index = table->columns->numbers[column] - 1;

	Assert(column < table->columns->count);
	table->current->tts_values[index] = value;
	table->current->tts_isnull[index] = false;
}

void
hot_table_tell_places(HotTable *table, ItemPointerData *places)
{
	table->places = places;
}

void
hot_table_tell_inserted(HotTable *table, bool *is_inserted)
{
	table->is_inserted = is_inserted;
}

void
hot_table_insert(HotTable *table)
{
	int count = table->added_count;

	if (count == 0)
		return;
	hot_command_begin(&table->command, CMD_INSERT, table->is_inserted != NULL);
	for (int i = 0; i < count; i++)
		ExecStoreVirtualTuple(table->added[i]);
	if (table->is_inserted == NULL)
		hot_insert_all(&table->command, table->added, count);
	else
	{
		hot_insert_missing(&table->command, table->added, count, table->is_inserted);
		table->is_inserted += count;
	}
	for (int i = 0; table->places != NULL && i < count; i++)
		*table->places++ = table->added[i]->tts_tid;
	table->added_count = 0;
}

/* Makes ready to look for keys by so many conditions. */
static void
prepare_search(HotTable *table, int condition_count)
{
	table->is_ascending = false;
	if (table->index == NULL)
		table->index = index_open(compat_primary_key(table->relation), table->lock_mode);
	if (table->index->rd_index->indkey.values[0] != table->columns->numbers[0])
		elog(ERROR, "primary key of \"order_service.%s\" is not \"%s\"", table->columns->table,
			 table->columns->names[0]);
	if (table->scan != NULL && table->condition_count == condition_count)
		return;
	if (table->scan != NULL)
		index_endscan(table->scan);
	table->scan =
		compat_index_beginscan(table->relation, table->index, GetActiveSnapshot(), condition_count);
	table->condition_count = condition_count;
}

/* Where rows are found and changed. */
static void
prepare_slots(HotTable *table)
{
	if (table->found != NULL)
		return;
	table->found = table_slot_create(table->relation, NULL);
	table->changed = table_slot_create(table->relation, NULL);
}

bool
hot_table_find(HotTable *table, Datum key)
{
	ScanKeyData condition;

	prepare_slots(table);
	prepare_search(table, 1);
	ScanKeyEntryInitialize(&condition, 0, 1, BTEqualStrategyNumber, InvalidOid,
						   table->index->rd_indcollation[0],
						   table->columns->key == HOT_KEY_TEXT ? F_TEXTEQ : F_INT8EQ, key);
	index_rescan(table->scan, &condition, 1, NULL, 0);
	return index_getnext_slot(table->scan, ForwardScanDirection, table->found);
}

/* Begins a scan of the keys from this one on. */
static void
open_window(HotTable *table, int64 first)
{
	ScanKeyData conditions[2];

	prepare_search(table, 2);
	table->window_end = first > PG_INT64_MAX - WINDOW_KEYS ? PG_INT64_MAX : first + WINDOW_KEYS;
	ScanKeyEntryInitialize(&conditions[0], 0, 1, BTGreaterEqualStrategyNumber, InvalidOid,
						   InvalidOid, F_INT8GE, Int64GetDatum(first));
	ScanKeyEntryInitialize(&conditions[1], 0, 1, BTLessEqualStrategyNumber, InvalidOid, InvalidOid,
						   F_INT8LE, Int64GetDatum(table->window_end));
	index_rescan(table->scan, conditions, 2, NULL, 0);
	table->is_ascending = true;
}

/* Goes on to the next row; behind the last one the whole window is passed. */
static void
step(HotTable *table)
{
	bool is_null;
	bool has_row = index_getnext_slot(table->scan, ForwardScanDirection, table->found);

	table->reached = has_row ? DatumGetInt64(hot_table_get(table, 0, &is_null)) : table->window_end;
}

bool
hot_table_find_ascending(HotTable *table, Datum key)
{
	int64 wanted = DatumGetInt64(key);

	Assert(table->columns->key == HOT_KEY_BIGINT);
	prepare_slots(table);
	if (!table->is_ascending || wanted > table->window_end || wanted - table->reached > NEAR_KEYS)
	{
		open_window(table, wanted);
		step(table);
	}
	while (table->reached < wanted)
		step(table);
	return table->reached == wanted && !TTS_EMPTY(table->found);
}

bool
hot_table_lock(HotTable *table)
{
	ItemPointerData tid = table->found->tts_tid;
	TM_FailureData failure;
	TM_Result result;
	uint8 flags = IsolationUsesXactSnapshot() ? 0 : TUPLE_LOCK_FLAG_FIND_LAST_VERSION;

	PreventCommandIfReadOnly("SELECT FOR UPDATE");
	result = table_tuple_lock(table->relation, &tid, GetActiveSnapshot(), table->found,
							  GetCurrentCommandId(false), LockTupleExclusive, LockWaitBlock, flags,
							  &failure);
	if (result == TM_Ok)
		return true;
	if (IsolationUsesXactSnapshot())
		hot_command_raise_concurrent();
	if (result != TM_Deleted)
		elog(ERROR, "row of \"order_service.%s\" could not be locked: %d", table->columns->table,
			 (int) result);
	return false;
}

ItemPointerData
hot_table_place(HotTable *table)
{
	return table->found->tts_tid;
}

bool
hot_table_find_at(HotTable *table, ItemPointerData place)
{
	prepare_slots(table);
	table->is_ascending = false;
	if (table->block_count == 0)
		table->block_count = RelationGetNumberOfBlocks(table->relation);
	return ItemPointerGetBlockNumber(&place) < table->block_count &&
		   table_tuple_fetch_row_version(table->relation, &place, GetActiveSnapshot(),
										 table->found);
}

Datum
hot_table_get(HotTable *table, int column, bool *is_null)
{
	Assert(column < table->columns->count);
	return slot_getattr(table->found, table->columns->numbers[column], is_null);
}

void
hot_table_change(HotTable *table)
{
	TupleTableSlot *found = table->found;
	TupleTableSlot *changed = table->changed;
	int count = found->tts_tupleDescriptor->natts;

	slot_getallattrs(found);
	ExecClearTuple(changed);
	memcpy(changed->tts_values, found->tts_values, sizeof(Datum) * count);
	memcpy(changed->tts_isnull, found->tts_isnull, sizeof(bool) * count);
	table->current = changed;
}

static void
update_with_triggers(HotTable *table)
{
	EPQState recheck;

	compat_begin_recheck(&recheck, table->command.executor);
	ExecSimpleRelationUpdate(table->command.target, table->command.executor, &recheck, table->found,
							 table->changed);
	EvalPlanQualEnd(&recheck);
}

static void
update_alone(HotTable *table)
{
	CompatUpdateIndexes update_indexes;

	hot_command_check(&table->command, table->changed);
	simple_table_tuple_update(table->relation, &table->found->tts_tid, table->changed,
							  GetActiveSnapshot(), &update_indexes);
	if (compat_is_index_update(update_indexes))
		compat_insert_index_tuples(table->command.target, table->changed, table->command.executor,
								   true, compat_is_summarizing_only(update_indexes));
	ResetPerTupleExprContext(table->command.executor);
}

void
hot_table_update(HotTable *table)
{
	hot_command_begin(&table->command, CMD_UPDATE, false);
	ExecStoreVirtualTuple(table->changed);
	if (table->command.target->ri_TrigDesc == NULL)
		update_alone(table);
	else
		update_with_triggers(table);
}

void
hot_table_close(HotTable *table)
{
	Assert(table->added_count == 0);
	for (int i = 0; i < ROWS_TOGETHER && table->added[i] != NULL; i++)
		ExecDropSingleTupleTableSlot(table->added[i]);
	if (table->scan != NULL)
	{
		index_endscan(table->scan);
		index_close(table->index, NoLock);
	}
	if (table->found != NULL)
	{
		ExecDropSingleTupleTableSlot(table->found);
		ExecDropSingleTupleTableSlot(table->changed);
	}
	PopActiveSnapshot();
	hot_command_end(&table->command);
	table_close(table->relation, NoLock);
	pfree(table);
}
