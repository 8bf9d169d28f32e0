/*
 * database.c
 *		How a publisher comes to its database, and makes room in it.
 *
 * DESIGN	A connected publisher is a session, and DROP DATABASE, ALTER DATABASE ... RENAME TO or
 *			SET TABLESPACE and CREATE DATABASE ... TEMPLATE want a database without any. So whoever
 *			runs one of these asks the publisher to leave first. It stays outside until the
 *			statement has ended; PostgreSQL waits 5 s for sessions to go, which is enough.
 *
 *			Outside it is connected to no database and looks every second for the one it is named
 *			after. A process that has been connected to none cannot connect to one, so it ends when
 *			the time has come, and its successor connects.
 *
 * FAILURE	Who asked and died has the publisher back after AWAY_MS_MAX. A connection that fails
 *			ends the process; that it was tried is remembered, so the next one looks from outside
 *			whether the database is there.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/timestamp.h"

#include "bounds.h"
#include "compat.h"
#include "database.h"
#include "worker.h"

static ProcessUtility_hook_type prev_process_utility = NULL;

bool
database_is_wanted(Channel *channel)
{
	return (int64) pg_atomic_read_u64(&channel->wanted_until) > GetCurrentTimestamp();
}

void
database_leave(void)
{
	worker_start_anew("its database is wanted without sessions");
}

static bool
exists(const char *database)
{
	bool result;

	StartTransactionCommand();
	result = OidIsValid(get_database_oid(database, true));
	CommitTransactionCommand();
	return result;
}

static _Noreturn void
wait_outside(Channel *channel)
{
	ereport(LOG, (errmsg("order_service publisher waits for database \"%s\"", channel->database)));
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	pg_atomic_write_u32(&channel->state, PUBLISHER_ABSENT);
	pgstat_report_activity(STATE_IDLE, "database absent or wanted by others");
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		worker_end_if_asked();
		(void) pg_atomic_exchange_u32(&channel->is_woken, 0);
		if (!database_is_wanted(channel) && exists(channel->database))
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ABSENT_SLEEP_MS,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	pg_atomic_write_u32(&channel->is_connecting, 0);
	worker_start_anew("its database is there");
}

void
database_connect(Channel *channel)
{
	if (database_is_wanted(channel) || pg_atomic_read_u32(&channel->is_connecting) != 0)
		wait_outside(channel);
	pg_atomic_write_u32(&channel->is_connecting, 1);
	BackgroundWorkerInitializeConnection(channel->database, NULL, 0);
	pg_atomic_write_u32(&channel->is_connecting, 0);
}

/* The value of an option that names something, or NULL. */
static const char *
option_value(List *options, const char *name)
{
	ListCell *cell;

	foreach(cell, options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return NULL;
}

/* The database that a statement wants without sessions, or NULL. */
static const char *
wanted_database(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			return castNode(DropdbStmt, statement)->dbname;
		case T_CreatedbStmt:
			return option_value(castNode(CreatedbStmt, statement)->options, "template");
		case T_RenameStmt:
			if (castNode(RenameStmt, statement)->renameType == OBJECT_DATABASE)
				return castNode(RenameStmt, statement)->subname;
			return NULL;
		case T_AlterDatabaseStmt:
			if (option_value(castNode(AlterDatabaseStmt, statement)->options, "tablespace") != NULL)
				return castNode(AlterDatabaseStmt, statement)->dbname;
			return NULL;
		default:
			return NULL;
	}
}

/* The channel of the publisher that has to make room for a statement, or NULL. */
static Channel *
channel_in_the_way(Node *statement)
{
	const char *database = shared_channel_count() > 0 ? wanted_database(statement) : NULL;
	Oid database_id;

	if (database == NULL)
		return NULL;
	/* Nobody else will get what he wants, so nobody else may send a publisher away. */
	database_id = get_database_oid(database, true);
	if (!OidIsValid(database_id) || !compat_owns_database(database_id, GetUserId()))
		return NULL;
	for (int i = 0; i < shared_channel_count(); i++)
	{
		if (strcmp(shared_channel(i)->database, database) == 0)
			return shared_channel(i);
	}
	return NULL;
}

static void
want(Channel *channel, TimestampTz until)
{
	pg_atomic_write_u64(&channel->wanted_until, (uint64) until);
	shared_wake(channel);
}

static void
process_utility(PlannedStmt *statement, const char *query, bool is_read_only_tree,
				ProcessUtilityContext context, ParamListInfo parameters,
				QueryEnvironment *environment, DestReceiver *destination,
				QueryCompletion *completion)
{
	ProcessUtility_hook_type next =
		prev_process_utility != NULL ? prev_process_utility : standard_ProcessUtility;
	Channel *channel = NULL;

	/* None of these statements runs in a function or a transaction block. */
	if (context == PROCESS_UTILITY_TOPLEVEL)
		channel = channel_in_the_way(statement->utilityStmt);
	if (channel == NULL)
	{
		next(statement, query, is_read_only_tree, context, parameters, environment, destination,
			 completion);
		return;
	}
	want(channel, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), AWAY_MS_MAX));
	PG_TRY();
	{
		next(statement, query, is_read_only_tree, context, parameters, environment, destination,
			 completion);
	}
	PG_FINALLY();
	{
		want(channel, 0);
	}
	PG_END_TRY();
}

void
database_init(void)
{
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
