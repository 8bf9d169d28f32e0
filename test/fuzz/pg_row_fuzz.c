/*
 * pg_row_fuzz.c
 *		Rows that a function has packed into one value, read to their end and beyond: nothing is
 *		read that is not there, and what is broken stays so.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/pg_row.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every byte of every cell, however it is read. */
static void
read_cells(PgRow *row)
{
	for (int column = 0; column <= row->count; column++)
	{
		PgRow copy = *row;
		const char *text = pg_row_text(&copy, column);

		(void) pg_row_bool(&copy, column);
		(void) pg_row_int2(&copy, column);
		(void) pg_row_int4(&copy, column);
		(void) pg_row_int8(&copy, column);
		if (text != NULL)
			assert(strlen(text) < (size_t) row->sizes[column]);
		assert(column < row->count || copy.is_broken);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	PGresAttDesc column = {.name = "packed", .format = 1};
	PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	PgPackedRows rows;
	PgRow row;

	assert(PQsetResultAttrs(result, 1, &column) == 1);
	assert(PQsetvalue(result, 0, 0, (char *) data, (int) size) == 1);
	rows = pg_row_unpack(result);
	for (int taken = 0; rows.count > 0 && taken < rows.count; taken++)
	{
		pg_row_next(&row, &rows);
		if (row.is_broken)
			break;
		assert(rows.taken == taken + 1);
		read_cells(&row);
	}
	pg_row_next(&row, &rows);
	assert(row.is_broken);
	pg_row_next(&row, &rows);
	assert(row.is_broken && row.count == 0);
	PQclear(result);
	return 0;
}
