/*
 * config.c
 *		The configuration: an INI file, overridden by the environment.
 *
 * DESIGN	One table describes the settings; reading, overriding, printing and reloading go over
 *			it.
 *
 *			inih calls back for every value, but not with its line, and tells of the first broken
 *			line only. So lines are counted where inih takes them, and a line for which it should
 *			have called back and did not is an error. All errors of a file are told at once.
 *
 * LIMITS	CONFIG_LINE_BYTES_MAX bytes of a line.
 *
 * FAILURE	A value in the file must be right also when the environment overrides it. Texts are not
 *			repeated in errors: they may hold a password.
 */
#include "base/config.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/bounds.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/setting.h"

#define VARIABLE_PREFIX "ORDER_PROXY"
#define VARIABLE_SIZE 64
#define CHECK_ERROR_SIZE 640

/* Where a value came from: a line of the file, or one of these. */
#define FROM_DEFAULT 0
#define FROM_ENVIRONMENT (-1)

#define FIELD(in_section, with_name, field) \
	.section = (in_section), .name = (with_name), .offset = offsetof(Config, field)
#define NUMBER_FROM(default_number, least, most) \
	.type = SETTING_NUMBER, .number = (default_number), .minimum = (least), .maximum = (most)
#define DURATION_FROM_MS(default_ms, least_ms, most_ms) \
	.type = SETTING_DURATION, .number = CLOCK_MS * (default_ms), .minimum = CLOCK_MS * (least_ms), \
	.maximum = CLOCK_MS * (most_ms)
#define TEXT(default_text, least) \
	.type = SETTING_TEXT, .text = (default_text), .minimum = (least), \
	.maximum = CONFIG_TEXT_BYTES_MAX

