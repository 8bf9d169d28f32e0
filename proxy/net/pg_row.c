/*
 * pg_row.c
 *		Reading a row of a result in PostgreSQL's binary format.
 *
 * DESIGN	A packed value comes from the database, which may be of another version or damaged: each
 *			size is compared with what is left, and nothing is read beyond.
 */
#include "net/pg_row.h"

#include <assert.h>
#include <stddef.h>

#include "base/bytes.h"

/* PostgreSQL counts microseconds from 2000-01-01. */
#define POSTGRES_EPOCH_MS INT64_C(946684800000)

void
pg_row_get(PgRow *row, const PGresult *result, int index)
{
	int count = PQnfields(result);

	assert(index >= 0 && index < PQntuples(result));
	row->count = count < PG_ROW_CELLS_MAX ? count : PG_ROW_CELLS_MAX;
	row->is_broken = false;
	row->is_packed = false;
	for (int i = 0; i < row->count; i++)
	{
		bool is_null = PQgetisnull(result, index, i) != 0;

		row->cells[i] = is_null ? NULL : PQgetvalue(result, index, i);
		row->sizes[i] = PQgetlength(result, index, i);
	}
}

PgPackedRows
pg_row_unpack(const PGresult *result)
{
	PgPackedRows rows = {.count = -1};
	size_t size;

	if (PQntuples(result) != 1 || PQnfields(result) != 1 || PQgetisnull(result, 0, 0))
		return rows;
	size = (size_t) PQgetlength(result, 0, 0);
	if (size < sizeof(uint32_t))
		return rows;
	rows.at = (const void *) PQgetvalue(result, 0, 0);
	rows.end = rows.at + size;
	rows.count = (int) bytes_u32(rows.at);
	rows.at += sizeof(uint32_t);
	return rows;
}

/* Takes a cell; false when it is not all there. */
static bool
take_cell(PgPackedRows *rows, const char **cell, int *size)
{
	int64_t taken;

	if (rows->end - rows->at < (ptrdiff_t) sizeof(uint32_t))
		return false;
	taken = (int32_t) bytes_u32(rows->at);
	rows->at += sizeof(uint32_t);
	*cell = NULL;
	*size = 0;
	if (taken == -1)
		return true;
	if (taken < 0 || taken > rows->end - rows->at)
		return false;
	*cell = (const void *) rows->at;
	*size = (int) taken;
	rows->at += taken;
	return true;
}

/* Takes the cells of a row; those beyond what a row has room for are passed over. */
static bool
take_cells(PgPackedRows *rows, PgRow *row)
{
	int count;

	if (rows->taken >= rows->count || rows->end - rows->at < (ptrdiff_t) sizeof(uint16_t))
		return false;
	count = bytes_u16(rows->at);
	rows->at += sizeof(uint16_t);
	row->count = count < PG_ROW_CELLS_MAX ? count : PG_ROW_CELLS_MAX;
	for (int i = 0; i < count; i++)
	{
		const char *cell;
		int size;

		if (!take_cell(rows, &cell, &size))
			return false;
		if (i >= PG_ROW_CELLS_MAX)
			continue;
		row->cells[i] = cell;
		row->sizes[i] = size;
	}
	rows->taken++;
	return true;
}

void
pg_row_next(PgRow *row, PgPackedRows *rows)
{
	row->is_packed = true;
	row->is_broken = !take_cells(rows, row);
	if (!row->is_broken)
		return;
	row->count = 0;
	rows->count = -1;
}

/* The bytes of a cell of |size| bytes; NULL when it is NULL or the row is broken. */
static const uint8_t *
fixed_cell(PgRow *row, int column, int size)
{
	if (column >= row->count)
		row->is_broken = true;
	else if (row->cells[column] != NULL)
	{
		if (row->sizes[column] == size)
			return (const void *) row->cells[column];
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
	const char *cell = NULL;

	if (column >= row->count)
		row->is_broken = true;
	else
		cell = row->cells[column];
	/* libpq puts a zero byte behind each value; of packed ones only a text has it. */
	if (cell == NULL || !row->is_packed)
		return cell;
	if (row->sizes[column] > 0 && cell[row->sizes[column] - 1] == '\0')
		return cell;
	row->is_broken = true;
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
