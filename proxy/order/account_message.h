/*
 * account_message.h
 *		What is said to the Account service, and what its answers mean. Pure.
 */
#ifndef ACCOUNT_MESSAGE_H
#define ACCOUNT_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "net/channel.h"
#include "reason.h"
#include "resilience/attempts.h"

#define ACCOUNT_SERVICE "account.order.v1.AccountOrderService"

typedef enum AccountMethod
{
	ACCOUNT_RESERVE_CASH,
	ACCOUNT_RESERVE_POSITION,
	ACCOUNT_RELEASE_CASH,
	ACCOUNT_RELEASE_POSITION,
} AccountMethod;

#define ACCOUNT_METHOD_COUNT 4

/* What to reserve or release. Texts are copied. */
typedef struct AccountReservation
{
	int64_t account_id;
	int64_t order_id;
	uint64_t correlation_id;
	const char *reserve_id;
	bool is_cash;         /* a BUY reserves cash, a SELL a position */
	bool is_debt;         /* a resolver asks: it has time, and asks again by itself */
	const char *currency; /* cash */
	const char *symbol;   /* position */
	int64_t amount;       /* micro-units of cash, or units of a position */
	int64_t waited_us;    /* since the client's request came in; counts towards the overall limit */
} AccountReservation;

/* What an answer says about the hold. */
typedef enum AccountVerdict
{
	ACCOUNT_VERDICT_DONE,      /* the call did what it was to do */
	ACCOUNT_VERDICT_REFUSED,   /* Account said no; nothing is held through this attempt */
	ACCOUNT_VERDICT_UNTOUCHED, /* nobody acted on it */
	ACCOUNT_VERDICT_DOUBTFUL,  /* it may have been acted on */
} AccountVerdict;

#define ACCOUNT_VERDICT_COUNT 4

/* The :path of a method. Static. */
extern const char *account_message_path(AccountMethod method);

/* Packs the request into |message|, which is empty. */
extern void account_message_pack(AccountMethod method, const AccountReservation *reservation,
								 Bytes *message);

/* What the end of an attempt means; |*reason| is what to settle the order with. */
extern AccountVerdict account_message_judge(const ChannelResult *result, Reason *reason);

/*
 * Whether the end of an attempt speaks against the service itself, so that its breaker has to know:
 * a lost connection, a time limit, a server in trouble, an answer that is none. What Account
 * decided, and a request that it does not understand, do not.
 */
extern bool account_message_is_failure(const ChannelResult *result, AccountVerdict verdict);

/* Whether and how the attempt may be repeated. An answer of Account's is not asked for again. */
extern AttemptFailure account_message_failure(const ChannelResult *result);

#endif /* ACCOUNT_MESSAGE_H */