static const Setting settings[] = {
	{FIELD("listen", "address", listen_address), .type = SETTING_ADDRESS, .text = "127.0.0.1:8082",
	 .help = "Where clients connect; port 0 lets the system choose."},
	{FIELD("listen", "connections_max", connections_max),
	 NUMBER_FROM(CONNECTIONS_DEFAULT, CONNECTIONS_MIN, CONNECTIONS_MAX), .is_reloadable = true,
	 .help = "Clients connected at a time; one more is closed at once."},
	{FIELD("listen", "connection_in_flight_max", connection_in_flight_max),
	 NUMBER_FROM(CONNECTION_IN_FLIGHT_DEFAULT, CONNECTION_IN_FLIGHT_MIN, CONNECTION_IN_FLIGHT_MAX),
	 .is_reloadable = true,
	 .help = "Requests of one client that are not answered yet; one more is answered with 429."},
	{FIELD("listen", "in_flight_max", in_flight_max),
	 NUMBER_FROM(IN_FLIGHT_DEFAULT, IN_FLIGHT_MIN, IN_FLIGHT_MAX),
	 .help = "Requests of all clients that are not answered yet; one more is answered with 503."},
	{FIELD("listen", "output_bytes_max", output_bytes_max), .type = SETTING_SIZE,
	 .number = OUTPUT_BYTES_DEFAULT, .minimum = OUTPUT_BYTES_MIN, .maximum = OUTPUT_BYTES_MAX,
	 .help = "Answers a client has not read yet; a client with more is disconnected."},
	{FIELD("listen", "request_timeout", request_timeout_us),
	 DURATION_FROM_MS(REQUEST_TIMEOUT_MS_DEFAULT, REQUEST_TIMEOUT_MS_MIN, REQUEST_TIMEOUT_MS_MAX),
	 .is_reloadable = true, .help = "From a request to its answer, whatever happens."},
	{FIELD("listen", "frame_timeout", frame_timeout_us),
	 DURATION_FROM_MS(FRAME_TIMEOUT_MS_DEFAULT, FRAME_TIMEOUT_MS_MIN, FRAME_TIMEOUT_MS_MAX),
	 .is_reloadable = true,
	 .help = "For a request to come in whole, and for waiting answers to move; else it is over."},

	{FIELD("admin", "address", admin_address), .type = SETTING_ADDRESS, .text = "127.0.0.1:9094",
	 .help = "Where operators connect (HTTP: /metrics, /healthz, /readyz, /status; POST to"
			 " /breaker/reset); port 0 as above."},

	{FIELD("database", "writer", writer),
	 TEXT("host=127.0.0.1 port=5432 dbname=orders user=order_proxy", 1),
	 .help = "libpq connection string of the leader, where orders are written."},
	{FIELD("database", "reader", reader), TEXT("", 0),
	 .help = "libpq connection string of the replicas, for reading; empty: the writer reads."},
	{FIELD("database", "writer_connections", writer_connections),
	 NUMBER_FROM(POOL_CONNECTIONS_DEFAULT, POOL_CONNECTIONS_MIN, POOL_CONNECTIONS_MAX),
	 .help = "Connections to the writer at most. Few are enough: orders share them in batches, and"
			 " reads leave some to them."},
	{FIELD("database", "reader_connections", reader_connections),
	 NUMBER_FROM(POOL_CONNECTIONS_DEFAULT, POOL_CONNECTIONS_MIN, POOL_CONNECTIONS_MAX),
	 .help = "Connections to the reader at most, if there is one. Reads leave some to sessions."},
	{FIELD("database", "connect_timeout", connect_timeout_us),
	 DURATION_FROM_MS(CONNECT_TIMEOUT_MS_DEFAULT, CONNECT_TIMEOUT_MS_MIN, CONNECT_TIMEOUT_MS_MAX),
	 .help = "Until a connection is given up that does not come about."},
	{FIELD("database", "idle_timeout", idle_timeout_us),
	 DURATION_FROM_MS(IDLE_TIMEOUT_MS_DEFAULT, CONNECTION_AGE_MS_MIN, CONNECTION_AGE_MS_MAX),
	 .help = "Until an unused connection is closed, except for the first one."},
	{FIELD("database", "lifetime", lifetime_us),
	 DURATION_FROM_MS(LIFETIME_MS_DEFAULT, CONNECTION_AGE_MS_MIN, CONNECTION_AGE_MS_MAX),
	 .help = "Until a connection is replaced, however well it works."},
	{FIELD("database", "batch_max", batch_max),
	 NUMBER_FROM(BATCH_ITEMS_DEFAULT, BATCH_ITEMS_MIN, BATCH_ITEMS_MAX), .is_reloadable = true,
	 .help = "Orders that go to the database in one transaction at most."},
	{FIELD("database", "instances", instances), NUMBER_FROM(INSTANCES_DEFAULT, 1, INSTANCES_MAX),
	 .help = "Proxies that share the database."},
	{FIELD("database", "server_connections", server_connections),
	 NUMBER_FROM(SERVER_CONNECTIONS_DEFAULT, 1, SERVER_CONNECTIONS_MAX),
	 .help = "Connections that the database has for all these proxies together."},

	{FIELD("account", "endpoints", account_endpoints), .type = SETTING_ENDPOINTS,
	 .text = "account-service:9000", .minimum = 1, .maximum = ENDPOINTS_MAX,
	 .help = "The Account service (gRPC); every address of a host is an endpoint."},
	{FIELD("account", "attempt_timeout", attempt_timeout_us),
	 DURATION_FROM_MS(ACCOUNT_ATTEMPT_MS_DEFAULT, 1, ACCOUNT_MS_MAX), .is_reloadable = true,
	 .help = "One attempt to reserve."},
	{FIELD("account", "overall_timeout", overall_timeout_us),
	 DURATION_FROM_MS(ACCOUNT_OVERALL_MS_DEFAULT, 1, ACCOUNT_MS_MAX), .is_reloadable = true,
	 .help = "All attempts of an order together."},
	{FIELD("account", "retry_delay", retry_delay_us),
	 DURATION_FROM_MS(ACCOUNT_RETRY_DELAY_MS_DEFAULT, 0, ACCOUNT_MS_MAX), .is_reloadable = true,
	 .help = "From a failed attempt to the next one."},
	{FIELD("account", "retries_max", retries_max),
	 NUMBER_FROM(ACCOUNT_RETRIES_DEFAULT, 0, ACCOUNT_RETRIES_MAX), .is_reloadable = true,
	 .help = "Further attempts after a failed one."},
	{FIELD("account", "retry_budget_percent", retry_budget_percent),
	 NUMBER_FROM(RETRY_BUDGET_PERCENT_DEFAULT, 0, 100), .is_reloadable = true,
	 .help = "Retries in percent of the calls of the last 10 s, but 3 at least; 0 for none."},
	{FIELD("account", "breaker_window", breaker_window),
	 NUMBER_FROM(BREAKER_WINDOW_DEFAULT, 1, BREAKER_WINDOW_MAX), .is_reloadable = true,
	 .help = "Results of attempts that the circuit breaker looks at; with fewer it stays closed."},
	{FIELD("account", "breaker_failures_percent", breaker_failures_percent),
	 NUMBER_FROM(BREAKER_FAILURES_PERCENT_DEFAULT, 1, 100), .is_reloadable = true,
	 .help = "Failures among them, in percent, that open it: orders are refused at once."},
	{FIELD("account", "breaker_open_time", breaker_open_us),
	 DURATION_FROM_MS(BREAKER_OPEN_MS_DEFAULT, 1, BREAKER_OPEN_MS_MAX), .is_reloadable = true,
	 .help = "How long it stays open before one order tries whether Account is back."},
	{FIELD("account", "calls_max", account_calls_max),
	 NUMBER_FROM(ACCOUNT_CALLS_DEFAULT, 1, ACCOUNT_CALLS_MAX), .is_reloadable = true,
	 .help = "Attempts under way at a time; others wait for a place, half of their time at most."},
	{FIELD("account", "calls_waiting_max", account_waiting_max),
	 NUMBER_FROM(ACCOUNT_WAITING_DEFAULT, 0, ACCOUNT_WAITING_MAX), .is_reloadable = true,
	 .help = "Attempts that may wait so; orders beyond them are answered with 503 at once."},
	{FIELD("account", "hedge", hedge_us), .type = SETTING_CHOICE, .number = SETTING_OFF,
	 .minimum = HEDGE_MS_MIN * CLOCK_MS, .maximum = ACCOUNT_MS_MAX * CLOCK_MS,
	 .is_reloadable = true,
	 .help = "After how long a second endpoint is asked too; auto: when 95 % have answered."},
	{FIELD("account", "keepalive_idle", keepalive_idle_us),
	 DURATION_FROM_MS(HTTP2_PING_IDLE_MS_DEFAULT, HTTP2_PING_IDLE_MS_MIN, HTTP2_PING_IDLE_MS_MAX),
	 .help = "A connection that was silent for so long gets a PING before the next call."},
	{FIELD("account", "keepalive_without_calls", keepalive_without_calls), .type = SETTING_SWITCH,
	 .number = false,
	 .help = "Whether it gets one also without a call; gRPC's servers at their default settings"
			 " close connections that send such PINGs."},
	{FIELD("account", "tls", account_tls), .type = SETTING_SWITCH, .number = false,
	 .help = "Whether connections to Account are encrypted, and its certificate is checked."},
	{FIELD("account", "tls_ca", account_tls_ca), TEXT("", 0),
	 .help = "File of the certificates (PEM) that are trusted; empty: the system's."},
	{FIELD("account", "tls_certificate", account_tls_certificate), TEXT("", 0),
	 .help = "File of our certificate (PEM) and its chain, if Account asks for one; empty: none."},
	{FIELD("account", "tls_key", account_tls_key), TEXT("", 0),
	 .help = "File of its key (PEM, not encrypted). All three are read again when replaced."},
	{FIELD("account", "tls_server_name", account_tls_server_name), .type = SETTING_TEXT, .text = "",
	 .minimum = 0, .maximum = ADDRESS_HOST_SIZE - 1,
	 .help = "The name in Account's certificate; empty: the host of each endpoint."},

	{FIELD("resolver", "lease", resolver_lease_us),
	 DURATION_FROM_MS(RESOLVER_LEASE_MS_DEFAULT, RESOLVER_LEASE_MS_MIN, RESOLVER_MS_MAX),
	 .is_reloadable = true,
	 .help = "How long a hold in doubt is this proxy's to clear up, before another one may."},
	{FIELD("resolver", "second_release", second_release_us),
	 DURATION_FROM_MS(RESOLVER_SECOND_RELEASE_MS_DEFAULT, 0, RESOLVER_MS_MAX),
	 .is_reloadable = true,
	 .help = "From the first release of a hold in doubt to the second one: how late a reservation"
			 " may arrive at an Account service that does not remember what it has released."},

	{FIELD("dns", "resolv_conf", dns_resolv_conf), .type = SETTING_TEXT, .text = "/etc/resolv.conf",
	 .minimum = 1, .maximum = CONFIG_TEXT_BYTES_MAX,
	 .help =
		 "The file that names the name servers, read at the start; a port may follow an address."},
	{FIELD("dns", "refresh", dns_refresh_us),
	 DURATION_FROM_MS(DNS_REFRESH_MS_DEFAULT, DNS_REFRESH_MS_MIN, DNS_REFRESH_MS_MAX),
	 .help = "How often Account's names are asked for again, besides after a failure."},

	{FIELD("log", "level", log_level), .type = SETTING_LEVEL, .number = LOG_INFO,
	 .is_reloadable = true, .help = "The least important lines that are written."},
	{FIELD("log", "format", log_format), .type = SETTING_FORMAT, .number = LOG_FORMAT_TEXT,
	 .is_reloadable = true, .help = "Lines for people, or one JSON object per line."},

	{FIELD("shutdown", "notice", shutdown_notice_us),
	 DURATION_FROM_MS(SHUTDOWN_NOTICE_MS_DEFAULT, SHUTDOWN_NOTICE_MS_MIN, SHUTDOWN_NOTICE_MS_MAX),
	 .is_reloadable = true,
	 .help = "How long /readyz says 503 before requests are refused: what a balancer needs."},
	{FIELD("shutdown", "grace", shutdown_grace_us),
	 DURATION_FROM_MS(SHUTDOWN_GRACE_MS_DEFAULT, SHUTDOWN_GRACE_MS_MIN, SHUTDOWN_GRACE_MS_MAX),
	 .is_reloadable = true, .help = "How long the end waits for requests under way."},
};

