/*
 * orderctl_help.c
 *		The help of orderctl.
 */
#include "orderctl_help.h"

#include "base/bounds.h"
#include "orderctl_exit.h"

/* A limit as part of a text. */
#define NUMBER(limit) NUMBER_TEXT(limit)
#define NUMBER_TEXT(number) #number

/* Of --limit. */
#define LIMITS "up to " NUMBER(LIST_ORDERS_MAX) "; the default is " NUMBER(LIST_ORDERS_DEFAULT)

typedef struct HelpRow
{
	const char *synopsis;
	const char *purpose;
	const char *text;
} HelpRow;

static const char login_text[] =
	"Sends the session id and prints the account it stands for. The other commands send the\n"
	"session id themselves; login is a way to try it.\n"
	"\n"
	"A session is opened in the database and lives for the time given there:\n"
	"  ORDER_SESSION=$(psql -Atc \"SELECT order_service.open_session(1, '8 hours')\")\n"
	"  export ORDER_SESSION\n"
	"  orderctl login\n";

static const char logout_text[] = "Ends the session: its id is worth nothing from then on.\n"
								  "\n"
								  "  orderctl logout\n";

static const char place_text[] =
	"Places an order and prints what became of it. With a PRICE it is a limit order, without\n"
	"one a market order. A price is a decimal number with at most 6 places.\n"
	"\n"
	"  --type TYPE   market or limit, to say it in so many words\n"
	"  --tif TIME    how long it is good: DAY (the default), GTC until canceled, IOC at once or\n"
	"                not at all, FOK completely at once or not at all\n"
	"  --key KEY     the idempotency key, 1 to 128 printable characters; the default is a fresh\n"
	"                UUIDv7, which is always printed\n"
	"\n"
	"The same command with the same --key does nothing twice: it prints the recorded result\n"
	"again. When no answer came, repeat it so, or ask with `orderctl get --key KEY`.\n"
	"\n"
	"  orderctl place BUY ACME 10 101.50\n"
	"    accepted: order 17, BUY 10 ACME at 101.50 DAY, key 0198c5a2-7d0e-7c3a-9f2b-...\n"
	"  orderctl place SELL ACME 5 --tif IOC\n"
	"  orderctl place BUY ACME 10 101.50 --key my-order-1\n";

static const char cancel_text[] =
	"Asks the exchange to cancel an order. It is canceled once the exchange confirms: until\n"
	"then its status is CANCEL_REQUESTED, and it may still be filled.\n"
	"\n"
	"  --key KEY     the idempotency key of this cancel; the default is a fresh UUIDv7\n"
	"\n"
	"  orderctl cancel 17\n"
	"    cancel requested: order 17, key 0198c5a2-8a11-7f02-8d4c-...\n";

static const char get_text[] =
	"Shows an order by its id, or the one that was placed under an idempotency key: that is\n"
	"how to learn what became of a `place` that was not answered.\n"
	"\n"
	"  orderctl get 17\n"
	"  orderctl get --key 0198c5a2-7d0e-7c3a-9f2b-0123456789ab\n";

static const char list_text[] =
	"Shows the orders of the account, by ascending id, one page.\n"
	"\n"
	"  --open        only those that may still trade\n"
	"  --after ID    those behind this id (the last one of the page before)\n"
	"  --limit N     so many at most, " LIMITS "\n"
	"  --all         page after page to the end\n"
	"\n"
	"  orderctl list --open\n"
	"  orderctl list --all --json | jq '.orders[].order_id'\n";

static const char ping_text[] =
	"Measures the time from a request to its answer. Needs no session, touches no database.\n"
	"\n"
	"  --count N     so many, one after another; the default is 1\n"
	"\n"
	"  orderctl ping --count 5\n";

static const char status_text[] =
	"Shows /readyz and /status of the proxy's port for operators, given by --admin HOST:PORT\n"
	"or ORDER_PROXY_ADMIN. Ends with 0 when the server is ready and with 19 when it is not.\n"
	"\n"
	"  orderctl status\n"
	"  orderctl status --json | jq .ready\n";

