/*
 * account.c
 *		Reserving balance at the Account service.
 *
 * DESIGN	Every attempt of a call bears the same reserve_id, so Account reserves once however
 *			often it is asked. What is left to decide is what the proxy may believe: only an answer
 *			that Account itself gave, or the certainty that nobody acted, is definite. An attempt
 *			without either leaves a doubt that a later refusal does not remove: the lost attempt
 *			may still be under way and reserve after it. A later success does, since it is the same
 *			reservation.
 *
 * FAILURE	If the process dies while a call is under way, the order stays RECEIVED and a resolver
 *			gives it up with its hold UNKNOWN.
 */
#include "order/account.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "account.pb-c.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/metrics.h"
#include "resilience/attempts.h"
#include "resilience/budget.h"

/* Room for an int64 in decimal, and for a correlation id in hexadecimal. */
#define NUMBER_SIZE 24

/* What an answer says about the hold. */
typedef enum Verdict
{
	VERDICT_DONE,      /* the call did what it was to do */
	VERDICT_REFUSED,   /* Account said no; nothing is held through this attempt */
	VERDICT_UNTOUCHED, /* nobody acted on it */
	VERDICT_DOUBTFUL,  /* it may have been acted on */
} Verdict;

typedef enum Method
{
	METHOD_RESERVE_CASH,
	METHOD_RESERVE_POSITION,
	METHOD_RELEASE_CASH,
	METHOD_RELEASE_POSITION,
} Method;

#define METHOD_COUNT 4

static const char *const paths[METHOD_COUNT] = {
	"/account.order.v1.AccountOrderService/ReserveCash",
	"/account.order.v1.AccountOrderService/ReservePosition",
	"/account.order.v1.AccountOrderService/ReleaseCash",
	"/account.order.v1.AccountOrderService/ReleasePosition",
};

struct Account
{
	Loop *loop;
	Channel *channel;
	const Config *config;
	int pending;
	Budget budget; /* of retries */
	MetricsCounter retries;
	MetricsCounter unpaid_retries;
	MetricsCounter outcomes[4]; /* by Verdict */
	MetricsHistogram seconds;
};

typedef struct Call
{
	Account *account;
	AttemptPolicy policy;
	Attempts attempts;
	Method method;
	Bytes message;
	char correlation_id[NUMBER_SIZE];
	LoopEvent pause;
	bool is_doubtful; /* an earlier attempt may have been acted on */
	int last_endpoint;
	AccountCallback callback;
	void *context;
} Call;

/*
 * What the codes of a reply mean. INTERNAL_ERROR tells nothing about what was done before it, nor
 * does a code that the contract does not have.
 */
static Verdict
judge_reply(int code, Reason *reason)
{
	*reason = REASON_ACCOUNT_OUTCOME_UNKNOWN;
	switch (code)
	{
		case ACCOUNT__ORDER__V1__RESULT_CODE__SUCCESS:
		case ACCOUNT__ORDER__V1__RESULT_CODE__DUPLICATE_REQUEST:
			*reason = REASON_NONE;
			return VERDICT_DONE;
		case ACCOUNT__ORDER__V1__RESULT_CODE__INSUFFICIENT_FUNDS:
			*reason = REASON_INSUFFICIENT_FUNDS;
			return VERDICT_REFUSED;
		case ACCOUNT__ORDER__V1__RESULT_CODE__INSUFFICIENT_POSITION:
		case ACCOUNT__ORDER__V1__RESULT_CODE__POSITION_NOT_FOUND:
			*reason = REASON_INSUFFICIENT_POSITION;
			return VERDICT_REFUSED;
		case ACCOUNT__ORDER__V1__RESULT_CODE__ACCOUNT_NOT_FOUND:
			*reason = REASON_ACCOUNT_NOT_FOUND;
			return VERDICT_REFUSED;
		case ACCOUNT__ORDER__V1__RESULT_CODE__ACCOUNT_SUSPENDED:
			*reason = REASON_ACCOUNT_SUSPENDED;
			return VERDICT_REFUSED;
		case ACCOUNT__ORDER__V1__RESULT_CODE__INVALID_REQUEST:
		case ACCOUNT__ORDER__V1__RESULT_CODE__INVALID_AMOUNT:
			*reason = REASON_ACCOUNT_REFUSED;
			return VERDICT_REFUSED;
		case ACCOUNT__ORDER__V1__RESULT_CODE__NOT_IMPLEMENTED:
			*reason = REASON_ACCOUNT_UNAVAILABLE;
			return VERDICT_UNTOUCHED;
		default:
			return VERDICT_DOUBTFUL;
	}
}

/*
 * What a gRPC status means. Some say that a server, or what stands in front of it, turned the call
 * away before the service saw it; all others leave open what was done.
 */
