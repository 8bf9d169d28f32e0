/*
 * orderctl_options_test.c
 *		The command line of orderctl, and how it ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "orderctl_exit.h"
#include "orderctl_options.h"
#include "reason.h"

#define WORDS_MAX 24
#define BASE "orderctl", "--server", "127.0.0.1:7000", "--session", "secret"

/* Copies, because the session id is wiped. */
static char text[1024];
static char *argv[WORDS_MAX + 1];

/* Reads a command line; without output, and begun anew each time. */
static bool
read_words(OrderctlOptions *options, int *exit_code, const char *const *words)
{
	int saved[2] = {dup(STDOUT_FILENO), dup(STDERR_FILENO)};
	int null = open("/dev/null", O_WRONLY);
	char *end = text;
	int count = 0;
	bool is_good;

	for (; words[count] != NULL; count++)
	{
		argv[count] = end;
		end = stpcpy(end, words[count]) + 1;
	}
	argv[count] = NULL;
	optind = 0;
	fflush(NULL);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	is_good = orderctl_options_read(options, count, argv, exit_code);
	fflush(NULL);
	dup2(saved[0], STDOUT_FILENO);
	dup2(saved[1], STDERR_FILENO);
	close(saved[0]);
	close(saved[1]);
	close(null);
	return is_good;
}

#define READ(options, exit_code, ...) \
	read_words((options), (exit_code), (const char *const[]){__VA_ARGS__, NULL})

#define ASSERT_WRONG(...) \
	do \
	{ \
		OrderctlOptions wrong; \
		int wrong_exit = 0; \
		assert_false(READ(&wrong, &wrong_exit, __VA_ARGS__)); \
		assert_int_equal(wrong_exit, ORDERCTL_EXIT_USAGE); \
	} while (0)

static int
setup(void **state)
{
	(void) state;
	unsetenv("ORDER_PROXY");
	unsetenv("ORDER_PROXY_ADMIN");
	unsetenv("ORDER_SESSION");
	return 0;
}

static void
reads_a_limit_order_with_options_anywhere(void **state)
{
	OrderctlOptions options;
	int exit_code;

	(void) state;
	assert_true(READ(&options, &exit_code, BASE, "place", "sell", "--tif", "gtc", "ACME", "10",
					 "101.50", "--json", "--key", "k", "--timeout", "2.5"));
	assert_int_equal(options.command, ORDERCTL_PLACE);
	assert_int_equal(options.side, ORDER_SERVICE__V1__SIDE__SELL);
	assert_int_equal(options.order_type, ORDER_SERVICE__V1__ORDER_TYPE__LIMIT);
	assert_int_equal(options.time_in_force, ORDER_SERVICE__V1__TIME_IN_FORCE__GTC);
	assert_string_equal(options.symbol, "ACME");
	assert_int_equal(options.quantity, 10);
	assert_int_equal(options.price, 101500000);
	assert_string_equal(options.key, "k");
	assert_int_equal(options.timeout_us, 2500000);
	assert_true(options.is_json);
}

static void
takes_an_order_without_a_price_for_a_market_order(void **state)
{
	OrderctlOptions options;
	int exit_code;

	(void) state;
	assert_true(READ(&options, &exit_code, BASE, "place", "BUY", "ACME", "10"));
	assert_int_equal(options.order_type, ORDER_SERVICE__V1__ORDER_TYPE__MARKET);
	assert_int_equal(options.time_in_force, ORDER_SERVICE__V1__TIME_IN_FORCE__DAY);
	assert_null(options.key);
	ASSERT_WRONG(BASE, "place", "BUY", "ACME", "10", "--type", "limit");
	ASSERT_WRONG(BASE, "place", "BUY", "ACME", "10", "1", "--type", "market");
}

static void
wipes_the_session_where_others_could_read_it(void **state)
{
	OrderctlOptions options;
	int exit_code;

	(void) state;
	assert_true(READ(&options, &exit_code, BASE, "login"));
	assert_string_equal(options.session, "secret");
	for (int i = 0; argv[i] != NULL; i++)
		assert_null(strstr(argv[i], "secret"));
}

static void
takes_what_is_not_given_from_the_environment(void **state)
{
	OrderctlOptions options;
	int exit_code;

	(void) state;
	setenv("ORDER_PROXY", "[::1]:7000", 1);
	setenv("ORDER_SESSION", "other", 1);
	assert_true(READ(&options, &exit_code, "orderctl", "get", "17"));
	assert_string_equal(options.server, "[::1]:7000");
	assert_string_equal(options.session, "other");
	assert_int_equal(options.order_id, 17);
	setenv("ORDER_SESSION", "", 1);
	ASSERT_WRONG("orderctl", "get", "17");
	assert_true(READ(&options, &exit_code, "orderctl", "ping"));
	ASSERT_WRONG("orderctl", "status");
}

