/*
 * breaker_test.c
 *		When a circuit breaker opens and closes, with the figures of the specification.
 */
#include "resilience/breaker.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000)
#define BEGIN (INT64_C(1) << 50)
#define WINDOW 50
#define THRESHOLD 10

static Breaker breaker;

/* An attempt from its begin to its end; whether its result opened the breaker. */
static bool
attempt(bool is_success, int64_t now_us)
{
	BreakerPass pass;

	assert_true(breaker_enter(&breaker, now_us, &pass));
	return breaker_record(&breaker, pass, is_success, now_us);
}

static void
attempts(int count, bool is_success)
{
	for (int i = 0; i < count; i++)
		assert_false(attempt(is_success, BEGIN));
}

static void
begin(void)
{
	breaker_init(&breaker, WINDOW, 20, 30 * SECOND);
}

/* Opens at BEGIN. */
static void
begin_open(void)
{
	begin();
	attempts(WINDOW - 1, false);
	assert_true(attempt(false, BEGIN));
	assert_int_equal(breaker_state(&breaker, BEGIN), BREAKER_OPEN);
}

static void
it_never_opens_before_the_window_is_full(void **state)
{
	(void) state;
	begin();
	attempts(WINDOW - 1, false);
	assert_int_equal(breaker_state(&breaker, BEGIN), BREAKER_CLOSED);
	assert_true(attempt(false, BEGIN));
	assert_int_equal(breaker_state(&breaker, BEGIN), BREAKER_OPEN);
}

static void
a_success_that_fills_the_window_may_open_it(void **state)
{
	(void) state;
	begin();
	attempts(THRESHOLD, false);
	attempts(WINDOW - THRESHOLD - 1, true);
	assert_true(attempt(true, BEGIN));
}

static void
the_tenth_failure_in_the_window_opens_it(void **state)
{
	(void) state;
	begin();
	attempts(WINDOW, true);
	attempts(THRESHOLD - 1, false);
	assert_true(attempt(false, BEGIN));
}

static void
a_failure_that_has_left_the_window_does_not_count(void **state)
{
	(void) state;
	begin();
	attempts(THRESHOLD - 1, false);
	attempts(WINDOW - THRESHOLD + 1, true);
	assert_int_equal(breaker.failures, THRESHOLD - 1);
	attempts(THRESHOLD - 1, false);
	assert_int_equal(breaker.failures, THRESHOLD - 1);
	assert_true(attempt(false, BEGIN));
}

static void
a_share_that_is_no_whole_number_is_rounded_up(void **state)
{
	(void) state;
	breaker_init(&breaker, 7, 20, SECOND);
	attempts(7, true);
	attempts(1, false);
	assert_true(attempt(false, BEGIN));
}

static void
it_stays_open_for_its_time_and_lets_one_probe_through(void **state)
{
	BreakerPass pass;

	(void) state;
	begin_open();
	assert_false(breaker_enter(&breaker, BEGIN + 30 * SECOND - 1, &pass));
	assert_false(breaker_is_passable(&breaker, BEGIN + 30 * SECOND - 1));
	assert_true(breaker_is_passable(&breaker, BEGIN + 30 * SECOND));
	assert_int_equal(breaker_state(&breaker, BEGIN + 30 * SECOND), BREAKER_HALF_OPEN);
	assert_true(breaker_enter(&breaker, BEGIN + 30 * SECOND, &pass));
	assert_false(breaker_is_passable(&breaker, BEGIN + 90 * SECOND));
	assert_false(breaker_enter(&breaker, BEGIN + 90 * SECOND, &pass));
}

static void
a_probe_that_succeeds_closes_it_with_an_empty_window(void **state)
{
	(void) state;
	begin_open();
	assert_false(attempt(true, BEGIN + 30 * SECOND));
	assert_int_equal(breaker_state(&breaker, BEGIN), BREAKER_CLOSED);
	attempts(WINDOW - 1, false);
	assert_true(attempt(false, BEGIN));
}

