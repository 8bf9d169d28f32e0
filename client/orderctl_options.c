/*
 * orderctl_options.c
 *		The command line and the environment of orderctl.
 *
 * DESIGN	Two tables: options with the commands that take them, and commands with what they need
 *			and who reads their arguments. Only what a request cannot be made of is refused here;
 *			whether an order is valid the server decides.
 */
#include "orderctl_options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/address.h"
#include "base/bounds.h"
#include "base/clock.h"
#include "decimal.h"
#include "orderctl_exit.h"
#include "orderctl_help.h"
#include "usage.h"

#define LENGTH_OF(array) ((int) (sizeof(array) / sizeof((array)[0])))

#define TIMEOUT_SECONDS_DEFAULT 10
#define ARGUMENTS_MAX 4

/* What a command needs before it can run. */
enum
{
	NEEDS_SERVER = 1,
	NEEDS_SESSION = 2,
	NEEDS_ADMIN = 4,
};

typedef struct CommandLine
{
	OrderctlOptions *options;
	int argument_count; /* behind the command */
	char *arguments[ARGUMENTS_MAX];
	bool is_help_wanted;
	bool has_type;
	bool has_price;
} CommandLine;

/* ----- Options ----------------------------------------------------------------------------- */

typedef enum OptionName
{
	OPTION_SERVER = 1,
	OPTION_ADMIN,
	OPTION_SESSION,
	OPTION_JSON,
	OPTION_TIMEOUT,
	OPTION_HELP,
	OPTION_TYPE,
	OPTION_TIF,
	OPTION_KEY,
	OPTION_OPEN,
	OPTION_AFTER,
	OPTION_LIMIT,
	OPTION_ALL,
	OPTION_COUNT,
	OPTION_DATABASE,
	OPTION_STATUS,
	OPTION_ORDER,
	OPTION_ERROR,
} OptionName;

static const struct option option_rows[] = {
	{"server", required_argument, NULL, OPTION_SERVER},
	{"admin", required_argument, NULL, OPTION_ADMIN},
	{"session", required_argument, NULL, OPTION_SESSION},
	{"json", no_argument, NULL, OPTION_JSON},
	{"timeout", required_argument, NULL, OPTION_TIMEOUT},
	{"help", no_argument, NULL, OPTION_HELP},
	{"type", required_argument, NULL, OPTION_TYPE},
	{"tif", required_argument, NULL, OPTION_TIF},
	{"key", required_argument, NULL, OPTION_KEY},
	{"open", no_argument, NULL, OPTION_OPEN},
	{"after", required_argument, NULL, OPTION_AFTER},
	{"limit", required_argument, NULL, OPTION_LIMIT},
	{"all", no_argument, NULL, OPTION_ALL},
	{"count", required_argument, NULL, OPTION_COUNT},
	{"database", required_argument, NULL, OPTION_DATABASE},
	{"status", required_argument, NULL, OPTION_STATUS},
	{"order", required_argument, NULL, OPTION_ORDER},
	{"error", required_argument, NULL, OPTION_ERROR},
	{NULL, 0, NULL, 0},
};

#define FOR(command) (1u << ORDERCTL_##command)
#define FOR_LISTS (FOR(LIST) | FOR(OUTBOX_LIST) | FOR(DLQ_LIST))
#define FOR_REQUEUE (FOR(OUTBOX_REQUEUE) | FOR(DLQ_REQUEUE))
#define FOR_OPERATORS \
	(FOR(OUTBOX_LIST) | FOR(OUTBOX_SHOW) | FOR(OUTBOX_TAIL) | FOR(DLQ_LIST) | FOR(DLQ_SHOW) | \
	 FOR_REQUEUE)

/* Which commands take an option; one that is not listed is for all. */
static const unsigned int commands_of_option[] = {
	[OPTION_TYPE] = FOR(PLACE),
	[OPTION_TIF] = FOR(PLACE),
	[OPTION_KEY] = FOR(PLACE) | FOR(CANCEL) | FOR(GET),
	[OPTION_OPEN] = FOR(LIST),
	[OPTION_AFTER] = FOR_LISTS | FOR(OUTBOX_TAIL),
	[OPTION_LIMIT] = FOR_LISTS,
	[OPTION_ALL] = FOR_LISTS | FOR_REQUEUE,
	[OPTION_COUNT] = FOR(PING) | FOR(OUTBOX_TAIL),
	[OPTION_DATABASE] = FOR_OPERATORS,
	[OPTION_STATUS] = FOR(OUTBOX_LIST) | FOR(DLQ_LIST) | FOR_REQUEUE,
	[OPTION_ORDER] = FOR(OUTBOX_LIST) | FOR(OUTBOX_TAIL) | FOR(DLQ_LIST) | FOR_REQUEUE,
	[OPTION_ERROR] = FOR(DLQ_LIST) | FOR_REQUEUE,
};

