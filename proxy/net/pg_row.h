/*
 * pg_row.h
 *		Reading a row of a result in PostgreSQL's binary format.
 *
 * Pure. A cell that is missing or has not the size of its type breaks the row: the caller reads all
 * cells and looks at |is_broken| once. NULL is read as 0, false, or a NULL pointer.
 */
#ifndef PG_ROW_H
#define PG_ROW_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct PgRow
{
	const PGresult *result;
	int row; /* counts from 0 */
	bool is_broken;
} PgRow;

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
