/*
 * delivery.h
 *		The events a publisher has in hand, from the moment it learns of one until its row is
 *		marked.
 *
 * Keeps the rule that makes order hold per order: an event is produced only when the event before
 * it, of the same order, was acknowledged. Knows Kafka and no table: the place of a row it only
 * hands on.
 */
#ifndef DELIVERY_H
#define DELIVERY_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "gaps.h"
#include "kafka.h"
#include "parked.h"
#include "sent_mark.h"
#include "shared.h"

typedef struct Delivery Delivery;

/* An event as learnt from a hint or from the table. */
typedef struct DeliveryEvent
{
	int64 event_id;
	ItemPointerData place;   /* of its row */
	int64 previous_event_id; /* of the same order; 0 for the first */
	int64 order_id;
	int32 order_version;
	int16 event_type;
	int16 attempts; /* that failed by its own fault */
	const char *payload;
	Size payload_size;
	TimestampTz committed_at; /* 0 where not known */
} DeliveryEvent;

typedef enum DeliveryResult
{
	DELIVERY_TAKEN,    /* in hand now */
	DELIVERY_KNOWN,    /* was in hand or finished already */
	DELIVERY_DEFERRED, /* its predecessor is neither in hand nor finished; it stays a gap */
	DELIVERY_PARKED,   /* an event of its order is parked, and it with that (parked.h) */
	DELIVERY_FULL,     /* settings_in_flight_max events are in hand */
} DeliveryResult;

/* An event that failed by its own fault. */
typedef struct DeliveryFailure
{
	int64 event_id;
	int64 order_id;
	const char *error; /* static */
} DeliveryFailure;

/*
 * Starts with nothing in hand, in the current memory context. All four stay the caller's; taking an
 * event closes its gap, giving one back opens it again.
 */
extern Delivery *delivery_new(Channel *channel, Gaps *gaps, const Parked *parked, Kafka *kafka);

/*
 * Takes an event in hand, if that is possible now. |horizon| is for the gap it may leave behind
 * (gaps.h).
 */
extern DeliveryResult delivery_offer(Delivery *delivery, const DeliveryEvent *event,
									 uint64 horizon);

/* Serves the producer, then acts on its reports. Never waits. */
extern void delivery_poll(Delivery *delivery);

/* Copies up to |max| acknowledged events that are not marked yet; returns their number. */
extern int delivery_acknowledged(const Delivery *delivery, SentMark *marks, int max);

/* How many there are, and since when the oldest of them waits (0 for none). */
extern int delivery_acknowledged_count(const Delivery *delivery);
extern TimestampTz delivery_acknowledged_since(const Delivery *delivery);

/*
 * Lets go of acknowledged events, the first |count| that delivery_acknowledged() gave: they are
 * marked.
 */
extern void delivery_marked(Delivery *delivery, int count);

/* Takes one failure from the list of those not recorded yet; false when there is none. */
extern bool delivery_take_failure(Delivery *delivery, DeliveryFailure *failure);

/*
 * How long, in microseconds, the quickest of the latest acknowledgements took from the hand-over to
 * the producer; 0 before the first.
 */
extern int64 delivery_round_trip(const Delivery *delivery);

/* True while no broker can be reached, or nothing is delivered. */
extern bool delivery_is_backing_off(const Delivery *delivery);

/* Events produced and not acknowledged; waiting for their predecessor; all in hand. */
extern int delivery_in_flight(const Delivery *delivery);
extern int delivery_waiting(const Delivery *delivery);
extern int delivery_count(const Delivery *delivery);

/* The lowest event id in hand; PG_INT64_MAX for none. Looks at all of them. */
extern int64 delivery_lowest(const Delivery *delivery);

#endif /* DELIVERY_H */
