/*
 * attempts.c
 *		How often and how long one call may be tried.
 *
 * DESIGN	The limit of one attempt cuts the tail, the overall limit keeps attempts and pauses
 *			together below what the client was promised: 50 + 10 + 50 ms would break 100 ms, so the
 *			second attempt gets what is left of 90. What the client has waited before the call
 *			counts too, since the promise was made to the client; but a slow database must not have
 *			a service refused that would answer at once, so one whole attempt is always left.
 */
#include "resilience/attempts.h"

#include <assert.h>
#include <stddef.h>

void
attempts_begin(Attempts *attempts, const AttemptPolicy *policy, int64_t now_us)
{
	assert(policy->attempt_us > 0 && policy->overall_us >= policy->attempt_us);
	assert(policy->retry_delay_us >= 0 && policy->retries_max >= 0 && policy->waited_us >= 0);
	*attempts = (Attempts){.policy = policy, .begun_us = now_us};
}

static int64_t
left(const Attempts *attempts, int64_t now_us)
{
	const AttemptPolicy *policy = attempts->policy;
	int64_t spare_us = policy->overall_us - policy->attempt_us;
	int64_t waited_us = policy->waited_us < spare_us ? policy->waited_us : spare_us;
	int64_t left_us = policy->overall_us - waited_us - (now_us - attempts->begun_us);

	assert(now_us >= attempts->begun_us);
	return left_us > 0 ? left_us : 0;
}

int64_t
attempts_limit(const Attempts *attempts, int64_t now_us)
{
	int64_t left_us = left(attempts, now_us);

	return left_us < attempts->policy->attempt_us ? left_us : attempts->policy->attempt_us;
}

int64_t
attempts_next(Attempts *attempts, AttemptFailure failure, int64_t now_us)
{
	const AttemptPolicy *policy = attempts->policy;

	if (failure == ATTEMPT_FINAL || left(attempts, now_us) == 0)
		return -1;
	if (failure == ATTEMPT_UNPROCESSED && !attempts->is_free_used)
	{
		attempts->is_free_used = true;
		return 0;
	}
	if (attempts->is_hedged || attempts->retries == policy->retries_max ||
		left(attempts, now_us) <= policy->retry_delay_us)
		return -1;
	attempts->retries++;
	return policy->retry_delay_us;
}

bool
attempts_may_hedge(const Attempts *attempts)
{
	return !attempts->is_hedged && !attempts->is_free_used && attempts->retries == 0;
}

void
attempts_hedge(Attempts *attempts)
{
	assert(attempts_may_hedge(attempts));
	attempts->is_hedged = true;
}
