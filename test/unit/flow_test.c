/*
 * flow_test.c
 *		What a request does: the order of its steps, and what the client hears when one of them
 *		fails.
 *
 * Store and Account are replaced: a test looks at what was asked and gives the answer.
 */
#include "order/flow.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bounds.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "client.pb-c.h"
#include "frame.h"

static Loop *loop;
static Flow *flow;
static Session *session;
static Config config;
static StoreItem *asked; /* the item that waits for the store's answer */
static int ask_count;
static Reason looked; /* what account_look() says */
static AccountReservation reserving;
static AccountCallback reserved; /* NULL: Account was not asked */
static void *reserve_context;
static FlowAnswer heard;
static Bytes heard_payload;
static int heard_count;

void
store_submit(Store *store, StoreItem *item)
{
	(void) store;
	assert_null(asked);
	assert_non_null(item->callback);
	asked = item;
	ask_count++;
}

void
account_reserve(Account *account, const AccountReservation *reservation, AccountCallback callback,
				void *context)
{
	(void) account;
	assert_null(reserved);
	reserving = *reservation;
	reserved = callback;
	reserve_context = context;
}

Reason
account_look(Account *account)
{
	(void) account;
	return looked;
}

static void
give(const StoreResult *result)
{
	StoreItem *item = asked;

	assert_non_null(item);
	asked = NULL;
	item->callback(item->context, result);
}

static void
refuse(Reason reason)
{
	give(&(StoreResult){.code = (int) reason_code(reason), .reason = reason});
}

static void
give_hold(Reason reason, int hold)
{
	AccountCallback callback = reserved;

	assert_non_null(callback);
	reserved = NULL;
	callback(reserve_context, &(AccountResult){.reason = reason, .hold = hold});
}

static void
hear(void *context, const FlowAnswer *answer)
{
	assert_ptr_equal(context, &heard);
	heard = *answer;
	bytes_clear(&heard_payload);
	bytes_append(&heard_payload, answer->payload, answer->size);
	heard_count++;
}

static void
submit(uint16_t service, uint16_t method, const ProtobufCMessage *message)
{
	static uint8_t payload[1024];
	FlowRequest request = {.session = session,
						   .service = service,
						   .method = method,
						   .correlation_id = 5,
						   .payload = payload};

	if (message != NULL)
		request.size = protobuf_c_message_pack(message, payload);
	heard_count = 0;
	flow_submit(flow, &request, hear, &heard);
}

static void
place(const char *session_id)
{
	OrderService__V1__PlaceOrderRequest request = ORDER_SERVICE__V1__PLACE_ORDER_REQUEST__INIT;

	request.session_id = (char *) session_id;
	request.symbol = "ACME";
	request.side = ORDER_SERVICE__V1__SIDE__BUY;
	request.order_type = ORDER_SERVICE__V1__ORDER_TYPE__LIMIT;
	request.quantity = 10;
	request.price = 100;
	request.idempotency_key = "key";
	submit(SERVICE_ORDER, ORDER_PLACE, &request.base);
}

static void
log_in(void)
{
	OrderService__V1__LoginRequest request = ORDER_SERVICE__V1__LOGIN_REQUEST__INIT;

	request.session_id = "session";
	submit(SERVICE_AUTH, AUTH_LOGIN, &request.base);
	assert_int_equal(asked->kind, STORE_FIND_SESSION);
	assert_string_equal(asked->key, "session");
	give(&(StoreResult){.code = CODE_OK, .account_id = 7, .expires_at_ms = 99});
	assert_int_equal(heard_count, 1);
	assert_int_equal(heard.code, CODE_OK);
}

/* A new order is recorded; Account is asked next. */
static void
receive(void)
{
	assert_int_equal(asked->kind, STORE_RECEIVE);
	assert_int_equal(asked->account_id, 7);
	give(&(StoreResult){.code = CODE_OK,
						.order_id = 18,
						.reserve_id = "r-18",
						.currency = "USD",
						.reserve_amount = 1000});
	assert_int_equal(heard_count, 0);
}

