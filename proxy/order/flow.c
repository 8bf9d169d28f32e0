/*
 * flow.c
 *		What a request does.
 *
 * DESIGN	A request is a Call that walks through stages; each stage asks the store or Account and
 *			its callback takes the next one:
 *
 *				decode ─► session ─┬─► receive ─► reserve ─► settle ─► answer		place
 *								   └─► one call of the store ───────► answer		all others
 *
 *			A durable intent comes before every effect outside of the database: Account is asked
 *			only once the order is recorded as RECEIVED, and the client hears of an order only once
 *			it is settled. Whoever comes next can then finish or undo it.
 *
 * LIMITS	A request is answered within request_timeout, or when the attempt at Account ends that
 *			is under way then. Settling goes on without the client, for SETTLE_LATE_MS_MAX.
 *
 * FAILURE	If the process dies: before receive, nothing is recorded and the key is unused; between
 *			receive and settle, the order stays RECEIVED and a resolver rejects it and pays for its
 *			hold; after settle, the client asks again by its key.
 */
#include "order/flow.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "order/message.h"
#include "order/session.h"

typedef struct Call Call;

struct Flow
{
	Loop *loop;
	Store *store;
	Account *account;
	const Config *config;
	int pending;
	SessionCache *sessions;
	Bytes answer; /* of the request that is being answered */
	STAILQ_HEAD(, Call) unused;
	MetricsCounter late_settlements;
	MetricsCounter lost_settlements;
};

struct Call
{
	STAILQ_ENTRY(Call) link; /* while unused */
	Flow *flow;
	Session *session;
	uint16_t service;
	uint16_t method;
	uint64_t correlation_id;
	FlowCallback callback; /* NULL: the client has been answered */
	void *context;
	int64_t begun_us;
	int64_t deadline_us;
	int64_t settle_until_us;
	bool is_shared; /* somebody else may be at this order, too */
	const ProtobufCMessage *message;
	const char *session_id; /* that was looked up */
	int64_t account_id;
	StoreItem item;
	MessageArena arena;
};

/* Answering ------------------------------------------------------------------------------------ */

static void
finish(Call *call)
{
	Flow *flow = call->flow;

	assert(call->callback == NULL);
	session_release(call->session);
	message_arena_reset(&call->arena);
	flow->pending--;
	STAILQ_INSERT_HEAD(&flow->unused, call, link);
}

/* Sends what is in flow->answer. The client hears from this call once. */
static void
answer(Call *call, int code, bool is_error)
{
	FlowAnswer result = {.code = code,
						 .is_error = is_error,
						 .payload = call->flow->answer.data,
						 .size = call->flow->answer.size};
	FlowCallback callback = call->callback;

	assert(callback != NULL && result.size <= FRAME_PAYLOAD_MAX);
	call->callback = NULL;
	callback(call->context, &result);
}

static Bytes *
new_answer(Call *call)
{
	bytes_clear(&call->flow->answer);
	return &call->flow->answer;
}

static void
answer_error(Call *call, Reason reason, const char *detail)
{
	message_encode_error(new_answer(call), reason, detail);
	answer(call, (int) reason_code(reason), true);
}

/* The same, and nothing more is to be done. */
static void
refuse(Call *call, Reason reason, const char *detail)
{
	answer_error(call, reason, detail);
	finish(call);
}

/* Whether the store has refused, which is the answer then. */
static bool
is_refused(Call *call, const StoreResult *result)
{
	if (result->code == CODE_OK)
		return false;
	refuse(call, result->reason, result->detail);
	return true;
}

static void
answer_order(Call *call, const StoreResult *result)
{
	message_encode_order_response(new_answer(call), result, clock_wall_us() / CLOCK_MS);
	answer(call, result->code, false);
}

static void
answer_empty(Call *call)
{
	new_answer(call);
	answer(call, CODE_OK, false);
	finish(call);
}

/* Asks the store; the item's arguments have been set. */
static void
ask(Call *call, StoreKind kind, int64_t deadline_us, StoreCallback callback)
{
	call->item.kind = kind;
	call->item.deadline_us = deadline_us;
	call->item.callback = callback;
	call->item.context = call;
	store_submit(call->flow->store, &call->item);
}

/* Placing -------------------------------------------------------------------------------------- */

static void settle(Call *call);

