/*
 * fault_document.c
 *		Faults as JSON.
 */
#include "fault_document.h"

#include <assert.h>
#include <string.h>

#include "method.h"
#include "net/grpc.h"

#define RESET_CODE_DEFAULT 2 /* HTTP/2's INTERNAL_ERROR */
#define RESET_CODE_MAX 13    /* HTTP_1_1_REQUIRED, the last that is defined */

static const Field fault_fields[] = {
	{"kind", FIELD_TEXT},
	{"when", FIELD_TEXT},
	{"method", FIELD_TEXT},
	{"account_id", FIELD_INTEGER},
	{"percent", FIELD_NUMBER},
	{"times", FIELD_INTEGER},
	{"delay_ms", FIELD_INTEGER},
	{"status", FIELD_TEXT_OR_INTEGER},
	{"result", FIELD_TEXT_OR_INTEGER},
	{"reset_code", FIELD_INTEGER},
	{NULL, FIELD_TEXT},
};

/* The field that carries the code of a kind; NULL for kinds without one. */
static const char *
fault_code_field(FaultKind kind)
{
	switch (kind)
	{
		case FAULT_STATUS:
			return "status";
		case FAULT_RESULT:
			return "result";
		case FAULT_RESET:
			return "reset_code";
		default:
			return NULL;
	}
}

static bool
status_of(const json_t *value, int *status)
{
	if (json_is_integer(value))
	{
		json_int_t number = json_integer_value(value);

		*status = number > 0 && number < GRPC_STATUS_COUNT ? (int) number : GRPC_OK;
		return *status != GRPC_OK;
	}
	for (*status = GRPC_OK + 1; *status < GRPC_STATUS_COUNT; (*status)++)
	{
		if (strcmp(json_string_value(value), grpc_status_name(*status)) == 0)
			return true;
	}
	return false;
}

static bool
result_of(const json_t *value, int *result)
{
	if (!json_is_integer(value))
		return method_result_of(json_string_value(value), result);
	if (json_integer_value(value) < 0 || json_integer_value(value) >= LEDGER_RESULT_COUNT)
		return false;
	*result = (int) json_integer_value(value);
	return true;
}

/* The code of the fault's kind; and no field that belongs to another kind. */
static bool
read_code(const json_t *document, Fault *fault, char error[FIELDS_ERROR_SIZE])
{
	static const FaultKind kinds[] = {FAULT_STATUS, FAULT_RESULT, FAULT_RESET};
	const char *name = fault_code_field(fault->kind);
	const json_t *value = name != NULL ? json_object_get(document, name) : NULL;
	int64_t reset_code = RESET_CODE_DEFAULT;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
	{
		if (kinds[i] != fault->kind && json_object_get(document, fault_code_field(kinds[i])))
			return fields_fail(error, "\"%s\" does not go with kind \"%s\"",
							   fault_code_field(kinds[i]), fault_kind_name(fault->kind));
	}
	switch (fault->kind)
	{
		case FAULT_STATUS:
			if (value == NULL || !status_of(value, &fault->code))
				return fields_fail(error, "kind \"status\" needs \"status\": name or number of a"
										  " gRPC status other than OK");
			return true;
		case FAULT_RESULT:
			if (value == NULL || !result_of(value, &fault->code))
				return fields_fail(error, "kind \"result\" needs \"result\": name or number of a"
										  " ResultCode");
			return true;
		case FAULT_RESET:
			if (!fields_integer(document, name, 0, RESET_CODE_MAX, &reset_code, error))
				return false;
			fault->code = (int) reset_code;
			return true;
		default:
			return true;
	}
}

