/*
 * event_test.c
 *		The OrderEvent message: its bytes, and that they fit.
 *
 * DESIGN	The bytes are compared with ones written by hand from the protobuf encoding, and read
 *			back by a decoder written here, so that a mistake in the schema cannot hide behind its
 *			own generated code.
 */
#include "event.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bounds.h"
#include "order_event.pb-c.h"

#define LENGTH_OF(array) (sizeof(array) / sizeof((array)[0]))
#define FIELD_COUNT 15

/* The last field of the predecessor's OrderCreatedEvent. */
#define PREDECESSOR_FIELD_MAX 11

#define WIRE_VARINT 0
#define WIRE_BYTES 2

static const Event golden_event = {
	.order_id = 1,
	.account_id = 1001,
	.symbol = "ACME",
	.side = SIDE_SELL,
	.order_type = ORDER_TYPE_LIMIT,
	.quantity = 300,
	.price = 150000000,
	.time_in_force = TIME_IN_FORCE_GTC,
	.status = STATUS_CANCELED,
	.reserve_id = "0123456789ab-1",
	.created_at_ms = INT64_C(1700000000000),
	.event_type = EVENT_ORDER_CANCELED,
	.order_version = 5,
	.filled_quantity = 100,
	.reason = REASON_EXCHANGE_EXPIRED,
};

/*
 * A field is its tag (number * 8 + wire type) and its value. A varint holds 7 bits per byte, the
 * lowest first; all bytes but the last have the top bit set.
 */
static const uint8_t golden_bytes[] = {
	0x08, 0x01,                               /* 1 order_id: 1 */
	0x10, 0xe9, 0x07,                         /* 2 account_id: 1001 = 7 * 128 + 0x69 */
	0x1a, 0x04, 'A',  'C',  'M',  'E',        /* 3 symbol: 4 bytes */
	0x20, 0x02,                               /* 4 side: SELL */
	0x28, 0x01,                               /* 5 order_type: LIMIT */
	0x30, 0xac, 0x02,                         /* 6 quantity: 300 = 2 * 128 + 0x2c */
	0x38, 0x80, 0xa3, 0xc3, 0x47,             /* 7 price: 0x47 << 21 | 0x43 << 14 | 0x23 << 7 */
	0x40, 0x01,                               /* 8 time_in_force: GTC */
	0x48, 0x06,                               /* 9 status: CANCELED */
	0x52, 0x0e, '0',  '1',  '2',  '3',  '4',  /* 10 reserve_id: 14 bytes */
	'5',  '6',  '7',  '8',  '9',  'a',  'b',  /* ... */
	'-',  '1',                                /* ... */
	0x58, 0x80, 0xd0, 0x95, 0xff, 0xbc, 0x31, /* 11 created_at: 1.7 * 10^12, 2023-11-14 22:13:20 */
	0x60, 0x07,                               /* 12 event_type: ORDER_CANCELED */
	0x68, 0x05,                               /* 13 order_version: 5 */
	0x70, 0x64,                               /* 14 filled_quantity: 100 */
	0x7a, 0x10, 'E',  'X',  'C',  'H',  'A',  /* 15 reason: 16 bytes */
	'N',  'G',  'E',  '_',  'E',  'X',  'P',  /* ... */
	'I',  'R',  'E',  'D',
};

/* One field as the decoder found it; |text| is NULL for a number. */
typedef struct Field
{
	bool is_present;
	uint64_t number;
	const uint8_t *text;
	size_t length;
} Field;

typedef struct Reader
{
	const uint8_t *next;
	const uint8_t *end;
} Reader;

static uint64_t
read_varint(Reader *reader)
{
	uint64_t value = 0;

	for (int shift = 0; shift < 64; shift += 7)
	{
		uint8_t byte;

		assert_true(reader->next < reader->end);
		byte = *reader->next++;
		value |= (uint64_t) (byte & 0x7f) << shift;
		if (byte < 0x80)
			return value;
	}
	fail_msg("a varint of more than 10 bytes");
	return 0;
}

