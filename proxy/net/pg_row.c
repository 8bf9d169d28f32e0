/*
 * pg_row.c
 *		Reading a row of a result in PostgreSQL's binary format.
 */
#include "net/pg_row.h"

#include <assert.h>
#include <stddef.h>

#include "base/bytes.h"

/* PostgreSQL counts microseconds from 2000-01-01. */
#define POSTGRES_EPOCH_MS INT64_C(946684800000)

/* The bytes of a cell of |size| bytes; NULL when it is NULL or the row is broken. */
static const uint8_t *
fixed_cell(PgRow *row, int column, int size)
{
	assert(row->row < PQntuples(row->result));
	if (column >= PQnfields(row->result))
		row->is_broken = true;
	else if (!PQgetisnull(row->result, row->row, column))
	{
		if (PQgetlength(row->result, row->row, column) == size)
			return (const void *) PQgetvalue(row->result, row->row, column);
		row->is_broken = true;
	}
	return NULL;
}

bool
pg_row_bool(PgRow *row, int column)
{
	const uint8_t *cell = fixed_cell(row, column, 1);

	return cell != NULL && *cell != 0;
}

int16_t
pg_row_int2(PgRow *row, int column)
{
	const uint8_t *cell = fixed_cell(row, column, 2);

	return cell != NULL ? (int16_t) bytes_u16(cell) : 0;
}

int32_t
pg_row_int4(PgRow *row, int column)
{
	const uint8_t *cell = fixed_cell(row, column, 4);

	return cell != NULL ? (int32_t) bytes_u32(cell) : 0;
}

int64_t
pg_row_int8(PgRow *row, int column)
{
	const uint8_t *cell = fixed_cell(row, column, 8);

	return cell != NULL ? (int64_t) bytes_u64(cell) : 0;
}

const char *
pg_row_text(PgRow *row, int column)
{
	assert(row->row < PQntuples(row->result));
	if (column >= PQnfields(row->result))
		row->is_broken = true;
	else if (!PQgetisnull(row->result, row->row, column))
		return PQgetvalue(row->result, row->row, column);
	return NULL;
}

int64_t
pg_row_time_ms(PgRow *row, int column)
{
	const uint8_t *cell = fixed_cell(row, column, 8);
	int64_t microseconds;
	int64_t milliseconds;

	if (cell == NULL)
		return 0;
	microseconds = (int64_t) bytes_u64(cell);
	milliseconds = microseconds / 1000;
	if (microseconds % 1000 < 0)
		milliseconds--;
	return milliseconds + POSTGRES_EPOCH_MS;
}
