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
 *			Each attempt passes the breaker and the bulkhead. One that finds no place waits for it
 *			in a queue: a batch of the database releases hundreds of orders in one turn, and a
 *			service that answers in a millisecond takes them all in time. It waits for half of the
 *			overall limit at most, since one that is sent with little time left would time out by
 *			our fault, and leave a doubt; a retry never waits. An attempt that nobody processed and
 *			that is repeated at once tells the breaker nothing: its repetition does. So a server
 *			that is restarted, and says so, opens no breaker.
 *
 * LIMITS	account_calls_max attempts under way, account_waiting_max that wait.
 *
 * FAILURE	If the process dies while a call is under way, the order stays RECEIVED and a resolver
 *			gives it up with its hold UNKNOWN.
 */
#include "order/account.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "order/account_guard.h"
#include "order/account_metrics.h"
#include "resilience/attempts.h"

/* Room for a correlation id in hexadecimal. */
#define CORRELATION_ID_SIZE 20

/* What the timer of a call ends. */
typedef enum Rest
{
	REST_PAUSE,   /* before a retry */
	REST_PLACE,   /* the wait for a place of the bulkhead */
	REST_REFUSED, /* nothing: its callback may not come from within begin() */
} Rest;

typedef struct Call Call;

struct Account
{
	Loop *loop;
	Channel *channel;
	const Config *config;
	int pending;
	AccountGuard guard;
	TAILQ_HEAD(, Call) waiting; /* for a place, in their order */
	int waiting_count;
	LoopTask wake;
};

struct Call
{
	TAILQ_ENTRY(Call) waiting; /* with REST_PLACE */
	Account *account;
	AttemptPolicy policy;
	Attempts attempts;
	AccountMethod method;
	Bytes message;
	char correlation_id[CORRELATION_ID_SIZE];
	LoopEvent timer;
	Rest rest;
	int64_t sent_us;
	BreakerPass pass;
	bool is_debt;
	bool is_doubtful; /* an earlier attempt may have been acted on */
	int last_endpoint;
	AccountCallback callback;
	void *context;
};

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
finish(Call *call, AccountVerdict verdict, Reason reason, AccountEnd end)
{
	Account *account = call->account;
	AccountResult result = {.reason = reason, .hold = HOLD_NONE};
	bool is_release = call->method >= ACCOUNT_RELEASE_CASH;
	bool was_retried = call->attempts.retries > 0 || call->attempts.is_free_used;

	if (verdict == ACCOUNT_VERDICT_DONE)
		result.hold = is_release ? HOLD_NONE : HOLD_HELD;
	else if (verdict == ACCOUNT_VERDICT_DOUBTFUL || call->is_doubtful)
	{
		result.hold = HOLD_UNKNOWN;
		if (verdict == ACCOUNT_VERDICT_UNTOUCHED)
			result.reason = REASON_ACCOUNT_OUTCOME_UNKNOWN;
	}
	account_metrics_end(verdict, end, was_retried,
						loop_now_us(account->loop) - call->attempts.begun_us);
	account->pending--;
	loop_event_remove(&call->timer);
	call->callback(call->context, &result);
	bytes_free(&call->message);
	free(call);
}

static void
rest(Call *call, Rest reason, int64_t for_us)
{
	call->rest = reason;
	loop_event_add(&call->timer, for_us);
}

/* Attempts ------------------------------------------------------------------------------------- */

/*
 * Whether a retry may be made that the limits of the call allow: not at a service that is given a
 * rest, and not without paying.
 */
static bool
may_retry(Account *account, AccountEnd *end)
{
	int64_t now_us = loop_now_us(account->loop);

	*end = ACCOUNT_END_NOT_RETRYABLE;
	if (account_guard_look(&account->guard, now_us) == ACCOUNT_SHUT)
		return false;
	if (account_guard_pay(&account->guard, now_us))
	{
		metrics_count(&account_metrics.retry_retries);
		return true;
	}
	metrics_count(&account_metrics.unpaid_retries);
	*end = ACCOUNT_END_RETRIES_MAX;
	return false;
}

/* Why no attempt follows one that failed so. */
static AccountEnd
end_of(const Call *call, AttemptFailure failure)
{
	if (failure == ATTEMPT_FINAL)
		return ACCOUNT_END_NOT_RETRYABLE;
	return call->attempts.retries == call->policy.retries_max ? ACCOUNT_END_RETRIES_MAX
															  : ACCOUNT_END_TIME_UP;
}

