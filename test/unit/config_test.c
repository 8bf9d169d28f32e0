/*
 * config_test.c
 *		The configuration: values, environment, errors with their places, reloading.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bounds.h"
#include "base/clock.h"
#include "base/config.h"

static char path[64];
static char errors[16384];

static void
write_file(const char *text)
{
	FILE *file;

	strcpy(path, "/tmp/config_test.XXXXXX");
	file = fdopen(mkstemp(path), "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

/* The configuration of a file with this text; |errors| has what was wrong. */
static Config *
load(const char *text)
{
	FILE *out = fmemopen(errors, sizeof(errors), "w");
	Config *config;

	memset(errors, 0, sizeof(errors));
	write_file(text);
	config = config_load(path, NULL, out);
	fclose(out);
	unlink(path);
	assert_int_equal(config == NULL, errors[0] != '\0');
	return config;
}

/* Whether some line of |errors| begins with the file, this line number and this text. */
static bool
has_error(int line, const char *text)
{
	char wanted[512];

	snprintf(wanted, sizeof(wanted), "%s:%d: %s", path, line, text);
	return strstr(errors, wanted) != NULL;
}

static int
count_errors(void)
{
	int count = 0;

	for (const char *next = errors; (next = strchr(next, '\n')) != NULL; next++)
		count++;
	return count;
}

static void
refuse(const char *text, int line, const char *error)
{
	assert_null(load(text));
	if (!has_error(line, error))
		fail_msg("line %d: \"%s\" is not in: %s", line, error, errors);
	assert_int_equal(count_errors(), 1);
}

static void
without_a_file_the_defaults_count(void **state)
{
	Config *config = config_load(NULL, NULL, stderr);

	(void) state;
	assert_string_equal(config->listen_address, "127.0.0.1:8082");
	assert_string_equal(config->admin_address, "127.0.0.1:9094");
	assert_string_equal(config->writer, "host=127.0.0.1 port=5432 dbname=orders user=order_proxy");
	assert_string_equal(config->reader, "");
	assert_string_equal(config->account_endpoints, "account-service:9000");
	assert_int_equal(config->connections_max, CONNECTIONS_DEFAULT);
	assert_int_equal(config->request_timeout_us, 5 * CLOCK_SECOND);
	assert_int_equal(config->connect_timeout_us, 5 * CLOCK_SECOND);
	assert_int_equal(config->idle_timeout_us, 300 * CLOCK_SECOND);
	assert_int_equal(config->lifetime_us, 1800 * CLOCK_SECOND);
	assert_int_equal(config->attempt_timeout_us, 50 * CLOCK_MS);
	assert_int_equal(config->overall_timeout_us, 90 * CLOCK_MS);
	assert_int_equal(config->retry_delay_us, 10 * CLOCK_MS);
	assert_int_equal(config->retries_max, 1);
	assert_int_equal(config->keepalive_idle_us, 15 * CLOCK_SECOND);
	assert_false(config->keepalive_without_calls);
	assert_string_equal(config->dns_resolv_conf, "/etc/resolv.conf");
	assert_int_equal(config->dns_refresh_us, 30 * CLOCK_SECOND);
	assert_int_equal(config->log_level, LOG_INFO);
	assert_int_equal(config->log_format, LOG_FORMAT_TEXT);
	config_free(config);
}

