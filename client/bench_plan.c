/*
 * bench_plan.c
 *		What order-bench asks for.
 *
 * DESIGN	The payload of a new order is packed once for each symbol and side. Its last field is
 *			the key, so another key is written over the last bytes. The session id has the same
 *			field number in all messages, so it is packed once, too, and put in front. Fewer
 *			sessions than connections: each connection logs in with one. More: each request names
 *			the next.
 */
#include "bench_plan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define KEY_LENGTH (UUID7_TEXT_SIZE - 1)

/* How often an order that can still be canceled is looked for. */
#define CANCEL_TRIES 4

typedef struct Packed
{
	size_t size;
	uint8_t *bytes;
} Packed;

struct BenchPlan
{
	const BenchOptions *options;
	uint64_t random;
	Packed *shapes; /* a new order of each symbol and side, with some key at its end */
	int shape_count;
	Packed *sessions; /* the field with the session id; NULL when connections log in */
	int session_next;
};

/* splitmix64: good enough to mix requests, and the same everywhere. */
static uint64_t
next_random(BenchPlan *plan)
{
	uint64_t value = (plan->random += UINT64_C(0x9E3779B97F4A7C15));

	value = (value ^ value >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	value = (value ^ value >> 27) * UINT64_C(0x94D049BB133111EB);
	return value ^ value >> 31;
}

/* Within 0 to |count| - 1; the bias is far below what a benchmark could notice. */
static int
pick(BenchPlan *plan, int count)
{
	return (int) (next_random(plan) % (uint64_t) count);
}

static Packed
pack(const ProtobufCMessage *message)
{
	Packed packed = {.size = protobuf_c_message_get_packed_size(message)};

	packed.bytes = bytes_new(packed.size + 1);
	protobuf_c_message_pack(message, packed.bytes);
	return packed;
}

static Packed
pack_shape(const BenchOptions *options, char *symbol, OrderService__V1__Side side)
{
	OrderService__V1__PlaceOrderRequest request = ORDER_SERVICE__V1__PLACE_ORDER_REQUEST__INIT;
	char key[UUID7_TEXT_SIZE];

	memset(key, '-', KEY_LENGTH);
	key[KEY_LENGTH] = '\0';
	request.symbol = symbol;
	request.side = side;
	request.order_type = options->price == 0 ? ORDER_SERVICE__V1__ORDER_TYPE__MARKET
											 : ORDER_SERVICE__V1__ORDER_TYPE__LIMIT;
	request.quantity = options->quantity;
	request.price = options->price;
	request.time_in_force = ORDER_SERVICE__V1__TIME_IN_FORCE__DAY;
	request.idempotency_key = key;
	return pack(&request.base);
}

static void
pack_shapes(BenchPlan *plan)
{
	const BenchOptions *options = plan->options;

	plan->shapes = bytes_new_zeroed(2 * (size_t) options->symbol_count, sizeof(Packed));
	for (int i = 0; i < options->symbol_count; i++)
	{
		if (options->is_buying)
			plan->shapes[plan->shape_count++] =
				pack_shape(options, options->symbols[i], ORDER_SERVICE__V1__SIDE__BUY);
		if (options->is_selling)
			plan->shapes[plan->shape_count++] =
				pack_shape(options, options->symbols[i], ORDER_SERVICE__V1__SIDE__SELL);
	}
}

static void
pack_sessions(BenchPlan *plan)
{
	const BenchOptions *options = plan->options;

	if (options->session_count <= options->connection_count)
		return;
	plan->sessions = bytes_new_zeroed((size_t) options->session_count, sizeof(Packed));
	for (int i = 0; i < options->session_count; i++)
	{
		OrderService__V1__LoginRequest request = ORDER_SERVICE__V1__LOGIN_REQUEST__INIT;

		request.session_id = options->sessions[i];
		plan->sessions[i] = pack(&request.base);
	}
}

BenchPlan *
bench_plan_new(const BenchOptions *options)
{
	BenchPlan *plan = bytes_new_zeroed(1, sizeof(BenchPlan));

	plan->options = options;
	plan->random = options->seed;
	pack_shapes(plan);
	pack_sessions(plan);
	return plan;
}

void
bench_plan_free(BenchPlan *plan)
{
	for (int i = 0; i < plan->shape_count; i++)
		free(plan->shapes[i].bytes);
	free(plan->shapes);
	for (int i = 0; plan->sessions != NULL && i < plan->options->session_count; i++)
		free(plan->sessions[i].bytes);
	free(plan->sessions);
	free(plan);
}

int
bench_plan_login(const BenchPlan *plan, int connection)
{
	return plan->sessions == NULL ? connection % plan->options->session_count : -1;
}

/* ----- History ----------------------------------------------------------------------------- */

void
bench_history_init(BenchHistory *history, const BenchOptions *options)
{
	*history = (BenchHistory){0};
	if (options->repeat_percent + options->cancel_percent == 0)
		return;
	history->capacity = BENCH_HISTORY_MAX / options->connection_count;
	if (history->capacity > BENCH_HISTORY_OF_CONNECTION_MAX)
		history->capacity = BENCH_HISTORY_OF_CONNECTION_MAX;
	if (history->capacity < 1)
		history->capacity = 1;
	history->placed = bytes_new_zeroed((size_t) history->capacity, sizeof(BenchPlaced));
}

void
bench_history_free(BenchHistory *history)
{
	free(history->placed);
	*history = (BenchHistory){0};
}

void
bench_history_add(BenchHistory *history, const BenchRequest *request, int64_t order_id,
				  bool is_accepted)
{
	BenchPlaced *placed;

	if (history->capacity == 0 || order_id == 0)
		return;
	placed = &history->placed[history->next];
	*placed = (BenchPlaced){.order_id = order_id,
							.shape = request->shape,
							.session = request->session,
							.is_cancelable = is_accepted};
	memcpy(placed->key, request->key, sizeof(placed->key));
	history->next = (history->next + 1) % history->capacity;
	if (history->count < history->capacity)
		history->count++;
}

/* ----- The next request -------------------------------------------------------------------- */

static void
plan_place(BenchPlan *plan, BenchRequest *request)
{
	request->kind = BENCH_PLACE;
	request->shape = pick(plan, plan->shape_count);
	request->order_id = 0;
	request->session = -1;
	if (plan->sessions != NULL)
	{
		request->session = plan->session_next;
		plan->session_next = (plan->session_next + 1) % plan->options->session_count;
	}
	uuid7_make(request->key);
}

static void
plan_repeat(BenchPlan *plan, const BenchHistory *history, BenchRequest *request)
{
	const BenchPlaced *placed = &history->placed[pick(plan, history->count)];

	request->kind = BENCH_REPEAT;
	request->shape = placed->shape;
	request->session = placed->session;
	request->order_id = placed->order_id;
	memcpy(request->key, placed->key, sizeof(request->key));
}

/* False when no order that can be canceled was found. */
static bool
plan_cancel(BenchPlan *plan, BenchHistory *history, BenchRequest *request)
{
	for (int i = 0; i < CANCEL_TRIES; i++)
	{
		BenchPlaced *placed = &history->placed[pick(plan, history->count)];

		if (!placed->is_cancelable)
			continue;
		placed->is_cancelable = false;
		request->kind = BENCH_CANCEL;
		request->shape = placed->shape;
		request->session = placed->session;
		request->order_id = placed->order_id;
		uuid7_make(request->key);
		return true;
	}
	return false;
}

void
bench_plan_next(BenchPlan *plan, BenchHistory *history, BenchRequest *request)
{
	int percent = pick(plan, 100);
	int repeat_below = plan->options->repeat_percent;
	int cancel_below = repeat_below + plan->options->cancel_percent;

	if (history->count > 0 && percent < repeat_below)
	{
		plan_repeat(plan, history, request);
		return;
	}
	if (history->count > 0 && percent >= repeat_below && percent < cancel_below &&
		plan_cancel(plan, history, request))
		return;
	plan_place(plan, request);
}

/* ----- Payloads ---------------------------------------------------------------------------- */

static size_t
pack_cancel(const BenchPlan *plan, const BenchRequest *request, uint8_t *payload)
{
	OrderService__V1__CancelOrderRequest cancel = ORDER_SERVICE__V1__CANCEL_ORDER_REQUEST__INIT;

	cancel.order_id = request->order_id;
	cancel.idempotency_key = (char *) request->key;
	if (request->session >= 0)
		cancel.session_id = plan->options->sessions[request->session];
	return protobuf_c_message_pack(&cancel.base, payload);
}

size_t
bench_plan_pack(const BenchPlan *plan, const BenchRequest *request,
				uint8_t payload[BENCH_PAYLOAD_SIZE])
{
	const Packed *shape = &plan->shapes[request->shape];
	size_t size = 0;

	if (request->kind == BENCH_CANCEL)
		return pack_cancel(plan, request, payload);
	if (request->session >= 0)
	{
		size = plan->sessions[request->session].size;
		memcpy(payload, plan->sessions[request->session].bytes, size);
	}
	assert(size + shape->size <= BENCH_PAYLOAD_SIZE);
	memcpy(payload + size, shape->bytes, shape->size);
	size += shape->size;
	memcpy(payload + size - KEY_LENGTH, request->key, KEY_LENGTH);
	return size;
}