#define SETTING_COUNT ((int) (sizeof(settings) / sizeof(settings[0])))

/* The work of reading. */
typedef struct Loader
{
	Config *config;
	const char *path;
	const ConfigChecks *checks;
	FILE *file;
	FILE *errors;
	int error_count;
	int origins[SETTING_COUNT];
	int line;
	size_t line_size;   /* what of it has been read */
	bool is_line_ended; /* the next bytes begin a line */
	bool is_owed;       /* the line should bring a value, and has not yet */
} Loader;

static void
variable_name(const Setting *setting, char name[VARIABLE_SIZE])
{
	snprintf(name, VARIABLE_SIZE, VARIABLE_PREFIX "_%s_%s", setting->section, setting->name);
	for (; *name != '\0'; name++)
		*name = (char) toupper((unsigned char) *name);
}

/* Begins an error; the caller writes the rest and the end of the line. */
static FILE *
begin_error(Loader *loader, const Setting *setting, int origin)
{
	char variable[VARIABLE_SIZE];

	loader->error_count++;
	if (origin > 0)
		fprintf(loader->errors, "%s:%d: ", loader->path, origin);
	else if (origin == FROM_ENVIRONMENT)
	{
		variable_name(setting, variable);
		fprintf(loader->errors, "environment %s: ", variable);
	}
	else
		fprintf(loader->errors, "default of %s.%s: ", setting->section, setting->name);
	return loader->errors;
}

