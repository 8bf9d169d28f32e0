/*
 * hot_insert.c
 *		The rows of a command that inserts, into a table on the path of every order.
 *
 * DESIGN	Rows go to the table together, as COPY has them do: page by page, in one WAL record.
 *			Where something has to see them one by one (triggers), they go there one by one.
 *
 *			Rows that may be there already go together too. The entry in the primary key decides:
 *			the index looks for a key and enters the row under one lock, so of two sessions with the
 *			same key the second one is told of the first. It takes its row back, waits until the
 *			first session is done, and if that one rolled back tries again with a row of its own,
 *			written as the executor does it for ON CONFLICT. To write each row in that way costs a
 *			lock and a second WAL record.
 *
 *			Most rows are new, so none is looked for: one that was there leaves a dead row. From
 *			then on HOT_INSERT_CAREFUL_ROWS of the table are looked for first, so that requests
 *			which come again and again leave no more than at their first: each row that was there,
 *			of those that went together.
 *
 * LOCKING	Rows get their entries in the order of their keys. While a session waits at a key, it
 *			has no row there, and no entry of a higher key; its rows of higher keys may lie in the
 *			table, but nobody finds them. So whoever is waited for goes on to a key that is the same
 *			or higher, and sessions that wait in a circle would all wait at one key. Each would have
 *			met a row of the next one there, before the next one took it back and began to wait: so
 *			each would have begun before the next one, all around the circle.
 *
 *			That asks for more than to delete the row. One that a running transaction has inserted
 *			is waited for whether it has deleted it or not; so two sessions that had waited for a
 *			third one would then wait for each other.
 *
 * LIMITS	Who meets a row in the moment before it is taken back waits for the end of that
 *			transaction, though it does not have the key.
 *
 *			Logical decoding passes over a row that was announced as one to be taken back, but not
 *			over one of those that went together: a subscriber would insert it, and stop at the
 *			duplicate. Where a table is decoded, rows are written one by one.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/pg_am.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/instrument.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "hot_insert.h"
#include "index_prefetch.h"

/* Has the pages of the indexes read together, unless those of the rows before were all there. */
static void
warm_up(HotCommand *command, TupleTableSlot **slots, int count)
{
	int asked;

	if (command->columns->is_warm || count < 2)
		return;
	asked = index_prefetch(command->target, slots, count);
	if (asked > 0)
		elog(DEBUG1, "asked for %d pages of the indexes of \"order_service.%s\" together", asked,
			 command->columns->table);
}

static void
write_together(HotCommand *command, TupleTableSlot **slots, int count)
{
	for (int i = 0; i < count; i++)
		hot_command_check(command, slots[i]);
	warm_up(command, slots, count);
	table_multi_insert(command->relation, slots, count, GetCurrentCommandId(true), 0, NULL);
}

