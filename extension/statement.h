/*
 * statement.h
 *		SQL statements with plans that are kept for the life of the backend, and the arrays they
 *		take.
 */
#ifndef STATEMENT_H
#define STATEMENT_H

#include "executor/spi.h"

#define STATEMENT_PARAMETERS_MAX 16

/*
 * One SQL text and, once it was used, its plans. Define it static and constant but for the plans.
 * Names in the text are schema-qualified; a plan is re-made by the server when an object it uses
 * changes.
 *
 * A statement over rows has |columns|, and "%s" where the text reads them from: it takes one array
 * parameter for each column, from $1 on, and the text calls the rows u. Further parameters follow.
 */
typedef struct Statement
{
	const char *sql;
	const char *columns; /* names, separated by ", "; NULL for a statement without rows */
	int parameter_count;
	Oid parameter_types[STATEMENT_PARAMETERS_MAX];
	SPIPlanPtr plan;     /* for any number of rows, or without rows */
	SPIPlanPtr row_plan; /* for exactly one row */
} Statement;

/*
 * Runs a statement within SPI_connect() .. SPI_finish(), with a new snapshot. No parameter is NULL.
 * The result is in SPI_tuptable, the number of rows is returned. Errors are raised.
 */
extern uint64 statement_run(Statement *statement, const Datum *values);

/* The same over |row_count| > 0 rows, the length of the array parameters. */
extern uint64 statement_run_rows(Statement *statement, const Datum *values, int row_count);

/* One-dimensional arrays without NULLs, allocated in the current memory context. */
extern Datum statement_int64_array(const int64 *values, int count);
extern Datum statement_int32_array(const int32 *values, int count);
extern Datum statement_int16_array(const int16 *values, int count);
extern Datum statement_datum_array(Datum *values, int count, Oid type);

/* Column |number| (from 1) of row |row| (from 0) of the last result; must not be NULL. */
extern int64 statement_int64(uint64 row, int number);
extern int32 statement_int32(uint64 row, int number);
extern int16 statement_int16(uint64 row, int number);

/* The same as text, a copy in |context|; NULL where the column is. */
extern char *statement_text(uint64 row, int number, MemoryContext context);

#endif /* STATEMENT_H */
