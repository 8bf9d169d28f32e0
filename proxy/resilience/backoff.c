/*
 * backoff.c
 *		Pauses between attempts at something that fails (gRPC's connection back-off).
 */
#include "resilience/backoff.h"

#include <assert.h>
#include <stdlib.h>

/* 1.6 */
#define GROWTH_NUMERATOR 8
#define GROWTH_DENOMINATOR 5

/* The shift is at most this part of the pause, in steps that are fine enough. */
#define SHIFT_DIVISOR 5
#define SHIFT_STEPS 1000

int64_t
backoff_shift(int64_t pause_us)
{
	int64_t range_us = pause_us / SHIFT_DIVISOR;
	int64_t step = (int64_t) arc4random_uniform(2 * SHIFT_STEPS + 1) - SHIFT_STEPS;

	assert(pause_us >= 0 && pause_us < INT64_MAX / SHIFT_STEPS);
	return pause_us + range_us * step / SHIFT_STEPS;
}

int64_t
backoff_next(Backoff *backoff)
{
	int64_t pause_us = backoff->next_us == 0 ? backoff->first_us : backoff->next_us;

	assert(backoff->first_us > 0);
	assert(backoff->limit_us >= backoff->first_us);
	if (pause_us > backoff->limit_us / GROWTH_NUMERATOR * GROWTH_DENOMINATOR)
		backoff->next_us = backoff->limit_us;
	else
		backoff->next_us = pause_us * GROWTH_NUMERATOR / GROWTH_DENOMINATOR;
	return backoff_shift(pause_us);
}

void
backoff_reset(Backoff *backoff)
{
	backoff->next_us = 0;
}
