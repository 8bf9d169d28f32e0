/*
 * resolver_test.c
 *		Debts to Account: what is called for each kind, and what is recorded whatever Account says.
 *
 * Store and Account are replaced and answer from a script.
 */
#include "order/resolver.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bounds.h"
#include "base/clock.h"
#include "base/metrics.h"

static const Config config = {.resolver_lease_us = 7 * CLOCK_SECOND,
							  .second_release_us = 90 * CLOCK_SECOND};
static Loop *loop;
static Resolver *resolver;
static StoreClaim claim;
static AccountResult reserve_result;
static AccountResult release_result;
static int reserve_count;
static int release_count;
static int recorded_hold;
static int recorded_retry_ms;
static bool is_ready;
static StoreItem *held_item;
static LoopTask later;
static AccountCallback account_callback;
static void *account_context;
static const AccountResult *account_result;
static LoopTask account_later;

static void
answer_store(void *context)
{
	StoreItem *item = held_item;

	(void) context;
	held_item = NULL;
	if (item->kind == STORE_CLAIM)
	{
		assert_int_equal(item->limit, RESOLVER_DEBTS_MAX);
		assert_int_equal(item->lease_ms, 7000);
		item->callback(item->context,
					   &(StoreResult){.code = CODE_OK, .claims = &claim, .claim_count = 1});
		return;
	}
	assert_int_equal(item->kind, STORE_RECORD_HOLD);
	assert_int_equal(item->order_id, claim.order_id);
	recorded_hold = item->hold;
	recorded_retry_ms = item->retry_after_ms;
	item->callback(item->context, &(StoreResult){.code = CODE_OK, .order_id = item->order_id});
	loop_stop(loop);
}

void
store_submit(Store *store, StoreItem *item)
{
	(void) store;
	assert_null(held_item);
	held_item = item;
	loop_defer(&later);
}

bool
store_is_ready(const Store *store)
{
	(void) store;
	return is_ready;
}

static void
answer_account(void *context)
{
	(void) context;
	account_callback(account_context, account_result);
}

static void
ask_account(const AccountReservation *reservation, const AccountResult *result,
			AccountCallback callback, void *context)
{
	assert_string_equal(reservation->reserve_id, claim.reserve_id);
	assert_int_equal(reservation->account_id, claim.account_id);
	assert_int_equal(reservation->is_cash, claim.side == 1);
	assert_int_equal(reservation->amount, claim.reserve_amount);
	account_callback = callback;
	account_context = context;
	account_result = result;
	loop_defer(&account_later);
}

void
account_reserve(Account *account, const AccountReservation *reservation, AccountCallback callback,
				void *context)
{
	(void) account;
	reserve_count++;
	ask_account(reservation, &reserve_result, callback, context);
}

void
account_release(Account *account, const AccountReservation *reservation, AccountCallback callback,
				void *context)
{
	(void) account;
	release_count++;
	ask_account(reservation, &release_result, callback, context);
}

static void
run(int hold, int attempts)
{
	loop = loop_new();
	resolver = resolver_new(loop, NULL, NULL, &config);
	loop_task_init(&later, loop, answer_store, NULL);
	loop_task_init(&account_later, loop, answer_account, NULL);
	claim = (StoreClaim){.order_id = 18,
						 .account_id = 7,
						 .side = 1,
						 .symbol = "ACME",
						 .hold = hold,
						 .reserve_id = "r-18",
						 .currency = "USD",
						 .reserve_amount = 1000,
						 .attempts = attempts};
	is_ready = true;
	reserve_count = release_count = 0;
	recorded_hold = -1;
	loop_run(loop);
	resolver_stop(resolver);
	assert_int_equal(resolver_pending_count(resolver), 0);
	metrics_reset();
	resolver_free(resolver);
	loop_free(loop);
}

static void
expect(int reserves, int releases, int hold, int retry_ms)
{
	assert_int_equal(reserve_count, reserves);
	assert_int_equal(release_count, releases);
	assert_int_equal(recorded_hold, hold);
	assert_int_equal(recorded_retry_ms, retry_ms);
}

static void
what_is_due_for_release_is_released_and_paid(void **state)
{
	(void) state;
	release_result = (AccountResult){REASON_NONE, HOLD_NONE};
	run(HOLD_RELEASE_DUE, 1);
	expect(0, 1, HOLD_NONE, 0);
}

static void
a_doubtful_hold_is_reserved_released_and_released_again_later(void **state)
{
	static const AccountResult answers[] = {{REASON_NONE, HOLD_HELD},
											{REASON_INSUFFICIENT_FUNDS, HOLD_NONE},
											{REASON_ACCOUNT_REFUSED, HOLD_NONE}};

	(void) state;
	release_result = (AccountResult){REASON_NONE, HOLD_NONE};
	for (int i = 0; i < 3; i++)
	{
		reserve_result = answers[i];
		run(HOLD_UNKNOWN, 1);
		expect(1, 1, HOLD_RELEASE_DUE, 90000);
	}
}

static void
a_doubtful_hold_stays_doubtful_until_account_answers(void **state)
{
	static const AccountResult answers[] = {{REASON_ACCOUNT_OUTCOME_UNKNOWN, HOLD_UNKNOWN},
											{REASON_ACCOUNT_UNAVAILABLE, HOLD_NONE},
											{REASON_INSUFFICIENT_FUNDS, HOLD_UNKNOWN}};

	(void) state;
	for (int i = 0; i < 3; i++)
	{
		reserve_result = answers[i];
		run(HOLD_UNKNOWN, i);
		expect(1, 0, HOLD_UNKNOWN, RESOLVER_INTERVAL_MS << i);
	}
}

static void
a_release_that_fails_keeps_the_debt_with_a_pause_that_grows_to_a_bound(void **state)
{
	(void) state;
	reserve_result = (AccountResult){REASON_NONE, HOLD_HELD};
	release_result = (AccountResult){REASON_ACCOUNT_OUTCOME_UNKNOWN, HOLD_UNKNOWN};
	run(HOLD_UNKNOWN, 0);
	expect(1, 1, HOLD_UNKNOWN, RESOLVER_INTERVAL_MS);
	run(HOLD_RELEASE_DUE, 3);
	expect(0, 1, HOLD_RELEASE_DUE, RESOLVER_INTERVAL_MS << 3);
	run(HOLD_RELEASE_DUE, 1000);
	expect(0, 1, HOLD_RELEASE_DUE, RESOLVER_INTERVAL_MS << 6);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_due_for_release_is_released_and_paid),
		cmocka_unit_test(a_doubtful_hold_is_reserved_released_and_released_again_later),
		cmocka_unit_test(a_doubtful_hold_stays_doubtful_until_account_answers),
		cmocka_unit_test(a_release_that_fails_keeps_the_debt_with_a_pause_that_grows_to_a_bound),
	};

	return cmocka_run_group_tests_name("resolver", tests, NULL, NULL);
}