/*
 * Reads a message as a schema of |field_max| fields does: higher ones are skipped, by their wire
 * type alone.
 */
static void
decode(const uint8_t *bytes, size_t size, uint64_t field_max, Field *fields)
{
	Reader reader = {.next = bytes, .end = bytes + size};

	memset(fields, 0, sizeof(Field) * (field_max + 1));
	while (reader.next < reader.end)
	{
		uint64_t tag = read_varint(&reader);
		Field field = {.is_present = true};

		if (tag % 8 == WIRE_BYTES)
		{
			field.length = read_varint(&reader);
			field.text = reader.next;
			assert_true(field.length <= (size_t) (reader.end - reader.next));
			reader.next += field.length;
		}
		else
		{
			assert_int_equal(tag % 8, WIRE_VARINT);
			field.number = read_varint(&reader);
		}
		if (tag / 8 > field_max)
			continue;
		assert_false(fields[tag / 8].is_present);
		fields[tag / 8] = field;
	}
}

static void
expect_number(const Field *field, int64_t expected)
{
	/* A field of value 0 is left out: proto3. */
	assert_int_equal(field->is_present, expected != 0);
	assert_null(field->text);
	assert_true(field->number == (uint64_t) expected);
}

static void
expect_text(const Field *field, const char *expected)
{
	assert_int_equal(field->is_present, expected[0] != '\0');
	assert_int_equal(field->length, strlen(expected));
	if (field->is_present)
		assert_memory_equal(field->text, expected, field->length);
}

/* The fields that the predecessor's message has too. */
static void
expect_predecessor_fields(const Field *fields, const Event *event)
{
	expect_number(&fields[1], event->order_id);
	expect_number(&fields[2], event->account_id);
	expect_text(&fields[3], event->symbol);
	expect_number(&fields[4], event->side);
	expect_number(&fields[5], event->order_type);
	expect_number(&fields[6], event->quantity);
	expect_number(&fields[7], event->price);
	expect_number(&fields[8], event->time_in_force);
	expect_number(&fields[9], event->status);
	expect_text(&fields[10], event->reserve_id);
	expect_number(&fields[11], event->created_at_ms);
}

static void
expect_fields(const uint8_t *bytes, size_t size, const Event *event)
{
	Field fields[FIELD_COUNT + 1];

	decode(bytes, size, FIELD_COUNT, fields);
	expect_predecessor_fields(fields, event);
	expect_number(&fields[12], event->event_type);
	expect_number(&fields[13], event->order_version);
	expect_number(&fields[14], event->filled_quantity);
	expect_text(&fields[15], event->reason != REASON_NONE ? reason_name(event->reason) : "");
}

/* Encodes and reads back; returns the size. */
static size_t
expect_round_trip(const Event *event)
{
	uint8_t buffer[EVENT_BYTES_MAX];
	size_t size = event_encode(event, buffer, sizeof(buffer));

	assert_in_range(size, 1, sizeof(buffer));
	expect_fields(buffer, size, event);
	return size;
}

static void
event_has_the_bytes_that_the_protobuf_encoding_prescribes(void **state)
{
	uint8_t buffer[EVENT_BYTES_MAX];

	(void) state;
	assert_int_equal(event_encode(&golden_event, buffer, sizeof(buffer)), sizeof(golden_bytes));
	assert_memory_equal(buffer, golden_bytes, sizeof(golden_bytes));
	expect_fields(golden_bytes, sizeof(golden_bytes), &golden_event);
}

static void
consumer_of_the_predecessors_message_reads_its_fields(void **state)
{
	uint8_t buffer[EVENT_BYTES_MAX];
	Field fields[PREDECESSOR_FIELD_MAX + 1];
	size_t size = event_encode(&golden_event, buffer, sizeof(buffer));

	(void) state;
	decode(buffer, size, PREDECESSOR_FIELD_MAX, fields);
	expect_predecessor_fields(fields, &golden_event);
}

