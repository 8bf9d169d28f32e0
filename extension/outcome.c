/*
 * outcome.c
 *		What became of one item of a call.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "outcome.h"

static char *format_detail(const char *format, va_list arguments) pg_attribute_printf(1, 0);

static char *
format_detail(const char *format, va_list arguments)
{
	StringInfoData text;
	va_list copy;
	int needed;

	initStringInfo(&text);
	for (;;)
	{
		va_copy(copy, arguments);
		needed = appendStringInfoVA(&text, format, copy);
		va_end(copy);
		if (needed == 0)
			return text.data;
		enlargeStringInfo(&text, needed);
	}
}

void
outcome_refuse(Outcome *outcome, Reason reason, const char *detail, ...)
{
	va_list arguments;

	Assert(reason != REASON_NONE);
	*outcome = (Outcome){.code = (int16) reason_code(reason), .reason = reason};
	if (detail == NULL)
		return;
	va_start(arguments, detail);
	outcome->detail = format_detail(detail, arguments);
	va_end(arguments);
}

void
outcome_refuse_for(Outcome *outcome, Reason reason, const Order *order, const char *detail, ...)
{
	va_list arguments;

	Assert(reason != REASON_NONE);
	*outcome = (Outcome){.code = (int16) reason_code(reason), .reason = reason, .order = order};
	va_start(arguments, detail);
	outcome->detail = format_detail(detail, arguments);
	va_end(arguments);
}

void
outcome_accept(Outcome *outcome, const Order *order, bool is_replayed)
{
	*outcome = (Outcome){.code = CODE_OK,
						 .reason = order->reason,
						 .is_recorded = true,
						 .is_replayed = is_replayed,
						 .order = order};
}

void
outcome_replay(Outcome *outcome, const Order *order)
{
	Assert(order->status != STATUS_RECEIVED);
	outcome_accept(outcome, order, true);
	outcome->code = order->code;
}

/* What the caller can do about it; NULL where the message says it all. */
static const char *
hint_of(Reason reason)
{
	switch (reason)
	{
		case REASON_IN_PROGRESS:
			return "Repeat the same request later.";
		case REASON_KEY_REUSED:
			return "Use a new key for a new request.";
		case REASON_PRICE_INVALID:
			return "Prices are in micro-units: 1000000 is 1.0.";
		case REASON_SYMBOL_HALTED:
			return "Repeat the request with the same key when trading resumes.";
		default:
			return NULL;
	}
}

void
outcome_raise(const Outcome *outcome)
{
	int code = outcome->code;
	const char *hint = hint_of(outcome->reason);

	Assert(!outcome->is_recorded);
	ereport(ERROR, (errcode(MAKE_SQLSTATE('O', 'S', '0' + code / 100, '0' + code / 10 % 10,
										  '0' + code % 10)),
					errmsg("%s", reason_message(outcome->reason)),
					outcome->detail != NULL ? errdetail("%s", outcome->detail) : 0,
					hint != NULL ? errhint("%s", hint) : 0));
	pg_unreachable();
}
