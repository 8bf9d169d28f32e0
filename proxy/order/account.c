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
 *			that is restarted, and says so, opens no breaker. So it is with a lost connection, as
 *			long as another endpoint takes the call: all that were under way on it fail at the same
 *			moment, which is one misfortune and not fifty.
 *
 *			A hedge is a second attempt beside one that takes long, at another endpoint. The first
 *			success ends the call, and the other attempt is broken off. Nothing less does: a refusal
 *			waits for the other attempt, which may hold by now what this one was refused. It is the
 *			only extra attempt of its call, it is paid like a retry, and it is made only where all
 *			is well: the breaker closed, a place free and nobody waiting for one.
 *
 * LIMITS	account_calls_max attempts under way, account_waiting_max that wait.
 *
 * FAILURE	If the process dies while a call is under way, the order stays RECEIVED and a resolver
 *			gives it up with its hold UNKNOWN.
 */
#include "order/account.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/bounds.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/fault_point.h"
#include "base/number.h"
#include "base/setting.h"
#include "order/account_guard.h"
#include "order/account_metrics.h"
#include "order/account_queue.h"
#include "resilience/attempts.h"
#include "resilience/quantile.h"

/* What the timer of a call ends. */
typedef enum Rest
{
	REST_PAUSE,   /* before a retry */
	REST_REFUSED, /* nothing: its callback may not come from within begin() */
} Rest;

typedef struct Call Call;

typedef struct Attempt
{
	Call *call;
	ChannelCall *sent; /* while it is under way */
	BreakerPass pass;
	int64_t begun_us; /* 0: never */
} Attempt;

struct Account
{
	Loop *loop;
	Channel *channel;
	const Config *config;
	int pending;
	AccountGuard guard;
	AccountQueue queue; /* of calls that wait for a place */
	LoopTask wake;
	Quantile latencies; /* of attempts that were answered */
};

struct Call
{
	AccountWaiter waiter;
	Account *account;
	AttemptPolicy policy;
	Attempts attempts;
	AccountMethod method;
	Bytes message;
	char correlation_id[NUMBER_HEX_SIZE];
	LoopEvent timer;
	Rest rest;
	Attempt attempt; /* the first, and its repetitions */
	Attempt hedge;
	LoopEvent hedge_timer;
	bool is_debt;
	bool is_doubtful; /* an attempt that has ended may have been acted on */
	Reason refusal;   /* what Account said while the other attempt went on; REASON_NONE: nothing */
	int last_endpoint;
	AccountCallback callback;
	void *context;
};

static void
finish(Call *call, AccountVerdict verdict, Reason reason, AccountEnd end)
{
	Account *account = call->account;
	AccountResult result = {.reason = reason, .hold = HOLD_NONE};
	bool is_release = call->method >= ACCOUNT_RELEASE_CASH;
	bool was_retried = call->attempts.retries > 0 || call->attempts.is_free_used;

	assert(call->attempt.sent == NULL && call->hedge.sent == NULL);
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
	loop_event_remove(&call->hedge_timer);
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
	return call->attempts.is_hedged || call->attempts.retries == call->policy.retries_max
			   ? ACCOUNT_END_RETRIES_MAX
			   : ACCOUNT_END_TIME_UP;
}

/* What the breaker is told of an attempt whose call |goes_on| without having been lost on it. */
static AccountSign
sign_of(const ChannelResult *result, AccountVerdict verdict, bool goes_on)
{
	if (result->is_refused_here || ((result->is_unprocessed || result->is_lost) && goes_on))
		return ACCOUNT_SIGN_NONE;
	return account_message_is_failure(result, verdict) ? ACCOUNT_SIGN_BAD : ACCOUNT_SIGN_GOOD;
}

/* The other attempt is of no use any more. What it took so far is less than it would have taken. */
static void
break_off(Attempt *attempt)
{
	Account *account = attempt->call->account;
	int64_t now_us = loop_now_us(account->loop);

	if (attempt->sent == NULL)
		return;
	channel_cancel(attempt->sent);
	attempt->sent = NULL;
	quantile_add(&account->latencies, now_us - attempt->begun_us);
	account_guard_leave(&account->guard, attempt->pass, ACCOUNT_SIGN_NONE, false, now_us);
}

static bool
is_under_way(const Call *call)
{
	return call->attempt.sent != NULL || call->hedge.sent != NULL;
}

/* An attempt did not succeed, and the other one decides: what is to be remembered of it. */
static void
remember(Call *call, AccountVerdict verdict, Reason reason)
{
	if (verdict == ACCOUNT_VERDICT_REFUSED)
		call->refusal = reason;
	else if (verdict == ACCOUNT_VERDICT_DOUBTFUL)
		call->is_doubtful = true;
}

