/*
 * ledger.h
 *		Accounts with their cash and positions, and the reservations that hold parts of them: a
 *		database of SQLite, in a file or in memory.
 *
 * Money is in micro-units (1,000,000 = 1.0), positions are in units, both int64. A balance is what
 * is available and what reservations hold; together they never exceed INT64_MAX, so moving amounts
 * between the two cannot overflow.
 *
 * All changes happen between ledger_begin() and ledger_commit(): many calls share one transaction.
 */
#ifndef LEDGER_H
#define LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "account.pb-c.h"

/* How a call ended: the ResultCode of the contract. */
typedef enum LedgerResult
{
	LEDGER_SUCCESS = ACCOUNT__ORDER__V1__RESULT_CODE__SUCCESS,
	LEDGER_INSUFFICIENT_FUNDS = ACCOUNT__ORDER__V1__RESULT_CODE__INSUFFICIENT_FUNDS,
	LEDGER_ACCOUNT_NOT_FOUND = ACCOUNT__ORDER__V1__RESULT_CODE__ACCOUNT_NOT_FOUND,
	LEDGER_INTERNAL_ERROR = ACCOUNT__ORDER__V1__RESULT_CODE__INTERNAL_ERROR,
	LEDGER_INVALID_REQUEST = ACCOUNT__ORDER__V1__RESULT_CODE__INVALID_REQUEST,
	LEDGER_ACCOUNT_SUSPENDED = ACCOUNT__ORDER__V1__RESULT_CODE__ACCOUNT_SUSPENDED,
	LEDGER_DUPLICATE_REQUEST = ACCOUNT__ORDER__V1__RESULT_CODE__DUPLICATE_REQUEST,
	LEDGER_INVALID_AMOUNT = ACCOUNT__ORDER__V1__RESULT_CODE__INVALID_AMOUNT,
	LEDGER_INSUFFICIENT_POSITION = ACCOUNT__ORDER__V1__RESULT_CODE__INSUFFICIENT_POSITION,
	LEDGER_POSITION_NOT_FOUND = ACCOUNT__ORDER__V1__RESULT_CODE__POSITION_NOT_FOUND,
	LEDGER_NOT_IMPLEMENTED = ACCOUNT__ORDER__V1__RESULT_CODE__NOT_IMPLEMENTED,
} LedgerResult;

#define LEDGER_RESULT_COUNT (LEDGER_NOT_IMPLEMENTED + 1)

/* What an item is: a currency or a symbol. The numbers are in the database. */
typedef enum LedgerKind
{
	LEDGER_CASH = 0,
	LEDGER_POSITION = 1,
} LedgerKind;

/* The numbers are in the database. */
typedef enum LedgerStatus
{
	LEDGER_ACTIVE = 0,
	LEDGER_SUSPENDED = 1,
} LedgerStatus;

typedef struct Ledger Ledger;

typedef struct LedgerOptions
{
	const char *path;           /* ":memory:" for one that ends with the process */
	bool is_durable;            /* a commit survives the machine, not only the process */
	bool is_duplicate_reported; /* DUPLICATE_REQUEST for a known reservation, else SUCCESS */
	int64_t database_bytes_max;
} LedgerOptions;

/* What a reservation is made of. A release needs the kind, the account and the id only. */
typedef struct LedgerReservation
{
	const char *reserve_id;
	int64_t account_id;
	LedgerKind kind;
	const char *item; /* currency or symbol */
	int64_t amount;
	const char *order_id;
} LedgerReservation;

typedef struct LedgerBalance
{
	LedgerKind kind;
	const char *item;
	int64_t available;
	int64_t reserved;
} LedgerBalance;

typedef struct LedgerCounts
{
	int64_t accounts;
	int64_t held;     /* reservations that hold something */
	int64_t released; /* tombstones */
} LedgerCounts;

/* Opens or creates the database; NULL, and a line in the log, when it cannot. Texts are copied. */
extern Ledger *ledger_open(const LedgerOptions *options);

/* No transaction is open. */
extern void ledger_close(Ledger *ledger);

/* Begins a transaction. None is open. */
extern void ledger_begin(Ledger *ledger);

/*
 * Ends the transaction. False when the database failed, now or earlier in the transaction: then
 * nothing of it holds, whatever single calls have answered.
 */
extern bool ledger_commit(Ledger *ledger);

/* Gives the transaction up. */
extern void ledger_rollback(Ledger *ledger);

/*
 * Moves an amount from available to reserved. A reservation is known by its id alone.
 *	id new							SUCCESS, or why not: then nothing is stored and the id stays new
 *	held, same content				SUCCESS or DUPLICATE_REQUEST, nothing moves
 *	held, other content				INVALID_REQUEST
 *	released, or released before	INVALID_REQUEST
 *
 * The last line is what makes a release final. A caller whose Reserve got lost releases; if the
 * lost Reserve arrives after that, it must not hold money that nobody will ever release.
 *
 * Ids, item and order id are 1 to the ACCOUNT_..._BYTES_MAX of account_bounds.h printable ASCII
 * characters, account ids are above 0, else INVALID_REQUEST; an amount not above 0 is
 * INVALID_AMOUNT.
 */
extern LedgerResult ledger_reserve(Ledger *ledger, const LedgerReservation *reservation);

/*
 * Moves what a reservation holds back to available, also for a suspended account.
 *	held						SUCCESS
 *	released					SUCCESS, nothing moves
 *	unknown						SUCCESS; the id is remembered as released
 *	of other account or kind	INVALID_REQUEST
 */
extern LedgerResult ledger_release(Ledger *ledger, const LedgerReservation *reservation);

/* Creates an account or changes its status. |account_id| is above 0. */
extern void ledger_put_account(Ledger *ledger, int64_t account_id, LedgerStatus status);

/*
 * Adds |amount|, 0 or more, to what is available of an item, of which there may be none yet. False
 * when the sum would exceed INT64_MAX; then nothing is added.
 */
extern bool ledger_add(Ledger *ledger, int64_t account_id, LedgerKind kind, const char *item,
					   int64_t amount);

/* Whether there is such an account, and its status. */
extern bool ledger_find_account(Ledger *ledger, int64_t account_id, LedgerStatus *status);

/* Whether a text is 1 to |size_max| printable ASCII characters. */
extern bool ledger_is_text(const char *text, size_t size_max);

/* Texts given to these callbacks are valid during the call only. */
typedef void (*LedgerBalanceCallback)(void *context, const LedgerBalance *balance);
typedef void (*LedgerHoldCallback)(void *context, const LedgerReservation *hold);

/* The balances of an account, or with 0 the sums over all accounts, by kind and item. False, and
 * no more calls, when the database fails; so does a sum above INT64_MAX. */
extern bool ledger_each_balance(Ledger *ledger, int64_t account_id, LedgerBalanceCallback callback,
								void *context);

/* At most |limit| reservations that hold, by id, from the first id above |after| on. */
extern bool ledger_each_hold(Ledger *ledger, const char *after, int limit,
							 LedgerHoldCallback callback, void *context);

/* Counts without what an open transaction has changed. */
extern LedgerCounts ledger_counts(const Ledger *ledger);

#endif /* LEDGER_H */
