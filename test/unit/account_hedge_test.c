/*
 * account_hedge_test.c
 *		Calls of Account with a second attempt beside a slow first one: when it is made, what ends
 *		the call, and what is held then.
 *
 * The channel is replaced: it has two endpoints, and a test answers each attempt when it likes.
 */
#include "order/account.h" /* first: it must need nothing that is included below */

#include "base/bounds.h"
#include "base/clock.h"
#include "base/setting.h"
#include "channel_fake.h"
#include "order/account_metrics.h"

#define DELAY_US (1 * CLOCK_MS)
/* As long as a hedge would need to be seen, where none must come. */
#define PATIENCE_US (10 * CLOCK_MS)

/* How an attempt ends; |code| >= 0 is a reply. */
typedef struct End
{
	GrpcStatus status;
	bool is_unprocessed;
	uint8_t code;
} End;

static const End success = {GRPC_OK, false, 0};
static const End refusal = {GRPC_OK, false, 1}; /* INSUFFICIENT_FUNDS */
static const End doubt = {GRPC_DEADLINE_EXCEEDED, false, 0};
static const End failure = {GRPC_INTERNAL, false, 0};
static const End unprocessed = {GRPC_UNAVAILABLE, true, 0};

static Loop *loop;
static Config config;
static Account *account;

static AccountResult heard;
static int heard_count;

static void
hear(void *context, const AccountResult *result)
{
	(void) context;
	heard = *result;
	heard_count++;
}

static void
reserve(bool is_debt)
{
	account_reserve(account,
					&(AccountReservation){.account_id = 7,
										  .reserve_id = "r",
										  .is_cash = true,
										  .is_debt = is_debt,
										  .currency = "USD",
										  .amount = 1},
					hear, NULL);
}

static void
end(int number, const End *how)
{
	uint8_t reply[] = {0x08, how->code};

	end_attempt(number, (ChannelResult){.status = how->status,
										.reply = reply,
										.reply_size = how->code > 0 ? 2 : 0,
										.is_unprocessed = how->is_unprocessed,
										.endpoint = number % 2});
	loop_turn(loop);
}

/* No further attempt is made, as far as waiting shows. */
static void
expect_no_more(int count)
{
	int64_t end_us = clock_now_us() + PATIENCE_US;

	while (clock_now_us() < end_us)
		loop_turn(loop);
	assert_int_equal(sent_count, count);
}

static void
expect_end(Reason reason, int hold)
{
	assert_int_equal(heard_count, 1);
	assert_int_equal(heard.reason, reason);
	assert_int_equal(heard.hold, hold);
}

/* A call with both attempts under way. */
static void
begin(void)
{
	sent_count = 0;
	heard_count = 0;
	reserve(false);
	wait_for(loop, &sent_count, 2);
}

static int
set_up(void **state)
{
	(void) state;
	config = (Config){.attempt_timeout_us = 50 * CLOCK_SECOND,
					  .overall_timeout_us = 90 * CLOCK_SECOND,
					  .retry_delay_us = 1 * CLOCK_MS,
					  .retries_max = 1,
					  .retry_budget_percent = 100,
					  .breaker_window = 50,
					  .breaker_failures_percent = 20,
					  .breaker_open_us = 30 * CLOCK_SECOND,
					  .account_calls_max = SENT_MAX,
					  .account_waiting_max = 0,
					  .hedge_us = DELAY_US};
	loop = loop_new();
	account = account_new(loop, NULL, &config);
	channel_fake_reset();
	has_other = true;
	heard_count = 0;
	return 0;
}

static int
tear_down(void **state)
{
	(void) state;
	assert_int_equal(account_pending_count(account), 0);
	assert_int_equal(account_measure(account).running, 0);
	metrics_reset();
	account_free(account);
	loop_free(loop);
	return 0;
}

static void
a_slow_call_is_made_elsewhere_too_with_the_same_message(void **state)
{
	(void) state;
	begin();
	assert_int_equal(sent[0].avoid, -1);
	assert_int_equal(sent[1].avoid, 0);
	assert_memory_equal(sent[0].message, sent[1].message, sizeof(sent[0].message));
	assert_int_equal(account_measure(account).running, 2);
	end(0, &success);
	expect_end(REASON_NONE, HOLD_HELD);
}

