/*
 * reason.c
 *		The tables of business codes and reasons.
 */
#include "reason.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#define LENGTH_OF(array) ((int) (sizeof(array) / sizeof((array)[0])))

/* What a gRPC peer says that knows no better. */
#define GRPC_STATUS_UNKNOWN 2

typedef struct ReasonRow
{
	int number;
	const char *name;
	Code code;
	const char *message;
} ReasonRow;

typedef struct CodeRow
{
	int code;
	const char *name;
	int grpc_status;
	Repeat repeat;
} CodeRow;

static const ReasonRow reason_rows[] = {
#define REASON_ROW(number, name, code, message) {number, #name, code, message},
	REASON_TABLE(REASON_ROW)
#undef REASON_ROW
};

static const CodeRow code_rows[] = {
#define CODE_ROW(code, name, grpc, repeat) {code, #name, grpc, repeat},
	CODE_TABLE(CODE_ROW)
#undef CODE_ROW
};

static const ReasonRow *
find_reason(int reason)
{
	for (int i = 0; i < LENGTH_OF(reason_rows); i++)
	{
		if (reason_rows[i].number == reason)
			return &reason_rows[i];
	}
	return NULL;
}

static const CodeRow *
find_code(int code)
{
	for (int i = 0; i < LENGTH_OF(code_rows); i++)
	{
		if (code_rows[i].code == code)
			return &code_rows[i];
	}
	return NULL;
}

const char *
reason_name(int reason)
{
	const ReasonRow *row = find_reason(reason);

	return row != NULL ? row->name : NULL;
}

int
reason_number(const char *name)
{
	assert(name != NULL);
	for (int i = 0; i < LENGTH_OF(reason_rows); i++)
	{
		if (strcmp(reason_rows[i].name, name) == 0)
			return reason_rows[i].number;
	}
	return -1;
}

Code
reason_code(int reason)
{
	const ReasonRow *row = find_reason(reason);

	return row != NULL ? row->code : CODE_INTERNAL;
}

const char *
reason_message(int reason)
{
	const ReasonRow *row = find_reason(reason);

	return row != NULL ? row->message : NULL;
}

const char *
reason_code_name(int code)
{
	const CodeRow *row = find_code(code);

	return row != NULL ? row->name : NULL;
}

Repeat
reason_repeat(int code)
{
	const CodeRow *row = find_code(code);

	return row != NULL ? row->repeat : REPEAT_NOT;
}

int
reason_grpc_status(int code)
{
	const CodeRow *row = find_code(code);

	return row != NULL ? row->grpc_status : GRPC_STATUS_UNKNOWN;
}

int
reason_code_of_sqlstate(const char *sqlstate)
{
	int code = 0;

	if (sqlstate == NULL || strlen(sqlstate) != 5 || strncmp(sqlstate, "OS", 2) != 0)
		return 0;
	for (int i = 2; i < 5; i++)
	{
		if (sqlstate[i] < '0' || sqlstate[i] > '9')
			return 0;
		code = code * 10 + (sqlstate[i] - '0');
	}
	return find_code(code) != NULL ? code : 0;
}
