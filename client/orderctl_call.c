/*
 * orderctl_call.c
 *		Carries out the commands of orderctl that ask the proxy.
 *
 * DESIGN	One request at a time: `list --all` and `ping --count` send the next when the one before
 *			is answered, logout logs in first. Each command has a function that sends and one that
 *			takes the answer.
 */
#include "orderctl_call.h"

#include <assert.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/histogram.h"
#include "client.h"

typedef struct OrderctlCall
{
	const OrderctlOptions *options;
	const OrderctlPrinter *printer;
	Loop *loop;
	Client *client;
	LoopEvent timer;
	OrderctlExit exit_code;
	bool is_done;

	bool is_logged_in; /* logout */
	int64_t after_order_id;
	int64_t pings_left;
	int64_t sent_at_us;
	Histogram pings;
} OrderctlCall;

static void on_answer(void *context, const ClientAnswer *answer);

static void
finish(OrderctlCall *call, OrderctlExit exit_code)
{
	call->is_done = true;
	call->exit_code = exit_code;
	loop_stop(call->loop);
}

/* Ends without an answer. */
static void
fail(OrderctlCall *call, bool is_sent, const char *reason)
{
	OrderctlCommand command = call->options->command;
	bool has_effect = command == ORDERCTL_PLACE || command == ORDERCTL_CANCEL;

	call->printer->failure(call->options, is_sent, reason);
	finish(call, is_sent && has_effect ? ORDERCTL_EXIT_OUTCOME_UNKNOWN : ORDERCTL_EXIT_FAILED);
}

/* ----- Sending ----------------------------------------------------------------------------- */

static void
send_request(OrderctlCall *call, uint16_t service, uint16_t method, const ProtobufCMessage *message)
{
	bool is_sent;

	call->sent_at_us = loop_now_us(call->loop);
	loop_event_add(&call->timer, call->options->timeout_us);
	if (message != NULL)
		is_sent = client_send_message(call->client, service, method, message, on_answer, call);
	else
		is_sent = client_send(call->client, service, method, NULL, 0, on_answer, call);
	/* One request at a time is within every limit; a command line of megabytes is not. */
	if (!is_sent)
		fail(call, false, "the request is too large");
}

static void
send_login(OrderctlCall *call)
{
	OrderService__V1__LoginRequest request = ORDER_SERVICE__V1__LOGIN_REQUEST__INIT;

	request.session_id = (char *) call->options->session;
	send_request(call, SERVICE_AUTH, AUTH_LOGIN, &request.base);
}

static void
send_place(OrderctlCall *call)
{
	const OrderctlOptions *options = call->options;
	OrderService__V1__PlaceOrderRequest request = ORDER_SERVICE__V1__PLACE_ORDER_REQUEST__INIT;

	request.session_id = (char *) options->session;
	request.symbol = (char *) options->symbol;
	request.side = options->side;
	request.order_type = options->order_type;
	request.quantity = options->quantity;
	request.price = options->price;
	request.time_in_force = options->time_in_force;
	request.idempotency_key = (char *) options->key;
	send_request(call, SERVICE_ORDER, ORDER_PLACE, &request.base);
}

static void
send_cancel(OrderctlCall *call)
{
	OrderService__V1__CancelOrderRequest request = ORDER_SERVICE__V1__CANCEL_ORDER_REQUEST__INIT;

	request.session_id = (char *) call->options->session;
	request.order_id = call->options->order_id;
	request.idempotency_key = (char *) call->options->key;
	send_request(call, SERVICE_ORDER, ORDER_CANCEL, &request.base);
}

static void
send_get(OrderctlCall *call)
{
	OrderService__V1__GetOrderRequest request = ORDER_SERVICE__V1__GET_ORDER_REQUEST__INIT;

	request.session_id = (char *) call->options->session;
	if (call->options->key != NULL)
		request.idempotency_key = (char *) call->options->key;
	else
		request.order_id = call->options->order_id;
	send_request(call, SERVICE_ORDER, ORDER_GET, &request.base);
}

static void
send_list(OrderctlCall *call)
{
	OrderService__V1__ListOrdersRequest request = ORDER_SERVICE__V1__LIST_ORDERS_REQUEST__INIT;

	request.session_id = (char *) call->options->session;
	request.open_only = call->options->is_open_only;
	request.after_order_id = call->after_order_id;
	request.limit = call->options->limit;
	send_request(call, SERVICE_ORDER, ORDER_LIST, &request.base);
}

static void
send_ping(OrderctlCall *call)
{
	send_request(call, SERVICE_CONTROL, CONTROL_PING, NULL);
}

/* ----- Answers ----------------------------------------------------------------------------- */

static void
take_login(OrderctlCall *call, const void *message)
{
	if (call->options->command == ORDERCTL_LOGOUT)
	{
		call->is_logged_in = true;
		send_request(call, SERVICE_AUTH, AUTH_LOGOUT, NULL);
		return;
	}
	call->printer->login(call->options, message);
	finish(call, ORDERCTL_EXIT_OK);
}

