/*
 * frame_test.c
 *		The header of the client protocol, against the tables of proto/WIRE.md.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "frame.h"

/* REQ ORDER place, correlation id 0x0102030405060708, 37 bytes. */
static const uint8_t golden[FRAME_HEADER_SIZE] = {
	0x01, 0x01, 0x02, 0x00, 0x01, 0x00, 0x00, 0x00, 0x08, 0x07, 0x06, 0x05,
	0x04, 0x03, 0x02, 0x01, 0x00, 0x00, 0x00, 0x00, 0x25, 0x00, 0x00, 0x00,
};

static const FrameHeader golden_header = {
	.type = FRAME_REQUEST,
	.service = SERVICE_ORDER,
	.method = ORDER_PLACE,
	.correlation_id = UINT64_C(0x0102030405060708),
	.payload_length = 37,
};

static FrameError
decode_with(int offset, uint8_t byte)
{
	uint8_t bytes[FRAME_HEADER_SIZE];
	FrameHeader header;

	memcpy(bytes, golden, sizeof(bytes));
	bytes[offset] = byte;
	return frame_decode(bytes, &header);
}

static void
encodes_the_golden_vector(void **state)
{
	uint8_t bytes[FRAME_HEADER_SIZE];

	(void) state;
	memset(bytes, 0xAA, sizeof(bytes));
	frame_encode(&golden_header, bytes);
	assert_memory_equal(bytes, golden, sizeof(golden));
}

static void
decodes_the_golden_vector(void **state)
{
	FrameHeader header;

	(void) state;
	assert_int_equal(frame_decode(golden, &header), FRAME_OK);
	assert_int_equal(header.type, golden_header.type);
	assert_int_equal(header.service, golden_header.service);
	assert_int_equal(header.method, golden_header.method);
	assert_int_equal(header.flags, 0);
	assert_true(header.correlation_id == golden_header.correlation_id);
	assert_int_equal(header.sequence, 0);
	assert_int_equal(header.payload_length, golden_header.payload_length);
}

static void
gives_back_what_was_encoded_at_the_ends_of_every_range(void **state)
{
	FrameHeader in = {.type = FRAME_EVENT,
					  .service = UINT16_MAX,
					  .method = UINT16_MAX,
					  .flags = FRAME_FLAG_ERROR,
					  .correlation_id = UINT64_MAX,
					  .sequence = UINT32_MAX,
					  .payload_length = FRAME_PAYLOAD_MAX};
	uint8_t bytes[FRAME_HEADER_SIZE];
	FrameHeader out;

	(void) state;
	frame_encode(&in, bytes);
	assert_int_equal(frame_decode(bytes, &out), FRAME_OK);
	assert_int_equal(out.service, in.service);
	assert_int_equal(out.method, in.method);
	assert_int_equal(out.flags, in.flags);
	assert_true(out.correlation_id == in.correlation_id);
	assert_true(out.sequence == in.sequence);
	assert_int_equal(out.payload_length, in.payload_length);
}

static void
accepts_version_1_only(void **state)
{
	(void) state;
	for (int version = 0; version <= UINT8_MAX; version++)
		assert_int_equal(decode_with(0, (uint8_t) version),
						 version == 1 ? FRAME_OK : FRAME_ERROR_VERSION);
}

static void
accepts_the_four_types_only(void **state)
{
	(void) state;
	for (int type = 0; type <= UINT8_MAX; type++)
		assert_int_equal(decode_with(1, (uint8_t) type),
						 type >= 1 && type <= 4 ? FRAME_OK : FRAME_ERROR_DECODE);
}

static void
refuses_every_reserved_flag_and_an_error_flag_on_a_request(void **state)
{
	(void) state;
	for (int bit = 0; bit < 8; bit++)
	{
		assert_int_equal(decode_with(6, (uint8_t) (1 << bit)), FRAME_ERROR_DECODE);
		assert_int_equal(decode_with(7, (uint8_t) (1 << bit)), FRAME_ERROR_DECODE);
	}
}

static void
refuses_a_sequence_on_a_request_in_each_of_its_bytes(void **state)
{
	(void) state;
	for (int offset = 16; offset < 20; offset++)
		assert_int_equal(decode_with(offset, 1), FRAME_ERROR_DECODE);
}

static void
accepts_a_payload_of_one_mebibyte_and_not_a_byte_more(void **state)
{
	uint8_t bytes[FRAME_HEADER_SIZE];
	FrameHeader header;

	(void) state;
	memcpy(bytes, golden, sizeof(bytes));
	memcpy(bytes + 20, "\x00\x00\x10\x00", 4);
	assert_int_equal(frame_decode(bytes, &header), FRAME_OK);
	assert_int_equal(header.payload_length, 1048576);
	memcpy(bytes + 20, "\x01\x00\x10\x00", 4);
	assert_int_equal(frame_decode(bytes, &header), FRAME_ERROR_LENGTH);
	memcpy(bytes + 20, "\xff\xff\xff\xff", 4);
	assert_int_equal(frame_decode(bytes, &header), FRAME_ERROR_LENGTH);
}

static void
checks_the_version_before_the_length_before_the_rest(void **state)
{
	uint8_t bytes[FRAME_HEADER_SIZE];
	FrameHeader header;

	(void) state;
	memset(bytes, 0xFF, sizeof(bytes));
	assert_int_equal(frame_decode(bytes, &header), FRAME_ERROR_VERSION);
	assert_true(header.correlation_id == UINT64_MAX);
	bytes[0] = FRAME_VERSION;
	assert_int_equal(frame_decode(bytes, &header), FRAME_ERROR_LENGTH);
	memset(bytes + 20, 0, 4);
	assert_int_equal(frame_decode(bytes, &header), FRAME_ERROR_DECODE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encodes_the_golden_vector),
		cmocka_unit_test(decodes_the_golden_vector),
		cmocka_unit_test(gives_back_what_was_encoded_at_the_ends_of_every_range),
		cmocka_unit_test(accepts_version_1_only),
		cmocka_unit_test(accepts_the_four_types_only),
		cmocka_unit_test(refuses_every_reserved_flag_and_an_error_flag_on_a_request),
		cmocka_unit_test(refuses_a_sequence_on_a_request_in_each_of_its_bytes),
		cmocka_unit_test(accepts_a_payload_of_one_mebibyte_and_not_a_byte_more),
		cmocka_unit_test(checks_the_version_before_the_length_before_the_rest),
	};

	return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
