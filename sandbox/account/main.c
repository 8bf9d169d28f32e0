/*
 * main.c
 *		account: a stand-in for the Account service, for demonstrations and tests.
 *
 * DESIGN	It may be several instances, which share one ledger, as those of a real service share a
 *			database. Each has its ports, its faults and its totals.
 *
 * FAILURE	SIGTERM and SIGINT: no new connections, calls under way are answered, exit code 0; after
 *			ACCOUNT_DRAIN_MS_MAX, or at a second signal, what is left is given up.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "account_bounds.h"
#include "admin.h"
#include "base/clock.h"
#include "base/log.h"
#include "faults.h"
#include "ledger.h"
#include "net/loop.h"
#include "service.h"

#define DATABASE_DEFAULT ":memory:"
#define ADDRESS_DEFAULT "127.0.0.1:0"

/* "[host]:port", cut if longer. */
#define ADDRESS_SIZE 300

typedef struct Settings
{
	const char *listen_addresses[ACCOUNT_INSTANCES_MAX];
	const char *admin_addresses[ACCOUNT_INSTANCES_MAX];
	int listen_count;
	int admin_count;
	LedgerOptions ledger;
	int calls_max;
	long seed;
	LogLevel log_level;
	LogFormat log_format;
} Settings;

typedef struct Instance
{
	Faults faults;
	Service *service;
	Admin *admin;
} Instance;

typedef struct Program
{
	Loop *loop;
	Ledger *ledger;
	Instance instances[ACCOUNT_INSTANCES_MAX];
	LoopEvent terminate;
	LoopEvent interrupt;
	LoopEvent drain_timer;
	int64_t drain_end_us; /* 0: nothing has asked for an end */
	bool was_idle;        /* at the last look: nothing is left but what the sockets still hold */
} Program;

static const char help[] =
	"account: a stand-in for the Account service, with a real ledger.\n"
	"\n"
	"Usage: account [OPTION]...\n"
	"\n"
	"It serves account.order.v1.AccountOrderService (gRPC, no TLS): ReserveCash, ReleaseCash,\n"
	"ReservePosition, ReleasePosition. Accounts are made, looked at, and calls made to fail over\n"
	"HTTP with JSON. Money is in micro-units: 1000000 is 1.0.\n"
	"\n"
	"  --listen HOST:PORT   gRPC (127.0.0.1:0); port 0 takes a free one\n"
	"  --admin HOST:PORT    HTTP (127.0.0.1:0); no password, so keep it on the loopback\n"
	"                       Both given again: another instance over the same ledger, with faults\n"
	"                       and totals of its own\n"
	"  --database FILE      SQLite file that keeps the ledger (:memory:, gone at the end)\n"
	"  --durable            a commit also survives the crash of the machine, at a sync each;\n"
	"                       otherwise that may damage the file\n"
	"  --duplicate-code     answer DUPLICATE_REQUEST, not SUCCESS, to a known reservation\n"
	"  --calls-max NUMBER   calls under way, above which more are refused (65536)\n"
	"  --seed NUMBER        start of the faults' random sequence (1)\n"
	"  --log-format FORMAT  text or json (text)\n"
	"  --verbose            log every call\n"
	"  --help               this text\n"
	"\n"
	"The line `ready` in its log has both addresses. Try it:\n"
	"\n"
	"  account --listen 127.0.0.1:50053 --admin 127.0.0.1:50063 &\n"
	"  curl http://127.0.0.1:50063/accounts -d \\\n"
	"       '{\"account_id\": 1, \"cash\": {\"USD\": 1000000}, \"positions\": {\"ACME\": 100}}'\n"
	"  curl http://127.0.0.1:50063/accounts/1\n"
	"  curl http://127.0.0.1:50063/holds      what is reserved\n"
	"  curl http://127.0.0.1:50063/totals     sums, and calls by result\n"
	"\n"
	"Faults. One call in ten is carried out, but its answer never comes:\n"
	"\n"
	"  curl -X PUT -d '[{\"kind\": \"hang\", \"when\": \"after\", \"percent\": 10}]' \\\n"
	"       http://127.0.0.1:50063/faults\n"
	"  curl -X DELETE http://127.0.0.1:50063/faults\n"
	"\n"
	"  kind        delay, status, result, drop (closes the connection), hang (no answer), reset\n"
	"              (RST_STREAM), crash (ends this process)\n"
	"  when        before or after the ledger acted (before)\n"
	"  method      one of the four, or * (*)\n"
	"  account_id  only calls of this account (0: all)\n"
	"  percent     of those calls (100)\n"
	"  times       ends after so many hits (0: never)\n"
	"  delay_ms    waits first; goes with every kind\n"
	"  status, result, reset_code   the code, for the kinds status, result and reset\n"
	"\n"
	"The first fault of the list that hits a call is the one that happens to it.\n";

