/*
 * backoff_test.c
 *		Pauses between attempts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "resilience/backoff.h"

#define SECOND INT64_C(1000000)

static void
assert_about(int64_t pause_us, int64_t middle_us)
{
	assert_in_range(pause_us, middle_us - middle_us / 5, middle_us + middle_us / 5);
}

static void
pauses_grow_up_to_the_limit(void **state)
{
	Backoff backoff = {.first_us = SECOND, .limit_us = 120 * SECOND};
	int64_t middle_us = SECOND;

	(void) state;
	for (int i = 0; i < 10; i++)
	{
		assert_about(backoff_next(&backoff), middle_us);
		middle_us = middle_us * 8 / 5;
	}
	for (int i = 0; i < 100; i++)
		(void) backoff_next(&backoff);
	assert_about(backoff_next(&backoff), 120 * SECOND);
}

static void
a_success_begins_anew(void **state)
{
	Backoff backoff = {.first_us = SECOND, .limit_us = 120 * SECOND};

	(void) state;
	for (int i = 0; i < 5; i++)
		(void) backoff_next(&backoff);
	backoff_reset(&backoff);
	assert_about(backoff_next(&backoff), SECOND);
	assert_about(backoff_next(&backoff), SECOND * 8 / 5);
}

static void
a_limit_that_is_the_first_pause_stays(void **state)
{
	Backoff backoff = {.first_us = SECOND, .limit_us = SECOND};

	(void) state;
	for (int i = 0; i < 5; i++)
		assert_about(backoff_next(&backoff), SECOND);
}

static void
shifts_go_both_ways_by_a_fifth_at_most(void **state)
{
	int64_t least_us = INT64_MAX;
	int64_t most_us = 0;

	(void) state;
	for (int i = 0; i < 10000; i++)
	{
		int64_t pause_us = backoff_shift(SECOND);

		least_us = pause_us < least_us ? pause_us : least_us;
		most_us = pause_us > most_us ? pause_us : most_us;
	}
	assert_in_range(least_us, SECOND * 80 / 100, SECOND * 81 / 100);
	assert_in_range(most_us, SECOND * 119 / 100, SECOND * 120 / 100);
	assert_int_equal(backoff_shift(0), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pauses_grow_up_to_the_limit),
		cmocka_unit_test(a_success_begins_anew),
		cmocka_unit_test(a_limit_that_is_the_first_pause_stays),
		cmocka_unit_test(shifts_go_both_ways_by_a_fifth_at_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
