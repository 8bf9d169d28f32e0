/*
 * account_guard_test.c
 *		Many calls of Account at a time: when the circuit breaker and the bulkhead refuse, what they
 *		learn, and what extra attempts cost.
 *
 * The channel is replaced: a test answers each attempt when it likes.
 */
#include "order/account.h" /* first: it must need nothing that is included below */

#include <unistd.h>

#include "base/bounds.h"
#include "base/clock.h"
#include "base/setting.h"
#include "channel_fake.h"
#include "order/account_metrics.h"

#define WINDOW 10
#define PLACES 4
#define WAITING 2
#define OPEN_US (20 * CLOCK_MS)

static Loop *loop;
static Config config;
static Account *account;

/* Calls that have ended. */
static AccountResult ended[SENT_MAX];
static int ended_count;

static void
hear(void *context, const AccountResult *result)
{
	(void) context;
	assert_true(ended_count < SENT_MAX);
	ended[ended_count++] = *result;
}

static void
reserve(bool is_debt)
{
	int before = ended_count;

	account_reserve(account,
					&(AccountReservation){.account_id = 7,
										  .reserve_id = "r",
										  .is_cash = true,
										  .is_debt = is_debt,
										  .currency = "USD",
										  .amount = 1},
					hear, NULL);
	assert_int_equal(ended_count, before);
}

static void
answer(int number, GrpcStatus status)
{
	end_attempt(number, (ChannelResult){.status = status});
	loop_turn(loop);
}

/* As many calls that end so, each before the next, without a retry. */
static void
calls(int count, GrpcStatus status)
{
	for (int i = 0; i < count; i++)
	{
		int before = ended_count;

		reserve(false);
		answer(sent_count - 1, status);
		wait_for(loop, &ended_count, before + 1);
	}
}

static void
expect_state(const char *breaker)
{
	assert_string_equal(account_measure(account).breaker, breaker);
}

static void
expect_last(Reason reason, int hold)
{
	assert_int_equal(ended[ended_count - 1].reason, reason);
	assert_int_equal(ended[ended_count - 1].hold, hold);
}

static int
set_up(void **state)
{
	(void) state;
	config = (Config){.attempt_timeout_us = 50 * CLOCK_MS,
					  .overall_timeout_us = 10 * CLOCK_SECOND,
					  .retry_delay_us = 1 * CLOCK_MS,
					  .retries_max = 0,
					  .retry_budget_percent = 10,
					  .breaker_window = WINDOW,
					  .breaker_failures_percent = 20,
					  .breaker_open_us = OPEN_US,
					  .account_calls_max = PLACES,
					  .account_waiting_max = WAITING,
					  .hedge_us = SETTING_OFF};
	loop = loop_new();
	account = account_new(loop, NULL, &config);
	channel_fake_reset();
	ended_count = 0;
	return 0;
}

static int
tear_down(void **state)
{
	(void) state;
	assert_int_equal(account_pending_count(account), 0);
	metrics_reset();
	account_free(account);
	loop_free(loop);
	return 0;
}

static void
open_breaker(void)
{
	calls(WINDOW - 2, GRPC_OK);
	calls(2, GRPC_INTERNAL);
	expect_state("open");
}

static void
failures_open_the_breaker_and_orders_are_refused_without_a_call(void **state)
{
	int before;

	(void) state;
	config.breaker_open_us = 3600 * CLOCK_SECOND;
	open_breaker();
	assert_int_equal(account_look(account), REASON_ACCOUNT_RESTING);
	before = sent_count;
	reserve(false);
	wait_for(loop, &ended_count, WINDOW + 1);
	expect_last(REASON_ACCOUNT_UNAVAILABLE, HOLD_NONE);
	assert_int_equal(sent_count, before);
	assert_int_equal(account_metrics.opened.value, 1);
	assert_int_equal(account_metrics.passages[ACCOUNT_PASSAGE_FAILURE].value, 2);
	assert_int_equal(account_metrics.passages[ACCOUNT_PASSAGE_SUCCESS].value, WINDOW - 2);
	assert_int_equal(account_metrics.passages[ACCOUNT_PASSAGE_OPEN].value, 2);
}

static void
a_status_is_a_failure_of_the_service_or_its_answer(void **state)
{
	static const GrpcStatus failures[] = {GRPC_UNAVAILABLE, GRPC_DEADLINE_EXCEEDED,
										  GRPC_INTERNAL,    GRPC_UNKNOWN,
										  GRPC_DATA_LOSS,   GRPC_RESOURCE_EXHAUSTED};

	(void) state;
	for (int status = 0; status < GRPC_STATUS_COUNT; status++)
	{
		bool is_failure = false;
		int before = account_measure(account).breaker_failures;

		for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++)
			is_failure = is_failure || failures[i] == (GrpcStatus) status;
		calls(1, (GrpcStatus) status);
		assert_int_equal(account_measure(account).breaker_failures, before + is_failure);
		account_reset_breaker(account);
	}
}

