/*
 * event_decode_test.c
 *		Reading an OrderEvent back: all that was written is there again, and whatever was not
 *		written by us is refused.
 */
#include "event.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SYMBOL_MAX "SYMBOL.OF-32_CHARACTERS.ABCDEFGH"
#define RANDOM_ROUNDS 200000

static const Event usual_event = {
	.order_id = 7,
	.account_id = 1001,
	.symbol = "ACME",
	.side = SIDE_BUY,
	.order_type = ORDER_TYPE_LIMIT,
	.time_in_force = TIME_IN_FORCE_IOC,
	.status = STATUS_CANCELED,
	.event_type = EVENT_ORDER_CANCELED,
	.reason = REASON_EXCHANGE_EXPIRED,
	.order_version = 3,
	.quantity = 300,
	.price = 150000000,
	.filled_quantity = 100,
	.created_at_ms = INT64_C(1700000000000),
	.reserve_id = "0123456789ab-7",
};

/* An encoded event that tests may damage. */
typedef struct Payload
{
	uint8_t bytes[EVENT_BYTES_MAX + 64];
	size_t size;
} Payload;

static Payload
encode(const Event *event)
{
	Payload payload = {.size = 0};

	payload.size = event_encode(event, payload.bytes, EVENT_BYTES_MAX);
	assert_int_not_equal(payload.size, 0);
	return payload;
}

/* From memory of exactly its size, so that reading behind it is found. */
static bool
is_accepted(const Payload *payload)
{
	uint8_t *exact = malloc(payload->size + 1);
	Event event;
	EventTexts texts;
	bool result;

	memcpy(exact + 1, payload->bytes, payload->size);
	result = event_decode(exact + 1, payload->size, &event, &texts);
	free(exact);
	return result;
}

static void
assert_round_trip(const Event *event)
{
	Payload payload = encode(event);
	Event decoded;
	EventTexts texts;

	assert_true(event_decode(payload.bytes, payload.size, &decoded, &texts));
	assert_int_equal(decoded.order_id, event->order_id);
	assert_int_equal(decoded.account_id, event->account_id);
	assert_string_equal(decoded.symbol, event->symbol);
	assert_int_equal(decoded.side, event->side);
	assert_int_equal(decoded.order_type, event->order_type);
	assert_int_equal(decoded.time_in_force, event->time_in_force);
	assert_int_equal(decoded.status, event->status);
	assert_int_equal(decoded.event_type, event->event_type);
	assert_int_equal(decoded.reason, event->reason);
	assert_int_equal(decoded.order_version, event->order_version);
	assert_int_equal(decoded.quantity, event->quantity);
	assert_int_equal(decoded.price, event->price);
	assert_int_equal(decoded.filled_quantity, event->filled_quantity);
	assert_int_equal(decoded.created_at_ms, event->created_at_ms);
	assert_string_equal(decoded.reserve_id, event->reserve_id);
}

static void
what_was_encoded_is_decoded(void **state)
{
	Event market = usual_event;

	(void) state;
	assert_round_trip(&usual_event);
	market.order_type = ORDER_TYPE_MARKET;
	market.price = 0;
	market.filled_quantity = 0;
	market.reserve_id = "";
	market.reason = REASON_NONE;
	assert_round_trip(&market);
}

static void
every_code_that_has_a_name_is_decoded(void **state)
{
	Event event = usual_event;

	(void) state;
	for (event.side = SIDE_BUY; event.side <= SIDE_SELL; event.side++)
		assert_round_trip(&event);
	event = usual_event;
	for (event.status = 0; event.status < STATUS_COUNT; event.status++)
		assert_round_trip(&event);
	event = usual_event;
	for (event.time_in_force = 0; event.time_in_force <= TIME_IN_FORCE_FOK; event.time_in_force++)
		assert_round_trip(&event);
	event = usual_event;
	for (event.event_type = EVENT_ORDER_ACCEPTED; event.event_type <= EVENT_ORDER_CANCEL_REJECTED;
		 event.event_type++)
		assert_round_trip(&event);
	event = usual_event;
	for (event.reason = 0; event.reason < 256; event.reason++)
	{
		if (reason_name(event.reason) != NULL)
			assert_round_trip(&event);
	}
}

static void
numbers_and_texts_at_their_limits_are_whole(void **state)
{
	Event event = usual_event;

	(void) state;
	event.order_id = event.account_id = event.quantity = event.price = INT64_MAX;
	event.filled_quantity = event.created_at_ms = INT64_MAX;
	event.order_version = INT32_MAX;
	event.symbol = SYMBOL_MAX;
	event.reserve_id = "ffffffffffff-9223372036854775807";
	assert_round_trip(&event);
	event.order_id = event.account_id = event.quantity = event.price = INT64_MIN;
	event.filled_quantity = event.created_at_ms = INT64_MIN;
	event.order_version = INT32_MIN;
	assert_round_trip(&event);
}

static void
an_event_that_is_cut_off_or_too_long_is_refused(void **state)
{
	Payload payload = encode(&usual_event);
	int accepted = 0;

	(void) state;
	for (size_t size = 0; size < payload.size; size++)
	{
		Payload cut = payload;

		cut.size = size;
		accepted += is_accepted(&cut);
	}
	/* A whole event is what ends with its event type (12), its version (13) or its fill (14). */
	assert_int_equal(accepted, 3);
	payload.size = EVENT_BYTES_MAX + 1;
	assert_false(is_accepted(&payload));
	payload.size = 0;
	assert_false(is_accepted(&payload));
}