static void
insert_together(HotCommand *command, TupleTableSlot **slots, int count)
{
	int64 reads = pgBufferUsage.shared_blks_read;

	write_together(command, slots, count);
	for (int i = 0; i < count; i++)
	{
		compat_insert_index_tuples(command->target, slots[i], command->executor, false, false);
		ResetPerTupleExprContext(command->executor);
	}
	command->columns->is_warm = pgBufferUsage.shared_blks_read == reads;
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

/* Whether the next row is one to be looked for first. */
static bool
take_care(HotCommand *command)
{
	if (command->columns->careful_count == 0)
		return false;
	command->columns->careful_count--;
	return true;
}

/*
 * Makes the entries of a row that lies in the table; false if its key is there, then they are to be
 * dead ones. |recheck|: the indexes whose deferred constraints are to be checked.
 */
static bool
make_entries(HotCommand *command, TupleTableSlot *slot, List **recheck)
{
	bool is_conflict = false;

	*recheck = compat_insert_index_tuples_unless(command->target, slot, command->executor,
												 &is_conflict, command->arbiters);
	return !is_conflict;
}

/* Writes a row in a way that others wait for, and takes it back if its key is there. */
static bool
insert_speculatively(HotCommand *command, TupleTableSlot *slot, List **recheck)
{
	uint32 token = SpeculativeInsertionLockAcquire(GetCurrentTransactionId());
	bool is_new;

	table_tuple_insert_speculative(command->relation, slot, GetCurrentCommandId(true), 0, NULL,
								   token);
	is_new = make_entries(command, slot, recheck);
	table_tuple_complete_speculative(command->relation, slot, token, is_new);
	SpeculativeInsertionLockRelease(GetCurrentTransactionId());
	return is_new;
}

/*
 * Inserts a row unless its key is there. Whether it is can only be known when the row is; to look
 * before tells whether to wait, or to do without.
 */
static bool
insert_alone(HotCommand *command, TupleTableSlot *slot, bool is_careful)
{
	List *recheck = NIL;

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
	return insert_alone(command, slot, take_care(command));
}

/*
 * Takes a row back that this command has written, so that it is gone for everybody at once. The
 * server does so with a speculative row; so it is made one, by a mark in its header. No WAL record
 * has to tell of the mark: the next one, that the row is gone, overwrites it, and where there is no
 * next one there is no commit either.
 */
static void
take_back(HotCommand *command, TupleTableSlot *slot)
{
	uint32 token = SpeculativeInsertionLockAcquire(GetCurrentTransactionId());
	Buffer buffer = ReadBuffer(command->relation, ItemPointerGetBlockNumber(&slot->tts_tid));
	Page page = BufferGetPage(buffer);
	ItemId item;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	item = PageGetItemId(page, ItemPointerGetOffsetNumber(&slot->tts_tid));
	HeapTupleHeaderSetSpeculativeToken((HeapTupleHeader) PageGetItem(page, item), token);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	/* Pinned until then: the page is not marked as changed, and must not be read anew. */
	table_tuple_complete_speculative(command->relation, slot, token, false);
	ReleaseBuffer(buffer);
	SpeculativeInsertionLockRelease(GetCurrentTransactionId());
}

/* Enters a row that lies in the table, unless its key is there; then the row goes. */
static bool
enter_missing(HotCommand *command, TupleTableSlot *slot)
{
	List *recheck;

	if (take_care(command) && is_there(command, slot))
	{
		take_back(command, slot);
		return false;
	}
	if (make_entries(command, slot, &recheck))
		return true;
	take_back(command, slot);
	return insert_alone(command, slot, true);
}

/*
 * Whether others would meet a row that is to be taken back elsewhere than at its key: in a further
 * unique index, whose entries are made in no order.
 */
static bool
has_further_constraints(HotCommand *command)
{
	for (int i = 0; i < command->target->ri_NumIndices; i++)
	{
		Form_pg_index index = command->target->ri_IndexRelationDescs[i]->rd_index;

		if ((index->indisunique || index->indisexclusion) &&
			!list_member_oid(command->arbiters, index->indexrelid))
			return true;
	}
	return false;
}

/* Whether rows can be taken back: only the table and its indexes learn of them. */
static bool
can_take_back(HotCommand *command)
{
	return command->target->ri_TrigDesc == NULL &&
		   command->relation->rd_rel->relam == HEAP_TABLE_AM_OID &&
		   !RelationIsLogicallyLogged(command->relation) && !has_further_constraints(command);
}

void
hot_insert_missing(HotCommand *command, TupleTableSlot **slots, int count, bool *is_inserted)
{
	bool is_together = command->columns->careful_count == 0 && can_take_back(command);
	int64 reads = pgBufferUsage.shared_blks_read;

	if (is_together)
		write_together(command, slots, count);
	for (int i = 0; i < count; i++)
	{
		is_inserted[i] =
			is_together ? enter_missing(command, slots[i]) : insert_one(command, slots[i]);
		ResetPerTupleExprContext(command->executor);
	}
	command->columns->is_warm = pgBufferUsage.shared_blks_read == reads;
}
