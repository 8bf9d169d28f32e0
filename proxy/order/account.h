/*
 * account.h
 *		Reserving balance at the Account service: one call with its attempts, and what its end
 *		means for the order.
 */
#ifndef ACCOUNT_H
#define ACCOUNT_H

#include "base/config.h"
#include "net/channel.h"
#include "net/loop.h"
#include "order/account_message.h"
#include "reason.h"

typedef struct Account Account;

/*
 * How a call ended: what to settle the order with. For a reservation
 *	REASON_NONE, hold HELD				it holds
 *	a refusal, hold NONE				Account said no
 *	a refusal, hold UNKNOWN				Account said no to a repetition; the first may still come
 *	ACCOUNT_UNAVAILABLE, NONE			certainly never processed, also refused by us
 *	ACCOUNT_OUTCOME_UNKNOWN, UNKNOWN	it may hold: a debt
 * For a release REASON_NONE, hold NONE: nothing is held any more; with every other reason it may
 * be.
 */
typedef struct AccountResult
{
	Reason reason;
	int hold; /* HOLD_* */
} AccountResult;

/* What Account holds for an order, as settle_orders() takes it (orders.hold). */
#define HOLD_NONE 0
#define HOLD_HELD 1
#define HOLD_UNKNOWN 2
#define HOLD_RELEASE_DUE 3

typedef void (*AccountCallback)(void *context, const AccountResult *result);

/* Takes from |config| what is under [account]; it and the channel must outlive this. */
extern Account *account_new(Loop *loop, Channel *channel, const Config *config);

/* No call may be under way. */
extern void account_free(Account *account);

/*
 * Reserves. The callback comes exactly once, later, within the overall limit (and a turn of the
 * loop).
 */
extern void account_reserve(Account *account, const AccountReservation *reservation,
							AccountCallback callback, void *context);

/* Releases what was reserved under the reserve_id; likewise. */
extern void account_release(Account *account, const AccountReservation *reservation,
							AccountCallback callback, void *context);

/*
 * Whether a new order should be taken: REASON_NONE, or why it would be refused in vain (503):
 * ACCOUNT_RESTING behind an open breaker, ACCOUNT_BUSY where all places are taken and as many wait
 * as may. Promises nothing, but counts a refusal: whoever hears one, tells its client.
 */
extern Reason account_look(Account *account);

/* Closes the circuit breaker by hand. */
extern void account_reset_breaker(Account *account);

/* For people. */
typedef struct AccountState
{
	const char *breaker;     /* "closed", "open", "half-open" */
	int breaker_results;     /* in its window ... */
	int breaker_failures;    /* ... and those of them that are failures */
	uint64_t breaker_opened; /* times it opened */
	int64_t retry_budget;    /* attempts that could be paid for */
	int running;             /* attempts under way ... */
	int waiting;             /* ... and waiting for a place */
	int64_t hedge_delay_us;  /* after which a hedge is made now; -1: none is */
	uint64_t hedges;
} AccountState;

/* How it is now; brings the metrics up to date that are not counted as things happen. */
extern AccountState account_measure(Account *account);

/* Calls under way. */
extern int account_pending_count(const Account *account);

#endif /* ACCOUNT_H */