static void
a_reply_of_internal_error_is_a_failure_and_a_refusal_is_none(void **state)
{
	static const uint8_t refusal[] = {0x08, 1};
	static const uint8_t internal_error[] = {0x08, 3};
	ChannelResult result = {.status = GRPC_OK, .reply_size = 2};

	(void) state;
	reserve(false);
	result.reply = refusal;
	end_attempt(0, result);
	assert_int_equal(account_measure(account).breaker_failures, 0);
	reserve(false);
	result.reply = internal_error;
	end_attempt(1, result);
	expect_last(REASON_ACCOUNT_OUTCOME_UNKNOWN, HOLD_UNKNOWN);
	assert_int_equal(account_measure(account).breaker_failures, 1);
	assert_int_equal(account_measure(account).breaker_results, 2);
}

static void
after_its_rest_one_order_tries_and_all_others_are_refused(void **state)
{
	int64_t end_us;

	(void) state;
	open_breaker();
	end_us = clock_now_us() + WAIT_US;
	while (account_look(account) != REASON_NONE && clock_now_us() < end_us)
		loop_turn(loop);
	expect_state("half-open");
	reserve(false);
	assert_int_equal(sent_count, WINDOW + 1);
	assert_int_equal(account_look(account), REASON_ACCOUNT_RESTING);
	reserve(false);
	wait_for(loop, &ended_count, WINDOW + 1);
	assert_int_equal(sent_count, WINDOW + 1);
	answer(WINDOW, GRPC_OK);
	wait_for(loop, &ended_count, WINDOW + 2);
	expect_state("closed");
	assert_int_equal(account_look(account), REASON_NONE);
	assert_int_equal(account_measure(account).breaker_results, 0);
}

static void
a_reset_closes_it_at_once(void **state)
{
	(void) state;
	config.breaker_open_us = 3600 * CLOCK_SECOND;
	open_breaker();
	account_reset_breaker(account);
	expect_state("closed");
	calls(1, GRPC_OK);
	assert_int_equal(sent_count, WINDOW + 1);
}

static void
an_attempt_that_is_repeated_for_free_tells_the_breaker_nothing(void **state)
{
	ChannelResult unprocessed = {.status = GRPC_UNAVAILABLE, .is_unprocessed = true};

	(void) state;
	reserve(false);
	end_attempt(0, unprocessed);
	assert_int_equal(account_measure(account).breaker_results, 0);
	wait_for(loop, &sent_count, 2);
	end_attempt(1, unprocessed);
	assert_int_equal(account_measure(account).breaker_failures, 1);
	expect_last(REASON_ACCOUNT_UNAVAILABLE, HOLD_NONE);
}

static void
a_lost_connection_tells_nothing_while_another_endpoint_takes_the_call(void **state)
{
	ChannelResult lost = {.status = GRPC_UNAVAILABLE, .is_lost = true};

	(void) state;
	config.retries_max = 1;
	has_other = true;
	reserve(false);
	end_attempt(0, lost);
	assert_int_equal(account_measure(account).breaker_results, 0);
	wait_for(loop, &sent_count, 2);
	end_attempt(1, lost);
	assert_int_equal(account_measure(account).breaker_failures, 1);
	assert_int_equal(ended_count, 1);

	/* Without another one, and without a retry, it counts. */
	has_other = false;
	reserve(false);
	end_attempt(2, lost);
	assert_int_equal(account_measure(account).breaker_failures, 2);
	wait_for(loop, &sent_count, 4);
	answer(3, GRPC_OK);
	has_other = true;
	config.retry_budget_percent = 0;
	reserve(false);
	end_attempt(4, lost);
	assert_int_equal(account_measure(account).breaker_failures, 3);
	assert_int_equal(ended_count, 3);
	assert_int_equal(sent_count, 5);
	assert_int_equal(account_metrics.unpaid_retries.value, 1);
}

static void
a_refusal_of_our_own_channel_tells_the_breaker_nothing(void **state)
{
	ChannelResult refused = {
		.status = GRPC_UNAVAILABLE, .is_unprocessed = true, .is_refused_here = true};

	(void) state;
	reserve(false);
	end_attempt(0, refused);
	wait_for(loop, &sent_count, 2);
	end_attempt(1, refused);
	assert_int_equal(account_measure(account).breaker_results, 0);
	assert_int_equal(ended_count, 1);
}