/* Begins an error at the place where the field has its value from. */
static FILE *
begin_error_of(Loader *loader, size_t offset)
{
	int i = 0;

	while (settings[i].offset != offset)
		i++;
	return begin_error(loader, &settings[i], loader->origins[i]);
}

static void
set_value(Loader *loader, int index, const char *text, int origin)
{
	const Setting *setting = &settings[index];
	FILE *out;

	if (setting_set(setting, loader->config, text))
	{
		loader->origins[index] = origin;
		return;
	}
	out = begin_error(loader, setting, origin);
	fprintf(out, "%s.%s ", setting->section, setting->name);
	if (setting->type != SETTING_TEXT)
		fprintf(out, "cannot be \"%s\"", text);
	else
		fputs("cannot be this text", out);
	fputs("; allowed: ", out);
	setting_write_allowed(setting, out);
	fputc('\n', out);
}

/* Whether a section is written before this setting, in the table's order. */
static bool
is_first_of_section(int index)
{
	return index == 0 || strcmp(settings[index].section, settings[index - 1].section) != 0;
}

/* An error that lists the sections, or the names in a section, that there are. */
static void
refuse_name(Loader *loader, const char *section, const char *name)
{
	FILE *out = begin_error(loader, NULL, loader->line);
	bool is_section_known = false;
	const char *separator = "";

	for (int i = 0; i < SETTING_COUNT; i++)
		is_section_known = is_section_known || strcmp(settings[i].section, section) == 0;
	if (is_section_known)
		fprintf(out, "no setting \"%s\" in section [%s]; allowed: ", name, section);
	else if (section[0] == '\0')
		fprintf(out, "\"%s\" is in no section; allowed: ", name);
	else
		fprintf(out, "no section [%s]; allowed: ", section);
	for (int i = 0; i < SETTING_COUNT; i++)
	{
		if (is_section_known ? strcmp(settings[i].section, section) != 0 : !is_first_of_section(i))
			continue;
		fprintf(out, is_section_known ? "%s%s" : "%s[%s]", separator,
				is_section_known ? settings[i].name : settings[i].section);
		separator = ", ";
	}
	fputc('\n', out);
}

