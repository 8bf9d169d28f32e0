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
	"  --limit N     so many at most, up to " NUMBER(LIST_ORDERS_MAX) "; the default is " NUMBER(
		LIST_ORDERS_DEFAULT) "\n"
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
	fputs("usage: orderctl [OPTIONS] COMMAND ...\n"
		  "\n"
		  "Places, cancels and shows orders through an order-proxy.\n"
		  "\n"
		  "commands (`orderctl COMMAND --help` tells more, with examples)\n",
		  out);
	for (int i = 0; i < ORDERCTL_COMMAND_COUNT; i++)
		fprintf(out, "  %-8s  %s\n", orderctl_command_name((OrderctlCommand) i), rows[i].purpose);
	fputs(options_text, out);
#define HELP_EXIT(number, name, code, meaning) \
	if ((code) != 0) \
		fprintf(out, "  %2d  (%d) %s\n", number, code, meaning); \
	else \
		fprintf(out, "  %2d  %s\n", number, meaning);
	ORDERCTL_EXIT_TABLE(HELP_EXIT)
#undef HELP_EXIT
}
