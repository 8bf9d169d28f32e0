/*
 * bench_options.c
 *		The command line of order-bench.
 */
#include "bench_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/address.h"
#include "base/bounds.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "bench_help.h"
#include "decimal.h"
#include "usage.h"

#define EXIT_USAGE 2

#define CLOSED_IN_FLIGHT_DEFAULT 1
#define OPEN_IN_FLIGHT_DEFAULT 256
#define BURST_DEFAULT 16
#define DURATION_SECONDS_DEFAULT 10
#define PATIENCE_SECONDS_DEFAULT 30

typedef enum OptionName
{
	OPTION_SERVER = 1,
	OPTION_SESSION,
	OPTION_SESSIONS,
	OPTION_CONNECTIONS,
	OPTION_CLOSED,
	OPTION_RATE,
	OPTION_BURST,
	OPTION_IN_FLIGHT,
	OPTION_ORDERS,
	OPTION_DURATION,
	OPTION_WARM_UP,
	OPTION_PATIENCE,
	OPTION_REPEAT,
	OPTION_CANCEL,
	OPTION_SYMBOLS,
	OPTION_SIDE,
	OPTION_QUANTITY,
	OPTION_PRICE,
	OPTION_SEED,
	OPTION_RECONNECT,
	OPTION_NO_RECONNECT,
	OPTION_JSON,
	OPTION_LOG,
	OPTION_HELP,
} OptionName;

