/*
 * database.h
 *		A database of SQLite with its prepared statements and its one transaction.
 *
 * A failure is logged here and kept in mind: callers go on, and ask database_has_failed() at the
 * end or let database_commit() tell them.
 */
#ifndef DATABASE_H
#define DATABASE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Database Database;

/* What a program keeps in a database. All is static. */
typedef struct DatabaseDesign
{
	const char *schema; /* SQL that creates the tables in a new database */
	int version;        /* of the schema, above 0 */
	const char *const *statements;
	int statement_count;
} DatabaseDesign;

/*
 * Opens or creates a database, ":memory:" for one that ends with the process, and locks it for as
 * long as it is open. |is_durable|: a commit survives the machine, not only the process; otherwise
 * the crash of the machine may damage the file. NULL, and a line in the log, when it cannot.
 */
extern Database *database_open(const char *path, bool is_durable, int64_t bytes_max,
							   const DatabaseDesign *design);

/* NULL is allowed. */
extern void database_close(Database *database);

/* The prepared statement of that number, to bind parameters and read columns. */
extern sqlite3_stmt *database_statement(Database *database, int number);

/* One step; true when there is a row. */
extern bool database_step(Database *database, sqlite3_stmt *statement);

/* Runs a statement without rows, whose parameters are bound. The rows it changed, or -1. */
extern int database_run(Database *database, int number);

/* Begins a transaction; none is open. Forgets an earlier failure. */
extern void database_begin(Database *database);

/* Ends it. False when anything failed since its begin: then it is rolled back. */
extern bool database_commit(Database *database);

/* Gives it up. */
extern void database_rollback(Database *database);

/* Whether a transaction is open. */
extern bool database_is_in_transaction(const Database *database);

/* Whether anything failed since the last database_begin() or database_clear(). */
extern bool database_has_failed(const Database *database);

/* Forgets an earlier failure, before reading outside a transaction. */
extern void database_clear(Database *database);

#endif /* DATABASE_H */
