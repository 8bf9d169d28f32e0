/*
 * hot_command.c
 *		One command that writes a table on the path of every order: it inserts or it updates.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/rel.h"

#include "compat.h"
#include "hot_command.h"

void
hot_command_begin(HotCommand *command, CmdType type, bool is_arbitrated)
{
	Assert(command->type == CMD_UNKNOWN || command->type == type);
	if (command->type == type)
		return;
	PreventCommandIfReadOnly(type == CMD_INSERT ? "INSERT" : "UPDATE");
	PreventCommandIfParallelMode(type == CMD_INSERT ? "INSERT" : "UPDATE");
	CheckCmdReplicaIdentity(command->relation, type);
	if (type == CMD_INSERT)
		hot_columns_check_all(command->columns, command->relation);
	command->type = type;
	command->executor = CreateExecutorState();
	command->executor->es_output_cid = GetCurrentCommandId(true);
	command->target = makeNode(ResultRelInfo);
	InitResultRelInfo(command->target, command->relation, 0, NULL, 0);
	ExecOpenIndices(command->target, is_arbitrated);
	if (is_arbitrated)
		command->arbiters = list_make1_oid(compat_primary_key(command->relation));
	command->executor->es_opened_result_relations = list_make1(command->target); /* for triggers */
	if (command->target->ri_TrigDesc == NULL)
		return;
	AfterTriggerBeginQuery();
	if (type == CMD_INSERT)
		ExecBSInsertTriggers(command->executor, command->target);
	else
		ExecBSUpdateTriggers(command->executor, command->target);
}

void
hot_command_check(HotCommand *command, TupleTableSlot *slot)
{
	if (RelationGetDescr(command->relation)->constr != NULL)
		ExecConstraints(command->target, slot, command->executor);
}

void
hot_command_end(HotCommand *command)
{
	if (command->type == CMD_UNKNOWN)
		return;
	if (command->target->ri_TrigDesc != NULL)
	{
		if (command->type == CMD_INSERT)
			ExecASInsertTriggers(command->executor, command->target, NULL);
		else
			ExecASUpdateTriggers(command->executor, command->target, NULL);
		AfterTriggerEndQuery(command->executor);
	}
	ExecResetTupleTable(command->executor->es_tupleTable, false);
	ExecCloseResultRelations(command->executor);
	FreeExecutorState(command->executor);
	CommandCounterIncrement();
}

void
hot_command_raise_concurrent(void)
{
	ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					errmsg("could not serialize access due to concurrent update")));
}