static void
a_probe_that_fails_opens_it_for_its_whole_time(void **state)
{
	(void) state;
	begin_open();
	assert_true(attempt(false, BEGIN + 31 * SECOND));
	assert_false(breaker_is_passable(&breaker, BEGIN + 61 * SECOND - 1));
	assert_true(breaker_is_passable(&breaker, BEGIN + 61 * SECOND));
}

static void
a_late_result_of_an_older_state_is_ignored(void **state)
{
	BreakerPass late;
	BreakerPass probe;

	(void) state;
	begin();
	assert_true(breaker_enter(&breaker, BEGIN, &late));
	attempts(WINDOW - 1, false);
	assert_true(attempt(false, BEGIN));
	assert_false(breaker_record(&breaker, late, true, BEGIN));
	assert_true(breaker_enter(&breaker, BEGIN + 30 * SECOND, &probe));
	assert_false(breaker_record(&breaker, late, true, BEGIN + 30 * SECOND));
	assert_int_equal(breaker_state(&breaker, BEGIN + 30 * SECOND), BREAKER_HALF_OPEN);
	assert_false(breaker_record(&breaker, probe, true, BEGIN + 30 * SECOND));
	assert_false(breaker_record(&breaker, late, false, BEGIN + 30 * SECOND));
	assert_int_equal(breaker.count, 0);
}

static void
what_is_withdrawn_does_not_count_and_a_probe_leaves_room(void **state)
{
	BreakerPass pass;

	(void) state;
	begin();
	assert_true(breaker_enter(&breaker, BEGIN, &pass));
	breaker_withdraw(&breaker, pass);
	assert_int_equal(breaker.count, 0);
	begin_open();
	assert_true(breaker_enter(&breaker, BEGIN + 30 * SECOND, &pass));
	breaker_withdraw(&breaker, pass);
	assert_true(breaker_enter(&breaker, BEGIN + 30 * SECOND, &pass));
}

static void
a_reset_closes_it_and_forgets(void **state)
{
	BreakerPass late;

	(void) state;
	begin();
	assert_true(breaker_enter(&breaker, BEGIN, &late));
	attempts(WINDOW - 1, false);
	assert_true(attempt(false, BEGIN));
	breaker_reset(&breaker);
	assert_string_equal(breaker_state_name(breaker_state(&breaker, BEGIN)), "closed");
	assert_false(breaker_record(&breaker, late, false, BEGIN));
	attempts(WINDOW - 1, false);
	assert_true(attempt(false, BEGIN));
}

static void
another_window_begins_empty_and_an_open_breaker_stays_open(void **state)
{
	(void) state;
	begin();
	attempts(WINDOW - 1, false);
	breaker_configure(&breaker, 10, 20, SECOND);
	attempts(9, false);
	assert_true(attempt(false, BEGIN));
	breaker_configure(&breaker, 20, 20, 2 * SECOND);
	assert_false(breaker_is_passable(&breaker, BEGIN + SECOND));
	assert_true(breaker_is_passable(&breaker, BEGIN + 2 * SECOND));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_never_opens_before_the_window_is_full),
		cmocka_unit_test(a_success_that_fills_the_window_may_open_it),
		cmocka_unit_test(the_tenth_failure_in_the_window_opens_it),
		cmocka_unit_test(a_failure_that_has_left_the_window_does_not_count),
		cmocka_unit_test(a_share_that_is_no_whole_number_is_rounded_up),
		cmocka_unit_test(it_stays_open_for_its_time_and_lets_one_probe_through),
		cmocka_unit_test(a_probe_that_succeeds_closes_it_with_an_empty_window),
		cmocka_unit_test(a_probe_that_fails_opens_it_for_its_whole_time),
		cmocka_unit_test(a_late_result_of_an_older_state_is_ignored),
		cmocka_unit_test(what_is_withdrawn_does_not_count_and_a_probe_leaves_room),
		cmocka_unit_test(a_reset_closes_it_and_forgets),
		cmocka_unit_test(another_window_begins_empty_and_an_open_breaker_stays_open),
	};

	return cmocka_run_group_tests_name("breaker", tests, NULL, NULL);
}