static void
attempt_ended(void *context, const ChannelResult *result)
{
	Call *call = context;
	Account *account = call->account;
	int64_t now_us = loop_now_us(account->loop);
	Reason reason;
	AccountVerdict verdict = account_message_judge(result, &reason);
	AttemptFailure failure = failure_of(result);
	AccountSign sign = ACCOUNT_SIGN_GOOD;
	AccountEnd end = ACCOUNT_END_VALUE;
	int retries = call->attempts.retries;
	int64_t delay_us = -1;
	bool is_free;

	if (result->status != GRPC_OK)
	{
		delay_us = attempts_next(&call->attempts, failure, now_us);
		end = end_of(call, failure);
	}
	else if (verdict == ACCOUNT_VERDICT_DOUBTFUL)
		end = ACCOUNT_END_NOT_RETRYABLE;
	is_free = delay_us >= 0 && call->attempts.retries == retries;
	if (is_free || result->is_refused_here)
		sign = ACCOUNT_SIGN_NONE;
	else if (account_message_is_failure(result, verdict))
		sign = ACCOUNT_SIGN_BAD;
	account_guard_leave(&account->guard, call->pass, sign, now_us);
	account_metrics_attempt(result->status == GRPC_DEADLINE_EXCEEDED, now_us - call->sent_us);
	loop_defer(&account->wake);
	if (delay_us < 0 || (!is_free && !may_retry(account, &end)))
	{
		finish(call, verdict, reason, end);
		return;
	}
	metrics_count(&account_metrics.retries);
	call->is_doubtful = call->is_doubtful || verdict == ACCOUNT_VERDICT_DOUBTFUL;
	call->last_endpoint = result->endpoint;
	rest(call, REST_PAUSE, delay_us);
}

static void
send_attempt(Call *call, int64_t now_us)
{
	ChannelRequest request = {
		.path = account_message_path(call->method),
		.message = call->message.data,
		.size = call->message.size,
		.correlation_id = call->correlation_id,
		.timeout_us = attempts_limit(&call->attempts, now_us),
		.avoid = call->last_endpoint,
	};

	call->sent_us = now_us;
	channel_call(call->account->channel, &request, attempt_ended, call);
}

/* The first attempt waits for a place, if anybody may. */
static void
wait_for_place(Call *call, int64_t now_us)
{
	Account *account = call->account;
	int64_t until_us = call->attempts.begun_us + call->policy.overall_us / 2;

	if (call->sent_us == 0 && until_us > now_us &&
		account->waiting_count < account->config->account_waiting_max)
	{
		TAILQ_INSERT_TAIL(&account->waiting, call, waiting);
		account->waiting_count++;
		rest(call, REST_PLACE, until_us - now_us);
		return;
	}
	metrics_count(&account_metrics.waiting_refused);
	metrics_count(&account_metrics.bulkhead_calls[false]);
	rest(call, REST_REFUSED, 0);
}

static void
stop_waiting(Call *call)
{
	Account *account = call->account;
	int64_t waited_us = loop_now_us(account->loop) - call->attempts.begun_us;

	TAILQ_REMOVE(&account->waiting, call, waiting);
	account->waiting_count--;
	loop_event_remove(&call->timer);
	metrics_observe(&account_metrics.waiting_seconds, (double) waited_us / CLOCK_SECOND);
}

/* Begins an attempt, or refuses it, or makes it wait. */
static void
enter(Call *call, int64_t now_us)
{
	switch (account_guard_enter(&call->account->guard, now_us, &call->pass))
	{
		case ACCOUNT_ADMITTED:
			send_attempt(call, now_us);
			break;
		case ACCOUNT_SHUT:
			rest(call, REST_REFUSED, 0);
			break;
		case ACCOUNT_FULL:
			wait_for_place(call, now_us);
			break;
	}
}

static void
try(Call *call)
{
	int64_t now_us = loop_now_us(call->account->loop);

	if (attempts_limit(&call->attempts, now_us) == 0)
		rest(call, REST_REFUSED, 0);
	else if (call->account->waiting_count > 0)
		wait_for_place(call, now_us);
	else
		enter(call, now_us);
}

/* Places are free, or the breaker is open. */
static void
wake(void *context)
{
	Account *account = context;
	int64_t now_us = loop_now_us(account->loop);
	Call *call;

	while ((call = TAILQ_FIRST(&account->waiting)) != NULL &&
		   account_guard_look(&account->guard, now_us) != ACCOUNT_FULL)
	{
		stop_waiting(call);
		enter(call, now_us);
	}
}

