/*
 * transition.c
 *		Changes of orders with their events.
 *
 * FAILURE	Order and event are rows of one transaction: no crash leaves one without the other.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/timestamp.h"

#include "bounds.h"
#include "event.h"
#include "outbox.h"
#include "transition.h"

static int64
to_unix_ms(TimestampTz time)
{
	return time / 1000 +
		   (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * INT64CONST(1000);
}

static void
encode(const Order *order, OutboxEvent *outbox_event)
{
	Event event = {
		.order_id = order->order_id,
		.account_id = order->account_id,
		.symbol = order->symbol,
		.side = order->side,
		.order_type = order->order_type,
		.time_in_force = order->time_in_force,
		.status = order->status,
		.event_type = outbox_event->event_type,
		.reason = order->reason,
		.order_version = order->order_version,
		.quantity = order->quantity,
		.price = order->price,
		.filled_quantity = order->filled_quantity,
		.created_at_ms = to_unix_ms(order->created_at),
		.reserve_id = order->reserve_id != NULL ? order->reserve_id : "",
	};
	uint8 *payload = palloc(EVENT_BYTES_MAX);

	outbox_event->payload = payload;
	outbox_event->payload_size = event_encode(&event, payload, EVENT_BYTES_MAX);
	if (outbox_event->payload_size == 0)
		elog(ERROR, "event of order " INT64_FORMAT " is larger than %d bytes", order->order_id,
			 EVENT_BYTES_MAX);
}

void
transition_write(Order **orders, const EventType *event_types, int count, bool is_new)
{
	OutboxEvent *events = palloc0(sizeof(OutboxEvent) * Max(count, 1));
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	int64 first_event_id = count > 0 ? outbox_take_ids(count) : 0;

	for (int i = 0; i < count; i++)
	{
		Order *order = orders[i];

		Assert(i == 0 || orders[i - 1]->order_id < order->order_id);
		events[i].event_id = first_event_id + i;
		events[i].previous_event_id = order->last_event_id;
		events[i].order_id = order->order_id;
		events[i].account_id = order->account_id;
		events[i].event_type = (int16) event_types[i];
		order->last_event_id = events[i].event_id;
		order->order_version++;
		events[i].order_version = order->order_version;
		order->updated_at = now;
		if (is_new)
			order->created_at = now;
	}
	if (is_new)
		orders_insert(orders, count);
	else
		orders_update(orders, count);
	for (int i = 0; i < count; i++)
		encode(orders[i], &events[i]);
	outbox_append(events, count);
}
