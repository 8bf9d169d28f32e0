/*
 * bulkhead.h
 *		A bulkhead: so many at a time, and nobody waits for a place.
 */
#ifndef BULKHEAD_H
#define BULKHEAD_H

#include <stdbool.h>

typedef struct Bulkhead
{
	int places; /* > 0; may become fewer than are taken: then nobody enters until they have left */
	int taken;
} Bulkhead;

/* Whether a place is free. */
extern bool bulkhead_has_place(const Bulkhead *bulkhead);

/* Takes a place; false when there is none. */
extern bool bulkhead_enter(Bulkhead *bulkhead);

/* Gives a place back. */
extern void bulkhead_leave(Bulkhead *bulkhead);

#endif /* BULKHEAD_H */