static void
on_timer(void *context, short what)
{
	Call *call = context;

	(void) what;
	switch (call->rest)
	{
		case REST_PAUSE:
			try(call);
			break;
		case REST_PLACE:
			stop_waiting(call);
			metrics_count(&account_metrics.waiting_expired);
			metrics_count(&account_metrics.bulkhead_calls[false]);
			finish(call, ACCOUNT_VERDICT_UNTOUCHED, REASON_ACCOUNT_UNAVAILABLE,
				   ACCOUNT_END_NOT_RETRYABLE);
			break;
		case REST_REFUSED:
			finish(call, ACCOUNT_VERDICT_UNTOUCHED, REASON_ACCOUNT_UNAVAILABLE,
				   ACCOUNT_END_NOT_RETRYABLE);
			break;
	}
}

/* Calls ---------------------------------------------------------------------------------------- */

static void
begin(Account *account, const AccountReservation *reservation, bool is_release,
	  AccountCallback callback, void *context)
{
	const Config *config = account->config;
	int64_t now_us = loop_now_us(account->loop);
	Call *call = bytes_new_zeroed(1, sizeof(Call));

	assert(reservation->reserve_id != NULL && reservation->account_id > 0);
	call->account = account;
	if (is_release)
		call->method = reservation->is_cash ? ACCOUNT_RELEASE_CASH : ACCOUNT_RELEASE_POSITION;
	else
		call->method = reservation->is_cash ? ACCOUNT_RESERVE_CASH : ACCOUNT_RESERVE_POSITION;
	call->callback = callback;
	call->context = context;
	call->is_debt = reservation->is_debt;
	call->last_endpoint = -1;
	call->policy = (AttemptPolicy){.attempt_us = config->attempt_timeout_us,
								   .overall_us = config->overall_timeout_us,
								   .retry_delay_us = config->retry_delay_us,
								   .retries_max = call->is_debt ? 0 : config->retries_max};
	snprintf(call->correlation_id, sizeof(call->correlation_id), "%016" PRIx64,
			 reservation->correlation_id);
	loop_event_init(&call->timer, account->loop, -1, 0, on_timer, call);
	account_message_pack(call->method, reservation, &call->message);
	account->pending++;
	attempts_begin(&call->attempts, &call->policy, now_us);
	if (!call->is_debt)
		account_guard_earn(&account->guard, now_us);
	else if (!account_guard_pay_debt(&account->guard, now_us))
	{
		metrics_count(&account_metrics.unpaid_debts);
		rest(call, REST_REFUSED, 0);
		return;
	}
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

Reason
account_look(Account *account)
{
	switch (account_guard_look(&account->guard, loop_now_us(account->loop)))
	{
		case ACCOUNT_SHUT:
			metrics_count(&account_metrics.passages[ACCOUNT_PASSAGE_OPEN]);
			break;
		case ACCOUNT_FULL:
			if (account->waiting_count < account->config->account_waiting_max)
				return REASON_NONE;
			metrics_count(&account_metrics.waiting_refused);
			metrics_count(&account_metrics.bulkhead_calls[false]);
			metrics_count(&account_metrics.invocations[false]);
			return REASON_ACCOUNT_BUSY;
		default:
			return REASON_NONE;
	}
	metrics_count(&account_metrics.invocations[false]);
	return REASON_ACCOUNT_RESTING;
}

void
account_reset_breaker(Account *account)
{
	account_guard_reset(&account->guard, loop_now_us(account->loop));
}

AccountState
account_measure(Account *account)
{
	AccountGuard *guard = &account->guard;

	account_guard_measure(guard, loop_now_us(account->loop));
	account_metrics.waiting.value = account->waiting_count;
	return (AccountState){
		.breaker = breaker_state_name(guard->state),
		.breaker_results = guard->breaker.count,
		.breaker_failures = guard->breaker.failures,
		.breaker_opened = account_metrics.opened.value,
		.retry_budget = (int64_t) account_metrics.budget_left.value,
		.running = guard->bulkhead.taken,
		.waiting = account->waiting_count,
	};
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

	account->loop = loop;
	account->channel = channel;
	account->config = config;
	TAILQ_INIT(&account->waiting);
	loop_task_init(&account->wake, loop, wake, account);
	account_metrics_init();
	account_guard_init(&account->guard, config, loop_now_us(loop));
	return account;
}

void
account_free(Account *account)
{
	assert(account->pending == 0);
	loop_task_cancel(&account->wake);
	free(account);
}
