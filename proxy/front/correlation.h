/*
 * correlation.h
 *		Which connection, if it is still there, waits for the answer to which running request.
 *
 * Pure: knows neither sockets nor what a request does. All memory is taken at the start.
 */
#ifndef CORRELATION_H
#define CORRELATION_H

#include <stdint.h>
#include <sys/queue.h>

#include "frame.h"

typedef struct Correlation Correlation;
typedef struct CorrelationEntry CorrelationEntry;

/* Whoever waits for answers: a connection. A field of its struct. */
typedef struct CorrelationOwner
{
	LIST_HEAD(CorrelationEntries, CorrelationEntry) entries;
	int count;     /* of its requests under way */
	void *context; /* the struct it is a field of */
} CorrelationOwner;

/* A request that has ended. */
typedef struct CorrelationRequest
{
	CorrelationOwner *owner; /* NULL: it is gone, nobody waits */
	uint64_t correlation_id;
	uint16_t service;
	uint16_t method;
	int64_t started_us; /* as given to correlation_open() */
} CorrelationRequest;

/* A table for |capacity| requests under way. */
extern Correlation *correlation_new(int capacity);

/* Requests may be under way: their tickets are no longer good. */
extern void correlation_free(Correlation *correlation);

/* Requests under way, also of owners that are gone. */
extern int correlation_count(const Correlation *correlation);

/* Makes an owner without requests. */
extern void correlation_owner_init(CorrelationOwner *owner, void *context);

/*
 * Notes a request under way and returns its ticket, which stands for it until correlation_close();
 * NULL when the table is full. A ticket is good for that once: using it again is caught (asserted),
 * also when another request has its place by now.
 */
extern void *correlation_open(Correlation *correlation, CorrelationOwner *owner,
							  const FrameHeader *request, int64_t started_us);

/* Takes the request out. */
extern CorrelationRequest correlation_close(void *ticket);

/* The owner goes: its requests run on, and nobody waits for them. Takes time for its own only. */
extern void correlation_detach(CorrelationOwner *owner);

#endif /* CORRELATION_H */