static void
refuses_what_cannot_be_a_request(void **state)
{
	(void) state;
	ASSERT_WRONG("orderctl");
	ASSERT_WRONG(BASE);
	ASSERT_WRONG(BASE, "frobnicate");
	ASSERT_WRONG(BASE, "place", "BUY", "ACME");
	ASSERT_WRONG(BASE, "place", "HOLD", "ACME", "1");
	ASSERT_WRONG(BASE, "place", "SIDE_UNKNOWN", "ACME", "1");
	ASSERT_WRONG(BASE, "place", "BUY", "ACME", "ten");
	ASSERT_WRONG(BASE, "place", "BUY", "ACME", "1", "1.0000001");
	ASSERT_WRONG(BASE, "place", "BUY", "ACME", "1", "1", "1");
	ASSERT_WRONG(BASE, "get");
	ASSERT_WRONG(BASE, "get", "1", "--key", "k");
	ASSERT_WRONG(BASE, "list", "--key", "k");
	ASSERT_WRONG(BASE, "list", "--limit", "0");
	ASSERT_WRONG(BASE, "ping", "--count");
	ASSERT_WRONG(BASE, "ping", "--json=yes");
	ASSERT_WRONG(BASE, "ping", "--timeout", "0");
	ASSERT_WRONG(BASE, "ping", "--nonsense");
	ASSERT_WRONG("orderctl", "ping", "--server", "nowhere");
}

static void
reads_which_events_an_operator_means(void **state)
{
	OrderctlOptions options;
	int exit_code;

	(void) state;
	assert_true(READ(&options, &exit_code, "orderctl", "outbox", "list"));
	assert_int_equal(options.command, ORDERCTL_OUTBOX_LIST);
	assert_null(options.event_status);
	assert_null(options.database);
	assert_int_equal(options.after_event_id, -1);
	assert_true(READ(&options, &exit_code, "orderctl", "outbox", "list", "--status", "ready",
					 "--order", "17", "--after", "0", "--limit", "5", "--all"));
	assert_string_equal(options.event_status, "READY");
	assert_int_equal(options.order_id, 17);
	assert_int_equal(options.after_event_id, 0);
	assert_int_equal(options.limit, 5);
	assert_true(options.is_all);
	assert_true(READ(&options, &exit_code, "orderctl", "outbox", "show", "123"));
	assert_int_equal(options.event_id, 123);
	assert_true(READ(&options, &exit_code, "orderctl", "dlq", "show", "17.2"));
	assert_int_equal(options.command, ORDERCTL_DLQ_SHOW);
	assert_int_equal(options.event_id, 0);
	assert_int_equal(options.order_id, 17);
	assert_int_equal(options.order_version, 2);
	assert_true(READ(&options, &exit_code, "orderctl", "outbox", "tail"));
	assert_int_equal(options.count, 0);
	assert_true(READ(&options, &exit_code, "orderctl", "outbox", "tail", "--count", "3"));
	assert_int_equal(options.count, 3);
	assert_true(READ(&options, &exit_code, BASE, "ping"));
	assert_int_equal(options.count, 1);
}

static void
requeues_only_what_was_said(void **state)
{
	OrderctlOptions options;
	int exit_code;

	(void) state;
	assert_true(READ(&options, &exit_code, "orderctl", "dlq", "requeue", "9223372036854775807"));
	assert_int_equal(options.event_id, INT64_MAX);
	assert_true(READ(&options, &exit_code, "orderctl", "outbox", "requeue", "17.1"));
	assert_int_equal(options.order_version, 1);
	assert_true(READ(&options, &exit_code, "orderctl", "dlq", "requeue", "--error", "%large%",
					 "--status", "FAILED", "--order", "3"));
	assert_string_equal(options.event_error, "%large%");
	assert_string_equal(options.event_status, "FAILED");
	assert_true(READ(&options, &exit_code, "orderctl", "dlq", "requeue", "--all"));
	ASSERT_WRONG("orderctl", "dlq", "requeue");
	ASSERT_WRONG("orderctl", "outbox", "requeue");
	ASSERT_WRONG("orderctl", "dlq", "requeue", "1", "--all");
	ASSERT_WRONG("orderctl", "dlq", "requeue", "1", "2");
	ASSERT_WRONG("orderctl", "dlq", "requeue", "--status", "SENT");
	ASSERT_WRONG("orderctl", "dlq", "requeue", "--status", "ALL");
	ASSERT_WRONG("orderctl", "dlq", "requeue", "--limit", "1");
	ASSERT_WRONG("orderctl", "dlq", "requeue", "0");
}