/* The last attempt has ended, without success if Account has refused the other one. */
static void
conclude(Call *call, AccountVerdict verdict, Reason reason, AccountEnd end)
{
	if (call->refusal != REASON_NONE && verdict != ACCOUNT_VERDICT_DONE &&
		verdict != ACCOUNT_VERDICT_REFUSED)
	{
		remember(call, verdict, reason);
		finish(call, ACCOUNT_VERDICT_REFUSED, call->refusal, ACCOUNT_END_VALUE);
	}
	else
		finish(call, verdict, reason, end);
}

static void
attempt_ended(void *context, const ChannelResult *result)
{
	Attempt *attempt = context;
	Call *call = attempt->call;
	Account *account = call->account;
	int64_t now_us = loop_now_us(account->loop);
	int64_t elapsed_us = now_us - attempt->begun_us;
	Reason reason;
	AccountVerdict verdict = account_message_judge(result, &reason);
	AttemptFailure failure = account_message_failure(result);
	AccountEnd end = ACCOUNT_END_VALUE;
	int retries = call->attempts.retries;
	int64_t delay_us = -1;
	bool is_repeated;

	fault_point("answered", "account");
	attempt->sent = NULL;
	loop_event_remove(&call->hedge_timer);
	if (result->status != GRPC_OK && !is_under_way(call))
		delay_us = attempts_next(&call->attempts, failure, now_us);
	if (result->status != GRPC_OK)
		end = end_of(call, failure);
	else if (verdict == ACCOUNT_VERDICT_DOUBTFUL)
		end = ACCOUNT_END_NOT_RETRYABLE;
	is_repeated = delay_us >= 0 && call->attempts.retries == retries;
	if (delay_us >= 0 && !is_repeated && result->is_lost &&
		channel_has_other(account->channel, result->endpoint))
	{
		is_repeated = may_retry(account, &end);
		delay_us = is_repeated ? delay_us : -1;
	}
	account_guard_leave(&account->guard, attempt->pass,
						sign_of(result, verdict, is_repeated || is_under_way(call)), call->is_debt,
						now_us);
	account_metrics_attempt(result->status == GRPC_DEADLINE_EXCEEDED, elapsed_us);
	if (result->status == GRPC_OK || result->status == GRPC_DEADLINE_EXCEEDED)
		quantile_add(&account->latencies, elapsed_us);
	loop_defer(&account->wake);
	if (verdict == ACCOUNT_VERDICT_DONE && is_under_way(call))
	{
		if (attempt == &call->hedge)
			metrics_count(&account_metrics.hedges_won);
		break_off(&call->attempt);
		break_off(&call->hedge);
	}
	if (is_under_way(call))
		remember(call, verdict, reason);
	else if (delay_us < 0 || (!is_repeated && !may_retry(account, &end)))
		conclude(call, verdict, reason, end);
	else
	{
		metrics_count(&account_metrics.retries);
		call->is_doubtful = call->is_doubtful || verdict == ACCOUNT_VERDICT_DOUBTFUL;
		call->last_endpoint = result->endpoint;
		rest(call, REST_PAUSE, delay_us);
	}
}

/* After how long a hedge is made; -1 for none. */
static int64_t
hedge_delay(const Account *account)
{
	int64_t most_us = account->config->attempt_timeout_us / 2;
	int64_t delay_us = account->config->hedge_us;

	if (delay_us != SETTING_AUTO)
		return delay_us;
	delay_us = quantile_get(&account->latencies);
	if (delay_us >= 0 && delay_us < HEDGE_MS_MIN * CLOCK_MS)
		delay_us = HEDGE_MS_MIN * CLOCK_MS;
	return delay_us < most_us ? delay_us : most_us;
}

static void
send_attempt(Attempt *attempt, int64_t now_us)
{
	Call *call = attempt->call;
	Account *account = call->account;
	ChannelRequest request = {
		.path = account_message_path(call->method),
		.message = call->message.data,
		.size = call->message.size,
		.correlation_id = call->correlation_id,
		.timeout_us = attempts_limit(&call->attempts, now_us),
		.avoid = call->last_endpoint,
	};
	int64_t delay_us = hedge_delay(account);

	if (call->attempt.begun_us == 0 && !call->is_debt)
		account_guard_earn(&account->guard, now_us);
	attempt->begun_us = now_us;
	attempt->sent = channel_call(account->channel, &request, attempt_ended, attempt);
	if (!call->is_debt && delay_us >= 0 && delay_us < request.timeout_us &&
		attempts_may_hedge(&call->attempts))
		loop_event_add(&call->hedge_timer, delay_us);
}