/* A name in an enum of the protocol, in either case. False when there is none. */
static bool
read_enum(const ProtobufCEnumDescriptor *names, const char *text, int *value)
{
	for (unsigned int i = 0; i < names->n_values; i++)
	{
		if (strcasecmp(names->values[i].name, text) == 0)
		{
			*value = names->values[i].value;
			return true;
		}
	}
	return false;
}

static bool
read_timeout(const char *text, int64_t *timeout_us)
{
	const char *error = decimal_parse(text, timeout_us);

	if (error == NULL && *timeout_us > 0 &&
		*timeout_us <= CLIENT_TIMEOUT_SECONDS_MAX * CLOCK_SECOND)
		return true;
	return usage_complain("--timeout must be a number of seconds up to %d, such as 2.5, not \"%s\"",
						  CLIENT_TIMEOUT_SECONDS_MAX, text);
}

/* Keeps the session id and wipes it where ps can read it. */
static bool
take_session(OrderctlOptions *options, char *argument)
{
	static char copy[SESSION_ID_BYTES_MAX + 1];
	size_t size = strlen(argument);

	if (size >= sizeof(copy))
		return usage_complain("a session id has at most %d characters", SESSION_ID_BYTES_MAX);
	memcpy(copy, argument, size + 1);
	memset(argument, '*', size);
	options->session = copy;
	return true;
}

/* The same for a connection string, which may hold a password. */
static bool
take_database(OrderctlOptions *options, char *argument)
{
	static char copy[DATABASE_BYTES_MAX + 1];
	size_t size = strlen(argument);

	if (size >= sizeof(copy))
		return usage_complain("a connection string has at most %d characters", DATABASE_BYTES_MAX);
	memcpy(copy, argument, size + 1);
	memset(argument, '*', size);
	options->database = copy;
	return true;
}

static bool
take_status(OrderctlOptions *options, const char *argument)
{
	static const char *const names[] = {"READY", "SENT", "FAILED", "DLQ", ORDERCTL_STATUS_ALL};

	for (int i = 0; i < LENGTH_OF(names); i++)
	{
		if (strcasecmp(names[i], argument) == 0)
		{
			options->event_status = names[i];
			return true;
		}
	}
	return usage_complain("--status must be READY, SENT, FAILED, DLQ or ALL, not \"%s\"", argument);
}

static bool
read_option(CommandLine *line, OptionName name, char *argument)
{
	OrderctlOptions *options = line->options;
	int64_t whole = 0;
	int value = 0;

	switch (name)
	{
		case OPTION_SERVER:
			options->server = argument;
			return true;
		case OPTION_ADMIN:
			options->admin = argument;
			return true;
		case OPTION_SESSION:
			return take_session(options, argument);
		case OPTION_JSON:
			options->is_json = true;
			return true;
		case OPTION_TIMEOUT:
			return read_timeout(argument, &options->timeout_us);
		case OPTION_HELP:
			line->is_help_wanted = true;
			return true;
		case OPTION_TYPE:
			line->has_type = true;
			if (!read_enum(&order_service__v1__order_type__descriptor, argument, &value))
				return usage_complain("--type must be market or limit, not \"%s\"", argument);
			options->order_type = (OrderService__V1__OrderType) value;
			return true;
		case OPTION_TIF:
			if (!read_enum(&order_service__v1__time_in_force__descriptor, argument, &value))
				return usage_complain("--tif must be DAY, GTC, IOC or FOK, not \"%s\"", argument);
			options->time_in_force = (OrderService__V1__TimeInForce) value;
			return true;
		case OPTION_KEY:
			options->key = argument;
			return true;
		case OPTION_OPEN:
			options->is_open_only = true;
			return true;
		case OPTION_ALL:
			options->is_all = true;
			return true;
		case OPTION_AFTER:
			if (!usage_read_whole("--after", argument, 0, INT64_MAX, &options->after_order_id))
				return false;
			options->after_event_id = options->after_order_id;
			return true;
		case OPTION_LIMIT:
			if (!usage_read_whole("--limit", argument, 1, LIST_ORDERS_MAX, &whole))
				return false;
			options->limit = (int32_t) whole;
			return true;
		case OPTION_COUNT:
			return usage_read_whole("--count", argument, 1, PINGS_MAX, &options->count);
		case OPTION_DATABASE:
			return take_database(options, argument);
		case OPTION_STATUS:
			return take_status(options, argument);
		case OPTION_ORDER:
			return usage_read_whole("--order", argument, 1, INT64_MAX, &options->order_id);
		case OPTION_ERROR:
			options->event_error = argument;
			return true;
	}
	return false;
}

