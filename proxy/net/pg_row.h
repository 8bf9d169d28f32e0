/*
 * pg_row.h
 *		Reading a row of a result in PostgreSQL's binary format: one of a result's rows, or one of
 *		those that a function has packed into a single value.
 *
 * Pure. A cell that is missing or has not the size of its type breaks the row: the caller reads all
 * cells and looks at |is_broken| once. NULL is read as 0, false, or a NULL pointer.
 *
 * How rows are packed: extension/results.h.
 */
#ifndef PG_ROW_H
#define PG_ROW_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

/* More of a row are not looked at: no function returns as many. */
#define PG_ROW_CELLS_MAX 16

typedef struct PgRow
{
	int count;
	bool is_broken;
	bool is_packed;
	const char *cells[PG_ROW_CELLS_MAX]; /* NULL: is NULL. They live as long as the result */
	int sizes[PG_ROW_CELLS_MAX];
} PgRow;

/* Where a reader of packed rows is. */
typedef struct PgPackedRows
{
	const uint8_t *at;
	const uint8_t *end;
	int count; /* of all rows; -1: what is there is not packed rows */
	int taken; /* of them: how many have been read */
} PgPackedRows;

/* Row |index| of a result that has it; counts from 0. */
extern void pg_row_get(PgRow *row, const PGresult *result, int index);

/* The rows that are packed into the only value of a result. */
extern PgPackedRows pg_row_unpack(const PGresult *result);

/* The next of them. It is broken when there is none, or the value is; then it stays so. */
extern void pg_row_next(PgRow *row, PgPackedRows *rows);

/* Columns count from 0. */
extern bool pg_row_bool(PgRow *row, int column);
extern int16_t pg_row_int2(PgRow *row, int column);
extern int32_t pg_row_int4(PgRow *row, int column);
extern int64_t pg_row_int8(PgRow *row, int column);

/* Terminated; lives as long as the result. */
extern const char *pg_row_text(PgRow *row, int column);

/* A timestamptz in milliseconds since 1970-01-01 UTC, rounded down. */
extern int64_t pg_row_time_ms(PgRow *row, int column);

#endif /* PG_ROW_H */
