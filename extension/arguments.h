/*
 * arguments.h
 *		The array arguments of a call, item by item.
 */
#ifndef ARGUMENTS_H
#define ARGUMENTS_H

#include "postgres.h"

#include "fmgr.h"

typedef struct ArgumentArray
{
	Datum *values;
	bool *is_null;
} ArgumentArray;

/*
 * Takes the first |array_count| arguments apart, arrays of |element_types|. Returns the number of
 * items, the same for all. ERROR OS400 when an array is NULL or has more than one dimension, when
 * lengths differ, or above BATCH_ITEMS_MAX items. Allocates in the current memory context.
 */
extern int arguments_arrays(FunctionCallInfo fcinfo, const Oid *element_types, int array_count,
							ArgumentArray *arrays);

/* True when the item is NULL in any of the arrays. */
extern bool arguments_any_null(const ArgumentArray *arrays, int array_count, int item);

/* The bytes of a text, not terminated and not copied unless it was compressed. */
extern const char *arguments_text(Datum value, Size *length);

#endif /* ARGUMENTS_H */
