/*
 * clock.h
 *		Time, in microseconds.
 *
 * Timeouts, leases and latencies use the monotonic clock only; the wall clock is for people.
 */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>

#define CLOCK_MS INT64_C(1000)
#define CLOCK_SECOND INT64_C(1000000)

/* Microseconds since some moment of the past; never goes back. */
extern int64_t clock_now_us(void);

/* Microseconds since 1970-01-01 UTC, as the machine believes. */
extern int64_t clock_wall_us(void);

#endif /* CLOCK_H */
