/*
 * event.c
 *		The OrderEvent message.
 *
 * DESIGN	Our codes are the protobuf's codes; the static asserts below hold the two lists
 *			together, so that encoding is assignment. The size is asked first: protobuf-c writes
 *			without a bound.
 *
 *			What was decoded is encoded once more and must give the same bytes. That finds whatever
 *			protobuf-c passes over or keeps elsewhere: unknown fields, fields given twice, a zero
 *			byte within a text.
 *
 * LIMITS	Decoding takes its memory from the caller's buffer, of which a message of
 *			EVENT_BYTES_MAX with known fields needs less than three quarters; one that needs more is
 *			refused.
 */
#include "event.h"

#include <assert.h>
#include <string.h>

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

/* The memory that protobuf-c decodes into: handed out front to back, freed as a whole. */
typedef struct Arena
{
	uint8_t *bytes;
	size_t size;
	size_t used;
} Arena;

static void *
arena_allocate(void *data, size_t size)
{
	Arena *arena = data;
	size_t rounded =
		(size + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
	void *result = arena->bytes + arena->used;

	if (rounded < size || rounded > arena->size - arena->used)
		return NULL;
	arena->used += rounded;
	return result;
}

static void
arena_free(void *data, void *pointer)
{
	(void) data;
	(void) pointer;
}

static bool
is_printable(const char *text)
{
	for (; *text != '\0'; text++)
	{
		if (*text < ' ' || *text > '~')
			return false;
	}
	return true;
}

static bool
has_names(const Event *event)
{
	return rules_side_name(event->side) != NULL &&
		   rules_order_type_name(event->order_type) != NULL &&
		   rules_time_in_force_name(event->time_in_force) != NULL &&
		   rules_status_name(event->status) != NULL &&
		   rules_event_type_name(event->event_type) != NULL && reason_name(event->reason) != NULL;
}

static bool
encodes_to(const Event *event, const uint8_t *payload, size_t size)
{
	uint8_t encoded[EVENT_BYTES_MAX];

	return event_encode(event, encoded, sizeof(encoded)) == size &&
		   memcmp(encoded, payload, size) == 0;
}

bool
event_decode(const uint8_t *payload, size_t size, Event *event, EventTexts *texts)
{
	Arena arena = {.bytes = texts->bytes, .size = sizeof(texts->bytes)};
	ProtobufCAllocator allocator = {
		.alloc = arena_allocate, .free = arena_free, .allocator_data = &arena};
	OrderService__V1__OrderEvent *message;

	if (size == 0 || size > EVENT_BYTES_MAX)
		return false;
	message = order_service__v1__order_event__unpack(&allocator, size, payload);
	if (message == NULL)
		return false;
	*event =
		(Event){.order_id = message->order_id,
				.account_id = message->account_id,
				.symbol = message->symbol,
				.side = message->side,
				.order_type = message->order_type,
				.time_in_force = message->time_in_force,
				.status = message->status,
				.event_type = message->event_type,
				.reason = message->reason[0] == '\0' ? REASON_NONE : reason_number(message->reason),
				.order_version = message->order_version,
				.quantity = message->quantity,
				.price = message->price_micro_units,
				.filled_quantity = message->filled_quantity,
				.created_at_ms = message->created_at_millis,
				.reserve_id = message->reserve_id};
	return has_names(event) && is_printable(event->symbol) && is_printable(event->reserve_id) &&
		   encodes_to(event, payload, size);
}