/* ----- Arguments of the commands ----------------------------------------------------------- */

static bool
read_no_arguments(CommandLine *line)
{
	if (line->argument_count == 0)
		return true;
	return usage_complain("\"%s\" is one argument too many", line->arguments[0]);
}

static bool
read_place(CommandLine *line)
{
	OrderctlOptions *options = line->options;
	int side = 0;

	if (line->argument_count < 3)
		return usage_complain("place needs BUY or SELL, a symbol and a quantity");
	if (!read_enum(&order_service__v1__side__descriptor, line->arguments[0], &side) ||
		side == ORDER_SERVICE__V1__SIDE__SIDE_UNKNOWN)
		return usage_complain("the side must be BUY or SELL, not \"%s\"", line->arguments[0]);
	options->side = (OrderService__V1__Side) side;
	options->symbol = line->arguments[1];
	if (!usage_read_whole("the quantity", line->arguments[2], 0, INT64_MAX, &options->quantity))
		return false;

	line->has_price = line->argument_count == 4;
	if (line->has_price)
	{
		const char *error = decimal_parse(line->arguments[3], &options->price);

		if (error != NULL)
			return usage_complain("the price \"%s\" cannot be read: %s", line->arguments[3], error);
	}
	if (!line->has_type)
		options->order_type = line->has_price ? ORDER_SERVICE__V1__ORDER_TYPE__LIMIT
											  : ORDER_SERVICE__V1__ORDER_TYPE__MARKET;
	if (options->order_type == ORDER_SERVICE__V1__ORDER_TYPE__LIMIT && !line->has_price)
		return usage_complain("a limit order needs a price behind the quantity");
	if (options->order_type == ORDER_SERVICE__V1__ORDER_TYPE__MARKET && line->has_price)
		return usage_complain("a market order has no price");
	return true;
}

static bool
read_order_id(CommandLine *line)
{
	if (line->argument_count != 1)
		return usage_complain("%s needs one order id",
							  orderctl_command_name(line->options->command));
	return usage_read_whole("the order id", line->arguments[0], 0, INT64_MAX,
							&line->options->order_id);
}

static bool
read_ping(CommandLine *line)
{
	if (line->options->count == 0)
		line->options->count = 1;
	return read_no_arguments(line);
}

/* An event by its id, "123", or as the header of its record has it, "17.2": order and version. */
static bool
read_event(CommandLine *line)
{
	OrderctlOptions *options = line->options;
	char *text = line->arguments[0];
	char *dot;
	int64_t version = 0;

	if (line->argument_count != 1)
		return usage_complain("%s needs an event: its id, or ORDER_ID.VERSION",
							  orderctl_command_name(options->command));
	dot = strchr(text, '.');
	if (dot == NULL)
		return usage_read_whole("the event id", text, 1, INT64_MAX, &options->event_id);
	*dot = '\0';
	if (!usage_read_whole("the order id", text, 1, INT64_MAX, &options->order_id) ||
		!usage_read_whole("the version", dot + 1, 1, INT32_MAX, &version))
		return false;
	options->order_version = (int32_t) version;
	return true;
}

