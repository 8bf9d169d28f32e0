/*
 * clock.c
 *		Time, in microseconds.
 */
#include "base/clock.h"

#include <assert.h>
#include <time.h>

static int64_t
read_us(clockid_t clock)
{
	struct timespec time;
	int result = clock_gettime(clock, &time);

	assert(result == 0);
	return (int64_t) time.tv_sec * CLOCK_SECOND + time.tv_nsec / 1000;
}

int64_t
clock_now_us(void)
{
	return read_us(CLOCK_MONOTONIC);
}

int64_t
clock_wall_us(void)
{
	return read_us(CLOCK_REALTIME);
}
