/*
 * event.c
 *		The OrderEvent message.
 *
 * DESIGN	Our codes are the protobuf's codes; the static asserts below hold the two lists
 *			together, so that encoding is assignment. The size is asked first: protobuf-c writes
 *			without a bound.
 */
#include "event.h"

#include <assert.h>

#include "order_event.pb-c.h"

#define SAME(ours, theirs) static_assert((int) (ours) == (int) ORDER_SERVICE__V1__##theirs, #theirs)

SAME(SIDE_BUY, SIDE__BUY);
SAME(SIDE_SELL, SIDE__SELL);
SAME(ORDER_TYPE_MARKET, ORDER_TYPE__MARKET);
SAME(ORDER_TYPE_LIMIT, ORDER_TYPE__LIMIT);
SAME(TIME_IN_FORCE_DAY, TIME_IN_FORCE__DAY);
SAME(TIME_IN_FORCE_FOK, TIME_IN_FORCE__FOK);
SAME(STATUS_RECEIVED, ORDER_STATUS__RECEIVED);
SAME(STATUS_CANCEL_REQUESTED, ORDER_STATUS__CANCEL_REQUESTED);
SAME(STATUS_REJECTED, ORDER_STATUS__REJECTED);
SAME(EVENT_ORDER_ACCEPTED, ORDER_EVENT_TYPE__ORDER_ACCEPTED);
SAME(EVENT_ORDER_CANCEL_REJECTED, ORDER_EVENT_TYPE__ORDER_CANCEL_REJECTED);

/* protobuf-c declares texts as char * but only reads them here. */
static char *
text_field(const char *text)
{
	union
	{
		const char *in;
		char *out;
	} cast = {.in = text};

	return cast.out;
}

size_t
event_encode(const Event *event, uint8_t *buffer, size_t size)
{
	OrderService__V1__OrderEvent message = ORDER_SERVICE__V1__ORDER_EVENT__INIT;

	assert(event->symbol != NULL);
	assert(event->reserve_id != NULL);
	message.order_id = event->order_id;
	message.account_id = event->account_id;
	message.symbol = text_field(event->symbol);
	message.side = (OrderService__V1__Side) event->side;
	message.order_type = (OrderService__V1__OrderType) event->order_type;
	message.quantity = event->quantity;
	message.price_micro_units = event->price;
	message.time_in_force = (OrderService__V1__TimeInForce) event->time_in_force;
	message.status = (OrderService__V1__OrderStatus) event->status;
	message.reserve_id = text_field(event->reserve_id);
	message.created_at_millis = event->created_at_ms;
	message.event_type = (OrderService__V1__OrderEventType) event->event_type;
	message.order_version = event->order_version;
	message.filled_quantity = event->filled_quantity;
	if (event->reason != REASON_NONE)
		message.reason = text_field(reason_name(event->reason));

	if (order_service__v1__order_event__get_packed_size(&message) > size)
		return 0;
	return order_service__v1__order_event__pack(&message, buffer);
}