static void
expect_order(int code, int status, bool is_replayed)
{
	OrderService__V1__OrderResponse *response;

	assert_int_equal(heard_count, 1);
	assert_false(heard.is_error);
	response =
		order_service__v1__order_response__unpack(NULL, heard_payload.size, heard_payload.data);
	assert_non_null(response);
	assert_int_equal(response->order_id, 18);
	assert_int_equal(response->code, code);
	assert_int_equal(heard.code, code);
	assert_int_equal(response->status, status);
	assert_int_equal(response->replayed, is_replayed);
	order_service__v1__order_response__free_unpacked(response, NULL);
}

static void
expect_error(Reason reason)
{
	OrderService__V1__ErrorMessage *message;

	assert_int_equal(heard_count, 1);
	assert_true(heard.is_error);
	message =
		order_service__v1__error_message__unpack(NULL, heard_payload.size, heard_payload.data);
	assert_non_null(message);
	assert_int_equal(message->code, reason_code(reason));
	assert_string_equal(message->reason, reason_name(reason));
	order_service__v1__error_message__free_unpacked(message, NULL);
}

static int
set_up(void **state)
{
	(void) state;
	config = (Config){.request_timeout_us = 5 * CLOCK_SECOND};
	loop = loop_new();
	flow = flow_new(loop, NULL, NULL, &config);
	session = flow_session_open(flow);
	asked = NULL;
	reserved = NULL;
	looked = REASON_NONE;
	ask_count = 0;
	return 0;
}

static int
tear_down(void **state)
{
	(void) state;
	assert_int_equal(flow_pending_count(flow), 0);
	if (session != NULL)
		flow_session_close(session);
	metrics_reset();
	flow_free(flow);
	loop_free(loop);
	bytes_free(&heard_payload);
	return 0;
}

static void
an_order_is_received_reserved_settled_and_only_then_answered(void **state)
{
	(void) state;
	log_in();
	place("");
	receive();
	assert_string_equal(reserving.reserve_id, "r-18");
	assert_true(reserving.is_cash);
	assert_int_equal(reserving.amount, 1000);
	assert_int_equal(reserving.account_id, 7);
	assert_int_equal(reserving.correlation_id, 5);
	give_hold(REASON_NONE, HOLD_HELD);
	assert_int_equal(heard_count, 0);
	assert_int_equal(asked->kind, STORE_SETTLE);
	assert_int_equal(asked->order_id, 18);
	assert_int_equal(asked->reason, REASON_NONE);
	assert_int_equal(asked->hold, HOLD_HELD);
	give(&(StoreResult){.code = CODE_OK, .order_id = 18, .status = 1});
	expect_order(200, 1, false);
}

static void
a_refusal_of_account_is_settled_and_answered_as_a_recorded_order(void **state)
{
	(void) state;
	log_in();
	place("");
	receive();
	give_hold(REASON_INSUFFICIENT_FUNDS, HOLD_NONE);
	assert_int_equal(asked->reason, REASON_INSUFFICIENT_FUNDS);
	give(&(StoreResult){
		.code = 402, .reason = REASON_INSUFFICIENT_FUNDS, .order_id = 18, .status = 7});
	expect_order(402, 7, false);
}

static void
a_refusal_of_an_order_that_somebody_else_may_be_at_leaves_its_hold_unknown(void **state)
{
	(void) state;
	log_in();
	place("");
	give(&(StoreResult){.code = CODE_OK,
						.order_id = 18,
						.reserve_id = "r-18",
						.currency = "USD",
						.is_shared = true});
	give_hold(REASON_INSUFFICIENT_FUNDS, HOLD_NONE);
	assert_int_equal(asked->hold, HOLD_UNKNOWN);
	give(&(StoreResult){
		.code = 402, .reason = REASON_INSUFFICIENT_FUNDS, .order_id = 18, .status = 7});
	expect_order(402, 7, false);
}