static bool
read_numbers(const json_t *document, Fault *fault, char error[FIELDS_ERROR_SIZE])
{
	const json_t *percent = json_object_get(document, "percent");

	if (!fields_integer(document, "account_id", 0, INT64_MAX, &fault->account_id, error) ||
		!fields_integer(document, "times", 0, ACCOUNT_FAULT_TIMES_MAX, &fault->times, error) ||
		!fields_integer(document, "delay_ms", 0, ACCOUNT_FAULT_DELAY_MS_MAX, &fault->delay_ms,
						error))
		return false;
	if (fault->kind == FAULT_DELAY && fault->delay_ms == 0)
		return fields_fail(error, "kind \"delay\" needs \"delay_ms\" above 0");
	if (percent != NULL)
		fault->percent = json_number_value(percent);
	if (!(fault->percent >= 0 && fault->percent <= 100))
		return fields_fail(error, "\"percent\" must be 0 to 100");
	return true;
}

static bool
read_fault(const json_t *document, Fault *fault, char error[FIELDS_ERROR_SIZE])
{
	const char *kind;
	const char *when;
	const char *method_text;
	Method method;

	*fault = (Fault){.method = FAULT_METHOD_ANY, .account_id = FAULT_ACCOUNT_ANY, .percent = 100};
	if (!fields_check(document, "a fault", fault_fields, error))
		return false;
	kind = json_string_value(json_object_get(document, "kind"));
	if (kind == NULL || !fault_kind_of(kind, &fault->kind))
		return fields_fail(error, "a fault needs \"kind\": delay, status, result, drop, hang, reset"
								  " or crash");
	when = json_string_value(json_object_get(document, "when"));
	if (when != NULL && strcmp(when, "before") != 0 && strcmp(when, "after") != 0)
		return fields_fail(error, "\"when\" must be \"before\" or \"after\"");
	fault->is_after = when != NULL && strcmp(when, "after") == 0;
	method_text = json_string_value(json_object_get(document, "method"));
	if (method_text != NULL && strcmp(method_text, "*") != 0)
	{
		if (!method_of_name(method_text, &method))
			return fields_fail(error, "there is no method \"%.64s\"", method_text);
		fault->method = method;
	}
	return read_numbers(document, fault, error) && read_code(document, fault, error);
}

int
fault_document_read(const json_t *document, Fault list[ACCOUNT_FAULTS_MAX],
					char error[FIELDS_ERROR_SIZE])
{
	size_t count = json_array_size(document);

	if (!json_is_array(document) || count > ACCOUNT_FAULTS_MAX)
	{
		fields_fail(error, "faults must be an array of at most %d", ACCOUNT_FAULTS_MAX);
		return -1;
	}
	for (size_t i = 0; i < count; i++)
	{
		if (!read_fault(json_array_get(document, i), &list[i], error))
			return -1;
	}
	return (int) count;
}

static json_t *
write_fault(const Fault *fault)
{
	bool is_any = fault->method == FAULT_METHOD_ANY;
	json_t *document =
		json_pack("{s:s, s:s, s:s, s:I, s:f, s:I, s:I, s:I}", "kind", fault_kind_name(fault->kind),
				  "when", fault->is_after ? "after" : "before", "method",
				  is_any ? "*" : method_name((Method) fault->method), "account_id",
				  (json_int_t) fault->account_id, "percent", fault->percent, "times",
				  (json_int_t) fault->times, "delay_ms", (json_int_t) fault->delay_ms, "hits",
				  (json_int_t) fault->hits);
	json_t *code = NULL;

	assert(document != NULL);
	if (fault->kind == FAULT_STATUS)
		code = json_string(grpc_status_name(fault->code));
	else if (fault->kind == FAULT_RESULT)
		code = json_string(method_result_name(fault->code));
	else if (fault->kind == FAULT_RESET)
		code = json_integer(fault->code);
	if (code != NULL)
		json_object_set_new(document, fault_code_field(fault->kind), code);
	return document;
}

json_t *
fault_document_list(const Faults *faults)
{
	json_t *list = json_array();

	for (int i = 0; i < faults->count; i++)
		json_array_append_new(list, write_fault(&faults->list[i]));
	return list;
}
