/*
 * account.h
 *		Reserving balance at the Account service: one call with its attempts, and what its end
 *		means for the order.
 */
#ifndef ACCOUNT_H
#define ACCOUNT_H

#include "base/config.h"
#include "net/channel.h"
#include "reason.h"

typedef struct Account Account;

/* What to reserve or release. Texts are copied. */
typedef struct AccountReservation
{
	int64_t account_id;
	int64_t order_id;
	uint64_t correlation_id;
	const char *reserve_id;
	bool is_cash;         /* a BUY reserves cash, a SELL a position */
	const char *currency; /* cash */
	const char *symbol;   /* position */
	int64_t amount;       /* micro-units of cash, or units of a position */
} AccountReservation;

/*
 * How a call ended: what to settle the order with. For a reservation
 *	REASON_NONE, hold HELD				it holds
 *	a refusal, hold NONE				Account said no
 *	a refusal, hold UNKNOWN				Account said no to a repetition; the first may still come
 *	ACCOUNT_UNAVAILABLE, NONE			certainly never processed
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

/* Calls under way. */
extern int account_pending_count(const Account *account);

#endif /* ACCOUNT_H */
