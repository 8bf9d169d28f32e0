/*
 * hot_command.h
 *		One command that writes a table on the path of every order: it inserts or it updates.
 *
 * What the functions of the executor want to know of a command, without one of their plans.
 */
#ifndef HOT_COMMAND_H
#define HOT_COMMAND_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "utils/relcache.h"

#include "compat.h"
#include "hot_columns.h"

/* Set relation and columns, and the rest to zero. */
typedef struct HotCommand
{
	Relation relation;
	HotColumns *columns;
	CmdType type; /* CMD_UNKNOWN: not begun */
	EState *executor;
	ResultRelInfo *target;
	List *arbiters; /* the primary key, where rows may be there already */
} HotCommand;

/*
 * Begins it unless it has begun, as CMD_INSERT or CMD_UPDATE. |is_arbitrated|: rows are to be
 * inserted that may be there already.
 */
extern void hot_command_begin(HotCommand *command, CmdType type, bool is_arbitrated);

/* Raises an error where a constraint of the table does not admit a row. */
extern void hot_command_check(HotCommand *command, TupleTableSlot *slot);

/* Ends it, if it has begun: triggers fire, and the next command sees its rows. */
extern void hot_command_end(HotCommand *command);

/* Raises the error of REPEATABLE READ and above for a row that somebody changed since. */
pg_noreturn extern void hot_command_raise_concurrent(void);

#endif /* HOT_COMMAND_H */
