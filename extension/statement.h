/*
 * statement.h
 *		SQL statements with plans that are kept for the life of the backend, and the arrays they
 *		take.
 */
#ifndef STATEMENT_H
#define STATEMENT_H

#include "executor/spi.h"

#define STATEMENT_PARAMETERS_MAX 5

/*
 * One SQL text and, once it was used, its plan. Define it static and constant but for the plan.
 * Names in the text are schema-qualified; the plan is re-made by the server when an object it uses
 * changes.
 */
typedef struct Statement
{
	const char *sql;
	int parameter_count;
	Oid parameter_types[STATEMENT_PARAMETERS_MAX];
	SPIPlanPtr plan;
} Statement;

/*
 * Runs a statement within SPI_connect() .. SPI_finish(), with a new snapshot. No parameter is NULL.
 * The result is in SPI_tuptable, the number of rows is returned. Errors are raised.
 */
extern uint64 statement_run(Statement *statement, const Datum *values);

/* A one-dimensional array of |count| values, none NULL, in the current memory context. */
extern Datum statement_array(Datum *values, int count, Oid type);
extern Datum statement_int64_array(const int64 *values, int count);

/* Column |number| (from 1) of row |row| (from 0) of the last result; must not be NULL. */
extern int64 statement_int64(uint64 row, int number);
extern int32 statement_int32(uint64 row, int number);
extern int16 statement_int16(uint64 row, int number);

/* The same as text, a copy in |context|; NULL where the column is. */
extern char *statement_text(uint64 row, int number, MemoryContext context);

#endif /* STATEMENT_H */
