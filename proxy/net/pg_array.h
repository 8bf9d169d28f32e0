/*
 * pg_array.h
 *		Arguments in PostgreSQL's binary format.
 *
 * Pure. Scalars are what bytes_append_u16() and the like write; arrays have a header and a length
 * before each element. All elements are there: NULL is never sent.
 */
#ifndef PG_ARRAY_H
#define PG_ARRAY_H

#include <stdint.h>

#include "base/bytes.h"

/* Types of arguments: their numbers in pg_type, which never change. */
#define PG_TYPE_BOOL 16
#define PG_TYPE_INT8 20
#define PG_TYPE_INT2 21
#define PG_TYPE_INT4 23
#define PG_TYPE_TEXT 25
#define PG_TYPE_INT2_ARRAY 1005
#define PG_TYPE_INT4_ARRAY 1007
#define PG_TYPE_TEXT_ARRAY 1009
#define PG_TYPE_INT8_ARRAY 1016

/* Begins an array of |count| > 0 elements; that many calls of pg_array_add_ follow. */
extern void pg_array_begin(Bytes *out, uint32_t element_type, int count);

/* The next element, of the array's type. A text is terminated, UTF-8, shorter than 2 GB. */
extern void pg_array_add_int2(Bytes *out, int16_t value);
extern void pg_array_add_int4(Bytes *out, int32_t value);
extern void pg_array_add_int8(Bytes *out, int64_t value);
extern void pg_array_add_text(Bytes *out, const char *text);

#endif /* PG_ARRAY_H */
