/*
 * parked.h
 *		Orders that are parked: behind an event that Kafka refused for good, FAILED or DLQ, all
 *		later events of its order wait until an operator has it sent again.
 *
 * The table parked_order, and a copy of it in the publisher's memory.
 */
#ifndef PARKED_H
#define PARKED_H

#include "postgres.h"

typedef struct Parked Parked;

/* An event that waits no more, and belongs below the head of the gaps as an undecided one. */
typedef struct ParkedEvents
{
	int64 *event_ids;
	int count;
} ParkedEvents;

/* Reads the table. Runs within SPI; the result is in |context|. */
extern Parked *parked_new(MemoryContext context);

/*
 * Whether an event must not be published because of an event of its order that is parked: itself or
 * an earlier one.
 */
extern bool parked_holds(const Parked *parked, int64 order_id, int64 event_id);

/* Parks an order behind this event of it. No effect when it is parked. Runs within SPI. */
extern void parked_add(Parked *parked, int64 order_id, int64 event_id);

/*
 * Releases orders that requeue() put back, PARKED_BATCH at most, and gives all their events from
 * the one that was parked on. Returns how many orders; runs within SPI, allocates in the current
 * memory context. The caller sees to it that none of the events is forgotten when this transaction
 * commits.
 */
extern int parked_take_requeued(Parked *parked, ParkedEvents *events);

/* How many orders are parked. */
extern int parked_count(const Parked *parked);

#endif /* PARKED_H */