static void
a_repeated_key_gets_the_recorded_answer_and_account_is_not_asked(void **state)
{
	(void) state;
	log_in();
	place("");
	give(&(StoreResult){.code = 402,
						.reason = REASON_INSUFFICIENT_FUNDS,
						.order_id = 18,
						.status = 7,
						.is_replayed = true});
	assert_null(reserved);
	expect_order(402, 7, true);
}

static void
a_refused_request_is_an_error_and_account_is_not_asked(void **state)
{
	static const Reason reasons[] = {REASON_UNKNOWN_SYMBOL, REASON_IN_PROGRESS, REASON_KEY_REUSED,
									 REASON_DATABASE_UNAVAILABLE, REASON_OUTCOME_UNKNOWN};

	(void) state;
	log_in();
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
	{
		place("");
		refuse(reasons[i]);
		assert_null(reserved);
		expect_error(reasons[i]);
	}
}

static void
what_account_would_not_be_asked_for_is_refused_and_not_recorded(void **state)
{
	static const Reason reasons[] = {REASON_ACCOUNT_RESTING, REASON_ACCOUNT_BUSY};
	OrderService__V1__CancelOrderRequest request = ORDER_SERVICE__V1__CANCEL_ORDER_REQUEST__INIT;

	(void) state;
	log_in();
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
	{
		looked = reasons[i];
		place("");
		assert_null(asked);
		expect_error(reasons[i]);
	}

	/* Who needs no Account goes on. */
	request.order_id = 18;
	request.idempotency_key = "cancel";
	submit(SERVICE_ORDER, ORDER_CANCEL, &request.base);
	assert_int_equal(asked->kind, STORE_CANCEL);
	give(&(StoreResult){.code = CODE_OK, .order_id = 18, .status = 5});
	expect_order(200, 5, false);
}

static void
an_unknown_settlement_is_answered_504_and_tried_again_without_the_client(void **state)
{
	(void) state;
	log_in();
	place("");
	receive();
	give_hold(REASON_NONE, HOLD_HELD);
	refuse(REASON_OUTCOME_UNKNOWN);
	expect_error(REASON_OUTCOME_UNKNOWN);
	assert_int_equal(asked->kind, STORE_SETTLE);
	assert_int_equal(asked->order_id, 18);
	assert_int_equal(asked->hold, HOLD_HELD);
	refuse(REASON_DATABASE_UNAVAILABLE);
	give(&(StoreResult){.code = CODE_OK, .order_id = 18, .status = 1});
	assert_int_equal(heard_count, 1);
}

static void
a_settlement_that_cannot_be_made_is_left_to_the_resolver(void **state)
{
	(void) state;
	log_in();
	place("");
	receive();
	give_hold(REASON_NONE, HOLD_HELD);
	refuse(REASON_INTERNAL_ERROR);
	expect_error(REASON_OUTCOME_UNKNOWN);
	assert_null(asked);
}

static void
an_order_expired_meanwhile_is_answered_as_it_was_found(void **state)
{
	(void) state;
	log_in();
	place("");
	receive();
	give_hold(REASON_NONE, HOLD_HELD);
	give(&(StoreResult){.code = 503,
						.reason = REASON_EXPIRED_BEFORE_ACCEPTANCE,
						.order_id = 18,
						.status = 7,
						.is_replayed = true});
	expect_order(503, 7, false);
}

static void
without_a_session_nothing_is_asked(void **state)
{
	OrderService__V1__LoginRequest empty = ORDER_SERVICE__V1__LOGIN_REQUEST__INIT;

	(void) state;
	place("");
	expect_error(REASON_NO_SESSION);
	submit(SERVICE_AUTH, AUTH_LOGOUT, NULL);
	expect_error(REASON_NO_SESSION);
	submit(SERVICE_AUTH, AUTH_LOGIN, &empty.base);
	expect_error(REASON_NO_SESSION);
	assert_int_equal(ask_count, 0);
}