static void
take_response(OrderctlCall *call, const void *message)
{
	const OrderService__V1__OrderResponse *response = message;

	call->printer->response(call->options, response);
	finish(call, orderctl_exit_of_code(response->code));
}

static void
take_order(OrderctlCall *call, const void *message)
{
	call->printer->order(call->options, message);
	finish(call, ORDERCTL_EXIT_OK);
}

static void
take_orders(OrderctlCall *call, const void *message)
{
	const OrderService__V1__ListOrdersResponse *response = message;

	call->printer->orders(call->options, response);
	if (!response->more || !call->options->is_all || response->n_orders == 0)
	{
		finish(call, ORDERCTL_EXIT_OK);
		return;
	}
	call->after_order_id = response->orders[response->n_orders - 1]->order_id;
	send_list(call);
}

static void
take_ping(OrderctlCall *call)
{
	int64_t duration_us = loop_now_us(call->loop) - call->sent_at_us;
	OrderctlPings pings;

	histogram_record(&call->pings, duration_us);
	call->printer->ping(call->options, client_peer(call->client), duration_us);
	if (--call->pings_left > 0)
	{
		send_ping(call);
		return;
	}
	pings = (OrderctlPings){.count = call->options->count,
							.min_us = call->pings.min,
							.median_us = histogram_percentile(&call->pings, 50),
							.max_us = call->pings.max};
	if (pings.count > 1)
		call->printer->pings(call->options, &pings);
	finish(call, ORDERCTL_EXIT_OK);
}

typedef struct CallRow
{
	void (*send)(OrderctlCall *call);
	void (*take)(OrderctlCall *call, const void *message);
	const ProtobufCMessageDescriptor *answer;
} CallRow;

static const CallRow rows[ORDERCTL_COMMAND_COUNT] = {
	[ORDERCTL_LOGIN] = {send_login, take_login, &order_service__v1__login_response__descriptor},
	[ORDERCTL_LOGOUT] = {send_login, take_login, &order_service__v1__login_response__descriptor},
	[ORDERCTL_PLACE] = {send_place, take_response, &order_service__v1__order_response__descriptor},
	[ORDERCTL_CANCEL] = {send_cancel, take_response,
						 &order_service__v1__order_response__descriptor},
	[ORDERCTL_GET] = {send_get, take_order, &order_service__v1__order__descriptor},
	[ORDERCTL_LIST] = {send_list, take_orders,
					   &order_service__v1__list_orders_response__descriptor},
	[ORDERCTL_PING] = {send_ping, NULL, NULL},
};

static void
take_message(OrderctlCall *call, const ClientAnswer *answer)
{
	const CallRow *row = &rows[call->options->command];
	const void *message;

	if (call->options->command == ORDERCTL_PING)
	{
		take_ping(call);
		return;
	}
	if (call->is_logged_in)
	{
		call->printer->logout(call->options);
		finish(call, ORDERCTL_EXIT_OK);
		return;
	}
	message = client_unpack(answer, row->answer);
	if (message == NULL)
		fail(call, true, "the answer is not a message of this method");
	else
		row->take(call, message);
}

static void
on_answer(void *context, const ClientAnswer *answer)
{
	OrderctlCall *call = context;

	if (call->is_done)
		return;
	switch (answer->outcome)
	{
		case CLIENT_ANSWERED:
			take_message(call, answer);
			break;
		case CLIENT_REFUSED:
			call->printer->refusal(call->options, answer->error);
			finish(call, orderctl_exit_of_code(answer->error->code));
			break;
		case CLIENT_UNSENT:
		case CLIENT_LOST:
			fail(call, answer->outcome == CLIENT_LOST, answer->reason);
			break;
	}
}

/* ----- The connection ---------------------------------------------------------------------- */

static void
on_connected(void *context)
{
	OrderctlCall *call = context;

	rows[call->options->command].send(call);
}

static void
on_lost(void *context, const char *reason)
{
	OrderctlCall *call = context;

	if (!call->is_done)
		fail(call, false, reason);
}

static void
on_timeout(void *context, short what)
{
	OrderctlCall *call = context;
	char reason[64];

	(void) what;
	snprintf(reason, sizeof(reason), "no answer within %.3g s",
			 (double) call->options->timeout_us / CLOCK_SECOND);
	if (!call->is_done)
		fail(call, true, reason);
}

OrderctlExit
orderctl_call(Loop *loop, const OrderctlOptions *options, const OrderctlPrinter *printer)
{
	OrderctlCall call = {.options = options,
						 .printer = printer,
						 .loop = loop,
						 .after_order_id = options->after_order_id,
						 .pings_left = options->count};
	ClientOwner owner = {.context = &call, .connected = on_connected, .lost = on_lost};
	Dns *dns = dns_new(loop);

	assert(rows[options->command].send != NULL);
	loop_event_init(&call.timer, loop, -1, 0, on_timeout, &call);
	call.client = client_new(loop, dns, options->server, 1, &owner);
	client_connect(call.client, options->timeout_us);
	loop_run(loop);

	loop_event_remove(&call.timer);
	client_free(call.client);
	dns_free(dns);
	return call.exit_code;
}