static void
a_file_sets_values_of_every_type(void **state)
{
	Config *config = load("# comment\n"
						  "; comment\n"
						  "[listen]\n"
						  "address = [::1]:0\n"
						  "  connections_max=17\n"
						  "output_bytes_max = 1 MiB ; behind a value\n"
						  "request_timeout = 1500ms\n"
						  "\n"
						  "[database]\n"
						  "writer = host=/run user=me\n"
						  "reader =\n"
						  "lifetime = 2 min\n"
						  "[account]\n"
						  "endpoints = a.example:9000 , [fd00::1]:1,127.0.0.1:65535\n"
						  "retry_delay = 0\n"
						  "attempt_timeout = 1700 us\n"
						  "[listen]\n"
						  "in_flight_max = 2000\n"
						  "[log]\n"
						  "level = debug\n"
						  "format = json");

	(void) state;
	assert_non_null(config);
	assert_string_equal(config->listen_address, "[::1]:0");
	assert_int_equal(config->connections_max, 17);
	assert_int_equal(config->in_flight_max, 2000);
	assert_int_equal(config->output_bytes_max, 1024 * 1024);
	assert_int_equal(config->request_timeout_us, 1500 * CLOCK_MS);
	assert_string_equal(config->writer, "host=/run user=me");
	assert_string_equal(config->reader, "");
	assert_int_equal(config->lifetime_us, 120 * CLOCK_SECOND);
	assert_string_equal(config->account_endpoints, "a.example:9000 , [fd00::1]:1,127.0.0.1:65535");
	assert_int_equal(config->retry_delay_us, 0);
	assert_int_equal(config->attempt_timeout_us, 1700);
	assert_int_equal(config->log_level, LOG_DEBUG);
	assert_int_equal(config->log_format, LOG_FORMAT_JSON);
	config_free(config);
}

static void
a_byte_order_mark_and_line_ends_of_windows_do_no_harm(void **state)
{
	Config *config = load("\xEF\xBB\xBF[log]\r\n\r\nlevel = error\r\n");

	(void) state;
	assert_non_null(config);
	assert_int_equal(config->log_level, LOG_ERROR);
	config_free(config);
}

static void
the_environment_overrides_the_file(void **state)
{
	Config *config;

	(void) state;
	setenv("ORDER_PROXY_LOG_LEVEL", "warning", 1);
	setenv("ORDER_PROXY_DATABASE_WRITER_CONNECTIONS", "7", 1);
	setenv("ORDER_PROXY_SERVICE_HOST", "is not a setting", 1);
	config = load("[log]\nlevel = debug\n");
	unsetenv("ORDER_PROXY_LOG_LEVEL");
	unsetenv("ORDER_PROXY_DATABASE_WRITER_CONNECTIONS");
	unsetenv("ORDER_PROXY_SERVICE_HOST");
	assert_non_null(config);
	assert_int_equal(config->log_level, LOG_WARNING);
	assert_int_equal(config->writer_connections, 7);
	config_free(config);
}

static void
an_error_in_the_environment_names_the_variable(void **state)
{
	(void) state;
	setenv("ORDER_PROXY_DATABASE_WRITER", "", 1);
	assert_null(load(""));
	unsetenv("ORDER_PROXY_DATABASE_WRITER");
	assert_non_null(strstr(errors, "environment ORDER_PROXY_DATABASE_WRITER: database.writer "));
}

static void
unknown_names_are_refused_with_what_there_is(void **state)
{
	(void) state;
	refuse("[lisen]\naddress = 127.0.0.1:1\n", 2,
		   "no section [lisen]; allowed: [listen], [admin], [database], [account], [resolver], "
		   "[dns], [log]");
	refuse("[log]\nlevle = info\n", 2,
		   "no setting \"levle\" in section [log]; allowed: level, format\n");
	refuse("level = info\n", 1, "\"level\" is in no section; allowed: [listen], ");
}

