/*
 * fields.h
 *		Checks what an object of JSON has in it, and says in words what is wrong.
 */
#ifndef FIELDS_H
#define FIELDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define FIELDS_ERROR_SIZE 256

typedef enum FieldType
{
	FIELD_TEXT,
	FIELD_INTEGER,
	FIELD_NUMBER, /* an integer, too */
	FIELD_OBJECT,
	FIELD_TEXT_OR_INTEGER, /* a name, or its number */
} FieldType;

typedef struct Field
{
	const char *name;
	FieldType type;
} Field;

/* Writes an error; always false, so that a check can end with it. */
extern bool fields_fail(char error[FIELDS_ERROR_SIZE], const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Whether |document| is an object and has only fields of the list, which ends with a NULL name,
 * each of its type. |what| is what the object is, for the error.
 */
extern bool fields_check(const json_t *document, const char *what, const Field *fields,
						 char error[FIELDS_ERROR_SIZE]);

/*
 * The value of an integer field, |value| when the object has none. False, and an error, when it is
 * not within |min| to |max|.
 */
extern bool fields_integer(const json_t *object, const char *name, int64_t min, int64_t max,
						   int64_t *value, char error[FIELDS_ERROR_SIZE]);

#endif /* FIELDS_H */