static void
generated_code_reads_the_event_back(void **state)
{
	OrderService__V1__OrderEvent *message =
		order_service__v1__order_event__unpack(NULL, sizeof(golden_bytes), golden_bytes);

	(void) state;
	assert_non_null(message);
	assert_true(message->order_id == golden_event.order_id);
	assert_true(message->account_id == golden_event.account_id);
	assert_string_equal(message->symbol, golden_event.symbol);
	assert_int_equal(message->side, ORDER_SERVICE__V1__SIDE__SELL);
	assert_int_equal(message->order_type, ORDER_SERVICE__V1__ORDER_TYPE__LIMIT);
	assert_true(message->quantity == golden_event.quantity);
	assert_true(message->price_micro_units == golden_event.price);
	assert_int_equal(message->time_in_force, ORDER_SERVICE__V1__TIME_IN_FORCE__GTC);
	assert_int_equal(message->status, ORDER_SERVICE__V1__ORDER_STATUS__CANCELED);
	assert_string_equal(message->reserve_id, golden_event.reserve_id);
	assert_true(message->created_at_millis == golden_event.created_at_ms);
	assert_int_equal(message->event_type, ORDER_SERVICE__V1__ORDER_EVENT_TYPE__ORDER_CANCELED);
	assert_int_equal(message->order_version, golden_event.order_version);
	assert_true(message->filled_quantity == golden_event.filled_quantity);
	assert_string_equal(message->reason, "EXCHANGE_EXPIRED");
	order_service__v1__order_event__free_unpacked(message, NULL);
}

static void
expect_same_names(const ProtobufCEnumDescriptor *descriptor, const char *(*name_of)(int) )
{
	int named = 0;

	for (int code = -1; code < 100; code++)
	{
		const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(descriptor, code);
		const char *name = name_of(code);

		/* The 0 of an enum that has none of ours is its UNKNOWN. */
		if (code == 0 && name == NULL)
		{
			assert_non_null(strstr(value->name, "UNKNOWN"));
			named++;
		}
		else if (name == NULL)
			assert_null(value);
		else
		{
			assert_non_null(value);
			assert_string_equal(value->name, name);
			named++;
		}
	}
	assert_int_equal(named, descriptor->n_values);
}

static void
codes_and_names_are_those_of_the_contract(void **state)
{
	(void) state;
	expect_same_names(&order_service__v1__side__descriptor, rules_side_name);
	expect_same_names(&order_service__v1__order_type__descriptor, rules_order_type_name);
	expect_same_names(&order_service__v1__time_in_force__descriptor, rules_time_in_force_name);
	expect_same_names(&order_service__v1__order_status__descriptor, rules_status_name);
	expect_same_names(&order_service__v1__order_event_type__descriptor, rules_event_type_name);
}

static void
zeros_and_empty_texts_are_left_out(void **state)
{
	uint8_t buffer[EVENT_BYTES_MAX];
	Event event = {.symbol = "", .reserve_id = ""};
	static const uint8_t only_version[] = {0x68, 0x01};

	(void) state;
	event.order_version = 1;
	assert_int_equal(event_encode(&event, buffer, sizeof(buffer)), sizeof(only_version));
	assert_memory_equal(buffer, only_version, sizeof(only_version));
}

static void
accepted_event_without_reservation_names_no_reason(void **state)
{
	Event event = golden_event;

	(void) state;
	event.reserve_id = "";
	event.reason = REASON_NONE;
	event.filled_quantity = 0;
	event.price = 0;
	/* The texts with tag and length, the price and the fills. */
	assert_int_equal(expect_round_trip(&event), sizeof(golden_bytes) - 16 - 18 - 5 - 2);
}

static void
negative_and_extreme_numbers_survive(void **state)
{
	static const int64_t values[] = {
		INT64_MIN,
		INT64_MIN + 1,
		-(INT64_C(1) << 32),
		INT32_MIN,
		-1,
		1,
		127,
		128,
		16383,
		16384,
		INT32_MAX,
		INT64_C(1) << 32,
		INT64_C(1) << 44,
		INT64_MAX - 1,
		INT64_MAX,
	};
	Event event = golden_event;

	(void) state;
	for (size_t i = 0; i < LENGTH_OF(values); i++)
	{
		event.order_id = values[i];
		event.account_id = values[LENGTH_OF(values) - 1 - i];
		event.quantity = values[i];
		event.price = -(values[i] / 2);
		event.filled_quantity = values[i];
		event.created_at_ms = values[i];
		event.order_version = (int32_t) (values[i] % INT32_MAX);
		(void) expect_round_trip(&event);
	}
	event.order_version = INT32_MIN;
	(void) expect_round_trip(&event);
	event.order_version = INT32_MAX;
	(void) expect_round_trip(&event);
}