static void
values_out_of_range_are_refused_with_the_range(void **state)
{
	static const char number[] = "allowed: a whole number from 1 to 4096\n";
	static const char *const numbers[] = {"0",    "4097",  "-1",  "",     "+5",
										  "five", "5 MiB", "1.5", "0x10", "99999999999999999999"};

	(void) state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
	{
		char text[128];
		char error[256];

		snprintf(text, sizeof(text), "[database]\nbatch_max = %s\n", numbers[i]);
		snprintf(error, sizeof(error), "database.batch_max cannot be \"%s\"; %s", numbers[i],
				 number);
		refuse(text, 2, error);
	}
	refuse("[listen]\nrequest_timeout = 5\n", 2,
		   "listen.request_timeout cannot be \"5\"; allowed: a duration from 100 ms to 1 min, in "
		   "us, ms, s or min\n");
	refuse("[listen]\nrequest_timeout = 9223372036854775807 min\n", 2,
		   "listen.request_timeout cannot be ");
	refuse("[listen]\nrequest_timeout = 0\n", 2, "listen.request_timeout cannot be \"0\"");
	refuse("[listen]\noutput_bytes_max = 1 MB\n", 2,
		   "listen.output_bytes_max cannot be \"1 MB\"; allowed: a size from 64 KiB to 256 MiB, in "
		   "bytes, KiB or MiB\n");
	refuse("[log]\nlevel = loud\n", 2,
		   "log.level cannot be \"loud\"; allowed: debug, info, warning or error\n");
	refuse("[log]\nformat = xml\n", 2, "log.format cannot be \"xml\"; allowed: text or json\n");
}

static void
addresses_need_host_and_port(void **state)
{
	static const char *const addresses[] = {
		"127.0.0.1", ":8082",   "host:",  "host:65536", "host:-1", "::1:80",        "[::1]",
		"[::1]80",   "[::1:80", "a b:80", "host:80x",   "",        "host:00000000x"};

	(void) state;
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
	{
		char text[128];

		snprintf(text, sizeof(text), "[listen]\naddress = %s\n", addresses[i]);
		refuse(text, 2, "listen.address cannot be ");
	}
	refuse("[account]\nendpoints = a:1,,b:2\n", 2, "account.endpoints cannot be \"a:1,,b:2\"");
	refuse("[account]\nendpoints = a:1,b\n", 2, "account.endpoints cannot be ");
	refuse("[account]\nendpoints = a:0\n", 2, "account.endpoints cannot be ");
	refuse("[account]\nendpoints =\n", 2, "account.endpoints cannot be \"\"; allowed: 1 to 64 of ");
}

static void
more_endpoints_than_the_limit_are_refused(void **state)
{
	char text[ENDPOINTS_MAX * 8 + 64];
	size_t size = (size_t) sprintf(text, "[account]\nendpoints = host:1");
	Config *config;

	(void) state;
	for (int i = 1; i < ENDPOINTS_MAX; i++)
		size += (size_t) sprintf(text + size, ",host:%d", i);
	config = load(text);
	assert_non_null(config);
	config_free(config);
	sprintf(text + size, ",one:1");
	refuse(text, 2, "account.endpoints cannot be ");
}

static void
a_setting_counts_once(void **state)
{
	(void) state;
	refuse("[log]\nlevel = info\n\n[log]\nlevel = debug\n", 5,
		   "log.level is set a second time; the first is in line 2\n");
}

static void
a_line_that_is_nothing_is_refused(void **state)
{
	(void) state;
	refuse("[log]\nlevel\nformat = json\n", 2, "neither \"name = value\" nor \"[section]\"");
	refuse("[log\n", 1, "neither ");
	refuse("\n\n[log]\nlevel", 4, "neither ");
}

static void
all_errors_are_told_at_once(void **state)
{
	(void) state;
	assert_null(load("[log]\n"
					 "level = loud\n"
					 "nonsense\n"
					 "colour = red\n"
					 "[other]\n"
					 "name = value\n"
					 "more nonsense"));
	assert_true(has_error(2, "log.level cannot be "));
	assert_true(has_error(3, "neither "));
	assert_true(has_error(4, "no setting \"colour\""));
	assert_true(has_error(6, "no section [other]"));
	assert_true(has_error(7, "neither "));
	assert_int_equal(count_errors(), 5);
}

