/*
 * pending.h
 *		Requests that wait for their answers, by correlation id.
 *
 * Pure. A correlation id is the position in a table and, above it, the generation of its use: an
 * answer finds its request without a search, and one that comes twice, or too late, finds nothing.
 */
#ifndef PENDING_H
#define PENDING_H

#include <stdbool.h>
#include <stdint.h>

struct ClientAnswer;

typedef struct PendingRequest
{
	void (*callback)(void *context, const struct ClientAnswer *answer);
	void *context;
	uint64_t stream_offset; /* where it begins, of all bytes of its connection */
	uint16_t service;
	uint16_t method;
} PendingRequest;

typedef struct PendingPlace PendingPlace;

typedef struct Pending
{
	PendingPlace *places;
	int capacity; /* grows up to count_max */
	int count;
	int count_max;
	int32_t first_free;
} Pending;

/* An empty table for at most |count_max| requests, 1 or more. */
extern void pending_init(Pending *pending, int count_max);

/* Frees the table. Nobody is called. */
extern void pending_free(Pending *pending);

/* Adds a request, which has a callback, and returns its correlation id. There must be room. */
extern uint64_t pending_add(Pending *pending, const PendingRequest *request);

/* The request with this correlation id, valid until the next change; NULL when there is none. */
extern const PendingRequest *pending_find(const Pending *pending, uint64_t correlation_id);

/* Takes a request out that pending_find() finds. */
extern PendingRequest pending_take(Pending *pending, uint64_t correlation_id);

/* Takes the request at a position below |capacity| out; false when there is none. */
extern bool pending_take_at(Pending *pending, int position, PendingRequest *request);

#endif /* PENDING_H */
