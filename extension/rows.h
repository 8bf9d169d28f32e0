/*
 * rows.h
 *		Statements that take many rows at once, and pay for one when there is one.
 */
#ifndef ROWS_H
#define ROWS_H

#include "postgres.h"

#include "statement.h"

#define ROWS_COLUMNS_MAX 3
#define ROWS_FURTHER_MAX 2

/*
 * A statement over rows. Its text reads them as u from "%s", which stands there once; $1 to $n are
 * taken by the n columns, further parameters follow. Define it static, with sql, columns, types and
 * further types.
 */
typedef struct RowStatement
{
	const char *sql;
	const char *columns; /* names, separated by ", " */
	int column_count;
	Oid column_types[ROWS_COLUMNS_MAX];
	int further_count;
	Oid further_types[ROWS_FURTHER_MAX];
	Statement one; /* made at the first use */
	Statement many;
} RowStatement;

/* The rows of one call. */
typedef struct Rows
{
	RowStatement *statement;
	int count;
	Datum *cells; /* column by column */
} Rows;

/* Room for |count| > 0 rows, in the current memory context. */
extern Rows rows_new(RowStatement *statement, int count);

/* Sets a cell, column from 0, row from 0; all must be set. No cell is NULL. */
static inline void
rows_set(Rows *rows, int row, int column, Datum value)
{
	Assert(row < rows->count);
	Assert(column < rows->statement->column_count);
	rows->cells[column * rows->count + row] = value;
}

/* Runs the statement; |further| are the further parameters. As statement_run(). */
extern uint64 rows_run(const Rows *rows, const Datum *further);

#endif /* ROWS_H */