/* The first attempt takes long. */
static void
on_hedge_timer(void *context, short what)
{
	Call *call = context;
	Account *account = call->account;
	int64_t now_us = loop_now_us(account->loop);
	int taken = channel_call_endpoint(call->attempt.sent);

	(void) what;
	/* If the loop was late, the end of the first attempt is due, too. */
	if (attempts_limit(&call->attempts, now_us) == 0 || taken == -1 ||
		!channel_has_other(account->channel, taken) || account->queue.count > 0 ||
		!account_guard_is_calm(&account->guard, now_us))
		return;
	if (!account_guard_pay(&account->guard, now_us))
	{
		metrics_count(&account_metrics.unpaid_hedges);
		return;
	}
	if (account_guard_enter(&account->guard, now_us, &call->hedge.pass) != ACCOUNT_ADMITTED)
		return;
	metrics_count(&account_metrics.hedges);
	attempts_hedge(&call->attempts);
	call->last_endpoint = taken;
	send_attempt(&call->hedge, now_us);
}

/* The first attempt waits for a place, if anybody may. */
static void
wait_for_place(Call *call, int64_t now_us)
{
	Account *account = call->account;
	int64_t limit_us = account->config->overall_timeout_us / 2;

	if (call->attempt.begun_us == 0 && call->attempts.begun_us + limit_us > now_us &&
		account->queue.count < account->config->account_waiting_max)
	{
		account_queue_add(&account->queue, &call->waiter, call, call->attempts.begun_us, limit_us);
		return;
	}
	metrics_count(&account_metrics.waiting_refused);
	metrics_count(&account_metrics.bulkhead_calls[false]);
	rest(call, REST_REFUSED, 0);
}

/* It has waited for a place for as long as it may. */
static void
waited_in_vain(void *context)
{
	metrics_count(&account_metrics.bulkhead_calls[false]);
	finish(context, ACCOUNT_VERDICT_UNTOUCHED, REASON_ACCOUNT_UNAVAILABLE,
		   ACCOUNT_END_NOT_RETRYABLE);
}

/* Begins an attempt, or refuses it, for which it may be too late, or makes it wait. */
static void
enter(Call *call, int64_t now_us)
{
	if (attempts_limit(&call->attempts, now_us) == 0)
	{
		rest(call, REST_REFUSED, 0);
		return;
	}
	switch (account_guard_enter(&call->account->guard, now_us, &call->attempt.pass))
	{
		case ACCOUNT_ADMITTED:
			send_attempt(&call->attempt, now_us);
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

	if (call->account->queue.count > 0 && attempts_limit(&call->attempts, now_us) > 0)
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

	while (account->queue.count > 0 && account_guard_look(&account->guard, now_us) != ACCOUNT_FULL)
		enter(account_queue_take(&account->queue), now_us);
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
								   .waited_us = reservation->waited_us,
								   .retry_delay_us = config->retry_delay_us,
								   .retries_max = call->is_debt ? 0 : config->retries_max};
	number_hex(reservation->correlation_id, call->correlation_id);
	call->attempt.call = call;
	call->hedge.call = call;
	loop_event_init(&call->timer, account->loop, -1, 0, on_timer, call);
	loop_event_init(&call->hedge_timer, account->loop, -1, 0, on_hedge_timer, call);
	account_message_pack(call->method, reservation, &call->message);
	account->pending++;
	attempts_begin(&call->attempts, &call->policy, now_us);
	if (call->is_debt && !account_guard_pay_debt(&account->guard, now_us))
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
			if (account->queue.count < account->config->account_waiting_max)
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
	int64_t delay_us = hedge_delay(account);

	account_guard_measure(guard, loop_now_us(account->loop));
	account_metrics.waiting.value = account->queue.count;
	account_metrics.hedge_seconds.value =
		delay_us >= 0 ? (double) delay_us / CLOCK_SECOND : (double) NAN;
	return (AccountState){
		.breaker = breaker_state_name(guard->state),
		.breaker_results = guard->breaker.count,
		.breaker_failures = guard->breaker.failures,
		.breaker_opened = account_metrics.opened.value,
		.retry_budget = (int64_t) account_metrics.budget_left.value,
		.running = guard->bulkhead.taken,
		.waiting = account->queue.count,
		.hedge_delay_us = delay_us,
		.hedges = account_metrics.hedges.value,
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
	loop_task_init(&account->wake, loop, wake, account);
	account_queue_init(&account->queue, loop, waited_in_vain);
	account_metrics_init();
	account_guard_init(&account->guard, config, loop_now_us(loop));
	quantile_init(&account->latencies, HEDGE_PERCENT);
	return account;
}

void
account_free(Account *account)
{
	assert(account->pending == 0);
	loop_task_cancel(&account->wake);
	account_queue_close(&account->queue);
	free(account);
}
