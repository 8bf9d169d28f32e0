/*
 * packed_rows.h
 *		Rows as the array functions pack them, made from plain ones.
 */
#ifndef PACKED_ROWS_H
#define PACKED_ROWS_H

#include <libpq-fe.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"

/* Whether a column of receive_orders() is a text: detail, reserve_id, currency. */
static bool
is_packed_text(int column)
{
	return column == 3 || column == 9 || column == 10;
}

/* The same rows as one value, the only one of the new result. Frees |rows|. */
static PGresult *
pack_rows(PGresult *rows)
{
	PGresAttDesc column = {.name = "packed", .format = 1};
	PGresult *packed = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	Bytes value = {0};

	bytes_append_u32(&value, (uint32_t) PQntuples(rows));
	for (int i = 0; i < PQntuples(rows); i++)
	{
		bytes_append_u16(&value, (uint16_t) PQnfields(rows));
		for (int j = 0; j < PQnfields(rows); j++)
		{
			uint32_t size = (uint32_t) PQgetlength(rows, i, j) + (is_packed_text(j) ? 1 : 0);

			if (PQgetisnull(rows, i, j))
				bytes_append_u32(&value, UINT32_MAX);
			else
			{
				bytes_append_u32(&value, size);
				/* libpq has a zero byte behind every value. */
				bytes_append(&value, PQgetvalue(rows, i, j), size);
			}
		}
	}
	assert_int_equal(PQsetResultAttrs(packed, 1, &column), 1);
	assert_int_equal(PQsetvalue(packed, 0, 0, (char *) value.data, (int) value.size), 1);
	bytes_free(&value);
	PQclear(rows);
	return packed;
}

#endif /* PACKED_ROWS_H */