/* Which events: all of them must have been meant. */
static bool
read_requeue(CommandLine *line)
{
	OrderctlOptions *options = line->options;
	bool is_narrow = options->order_id != 0 || options->event_status != NULL ||
					 options->event_error != NULL || options->is_all;

	if (options->event_status != NULL && strcmp(options->event_status, "FAILED") != 0 &&
		strcmp(options->event_status, "DLQ") != 0)
		return usage_complain("only events that are FAILED or DLQ can be requeued");
	if (line->argument_count == 1 && is_narrow)
		return usage_complain("%s takes an event or options, not both",
							  orderctl_command_name(options->command));
	if (line->argument_count == 1)
		return read_event(line);
	if (!is_narrow)
		return usage_complain("%s needs an event, or --order, --error, --status or --all",
							  orderctl_command_name(options->command));
	return read_no_arguments(line);
}

static bool
read_get(CommandLine *line)
{
	if (line->options->key == NULL)
		return read_order_id(line);
	if (line->argument_count == 0)
		return true;
	return usage_complain("get takes an order id or --key, not both");
}

typedef struct CommandRow
{
	unsigned int needs;
	int argument_count_max;
	bool (*read_arguments)(CommandLine *line);
} CommandRow;

static const CommandRow command_rows[ORDERCTL_COMMAND_COUNT] = {
	[ORDERCTL_LOGIN] = {NEEDS_SERVER | NEEDS_SESSION, 0, read_no_arguments},
	[ORDERCTL_LOGOUT] = {NEEDS_SERVER | NEEDS_SESSION, 0, read_no_arguments},
	[ORDERCTL_PLACE] = {NEEDS_SERVER | NEEDS_SESSION, 4, read_place},
	[ORDERCTL_CANCEL] = {NEEDS_SERVER | NEEDS_SESSION, 1, read_order_id},
	[ORDERCTL_GET] = {NEEDS_SERVER | NEEDS_SESSION, 1, read_get},
	[ORDERCTL_LIST] = {NEEDS_SERVER | NEEDS_SESSION, 0, read_no_arguments},
	[ORDERCTL_PING] = {NEEDS_SERVER, 0, read_ping},
	[ORDERCTL_STATUS] = {NEEDS_ADMIN, 0, read_no_arguments},
	[ORDERCTL_OUTBOX_LIST] = {0, 0, read_no_arguments},
	[ORDERCTL_OUTBOX_SHOW] = {0, 1, read_event},
	[ORDERCTL_OUTBOX_REQUEUE] = {0, 1, read_requeue},
	[ORDERCTL_OUTBOX_TAIL] = {0, 0, read_no_arguments},
	[ORDERCTL_DLQ_LIST] = {0, 0, read_no_arguments},
	[ORDERCTL_DLQ_SHOW] = {0, 1, read_event},
	[ORDERCTL_DLQ_REQUEUE] = {0, 1, read_requeue},
};

/* Finds the command that |words| begin with; gives how many of them are its name, 0 for none. */
static int
find_command(int count, char **words, OrderctlCommand *command)
{
	bool is_begun = false;

	for (int i = 0; i < ORDERCTL_COMMAND_COUNT; i++)
	{
		const char *name = orderctl_command_name((OrderctlCommand) i);
		const char *second = strchr(name, ' ');
		size_t length = second != NULL ? (size_t) (second - name) : strlen(name);

		if (strlen(words[0]) != length || strncmp(name, words[0], length) != 0)
			continue;
		*command = (OrderctlCommand) i;
		if (second == NULL)
			return 1;
		if (count > 1 && strcmp(second + 1, words[1]) == 0)
			return 2;
		is_begun = true;
	}
	if (is_begun && count > 1)
		usage_complain("there is no command \"%s %s\"", words[0], words[1]);
	else if (is_begun)
		usage_complain("\"%s\" is not a command yet: what of it?", words[0]);
	else
		usage_complain("there is no command \"%s\"", words[0]);
	return 0;
}

/* ----- All together ------------------------------------------------------------------------ */

/* An empty variable is as good as none. */
static const char *
environment(const char *name)
{
	const char *value = getenv(name);

	return value != NULL && *value != '\0' ? value : NULL;
}

static bool
check_address(const char *address, const char *option, const char *variable)
{
	char host[ADDRESS_HOST_SIZE];
	int port;

	if (address == NULL)
		return usage_complain("no address: give %s HOST:PORT or set %s", option, variable);
	if (!address_split(address, host, sizeof(host), &port) || port == 0)
		return usage_complain("\"%s\" is not an address such as 127.0.0.1:7000", address);
	return true;
}