static const char outbox_list_text[] =
	"Shows the events that are not known to be in Kafka, by ascending id, one page: READY (to be\n"
	"sent), FAILED (Kafka refused it for good) and DLQ (FAILED, and a copy is in the dead letter\n"
	"topic). With --order all events of an order that the outbox still has.\n"
	"\n"
	"  --status S    only those: READY, SENT, FAILED, DLQ or ALL\n"
	"  --order ID    only those of an order\n"
	"  --after ID    those behind this event (the last one of the page before)\n"
	"  --limit N     so many at most, " LIMITS "\n"
	"  --all         page after page to the end\n"
	"\n"
	"How many they are: psql -c 'TABLE order_service.outbox_lag'\n"
	"\n"
	"  orderctl outbox list\n"
	"  orderctl outbox list --order 17\n"
	"  orderctl outbox list --all --json | jq '.events[].event_id'\n";

static const char outbox_show_text[] =
	"Shows an event: its state, its last error, what it waits for, and what it tells. EVENT is\n"
	"its id, or what the header \"id\" of its record says: ORDER_ID.VERSION.\n"
	"\n"
	"  orderctl outbox show 123\n"
	"  orderctl outbox show 17.2\n";

static const char requeue_text[] =
	"Has events that are FAILED or DLQ sent again, with no attempt counted, and behind each the\n"
	"later events of its order, in their order. First mend what Kafka refused them for: it is\n"
	"the error of `orderctl dlq list`. EVENT is an id, or ORDER_ID.VERSION.\n"
	"\n"
	"  --order ID       the event that an order waits for\n"
	"  --error PATTERN  those with an error LIKE this, such as '%too large%'\n"
	"  --status S       those that are FAILED, or those that are DLQ\n"
	"  --all            all of them\n"
	"\n"
	"The options may be combined. Ends with 14 when there is no such event.\n"
	"`outbox requeue` and `dlq requeue` are the same.\n"
	"\n"
	"  orderctl dlq requeue 123\n"
	"  orderctl dlq requeue --error '%too large%'\n";

static const char outbox_tail_text[] =
	"Shows events as they are committed, each once, until it is interrupted. One that commits\n"
	"late comes late: ids may jump back.\n"
	"\n"
	"  --after ID    begin behind this event, not with the next new one\n"
	"  --order ID    only events of an order\n"
	"  --count N     end after so many\n"
	"\n"
	"  orderctl outbox tail\n"
	"  orderctl outbox tail --count 10 --json\n";

static const char dlq_list_text[] =
	"Shows the events that Kafka refused for good, by ascending id, one page: FAILED, or already\n"
	"copied to the dead letter topic (DLQ). WAITING are later events of its order, which are not\n"
	"sent before it. Other orders do not wait.\n"
	"\n"
	"  --status S       only those that are FAILED, or DLQ\n"
	"  --order ID       only that of an order\n"
	"  --error PATTERN  only those with an error LIKE this, such as '%too large%'\n"
	"  --after ID       those behind this event (the last one of the page before)\n"
	"  --limit N        so many at most, " LIMITS "\n"
	"  --all            page after page to the end\n"
	"\n"
	"  orderctl dlq list\n";

static const char dlq_show_text[] =
	"Shows an event that is FAILED or DLQ, and what it tells; ends with 14 when it is neither.\n"
	"EVENT is its id, or what the header \"id\" of its record says: ORDER_ID.VERSION.\n"
	"\n"
	"  orderctl dlq show 123\n";

