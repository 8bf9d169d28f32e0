/*
 * account_metrics.c
 *		What calls of the Account service count.
 *
 * DESIGN	MicroProfile has one breaker and one bulkhead per method. Ours stand before the whole
 *			service, since what ails one of its methods ails them all; so does the label `method`.
 */
#include "order/account_metrics.h"

#include "base/clock.h"

#define METHOD "method=\"" ACCOUNT_SERVICE "\""

#define INVOCATION(result) METHOD ",result=\"" result "\",fallback=\"notDefined\""
#define RETRY(retried, result) METHOD ",retried=\"" retried "\",retryResult=\"" result "\""

AccountMetrics account_metrics;

/* MicroProfile's buckets. The time limit of an attempt is one of its bounds. */
static const double bounds[] = {0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25,
								0.5,   0.75, 1,     2.5,  5,     7.5, 10};

#define BOUND_COUNT ((int) (sizeof(bounds) / sizeof(bounds[0])))

static const char *const outcome_labels[ACCOUNT_VERDICT_COUNT] = {
	[ACCOUNT_VERDICT_DONE] = "outcome=\"done\"",
	[ACCOUNT_VERDICT_REFUSED] = "outcome=\"refused\"",
	[ACCOUNT_VERDICT_UNTOUCHED] = "outcome=\"untouched\"",
	[ACCOUNT_VERDICT_DOUBTFUL] = "outcome=\"doubtful\"",
};

static const char *const invocation_labels[2] = {INVOCATION("exceptionThrown"),
												 INVOCATION("valueReturned")};

static const char *const retry_labels[2][ACCOUNT_END_COUNT] = {
	{
		[ACCOUNT_END_VALUE] = RETRY("false", "valueReturned"),
		[ACCOUNT_END_NOT_RETRYABLE] = RETRY("false", "exceptionNotRetryable"),
		[ACCOUNT_END_RETRIES_MAX] = RETRY("false", "maxRetriesReached"),
		[ACCOUNT_END_TIME_UP] = RETRY("false", "maxDurationReached"),
	},
	{
		[ACCOUNT_END_VALUE] = RETRY("true", "valueReturned"),
		[ACCOUNT_END_NOT_RETRYABLE] = RETRY("true", "exceptionNotRetryable"),
		[ACCOUNT_END_RETRIES_MAX] = RETRY("true", "maxRetriesReached"),
		[ACCOUNT_END_TIME_UP] = RETRY("true", "maxDurationReached"),
	},
};

static const char *const timeout_labels[2] = {METHOD ",timedOut=\"false\"",
											  METHOD ",timedOut=\"true\""};

static const char *const passage_labels[ACCOUNT_PASSAGE_COUNT] = {
	[ACCOUNT_PASSAGE_SUCCESS] = METHOD ",circuitBreakerResult=\"success\"",
	[ACCOUNT_PASSAGE_FAILURE] = METHOD ",circuitBreakerResult=\"failure\"",
	[ACCOUNT_PASSAGE_OPEN] = METHOD ",circuitBreakerResult=\"circuitBreakerOpen\"",
};

static const char *const state_labels[BREAKER_STATE_COUNT] = {
	[BREAKER_CLOSED] = METHOD ",state=\"closed\"",
	[BREAKER_OPEN] = METHOD ",state=\"open\"",
	[BREAKER_HALF_OPEN] = METHOD ",state=\"halfOpen\"",
};

static const char *const bulkhead_labels[2] = {METHOD ",bulkheadResult=\"rejected\"",
											   METHOD ",bulkheadResult=\"accepted\""};

static void
init_ours(AccountMetrics *metrics)
{
	for (int i = 0; i < ACCOUNT_VERDICT_COUNT; i++)
		metrics_counter_init(&metrics->outcomes[i], "account_calls_total", outcome_labels[i],
							 "Calls of the Account service, by how they ended.");
	metrics_histogram_init(&metrics->call_seconds, "account_call_seconds", NULL,
						   "Time of a call with all its attempts, in seconds.",
						   metrics_latency_bounds, metrics_latency_bound_count);
	metrics_counter_init(&metrics->retries, "account_retries_total", NULL,
						 "Attempts after the first.");
	metrics_counter_init(&metrics->unpaid_retries, "account_retries_unpaid_total", NULL,
						 "Retries not made because the budget had nothing left.");
	metrics_counter_init(&metrics->unpaid_debts, "account_debts_unpaid_total", NULL,
						 "Calls for debts not made because Account was in trouble and the budget"
						 " had nothing left.");
	metrics_counter_init(&metrics->hedges, "account_hedges_total", NULL,
						 "Second attempts made beside one that took long.");
	metrics_counter_init(&metrics->hedges_won, "account_hedges_won_total", NULL,
						 "Of these, those that succeeded first.");
	metrics_counter_init(&metrics->unpaid_hedges, "account_hedges_unpaid_total", NULL,
						 "Hedges not made because the budget had nothing left.");
	metrics_gauge_init(&metrics->hedge_seconds, "account_hedge_delay_seconds", NULL,
					   "Time after which a hedge is made, in seconds; NaN for none.");
	metrics_counter_init(&metrics->waiting_refused, "account_waiting_refused_total", NULL,
						 "Attempts refused because too many waited for a place.");
	metrics_counter_init(&metrics->waiting_expired, "account_waiting_expired_total", NULL,
						 "Attempts whose time was up before they had a place.");
	metrics_gauge_init(&metrics->breaker_state, "circuit_breaker_state", NULL,
					   "Account's circuit breaker: 0 closed, 1 open, 2 half-open.");
	metrics_gauge_init(&metrics->budget_left, "retry_budget_remaining", NULL,
					   "Retries and hedges that could be paid for.");
}

