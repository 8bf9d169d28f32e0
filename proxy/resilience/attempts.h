/*
 * attempts.h
 *		How often and how long one call may be tried: a limit for each attempt, one for all of them,
 *		one kind of retry that is bought and one that is free.
 *
 * Pure: time is passed in, in microseconds of the monotonic clock.
 */
#ifndef ATTEMPTS_H
#define ATTEMPTS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct AttemptPolicy
{
	int64_t attempt_us;     /* limit of one attempt, > 0 */
	int64_t overall_us;     /* limit of the call with all its attempts and pauses, >= attempt_us */
	int64_t waited_us;      /* spent on the call before; part of overall_us, but for one attempt */
	int64_t retry_delay_us; /* pause before a retry, >= 0 */
	int retries_max;        /* >= 0 */
} AttemptPolicy;

typedef struct Attempts
{
	const AttemptPolicy *policy;
	int64_t begun_us;
	int retries;       /* bought so far */
	bool is_free_used; /* the free retry */
	bool is_hedged;
} Attempts;

/* What ended an attempt without a result. */
typedef enum AttemptFailure
{
	ATTEMPT_UNPROCESSED, /* certainly nobody acted on it */
	ATTEMPT_RETRYABLE,   /* it may have been acted on; repeating it is harmless and may help */
	ATTEMPT_FINAL,       /* repeating it would not help */
} AttemptFailure;

/* A call begins. The policy outlives it. */
extern void attempts_begin(Attempts *attempts, const AttemptPolicy *policy, int64_t now_us);

/* How long an attempt that begins now may take; 0 when the call's time is up. */
extern int64_t attempts_limit(const Attempts *attempts, int64_t now_us);

/*
 * After an attempt that failed: microseconds until the next one, or -1 when there is to be none. An
 * unprocessed attempt is repeated at once and for free, once; else a retry is counted, made after
 * the delay, and only where the overall limit leaves room for it.
 */
extern int64_t attempts_next(Attempts *attempts, AttemptFailure failure, int64_t now_us);

/* Whether a second attempt may be made beside the first one: nothing has been repeated yet. */
extern bool attempts_may_hedge(const Attempts *attempts);

/* It is made: no retry is bought any more. */
extern void attempts_hedge(Attempts *attempts);

#endif /* ATTEMPTS_H */
