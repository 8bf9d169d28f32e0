/*
 * uuid7.h
 *		UUIDs of version 7 (RFC 9562): time first, so that keys made one after another lie side by
 *		side in an index.
 */
#ifndef UUID7_H
#define UUID7_H

#include <stdint.h>

/* "0198c5a2-7d0e-7c3a-9f2b-0123456789ab" and its terminator. */
#define UUID7_TEXT_SIZE 37

/* Random bytes that one UUID needs. */
#define UUID7_RANDOM_SIZE 10

/* Remembers the last UUID, so that the next one sorts behind it. Zeroed before its first use. */
typedef struct Uuid7
{
	int64_t time_ms;
	int counter; /* within time_ms, 12 bits */
} Uuid7;

/*
 * Writes the next UUID. Each sorts behind the one before, also within a millisecond and when the
 * clock goes back. Pure: |wall_ms| is the time since 1970-01-01 UTC, |random| is fresh for each.
 */
extern void uuid7_next(Uuid7 *uuid7, int64_t wall_ms, const uint8_t random[UUID7_RANDOM_SIZE],
					   char text[UUID7_TEXT_SIZE]);

/*
 * Writes a UUID made of the machine's clock and the system's random numbers, for one process and
 * thread. Cheap: random numbers are fetched for many at once.
 */
extern void uuid7_make(char text[UUID7_TEXT_SIZE]);

#endif /* UUID7_H */