/* inih's handler. Never stops it: all errors are to be told. */
static int
take_value(void *context, const char *section, const char *name, const char *value)
{
	Loader *loader = context;
	int i = 0;

	loader->is_owed = false;
	while (i < SETTING_COUNT &&
		   (strcmp(settings[i].section, section) != 0 || strcmp(settings[i].name, name) != 0))
		i++;
	if (i == SETTING_COUNT)
		refuse_name(loader, section, name);
	else if (loader->origins[i] > 0)
		fprintf(begin_error(loader, NULL, loader->line),
				"%s.%s is set a second time; the first is in line %d\n", section, name,
				loader->origins[i]);
	else
		set_value(loader, i, value, loader->line);
	return 1;
}

/* Whether inih should call back for a line, or refuse it. */
static bool
is_value_expected(const char *line)
{
	static const char byte_order_mark[] = "\xEF\xBB\xBF";

	if (strncmp(line, byte_order_mark, strlen(byte_order_mark)) == 0)
		line += strlen(byte_order_mark);
	line += strspn(line, " \t\r\n");
	if (*line == '[')
		return strchr(line, ']') == NULL;
	return *line != '\0' && *line != ';' && *line != '#';
}

static void
end_line(Loader *loader)
{
	if (loader->is_owed)
		fputs("neither \"name = value\" nor \"[section]\" nor a comment\n",
			  begin_error(loader, NULL, loader->line));
	loader->is_owed = false;
}

