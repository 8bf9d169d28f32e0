/*
 * event_json.c
 *		The JSON form of an event.
 *
 * DESIGN	The keys order_id, account_id, symbol, side, quantity and price, and the types of their
 *			values, are the predecessor's; the others follow them. Its order_id is a text, and ours
 *			has to be: from the 513th timeline on an id is above 2^53, which a reader that takes
 *			every number for a double would round. Money stays in micro-units, so there is no
 *			fraction to be rounded either.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/json.h"

#include "event_json.h"

static void
append_text(StringInfo buffer, const char *start, const char *value)
{
	appendStringInfoString(buffer, start);
	escape_json(buffer, value);
}

static void
append_number(StringInfo buffer, const char *start, int64 value)
{
	char digits[MAXINT8LEN + 1];

	appendStringInfoString(buffer, start);
	appendBinaryStringInfo(buffer, digits, pg_lltoa(value, digits));
}

void
event_json_append(StringInfo buffer, const Event *event)
{
	append_number(buffer, "{\"order_id\":\"", event->order_id);
	append_number(buffer, "\",\"account_id\":", event->account_id);
	append_text(buffer, ",\"symbol\":", event->symbol);
	append_text(buffer, ",\"side\":", rules_side_name(event->side));
	append_text(buffer, ",\"order_type\":", rules_order_type_name(event->order_type));
	append_number(buffer, ",\"quantity\":", event->quantity);
	append_number(buffer, ",\"price\":", event->price);
	append_text(buffer, ",\"time_in_force\":", rules_time_in_force_name(event->time_in_force));
	append_text(buffer, ",\"status\":", rules_status_name(event->status));
	append_text(buffer, ",\"reserve_id\":", event->reserve_id);
	append_number(buffer, ",\"created_at_millis\":", event->created_at_ms);
	append_text(buffer, ",\"event_type\":", rules_event_type_name(event->event_type));
	append_number(buffer, ",\"order_version\":", event->order_version);
	append_number(buffer, ",\"filled_quantity\":", event->filled_quantity);
	append_text(buffer,
				",\"reason\":", event->reason == REASON_NONE ? "" : reason_name(event->reason));
	appendStringInfoChar(buffer, '}');
}