static bool
check_needs(const OrderctlOptions *options)
{
	unsigned int needs = command_rows[options->command].needs;

	if ((needs & NEEDS_SERVER) && !check_address(options->server, "--server", "ORDER_PROXY"))
		return false;
	if ((needs & NEEDS_ADMIN) && !check_address(options->admin, "--admin", "ORDER_PROXY_ADMIN"))
		return false;
	if ((needs & NEEDS_SESSION) && options->session == NULL)
		return usage_complain("no session: set ORDER_SESSION or give --session ID");
	return true;
}

/* Reads all options, wherever they stand, into |line|; remembers in |given| which there were. */
static bool
read_options(CommandLine *line, int argc, char **argv, unsigned int *given)
{
	int name;

	opterr = 0;
	while ((name = getopt_long(argc, argv, ":h", option_rows, NULL)) != -1)
	{
		if (name == 'h')
			name = OPTION_HELP;
		if (name == ':')
			return usage_complain("%s needs a value", argv[optind - 1]);
		if (name == '?' && optopt == 0)
			return usage_complain("there is no option %s", argv[optind - 1]);
		if (name == '?' && optopt < LENGTH_OF(option_rows))
			return usage_complain("--%s takes no value", option_rows[optopt - 1].name);
		if (name == '?')
			return usage_complain("there is no option -%c", optopt);
		if (!read_option(line, (OptionName) name, optarg))
			return false;
		*given |= 1u << name;
	}
	return true;
}

static bool
check_options_belong(OrderctlCommand command, unsigned int given)
{
	for (int name = 1; name < LENGTH_OF(commands_of_option); name++)
	{
		if ((given & 1u << name) && commands_of_option[name] != 0 &&
			!(commands_of_option[name] & 1u << command))
			return usage_complain("%s takes no --%s", orderctl_command_name(command),
								  option_rows[name - 1].name);
	}
	return true;
}

/* The command and its arguments, from |words| on. */
static bool
read_command(CommandLine *line, int count, char **words, unsigned int given)
{
	OrderctlOptions *options = line->options;
	int name_count = find_command(count, words, &options->command);

	if (name_count == 0)
		return false;
	line->argument_count = count - name_count;
	if (line->is_help_wanted)
		return true;
	words += name_count;
	if (line->argument_count > command_rows[options->command].argument_count_max)
		return usage_complain("\"%s\" is one argument too many",
							  words[command_rows[options->command].argument_count_max]);
	for (int i = 0; i < line->argument_count; i++)
		line->arguments[i] = words[i];
	return check_options_belong(options->command, given) &&
		   command_rows[options->command].read_arguments(line) && check_needs(options);
}

bool
orderctl_options_read(OrderctlOptions *options, int argc, char **argv, int *exit_code)
{
	CommandLine line = {.options = options};
	unsigned int given = 0;
	char **words;
	int count;

	*options = (OrderctlOptions){.server = environment("ORDER_PROXY"),
								 .admin = environment("ORDER_PROXY_ADMIN"),
								 .session = environment("ORDER_SESSION"),
								 .timeout_us = TIMEOUT_SECONDS_DEFAULT * CLOCK_SECOND,
								 .after_event_id = -1};
	*exit_code = ORDERCTL_EXIT_USAGE;
	if (!read_options(&line, argc, argv, &given))
	{
		fputs("Try: orderctl --help\n", stderr);
		return false;
	}
	words = argv + optind;
	count = argc - optind;
	if (count > 0 && strcmp(words[0], "help") == 0)
	{
		line.is_help_wanted = true;
		words++;
		count--;
	}
	if (count == 0)
	{
		orderctl_help_write(line.is_help_wanted ? stdout : stderr);
		*exit_code = line.is_help_wanted ? ORDERCTL_EXIT_OK : ORDERCTL_EXIT_USAGE;
		return false;
	}
	if (!read_command(&line, count, words, given))
	{
		fputs("Try: orderctl --help, or orderctl COMMAND --help\n", stderr);
		return false;
	}
	if (line.is_help_wanted)
	{
		orderctl_help_write_command(stdout, options->command);
		*exit_code = ORDERCTL_EXIT_OK;
		return false;
	}
	return true;
}