/*
 * Nobody knows whether the settlement was made: ask again, without the client, until it is certain
 * or a resolver has surely taken the order.
 */
static void
settle_late(Call *call, Reason reason)
{
	Flow *flow = call->flow;
	bool may_help = reason == REASON_DATABASE_UNAVAILABLE || reason == REASON_OUTCOME_UNKNOWN;

	if (call->callback != NULL)
		answer_error(call, REASON_OUTCOME_UNKNOWN, NULL);
	if (may_help && loop_now_us(flow->loop) < call->settle_until_us)
	{
		metrics_count(&flow->late_settlements);
		settle(call);
		return;
	}
	metrics_count(&flow->lost_settlements);
	log_event(LOG_ERROR, "order left to the resolver", LOG_NUMBER("order_id", call->item.order_id),
			  LOG_TEXT("reason", reason_name(reason)));
	finish(call);
}

static void
settled(void *context, const StoreResult *result)
{
	Call *call = context;
	StoreResult own = *result;

	if (result->order_id == 0)
	{
		settle_late(call, result->reason);
		return;
	}
	/* A settlement repeated after a lost connection is still this request's first answer. */
	own.is_replayed = false;
	if (call->callback != NULL)
		answer_order(call, &own);
	finish(call);
}

static void
settle(Call *call)
{
	int64_t late_us = loop_now_us(call->flow->loop) + SETTLE_LATE_MS * CLOCK_MS;

	ask(call, STORE_SETTLE, call->callback != NULL ? call->deadline_us : late_us, settled);
}

static void
reserved(void *context, const AccountResult *result)
{
	Call *call = context;

	call->item.reason = result->reason;
	/* What we were refused, another one at this order may have got, and die before it tells. */
	call->item.hold = call->is_shared && result->hold == HOLD_NONE ? HOLD_UNKNOWN : result->hold;
	call->settle_until_us = loop_now_us(call->flow->loop) + SETTLE_LATE_MS_MAX * CLOCK_MS;
	settle(call);
}

static void
received(void *context, const StoreResult *result)
{
	Call *call = context;
	AccountReservation reservation = {
		.account_id = call->account_id,
		.order_id = result->order_id,
		.correlation_id = call->correlation_id,
		.reserve_id = result->reserve_id,
		.is_cash = call->item.side == ORDER_SERVICE__V1__SIDE__BUY,
		.currency = result->currency,
		.symbol = call->item.symbol,
		.amount = result->reserve_amount,
		.waited_us = loop_now_us(call->flow->loop) - call->begun_us,
	};

	if (result->reserve_id != NULL)
	{
		assert(result->code == CODE_OK && !result->is_replayed);
		call->item.order_id = result->order_id;
		call->is_shared = result->is_shared;
		account_reserve(call->flow->account, &reservation, reserved, call);
		return;
	}
	/* A replay tells what was recorded; what is still RECEIVED or was refused, is an error. */
	if (result->is_replayed)
	{
		answer_order(call, result);
		finish(call);
	}
	else
		refuse(call, result->reason, result->detail);
}

/* An enum of the wire as smallint; what does not fit is -1, which the database refuses by name. */
static int
small(int value)
{
	return value >= 0 && value <= INT16_MAX ? value : -1;
}

static void
place(Call *call)
{
	const OrderService__V1__PlaceOrderRequest *request =
		(const OrderService__V1__PlaceOrderRequest *) call->message;
	Reason reason = account_look(call->flow->account);

	/* What Account would not be asked for is not recorded either: the key stays unused. */
	if (reason != REASON_NONE)
	{
		refuse(call, reason, NULL);
		return;
	}
	call->item.key = request->idempotency_key;
	call->item.symbol = request->symbol;
	call->item.side = small((int) request->side);
	call->item.order_type = small((int) request->order_type);
	call->item.time_in_force = small((int) request->time_in_force);
	call->item.quantity = request->quantity;
	call->item.price = request->price;
	ask(call, STORE_RECEIVE, call->deadline_us, received);
}

/* Everything else ------------------------------------------------------------------------------ */

static void
canceled(void *context, const StoreResult *result)
{
	Call *call = context;

	if (is_refused(call, result))
		return;
	answer_order(call, result);
	finish(call);
}

