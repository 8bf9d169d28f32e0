/*
 * account_metrics.h
 *		What calls of the Account service count: our own metrics, and beside them the ones that
 *		MicroProfile Fault Tolerance 4 names (`ft_*`), as Prometheus spells them, so that dashboards
 *		made for it work.
 */
#ifndef ACCOUNT_METRICS_H
#define ACCOUNT_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/metrics.h"
#include "order/account_message.h"
#include "resilience/breaker.h"

/* How a call with all its attempts ended, as ft_retry_calls_total tells it. */
typedef enum AccountEnd
{
	ACCOUNT_END_VALUE,         /* Account answered */
	ACCOUNT_END_NOT_RETRYABLE, /* a failure that repeating would not help, or that may not be */
	ACCOUNT_END_RETRIES_MAX,   /* failed as often as it may, by its own limit or by the budget's */
	ACCOUNT_END_TIME_UP,
} AccountEnd;

#define ACCOUNT_END_COUNT 4

/* What the breaker saw of an attempt, as ft_circuitbreaker_calls_total tells it. */
typedef enum AccountPassage
{
	ACCOUNT_PASSAGE_SUCCESS,
	ACCOUNT_PASSAGE_FAILURE,
	ACCOUNT_PASSAGE_OPEN, /* refused: open, or half-open and probing */
} AccountPassage;

#define ACCOUNT_PASSAGE_COUNT 3

typedef struct AccountMetrics
{
	/* Ours. */
	MetricsCounter outcomes[ACCOUNT_VERDICT_COUNT];
	MetricsHistogram call_seconds;
	MetricsCounter retries;
	MetricsCounter unpaid_retries; /* RETRY_BUDGET_PERCENT, BUDGET_FLOOR */
	MetricsCounter unpaid_debts;
	MetricsCounter hedges;
	MetricsCounter hedges_won;
	MetricsCounter unpaid_hedges;
	MetricsGauge hedge_seconds;     /* NaN: none is made */
	MetricsCounter waiting_refused; /* ACCOUNT_WAITING */
	MetricsCounter waiting_expired; /* the time limit of an attempt */
	MetricsGauge breaker_state;
	MetricsGauge budget_left;

	/* MicroProfile's. */
	MetricsCounter invocations[2];                    /* by whether Account answered */
	MetricsCounter retry_calls[2][ACCOUNT_END_COUNT]; /* by whether it was retried */
	MetricsCounter retry_retries;
	MetricsCounter timeout_calls[2]; /* by whether it timed out */
	MetricsHistogram timeout_seconds;
	MetricsCounter passages[ACCOUNT_PASSAGE_COUNT];
	MetricsCounter opened;
	MetricsGauge state_seconds[BREAKER_STATE_COUNT];
	MetricsGauge state_current[BREAKER_STATE_COUNT];
	MetricsCounter bulkhead_calls[2]; /* by whether it was accepted */
	MetricsGauge running;
	MetricsGauge waiting;
	MetricsHistogram running_seconds;
	MetricsHistogram waiting_seconds;
} AccountMetrics;

extern AccountMetrics account_metrics;

/* Registers them; again is harmless. */
extern void account_metrics_init(void);

/* A call has ended after |elapsed_us|. */
extern void account_metrics_end(AccountVerdict verdict, AccountEnd end, bool was_retried,
								int64_t elapsed_us);

/* An attempt has ended after |elapsed_us| under way. */
extern void account_metrics_attempt(bool is_timed_out, int64_t elapsed_us);

#endif /* ACCOUNT_METRICS_H */
