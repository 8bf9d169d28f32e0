/*
 * orderctl_text.c
 *		Answers for people: one line for a command, tables for what is read.
 *
 * DESIGN	What happened goes to standard output; what could be done next, to standard error.
 */
#include "orderctl_print.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "decimal.h"
#include "orderctl_format.h"
#include "reason.h"

/* Columns of the table of `status`. */
#define NAME_SIZE 128

/* An order id and a version. */
#define ORDERCTL_ID_SIZE 48

/* One of a text of the server's or the user's, unless a terminal would act on it. */
static void
put_character(char character)
{
	putchar(iscntrl((unsigned char) character) ? '?' : character);
}

static void
put_text(const char *text)
{
	for (; *text != '\0'; text++)
		put_character(*text);
}

/* A message in the middle of a line: without the full stop of its last sentence. */
static void
put_message(const char *message)
{
	size_t length = strlen(message);
	bool has_stop = length > 0 && message[length - 1] == '.';

	for (size_t i = 0; i < length - has_stop; i++)
		put_character(message[i]);
}

/* |separator| is what stands between this and what was printed before. */
static void
put_key(const char *separator, const OrderctlOptions *options)
{
	printf("%skey ", separator);
	put_text(options->key);
}

static void
put_price(int64_t price, int order_type)
{
	char text[DECIMAL_TEXT_SIZE];

	decimal_format(price, text);
	fputs(order_type == ORDER_SERVICE__V1__ORDER_TYPE__MARKET ? "market" : text, stdout);
}

/* "REASON, message" */
static void
put_reason(const char *reason, const char *message)
{
	put_text(*reason != '\0' ? reason : "UNKNOWN");
	fputs(", ", stdout);
	put_message(message);
}

/* ----- place and cancel -------------------------------------------------------------------- */

static void
print_accepted(const OrderctlOptions *options, const OrderService__V1__OrderResponse *response)
{
	printf("accepted%s: order %" PRId64 ", %s %" PRId64 " ",
		   response->replayed ? " (repeated)" : "", response->order_id,
		   orderctl_format_side(options->side), options->quantity);
	put_text(options->symbol);
	fputs(" at ", stdout);
	put_price(options->price, options->order_type);
	printf(" %s", orderctl_format_time_in_force(options->time_in_force));
	/* A repeated request may find the order far ahead. */
	if (response->status != ORDER_SERVICE__V1__ORDER_STATUS__ACCEPTED)
		printf(", now %s", orderctl_format_status(response->status));
	if (response->filled_quantity != 0)
		printf(", %" PRId64 " filled", response->filled_quantity);
}

static void
print_cancel(const OrderService__V1__OrderResponse *response)
{
	bool is_requested = response->status == ORDER_SERVICE__V1__ORDER_STATUS__CANCEL_REQUESTED;

	printf("cancel requested%s: order %" PRId64, response->replayed ? " (repeated)" : "",
		   response->order_id);
	if (!is_requested)
		printf(", now %s", orderctl_format_status(response->status));
}

static void
print_rejected(const OrderctlOptions *options, const OrderService__V1__OrderResponse *response)
{
	printf("rejected%s: ", response->replayed ? " (repeated)" : "");
	put_reason(response->reason, response->message);
	printf("; order %" PRId64, response->order_id);
	if (options->command == ORDERCTL_CANCEL)
		printf(" is %s", orderctl_format_status(response->status));
}

static void
print_response(const OrderctlOptions *options, const OrderService__V1__OrderResponse *response)
{
	if (response->code != CODE_OK)
		print_rejected(options, response);
	else if (options->command == ORDERCTL_CANCEL)
		print_cancel(response);
	else
		print_accepted(options, response);
	put_key(", ", options);
	putchar('\n');
	fflush(stdout);
	if (response->code != CODE_OK && reason_repeat(response->code) != REPEAT_NOT)
		fputs("orderctl: this is recorded under its key; another attempt needs a new one\n",
			  stderr);
}