static Verdict
judge_status(const ChannelResult *result, Reason *reason)
{
	*reason = REASON_ACCOUNT_UNAVAILABLE;
	if (result->is_unprocessed)
		return VERDICT_UNTOUCHED;
	switch (result->status)
	{
		case GRPC_INVALID_ARGUMENT:
		case GRPC_NOT_FOUND:
		case GRPC_PERMISSION_DENIED:
		case GRPC_UNAUTHENTICATED:
		case GRPC_UNIMPLEMENTED:
		case GRPC_FAILED_PRECONDITION:
		case GRPC_OUT_OF_RANGE:
			return VERDICT_UNTOUCHED;
		default:
			*reason = REASON_ACCOUNT_OUTCOME_UNKNOWN;
			return VERDICT_DOUBTFUL;
	}
}

static Verdict
judge(const ChannelResult *result, Reason *reason)
{
	Account__Order__V1__CommonReply *reply;
	Verdict verdict;

	if (result->status != GRPC_OK)
		return judge_status(result, reason);
	reply = account__order__v1__common_reply__unpack(NULL, result->reply_size, result->reply);
	verdict = judge_reply(reply != NULL ? (int) reply->code : -1, reason);
	if (reply != NULL)
		account__order__v1__common_reply__free_unpacked(reply, NULL);
	return verdict;
}

/* Whether and how the attempt may be repeated. An answer of Account's is not asked for again. */
static AttemptFailure
failure_of(const ChannelResult *result)
{
	if (result->is_unprocessed)
		return ATTEMPT_UNPROCESSED;
	if (result->status == GRPC_UNAVAILABLE || result->status == GRPC_DEADLINE_EXCEEDED)
		return ATTEMPT_RETRYABLE;
	return ATTEMPT_FINAL;
}

static void
finish(Call *call, Verdict verdict, Reason reason)
{
	Account *account = call->account;
	AccountResult result = {.reason = reason, .hold = HOLD_NONE};
	bool is_release = call->method >= METHOD_RELEASE_CASH;

	if (verdict == VERDICT_DONE)
		result.hold = is_release ? HOLD_NONE : HOLD_HELD;
	else if (verdict == VERDICT_DOUBTFUL || call->is_doubtful)
	{
		result.hold = HOLD_UNKNOWN;
		if (verdict == VERDICT_UNTOUCHED)
			result.reason = REASON_ACCOUNT_OUTCOME_UNKNOWN;
	}
	metrics_count(&account->outcomes[verdict]);
	metrics_observe(&account->seconds,
					(double) (loop_now_us(account->loop) - call->attempts.begun_us) / 1e6);
	account->pending--;
	loop_event_remove(&call->pause);
	call->callback(call->context, &result);
	bytes_free(&call->message);
	free(call);
}

static void try(Call *call);

/*
 * Microseconds until the next attempt, -1 for none. A retry has to be paid for; the repetition of
 * an attempt that nobody processed has not, since it puts no load on anybody.
 */
static int64_t
next_attempt(Call *call, AttemptFailure failure)
{
	Account *account = call->account;
	int64_t now_us = loop_now_us(account->loop);
	int retries = call->attempts.retries;
	int64_t delay_us = attempts_next(&call->attempts, failure, now_us);

	account->budget.percent = account->config->retry_budget_percent;
	if (call->attempts.retries == retries || budget_spend(&account->budget, now_us))
		return delay_us;
	metrics_count(&account->unpaid_retries);
	return -1;
}

static void
attempt_ended(void *context, const ChannelResult *result)
{
	Call *call = context;
	Reason reason;
	Verdict verdict = judge(result, &reason);
	int64_t delay_us = -1;

	if (result->status != GRPC_OK)
		delay_us = next_attempt(call, failure_of(result));
	if (delay_us < 0)
	{
		finish(call, verdict, reason);
		return;
	}
	metrics_count(&call->account->retries);
	call->is_doubtful = call->is_doubtful || verdict == VERDICT_DOUBTFUL;
	call->last_endpoint = result->endpoint;
	loop_event_add(&call->pause, delay_us);
}

static void
try(Call *call)
{
	ChannelRequest request = {
		.path = paths[call->method],
		.message = call->message.data,
		.size = call->message.size,
		.correlation_id = call->correlation_id,
		.timeout_us = attempts_limit(&call->attempts, loop_now_us(call->account->loop)),
		.avoid = call->last_endpoint,
	};

	if (request.timeout_us == 0)
	{
		finish(call, VERDICT_UNTOUCHED, REASON_ACCOUNT_UNAVAILABLE);
		return;
	}
	channel_call(call->account->channel, &request, attempt_ended, call);
}

static void
pause_over(void *context, short what)
{
	(void) what;
	try(context);
}

/* Packs a message of protobuf-c's into the call. */
static void
pack(Call *call, const ProtobufCMessage *message)
{
	size_t size = protobuf_c_message_get_packed_size(message);

	call->message.size = protobuf_c_message_pack(message, bytes_reserve(&call->message, size));
	assert(call->message.size == size);
}