/* Ending -------------------------------------------------------------------------------------- */

static int
program_pending_count(const Program *program)
{
	int count = 0;

	for (int i = 0; i < ACCOUNT_INSTANCES_MAX; i++)
		count += program->instances[i].service != NULL
					 ? service_pending_count(program->instances[i].service)
					 : 0;
	return count;
}

static void
program_look_at_drain(void *context, short what)
{
	Program *program = context;
	int pending = program_pending_count(program);

	(void) what;
	if (pending > 0 && clock_now_us() >= program->drain_end_us)
	{
		log_event(LOG_WARNING, "calls are given up", LOG_NUMBER("calls", pending));
		loop_stop(program->loop);
	}
	else if (pending == 0 && program->was_idle)
		loop_stop(program->loop);
	else
	{
		program->was_idle = pending == 0;
		loop_event_add(&program->drain_timer, ACCOUNT_DRAIN_LOOK_MS * CLOCK_MS);
	}
}

static void
program_signalled(void *context, short what)
{
	Program *program = context;

	(void) what;
	if (program->drain_end_us != 0)
	{
		loop_stop(program->loop);
		return;
	}
	log_event(LOG_INFO, "draining", LOG_NUMBER("calls", program_pending_count(program)));
	program->drain_end_us = clock_now_us() + ACCOUNT_DRAIN_MS_MAX * CLOCK_MS;
	for (int i = 0; i < ACCOUNT_INSTANCES_MAX; i++)
	{
		if (program->instances[i].service != NULL)
			service_drain(program->instances[i].service);
	}
	loop_event_add(&program->drain_timer, ACCOUNT_DRAIN_LOOK_MS * CLOCK_MS);
}

/* Starting ------------------------------------------------------------------------------------ */

/* An address as it was given, with the port that was found. */
static void
write_address(const char *address, int port, char text[ADDRESS_SIZE])
{
	const char *colon = strrchr(address, ':');
	int host_size = colon != NULL ? (int) (colon - address) : 0;

	snprintf(text, ADDRESS_SIZE, "%.*s:%d", host_size, address, port);
}

static void
program_log_ready(const Program *program, const Settings *settings, int number)
{
	const Instance *instance = &program->instances[number];
	char listen_text[ADDRESS_SIZE];
	char admin_text[ADDRESS_SIZE];

	write_address(settings->listen_addresses[number], service_port(instance->service), listen_text);
	write_address(settings->admin_addresses[number], admin_port(instance->admin), admin_text);
	log_event(LOG_INFO, "ready", LOG_TEXT("listen", listen_text), LOG_TEXT("admin", admin_text),
			  LOG_TEXT("database", settings->ledger.path),
			  LOG_NUMBER("accounts", ledger_counts(program->ledger).accounts),
			  LOG_NUMBER("held", ledger_counts(program->ledger).held));
}

static void
program_watch(Program *program, LoopEvent *event, int signal_number)
{
	loop_event_init(event, program->loop, signal_number, EV_SIGNAL | EV_PERSIST, program_signalled,
					program);
	loop_event_add(event, LOOP_FOREVER);
}

static bool
program_start_instance(Program *program, const Settings *settings, int number)
{
	Instance *instance = &program->instances[number];

	faults_init(&instance->faults, settings->seed);
	instance->service = service_new(program->loop, program->ledger, &instance->faults,
									settings->listen_addresses[number], settings->calls_max);
	if (instance->service != NULL)
		instance->admin = admin_new(program->loop, program->ledger, &instance->faults,
									instance->service, settings->admin_addresses[number]);
	return instance->admin != NULL;
}

static bool
program_start(Program *program, const Settings *settings)
{
	program->ledger = ledger_open(&settings->ledger);
	if (program->ledger == NULL)
		return false;
	for (int i = 0; i < settings->listen_count; i++)
	{
		if (!program_start_instance(program, settings, i))
			return false;
	}
	/* A client that went away is found out by the write that fails. */
	signal(SIGPIPE, SIG_IGN);
	loop_event_init(&program->drain_timer, program->loop, -1, 0, program_look_at_drain, program);
	program_watch(program, &program->terminate, SIGTERM);
	program_watch(program, &program->interrupt, SIGINT);
	for (int i = 0; i < settings->listen_count; i++)
		program_log_ready(program, settings, i);
	return true;
}

static void
program_free(Program *program)
{
	loop_event_remove(&program->drain_timer);
	loop_event_remove(&program->terminate);
	loop_event_remove(&program->interrupt);
	for (int i = 0; i < ACCOUNT_INSTANCES_MAX; i++)
	{
		if (program->instances[i].admin != NULL)
			admin_free(program->instances[i].admin);
		if (program->instances[i].service != NULL)
			service_free(program->instances[i].service);
	}
	if (program->ledger != NULL)
		ledger_close(program->ledger);
	loop_free(program->loop);
}