static void
lines_up_to_the_limit_are_read(void **state)
{
	char text[2 * CONFIG_LINE_BYTES_MAX];
	char value[CONFIG_LINE_BYTES_MAX + 1] = {0};
	Config *config;

	(void) state;
	memset(value, 'x', CONFIG_TEXT_BYTES_MAX);
	snprintf(text, sizeof(text), "[database]\nwriter = %s\nreader = y\n", value);
	config = load(text);
	assert_non_null(config);
	assert_string_equal(config->writer, value);
	assert_string_equal(config->reader, "y");
	config_free(config);

	value[CONFIG_TEXT_BYTES_MAX] = 'x';
	snprintf(text, sizeof(text), "[database]\nwriter = %s\n", value);
	refuse(text, 2, "database.writer cannot be this text; allowed: text of 1 to 4000 bytes\n");

	memset(value, 'x', CONFIG_LINE_BYTES_MAX);
	snprintf(text, sizeof(text), "[database]\nwriter = %s\nreader = y\n", value);
	assert_null(load(text));
	assert_true(has_error(2, "longer than 4096 bytes\n"));
}

static void
a_missing_file_and_a_directory_are_errors(void **state)
{
	FILE *out;

	(void) state;
	memset(errors, 0, sizeof(errors));
	out = fmemopen(errors, sizeof(errors), "w");
	assert_null(config_load("/does/not/exist.conf", NULL, out));
	assert_null(config_load("/tmp", NULL, out));
	fclose(out);
	assert_string_equal(errors, "/does/not/exist.conf: No such file or directory\n"
								"/tmp: Is a directory\n");
}

static void
pools_never_exceed_what_the_database_has(void **state)
{
	Config *config = load("[database]\ninstances = 25\nreader_connections = 100\n");

	(void) state;
	assert_non_null(config);
	config_free(config);

	refuse("[database]\ninstances = 4\nwriter_connections = 26\n", 3,
		   "instances * (writer_connections + reader_connections) = 4 * (26 + 0) = 104 is above "
		   "server_connections = 100; allowed: at most 25 for each instance\n");
	refuse("[database]\nwriter_connections = 60\nreader = host=r\nreader_connections = 41\n", 2,
		   "instances * (writer_connections + reader_connections) = 1 * (60 + 41) = 101 is above "
		   "server_connections = 100; allowed: at most 100 for each instance\n");
	assert_null(load("[database]\ninstances = 50\n"));
	assert_non_null(strstr(errors, "default of database.writer_connections: instances * "));
}

static void
limits_that_contradict_each_other_are_refused(void **state)
{
	(void) state;
	refuse("[account]\nattempt_timeout = 100 ms\n", 2,
		   "account.attempt_timeout is longer than account.overall_timeout; allowed: at most ");
	refuse("[listen]\nin_flight_max = 9\nconnection_in_flight_max = 10\n", 3,
		   "listen.connection_in_flight_max is above listen.in_flight_max; allowed: at most 9\n");
}

static bool
refuse_tls(const Config *config, size_t *field, char *text, size_t size)
{
	*field = offsetof(Config, account_tls_key);
	snprintf(text, size, "no good with %s", config->account_tls_ca);
	return config->account_tls_certificate[0] == '\0';
}

static void
tls_is_off_or_has_what_it_needs(void **state)
{
	static const ConfigChecks checks = {.tls = refuse_tls};
	Config *config = load("[account]\ntls = on\ntls_server_name = a.example\n");
	FILE *out;

	(void) state;
	assert_true(config->account_tls);
	assert_string_equal(config->account_tls_server_name, "a.example");
	config_free(config);
	config = load("[account]\ntls = off\ntls_ca =\n");
	assert_false(config->account_tls);
	config_free(config);

	refuse("[account]\ntls = yes\n", 2, "account.tls cannot be \"yes\"; allowed: on or off\n");
	refuse("[account]\n\ntls_ca = x\n", 3,
		   "account.tls_ca is set while account.tls is off; allowed: with tls = on\n");
	refuse("[account]\ntls = on\ntls_certificate = x\n", 3,
		   "account.tls_certificate is set alone; allowed: with account.tls_key\n");
	refuse("[account]\ntls = on\ntls_key = x\n", 3,
		   "account.tls_key is set alone; allowed: with account.tls_certificate\n");

	out = fmemopen(errors, sizeof(errors), "w");
	write_file("[account]\ntls_ca = x\ntls_key = y\ntls_certificate = z\ntls = on\n");
	assert_null(config_load(path, &checks, out));
	fclose(out);
	unlink(path);
	assert_true(has_error(3, "no good with x\n"));
	assert_int_equal(count_errors(), 1);
}

