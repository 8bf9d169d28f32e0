/*
 * event.h
 *		The OrderEvent message: what the outbox stores and Kafka carries (proto/order_event.proto).
 *
 * Pure: no PostgreSQL, no allocation while encoding.
 */
#ifndef EVENT_H
#define EVENT_H

#include <stddef.h>
#include <stdint.h>

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

#endif /* EVENT_H */