static void
refuses_what_cannot_be_an_event(void **state)
{
	(void) state;
	ASSERT_WRONG("orderctl", "outbox");
	ASSERT_WRONG("orderctl", "dlq");
	ASSERT_WRONG("orderctl", "dlq", "tail");
	ASSERT_WRONG("orderctl", "outbox", "frobnicate");
	ASSERT_WRONG("orderctl", "outbox list");
	ASSERT_WRONG("orderctl", "out", "list");
	ASSERT_WRONG("orderctl", "outbox", "show");
	ASSERT_WRONG("orderctl", "outbox", "show", "x");
	ASSERT_WRONG("orderctl", "outbox", "show", "1.0");
	ASSERT_WRONG("orderctl", "outbox", "show", "1.2.3");
	ASSERT_WRONG("orderctl", "outbox", "show", ".1");
	ASSERT_WRONG("orderctl", "outbox", "show", "1.2147483648");
	ASSERT_WRONG("orderctl", "outbox", "show", "1", "2");
	ASSERT_WRONG("orderctl", "outbox", "list", "1");
	ASSERT_WRONG("orderctl", "outbox", "list", "--status", "LOST");
	ASSERT_WRONG("orderctl", "outbox", "list", "--error", "x");
	ASSERT_WRONG("orderctl", "outbox", "list", "--order", "0");
	ASSERT_WRONG("orderctl", "outbox", "tail", "--limit", "1");
	ASSERT_WRONG("orderctl", "outbox", "tail", "--count", "0");
	ASSERT_WRONG(BASE, "ping", "--database", "dbname=x");
}

static void
wipes_the_connection_string_which_may_hold_a_password(void **state)
{
	OrderctlOptions options;
	int exit_code;

	(void) state;
	assert_true(READ(&options, &exit_code, "orderctl", "outbox", "list", "--database",
					 "dbname=orders password=secret"));
	assert_string_equal(options.database, "dbname=orders password=secret");
	for (int i = 0; argv[i] != NULL; i++)
		assert_null(strstr(argv[i], "secret"));
}

static void
helps_with_each_command(void **state)
{
	(void) state;
	for (int i = 0; i < ORDERCTL_COMMAND_COUNT; i++)
	{
		const char *name = orderctl_command_name((OrderctlCommand) i);
		const char *second = strchr(name, ' ');
		char first[32];
		const char *const behind[] = {"orderctl", first, "--help", NULL, NULL};
		const char *const before[] = {"orderctl", "help", first, NULL, NULL};
		const char *words[5];
		OrderctlOptions options;
		int exit_code = -1;

		snprintf(first, sizeof(first), "%.*s", (int) strcspn(name, " "), name);
		memcpy(words, behind, sizeof(words));
		words[3] = second != NULL ? second + 1 : NULL;
		assert_false(read_words(&options, &exit_code, words));
		assert_int_equal(exit_code, ORDERCTL_EXIT_OK);
		exit_code = -1;
		memcpy(words, before, sizeof(words));
		words[3] = second != NULL ? second + 1 : NULL;
		assert_false(read_words(&options, &exit_code, words));
		assert_int_equal(exit_code, ORDERCTL_EXIT_OK);
	}
}

static void
has_an_exit_code_of_its_own_for_each_business_code(void **state)
{
	static const int codes[] = {
#define CODE_NUMBER(code, name, grpc, repeat) code,
		CODE_TABLE(CODE_NUMBER)
#undef CODE_NUMBER
	};
	int count = sizeof(codes) / sizeof(codes[0]);

	(void) state;
	for (int i = 0; i < count; i++)
	{
		assert_int_not_equal(orderctl_exit_of_code(codes[i]), ORDERCTL_EXIT_FAILED);
		for (int j = 0; j < i; j++)
			assert_int_not_equal(orderctl_exit_of_code(codes[i]), orderctl_exit_of_code(codes[j]));
	}
	assert_int_equal(orderctl_exit_of_code(0), ORDERCTL_EXIT_FAILED);
	assert_int_equal(orderctl_exit_of_code(1), ORDERCTL_EXIT_FAILED);
	assert_int_equal(orderctl_exit_of_code(1001), ORDERCTL_EXIT_FAILED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(reads_a_limit_order_with_options_anywhere, setup),
		cmocka_unit_test_setup(takes_an_order_without_a_price_for_a_market_order, setup),
		cmocka_unit_test_setup(wipes_the_session_where_others_could_read_it, setup),
		cmocka_unit_test_setup(takes_what_is_not_given_from_the_environment, setup),
		cmocka_unit_test_setup(refuses_what_cannot_be_a_request, setup),
		cmocka_unit_test_setup(reads_which_events_an_operator_means, setup),
		cmocka_unit_test_setup(requeues_only_what_was_said, setup),
		cmocka_unit_test_setup(refuses_what_cannot_be_an_event, setup),
		cmocka_unit_test_setup(wipes_the_connection_string_which_may_hold_a_password, setup),
		cmocka_unit_test_setup(helps_with_each_command, setup),
		cmocka_unit_test_setup(has_an_exit_code_of_its_own_for_each_business_code, setup),
	};

	return cmocka_run_group_tests_name("orderctl_options", tests, NULL, NULL);
}
