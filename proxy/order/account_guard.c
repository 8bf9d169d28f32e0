/*
 * account_guard.c
 *		What stands before every attempt at the Account service.
 *
 * DESIGN	From the outside to the inside: the breaker, then the bulkhead. An attempt that finds no
 *			place gives its pass back: our own crowd says nothing about Account.
 *
 *			A debt is a call that has been made before, so paying it is a retry in disguise. While
 *			Account is in trouble it makes more debts than ever, and all of them together must not
 *			be what keeps it there; so they share the budget, behind the orders that run. Trouble is
 *			what orders meet: one debt that always fails must not hold up all others.
 */
#include "order/account_guard.h"

#include <assert.h>

#include "base/bounds.h"
#include "base/clock.h"
#include "base/log.h"
#include "order/account_metrics.h"

/* The settings may have changed since. */
static void
configure(AccountGuard *guard)
{
	const Config *config = guard->config;

	breaker_configure(&guard->breaker, config->breaker_window, config->breaker_failures_percent,
					  config->breaker_open_us);
	guard->bulkhead.places = config->account_calls_max;
	guard->budget.percent = config->retry_budget_percent;
}

/* The state up to now is known; tells of another one. */
static void
look_at_state(AccountGuard *guard, int64_t now_us)
{
	BreakerState state = breaker_state(&guard->breaker, now_us);
	double seconds = (double) (now_us - guard->state_now_us) / CLOCK_SECOND;

	account_metrics.state_seconds[guard->state].value += seconds;
	guard->state_now_us = now_us;
	if (state == guard->state)
		return;
	if (state == BREAKER_OPEN && guard->state == BREAKER_CLOSED)
		metrics_count(&account_metrics.opened);
	log_event(state == BREAKER_CLOSED ? LOG_INFO : LOG_WARNING, "circuit breaker of account",
			  LOG_TEXT("from", breaker_state_name(guard->state)),
			  LOG_TEXT("to", breaker_state_name(state)));
	guard->state = state;
}

void
account_guard_init(AccountGuard *guard, const Config *config, int64_t now_us)
{
	*guard = (AccountGuard){.config = config,
							.state = BREAKER_CLOSED,
							.state_now_us = now_us,
							.failed_us = now_us - ACCOUNT_TROUBLE_MS * CLOCK_MS};
	breaker_init(&guard->breaker, config->breaker_window, config->breaker_failures_percent,
				 config->breaker_open_us);
	budget_init(&guard->budget, config->retry_budget_percent);
	configure(guard);
}

AccountAdmission
account_guard_look(AccountGuard *guard, int64_t now_us)
{
	configure(guard);
	if (!breaker_is_passable(&guard->breaker, now_us))
		return ACCOUNT_SHUT;
	return bulkhead_has_place(&guard->bulkhead) ? ACCOUNT_ADMITTED : ACCOUNT_FULL;
}

bool
account_guard_is_calm(AccountGuard *guard, int64_t now_us)
{
	return account_guard_look(guard, now_us) == ACCOUNT_ADMITTED &&
		   breaker_state(&guard->breaker, now_us) == BREAKER_CLOSED;
}

AccountAdmission
account_guard_enter(AccountGuard *guard, int64_t now_us, BreakerPass *pass)
{
	bool is_passed;

	configure(guard);
	look_at_state(guard, now_us);
	is_passed = breaker_enter(&guard->breaker, now_us, pass);
	if (!is_passed)
	{
		metrics_count(&account_metrics.passages[ACCOUNT_PASSAGE_OPEN]);
		return ACCOUNT_SHUT;
	}
	if (!bulkhead_enter(&guard->bulkhead))
	{
		breaker_withdraw(&guard->breaker, *pass);
		return ACCOUNT_FULL;
	}
	metrics_count(&account_metrics.bulkhead_calls[true]);
	return ACCOUNT_ADMITTED;
}

void
account_guard_leave(AccountGuard *guard, BreakerPass pass, AccountSign sign, bool is_debt,
					int64_t now_us)
{
	bool is_good = sign == ACCOUNT_SIGN_GOOD;

	bulkhead_leave(&guard->bulkhead);
	look_at_state(guard, now_us);
	if (sign == ACCOUNT_SIGN_NONE)
		breaker_withdraw(&guard->breaker, pass);
	else
	{
		metrics_count(
			&account_metrics.passages[is_good ? ACCOUNT_PASSAGE_SUCCESS : ACCOUNT_PASSAGE_FAILURE]);
		breaker_record(&guard->breaker, pass, is_good, now_us);
		if (!is_good && !is_debt)
			guard->failed_us = now_us;
	}
	look_at_state(guard, now_us);
}

void
account_guard_earn(AccountGuard *guard, int64_t now_us)
{
	budget_earn(&guard->budget, now_us);
}

bool
account_guard_pay(AccountGuard *guard, int64_t now_us)
{
	configure(guard);
	return budget_spend(&guard->budget, now_us);
}

bool
account_guard_pay_debt(AccountGuard *guard, int64_t now_us)
{
	configure(guard);
	if (now_us - guard->failed_us >= ACCOUNT_TROUBLE_MS * CLOCK_MS)
		return true;
	return budget_spend_spare(&guard->budget, now_us);
}

void
account_guard_reset(AccountGuard *guard, int64_t now_us)
{
	look_at_state(guard, now_us);
	log_event(LOG_INFO, "circuit breaker of account is reset by hand",
			  LOG_TEXT("was", breaker_state_name(guard->state)));
	breaker_reset(&guard->breaker);
	look_at_state(guard, now_us);
}

void
account_guard_measure(AccountGuard *guard, int64_t now_us)
{
	configure(guard);
	look_at_state(guard, now_us);
	account_metrics.breaker_state.value = guard->state;
	for (int i = 0; i < BREAKER_STATE_COUNT; i++)
		account_metrics.state_current[i].value = (BreakerState) i == guard->state;
	account_metrics.budget_left.value = (double) budget_left(&guard->budget, now_us);
	account_metrics.running.value = guard->bulkhead.taken;
}
