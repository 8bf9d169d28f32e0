/*
 * message_test.c
 *		Payloads: what is a request, what is refused and why, and that none can cost much memory.
 */
#include "order/message.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bounds.h"

static Bytes payload;
static MessageArena arena;

static int
clear(void **state)
{
	(void) state;
	bytes_free(&payload);
	message_arena_reset(&arena);
	return 0;
}

/* Appends a text field. */
static void
put_text(int number, const void *text, size_t size)
{
	assert_true(size < 128);
	bytes_append_u8(&payload, (uint8_t) (number << 3 | 2));
	bytes_append_u8(&payload, (uint8_t) size);
	bytes_append(&payload, text, size);
}

static void
put_number(int number, uint8_t value)
{
	bytes_append_u8(&payload, (uint8_t) (number << 3));
	bytes_append_u8(&payload, value);
}

static const ProtobufCMessage *
decode_method(uint16_t service, uint16_t method, Reason *reason)
{
	message_arena_reset(&arena);
	return message_decode(&arena, service, method, payload.data, payload.size, reason);
}

static void
expect_refused(uint16_t service, uint16_t method, Reason expected)
{
	Reason reason;

	assert_null(decode_method(service, method, &reason));
	assert_int_equal(reason, expected);
}

static void
expect_decoded(uint16_t service, uint16_t method)
{
	Reason reason;

	assert_non_null(decode_method(service, method, &reason));
	assert_int_equal(reason, REASON_NONE);
}

static void
a_place_request_arrives_with_all_its_fields(void **state)
{
	const OrderService__V1__PlaceOrderRequest *request;
	Reason reason;

	(void) state;
	put_text(1, "session", 7);
	put_text(2, "ACME", 4);
	put_number(3, 1);
	put_number(4, 1);
	put_number(5, 10);
	put_number(6, 100);
	put_number(7, 3);
	put_text(8, "key", 3);
	request = (const OrderService__V1__PlaceOrderRequest *) decode_method(SERVICE_ORDER,
																		  ORDER_PLACE, &reason);
	assert_non_null(request);
	assert_string_equal(request->session_id, "session");
	assert_string_equal(message_session_id(&request->base), "session");
	assert_string_equal(request->symbol, "ACME");
	assert_string_equal(request->idempotency_key, "key");
	assert_int_equal(request->side, 1);
	assert_int_equal(request->order_type, 1);
	assert_int_equal(request->quantity, 10);
	assert_int_equal(request->price, 100);
	assert_int_equal(request->time_in_force, 3);
	assert_null(arena.blocks); /* a usual request needs no memory of its own */
}

static void
every_method_decodes_an_empty_payload(void **state)
{
	(void) state;
	expect_decoded(SERVICE_CONTROL, CONTROL_PING);
	expect_decoded(SERVICE_AUTH, AUTH_LOGIN);
	expect_decoded(SERVICE_AUTH, AUTH_LOGOUT);
	expect_decoded(SERVICE_ORDER, ORDER_PLACE);
	expect_decoded(SERVICE_ORDER, ORDER_CANCEL);
	expect_decoded(SERVICE_ORDER, ORDER_GET);
	expect_decoded(SERVICE_ORDER, ORDER_LIST);
}

static void
a_method_that_does_not_exist_is_named(void **state)
{
	(void) state;
	expect_refused(SERVICE_CONTROL, 0, REASON_UNKNOWN_METHOD);
	expect_refused(SERVICE_CONTROL, 2, REASON_UNKNOWN_METHOD);
	expect_refused(SERVICE_AUTH, 3, REASON_UNKNOWN_METHOD);
	expect_refused(SERVICE_ORDER, 0, REASON_UNKNOWN_METHOD);
	expect_refused(SERVICE_ORDER, 5, REASON_UNKNOWN_METHOD);
	expect_refused(3, 1, REASON_UNKNOWN_METHOD);
	expect_refused(65535, 65535, REASON_UNKNOWN_METHOD);
}

static void
a_method_without_a_request_takes_no_payload(void **state)
{
	(void) state;
	put_number(1, 1);
	expect_refused(SERVICE_CONTROL, CONTROL_PING, REASON_PAYLOAD_INVALID);
	expect_refused(SERVICE_AUTH, AUTH_LOGOUT, REASON_PAYLOAD_INVALID);
}

static void
a_text_with_a_zero_byte_is_refused_and_not_cut(void **state)
{
	(void) state;
	put_text(8, "a\0b", 3);
	expect_refused(SERVICE_ORDER, ORDER_PLACE, REASON_PAYLOAD_INVALID);
	bytes_clear(&payload);
	put_text(1, "\0", 1);
	expect_refused(SERVICE_ORDER, ORDER_LIST, REASON_PAYLOAD_INVALID);
}

