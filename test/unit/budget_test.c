/*
 * budget_test.c
 *		A share of the calls of a sliding window.
 */
#include "resilience/budget.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000)
#define BEGIN (1000000 * SECOND)

static Budget budget;

static void
earn(int count, int64_t now_us)
{
	for (int i = 0; i < count; i++)
		budget_earn(&budget, now_us);
}

/* Spends until nothing is left; how often. */
static int
spend_all(int64_t now_us)
{
	int count = 0;

	while (budget_spend(&budget, now_us))
		count++;
	return count;
}

static void
a_tenth_of_the_calls_may_be_repeated(void **state)
{
	(void) state;
	budget_init(&budget, 10);
	earn(1009, BEGIN);
	assert_int_equal(budget_left(&budget, BEGIN), 100);
	assert_int_equal(spend_all(BEGIN), 100);
	earn(1, BEGIN);
	assert_int_equal(spend_all(BEGIN), 1);
}

static void
few_calls_have_the_floor_once_a_window(void **state)
{
	(void) state;
	budget_init(&budget, 10);
	assert_int_equal(spend_all(BEGIN), BUDGET_FLOOR);
	earn(10, BEGIN);
	assert_int_equal(spend_all(BEGIN + 9 * SECOND), 0);
	assert_int_equal(spend_all(BEGIN + 10 * SECOND), BUDGET_FLOOR);
}

static void
without_a_share_there_is_no_floor(void **state)
{
	(void) state;
	budget_init(&budget, 0);
	earn(1000, BEGIN);
	assert_int_equal(spend_all(BEGIN), 0);
}

static void
calls_count_until_they_have_left_the_window(void **state)
{
	(void) state;
	budget_init(&budget, 10);
	earn(100, BEGIN);
	earn(400, BEGIN + 5 * SECOND);
	assert_int_equal(budget_left(&budget, BEGIN + 9 * SECOND), 50);
	assert_int_equal(budget_left(&budget, BEGIN + 10 * SECOND), 40);
	assert_int_equal(budget_left(&budget, BEGIN + 15 * SECOND), BUDGET_FLOOR);
}

static void
over_many_windows_the_share_is_kept(void **state)
{
	int64_t spent = 0;

	(void) state;
	budget_init(&budget, 10);
	for (int second = 0; second < 100; second++)
	{
		earn(100, BEGIN + second * SECOND);
		spent += spend_all(BEGIN + second * SECOND);
	}
	assert_true(spent >= 900 && spent <= 1000);
}

static void
a_clock_that_jumps_ahead_leaves_nothing_that_counts(void **state)
{
	(void) state;
	budget_init(&budget, 10);
	earn(1000, BEGIN);
	assert_int_equal(spend_all(BEGIN), 100);
	assert_int_equal(budget_left(&budget, BEGIN + 3600 * SECOND), BUDGET_FLOOR);
	earn(50, BEGIN + 3600 * SECOND);
	assert_int_equal(spend_all(BEGIN + 3600 * SECOND), 5);
}

static void
what_lies_ahead_of_the_clock_does_not_count(void **state)
{
	(void) state;
	budget_init(&budget, 10);
	earn(1000, BEGIN + 5 * SECOND);
	assert_int_equal(budget_left(&budget, BEGIN), BUDGET_FLOOR);
}

static void
what_is_less_urgent_leaves_half_and_the_floor_to_others(void **state)
{
	static const struct
	{
		int percent;
		int calls;
		int spared;
	} rows[] = {{10, 1000, 50}, {10, 70, 4}, {10, 50, 2}, {10, 30, 0}, {10, 0, 0}, {0, 1000, 0}};

	(void) state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
	{
		int count = 0;

		budget_init(&budget, rows[i].percent);
		earn(rows[i].calls, BEGIN);
		while (budget_spend_spare(&budget, BEGIN))
			count++;
		assert_int_equal(count, rows[i].spared);
	}
	budget_init(&budget, 10);
	earn(1000, BEGIN);
	for (int i = 0; i < 60; i++)
		assert_true(budget_spend(&budget, BEGIN));
	assert_false(budget_spend_spare(&budget, BEGIN));
	assert_int_equal(spend_all(BEGIN), 40);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tenth_of_the_calls_may_be_repeated),
		cmocka_unit_test(few_calls_have_the_floor_once_a_window),
		cmocka_unit_test(without_a_share_there_is_no_floor),
		cmocka_unit_test(calls_count_until_they_have_left_the_window),
		cmocka_unit_test(over_many_windows_the_share_is_kept),
		cmocka_unit_test(a_clock_that_jumps_ahead_leaves_nothing_that_counts),
		cmocka_unit_test(what_is_less_urgent_leaves_half_and_the_floor_to_others),
		cmocka_unit_test(what_lies_ahead_of_the_clock_does_not_count),
	};

	return cmocka_run_group_tests_name("budget", tests, NULL, NULL);
}