static void
every_reason_is_written_by_its_name(void **state)
{
	Event event = golden_event;

	(void) state;
	for (event.reason = 0; event.reason < 100; event.reason++)
	{
		if (reason_name(event.reason) != NULL)
			(void) expect_round_trip(&event);
	}
}

static void
largest_event_fits(void **state)
{
	char symbol[SYMBOL_LENGTH_MAX + 1];
	/* identity.reserve_prefix has 12 characters; a hyphen and 19 digits follow. */
	char reserve_id[12 + 1 + 19 + 1];
	/* A negative number takes 10 bytes, of whatever type. */
	Event event = {.order_id = -1,
				   .account_id = -1,
				   .symbol = symbol,
				   .side = -1,
				   .order_type = -1,
				   .time_in_force = -1,
				   .status = -1,
				   .event_type = -1,
				   .order_version = -1,
				   .quantity = -1,
				   .price = -1,
				   .filled_quantity = -1,
				   .created_at_ms = -1,
				   .reserve_id = reserve_id};
	size_t reason_length = 0;
	size_t numbers = 12 * (1 + 10);
	size_t texts = 3 * 2 + SYMBOL_LENGTH_MAX + sizeof(reserve_id) - 1;

	(void) state;
	memset(symbol, 'W', sizeof(symbol) - 1);
	symbol[sizeof(symbol) - 1] = '\0';
	memset(reserve_id, '9', sizeof(reserve_id) - 1);
	reserve_id[sizeof(reserve_id) - 1] = '\0';
	for (int reason = 1; reason < 100; reason++)
	{
		const char *name = reason_name(reason);

		if (name == NULL || strlen(name) <= reason_length)
			continue;
		reason_length = strlen(name);
		event.reason = reason;
	}
	assert_int_equal(expect_round_trip(&event), numbers + texts + reason_length);
	assert_in_range(numbers + texts + reason_length, 1, EVENT_BYTES_MAX);
}

/* The buffer has exactly the size it is said to have: the address sanitizer watches its end. */
static void
buffer_that_is_too_small_is_left_alone(void **state)
{
	(void) state;
	for (size_t size = 0; size <= sizeof(golden_bytes); size++)
	{
		uint8_t *buffer = malloc(size + (size == 0));
		uint8_t untouched[sizeof(golden_bytes)];

		assert_non_null(buffer);
		memset(buffer, 0xa5, size);
		memset(untouched, 0xa5, sizeof(untouched));
		if (size < sizeof(golden_bytes))
		{
			assert_int_equal(event_encode(&golden_event, buffer, size), 0);
			if (size > 0)
				assert_memory_equal(buffer, untouched, size);
		}
		else
		{
			assert_int_equal(event_encode(&golden_event, buffer, size), size);
			assert_memory_equal(buffer, golden_bytes, size);
		}
		free(buffer);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(event_has_the_bytes_that_the_protobuf_encoding_prescribes),
		cmocka_unit_test(consumer_of_the_predecessors_message_reads_its_fields),
		cmocka_unit_test(generated_code_reads_the_event_back),
		cmocka_unit_test(codes_and_names_are_those_of_the_contract),
		cmocka_unit_test(zeros_and_empty_texts_are_left_out),
		cmocka_unit_test(accepted_event_without_reservation_names_no_reason),
		cmocka_unit_test(negative_and_extreme_numbers_survive),
		cmocka_unit_test(every_reason_is_written_by_its_name),
		cmocka_unit_test(largest_event_fits),
		cmocka_unit_test(buffer_that_is_too_small_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