static void
a_text_that_is_not_utf8_is_refused(void **state)
{
	static const char *const bad[] = {
		"\x80",         "\xc0\x80",         "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80",
		"\xf0\x8f\xbf", "\xf4\x90\x80\x80", "\xf5",     "\xff",         "a\xe2\x82",
		"\xc3("};
	static const char *const good[] = {
		"\x7f", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"};

	(void) state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		bytes_clear(&payload);
		put_text(2, bad[i], strlen(bad[i]));
		expect_refused(SERVICE_ORDER, ORDER_PLACE, REASON_PAYLOAD_INVALID);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
	{
		bytes_clear(&payload);
		put_text(2, good[i], strlen(good[i]));
		expect_decoded(SERVICE_ORDER, ORDER_PLACE);
	}
}

/* Texts are looked at by eight bytes: wherever in these the bad one is, it is found. */
static void
a_bad_byte_is_found_wherever_it_is(void **state)
{
	static const char bad[] = {'\0', '\x80', '\xff', '\xc3'};
	char text[25];

	(void) state;
	for (size_t at = 0; at < sizeof(text); at++)
	{
		memset(text, 'k', sizeof(text));
		for (size_t i = 0; i < sizeof(bad); i++)
		{
			text[at] = bad[i];
			bytes_clear(&payload);
			put_text(8, text, sizeof(text));
			expect_refused(SERVICE_ORDER, ORDER_PLACE, REASON_PAYLOAD_INVALID);
		}
		text[at] = '\x01';
		if (at + 1 < sizeof(text))
			memcpy(text + at, "\xc3\xa9", 2);
		bytes_clear(&payload);
		put_text(8, text, sizeof(text));
		expect_decoded(SERVICE_ORDER, ORDER_PLACE);
	}
}

static void
texts_beyond_their_limit_have_their_reason(void **state)
{
	char text[4 * SESSION_ID_BYTES_MAX];
	const struct
	{
		int number;
		size_t limit;
		Reason reason;
	} fields[] = {
		{1, SESSION_ID_BYTES_MAX, REASON_NO_SESSION},
		{2, SYMBOL_BYTES_MAX, REASON_SYMBOL_INVALID},
		{8, KEY_BYTES_MAX, REASON_KEY_INVALID},
	};

	(void) state;
	memset(text, 'k', sizeof(text));
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
	{
		for (size_t size = fields[i].limit; size <= fields[i].limit + 1; size++)
		{
			bytes_clear(&payload);
			bytes_append_u8(&payload, (uint8_t) (fields[i].number << 3 | 2));
			bytes_append_u8(&payload, (uint8_t) (size & 0x7f) | 0x80);
			bytes_append_u8(&payload, (uint8_t) (size >> 7));
			bytes_append(&payload, text, size);
			if (size == fields[i].limit)
				expect_decoded(SERVICE_ORDER, ORDER_PLACE);
			else
				expect_refused(SERVICE_ORDER, ORDER_PLACE, fields[i].reason);
		}
	}
}

static void
a_payload_cut_anywhere_is_refused_or_is_shorter(void **state)
{
	Bytes whole = {0};

	(void) state;
	put_text(1, "session", 7);
	put_text(2, "ACME", 4);
	put_number(5, 10);
	put_text(8, "key", 3);
	bytes_append(&whole, payload.data, payload.size);
	for (size_t size = 0; size < whole.size; size++)
	{
		bool is_at_field = size == 0 || size == 9 || size == 15 || size == 17;

		bytes_clear(&payload);
		bytes_append(&payload, whole.data, size);
		if (is_at_field)
			expect_decoded(SERVICE_ORDER, ORDER_PLACE);
		else
			expect_refused(SERVICE_ORDER, ORDER_PLACE, REASON_PAYLOAD_INVALID);
	}
	bytes_free(&whole);
}

static void
unknown_fields_are_passed_over(void **state)
{
	(void) state;
	put_text(15, "\0\xff", 2);
	put_number(14, 1);
	put_text(2, "ACME", 4);
	expect_decoded(SERVICE_ORDER, ORDER_PLACE);
}

static void
the_largest_payload_of_the_smallest_fields_cannot_cost_more_than_the_limit(void **state)
{
	(void) state;
	for (int i = 0; i < FRAME_PAYLOAD_MAX / 2; i++)
		put_number(14, 0);
	expect_refused(SERVICE_ORDER, ORDER_PLACE, REASON_PAYLOAD_INVALID);
	assert_true(arena.allocated <= MESSAGE_ARENA_BYTES_MAX);
}

static void
one_unknown_field_may_fill_the_largest_payload(void **state)
{
	uint8_t *bytes;

	(void) state;
	bytes_append(&payload, "\x7a\xfc\xff\x3f", 4); /* field 15, 1048572 bytes */
	bytes = bytes_reserve(&payload, FRAME_PAYLOAD_MAX - 4);
	memset(bytes, 0, FRAME_PAYLOAD_MAX - 4);
	payload.size = FRAME_PAYLOAD_MAX;
	expect_decoded(SERVICE_ORDER, ORDER_PLACE);
}

static void
a_recorded_order_is_answered_with_code_and_reason(void **state)
{
	StoreResult result = {.code = CODE_INSUFFICIENT,
						  .reason = REASON_INSUFFICIENT_FUNDS,
						  .order_id = INT64_C(1) << 44,
						  .status = 7,
						  .is_replayed = true,
						  .updated_at_ms = 1234};
	OrderService__V1__OrderResponse *response;

	(void) state;
	message_encode_order_response(&payload, &result, 99);
	response = order_service__v1__order_response__unpack(NULL, payload.size, payload.data);
	assert_non_null(response);
	assert_int_equal(response->order_id, INT64_C(1) << 44);
	assert_int_equal(response->status, ORDER_SERVICE__V1__ORDER_STATUS__REJECTED);
	assert_int_equal(response->code, 402);
	assert_string_equal(response->reason, "INSUFFICIENT_FUNDS");
	assert_string_equal(response->message, "funds are not sufficient");
	assert_int_equal(response->timestamp, 1234);
	assert_true(response->replayed);
	order_service__v1__order_response__free_unpacked(response, NULL);
}

static void
a_full_page_of_the_largest_orders_fits_into_a_frame(void **state)
{
	static StoreOrder orders[LIST_ORDERS_MAX];
	char symbol[SYMBOL_BYTES_MAX + 1] = {0};

	(void) state;
	memset(symbol, 'S', SYMBOL_BYTES_MAX);
	for (int i = 0; i < LIST_ORDERS_MAX; i++)
		orders[i] = (StoreOrder){.order_id = INT64_MIN,
								 .account_id = INT64_MIN,
								 .symbol = symbol,
								 .side = INT32_MAX,
								 .order_type = INT32_MAX,
								 .time_in_force = INT32_MAX,
								 .status = INT32_MAX,
								 .quantity = INT64_MIN,
								 .price = INT64_MIN,
								 .filled_quantity = INT64_MIN,
								 .reason = "EXPIRED_BEFORE_ACCEPTANCE",
								 .created_at_ms = INT64_MIN,
								 .updated_at_ms = INT64_MIN};
	message_encode_orders(&payload, orders, LIST_ORDERS_MAX, true);
	assert_true(payload.size <= FRAME_PAYLOAD_MAX);
}

static void
an_error_names_code_reason_and_detail(void **state)
{
	OrderService__V1__ErrorMessage *message;

	(void) state;
	message_encode_error(&payload, REASON_UNKNOWN_SYMBOL, "Symbol is \"X\".");
	message = order_service__v1__error_message__unpack(NULL, payload.size, payload.data);
	assert_non_null(message);
	assert_int_equal(message->code, 404);
	assert_string_equal(message->reason, "UNKNOWN_SYMBOL");
	assert_string_equal(message->message, "symbol does not exist: Symbol is \"X\".");
	order_service__v1__error_message__free_unpacked(message, NULL);
}

static void
a_broken_frame_has_its_code(void **state)
{
	(void) state;
	for (int code = FRAME_ERROR_DECODE; code <= FRAME_ERROR_LENGTH; code++)
	{
		OrderService__V1__ErrorMessage *message;

		bytes_clear(&payload);
		message_encode_frame_error(&payload, (FrameError) code);
		message = order_service__v1__error_message__unpack(NULL, payload.size, payload.data);
		assert_non_null(message);
		assert_int_equal(message->code, code);
		assert_string_not_equal(message->message, "");
		order_service__v1__error_message__free_unpacked(message, NULL);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, clear, clear)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_place_request_arrives_with_all_its_fields),
		TEST(every_method_decodes_an_empty_payload),
		TEST(a_method_that_does_not_exist_is_named),
		TEST(a_method_without_a_request_takes_no_payload),
		TEST(a_text_with_a_zero_byte_is_refused_and_not_cut),
		TEST(a_text_that_is_not_utf8_is_refused),
		TEST(a_bad_byte_is_found_wherever_it_is),
		TEST(texts_beyond_their_limit_have_their_reason),
		TEST(a_payload_cut_anywhere_is_refused_or_is_shorter),
		TEST(unknown_fields_are_passed_over),
		TEST(the_largest_payload_of_the_smallest_fields_cannot_cost_more_than_the_limit),
		TEST(one_unknown_field_may_fill_the_largest_payload),
		TEST(a_recorded_order_is_answered_with_code_and_reason),
		TEST(a_full_page_of_the_largest_orders_fits_into_a_frame),
		TEST(an_error_names_code_reason_and_detail),
		TEST(a_broken_frame_has_its_code),
	};

	return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}
