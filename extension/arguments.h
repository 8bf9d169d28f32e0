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

/* The name, of |names|, of the first array in which the item is NULL; NULL when it is in none. */
extern const char *arguments_missing(const ArgumentArray *arrays, int array_count, int item,
									 const char *const *names);

/* The bytes of a text, not terminated and not copied unless it was compressed. */
extern const char *arguments_text(Datum value, Size *length);

#endif /* ARGUMENTS_H */