static void
cancel(Call *call)
{
	const OrderService__V1__CancelOrderRequest *request =
		(const OrderService__V1__CancelOrderRequest *) call->message;

	call->item.key = request->idempotency_key;
	call->item.order_id = request->order_id;
	ask(call, STORE_CANCEL, call->deadline_us, canceled);
}

static void
found(void *context, const StoreResult *result)
{
	Call *call = context;

	if (is_refused(call, result))
		return;
	assert(result->order_count == 1);
	message_encode_order(new_answer(call), &result->orders[0]);
	answer(call, CODE_OK, false);
	finish(call);
}

static void
get(Call *call)
{
	const OrderService__V1__GetOrderRequest *request =
		(const OrderService__V1__GetOrderRequest *) call->message;
	bool has_key = request->idempotency_key[0] != '\0';

	if (has_key == (request->order_id != 0))
	{
		refuse(call, has_key ? REASON_PAYLOAD_INVALID : REASON_FIELD_MISSING,
			   "Give either order_id or idempotency_key.");
		return;
	}
	call->item.key = request->idempotency_key;
	call->item.order_id = request->order_id;
	ask(call, has_key ? STORE_FIND : STORE_GET, call->deadline_us, found);
}

static void
listed(void *context, const StoreResult *result)
{
	Call *call = context;
	int wanted = call->item.limit - 1;
	bool has_more = result->order_count > wanted;

	if (is_refused(call, result))
		return;
	message_encode_orders(new_answer(call), result->orders, has_more ? wanted : result->order_count,
						  has_more);
	answer(call, CODE_OK, false);
	finish(call);
}

static void
list(Call *call)
{
	const OrderService__V1__ListOrdersRequest *request =
		(const OrderService__V1__ListOrdersRequest *) call->message;
	int limit = request->limit != 0 ? request->limit : LIST_ORDERS_DEFAULT;

	if (limit < 0 || limit > LIST_ORDERS_MAX)
	{
		refuse(call, REASON_LIMIT_INVALID, "One page has 1 to 500 orders.");
		return;
	}
	call->item.open_only = request->open_only;
	call->item.order_id = request->after_order_id;
	/* One more, to know whether there is a next page. */
	call->item.limit = limit + 1;
	ask(call, STORE_LIST, call->deadline_us, listed);
}

/* Sessions ------------------------------------------------------------------------------------- */

/* The session is known; now the request itself. */
static void
proceed(Call *call, int64_t account_id)
{
	assert(account_id > 0 && call->service == SERVICE_ORDER);
	call->account_id = account_id;
	call->item.account_id = account_id;
	switch (call->method)
	{
		case ORDER_PLACE:
			place(call);
			break;
		case ORDER_CANCEL:
			cancel(call);
			break;
		case ORDER_GET:
			get(call);
			break;
		default:
			assert(call->method == ORDER_LIST);
			list(call);
			break;
	}
}

/* The session has ended: for this connection's login, and for whoever else names it. */
static void
forget_session(Call *call)
{
	session_cache_forget(call->flow->sessions, call->session_id);
	session_log_out(call->session, call->session_id);
}

/* Whether the session was found, which is remembered; else refuses the request. */
static bool
is_session_found(Call *call, const StoreResult *result)
{
	if (result->code == CODE_NO_SESSION)
		forget_session(call);
	if (is_refused(call, result))
		return false;
	session_cache_remember(call->flow->sessions, call->session_id, result->account_id,
						   loop_now_us(call->flow->loop));
	return true;
}

static void
session_found(void *context, const StoreResult *result)
{
	Call *call = context;

	if (is_session_found(call, result))
		proceed(call, result->account_id);
}

static void
logged_in(void *context, const StoreResult *result)
{
	Call *call = context;

	if (!is_session_found(call, result))
		return;
	session_log_in(call->session, call->session_id);
	message_encode_login(new_answer(call), result->account_id, result->expires_at_ms);
	answer(call, CODE_OK, false);
	finish(call);
}

static void
logged_out(void *context, const StoreResult *result)
{
	Call *call = context;

	if (is_refused(call, result))
		return;
	forget_session(call);
	answer_empty(call);
}

static void
ask_for_session(Call *call, const char *id, StoreKind kind, StoreCallback callback)
{
	/* A copy: the connection may log in or out meanwhile. */
	call->session_id = message_arena_copy(&call->arena, id);
	call->item.key = call->session_id;
	ask(call, kind, call->deadline_us, callback);
}