/* How to learn what became of a command. */
static void
explain_unknown(const OrderctlOptions *options)
{
	if (options->command == ORDERCTL_PLACE)
		fprintf(stderr, "orderctl: to learn what became of it: orderctl get --key '%s'\n",
				options->key);
	fprintf(
		stderr,
		"orderctl: to make sure of it, repeat the command with --key '%s': nothing is done twice\n",
		options->key);
}

static bool
is_command_with_effect(const OrderctlOptions *options)
{
	return options->command == ORDERCTL_PLACE || options->command == ORDERCTL_CANCEL;
}

static void
print_refusal(const OrderctlOptions *options, const OrderService__V1__ErrorMessage *error)
{
	bool is_unknown = error->code == CODE_OUTCOME_UNKNOWN;

	fputs(is_unknown ? "unknown: " : "refused: ", stdout);
	put_text(*error->reason != '\0' ? error->reason : "UNKNOWN");
	printf(" (%" PRId32 "), ", error->code);
	put_message(error->message);
	if (is_command_with_effect(options))
		put_key("; ", options);
	putchar('\n');
	fflush(stdout);
	if (!is_command_with_effect(options))
		return;
	if (is_unknown)
		explain_unknown(options);
	else if (reason_repeat(error->code) == REPEAT_LATER)
		fprintf(stderr,
				"orderctl: the key is not used up: the command may be repeated with --key '%s'\n",
				options->key);
}

static void
print_failure(const OrderctlOptions *options, bool is_sent, const char *reason)
{
	bool is_requeue =
		options->command == ORDERCTL_OUTBOX_REQUEUE || options->command == ORDERCTL_DLQ_REQUEUE;
	bool is_unknown = is_sent && (is_command_with_effect(options) || is_requeue);

	fflush(stdout);
	fprintf(stderr, "orderctl: %s%s\n", is_unknown ? "outcome unknown: " : "", reason);
	if (is_unknown && is_requeue)
		fputs("orderctl: it may be repeated: what was put back is not put back twice\n", stderr);
	else if (is_unknown)
		explain_unknown(options);
	else if (is_command_with_effect(options))
		fputs("orderctl: nothing was sent\n", stderr);
}

/* ----- get, list, login -------------------------------------------------------------------- */

static void
print_order(const OrderctlOptions *options, const OrderService__V1__Order *order)
{
	char time[ORDERCTL_TIME_SIZE];

	(void) options;
	printf("order       %" PRId64 "\n", order->order_id);
	printf("account     %" PRId64 "\n", order->account_id);
	printf("what        %s %" PRId64 " ", orderctl_format_side(order->side), order->quantity);
	put_text(order->symbol);
	fputs(" at ", stdout);
	put_price(order->price, order->order_type);
	printf(" %s\n", orderctl_format_time_in_force(order->time_in_force));
	printf("status      %s\n", orderctl_format_status(order->status));
	if (*order->reason != '\0')
	{
		int reason = reason_number(order->reason);

		fputs("reason      ", stdout);
		put_text(order->reason);
		printf("%s%s\n", reason >= 0 ? ", " : "", reason >= 0 ? reason_message(reason) : "");
	}
	printf("filled      %" PRId64 "\n", order->filled_quantity);
	orderctl_format_time(order->created_at, time);
	printf("created     %s\n", time);
	orderctl_format_time(order->updated_at, time);
	printf("updated     %s\n", time);
	fflush(stdout);
}

static void
print_row(const OrderService__V1__Order *order)
{
	char price[DECIMAL_TEXT_SIZE];
	char time[ORDERCTL_TIME_SIZE];

	decimal_format(order->price, price);
	orderctl_format_time(order->created_at, time);
	printf("%10" PRId64 "  %-16s  %-4s  %10" PRId64 "  %10" PRId64 "  %14s  %-3s  %-24s  ",
		   order->order_id, orderctl_format_status(order->status),
		   orderctl_format_side(order->side), order->quantity, order->filled_quantity,
		   order->order_type == ORDER_SERVICE__V1__ORDER_TYPE__MARKET ? "market" : price,
		   orderctl_format_time_in_force(order->time_in_force), time);
	put_text(order->symbol);
	if (*order->reason != '\0')
	{
		fputs("  ", stdout);
		put_text(order->reason);
	}
	putchar('\n');
}

