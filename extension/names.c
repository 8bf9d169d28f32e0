/*
 * names.c
 *		SQL functions that give codes their names, and raise a reason by its name.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "outbox.h"
#include "outcome.h"
#include "shared.h"

/*
 * One SQL function f(smallint) returns text over one C function that gives a static name or NULL.
 */
#define NAME_FUNCTION(function, name_of) \
	PG_FUNCTION_INFO_V1(function); \
	Datum function(PG_FUNCTION_ARGS) \
	{ \
		const char *name = name_of(PG_GETARG_INT16(0)); \
\
		if (name == NULL) \
			PG_RETURN_NULL(); \
		PG_RETURN_TEXT_P(cstring_to_text(name)); \
	}

static const char *
outbox_status_name(int status)
{
	static const char *const names[] = {[OUTBOX_READY] = "READY",
										[OUTBOX_SENT] = "SENT",
										[OUTBOX_FAILED] = "FAILED",
										[OUTBOX_DLQ] = "DLQ"};

	return status >= 0 && status < (int) lengthof(names) ? names[status] : NULL;
}

NAME_FUNCTION(names_side_name, rules_side_name)
NAME_FUNCTION(names_order_type_name, rules_order_type_name)
NAME_FUNCTION(names_time_in_force_name, rules_time_in_force_name)
NAME_FUNCTION(names_status_name, rules_status_name)
NAME_FUNCTION(names_hold_name, rules_hold_name)
NAME_FUNCTION(names_event_type_name, rules_event_type_name)
NAME_FUNCTION(names_execution_type_name, rules_execution_type_name)
NAME_FUNCTION(names_outbox_status_name, outbox_status_name)
NAME_FUNCTION(names_reason_name, reason_name)
NAME_FUNCTION(names_reason_message, reason_message)

PG_FUNCTION_INFO_V1(names_refuse);
PG_FUNCTION_INFO_V1(names_preloaded);

Datum
names_refuse(PG_FUNCTION_ARGS)
{
	Outcome outcome;
	char *name = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	char *detail = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	int reason = name != NULL ? reason_number(name) : -1;

	if (reason <= REASON_NONE)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unrecognized reason: \"%s\"", name != NULL ? name : "NULL")));
	outcome_refuse(&outcome, reason, detail != NULL ? "%s" : NULL, detail);
	outcome_raise(&outcome);
}

Datum
names_preloaded(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	PG_RETURN_BOOL(shared_is_preloaded());
}