static void
assert_refused_with(const Payload *payload, const uint8_t *more, size_t size)
{
	Payload longer = *payload;

	memcpy(longer.bytes + longer.size, more, size);
	longer.size += size;
	assert_false(is_accepted(&longer));
}

static void
fields_that_are_not_known_or_given_twice_are_refused(void **state)
{
	static const uint8_t unknown[] = {0x80, 0x01, 0x01};        /* 16: 1 */
	static const uint8_t unknown_text[] = {0x82, 0x01, 1, 'x'}; /* 16: "x" */
	static const uint8_t again[] = {0x08, 0x07};                /* 1: 7 */
	static const uint8_t text_again[] = {0x1a, 1, 'X'};         /* 3: "X" */
	static const uint8_t group[] = {0x83, 0x01, 0x84, 0x01};    /* 16: a group */
	static const uint8_t absent[] = {0x28, 0x00};               /* 5: 0, which is not written */
	Payload payload = encode(&usual_event);

	(void) state;
	assert_true(is_accepted(&payload));
	assert_refused_with(&payload, unknown, sizeof(unknown));
	assert_refused_with(&payload, unknown_text, sizeof(unknown_text));
	assert_refused_with(&payload, again, sizeof(again));
	assert_refused_with(&payload, text_again, sizeof(text_again));
	assert_refused_with(&payload, group, sizeof(group));
	assert_refused_with(&payload, absent, sizeof(absent));
}

static void
codes_without_a_name_are_refused(void **state)
{
	Event event = usual_event;
	Payload payload;

	(void) state;
	event.side = 3;
	payload = encode(&event);
	assert_false(is_accepted(&payload));
	event = usual_event;
	event.status = STATUS_COUNT;
	payload = encode(&event);
	assert_false(is_accepted(&payload));
	event = usual_event;
	event.event_type = 0;
	payload = encode(&event);
	assert_false(is_accepted(&payload));
	event = usual_event;
	event.order_type = -1;
	payload = encode(&event);
	assert_false(is_accepted(&payload));
	event = usual_event;
	event.time_in_force = INT_MAX;
	payload = encode(&event);
	assert_false(is_accepted(&payload));
	/* The reason is the last field: EXCHANGE_EXPIRED becomes EXCHANGE_EXPIREX, then NONE. */
	payload = encode(&usual_event);
	payload.bytes[payload.size - 1] = 'X';
	assert_false(is_accepted(&payload));
	payload.size -= 12;
	payload.bytes[payload.size - 5] = 4;
	memcpy(payload.bytes + payload.size - 4, "NONE", 4);
	assert_false(is_accepted(&payload));
}

static void
texts_that_are_not_printable_ascii_are_refused(void **state)
{
	static const char *const symbols[] = {"A\nB", "\x01", "A\x7f", "\xc3\xa9", "\xff"};
	Event event = usual_event;
	Payload payload;

	(void) state;
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++)
	{
		event.symbol = symbols[i];
		payload = encode(&event);
		assert_false(is_accepted(&payload));
	}
	/* Quotes and the like are the business of who writes JSON. */
	event.symbol = "\" \\ /~";
	assert_round_trip(&event);
	event = usual_event;
	event.reserve_id = "\t";
	payload = encode(&event);
	assert_false(is_accepted(&payload));
	/* A zero byte would end the text: the four characters of the symbol follow its length. */
	payload = encode(&usual_event);
	for (size_t i = 0; i + 4 <= payload.size; i++)
	{
		if (memcmp(payload.bytes + i, "ACME", 4) == 0)
			payload.bytes[i + 2] = '\0';
	}
	assert_false(is_accepted(&payload));
}

static void
more_fields_than_memory_are_refused(void **state)
{
	Payload payload = {.size = EVENT_BYTES_MAX};

	(void) state;
	for (size_t i = 0; i < payload.size; i += 2)
	{
		payload.bytes[i] = 0x08;
		payload.bytes[i + 1] = 0x01;
	}
	assert_false(is_accepted(&payload));
	/* Unknown ones, which protobuf-c keeps. */
	for (size_t i = 0; i + 3 <= payload.size; i += 3)
		memcpy(payload.bytes + i, "\x80\x01\x01", 3);
	payload.size -= payload.size % 3;
	assert_false(is_accepted(&payload));
}

static void
damaged_bytes_are_refused_or_say_what_they_say(void **state)
{
	Payload golden = encode(&usual_event);
	int accepted = 0;

	(void) state;
	srand(20261125);
	for (int i = 0; i < RANDOM_ROUNDS; i++)
	{
		Payload payload = golden;
		Event event;
		EventTexts texts;

		for (int damage = rand() % 4; damage >= 0; damage--)
			payload.bytes[(size_t) rand() % payload.size] = (uint8_t) rand();
		if (!is_accepted(&payload))
			continue;
		accepted++;
		assert_true(event_decode(payload.bytes, payload.size, &event, &texts));
		assert_round_trip(&event);
	}
	assert_true(accepted > 0 && accepted < RANDOM_ROUNDS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_encoded_is_decoded),
		cmocka_unit_test(every_code_that_has_a_name_is_decoded),
		cmocka_unit_test(numbers_and_texts_at_their_limits_are_whole),
		cmocka_unit_test(an_event_that_is_cut_off_or_too_long_is_refused),
		cmocka_unit_test(fields_that_are_not_known_or_given_twice_are_refused),
		cmocka_unit_test(codes_without_a_name_are_refused),
		cmocka_unit_test(texts_that_are_not_printable_ascii_are_refused),
		cmocka_unit_test(more_fields_than_memory_are_refused),
		cmocka_unit_test(damaged_bytes_are_refused_or_say_what_they_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
