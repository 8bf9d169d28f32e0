/*
 * orderctl_json.c
 *		Answers as JSON: one object a line for each.
 *
 * DESIGN	Names as in the events that the database publishes. Prices come twice, as the exact
 *			decimal text and in micro-units; so do times, as text and in milliseconds.
 */
#include "orderctl_print.h"

#include <stdio.h>
#include <stdlib.h>

#include "decimal.h"
#include "orderctl_format.h"
#include "reason.h"

/* A text that is not UTF-8 has no place in JSON. */
static json_t *
text_value(const char *text)
{
	json_t *value = json_string(text);

	return value != NULL ? value : json_string("?");
}

static void
set_text(json_t *object, const char *name, const char *text)
{
	json_object_set_new(object, name, text_value(text));
}

static void
set_number(json_t *object, const char *name, int64_t number)
{
	json_object_set_new(object, name, json_integer(number));
}

static void
set_bool(json_t *object, const char *name, bool value)
{
	json_object_set_new(object, name, json_boolean(value));
}

static void
set_price(json_t *object, int64_t price)
{
	char text[DECIMAL_TEXT_SIZE];

	decimal_format(price, text);
	set_text(object, "price", text);
	set_number(object, "price_micro_units", price);
}

static void
set_time(json_t *object, const char *name, const char *name_millis, int64_t time_ms)
{
	char text[ORDERCTL_TIME_SIZE];

	orderctl_format_time(time_ms, text);
	set_text(object, name, text);
	set_number(object, name_millis, time_ms);
}