static void
print_orders(const OrderctlOptions *options, const OrderService__V1__ListOrdersResponse *response)
{
	static bool has_head;

	if (!has_head && response->n_orders > 0)
		printf("%10s  %-16s  %-4s  %10s  %10s  %14s  %-3s  %-24s  %s\n", "ORDER", "STATUS", "SIDE",
			   "QUANTITY", "FILLED", "PRICE", "TIF", "CREATED", "SYMBOL, REASON");
	has_head = has_head || response->n_orders > 0;
	for (size_t i = 0; i < response->n_orders; i++)
		print_row(response->orders[i]);
	fflush(stdout);
	if (!has_head)
		fputs("orderctl: no orders\n", stderr);
	if (response->more && !options->is_all && response->n_orders > 0)
		fprintf(stderr, "orderctl: there are more: orderctl list%s --after %" PRId64 "\n",
				options->is_open_only ? " --open" : "",
				response->orders[response->n_orders - 1]->order_id);
}

static void
print_login(const OrderctlOptions *options, const OrderService__V1__LoginResponse *response)
{
	char time[ORDERCTL_TIME_SIZE];

	(void) options;
	orderctl_format_time(response->expires_at, time);
	printf("logged in: account %" PRId64 ", the session is good until %s\n", response->account_id,
		   time);
}

static void
print_logout(const OrderctlOptions *options)
{
	(void) options;
	puts("logged out: the session has ended");
}

/* ----- ping and status --------------------------------------------------------------------- */

static void
print_ping(const OrderctlOptions *options, const char *peer, int64_t duration_us)
{
	(void) options;
	printf("answer from %s in %" PRId64 ".%03" PRId64 " ms\n", peer, duration_us / CLOCK_MS,
		   duration_us % CLOCK_MS);
	fflush(stdout);
}

static void
print_pings(const OrderctlOptions *options, const OrderctlPings *pings)
{
	(void) options;
	printf("%" PRId64 " answers: min %.3f, median %.3f, max %.3f ms\n", pings->count,
		   (double) pings->min_us / CLOCK_MS, (double) pings->median_us / CLOCK_MS,
		   (double) pings->max_us / CLOCK_MS);
}

/* Prints a value as rows "outer.inner  value"; items of an array are numbered from 1. */
static void
print_value(const char *name, const json_t *value)
{
	char inner_name[NAME_SIZE];
	const char *separator = *name != '\0' ? "." : "";

	if (json_is_object(value))
	{
		const char *key;
		json_t *inner;

		json_object_foreach((json_t *) value, key, inner)
		{
			snprintf(inner_name, sizeof(inner_name), "%s%s%s", name, separator, key);
			print_value(inner_name, inner);
		}
	}
	else if (json_is_array(value))
	{
		size_t index;
		json_t *inner;

		json_array_foreach(value, index, inner)
		{
			snprintf(inner_name, sizeof(inner_name), "%s%s%zu", name, separator, index + 1);
			print_value(inner_name, inner);
		}
	}
	else
	{
		char *text = json_dumps(value, JSON_ENCODE_ANY);

		printf("%-40s  ", name);
		put_text(json_is_string(value) ? json_string_value(value) : text != NULL ? text : "");
		putchar('\n');
		free(text);
	}
}

static void
print_health(const OrderctlOptions *options, const OrderctlHealth *health)
{
	printf("%-40s  %s\n", "server", options->admin);
	printf("%-40s  %s", "readyz", health->is_ready ? "yes" : "no: ");
	if (!health->is_ready)
		put_text(health->readiness);
	putchar('\n');
	if (health->status != NULL)
		print_value("", health->status);
	else
		fputs("orderctl: /status is not JSON\n", stderr);
}