static void
so_many_are_under_way_others_wait_in_line_and_more_are_refused(void **state)
{
	(void) state;
	for (int i = 0; i < PLACES + WAITING; i++)
	{
		assert_int_equal(account_look(account), REASON_NONE);
		reserve(false);
	}
	assert_int_equal(sent_count, PLACES);
	assert_int_equal(account_measure(account).running, PLACES);
	assert_int_equal(account_measure(account).waiting, WAITING);
	assert_int_equal(account_look(account), REASON_ACCOUNT_BUSY);
	reserve(false);
	wait_for(loop, &ended_count, 1);
	expect_last(REASON_ACCOUNT_UNAVAILABLE, HOLD_NONE);
	assert_int_equal(account_metrics.waiting_refused.value, 2);
	for (int i = 0; i < PLACES + WAITING; i++)
		answer(i, GRPC_OK);
	assert_int_equal(sent_count, PLACES + WAITING);
	assert_int_equal(ended_count, PLACES + WAITING + 1);
	assert_int_equal(sent[PLACES].timeout_us, config.attempt_timeout_us);
	assert_int_equal(account_measure(account).running, 0);
}

static void
a_place_that_does_not_come_in_time_is_a_refusal_and_no_failure(void **state)
{
	(void) state;
	config.attempt_timeout_us = 4 * CLOCK_MS;
	config.overall_timeout_us = 4 * CLOCK_MS;
	for (int i = 0; i < PLACES + 1; i++)
		reserve(false);
	wait_for(loop, &ended_count, 1);
	expect_last(REASON_ACCOUNT_UNAVAILABLE, HOLD_NONE);
	assert_int_equal(account_measure(account).waiting, 0);
	assert_int_equal(account_metrics.waiting_expired.value, 1);
	for (int i = 0; i < PLACES; i++)
		answer(i, GRPC_OK);
	assert_int_equal(sent_count, PLACES);
	assert_int_equal(account_measure(account).breaker_results, PLACES);
	assert_int_equal(account_measure(account).breaker_failures, 0);
}

/* Before the timer of who waits, which is due, and long enough to be the last of its turn. */
static void
free_a_place(void *context, short what)
{
	(void) context;
	(void) what;
	end_attempt(0, (ChannelResult){.status = GRPC_OK});
	hold_up(TURN_MS_MAX * CLOCK_MS);
	loop_stop(loop);
}

static void
a_place_that_comes_when_the_time_is_over_is_not_taken(void **state)
{
	LoopEvent readable;
	int ends[2];

	(void) state;
	config.attempt_timeout_us = 4 * CLOCK_MS;
	config.overall_timeout_us = 4 * CLOCK_MS;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "a", 1), 1);
	loop_event_init(&readable, loop, ends[0], EV_READ, free_a_place, NULL);
	loop_event_add(&readable, LOOP_FOREVER);
	for (int i = 0; i < PLACES + 1; i++)
		reserve(false);
	hold_up(5 * CLOCK_MS);
	loop_run(loop);
	assert_int_equal(account_measure(account).waiting, 0);
	wait_for(loop, &ended_count, 2);
	expect_last(REASON_ACCOUNT_UNAVAILABLE, HOLD_NONE);
	for (int i = 1; i < PLACES; i++)
		answer(i, GRPC_OK);
	assert_int_equal(sent_count, PLACES);
	close(ends[0]);
	close(ends[1]);
}

static void
those_that_wait_are_refused_when_the_breaker_opens(void **state)
{
	(void) state;
	calls(WINDOW - 2, GRPC_OK);
	for (int i = 0; i < PLACES + WAITING; i++)
		reserve(false);
	answer(WINDOW - 2, GRPC_INTERNAL);
	answer(WINDOW - 1, GRPC_INTERNAL);
	expect_state("open");
	/* One of the two took the place of the first failure before the second came. */
	for (int i = WINDOW; i < sent_count; i++)
		answer(i, GRPC_OK);
	wait_for(loop, &ended_count, WINDOW - 2 + PLACES + WAITING);
	assert_int_equal(sent_count, WINDOW - 2 + PLACES + 1);
	assert_int_equal(account_measure(account).waiting, 0);
}