static void
passwords_are_not_repeated_in_errors(void **state)
{
	char text[CONFIG_TEXT_BYTES_MAX + 64];
	int size = sprintf(text, "[database]\nwriter = password=secret ");

	(void) state;
	memset(text + size, 'x', CONFIG_TEXT_BYTES_MAX);
	text[size + CONFIG_TEXT_BYTES_MAX] = '\0';
	assert_null(load(text));
	assert_null(strstr(errors, "secret"));
}

static void
what_is_printed_can_be_read_and_is_the_default(void **state)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	Config *config;
	Config *defaults = config_load(NULL, NULL, stderr);

	(void) state;
	config_print(out);
	fclose(out);
	config = load(text);
	assert_non_null(config);
	assert_string_equal(config->writer, defaults->writer);
	assert_string_equal(config->account_endpoints, defaults->account_endpoints);
	assert_int_equal(config->output_bytes_max, defaults->output_bytes_max);
	assert_int_equal(config->lifetime_us, defaults->lifetime_us);
	assert_int_equal(config->retry_delay_us, defaults->retry_delay_us);
	assert_int_equal(config->log_level, defaults->log_level);
	assert_non_null(strstr(text, "\n# ORDER_PROXY_DATABASE_IDLE_TIMEOUT\nidle_timeout = 5 min\n"));
	config_free(config);
	config_free(defaults);
	free(text);
}

static char changes[256];

static void
note_change(const char *setting, bool is_applied)
{
	snprintf(changes + strlen(changes), sizeof(changes) - strlen(changes), "%s %d\n", setting,
			 is_applied);
}

static void
a_reload_applies_what_it_can_and_tells_the_rest(void **state)
{
	Config *config = load("");
	Config *fresh = load("[listen]\naddress = 127.0.0.1:1\nrequest_timeout = 2 s\n"
						 "[log]\nlevel = debug\n");

	(void) state;
	changes[0] = '\0';
	config_apply(config, fresh, note_change);
	assert_string_equal(changes, "listen.address 0\nlisten.request_timeout 1\nlog.level 1\n");
	assert_string_equal(config->listen_address, "127.0.0.1:8082");
	assert_int_equal(config->request_timeout_us, 2 * CLOCK_SECOND);
	assert_int_equal(config->log_level, LOG_DEBUG);
	config_free(config);
	config_free(fresh);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_file_the_defaults_count),
		cmocka_unit_test(a_file_sets_values_of_every_type),
		cmocka_unit_test(a_byte_order_mark_and_line_ends_of_windows_do_no_harm),
		cmocka_unit_test(the_environment_overrides_the_file),
		cmocka_unit_test(an_error_in_the_environment_names_the_variable),
		cmocka_unit_test(unknown_names_are_refused_with_what_there_is),
		cmocka_unit_test(values_out_of_range_are_refused_with_the_range),
		cmocka_unit_test(addresses_need_host_and_port),
		cmocka_unit_test(more_endpoints_than_the_limit_are_refused),
		cmocka_unit_test(a_setting_counts_once),
		cmocka_unit_test(a_line_that_is_nothing_is_refused),
		cmocka_unit_test(all_errors_are_told_at_once),
		cmocka_unit_test(lines_up_to_the_limit_are_read),
		cmocka_unit_test(a_missing_file_and_a_directory_are_errors),
		cmocka_unit_test(pools_never_exceed_what_the_database_has),
		cmocka_unit_test(limits_that_contradict_each_other_are_refused),
		cmocka_unit_test(tls_is_off_or_has_what_it_needs),
		cmocka_unit_test(passwords_are_not_repeated_in_errors),
		cmocka_unit_test(what_is_printed_can_be_read_and_is_the_default),
		cmocka_unit_test(a_reload_applies_what_it_can_and_tells_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
