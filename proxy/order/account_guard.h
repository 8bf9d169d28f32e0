/*
 * account_guard.h
 *		What stands before every attempt at the Account service: the circuit breaker, the bulkhead,
 *		and the budget that pays for what is more than one attempt per order.
 *
 * Time is passed in, in microseconds of the monotonic clock. Settings count from the next attempt
 * on.
 */
#ifndef ACCOUNT_GUARD_H
#define ACCOUNT_GUARD_H

#include "base/config.h"
#include "resilience/breaker.h"
#include "resilience/budget.h"
#include "resilience/bulkhead.h"

typedef struct AccountGuard
{
	const Config *config;
	Breaker breaker;
	Bulkhead bulkhead;
	Budget budget;
	int64_t failed_us;    /* of the last attempt for an order that failed */
	BreakerState state;   /* as it was last looked at ... */
	int64_t state_now_us; /* ... and when */
} AccountGuard;

typedef enum AccountAdmission
{
	ACCOUNT_ADMITTED,
	ACCOUNT_SHUT, /* by the circuit breaker */
	ACCOUNT_FULL, /* all places of the bulkhead are taken */
} AccountAdmission;

/* What an attempt says about the service. */
typedef enum AccountSign
{
	ACCOUNT_SIGN_GOOD,
	ACCOUNT_SIGN_BAD,
	ACCOUNT_SIGN_NONE, /* it was not made, or is made again at once: the next one counts */
} AccountSign;

/* Closed and empty. |config| outlives it. */
extern void account_guard_init(AccountGuard *guard, const Config *config, int64_t now_us);

/* What an attempt would meet now. Takes nothing. */
extern AccountAdmission account_guard_look(AccountGuard *guard, int64_t now_us);

/* Whether there is room for more than is needed: the breaker is closed and a place is free. */
extern bool account_guard_is_calm(AccountGuard *guard, int64_t now_us);

/* Begins an attempt, if it is admitted. Give it back with account_guard_leave(). */
extern AccountAdmission account_guard_enter(AccountGuard *guard, int64_t now_us, BreakerPass *pass);

/* The attempt has ended; |is_debt|: it was a resolver's. */
extern void account_guard_leave(AccountGuard *guard, BreakerPass pass, AccountSign sign,
								bool is_debt, int64_t now_us);

/* A call for an order makes its first attempt. */
extern void account_guard_earn(AccountGuard *guard, int64_t now_us);

/* Pays for one more attempt of a call; false when there is nothing left. */
extern bool account_guard_pay(AccountGuard *guard, int64_t now_us);

/*
 * Pays for a call that a resolver wants to make. That costs nothing unless an order's attempt has
 * failed within the last ACCOUNT_TROUBLE_MS; then it takes what the budget has to spare.
 */
extern bool account_guard_pay_debt(AccountGuard *guard, int64_t now_us);

/* Closes the breaker by hand. */
extern void account_guard_reset(AccountGuard *guard, int64_t now_us);

/* Brings the gauges up to date. */
extern void account_guard_measure(AccountGuard *guard, int64_t now_us);

#endif /* ACCOUNT_GUARD_H */