/* Options ------------------------------------------------------------------------------------- */

enum
{
	OPTION_LISTEN = 1,
	OPTION_ADMIN,
	OPTION_DATABASE,
	OPTION_DURABLE,
	OPTION_DUPLICATE_CODE,
	OPTION_CALLS_MAX,
	OPTION_SEED,
	OPTION_LOG_FORMAT,
	OPTION_VERBOSE,
	OPTION_HELP,
};

static const struct option options[] = {
	{"listen", required_argument, NULL, OPTION_LISTEN},
	{"admin", required_argument, NULL, OPTION_ADMIN},
	{"database", required_argument, NULL, OPTION_DATABASE},
	{"durable", no_argument, NULL, OPTION_DURABLE},
	{"duplicate-code", no_argument, NULL, OPTION_DUPLICATE_CODE},
	{"calls-max", required_argument, NULL, OPTION_CALLS_MAX},
	{"seed", required_argument, NULL, OPTION_SEED},
	{"log-format", required_argument, NULL, OPTION_LOG_FORMAT},
	{"verbose", no_argument, NULL, OPTION_VERBOSE},
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

/* Ends the program: an option is wrong. */
static _Noreturn void
refuse_options(const char *text)
{
	if (text != NULL)
		fprintf(stderr, "account: %s\n", text);
	fputs("Try 'account --help'.\n", stderr);
	exit(2);
}

static long
read_number(const char *text, long min, long max, const char *error)
{
	char *end;
	long number;

	errno = 0;
	number = strtol(text, &end, 10);
	if (*text == '\0' || *end != '\0' || errno != 0 || number < min || number > max)
		refuse_options(error);
	return number;
}

/* One more address of a kind. */
static void
add_address(const char *addresses[ACCOUNT_INSTANCES_MAX], int *count, const char *value)
{
	if (*count == ACCOUNT_INSTANCES_MAX)
		refuse_options("there are too many --listen or --admin");
	addresses[(*count)++] = value;
}

static void
read_option(Settings *settings, int option, const char *value)
{
	switch (option)
	{
		case OPTION_LISTEN:
			add_address(settings->listen_addresses, &settings->listen_count, value);
			break;
		case OPTION_ADMIN:
			add_address(settings->admin_addresses, &settings->admin_count, value);
			break;
		case OPTION_DATABASE:
			settings->ledger.path = value;
			break;
		case OPTION_DURABLE:
			settings->ledger.is_durable = true;
			break;
		case OPTION_DUPLICATE_CODE:
			settings->ledger.is_duplicate_reported = true;
			break;
		case OPTION_SEED:
			settings->seed = read_number(value, 0, LONG_MAX, "--seed takes a number, 0 or more");
			break;
		case OPTION_CALLS_MAX:
			settings->calls_max = (int) read_number(value, ACCOUNT_CALLS_MIN, ACCOUNT_CALLS_MAX,
													"--calls-max takes a number from 1 to 1000000");
			break;
		case OPTION_LOG_FORMAT:
			if (strcmp(value, "text") != 0 && strcmp(value, "json") != 0)
				refuse_options("--log-format takes text or json");
			settings->log_format = strcmp(value, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
			break;
		case OPTION_VERBOSE:
			settings->log_level = LOG_DEBUG;
			break;
		case OPTION_HELP:
			fputs(help, stdout);
			exit(0);
		default:
			refuse_options(NULL);
	}
}

int
main(int argc, char **argv)
{
	Settings settings = {
		.ledger = {.path = DATABASE_DEFAULT, .database_bytes_max = ACCOUNT_DATABASE_BYTES_MAX},
		.calls_max = ACCOUNT_CALLS_DEFAULT,
		.seed = 1,
		.log_level = LOG_INFO,
		.log_format = LOG_FORMAT_TEXT,
	};
	static Program program;
	bool is_started;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		read_option(&settings, option, optarg);
	if (optind < argc)
		refuse_options("there are only options");
	if (settings.listen_count == 0)
		settings.listen_addresses[settings.listen_count++] = ADDRESS_DEFAULT;
	if (settings.admin_count == 0)
		settings.admin_addresses[settings.admin_count++] = ADDRESS_DEFAULT;
	if (settings.listen_count != settings.admin_count)
		refuse_options("every instance needs --listen and --admin");
	log_configure(settings.log_level, settings.log_format);

	program.loop = loop_new();
	is_started = program_start(&program, &settings);
	if (is_started)
	{
		loop_run(program.loop);
		log_event(LOG_INFO, "stopped", LOG_NUMBER("held", ledger_counts(program.ledger).held));
	}
	program_free(&program);
	return is_started ? 0 : 1;
}
