/*
 * uuid7.c
 *		UUIDs of version 7.
 *
 * DESIGN	48 bits of time, 4 of version, a counter of 12, 2 of variant, 62 random ones. The
 *			counter starts anywhere in its lower half in each millisecond and has room for 2048
 *			more; when even that is not enough, the time is put forward by a millisecond.
 */
#include "uuid7.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"

#define COUNTER_MAX 0xFFF
#define COUNTER_START_MAX 0x7FF
#define UUID_SIZE 16

/* Random numbers for so many are fetched at once. */
#define RANDOM_POOL_SIZE (512 * UUID7_RANDOM_SIZE)

static void
advance(Uuid7 *uuid7, int64_t wall_ms, const uint8_t random[UUID7_RANDOM_SIZE])
{
	if (wall_ms > uuid7->time_ms)
		uuid7->time_ms = wall_ms;
	else if (uuid7->counter < COUNTER_MAX)
	{
		uuid7->counter++;
		return;
	}
	else
		uuid7->time_ms++;
	uuid7->counter = (random[8] << 8 | random[9]) & COUNTER_START_MAX;
}

void
uuid7_next(Uuid7 *uuid7, int64_t wall_ms, const uint8_t random[UUID7_RANDOM_SIZE],
		   char text[UUID7_TEXT_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t bytes[UUID_SIZE];
	char *end = text;

	advance(uuid7, wall_ms, random);
	for (int i = 0; i < 6; i++)
		bytes[i] = (uint8_t) (uuid7->time_ms >> (40 - 8 * i));
	bytes[6] = (uint8_t) (0x70 | uuid7->counter >> 8);
	bytes[7] = (uint8_t) uuid7->counter;
	memcpy(bytes + 8, random, 8);
	bytes[8] = (bytes[8] & 0x3F) | 0x80;

	for (int i = 0; i < UUID_SIZE; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*end++ = '-';
		*end++ = digits[bytes[i] >> 4];
		*end++ = digits[bytes[i] & 0x0F];
	}
	*end = '\0';
}

/* Waits only on a machine that has just been started. */
static void
fill_with_random(uint8_t *bytes, size_t size)
{
	while (size > 0)
	{
		ssize_t got = getrandom(bytes, size, 0);

		if (got == -1 && errno == EINTR)
			continue;
		if (got == -1)
		{
			perror("the system gives no random numbers");
			abort();
		}
		bytes += got;
		size -= (size_t) got;
	}
}

void
uuid7_make(char text[UUID7_TEXT_SIZE])
{
	static Uuid7 uuid7;
	static uint8_t pool[RANDOM_POOL_SIZE];
	static size_t used = RANDOM_POOL_SIZE;

	if (used == RANDOM_POOL_SIZE)
	{
		fill_with_random(pool, sizeof(pool));
		used = 0;
	}
	uuid7_next(&uuid7, clock_wall_us() / CLOCK_MS, pool + used, text);
	used += UUID7_RANDOM_SIZE;
}
