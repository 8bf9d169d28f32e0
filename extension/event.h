/*
 * event.h
 *		The OrderEvent message: what the outbox stores and Kafka carries (proto/order_event.proto).
 *
 * Pure: no PostgreSQL, no allocation.
 */
#ifndef EVENT_H
#define EVENT_H

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bounds.h"
#include "rules.h"

/* The state of an order right after the change that the event tells of. */
typedef struct Event
{
	int64_t order_id;
	int64_t account_id;
	const char *symbol; /* terminated */
	int side;
	int order_type;
	int time_in_force;
	int status;
	int event_type;
	int reason; /* REASON_NONE leaves the field empty */
	int32_t order_version;
	int64_t quantity;
	int64_t price;
	int64_t filled_quantity;
	int64_t created_at_ms;  /* since 1970-01-01 UTC */
	const char *reserve_id; /* terminated; "" where there was no reservation step */
} Event;

/*
 * Encodes |event| as a protobuf OrderEvent into |buffer|. Returns the number of bytes written, or 0
 * when |size| is too small; EVENT_BYTES_MAX always suffices for texts within bounds.h.
 */
extern size_t event_encode(const Event *event, uint8_t *buffer, size_t size);

/* Where the texts of a decoded event are; the caller's, and nothing to be freed. */
typedef struct EventTexts
{
	alignas(max_align_t) uint8_t bytes[2 * EVENT_BYTES_MAX];
} EventTexts;

/*
 * Decodes what event_encode() has written; the texts of |event| point into |texts|. False when the
 * bytes are anything else: cut off, with a field or a code that is not known, with a text that is
 * not printable ASCII. So what was decoded says all that the bytes say, and every code in it has a
 * name.
 */
extern bool event_decode(const uint8_t *payload, size_t size, Event *event, EventTexts *texts);

#endif /* EVENT_H */