static void
a_retry_behind_an_open_breaker_is_not_made_and_the_doubt_stays(void **state)
{
	(void) state;
	config.retries_max = 1;
	config.breaker_open_us = 3600 * CLOCK_SECOND;
	calls(WINDOW - 1, GRPC_OK);
	config.breaker_failures_percent = 10;
	reserve(false);
	answer(sent_count - 1, GRPC_DEADLINE_EXCEEDED);
	wait_for(loop, &ended_count, WINDOW);
	assert_int_equal(sent_count, WINDOW);
	expect_last(REASON_ACCOUNT_OUTCOME_UNKNOWN, HOLD_UNKNOWN);
	assert_int_equal(account_metrics.retries.value, 0);
}

static void
a_debt_is_never_retried(void **state)
{
	(void) state;
	config.retries_max = 1;
	reserve(true);
	answer(0, GRPC_UNAVAILABLE);
	wait_for(loop, &ended_count, 1);
	assert_int_equal(sent_count, 1);
	expect_last(REASON_ACCOUNT_OUTCOME_UNKNOWN, HOLD_UNKNOWN);
}

static void
debts_are_paid_freely_in_calm_and_from_the_budget_in_trouble(void **state)
{
	int before;

	(void) state;
	config.account_calls_max = SENT_MAX;
	calls(100, GRPC_OK);
	for (int i = 0; i < 20; i++)
		reserve(true);
	assert_int_equal(sent_count, 120);
	for (int i = 100; i < 120; i++)
		answer(i, GRPC_OK);

	/* A debt that fails is its own trouble. */
	reserve(true);
	answer(120, GRPC_INTERNAL);
	for (int i = 0; i < 20; i++)
		reserve(true);
	assert_int_equal(sent_count, 141);
	for (int i = 121; i < 141; i++)
		answer(i, GRPC_OK);

	/* 101 orders have earned 10 repetitions, and half of them are left to orders. */
	calls(1, GRPC_INTERNAL);
	before = sent_count;
	for (int i = 0; i < 20; i++)
		reserve(true);
	for (int i = before; i < sent_count; i++)
		answer(i, GRPC_OK);
	wait_for(loop, &ended_count, before + 20);
	assert_int_equal(sent_count, before + 5);
	assert_int_equal(account_metrics.unpaid_debts.value, 20 - 5);
}

static void
calls_are_counted_by_how_they_ended(void **state)
{
	(void) state;
	config.retries_max = 1;
	calls(1, GRPC_OK);
	calls(1, GRPC_INTERNAL);
	reserve(false);
	answer(2, GRPC_UNAVAILABLE);
	wait_for(loop, &sent_count, 4);
	answer(3, GRPC_UNAVAILABLE);
	assert_int_equal(account_metrics.retry_calls[false][ACCOUNT_END_VALUE].value, 1);
	assert_int_equal(account_metrics.retry_calls[false][ACCOUNT_END_NOT_RETRYABLE].value, 1);
	assert_int_equal(account_metrics.retry_calls[true][ACCOUNT_END_RETRIES_MAX].value, 1);
	assert_int_equal(account_metrics.retry_retries.value, 1);
	assert_int_equal(account_metrics.invocations[true].value, 1);
	assert_int_equal(account_metrics.invocations[false].value, 2);
	assert_int_equal(account_metrics.bulkhead_calls[true].value, 4);
	assert_int_equal(account_metrics.timeout_calls[false].value, 4);
	assert_int_equal(account_metrics.timeout_seconds.count, 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(failures_open_the_breaker_and_orders_are_refused_without_a_call),
		TEST(a_status_is_a_failure_of_the_service_or_its_answer),
		TEST(a_reply_of_internal_error_is_a_failure_and_a_refusal_is_none),
		TEST(after_its_rest_one_order_tries_and_all_others_are_refused),
		TEST(a_reset_closes_it_at_once),
		TEST(an_attempt_that_is_repeated_for_free_tells_the_breaker_nothing),
		TEST(a_lost_connection_tells_nothing_while_another_endpoint_takes_the_call),
		TEST(a_refusal_of_our_own_channel_tells_the_breaker_nothing),
		TEST(so_many_are_under_way_others_wait_in_line_and_more_are_refused),
		TEST(a_place_that_does_not_come_in_time_is_a_refusal_and_no_failure),
		TEST(a_place_that_comes_when_the_time_is_over_is_not_taken),
		TEST(those_that_wait_are_refused_when_the_breaker_opens),
		TEST(a_retry_behind_an_open_breaker_is_not_made_and_the_doubt_stays),
		TEST(a_debt_is_never_retried),
		TEST(debts_are_paid_freely_in_calm_and_from_the_budget_in_trouble),
		TEST(calls_are_counted_by_how_they_ended),
	};

	return cmocka_run_group_tests_name("account guard", tests, NULL, NULL);
}
