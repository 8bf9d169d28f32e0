/*
 * bulkhead.c
 *		A bulkhead: so many at a time.
 */
#include "resilience/bulkhead.h"

#include <assert.h>

bool
bulkhead_has_place(const Bulkhead *bulkhead)
{
	assert(bulkhead->places > 0);
	return bulkhead->taken < bulkhead->places;
}

bool
bulkhead_enter(Bulkhead *bulkhead)
{
	if (!bulkhead_has_place(bulkhead))
		return false;
	bulkhead->taken++;
	return true;
}

void
bulkhead_leave(Bulkhead *bulkhead)
{
	assert(bulkhead->taken > 0);
	bulkhead->taken--;
}
