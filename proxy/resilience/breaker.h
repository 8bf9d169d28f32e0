/*
 * breaker.h
 *		A circuit breaker: stops asking what fails too often, and finds out with one probe whether
 *		it works again.
 *
 * Pure: time is passed in, in microseconds of the monotonic clock.
 */
#ifndef BREAKER_H
#define BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bounds.h"

typedef enum BreakerState
{
	BREAKER_CLOSED,    /* everything goes through */
	BREAKER_OPEN,      /* nothing does, for a time */
	BREAKER_HALF_OPEN, /* a probe does, then nothing until its result */
} BreakerState;

#define BREAKER_STATE_COUNT 3

typedef struct Breaker
{
	int window;           /* results that are looked at, 1 to BREAKER_WINDOW_MAX */
	int failures_percent; /* of them that open it, 1 to 100 */
	int64_t open_us;      /* > 0 */

	BreakerState state;
	uint64_t generation; /* counts changes of the state */
	int64_t opened_us;
	bool is_probing;
	int count; /* results in the window */
	int next;  /* where the next one goes */
	int failures;
	uint64_t failed[BREAKER_WINDOW_MAX / 64]; /* a bit for each result */
} Breaker;

/* What an attempt was allowed with; its result comes back with it. */
typedef uint64_t BreakerPass;

/* Closed, with an empty window. */
extern void breaker_init(Breaker *breaker, int window, int failures_percent, int64_t open_us);

/* The same values as in breaker_init(). Another window begins empty; the state stays. */
extern void breaker_configure(Breaker *breaker, int window, int failures_percent, int64_t open_us);

/* Whether an attempt would get through now. Takes nothing. */
extern bool breaker_is_passable(const Breaker *breaker, int64_t now_us);

/*
 * Lets an attempt through, or refuses it. Open for long enough, it becomes half-open, and the first
 * that asks is the probe. Whoever has a pass gives it back, by breaker_record() or
 * breaker_withdraw(): a probe without an end would keep the breaker half-open.
 */
extern bool breaker_enter(Breaker *breaker, int64_t now_us, BreakerPass *pass);

/*
 * An attempt has ended; ignored when the state has changed since it got its pass. Returns whether
 * this has opened the breaker.
 */
extern bool breaker_record(Breaker *breaker, BreakerPass pass, bool is_success, int64_t now_us);

/* An attempt was not made, or says nothing about the other side. A probe leaves room for another.
 */
extern void breaker_withdraw(Breaker *breaker, BreakerPass pass);

/* By hand: closed, with an empty window; results of attempts under way are ignored. */
extern void breaker_reset(Breaker *breaker);

/* The state as an attempt would meet it. */
extern BreakerState breaker_state(const Breaker *breaker, int64_t now_us);

/* "closed", "open", "half-open". */
extern const char *breaker_state_name(BreakerState state);

#endif /* BREAKER_H */
