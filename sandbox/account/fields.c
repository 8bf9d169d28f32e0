/*
 * fields.c
 *		Checks what an object of JSON has in it.
 */
#include "fields.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool
fields_fail(char error[FIELDS_ERROR_SIZE], const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(error, FIELDS_ERROR_SIZE, format, arguments);
	va_end(arguments);
	return false;
}

/* What is missing if |value| is not of a type; NULL if it is. */
static const char *
fields_mismatch(const json_t *value, FieldType type)
{
	switch (type)
	{
		case FIELD_TEXT:
			return json_is_string(value) ? NULL : "a text";
		case FIELD_INTEGER:
			return json_is_integer(value) ? NULL : "an integer";
		case FIELD_NUMBER:
			return json_is_number(value) ? NULL : "a number";
		case FIELD_OBJECT:
			return json_is_object(value) ? NULL : "an object";
		case FIELD_TEXT_OR_INTEGER:
			return json_is_string(value) || json_is_integer(value) ? NULL : "a text or an integer";
	}
	return "something else";
}

bool
fields_check(const json_t *document, const char *what, const Field *fields,
			 char error[FIELDS_ERROR_SIZE])
{
	const json_t *value;
	const char *name;

	if (!json_is_object(document))
		return fields_fail(error, "%s must be an object", what);
	json_object_foreach((json_t *) document, name, value)
	{
		const Field *field = fields;
		const char *mismatch;

		while (field->name != NULL && strcmp(field->name, name) != 0)
			field++;
		if (field->name == NULL)
			return fields_fail(error, "%s has no field \"%.64s\"", what, name);
		mismatch = fields_mismatch(value, field->type);
		if (mismatch != NULL)
			return fields_fail(error, "\"%s\" of %s must be %s", name, what, mismatch);
	}
	return true;
}

bool
fields_integer(const json_t *object, const char *name, int64_t min, int64_t max, int64_t *value,
			   char error[FIELDS_ERROR_SIZE])
{
	const json_t *field = json_object_get(object, name);

	if (field == NULL)
		return true;
	*value = json_integer_value(field);
	if (*value >= min && *value <= max)
		return true;
	return fields_fail(error, "\"%s\" must be %lld to %lld", name, (long long) min,
					   (long long) max);
}