static const struct option option_rows[] = {
	{"server", required_argument, NULL, OPTION_SERVER},
	{"session", required_argument, NULL, OPTION_SESSION},
	{"sessions", required_argument, NULL, OPTION_SESSIONS},
	{"connections", required_argument, NULL, OPTION_CONNECTIONS},
	{"closed", no_argument, NULL, OPTION_CLOSED},
	{"rate", required_argument, NULL, OPTION_RATE},
	{"burst", required_argument, NULL, OPTION_BURST},
	{"in-flight", required_argument, NULL, OPTION_IN_FLIGHT},
	{"orders", required_argument, NULL, OPTION_ORDERS},
	{"duration", required_argument, NULL, OPTION_DURATION},
	{"warm-up", required_argument, NULL, OPTION_WARM_UP},
	{"patience", required_argument, NULL, OPTION_PATIENCE},
	{"repeat", required_argument, NULL, OPTION_REPEAT},
	{"cancel", required_argument, NULL, OPTION_CANCEL},
	{"symbols", required_argument, NULL, OPTION_SYMBOLS},
	{"side", required_argument, NULL, OPTION_SIDE},
	{"quantity", required_argument, NULL, OPTION_QUANTITY},
	{"price", required_argument, NULL, OPTION_PRICE},
	{"seed", required_argument, NULL, OPTION_SEED},
	{"reconnect", no_argument, NULL, OPTION_RECONNECT},
	{"no-reconnect", no_argument, NULL, OPTION_NO_RECONNECT},
	{"json", required_argument, NULL, OPTION_JSON},
	{"log", required_argument, NULL, OPTION_LOG},
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

/* ----- Single values ----------------------------------------------------------------------- */

static bool
read_int(const char *what, const char *text, int min, int max, int *value)
{
	int64_t whole;

	if (!usage_read_whole(what, text, min, max, &whole))
		return false;
	*value = (int) whole;
	return true;
}

static bool
read_seconds(const char *what, const char *text, int64_t *duration_us)
{
	const char *error = decimal_parse(text, duration_us);

	if (error == NULL && *duration_us <= BENCH_SECONDS_MAX * CLOCK_SECOND)
		return true;
	return usage_complain("%s must be a number of seconds up to %d, such as 2.5, not \"%s\"", what,
						  BENCH_SECONDS_MAX, text);
}

static bool
read_price(const char *text, int64_t *price)
{
	const char *error;

	*price = 0;
	if (strcasecmp(text, "market") == 0)
		return true;
	error = decimal_parse(text, price);
	if (error == NULL && *price > 0)
		return true;
	return usage_complain(
		"--price must be \"market\" or a decimal number such as 101.50, not \"%s\"", text);
}

static bool
read_side(BenchOptions *options, const char *text)
{
	options->is_buying = strcasecmp(text, "buy") == 0 || strcasecmp(text, "both") == 0;
	options->is_selling = strcasecmp(text, "sell") == 0 || strcasecmp(text, "both") == 0;
	if (options->is_buying || options->is_selling)
		return true;
	return usage_complain("--side must be buy, sell or both, not \"%s\"", text);
}

/* ----- Lists ------------------------------------------------------------------------------- */

static void
append(char ***texts, int *count, const char *text)
{
	*texts = bytes_resize(*texts, (size_t) (*count + 1) * sizeof(char *));
	(*texts)[(*count)++] = bytes_copy_text(text);
}

static void
free_texts(char **texts, int count)
{
	for (int i = 0; i < count; i++)
		free(texts[i]);
	free(texts);
}

static bool
read_symbols(BenchOptions *options, const char *list)
{
	char *copy = bytes_copy_text(list);
	char *rest = copy;
	char *symbol;

	while ((symbol = strsep(&rest, ",")) != NULL && options->symbol_count < BENCH_SYMBOLS_MAX)
	{
		if (*symbol == '\0' || strlen(symbol) > SYMBOL_BYTES_MAX)
			break;
		append(&options->symbols, &options->symbol_count, symbol);
	}
	free(copy);
	if (symbol == NULL)
		return true;
	return usage_complain("--symbols must be 1 to %d symbols of 1 to %d characters: A,B,C",
						  BENCH_SYMBOLS_MAX, SYMBOL_BYTES_MAX);
}

static bool
add_session(BenchOptions *options, const char *session)
{
	if (strlen(session) > SESSION_ID_BYTES_MAX)
		return usage_complain("session %d has more than %d characters", options->session_count + 1,
							  SESSION_ID_BYTES_MAX);
	if (options->session_count == BENCH_SESSIONS_MAX)
		return usage_complain("there are more than %d sessions", BENCH_SESSIONS_MAX);
	append(&options->sessions, &options->session_count, session);
	return true;
}

/* One session on each line; empty lines count for nothing. */
static bool
read_sessions(BenchOptions *options, const char *path)
{
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t room = 0;
	bool is_good = true;

	if (file == NULL)
		return usage_complain("sessions cannot be read from \"%s\": %s", path, strerror(errno));
	while (is_good && getline(&line, &room, file) != -1)
	{
		line[strcspn(line, " \t\r\n")] = '\0';
		if (*line != '\0')
			is_good = add_session(options, line);
	}
	free(line);
	fclose(file);
	return is_good;
}

static bool
take_session(BenchOptions *options, char *argument)
{
	bool is_good = add_session(options, argument);

	/* Where ps can read it. */
	memset(argument, '*', strlen(argument));
	return is_good;
}

/* ----- All together ------------------------------------------------------------------------ */

static bool
read_option(BenchOptions *options, OptionName name, char *argument)
{
	int64_t whole;

	switch (name)
	{
		case OPTION_SERVER:
			options->server = argument;
			return true;
		case OPTION_SESSION:
			return take_session(options, argument);
		case OPTION_SESSIONS:
			return read_sessions(options, argument);
		case OPTION_CONNECTIONS:
			return read_int("--connections", argument, 1, BENCH_CONNECTIONS_MAX,
							&options->connection_count);
		case OPTION_CLOSED:
			options->is_open_loop = false;
			return true;
		case OPTION_RATE:
			options->is_open_loop = true;
			return usage_read_whole("--rate", argument, 1, BENCH_RATE_MAX, &options->rate);
		case OPTION_BURST:
			return read_int("--burst", argument, 1, CONNECTION_IN_FLIGHT_MAX, &options->burst_max);
		case OPTION_IN_FLIGHT:
			return read_int("--in-flight", argument, 1, CONNECTION_IN_FLIGHT_MAX,
							&options->in_flight_max);
		case OPTION_ORDERS:
			return usage_read_whole("--orders", argument, 1, INT64_MAX, &options->request_count);
		case OPTION_DURATION:
			return read_seconds("--duration", argument, &options->duration_us);
		case OPTION_WARM_UP:
			return read_seconds("--warm-up", argument, &options->warm_up_us);
		case OPTION_PATIENCE:
			return read_seconds("--patience", argument, &options->patience_us);
		case OPTION_REPEAT:
			return read_int("--repeat", argument, 0, 100, &options->repeat_percent);
		case OPTION_CANCEL:
			return read_int("--cancel", argument, 0, 100, &options->cancel_percent);
		case OPTION_SYMBOLS:
			return read_symbols(options, argument);
		case OPTION_SIDE:
			return read_side(options, argument);
		case OPTION_QUANTITY:
			return usage_read_whole("--quantity", argument, 1, INT64_MAX, &options->quantity);
		case OPTION_PRICE:
			return read_price(argument, &options->price);
		case OPTION_SEED:
			if (!usage_read_whole("--seed", argument, 0, INT64_MAX, &whole))
				return false;
			options->seed = (uint64_t) whole;
			return true;
		case OPTION_RECONNECT:
		case OPTION_NO_RECONNECT:
			options->is_reconnecting = name == OPTION_RECONNECT;
			return true;
		case OPTION_JSON:
			options->json_path = argument;
			return true;
		case OPTION_LOG:
			options->log_path = argument;
			return true;
		case OPTION_HELP:
			break;
	}
	return false;
}

/* What is not given, and what does not go together. */
static bool
complete(BenchOptions *options, bool is_closed_given)
{
	const char *session = getenv("ORDER_SESSION");
	char host[ADDRESS_HOST_SIZE];
	int port;

	if (options->server == NULL || *options->server == '\0')
		return usage_complain("no address: give --server HOST:PORT or set ORDER_PROXY");
	if (!address_split(options->server, host, sizeof(host), &port) || port == 0)
		return usage_complain("\"%s\" is not an address such as 127.0.0.1:7000", options->server);
	if (options->session_count == 0 && session != NULL && *session != '\0' &&
		!add_session(options, session))
		return false;
	if (options->session_count == 0)
		return usage_complain(
			"no session: set ORDER_SESSION or give --session ID or --sessions FILE");
	if (options->symbol_count == 0)
		append(&options->symbols, &options->symbol_count, "ACME");
	if (is_closed_given && options->rate > 0)
		return usage_complain("--closed and --rate exclude each other");
	if (options->request_count > 0 && options->duration_us > 0)
		return usage_complain("--orders and --duration exclude each other");
	if (options->request_count == 0 && options->duration_us == 0)
		options->duration_us = DURATION_SECONDS_DEFAULT * CLOCK_SECOND;
	if (options->repeat_percent + options->cancel_percent > 100)
		return usage_complain("--repeat and --cancel are more than 100 percent together");
	if (options->in_flight_max == 0)
		options->in_flight_max =
			options->is_open_loop ? OPEN_IN_FLIGHT_DEFAULT : CLOSED_IN_FLIGHT_DEFAULT;
	if (!options->is_open_loop &&
		(int64_t) options->connection_count * options->in_flight_max > BENCH_REQUESTS_MAX)
		return usage_complain("--connections times --in-flight is above %d", BENCH_REQUESTS_MAX);
	return true;
}

static bool
read_all(BenchOptions *options, int argc, char **argv, int *exit_code)
{
	bool is_closed_given = false;
	int name;

	opterr = 0;
	while ((name = getopt_long(argc, argv, ":h", option_rows, NULL)) != -1)
	{
		if (name == 'h' || name == OPTION_HELP)
		{
			bench_help_write(stdout);
			*exit_code = EXIT_SUCCESS;
			return false;
		}
		if (name == ':')
			return usage_complain("%s needs a value", argv[optind - 1]);
		if (name == '?' && optopt > 0 && optopt <= OPTION_HELP)
			return usage_complain("--%s takes no value", option_rows[optopt - 1].name);
		if (name == '?')
			return usage_complain("there is no option %s", argv[optind - 1]);
		if (!read_option(options, (OptionName) name, optarg))
			return false;
		is_closed_given = is_closed_given || name == OPTION_CLOSED;
	}
	if (optind < argc)
		return usage_complain("\"%s\" is one argument too many", argv[optind]);
	return complete(options, is_closed_given);
}

bool
bench_options_read(BenchOptions *options, int argc, char **argv, int *exit_code)
{
	*options = (BenchOptions){.server = getenv("ORDER_PROXY"),
							  .connection_count = 1,
							  .is_reconnecting = true,
							  .patience_us = PATIENCE_SECONDS_DEFAULT * CLOCK_SECOND,
							  .burst_max = BURST_DEFAULT,
							  .is_buying = true,
							  .quantity = 1,
							  .price = 100 * DECIMAL_MICRO,
							  .seed = (uint64_t) clock_wall_us()};
	*exit_code = EXIT_USAGE;
	if (read_all(options, argc, argv, exit_code))
		return true;
	if (*exit_code != EXIT_SUCCESS)
		fputs("Try: order-bench --help\n", stderr);
	bench_options_free(options);
	return false;
}

void
bench_options_free(BenchOptions *options)
{
	free_texts(options->sessions, options->session_count);
	free_texts(options->symbols, options->symbol_count);
	*options = (BenchOptions){0};
}
