/*
 * hot_insert.c
 *		The rows of a command that inserts, into a table on the path of every order.
 *
 * DESIGN	Rows go to the table together, as COPY has them do: page by page, in one WAL record.
 *			Where something has to see them one by one (triggers), they go there one by one.
 *
 *			Rows that may be there already go one by one, each written in a way that others wait
 *			for and taken back if its key is there: what the executor does for ON CONFLICT. Most are
 *			new, so none is looked for: one that was there leaves a dead row. From then on
 *			HOT_INSERT_CAREFUL_ROWS of the table are looked for first, so that requests which come
 *			again and again leave nothing.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "hot_insert.h"

static void
insert_together(HotCommand *command, TupleTableSlot **slots, int count)
{
	for (int i = 0; i < count; i++)
		hot_command_check(command, slots[i]);
	table_multi_insert(command->relation, slots, count, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < count; i++)
	{
		compat_insert_index_tuples(command->target, slots[i], command->executor, false, false);
		ResetPerTupleExprContext(command->executor);
	}
}

void
hot_insert_all(HotCommand *command, TupleTableSlot **slots, int count)
{
	if (command->target->ri_TrigDesc == NULL)
	{
		insert_together(command, slots, count);
		return;
	}
	/* Triggers see the rows one by one, and may change them. */
	for (int i = 0; i < count; i++)
		ExecSimpleRelationInsert(command->target, command->executor, slots[i]);
}

/* Under REPEATABLE READ and above: a row that is in the way must be one that the snapshot shows. */
static void
check_visible(HotCommand *command, ItemPointer place)
{
	Relation relation = command->relation;
	TupleTableSlot *slot;
	bool is_null;
	TransactionId inserter;

	if (!IsolationUsesXactSnapshot())
		return;
	slot = table_slot_create(relation, NULL);
	if (!table_tuple_fetch_row_version(relation, place, SnapshotAny, slot))
		elog(ERROR, "row in conflict of \"order_service.%s\" is gone", command->columns->table);
	inserter =
		DatumGetTransactionId(slot_getsysattr(slot, MinTransactionIdAttributeNumber, &is_null));
	if (!table_tuple_satisfies_snapshot(relation, slot, GetActiveSnapshot()) &&
		!TransactionIdIsCurrentTransactionId(inserter))
		hot_command_raise_concurrent();
	ExecDropSingleTupleTableSlot(slot);
}

/* True when the key of a row is there, of which nobody can say any more that it will go. */
static bool
is_there(HotCommand *command, TupleTableSlot *slot)
{
	ItemPointerData in_the_way;

	if (compat_check_index_constraints(command->target, slot, command->executor, &in_the_way,
									   command->arbiters))
		return false;
	check_visible(command, &in_the_way);
	command->columns->careful_count = HOT_INSERT_CAREFUL_ROWS;
	return true;
}

/*
 * Writes a row in a way that others wait for, and takes it back if its key is there. |recheck|: the
 * indexes whose deferred constraints are to be checked.
 */
static bool
insert_speculatively(HotCommand *command, TupleTableSlot *slot, List **recheck)
{
	uint32 token = SpeculativeInsertionLockAcquire(GetCurrentTransactionId());
	bool is_conflict = false;

	table_tuple_insert_speculative(command->relation, slot, GetCurrentCommandId(true), 0, NULL,
								   token);
	*recheck = compat_insert_index_tuples_unless(command->target, slot, command->executor,
												 &is_conflict, command->arbiters);
	table_tuple_complete_speculative(command->relation, slot, token, !is_conflict);
	SpeculativeInsertionLockRelease(GetCurrentTransactionId());
	return !is_conflict;
}

/*
 * Inserts a row unless its key is there. Whether it is can only be known when the row is; to look
 * before tells whether to wait, or to do without.
 */
static bool
insert_alone(HotCommand *command, TupleTableSlot *slot)
{
	bool is_careful = command->columns->careful_count > 0;
	List *recheck = NIL;

	if (is_careful)
		command->columns->careful_count--;
	do
	{
		CHECK_FOR_INTERRUPTS();
		if (is_careful && is_there(command, slot))
			return false;
		is_careful = true;
	} while (!insert_speculatively(command, slot, &recheck));
	ExecARInsertTriggers(command->executor, command->target, slot, recheck, NULL);
	return true;
}

static bool
passes_triggers(HotCommand *command, TupleTableSlot *slot)
{
	TriggerDesc *triggers = command->target->ri_TrigDesc;

	return triggers == NULL || !triggers->trig_insert_before_row ||
		   ExecBRInsertTriggers(command->executor, command->target, slot);
}

static bool
insert_one(HotCommand *command, TupleTableSlot *slot)
{
	if (!passes_triggers(command, slot))
		return false;
	hot_command_check(command, slot);
	return insert_alone(command, slot);
}

void
hot_insert_missing(HotCommand *command, TupleTableSlot **slots, int count, bool *is_inserted)
{
	for (int i = 0; i < count; i++)
	{
		is_inserted[i] = insert_one(command, slots[i]);
		ResetPerTupleExprContext(command->executor);
	}
}