static void
authenticate(Call *call)
{
	const Flow *flow = call->flow;
	const char *id = message_session_id(call->message);
	int64_t account_id;

	if (id[0] == '\0')
		id = session_login_id(call->session);
	if (id == NULL)
		refuse(call, REASON_NO_SESSION, NULL);
	else if (call->service == SERVICE_AUTH && call->method == AUTH_LOGIN)
		ask_for_session(call, id, STORE_FIND_SESSION, logged_in);
	else if (call->service == SERVICE_AUTH)
		ask_for_session(call, id, STORE_CLOSE_SESSION, logged_out);
	else if ((account_id = session_cache_find(flow->sessions, id, loop_now_us(flow->loop))) > 0)
		proceed(call, account_id);
	else
		ask_for_session(call, id, STORE_FIND_SESSION, session_found);
}

/* The module ----------------------------------------------------------------------------------- */

static Call *
new_call(Flow *flow, const FlowRequest *request)
{
	Call *call = STAILQ_FIRST(&flow->unused);

	if (call != NULL)
		STAILQ_REMOVE_HEAD(&flow->unused, link);
	else
		call = bytes_new_zeroed(1, sizeof(Call));
	call->flow = flow;
	call->session = request->session;
	call->service = request->service;
	call->method = request->method;
	call->correlation_id = request->correlation_id;
	call->begun_us = loop_now_us(flow->loop);
	call->deadline_us = call->begun_us + flow->config->request_timeout_us;
	session_hold(call->session);
	flow->pending++;
	return call;
}

void
flow_submit(Flow *flow, const FlowRequest *request, FlowCallback callback, void *context)
{
	Call *call = new_call(flow, request);
	Reason reason;

	call->callback = callback;
	call->context = context;
	call->message = message_decode(&call->arena, request->service, request->method,
								   request->payload, request->size, &reason);
	if (call->message == NULL)
		refuse(call, reason, NULL);
	else if (request->service == SERVICE_CONTROL)
		answer_empty(call);
	else if (request->service == SERVICE_AUTH && request->method == AUTH_LOGIN &&
			 message_session_id(call->message)[0] == '\0')
		refuse(call, REASON_NO_SESSION, "Field \"session_id\" is empty.");
	else
		authenticate(call);
}

FlowAnswer
flow_refusal(Reason reason, uint8_t buffer[FLOW_REFUSAL_SIZE])
{
	Bytes bytes = {0};
	FlowAnswer result = {.code = (int) reason_code(reason), .is_error = true, .payload = buffer};

	message_encode_error(&bytes, reason, NULL);
	assert(bytes.size <= FLOW_REFUSAL_SIZE);
	for (size_t i = 0; i < bytes.size; i++)
		buffer[i] = bytes.data[i];
	result.size = bytes.size;
	bytes_free(&bytes);
	return result;
}

Session *
flow_session_open(Flow *flow)
{
	(void) flow;
	return session_new();
}

void
flow_session_close(Session *session)
{
	session_release(session);
}

int
flow_pending_count(const Flow *flow)
{
	return flow->pending;
}

Flow *
flow_new(Loop *loop, Store *store, Account *account, const Config *config)
{
	Flow *flow = bytes_new_zeroed(1, sizeof(Flow));

	flow->loop = loop;
	flow->store = store;
	flow->account = account;
	flow->config = config;
	flow->sessions = session_cache_new(SESSION_CACHE_MAX);
	STAILQ_INIT(&flow->unused);
	metrics_counter_init(&flow->late_settlements, "order_late_settlements_total", NULL,
						 "Settlements tried again after the client was told OUTCOME_UNKNOWN.");
	metrics_counter_init(&flow->lost_settlements, "order_lost_settlements_total", NULL,
						 "Reserved orders that were left to a resolver.");
	return flow;
}

void
flow_free(Flow *flow)
{
	Call *call;

	assert(flow->pending == 0);
	while ((call = STAILQ_FIRST(&flow->unused)) != NULL)
	{
		STAILQ_REMOVE_HEAD(&flow->unused, link);
		free(call);
	}
	session_cache_free(flow->sessions);
	bytes_free(&flow->answer);
	free(flow);
}
