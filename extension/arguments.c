/*
 * arguments.c
 *		The array arguments of a call.
 *
 * DESIGN	The shape of a call is the caller's code, the content its data: a wrong shape is an
 *			error, a wrong item a result.
 */
#include "postgres.h"

#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "arguments.h"
#include "bounds.h"

#define ERRCODE_INVALID_CALL MAKE_SQLSTATE('O', 'S', '4', '0', '0')

static int
take_apart(Datum argument, Oid element_type, ArgumentArray *array, int number)
{
	ArrayType *source = DatumGetArrayTypeP(argument);
	int16 type_length;
	bool type_by_value;
	char type_alignment;
	int count;

	if (ARR_NDIM(source) > 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_CALL),
						errmsg("array argument %d has more than one dimension", number)));
	if (ARR_ELEMTYPE(source) != element_type)
		elog(ERROR, "array argument %d has elements of type %u", number, ARR_ELEMTYPE(source));
	get_typlenbyvalalign(element_type, &type_length, &type_by_value, &type_alignment);
	deconstruct_array(source, element_type, type_length, type_by_value, type_alignment,
					  &array->values, &array->is_null, &count);
	return count;
}

int
arguments_arrays(FunctionCallInfo fcinfo, const Oid *element_types, int array_count,
				 ArgumentArray *arrays)
{
	int first_count = 0;

	for (int i = 0; i < array_count; i++)
	{
		int count;

		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_CALL), errmsg("array argument %d is null", i + 1)));
		count = take_apart(PG_GETARG_DATUM(i), element_types[i], &arrays[i], i + 1);
		if (i == 0)
			first_count = count;
		if (count != first_count)
			ereport(ERROR, (errcode(ERRCODE_INVALID_CALL), errmsg("arrays differ in length"),
							errdetail("Argument 1 has %d items, argument %d has %d.", first_count,
									  i + 1, count)));
	}
	if (first_count > BATCH_ITEMS_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_CALL), errmsg("too many items: %d", first_count),
						errdetail("One call takes at most %d.", BATCH_ITEMS_MAX)));
	return first_count;
}

const char *
arguments_missing(const ArgumentArray *arrays, int array_count, int item, const char *const *names)
{
	for (int i = 0; i < array_count; i++)
	{
		if (arrays[i].is_null[item])
			return names[i];
	}
	return NULL;
}

const char *
arguments_text(Datum value, Size *length)
{
	text *bytes = DatumGetTextPP(value);

	*length = VARSIZE_ANY_EXHDR(bytes);
	return VARDATA_ANY(bytes);
}