static void
init_calls(AccountMetrics *metrics)
{
	for (int i = 0; i < 2; i++)
		metrics_counter_init(&metrics->invocations[i], "ft_invocations_total", invocation_labels[i],
							 "Calls, and orders refused before one.");
	for (int i = 0; i < 2; i++)
	{
		for (int end = 0; end < ACCOUNT_END_COUNT; end++)
			metrics_counter_init(&metrics->retry_calls[i][end], "ft_retry_calls_total",
								 retry_labels[i][end], "Calls that ended, by how.");
	}
	metrics_counter_init(&metrics->retry_retries, "ft_retry_retries_total", METHOD,
						 "Attempts after the first.");
	for (int i = 0; i < 2; i++)
		metrics_counter_init(&metrics->timeout_calls[i], "ft_timeout_calls_total",
							 timeout_labels[i], "Attempts that ended.");
	metrics_histogram_init(&metrics->timeout_seconds, "ft_timeout_executionDuration_seconds",
						   METHOD, "Time of an attempt, in seconds.", bounds, BOUND_COUNT);
}

static void
init_guards(AccountMetrics *metrics)
{
	for (int i = 0; i < ACCOUNT_PASSAGE_COUNT; i++)
		metrics_counter_init(&metrics->passages[i], "ft_circuitbreaker_calls_total",
							 passage_labels[i],
							 "What the circuit breaker saw of attempts, and what it refused.");
	metrics_counter_init(&metrics->opened, "ft_circuitbreaker_opened_total", METHOD,
						 "Times the circuit breaker went from closed to open.");
	for (int i = 0; i < BREAKER_STATE_COUNT; i++)
		metrics_gauge_init(&metrics->state_seconds[i], "ft_circuitbreaker_state_total_seconds",
						   state_labels[i], "Time the circuit breaker was in a state, in seconds.");
	for (int i = 0; i < BREAKER_STATE_COUNT; i++)
		metrics_gauge_init(&metrics->state_current[i], "ft_circuitbreaker_state_current",
						   state_labels[i], "1 for the state the circuit breaker is in.");
	for (int i = 0; i < 2; i++)
		metrics_counter_init(&metrics->bulkhead_calls[i], "ft_bulkhead_calls_total",
							 bulkhead_labels[i], "Attempts, by whether they got a place.");
	metrics_gauge_init(&metrics->running, "ft_bulkhead_executionsRunning", METHOD,
					   "Attempts under way.");
	metrics_gauge_init(&metrics->waiting, "ft_bulkhead_executionsWaiting", METHOD,
					   "Attempts that wait for a place.");
	metrics_histogram_init(&metrics->running_seconds, "ft_bulkhead_runningDuration_seconds", METHOD,
						   "Time an attempt had a place, in seconds.", bounds, BOUND_COUNT);
	metrics_histogram_init(&metrics->waiting_seconds, "ft_bulkhead_waitingDuration_seconds", METHOD,
						   "Time an attempt waited for a place, in seconds.", bounds, BOUND_COUNT);
}

void
account_metrics_init(void)
{
	init_ours(&account_metrics);
	init_calls(&account_metrics);
	init_guards(&account_metrics);
}

void
account_metrics_end(AccountVerdict verdict, AccountEnd end, bool was_retried, int64_t elapsed_us)
{
	metrics_count(&account_metrics.outcomes[verdict]);
	metrics_count(&account_metrics.invocations[end == ACCOUNT_END_VALUE]);
	metrics_count(&account_metrics.retry_calls[was_retried][end]);
	metrics_observe(&account_metrics.call_seconds, (double) elapsed_us / CLOCK_SECOND);
}

void
account_metrics_attempt(bool is_timed_out, int64_t elapsed_us)
{
	double seconds = (double) elapsed_us / CLOCK_SECOND;

	metrics_count(&account_metrics.timeout_calls[is_timed_out]);
	metrics_observe(&account_metrics.timeout_seconds, seconds);
	metrics_observe(&account_metrics.running_seconds, seconds);
}
