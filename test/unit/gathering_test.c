/*
 * gathering_test.c
 *		How long events gather before they are handed over to the producer.
 */
#include "gathering.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "bounds.h"

#define MS INT64_C(1000)
#define SECOND (1000 * MS)
#define NOW (INT64_C(800000000) * SECOND)
/* Too little to gather for, and a round trip within its limits. */
#define NO_WORK 0
#define ROUND_TRIP (GATHER_MS_MIN * MS)

static Gathering
begun(int64_t cpu_us, int64_t round_trip_us)
{
	Gathering gathering = {0};

	gathering_begin(&gathering, NOW, cpu_us, round_trip_us);
	return gathering;
}

static void
nothing_gathers_before_the_first_hand_over(void **state)
{
	Gathering gathering = {0};

	(void) state;
	assert_int_equal(gathering_end(&gathering, NOW, false), NOW);
	assert_int_equal(gathering_end(&gathering, NOW, true), NOW);
}

static void
a_hand_over_is_made_up_for_before_the_next(void **state)
{
	Gathering gathering = begun(100, ROUND_TRIP);
	int64_t end = NOW + 100 * GATHER_WORK;

	(void) state;
	assert_int_equal(gathering_end(&gathering, NOW, false), end);
	assert_int_equal(gathering_end(&gathering, end - 1, false), end);
	assert_int_equal(gathering_end(&gathering, end, false), end);
	assert_int_equal(gathering_end(&gathering, end + 1, false), end + 1);
}

static void
however_long_it_took_the_time_is_bounded(void **state)
{
	static const int64_t works[] = {GATHER_WORK_MS_MAX * MS, SECOND, INT64_MAX};

	(void) state;
	for (int i = 0; i < 3; i++)
	{
		Gathering gathering = begun(works[i], ROUND_TRIP);

		assert_int_equal(gathering_end(&gathering, NOW, false), NOW + GATHER_WORK_MS_MAX * MS);
	}
}

static void
what_is_in_flight_is_waited_for(void **state)
{
	Gathering gathering = begun(NO_WORK, ROUND_TRIP);
	int64_t end = NOW + GATHER_ROUND_TRIPS * ROUND_TRIP;

	(void) state;
	assert_int_equal(gathering_end(&gathering, NOW, true), end);
	assert_int_equal(gathering_end(&gathering, NOW + 1, false), NOW + 1);
	assert_int_equal(gathering_end(&gathering, end + 1, true), end + 1);
}

static void
what_is_in_flight_is_waited_for_within_limits(void **state)
{
	static const int64_t nothing_known = 0;
	Gathering quick = begun(NO_WORK, nothing_known);
	Gathering slow = begun(NO_WORK, INT64_MAX);

	(void) state;
	assert_int_equal(gathering_end(&quick, NOW, true), NOW + GATHER_MS_MIN * MS);
	assert_int_equal(gathering_end(&slow, NOW, true), NOW + GATHER_MS_MAX * MS);
}

static void
the_longer_of_both_counts_while_records_are_in_flight(void **state)
{
	Gathering gathering = begun(GATHER_WORK_MS_MAX * MS, 0);

	(void) state;
	assert_true(GATHER_WORK_MS_MAX > GATHER_MS_MIN);
	assert_int_equal(gathering_end(&gathering, NOW, true), NOW + GATHER_WORK_MS_MAX * MS);
}

static void
a_clock_that_is_set_back_holds_nothing_up(void **state)
{
	Gathering gathering = begun(SECOND, SECOND);
	int64_t before = NOW - 3600 * SECOND;

	(void) state;
	assert_int_equal(gathering_end(&gathering, before, true), before);
	assert_int_equal(gathering_end(&gathering, NOW - 1, true), NOW - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_gathers_before_the_first_hand_over),
		cmocka_unit_test(a_hand_over_is_made_up_for_before_the_next),
		cmocka_unit_test(however_long_it_took_the_time_is_bounded),
		cmocka_unit_test(what_is_in_flight_is_waited_for),
		cmocka_unit_test(what_is_in_flight_is_waited_for_within_limits),
		cmocka_unit_test(the_longer_of_both_counts_while_records_are_in_flight),
		cmocka_unit_test(a_clock_that_is_set_back_holds_nothing_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