static void
a_session_named_in_a_request_is_looked_up_once(void **state)
{
	(void) state;
	for (int i = 0; i < 2; i++)
	{
		place("named");
		if (i == 0)
		{
			assert_int_equal(asked->kind, STORE_FIND_SESSION);
			give(&(StoreResult){.code = CODE_OK, .account_id = 7});
		}
		assert_int_equal(asked->kind, STORE_RECEIVE);
		refuse(REASON_UNKNOWN_SYMBOL);
		expect_error(REASON_UNKNOWN_SYMBOL);
	}
	assert_int_equal(ask_count, 3);
}

static void
a_closed_session_is_refused_everywhere_on_the_connection(void **state)
{
	(void) state;
	log_in();
	submit(SERVICE_AUTH, AUTH_LOGOUT, NULL);
	assert_int_equal(asked->kind, STORE_CLOSE_SESSION);
	assert_string_equal(asked->key, "session");
	give(&(StoreResult){.code = CODE_OK});
	assert_int_equal(heard_count, 1);
	assert_false(heard.is_error);
	assert_int_equal(heard.size, 0);
	place("");
	expect_error(REASON_NO_SESSION);
}

static void
a_wrong_login_is_401_and_an_unreachable_database_503(void **state)
{
	OrderService__V1__LoginRequest request = ORDER_SERVICE__V1__LOGIN_REQUEST__INIT;

	(void) state;
	request.session_id = "wrong";
	submit(SERVICE_AUTH, AUTH_LOGIN, &request.base);
	refuse(REASON_NO_SESSION);
	expect_error(REASON_NO_SESSION);
	submit(SERVICE_AUTH, AUTH_LOGIN, &request.base);
	refuse(REASON_DATABASE_UNAVAILABLE);
	expect_error(REASON_DATABASE_UNAVAILABLE);
}

static void
a_connection_that_vanishes_does_not_stop_its_order(void **state)
{
	(void) state;
	log_in();
	place("");
	flow_session_close(session);
	session = NULL;
	receive();
	give_hold(REASON_NONE, HOLD_HELD);
	give(&(StoreResult){.code = CODE_OK, .order_id = 18, .status = 1});
	expect_order(200, 1, false);
}

static void
a_cancel_is_one_call(void **state)
{
	OrderService__V1__CancelOrderRequest request = ORDER_SERVICE__V1__CANCEL_ORDER_REQUEST__INIT;

	(void) state;
	log_in();
	request.order_id = 18;
	request.idempotency_key = "cancel";
	submit(SERVICE_ORDER, ORDER_CANCEL, &request.base);
	assert_int_equal(asked->kind, STORE_CANCEL);
	assert_int_equal(asked->order_id, 18);
	assert_int_equal(asked->account_id, 7);
	assert_string_equal(asked->key, "cancel");
	give(&(StoreResult){.code = CODE_OK, .order_id = 18, .status = 5});
	expect_order(200, 5, false);
}

static void
a_get_names_either_an_order_or_a_key(void **state)
{
	OrderService__V1__GetOrderRequest request = ORDER_SERVICE__V1__GET_ORDER_REQUEST__INIT;
	StoreOrder order = {.order_id = 18, .account_id = 7, .symbol = "ACME", .reason = ""};

	(void) state;
	log_in();
	submit(SERVICE_ORDER, ORDER_GET, &request.base);
	expect_error(REASON_FIELD_MISSING);
	request.order_id = 18;
	submit(SERVICE_ORDER, ORDER_GET, &request.base);
	assert_int_equal(asked->kind, STORE_GET);
	refuse(REASON_NOT_YOURS);
	expect_error(REASON_NOT_YOURS);
	request.idempotency_key = "key";
	submit(SERVICE_ORDER, ORDER_GET, &request.base);
	expect_error(REASON_PAYLOAD_INVALID);
	request.order_id = 0;
	submit(SERVICE_ORDER, ORDER_GET, &request.base);
	assert_int_equal(asked->kind, STORE_FIND);
	give(&(StoreResult){.code = CODE_OK, .orders = &order, .order_count = 1});
	assert_int_equal(heard_count, 1);
	assert_false(heard.is_error);
}

