/*
 * pg_array.c
 *		Arguments in PostgreSQL's binary format.
 *
 * DESIGN	An array of one dimension, all big-endian (array_recv() of the server):
 *
 *				dimensions | has nulls | element type | length | lower bound | elements
 *				     4     |     4     |      4       |   4    |      4      |
 *
 *			and each element is its size in 4 bytes and its bytes.
 */
#include "net/pg_array.h"

#include <assert.h>
#include <string.h>

void
pg_array_begin(Bytes *out, uint32_t element_type, int count)
{
	assert(count > 0);
	bytes_append_u32(out, 1);
	bytes_append_u32(out, 0);
	bytes_append_u32(out, element_type);
	bytes_append_u32(out, (uint32_t) count);
	bytes_append_u32(out, 1);
}

void
pg_array_add_int2(Bytes *out, int16_t value)
{
	bytes_append_u32(out, sizeof(value));
	bytes_append_u16(out, (uint16_t) value);
}

void
pg_array_add_int4(Bytes *out, int32_t value)
{
	bytes_append_u32(out, sizeof(value));
	bytes_append_u32(out, (uint32_t) value);
}

void
pg_array_add_int8(Bytes *out, int64_t value)
{
	bytes_append_u32(out, sizeof(value));
	bytes_append_u64(out, (uint64_t) value);
}

void
pg_array_add_text(Bytes *out, const char *text)
{
	size_t size = strlen(text);

	assert(size <= INT32_MAX);
	bytes_append_u32(out, (uint32_t) size);
	bytes_append(out, text, size);
}