static const HelpRow rows[ORDERCTL_COMMAND_COUNT] = {
	[ORDERCTL_LOGIN] = {"login", "show whose session it is, and until when", login_text},
	[ORDERCTL_LOGOUT] = {"logout", "end the session", logout_text},
	[ORDERCTL_PLACE] = {"place BUY|SELL SYMBOL QUANTITY [PRICE]\n"
						"           [--type market|limit] [--tif DAY|GTC|IOC|FOK] [--key KEY]",
						"place an order", place_text},
	[ORDERCTL_CANCEL] = {"cancel ORDER_ID [--key KEY]", "ask for an order to be canceled",
						 cancel_text},
	[ORDERCTL_GET] = {"get ORDER_ID | --key KEY", "show an order", get_text},
	[ORDERCTL_LIST] = {"list [--open] [--after ID] [--limit N] [--all]", "show many orders",
					   list_text},
	[ORDERCTL_PING] = {"ping [--count N]", "ask the server for a sign of life", ping_text},
	[ORDERCTL_STATUS] = {"status", "show how the server is", status_text},
	[ORDERCTL_OUTBOX_LIST] =
		{"outbox list [--status S] [--order ID] [--after ID] [--limit N] [--all]",
		 "show events not yet in Kafka, or those of an order", outbox_list_text},
	[ORDERCTL_OUTBOX_SHOW] = {"outbox show EVENT", "show an event", outbox_show_text},
	[ORDERCTL_OUTBOX_REQUEUE] = {"outbox requeue EVENT | [--order ID] [--error PATTERN]"
								 " [--status S] [--all]",
								 "have events sent again", requeue_text},
	[ORDERCTL_OUTBOX_TAIL] = {"outbox tail [--after ID] [--order ID] [--count N]",
							  "follow the events", outbox_tail_text},
	[ORDERCTL_DLQ_LIST] = {"dlq list [--status S] [--order ID] [--error PATTERN]\n"
						   "           [--after ID] [--limit N] [--all]",
						   "show events that Kafka refused", dlq_list_text},
	[ORDERCTL_DLQ_SHOW] = {"dlq show EVENT", "show one of them", dlq_show_text},
	[ORDERCTL_DLQ_REQUEUE] = {"dlq requeue EVENT | [--order ID] [--error PATTERN]"
							  " [--status S] [--all]",
							  "have them sent again", requeue_text},
};

void
orderctl_help_write_command(FILE *out, OrderctlCommand command)
{
	fprintf(out, "usage: orderctl %s\n\n%s", rows[command].synopsis, rows[command].text);
	fputs("\nOptions of all commands and exit codes: orderctl --help\n", out);
}

static const char options_text[] =
	"\n"
	"options, before or behind the command\n"
	"  --server HOST:PORT  the proxy; the default is $ORDER_PROXY\n"
	"  --admin HOST:PORT   its port for operators; the default is $ORDER_PROXY_ADMIN\n"
	"  --session ID        the session id, which is never printed; the default is\n"
	"                      $ORDER_SESSION, which other users of the machine cannot see\n"
	"  --database CONNINFO for outbox and dlq: the database, as libpq has it, such as\n"
	"                      \"host=db1 dbname=orders\"; what it leaves open is taken from PGHOST,\n"
	"                      PGDATABASE, ... The role needs order_service.grant_operator(role).\n"
	"  --json              one JSON object for each answer, on standard output\n"
	"  --timeout SECONDS   for connecting, and for each answer; the default is 10\n"
	"  --help              this, or with a command its own help\n"
	"\n"
	"example\n"
	"  export ORDER_PROXY=127.0.0.1:7000 ORDER_SESSION=...\n"
	"  orderctl place BUY ACME 10 101.50\n"
	"  orderctl list --open\n"
	"\n"
	"exit codes (in brackets: the business code of the answer)\n";

void
orderctl_help_write(FILE *out)
{
	fputs(
		"usage: orderctl [OPTIONS] COMMAND ...\n"
		"\n"
		"Places, cancels and shows orders through an order-proxy. For operators: shows the events\n"
		"in the outbox of a database, and has those that Kafka refused sent again.\n"
		"\n"
		"commands (`orderctl COMMAND --help` tells more, with examples)\n",
		out);
	for (int i = 0; i < ORDERCTL_COMMAND_COUNT; i++)
		fprintf(out, "  %-14s  %s\n", orderctl_command_name((OrderctlCommand) i), rows[i].purpose);
	fputs(options_text, out);
#define HELP_EXIT(number, name, code, meaning) \
	if ((code) != 0) \
		fprintf(out, "  %2d  (%d) %s\n", number, code, meaning); \
	else \
		fprintf(out, "  %2d  %s\n", number, meaning);
	ORDERCTL_EXIT_TABLE(HELP_EXIT)
#undef HELP_EXIT
}