static void
a_list_asks_for_one_more_to_know_whether_there_is_more(void **state)
{
	OrderService__V1__ListOrdersRequest request = ORDER_SERVICE__V1__LIST_ORDERS_REQUEST__INIT;
	StoreOrder orders[3] = {{.order_id = 1, .symbol = "A", .reason = ""},
							{.order_id = 2, .symbol = "A", .reason = ""},
							{.order_id = 3, .symbol = "A", .reason = ""}};

	(void) state;
	log_in();
	request.limit = 2;
	for (int count = 1; count <= 3; count++)
	{
		OrderService__V1__ListOrdersResponse *response;

		submit(SERVICE_ORDER, ORDER_LIST, &request.base);
		assert_int_equal(asked->limit, 3);
		give(&(StoreResult){.code = CODE_OK, .orders = orders, .order_count = count});
		response = order_service__v1__list_orders_response__unpack(NULL, heard_payload.size,
																   heard_payload.data);
		assert_non_null(response);
		assert_int_equal(response->n_orders, count < 2 ? count : 2);
		assert_int_equal(response->more, count == 3);
		order_service__v1__list_orders_response__free_unpacked(response, NULL);
	}
	request.limit = LIST_ORDERS_MAX + 1;
	submit(SERVICE_ORDER, ORDER_LIST, &request.base);
	expect_error(REASON_LIMIT_INVALID);
	request.limit = -1;
	submit(SERVICE_ORDER, ORDER_LIST, &request.base);
	expect_error(REASON_LIMIT_INVALID);
}

static void
a_ping_needs_nobody(void **state)
{
	(void) state;
	submit(SERVICE_CONTROL, CONTROL_PING, NULL);
	assert_int_equal(heard_count, 1);
	assert_false(heard.is_error);
	assert_int_equal(heard.size, 0);
	submit(3, 1, NULL);
	expect_error(REASON_UNKNOWN_METHOD);
}

static void
every_refusal_fits_its_buffer(void **state)
{
	uint8_t buffer[FLOW_REFUSAL_SIZE];

	(void) state;
	for (int reason = 1; reason < 100; reason++)
	{
		FlowAnswer answer;

		if (reason_name(reason) == NULL)
			continue;
		answer = flow_refusal((Reason) reason, buffer);
		assert_int_equal(answer.code, reason_code(reason));
		assert_true(answer.is_error && answer.size > 0);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_order_is_received_reserved_settled_and_only_then_answered),
		TEST(a_refusal_of_account_is_settled_and_answered_as_a_recorded_order),
		TEST(a_refusal_of_an_order_that_somebody_else_may_be_at_leaves_its_hold_unknown),
		TEST(a_repeated_key_gets_the_recorded_answer_and_account_is_not_asked),
		TEST(a_refused_request_is_an_error_and_account_is_not_asked),
		TEST(what_account_would_not_be_asked_for_is_refused_and_not_recorded),
		TEST(an_unknown_settlement_is_answered_504_and_tried_again_without_the_client),
		TEST(a_settlement_that_cannot_be_made_is_left_to_the_resolver),
		TEST(an_order_expired_meanwhile_is_answered_as_it_was_found),
		TEST(without_a_session_nothing_is_asked),
		TEST(a_session_named_in_a_request_is_looked_up_once),
		TEST(a_closed_session_is_refused_everywhere_on_the_connection),
		TEST(a_wrong_login_is_401_and_an_unreachable_database_503),
		TEST(a_connection_that_vanishes_does_not_stop_its_order),
		TEST(a_cancel_is_one_call),
		TEST(a_get_names_either_an_order_or_a_key),
		TEST(a_list_asks_for_one_more_to_know_whether_there_is_more),
		TEST(a_ping_needs_nobody),
		TEST(every_refusal_fits_its_buffer),
	};

	return cmocka_run_group_tests_name("flow", tests, NULL, NULL);
}
