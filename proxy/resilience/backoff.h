/*
 * backoff.h
 *		Pauses between attempts at something that fails: they grow by 1.6 up to a limit, and each is
 *		shifted by up to a fifth, so that many who lost the same server do not return together.
 *
 * Pure, but for the chance. All times are in microseconds.
 */
#ifndef BACKOFF_H
#define BACKOFF_H

#include <stdint.h>

typedef struct Backoff
{
	int64_t first_us; /* > 0 */
	int64_t limit_us; /* >= first_us */
	int64_t next_us;  /* the next pause, before it is shifted; 0: the first one */
} Backoff;

/* The pause after one more failure. */
extern int64_t backoff_next(Backoff *backoff);

/* After a success: the next pause is the first one again. */
extern void backoff_reset(Backoff *backoff);

/* |pause_us| shifted by up to a fifth either way. */
extern int64_t backoff_shift(int64_t pause_us);

#endif /* BACKOFF_H */
