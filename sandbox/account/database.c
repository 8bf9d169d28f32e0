/*
 * database.c
 *		SQLite for a program that has it for itself.
 *
 * DESIGN	Statements are prepared once. The lock is taken at the start and kept, so that a second
 *			process on the same file ends at once instead of counting next to us.
 *
 * LIMITS	The size of the database: what exceeds it fails its transaction (SQLITE_FULL).
 *
 * FAILURE	Write-ahead log: after a crash of the process all committed transactions are there;
 *			after one of the machine they are with |is_durable|, and without it the file may be
 *			damaged. Then nothing waits for the disk, and nothing makes others wait for it: writing
 *			the log back, twice a second at 1,000 reservations/s, held up PostgreSQL's commits on
 *			the same disk for 15 ms each time. Whatever SQLite reports inside a transaction fails
 *			it as a whole: SQLite may have rolled it back already.
 */
#include "database.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/log.h"

/* Pages kept in memory, of a database in a file. */
#define CACHE_KIB 65536

struct Database
{
	sqlite3 *handle;
	const DatabaseDesign *design;
	sqlite3_stmt **statements;
	bool is_in_transaction;
	bool has_failed;
};

static void
database_fail(Database *database, const char *sql)
{
	database->has_failed = true;
	log_event(LOG_ERROR, "database failed", LOG_TEXT("error", sqlite3_errmsg(database->handle)),
			  LOG_TEXT("statement", sql));
}

static bool
database_execute(Database *database, const char *sql)
{
	if (sqlite3_exec(database->handle, sql, NULL, NULL, NULL) == SQLITE_OK)
		return true;
	database_fail(database, sql);
	return false;
}

/* The value of a PRAGMA, or -1. */
static int64_t
database_ask(Database *database, const char *sql)
{
	sqlite3_stmt *statement = NULL;
	int64_t value = -1;

	if (sqlite3_prepare_v2(database->handle, sql, -1, &statement, NULL) == SQLITE_OK &&
		sqlite3_step(statement) == SQLITE_ROW)
		value = sqlite3_column_int64(statement, 0);
	else
		database_fail(database, sql);
	sqlite3_finalize(statement);
	return value;
}

static bool
database_configure(Database *database, bool is_durable, int64_t bytes_max)
{
	int64_t page_bytes = database_ask(database, "PRAGMA page_size");
	char sql[256];

	if (page_bytes <= 0)
		return false;
	/* In memory there is no write-ahead log; SQLite then keeps its journal, also in memory. */
	snprintf(sql, sizeof(sql),
			 "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
			 " PRAGMA synchronous = %s; PRAGMA cache_size = -%d; PRAGMA max_page_count = %lld",
			 is_durable ? "FULL" : "OFF", CACHE_KIB, (long long) (bytes_max / page_bytes));
	return database_execute(database, sql);
}

/* Takes the lock and creates the tables of a new database. */
static bool
database_prepare_schema(Database *database)
{
	int64_t version;
	char sql[64];

	if (!database_execute(database, "BEGIN EXCLUSIVE"))
		return false;
	version = database_ask(database, "PRAGMA user_version");
	snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", database->design->version);
	if (version == 0 &&
		(!database_execute(database, database->design->schema) || !database_execute(database, sql)))
		return false;
	if (version != 0 && version != database->design->version)
	{
		log_event(LOG_ERROR, "database is of another version", LOG_NUMBER("version", version),
				  LOG_NUMBER("expected", database->design->version));
		return false;
	}
	return database_execute(database, "COMMIT");
}

static bool
database_prepare_statements(Database *database)
{
	const DatabaseDesign *design = database->design;

	for (int i = 0; i < design->statement_count; i++)
	{
		if (sqlite3_prepare_v3(database->handle, design->statements[i], -1,
							   SQLITE_PREPARE_PERSISTENT, &database->statements[i],
							   NULL) != SQLITE_OK)
		{
			database_fail(database, design->statements[i]);
			return false;
		}
	}
	return true;
}

Database *
database_open(const char *path, bool is_durable, int64_t bytes_max, const DatabaseDesign *design)
{
	Database *database = bytes_new_zeroed(1, sizeof(*database));
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;

	assert(bytes_max > 0);
	assert(design->version > 0);
	database->design = design;
	database->statements =
		bytes_new_zeroed((size_t) design->statement_count, sizeof(*database->statements));
	if (sqlite3_open_v2(path, &database->handle, flags, NULL) != SQLITE_OK)
		log_event(LOG_ERROR, "database cannot be opened", LOG_TEXT("path", path),
				  LOG_TEXT("error", sqlite3_errmsg(database->handle)));
	else if (database_configure(database, is_durable, bytes_max) &&
			 database_prepare_schema(database) && database_prepare_statements(database))
		return database;
	database_close(database);
	return NULL;
}

void
database_close(Database *database)
{
	int code;

	if (database == NULL)
		return;
	for (int i = 0; i < database->design->statement_count; i++)
		sqlite3_finalize(database->statements[i]);
	code = sqlite3_close(database->handle);
	assert(code == SQLITE_OK);
	free(database->statements);
	free(database);
}

sqlite3_stmt *
database_statement(Database *database, int number)
{
	assert(number >= 0);
	assert(number < database->design->statement_count);
	return database->statements[number];
}

bool
database_step(Database *database, sqlite3_stmt *statement)
{
	int code = sqlite3_step(statement);

	if (code != SQLITE_ROW && code != SQLITE_DONE)
		database_fail(database, sqlite3_sql(statement));
	return code == SQLITE_ROW;
}

int
database_run(Database *database, int number)
{
	sqlite3_stmt *statement = database_statement(database, number);
	int code = sqlite3_step(statement);

	assert(code != SQLITE_ROW);
	if (code != SQLITE_DONE)
		database_fail(database, sqlite3_sql(statement));
	sqlite3_reset(statement);
	return code == SQLITE_DONE ? sqlite3_changes(database->handle) : -1;
}

/* Transactions -------------------------------------------------------------------------------- */

void
database_begin(Database *database)
{
	assert(!database->is_in_transaction);
	database->is_in_transaction = true;
	database->has_failed = false;
	database_execute(database, "BEGIN IMMEDIATE");
}

bool
database_commit(Database *database)
{
	assert(database->is_in_transaction);
	if (database->has_failed || !database_execute(database, "COMMIT"))
	{
		database_rollback(database);
		return false;
	}
	database->is_in_transaction = false;
	return true;
}

void
database_rollback(Database *database)
{
	assert(database->is_in_transaction);
	database->is_in_transaction = false;
	/* After some errors there is nothing left to roll back. */
	if (!sqlite3_get_autocommit(database->handle))
		database_execute(database, "ROLLBACK");
}

bool
database_is_in_transaction(const Database *database)
{
	return database->is_in_transaction;
}

bool
database_has_failed(const Database *database)
{
	return database->has_failed;
}

void
database_clear(Database *database)
{
	assert(!database->is_in_transaction);
	database->has_failed = false;
}
