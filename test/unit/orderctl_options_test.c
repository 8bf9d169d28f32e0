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
helps_with_each_command(void **state)
{
	(void) state;
	for (int i = 0; i < ORDERCTL_COMMAND_COUNT; i++)
	{
		const char *name = orderctl_command_name((OrderctlCommand) i);
		OrderctlOptions options;
		int exit_code = -1;

		assert_false(READ(&options, &exit_code, "orderctl", name, "--help"));
		assert_int_equal(exit_code, ORDERCTL_EXIT_OK);
		assert_false(READ(&options, &exit_code, "orderctl", "help", name));
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
		cmocka_unit_test_setup(helps_with_each_command, setup),
		cmocka_unit_test_setup(has_an_exit_code_of_its_own_for_each_business_code, setup),
	};

	return cmocka_run_group_tests_name("orderctl_options", tests, NULL, NULL);
}