/* inih's reader: fgets() that knows the line it is in. A long line comes in pieces. */
static char *
read_line(char *buffer, int size, void *context)
{
	Loader *loader = context;

	if (loader->is_line_ended)
		end_line(loader);
	if (fgets(buffer, size, loader->file) == NULL)
		return NULL;
	if (loader->is_line_ended)
	{
		loader->line++;
		loader->line_size = 0;
		loader->is_owed = is_value_expected(buffer);
	}
	if (loader->line_size < CONFIG_LINE_BYTES_MAX &&
		loader->line_size + strlen(buffer) >= CONFIG_LINE_BYTES_MAX)
		fprintf(begin_error(loader, NULL, loader->line), "longer than %d bytes\n",
				CONFIG_LINE_BYTES_MAX);
	loader->line_size += strlen(buffer);
	loader->is_line_ended = strchr(buffer, '\n') != NULL;
	return buffer;
}

static void
read_file(Loader *loader)
{
	int result;

	loader->file = fopen(loader->path, "re");
	if (loader->file == NULL)
	{
		fprintf(loader->errors, "%s: %s\n", loader->path, strerror(errno));
		loader->error_count++;
		return;
	}

	/* Lines of any length, in memory of their own; an indented line is a line like others. */
	ini_use_stack = false;
	ini_allow_realloc = true;
	ini_max_line = CONFIG_LINE_BYTES_MAX + 3;
	ini_allow_multiline = false;

	loader->is_line_ended = true;
	result = ini_parse_stream(read_line, loader, take_value, loader);
	end_line(loader);
	if (ferror(loader->file))
	{
		fprintf(loader->errors, "%s: %s\n", loader->path, strerror(errno));
		loader->error_count++;
	}
	else if (result != 0 && loader->error_count == 0)
		fputs("cannot be understood\n", begin_error(loader, NULL, result > 0 ? result : 1));
	fclose(loader->file);
}

static void
read_environment(Loader *loader)
{
	for (int i = 0; i < SETTING_COUNT; i++)
	{
		char variable[VARIABLE_SIZE];
		const char *value;

		variable_name(&settings[i], variable);
		value = getenv(variable);
		if (value != NULL)
			set_value(loader, i, value, FROM_ENVIRONMENT);
	}
}

/* The sum of all pools never exceeds what the database has for us (SPEC 6). */
static void
check_connections(Loader *loader)
{
	const Config *config = loader->config;
	int readers = config->reader[0] != '\0' ? config->reader_connections : 0;
	int64_t all = (int64_t) config->instances * (config->writer_connections + readers);

	if (all <= config->server_connections)
		return;
	fprintf(
		begin_error_of(loader, offsetof(Config, writer_connections)),
		"instances * (writer_connections + reader_connections) = %d * (%d + %d) = %lld is above "
		"server_connections = %d; allowed: at most %d for each instance\n",
		config->instances, config->writer_connections, readers, (long long) all,
		config->server_connections, config->server_connections / config->instances);
}

/* A connection string, which only libpq understands. An empty one stands for no database. */
static void
check_conninfo(Loader *loader, const char *name, const char *conninfo, size_t offset)
{
	char error[CHECK_ERROR_SIZE];

	if (loader->checks->conninfo != NULL && conninfo[0] != '\0' &&
		!loader->checks->conninfo(conninfo, error, sizeof(error)))
		fprintf(begin_error_of(loader, offset), "%s: %s; allowed: a connection string of libpq\n",
				name, error);
}

/* What is set and not used would be a surprise: the worst is a CA without TLS. */
static void
check_tls(Loader *loader)
{
	const Config *config = loader->config;
	bool has_certificate = config->account_tls_certificate[0] != '\0';
	bool has_key = config->account_tls_key[0] != '\0';
	size_t field = has_certificate ? offsetof(Config, account_tls_certificate)
								   : offsetof(Config, account_tls_key);
	char error[CHECK_ERROR_SIZE];

	for (int i = 0; !config->account_tls && i < SETTING_COUNT; i++)
	{
		if (strncmp(settings[i].name, "tls_", 4) == 0 &&
			**(char *const *) ((const char *) config + settings[i].offset) != '\0')
			fprintf(begin_error(loader, &settings[i], loader->origins[i]),
					"account.%s is set while account.tls is off; allowed: with tls = on\n",
					settings[i].name);
	}
	if (has_certificate != has_key)
		fprintf(begin_error_of(loader, field),
				"account.%s is set alone; allowed: with account.%s\n",
				has_certificate ? "tls_certificate" : "tls_key",
				has_certificate ? "tls_key" : "tls_certificate");
	else if (config->account_tls && loader->checks->tls != NULL &&
			 !loader->checks->tls(config, &field, error, sizeof(error)))
		fprintf(begin_error_of(loader, field), "%s\n", error);
}