/* Writes an object on one line and frees it. */
static void
print(json_t *object)
{
	json_dumpf(object, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
	fputc('\n', stdout);
	fflush(stdout);
	json_decref(object);
}

/* What was asked for, in every answer to place and cancel. */
static void
set_command(json_t *object, const OrderctlOptions *options)
{
	set_text(object, "command", orderctl_command_name(options->command));
	if (options->key != NULL)
		set_text(object, "key", options->key);
	if (options->command != ORDERCTL_PLACE)
		return;
	set_text(object, "side", orderctl_format_side(options->side));
	set_text(object, "symbol", options->symbol);
	set_text(object, "order_type", orderctl_format_order_type(options->order_type));
	set_number(object, "quantity", options->quantity);
	set_price(object, options->price);
	set_text(object, "time_in_force", orderctl_format_time_in_force(options->time_in_force));
}

static void
print_response(const OrderctlOptions *options, const OrderService__V1__OrderResponse *response)
{
	json_t *object = json_object();

	set_text(object, "outcome", response->code == CODE_OK ? "accepted" : "rejected");
	set_number(object, "code", response->code);
	set_text(object, "reason", response->reason);
	set_text(object, "message", response->message);
	set_number(object, "order_id", response->order_id);
	set_text(object, "status", orderctl_format_status(response->status));
	set_number(object, "filled_quantity", response->filled_quantity);
	set_bool(object, "replayed", response->replayed);
	set_time(object, "timestamp", "timestamp_millis", response->timestamp);
	set_command(object, options);
	print(object);
}

static json_t *
order_value(const OrderService__V1__Order *order)
{
	json_t *object = json_object();

	set_number(object, "order_id", order->order_id);
	set_number(object, "account_id", order->account_id);
	set_text(object, "symbol", order->symbol);
	set_text(object, "side", orderctl_format_side(order->side));
	set_text(object, "order_type", orderctl_format_order_type(order->order_type));
	set_number(object, "quantity", order->quantity);
	set_price(object, order->price);
	set_text(object, "time_in_force", orderctl_format_time_in_force(order->time_in_force));
	set_text(object, "status", orderctl_format_status(order->status));
	set_number(object, "filled_quantity", order->filled_quantity);
	set_text(object, "reason", order->reason);
	set_time(object, "created_at", "created_at_millis", order->created_at);
	set_time(object, "updated_at", "updated_at_millis", order->updated_at);
	return object;
}

static void
print_order(const OrderctlOptions *options, const OrderService__V1__Order *order)
{
	(void) options;
	print(order_value(order));
}

static void
print_orders(const OrderctlOptions *options, const OrderService__V1__ListOrdersResponse *response)
{
	json_t *object = json_object();
	json_t *orders = json_array();

	(void) options;
	for (size_t i = 0; i < response->n_orders; i++)
		json_array_append_new(orders, order_value(response->orders[i]));
	json_object_set_new(object, "orders", orders);
	set_bool(object, "more", response->more);
	print(object);
}

static void
print_login(const OrderctlOptions *options, const OrderService__V1__LoginResponse *response)
{
	json_t *object = json_object();

	(void) options;
	set_number(object, "account_id", response->account_id);
	set_time(object, "expires_at", "expires_at_millis", response->expires_at);
	print(object);
}

static void
print_logout(const OrderctlOptions *options)
{
	json_t *object = json_object();

	(void) options;
	set_bool(object, "logged_out", true);
	print(object);
}

static void
print_ping(const OrderctlOptions *options, const char *peer, int64_t duration_us)
{
	json_t *object = json_object();

	(void) options;
	set_text(object, "peer", peer);
	set_number(object, "duration_us", duration_us);
	print(object);
}

static void
print_pings(const OrderctlOptions *options, const OrderctlPings *pings)
{
	json_t *object = json_object();

	(void) options;
	set_number(object, "count", pings->count);
	set_number(object, "min_us", pings->min_us);
	set_number(object, "median_us", pings->median_us);
	set_number(object, "max_us", pings->max_us);
	print(object);
}

static void
print_health(const OrderctlOptions *options, const OrderctlHealth *health)
{
	json_t *object = json_object();

	(void) options;
	set_bool(object, "ready", health->is_ready);
	set_text(object, "readiness", health->readiness);
	json_object_set_new(object, "status",
						health->status != NULL ? json_deep_copy(health->status) : json_null());
	print(object);
}

/* ----- outbox and dlq ---------------------------------------------------------------------- */

/* A time that there is not is no key. */
static void
set_time_if_any(json_t *object, const char *name, const char *name_millis, int64_t time_ms)
{
	if (time_ms != 0)
		set_time(object, name, name_millis, time_ms);
}

static json_t *
event_value(const OrderctlOptions *options, const OrderctlEvent *event)
{
	json_t *object = json_object();

	set_number(object, "event_id", event->event_id);
	set_number(object, "order_id", event->order_id);
	set_number(object, "order_version", event->order_version);
	set_text(object, "event_type", event->type);
	set_text(object, "status", event->status);
	set_number(object, "attempts", event->attempts);
	set_text(object, "error", event->error);
	set_time_if_any(object, "created_at", "created_at_millis", event->created_at);
	set_time_if_any(object, "sent_at", "sent_at_millis", event->sent_at);
	set_time_if_any(object, "next_attempt_at", "next_attempt_at_millis", event->next_attempt_at);
	set_time_if_any(object, "failed_at", "failed_at_millis", event->failed_at);
	if (options->command == ORDERCTL_DLQ_LIST || options->command == ORDERCTL_DLQ_SHOW)
		set_number(object, "waiting", event->waiting);
	if (event->blocker_id != 0)
		set_number(object, "waits_for_event_id", event->blocker_id);
	return object;
}

static void
print_events(const OrderctlOptions *options, const OrderctlEvent *events, int count, bool is_more)
{
	json_t *object;
	json_t *array;

	if (options->command == ORDERCTL_OUTBOX_TAIL)
	{
		for (int i = 0; i < count; i++)
			print(event_value(options, &events[i]));
		return;
	}
	object = json_object();
	array = json_array();
	for (int i = 0; i < count; i++)
		json_array_append_new(array, event_value(options, &events[i]));
	json_object_set_new(object, "events", array);
	set_bool(object, "more", is_more);
	print(object);
}

static void
print_event(const OrderctlOptions *options, const OrderctlEvent *event, const json_t *payload)
{
	json_t *object = event_value(options, event);

	json_object_set_new(object, "payload", payload != NULL ? json_deep_copy(payload) : json_null());
	print(object);
}

static void
print_requeued(const OrderctlOptions *options, int64_t count)
{
	json_t *object = json_object();

	(void) options;
	set_number(object, "requeued", count);
	print(object);
}

/* ----- No answer ---------------------------------------------------------------------------- */

static void
print_refusal(const OrderctlOptions *options, const OrderService__V1__ErrorMessage *error)
{
	static const char *const repeats[] = {
		[REPEAT_NOT] = "not",
		[REPEAT_LATER] = "later",
		[REPEAT_WITH_NEW_KEY] = "with new key",
	};
	json_t *object = json_object();

	set_text(object, "outcome", error->code == CODE_OUTCOME_UNKNOWN ? "unknown" : "refused");
	set_number(object, "code", error->code);
	set_text(object, "reason", error->reason);
	set_text(object, "message", error->message);
	set_text(object, "repeat", repeats[reason_repeat(error->code)]);
	set_command(object, options);
	print(object);
}

static void
print_failure(const OrderctlOptions *options, bool is_sent, const char *reason)
{
	json_t *object = json_object();

	set_text(object, "outcome", is_sent ? "unknown" : "unsent");
	set_text(object, "message", reason);
	set_command(object, options);
	print(object);
}

const OrderctlPrinter orderctl_json_printer = {
	.response = print_response,
	.order = print_order,
	.orders = print_orders,
	.login = print_login,
	.logout = print_logout,
	.ping = print_ping,
	.pings = print_pings,
	.health = print_health,
	.events = print_events,
	.event = print_event,
	.requeued = print_requeued,
	.refusal = print_refusal,
	.failure = print_failure,
};