/* ----- outbox and dlq ---------------------------------------------------------------------- */

static void
print_event_row(const OrderctlEvent *event, bool is_dlq)
{
	char time[ORDERCTL_TIME_SIZE];
	char id[ORDERCTL_ID_SIZE];

	snprintf(id, sizeof(id), "%" PRId64 ".%" PRId64, event->order_id, event->order_version);
	orderctl_format_time(is_dlq ? event->failed_at : event->created_at, time);
	printf("%10" PRId64 "  %-12s  %-6s  ", event->event_id, id, event->status);
	if (is_dlq)
		printf("%8" PRId64 "  %7" PRId64 "  ", event->attempts, event->waiting);
	printf("%-24s  %s", time, event->type);
	if (*event->error != '\0')
	{
		fputs("  ", stdout);
		put_text(event->error);
	}
	putchar('\n');
}

static void
print_events(const OrderctlOptions *options, const OrderctlEvent *events, int count, bool is_more)
{
	static bool has_head;
	bool is_dlq = options->command == ORDERCTL_DLQ_LIST;

	if (!has_head && count > 0 && is_dlq)
		printf("%10s  %-12s  %-6s  %8s  %7s  %-24s  %s\n", "EVENT", "ID", "STATUS", "ATTEMPTS",
			   "WAITING", "FAILED", "TYPE, ERROR");
	else if (!has_head && count > 0)
		printf("%10s  %-12s  %-6s  %-24s  %s\n", "EVENT", "ID", "STATUS", "CREATED", "TYPE, ERROR");
	has_head = has_head || count > 0;
	for (int i = 0; i < count; i++)
		print_event_row(&events[i], is_dlq);
	fflush(stdout);
	if (options->command == ORDERCTL_OUTBOX_TAIL)
		return;
	if (!has_head)
		fputs("orderctl: no such events\n", stderr);
	if (is_more && !options->is_all)
		fprintf(stderr, "orderctl: there are more: add --after %" PRId64 ", or --all\n",
				events[count - 1].event_id);
}

static void
print_event_time(const char *name, int64_t time_ms)
{
	char time[ORDERCTL_TIME_SIZE];

	orderctl_format_time(time_ms, time);
	if (time_ms != 0)
		printf("%-12s%s\n", name, time);
}

static void
print_event(const OrderctlOptions *options, const OrderctlEvent *event, const json_t *payload)
{
	(void) options;
	printf("event       %" PRId64 "\n", event->event_id);
	printf("id          %" PRId64 ".%" PRId64 "\n", event->order_id, event->order_version);
	printf("type        %s\n", event->type);
	printf("status      %s\n", event->status);
	if (event->blocker_id != 0)
		printf("waits for   event %" PRId64 ", %" PRId64 ".%" PRId64 ", which is %s\n",
			   event->blocker_id, event->order_id, event->blocker_version, event->blocker_status);
	if (event->attempts != 0)
		printf("attempts    %" PRId64 "\n", event->attempts);
	if (*event->error != '\0')
	{
		fputs("error       ", stdout);
		put_text(event->error);
		putchar('\n');
	}
	print_event_time("created", event->created_at);
	print_event_time("sent", event->sent_at);
	print_event_time("next try", event->next_attempt_at);
	print_event_time("failed", event->failed_at);
	if (event->failed_at != 0)
		printf("waiting     %" PRId64 " later events of the order\n", event->waiting);
	putchar('\n');
	if (payload != NULL)
		print_value("", payload);
	else
		puts("the payload is not an OrderEvent");
	fflush(stdout);
}

static void
print_requeued(const OrderctlOptions *options, int64_t count)
{
	(void) options;
	printf("requeued: %" PRId64 " event%s; later ones of the same order follow\n", count,
		   count == 1 ? "" : "s");
	fflush(stdout);
}

const OrderctlPrinter orderctl_text_printer = {
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
