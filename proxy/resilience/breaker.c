/*
 * breaker.c
 *		A circuit breaker over a window that counts results.
 *
 * DESIGN	The last results are bits of a ring. The ratio is looked at after every result, also a
 *			success: the one that fills the window may open it. A window that is not full never
 *			does, so that a few failures after a start, or after a probe, stop nothing.
 *
 *			The state is changed by whoever asks, not by a timer: nothing has to run for it.
 */
#include "resilience/breaker.h"

#include <assert.h>
#include <string.h>

#define WORD_BITS 64

static void
change_state(Breaker *breaker, BreakerState state)
{
	breaker->state = state;
	breaker->generation++;
	breaker->is_probing = false;
	breaker->count = 0;
	breaker->next = 0;
	breaker->failures = 0;
	memset(breaker->failed, 0, sizeof(breaker->failed));
}

void
breaker_init(Breaker *breaker, int window, int failures_percent, int64_t open_us)
{
	memset(breaker, 0, sizeof(*breaker));
	breaker_configure(breaker, window, failures_percent, open_us);
	change_state(breaker, BREAKER_CLOSED);
}

void
breaker_configure(Breaker *breaker, int window, int failures_percent, int64_t open_us)
{
	assert(window > 0 && window <= BREAKER_WINDOW_MAX);
	assert(failures_percent > 0 && failures_percent <= 100 && open_us > 0);
	breaker->failures_percent = failures_percent;
	breaker->open_us = open_us;
	if (breaker->window == window)
		return;
	breaker->window = window;
	/* Passes of an open or half-open breaker stay good: their window is empty anyway. */
	if (breaker->state == BREAKER_CLOSED)
		change_state(breaker, BREAKER_CLOSED);
}

static bool
is_rest_over(const Breaker *breaker, int64_t now_us)
{
	return now_us - breaker->opened_us >= breaker->open_us;
}

bool
breaker_is_passable(const Breaker *breaker, int64_t now_us)
{
	switch (breaker->state)
	{
		case BREAKER_OPEN:
			return is_rest_over(breaker, now_us);
		case BREAKER_HALF_OPEN:
			return !breaker->is_probing;
		default:
			return true;
	}
}

bool
breaker_enter(Breaker *breaker, int64_t now_us, BreakerPass *pass)
{
	if (!breaker_is_passable(breaker, now_us))
		return false;
	if (breaker->state == BREAKER_OPEN)
		change_state(breaker, BREAKER_HALF_OPEN);
	breaker->is_probing = breaker->state == BREAKER_HALF_OPEN;
	*pass = breaker->generation;
	return true;
}

static void
open_up(Breaker *breaker, int64_t now_us)
{
	change_state(breaker, BREAKER_OPEN);
	breaker->opened_us = now_us;
}

/* Replaces the oldest result of a full window. */
static void
remember(Breaker *breaker, bool is_success)
{
	uint64_t *word = &breaker->failed[breaker->next / WORD_BITS];
	uint64_t bit = UINT64_C(1) << (breaker->next % WORD_BITS);

	if (breaker->count < breaker->window)
		breaker->count++;
	else if ((*word & bit) != 0)
		breaker->failures--;
	if (is_success)
		*word &= ~bit;
	else
	{
		*word |= bit;
		breaker->failures++;
	}
	breaker->next = (breaker->next + 1) % breaker->window;
}

bool
breaker_record(Breaker *breaker, BreakerPass pass, bool is_success, int64_t now_us)
{
	if (pass != breaker->generation)
		return false;
	assert(breaker->state != BREAKER_OPEN);
	if (breaker->state == BREAKER_HALF_OPEN)
	{
		if (is_success)
			change_state(breaker, BREAKER_CLOSED);
		else
			open_up(breaker, now_us);
		return !is_success;
	}
	remember(breaker, is_success);
	if (breaker->count < breaker->window ||
		breaker->failures * 100 < breaker->window * breaker->failures_percent)
		return false;
	open_up(breaker, now_us);
	return true;
}

void
breaker_withdraw(Breaker *breaker, BreakerPass pass)
{
	if (pass == breaker->generation)
		breaker->is_probing = false;
}

void
breaker_reset(Breaker *breaker)
{
	change_state(breaker, BREAKER_CLOSED);
}

BreakerState
breaker_state(const Breaker *breaker, int64_t now_us)
{
	if (breaker->state == BREAKER_OPEN && is_rest_over(breaker, now_us))
		return BREAKER_HALF_OPEN;
	return breaker->state;
}

const char *
breaker_state_name(BreakerState state)
{
	static const char *const names[BREAKER_STATE_COUNT] = {"closed", "open", "half-open"};

	assert((int) state >= 0 && (int) state < BREAKER_STATE_COUNT);
	return names[state];
}