/* What single values do not show, or not to us. */
static void
check_together(Loader *loader)
{
	const Config *config = loader->config;

	check_conninfo(loader, "database.writer", config->writer, offsetof(Config, writer));
	check_conninfo(loader, "database.reader", config->reader, offsetof(Config, reader));
	check_connections(loader);
	check_tls(loader);
	if (config->attempt_timeout_us > config->overall_timeout_us)
		fprintf(begin_error_of(loader, offsetof(Config, attempt_timeout_us)),
				"account.attempt_timeout is longer than account.overall_timeout; allowed: at most "
				"%lld us\n",
				(long long) config->overall_timeout_us);
	if (config->connection_in_flight_max > config->in_flight_max)
		fprintf(begin_error_of(loader, offsetof(Config, connection_in_flight_max)),
				"listen.connection_in_flight_max is above listen.in_flight_max; allowed: at most "
				"%d\n",
				config->in_flight_max);
}

Config *
config_load(const char *path, const ConfigChecks *checks, FILE *errors)
{
	static const ConfigChecks none;
	Loader loader = {.config = bytes_new_zeroed(1, sizeof(Config)),
					 .path = path,
					 .checks = checks != NULL ? checks : &none,
					 .errors = errors};

	for (int i = 0; i < SETTING_COUNT; i++)
		setting_set_default(&settings[i], loader.config);
	if (path != NULL)
		read_file(&loader);
	read_environment(&loader);

	/* With values missing, what they say together means nothing. */
	if (loader.error_count == 0)
		check_together(&loader);
	if (loader.error_count == 0)
		return loader.config;
	config_free(loader.config);
	return NULL;
}

void
config_free(Config *config)
{
	for (int i = 0; i < SETTING_COUNT; i++)
		setting_free(&settings[i], config);
	free(config);
}

void
config_apply(Config *config, const Config *fresh, ConfigChange change)
{
	for (int i = 0; i < SETTING_COUNT; i++)
	{
		const Setting *setting = &settings[i];
		char name[VARIABLE_SIZE];

		if (setting_is_equal(setting, config, fresh))
			continue;
		if (setting->is_reloadable)
			setting_copy(setting, config, fresh);
		snprintf(name, sizeof(name), "%s.%s", setting->section, setting->name);
		change(name, setting->is_reloadable);
	}
}

void
config_print(FILE *out)
{
	Config *config = bytes_new_zeroed(1, sizeof(Config));

	fputs("# The configuration of order-proxy: every setting with its default.\n"
		  "#\n"
		  "# A comment begins with # or ; at the start of a line, or with ; behind a blank. The\n"
		  "# environment overrides the file. SIGHUP reads the file again: settings marked with *\n"
		  "# change while the proxy runs, all others at the next start.\n",
		  out);
	for (int i = 0; i < SETTING_COUNT; i++)
	{
		const Setting *setting = &settings[i];
		char variable[VARIABLE_SIZE];

		setting_set_default(setting, config);
		variable_name(setting, variable);
		if (is_first_of_section(i))
			fprintf(out, "\n[%s]\n", setting->section);
		fprintf(out, "\n# %s%s\n# Allowed: ", setting->is_reloadable ? "* " : "", setting->help);
		setting_write_allowed(setting, out);
		fprintf(out, ".\n# %s\n%s = ", variable, setting->name);
		setting_write(setting, config, out);
		fputc('\n', out);
	}
	config_free(config);
}
