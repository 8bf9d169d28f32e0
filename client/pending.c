/*
 * pending.c
 *		Requests that wait for their answers.
 *
 * DESIGN	Free places form a list, the last one used first, so that few places stay in the cache.
 */
#include "pending.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/bytes.h"

#define CAPACITY_FIRST 8
#define NO_PLACE -1

struct PendingPlace
{
	PendingRequest request; /* without callback: free */
	uint32_t generation;
	int32_t next_free;
};

void
pending_init(Pending *pending, int count_max)
{
	assert(count_max >= 1);
	*pending = (Pending){.count_max = count_max, .first_free = NO_PLACE};
}

void
pending_free(Pending *pending)
{
	free(pending->places);
	*pending = (Pending){0};
}

static void
grow(Pending *pending)
{
	int capacity = pending->capacity == 0 ? CAPACITY_FIRST : 2 * pending->capacity;

	if (capacity > pending->count_max)
		capacity = pending->count_max;
	pending->places = bytes_resize(pending->places, (size_t) capacity * sizeof(PendingPlace));
	for (int i = capacity - 1; i >= pending->capacity; i--)
	{
		pending->places[i] = (PendingPlace){.next_free = pending->first_free};
		pending->first_free = i;
	}
	pending->capacity = capacity;
}

static uint64_t
id_of(const Pending *pending, int position)
{
	return (uint64_t) pending->places[position].generation << 32 | (uint32_t) position;
}

uint64_t
pending_add(Pending *pending, const PendingRequest *request)
{
	int position;

	assert(pending->count < pending->count_max);
	assert(request->callback != NULL);
	if (pending->first_free == NO_PLACE)
		grow(pending);
	position = pending->first_free;
	pending->first_free = pending->places[position].next_free;
	pending->places[position].request = *request;
	pending->count++;
	return id_of(pending, position);
}

const PendingRequest *
pending_find(const Pending *pending, uint64_t correlation_id)
{
	uint32_t position = (uint32_t) correlation_id;

	if (position >= (uint32_t) pending->capacity ||
		pending->places[position].request.callback == NULL ||
		id_of(pending, (int) position) != correlation_id)
		return NULL;
	return &pending->places[position].request;
}

bool
pending_take_at(Pending *pending, int position, PendingRequest *request)
{
	PendingPlace *place = &pending->places[position];

	assert(position >= 0 && position < pending->capacity);
	if (place->request.callback == NULL)
		return false;
	*request = place->request;
	place->request = (PendingRequest){0};
	place->generation++;
	place->next_free = pending->first_free;
	pending->first_free = position;
	pending->count--;
	return true;
}

PendingRequest
pending_take(Pending *pending, uint64_t correlation_id)
{
	PendingRequest request;
	bool is_there = pending_find(pending, correlation_id) != NULL &&
					pending_take_at(pending, (int) (uint32_t) correlation_id, &request);

	assert(is_there);
	return request;
}