static void
pack_reserve(Call *call, const AccountReservation *reservation, char *order_id)
{
	if (reservation->is_cash)
	{
		Account__Order__V1__ReserveCashRequest request =
			ACCOUNT__ORDER__V1__RESERVE_CASH_REQUEST__INIT;

		request.account_id = reservation->account_id;
		request.amount_micro_units = reservation->amount;
		request.currency = (char *) reservation->currency;
		request.reserve_id = (char *) reservation->reserve_id;
		request.order_id = order_id;
		pack(call, &request.base);
	}
	else
	{
		Account__Order__V1__ReservePositionRequest request =
			ACCOUNT__ORDER__V1__RESERVE_POSITION_REQUEST__INIT;

		request.account_id = reservation->account_id;
		request.symbol = (char *) reservation->symbol;
		request.quantity = reservation->amount;
		request.reserve_id = (char *) reservation->reserve_id;
		request.order_id = order_id;
		pack(call, &request.base);
	}
}

static void
pack_release(Call *call, const AccountReservation *reservation)
{
	if (reservation->is_cash)
	{
		Account__Order__V1__ReleaseCashRequest request =
			ACCOUNT__ORDER__V1__RELEASE_CASH_REQUEST__INIT;

		request.account_id = reservation->account_id;
		request.reserve_id = (char *) reservation->reserve_id;
		pack(call, &request.base);
	}
	else
	{
		Account__Order__V1__ReleasePositionRequest request =
			ACCOUNT__ORDER__V1__RELEASE_POSITION_REQUEST__INIT;

		request.account_id = reservation->account_id;
		request.reserve_id = (char *) reservation->reserve_id;
		pack(call, &request.base);
	}
}

static void
begin(Account *account, const AccountReservation *reservation, bool is_release,
	  AccountCallback callback, void *context)
{
	const Config *config = account->config;
	Call *call = bytes_new_zeroed(1, sizeof(Call));
	char order_id[NUMBER_SIZE];

	assert(reservation->reserve_id != NULL && reservation->account_id > 0);
	call->account = account;
	call->method = (Method) ((is_release ? METHOD_RELEASE_CASH : METHOD_RESERVE_CASH) +
							 (reservation->is_cash ? 0 : 1));
	call->callback = callback;
	call->context = context;
	call->last_endpoint = -1;
	call->policy = (AttemptPolicy){.attempt_us = config->attempt_timeout_us,
								   .overall_us = config->overall_timeout_us,
								   .retry_delay_us = config->retry_delay_us,
								   .retries_max = config->retries_max};
	snprintf(call->correlation_id, sizeof(call->correlation_id), "%016" PRIx64,
			 reservation->correlation_id);
	snprintf(order_id, sizeof(order_id), "%" PRId64, reservation->order_id);
	loop_event_init(&call->pause, account->loop, -1, 0, pause_over, call);
	if (is_release)
		pack_release(call, reservation);
	else
		pack_reserve(call, reservation, order_id);
	account->pending++;
	attempts_begin(&call->attempts, &call->policy, loop_now_us(account->loop));
	budget_earn(&account->budget, loop_now_us(account->loop));
	try(call);
}

void
account_reserve(Account *account, const AccountReservation *reservation, AccountCallback callback,
				void *context)
{
	begin(account, reservation, false, callback, context);
}

void
account_release(Account *account, const AccountReservation *reservation, AccountCallback callback,
				void *context)
{
	begin(account, reservation, true, callback, context);
}

int
account_pending_count(const Account *account)
{
	return account->pending;
}

Account *
account_new(Loop *loop, Channel *channel, const Config *config)
{
	Account *account = bytes_new_zeroed(1, sizeof(Account));
	static const char *const labels[] = {"outcome=\"done\"", "outcome=\"refused\"",
										 "outcome=\"untouched\"", "outcome=\"doubtful\""};

	account->loop = loop;
	account->channel = channel;
	account->config = config;
	budget_init(&account->budget, config->retry_budget_percent);
	for (int i = 0; i < 4; i++)
		metrics_counter_init(&account->outcomes[i], "account_calls_total", labels[i],
							 "Calls of the Account service, by how they ended.");
	metrics_counter_init(&account->retries, "account_retries_total", NULL,
						 "Attempts after the first.");
	metrics_counter_init(&account->unpaid_retries, "account_retries_unpaid_total", NULL,
						 "Retries not made because the budget had nothing left.");
	metrics_histogram_init(&account->seconds, "account_call_seconds", NULL,
						   "Time of a call with all its attempts.", metrics_latency_bounds,
						   metrics_latency_bound_count);
	return account;
}

void
account_free(Account *account)
{
	assert(account->pending == 0);
	free(account);
}
