/*
 * correlation.c
 *		Which connection waits for the answer to which running request.
 *
 * DESIGN	A slab of entries of one cache line, aligned to it, so that the low bits of an entry's
 *			address are free: a ticket has the entry's generation there. Free entries are used again
 *			in the order they became free, and a new one is touched only when none is free: memory
 *			in use is that of the most requests ever under way. A ticket used twice is caught
 *			unless exactly a multiple of GENERATION_COUNT requests had the entry in between.
 */
#include "front/correlation.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fault_point.h"

#define GENERATION_COUNT 64

struct CorrelationEntry
{
	_Alignas(GENERATION_COUNT) Correlation *table;
	CorrelationOwner *owner; /* NULL: gone */
	union
	{
		LIST_ENTRY(CorrelationEntry) of_owner; /* open, with an owner */
		STAILQ_ENTRY(CorrelationEntry) free;   /* not open */
	} link;
	uint64_t correlation_id;
	int64_t started_us;
	uint16_t service;
	uint16_t method;
	uint8_t generation;
	bool is_open;
};

static_assert(sizeof(CorrelationEntry) == GENERATION_COUNT, "an entry is a cache line");

struct Correlation
{
	CorrelationEntry *entries;
	int capacity;
	int touched; /* entries that were ever used: those before this one */
	int open;
	STAILQ_HEAD(, CorrelationEntry) free;
};

Correlation *
correlation_new(int capacity)
{
	Correlation *correlation = malloc(sizeof(*correlation));
	CorrelationEntry *entries =
		aligned_alloc(GENERATION_COUNT, sizeof(CorrelationEntry) * (size_t) capacity);

	assert(capacity > 0);
	if (correlation == NULL || entries == NULL)
	{
		fputs("out of memory for the requests under way\n", stderr);
		abort();
	}
	*correlation = (Correlation){.entries = entries, .capacity = capacity};
	STAILQ_INIT(&correlation->free);
	return correlation;
}

void
correlation_free(Correlation *correlation)
{
	free(correlation->entries);
	free(correlation);
}

int
correlation_count(const Correlation *correlation)
{
	return correlation->open;
}

void
correlation_owner_init(CorrelationOwner *owner, void *context)
{
	LIST_INIT(&owner->entries);
	owner->count = 0;
	owner->context = context;
}

/* An entry for a new request, of the next generation; NULL when all are in use. */
static CorrelationEntry *
take_entry(Correlation *correlation)
{
	CorrelationEntry *entry = STAILQ_FIRST(&correlation->free);
	uint8_t generation = 0;

	if (entry != NULL)
	{
		assert(!entry->is_open);
		STAILQ_REMOVE_HEAD(&correlation->free, link.free);
		generation = (uint8_t) ((entry->generation + 1) % GENERATION_COUNT);
	}
	else if (correlation->touched < correlation->capacity)
		entry = &correlation->entries[correlation->touched++];
	else
		return NULL;
	*entry = (CorrelationEntry){.table = correlation, .generation = generation, .is_open = true};
	return entry;
}

void *
correlation_open(Correlation *correlation, CorrelationOwner *owner, const FrameHeader *request,
				 int64_t started_us)
{
	CorrelationEntry *entry = take_entry(correlation);

	if (entry == NULL)
		return NULL;
	entry->owner = owner;
	entry->correlation_id = request->correlation_id;
	entry->service = request->service;
	entry->method = request->method;
	entry->started_us = started_us;
	LIST_INSERT_HEAD(&owner->entries, entry, link.of_owner);
	owner->count++;
	correlation->open++;
	fault_point("read", "client");
	return (uint8_t *) entry + entry->generation;
}

CorrelationRequest
correlation_close(void *ticket)
{
	uintptr_t generation = (uintptr_t) ticket % GENERATION_COUNT;
	CorrelationEntry *entry = (CorrelationEntry *) (void *) ((uint8_t *) ticket - generation);
	CorrelationRequest request;

	assert(entry->is_open);
	assert(entry->generation == generation);
	request = (CorrelationRequest){.owner = entry->owner,
								   .correlation_id = entry->correlation_id,
								   .service = entry->service,
								   .method = entry->method,
								   .started_us = entry->started_us};
	if (entry->owner != NULL)
	{
		LIST_REMOVE(entry, link.of_owner);
		assert(entry->owner->count > 0);
		entry->owner->count--;
	}
	entry->is_open = false;
	assert(entry->table->open > 0);
	entry->table->open--;
	STAILQ_INSERT_TAIL(&entry->table->free, entry, link.free);
	return request;
}

void
correlation_detach(CorrelationOwner *owner)
{
	CorrelationEntry *entry;

	while ((entry = LIST_FIRST(&owner->entries)) != NULL)
	{
		LIST_REMOVE(entry, link.of_owner);
		entry->owner = NULL;
		owner->count--;
	}
	assert(owner->count == 0);
}
