/*
 * attempts_test.c
 *		Limits and retries of one call, with the figures of the specification.
 */
#include "resilience/attempts.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MS INT64_C(1000)
#define BEGIN (INT64_C(1) << 50)

static const AttemptPolicy policy = {
	.attempt_us = 50 * MS, .overall_us = 90 * MS, .retry_delay_us = 10 * MS, .retries_max = 1};

static void
the_first_attempt_has_its_own_limit_and_the_second_what_is_left(void **state)
{
	Attempts attempts;

	(void) state;
	attempts_begin(&attempts, &policy, BEGIN);
	assert_int_equal(attempts_limit(&attempts, BEGIN), 50 * MS);
	assert_int_equal(attempts_next(&attempts, ATTEMPT_RETRYABLE, BEGIN + 50 * MS), 10 * MS);
	assert_int_equal(attempts_limit(&attempts, BEGIN + 60 * MS), 30 * MS);
	assert_int_equal(attempts_next(&attempts, ATTEMPT_RETRYABLE, BEGIN + 90 * MS), -1);
	assert_int_equal(attempts_limit(&attempts, BEGIN + 90 * MS), 0);
	assert_int_equal(attempts_limit(&attempts, BEGIN + 900 * MS), 0);
}

static void
what_the_client_waited_before_counts_but_for_one_attempt(void **state)
{
	AttemptPolicy waited = policy;
	Attempts attempts;

	(void) state;
	waited.waited_us = 5 * MS;
	attempts_begin(&attempts, &waited, BEGIN);
	assert_int_equal(attempts_limit(&attempts, BEGIN), 50 * MS);
	assert_int_equal(attempts_next(&attempts, ATTEMPT_RETRYABLE, BEGIN + 50 * MS), 10 * MS);
	assert_int_equal(attempts_limit(&attempts, BEGIN + 60 * MS), 25 * MS);

	waited.waited_us = 5000 * MS;
	attempts_begin(&attempts, &waited, BEGIN);
	assert_int_equal(attempts_limit(&attempts, BEGIN), 50 * MS);
	assert_int_equal(attempts_next(&attempts, ATTEMPT_RETRYABLE, BEGIN + 50 * MS), -1);
}

static void
there_is_one_retry_even_when_time_is_left(void **state)
{
	Attempts attempts;

	(void) state;
	attempts_begin(&attempts, &policy, BEGIN);
	assert_int_equal(attempts_next(&attempts, ATTEMPT_RETRYABLE, BEGIN + 1), 10 * MS);
	assert_int_equal(attempts_next(&attempts, ATTEMPT_RETRYABLE, BEGIN + 11 * MS), -1);
}

static void
a_final_failure_is_not_repeated(void **state)
{
	Attempts attempts;

	(void) state;
	attempts_begin(&attempts, &policy, BEGIN);
	assert_int_equal(attempts_next(&attempts, ATTEMPT_FINAL, BEGIN), -1);
}

static void
an_unprocessed_attempt_is_repeated_at_once_and_free_but_only_once(void **state)
{
	Attempts attempts;

	(void) state;
	attempts_begin(&attempts, &policy, BEGIN);
	assert_int_equal(attempts_next(&attempts, ATTEMPT_UNPROCESSED, BEGIN), 0);
	assert_int_equal(attempts.retries, 0);
	assert_int_equal(attempts_next(&attempts, ATTEMPT_UNPROCESSED, BEGIN + MS), 10 * MS);
	assert_int_equal(attempts_next(&attempts, ATTEMPT_UNPROCESSED, BEGIN + 11 * MS), -1);
}

static void
the_free_repetition_leaves_the_retry(void **state)
{
	Attempts attempts;

	(void) state;
	attempts_begin(&attempts, &policy, BEGIN);
	assert_int_equal(attempts_next(&attempts, ATTEMPT_UNPROCESSED, BEGIN), 0);
	assert_int_equal(attempts_next(&attempts, ATTEMPT_RETRYABLE, BEGIN + 50 * MS), 10 * MS);
	assert_int_equal(attempts_next(&attempts, ATTEMPT_RETRYABLE, BEGIN + 61 * MS), -1);
}

static void
a_retry_needs_room_behind_its_delay(void **state)
{
	Attempts attempts;

	(void) state;
	attempts_begin(&attempts, &policy, BEGIN);
	assert_int_equal(attempts_next(&attempts, ATTEMPT_RETRYABLE, BEGIN + 80 * MS), -1);
	attempts_begin(&attempts, &policy, BEGIN);
	assert_int_equal(attempts_next(&attempts, ATTEMPT_RETRYABLE, BEGIN + 80 * MS - 1), 10 * MS);
}

static void
without_retries_there_is_none(void **state)
{
	AttemptPolicy strict = policy;
	Attempts attempts;

	(void) state;
	strict.retries_max = 0;
	attempts_begin(&attempts, &strict, BEGIN);
	assert_int_equal(attempts_next(&attempts, ATTEMPT_RETRYABLE, BEGIN), -1);
}

static void
a_call_is_hedged_or_retried(void **state)
{
	Attempts attempts;

	(void) state;
	attempts_begin(&attempts, &policy, BEGIN);
	assert_true(attempts_may_hedge(&attempts));
	attempts_hedge(&attempts);
	assert_false(attempts_may_hedge(&attempts));
	assert_int_equal(attempts_next(&attempts, ATTEMPT_RETRYABLE, BEGIN + 1), -1);
	assert_int_equal(attempts_next(&attempts, ATTEMPT_UNPROCESSED, BEGIN + 1), 0);

	attempts_begin(&attempts, &policy, BEGIN);
	assert_int_equal(attempts_next(&attempts, ATTEMPT_RETRYABLE, BEGIN + 1), 10 * MS);
	assert_false(attempts_may_hedge(&attempts));

	attempts_begin(&attempts, &policy, BEGIN);
	assert_int_equal(attempts_next(&attempts, ATTEMPT_UNPROCESSED, BEGIN + 1), 0);
	assert_false(attempts_may_hedge(&attempts));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_attempt_has_its_own_limit_and_the_second_what_is_left),
		cmocka_unit_test(what_the_client_waited_before_counts_but_for_one_attempt),
		cmocka_unit_test(there_is_one_retry_even_when_time_is_left),
		cmocka_unit_test(a_final_failure_is_not_repeated),
		cmocka_unit_test(an_unprocessed_attempt_is_repeated_at_once_and_free_but_only_once),
		cmocka_unit_test(a_call_is_hedged_or_retried),
		cmocka_unit_test(the_free_repetition_leaves_the_retry),
		cmocka_unit_test(a_retry_needs_room_behind_its_delay),
		cmocka_unit_test(without_retries_there_is_none),
	};

	return cmocka_run_group_tests_name("attempts", tests, NULL, NULL);
}