static void
the_first_success_wins_and_the_other_is_broken_off_and_tells_nothing(void **state)
{
	(void) state;
	for (int winner = 0; winner < 2; winner++)
	{
		account_reset_breaker(account);
		begin();
		end(winner, &success);
		expect_end(REASON_NONE, HOLD_HELD);
		assert_true(sent[1 - winner].is_cancelled);
		assert_int_equal(account_measure(account).running, 0);
		assert_int_equal(account_measure(account).breaker_results, 1);
		assert_int_equal(account_measure(account).breaker_failures, 0);
	}
	assert_int_equal(account_metrics.hedges.value, 2);
	assert_int_equal(account_metrics.hedges_won.value, 1);
}

static void
anything_but_a_success_waits_for_the_other_attempt(void **state)
{
	static const struct
	{
		const End *one;
		const End *other;
		Reason reason;
		int hold;
	} rows[] = {
		{&refusal, &success, REASON_NONE, HOLD_HELD},
		{&refusal, &refusal, REASON_INSUFFICIENT_FUNDS, HOLD_NONE},
		{&refusal, &doubt, REASON_INSUFFICIENT_FUNDS, HOLD_UNKNOWN},
		{&refusal, &failure, REASON_INSUFFICIENT_FUNDS, HOLD_UNKNOWN},
		{&doubt, &success, REASON_NONE, HOLD_HELD},
		{&doubt, &refusal, REASON_INSUFFICIENT_FUNDS, HOLD_UNKNOWN},
		{&doubt, &doubt, REASON_ACCOUNT_OUTCOME_UNKNOWN, HOLD_UNKNOWN},
		{&failure, &doubt, REASON_ACCOUNT_OUTCOME_UNKNOWN, HOLD_UNKNOWN},
		{&unprocessed, &success, REASON_NONE, HOLD_HELD},
		{&unprocessed, &refusal, REASON_INSUFFICIENT_FUNDS, HOLD_NONE},
		{&unprocessed, &doubt, REASON_ACCOUNT_OUTCOME_UNKNOWN, HOLD_UNKNOWN},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
	{
		for (int first = 0; first < 2; first++)
		{
			account_reset_breaker(account);
			begin();
			end(first, rows[i].one);
			assert_int_equal(heard_count, 0);
			assert_false(sent[1 - first].is_cancelled);
			end(1 - first, rows[i].other);
			expect_end(rows[i].reason, rows[i].hold);
			assert_int_equal(sent_count, 2);
		}
	}
}

static void
an_attempt_that_nobody_processed_is_repeated_for_free_when_it_is_the_last(void **state)
{
	(void) state;
	begin();
	end(0, &unprocessed);
	end(1, &unprocessed);
	wait_for(loop, &sent_count, 3);
	assert_int_equal(account_measure(account).breaker_results, 0);
	end(2, &unprocessed);
	expect_end(REASON_ACCOUNT_UNAVAILABLE, HOLD_NONE);
	expect_no_more(3);
	assert_int_equal(account_measure(account).breaker_failures, 1);

	begin();
	end(0, &refusal);
	end(1, &unprocessed);
	wait_for(loop, &sent_count, 3);
	end(2, &unprocessed);
	expect_end(REASON_INSUFFICIENT_FUNDS, HOLD_NONE);
}

static void
a_call_is_retried_or_hedged_and_never_both(void **state)
{
	(void) state;
	/* Failed before the delay: a retry, and beside it nothing. */
	config.hedge_us = 5 * CLOCK_SECOND;
	reserve(false);
	end(0, &doubt);
	config.hedge_us = DELAY_US;
	wait_for(loop, &sent_count, 2);
	expect_no_more(2);
	end(1, &doubt);
	expect_end(REASON_ACCOUNT_OUTCOME_UNKNOWN, HOLD_UNKNOWN);
	assert_int_equal(account_metrics.hedges.value, 0);

	/* Hedged: no retry. */
	begin();
	end(0, &doubt);
	end(1, &doubt);
	expect_end(REASON_ACCOUNT_OUTCOME_UNKNOWN, HOLD_UNKNOWN);
	expect_no_more(2);
}

/* No hedge comes, and the call goes its way. */
static void
expect_no_hedge(bool is_debt)
{
	sent_count = 0;
	heard_count = 0;
	reserve(is_debt);
	assert_int_equal(sent_count, 1);
	expect_no_more(1);
	end(0, &success);
	expect_end(REASON_NONE, HOLD_HELD);
	assert_int_equal(account_metrics.hedges.value, 0);
}

static void
it_is_made_only_where_there_is_another_endpoint(void **state)
{
	(void) state;
	has_other = false;
	expect_no_hedge(false);
	has_other = true;
	is_waiting = true;
	expect_no_hedge(false);
}

static void
it_is_not_made_for_debts_nor_when_it_is_off(void **state)
{
	(void) state;
	expect_no_hedge(true);
	config.hedge_us = SETTING_OFF;
	expect_no_hedge(false);
	assert_int_equal(account_measure(account).hedge_delay_us, -1);
}

static void
it_is_not_made_without_a_free_place(void **state)
{
	(void) state;
	config.account_calls_max = 1;
	expect_no_hedge(false);
}

static void
it_is_not_made_when_the_time_of_the_call_is_over_already(void **state)
{
	(void) state;
	config.attempt_timeout_us = 4 * CLOCK_MS;
	config.overall_timeout_us = 4 * CLOCK_MS;
	reserve(false);
	hold_up(5 * CLOCK_MS);
	expect_no_more(1);
	end(0, &success);
	expect_end(REASON_NONE, HOLD_HELD);
}

static void
it_is_not_made_by_the_probe_of_the_breaker(void **state)
{
	(void) state;
	config.breaker_window = 1;
	config.breaker_failures_percent = 100;
	config.breaker_open_us = 1;
	config.hedge_us = SETTING_OFF;
	reserve(false);
	end(0, &failure);
	config.hedge_us = DELAY_US;
	assert_string_equal(account_measure(account).breaker, "half-open");
	expect_no_hedge(false);
}

static void
it_is_off_while_the_budget_is_spent_and_the_call_ends_all_the_same(void **state)
{
	(void) state;
	config.retry_budget_percent = 0;
	expect_no_hedge(false);
	assert_int_equal(account_metrics.unpaid_hedges.value, 1);
	sent_count = 0;
	heard_count = 0;
	reserve(false);
	expect_no_more(1);
	end(0, &doubt);
	expect_end(REASON_ACCOUNT_OUTCOME_UNKNOWN, HOLD_UNKNOWN);
}

static void
hedges_and_retries_share_one_budget(void **state)
{
	(void) state;
	/* Three calls earn nothing; the floor is three attempts. */
	config.retry_budget_percent = 1;
	begin();
	end(1, &success);
	begin();
	end(1, &success);
	assert_int_equal(account_measure(account).retry_budget, BUDGET_FLOOR - 2);
	config.hedge_us = SETTING_OFF;
	sent_count = 0;
	reserve(false);
	end(0, &doubt);
	wait_for(loop, &sent_count, 2);
	end(1, &success);
	config.hedge_us = DELAY_US;
	sent_count = 0;
	heard_count = 0;
	reserve(false);
	expect_no_more(1);
	end(0, &success);
	expect_end(REASON_NONE, HOLD_HELD);
}

static void
by_itself_it_waits_for_as_long_as_most_calls_take(void **state)
{
	(void) state;
	config.hedge_us = SETTING_AUTO;
	for (int i = 0; i < QUANTILE_SAMPLES_MIN; i++)
	{
		assert_int_equal(account_measure(account).hedge_delay_us, -1);
		sent_count = 0;
		reserve(false);
		end(0, &success);
	}
	/* They took next to no time, but a timer is not that exact. */
	assert_true(account_measure(account).hedge_delay_us >= HEDGE_MS_MIN * CLOCK_MS);
	begin();
	end(1, &success);
	expect_end(REASON_NONE, HOLD_HELD);
	config.attempt_timeout_us = 2 * CLOCK_MS;
	assert_int_equal(account_measure(account).hedge_delay_us, CLOCK_MS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_slow_call_is_made_elsewhere_too_with_the_same_message),
		TEST(the_first_success_wins_and_the_other_is_broken_off_and_tells_nothing),
		TEST(anything_but_a_success_waits_for_the_other_attempt),
		TEST(an_attempt_that_nobody_processed_is_repeated_for_free_when_it_is_the_last),
		TEST(a_call_is_retried_or_hedged_and_never_both),
		TEST(it_is_made_only_where_there_is_another_endpoint),
		TEST(it_is_not_made_for_debts_nor_when_it_is_off),
		TEST(it_is_not_made_without_a_free_place),
		TEST(it_is_not_made_when_the_time_of_the_call_is_over_already),
		TEST(it_is_not_made_by_the_probe_of_the_breaker),
		TEST(it_is_off_while_the_budget_is_spent_and_the_call_ends_all_the_same),
		TEST(hedges_and_retries_share_one_budget),
		TEST(by_itself_it_waits_for_as_long_as_most_calls_take),
	};

	return cmocka_run_group_tests_name("account hedge", tests, NULL, NULL);
}
