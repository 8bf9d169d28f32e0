/*
 * grpc_test.c
 *		The pure parts of gRPC: status codes, prefix, grpc-timeout, percent encoding, messages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/bounds.h"
#include "net/grpc.h"
#include "net/grpc_reader.h"

/* Status codes --------------------------------------------------------------------------------- */

static void
every_status_has_its_own_name(void **state)
{
	(void) state;
	assert_string_equal(grpc_status_name(GRPC_OK), "OK");
	assert_string_equal(grpc_status_name(GRPC_UNAVAILABLE), "UNAVAILABLE");
	assert_string_equal(grpc_status_name(GRPC_UNAUTHENTICATED), "UNAUTHENTICATED");
	for (int i = 0; i < GRPC_STATUS_COUNT; i++)
	{
		for (int j = 0; j < i; j++)
			assert_string_not_equal(grpc_status_name(i), grpc_status_name(j));
	}
}

static void
a_number_that_is_no_status_is_unknown(void **state)
{
	(void) state;
	assert_string_equal(grpc_status_name(-1), "UNKNOWN");
	assert_string_equal(grpc_status_name(GRPC_STATUS_COUNT), "UNKNOWN");
}

static GrpcStatus
parse_status(const char *text)
{
	return grpc_parse_status(text, strlen(text));
}

static void
parses_grpc_status(void **state)
{
	static const char *const invalid[] = {"",   "17", "99", "016", "-1", "+1",
										  " 1", "1 ", "x",  "1.",  "0x1"};

	(void) state;
	for (int i = 0; i < GRPC_STATUS_COUNT; i++)
	{
		char text[16];

		(void) snprintf(text, sizeof(text), "%d", i);
		assert_int_equal(parse_status(text), i);
	}
	for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++)
		assert_int_equal(parse_status(invalid[i]), GRPC_UNKNOWN);
}

static void
maps_http_status_and_reset_codes(void **state)
{
	(void) state;
	assert_int_equal(grpc_status_of_http(400), GRPC_INTERNAL);
	assert_int_equal(grpc_status_of_http(401), GRPC_UNAUTHENTICATED);
	assert_int_equal(grpc_status_of_http(403), GRPC_PERMISSION_DENIED);
	assert_int_equal(grpc_status_of_http(404), GRPC_UNIMPLEMENTED);
	assert_int_equal(grpc_status_of_http(429), GRPC_UNAVAILABLE);
	assert_int_equal(grpc_status_of_http(502), GRPC_UNAVAILABLE);
	assert_int_equal(grpc_status_of_http(503), GRPC_UNAVAILABLE);
	assert_int_equal(grpc_status_of_http(504), GRPC_UNAVAILABLE);
	assert_int_equal(grpc_status_of_http(200), GRPC_UNKNOWN);
	assert_int_equal(grpc_status_of_http(500), GRPC_UNKNOWN);

	assert_int_equal(grpc_status_of_reset(0x0), GRPC_INTERNAL);
	assert_int_equal(grpc_status_of_reset(0x1), GRPC_INTERNAL);
	assert_int_equal(grpc_status_of_reset(0x7), GRPC_UNAVAILABLE);
	assert_int_equal(grpc_status_of_reset(0x8), GRPC_CANCELLED);
	assert_int_equal(grpc_status_of_reset(0xB), GRPC_RESOURCE_EXHAUSTED);
	assert_int_equal(grpc_status_of_reset(0xC), GRPC_PERMISSION_DENIED);
	assert_int_equal(grpc_status_of_reset(0x1234), GRPC_UNKNOWN);
}

/* grpc-timeout --------------------------------------------------------------------------------- */

static void
assert_timeout(int64_t timeout_us, const char *expected)
{
	char text[GRPC_TIMEOUT_SIZE];

	grpc_format_timeout(timeout_us, text);
	assert_string_equal(text, expected);
}

static void
writes_a_timeout_in_the_finest_unit_that_fits(void **state)
{
	(void) state;
	assert_timeout(0, "0n");
	assert_timeout(-5, "0n");
	assert_timeout(1, "1000n");
	assert_timeout(50000, "50000000n");
	assert_timeout(99999, "99999000n");
	assert_timeout(100000, "100000u");
	assert_timeout(99999999, "99999999u");
	assert_timeout(100000000, "100000m");
	assert_timeout(100000001, "100001m"); /* rounded up */
	assert_timeout(INT64_C(99999999) * 1000, "99999999m");
	assert_timeout(INT64_C(99999999) * 1000 + 1, "100000S");
	assert_timeout(INT64_MAX, "2562048H");
}

static void
reads_every_unit_of_a_timeout(void **state)
{
	static const char *const invalid[] = {"",    "n",   "5",  "5x",  "123456789n",
										  "-5n", "5 n", "5N", "1.5S"};

	(void) state;
	assert_int_equal(grpc_parse_timeout("1n", 2), 1);
	assert_int_equal(grpc_parse_timeout("1001n", 5), 2);
	assert_int_equal(grpc_parse_timeout("0n", 2), 0);
	assert_int_equal(grpc_parse_timeout("7u", 2), 7);
	assert_int_equal(grpc_parse_timeout("50m", 3), 50000);
	assert_int_equal(grpc_parse_timeout("2S", 2), 2000000);
	assert_int_equal(grpc_parse_timeout("3M", 2), 180000000);
	assert_int_equal(grpc_parse_timeout("99999999H", 9), INT64_C(99999999) * 3600000000);
	for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++)
		assert_int_equal(grpc_parse_timeout(invalid[i], strlen(invalid[i])), -1);
}

static void
a_timeout_is_never_read_as_less_than_was_written(void **state)
{
	(void) state;
	for (int64_t timeout_us = 1; timeout_us < INT64_MAX / 7 / 1000; timeout_us = timeout_us * 7 + 3)
	{
		char text[GRPC_TIMEOUT_SIZE];

		grpc_format_timeout(timeout_us, text);
		assert_true(grpc_parse_timeout(text, strlen(text)) >= timeout_us);
	}
}

/* grpc-message --------------------------------------------------------------------------------- */

/* The text of gRPC's interoperability test "special_status_message". */
static const char special[] =
	"\t\ntest with whitespace\r\nand Unicode BMP \xE2\x98\xBA and non-BMP "
	"\xF0\x9F\x98\x88\t\n";

static void
a_special_message_survives_encoding(void **state)
{
	char encoded[256];
	char decoded[256];

	(void) state;
	grpc_encode_message(special, encoded, sizeof(encoded));
	for (const char *at = encoded; *at != '\0'; at++)
		assert_true(*at >= ' ' && *at <= '~');
	grpc_decode_message(encoded, strlen(encoded), decoded, sizeof(decoded));
	assert_string_equal(decoded, special);
}

static void
assert_decoded(const char *encoded, const char *expected)
{
	char text[64];

	grpc_decode_message(encoded, strlen(encoded), text, sizeof(text));
	assert_string_equal(text, expected);
}

static void
a_bad_escape_stays_as_it_is(void **state)
{
	(void) state;
	assert_decoded("100%25", "100%");
	assert_decoded("%e2%98%BA", "\xE2\x98\xBA");
	assert_decoded("%", "%");
	assert_decoded("%2", "%2");
	assert_decoded("%2x", "%2x");
	assert_decoded("%zz%41", "%zzA");
	assert_decoded("%%41", "%A");
	assert_decoded("", "");
}

static void
a_long_message_is_cut_between_escapes(void **state)
{
	char text[4];

	(void) state;
	grpc_decode_message("abcdef", 6, text, sizeof(text));
	assert_string_equal(text, "abc");
	grpc_encode_message("abcdef", text, sizeof(text));
	assert_string_equal(text, "abc");
	grpc_encode_message("a\n", text, sizeof(text));
	assert_string_equal(text, "a");
	grpc_encode_message("\nb", text, sizeof(text));
	assert_string_equal(text, "%0A");
}

/* Messages ------------------------------------------------------------------------------------- */

static void
writes_and_reads_a_prefix(void **state)
{
	static const uint8_t expected[GRPC_PREFIX_SIZE] = {0, 1, 2, 3, 4};
	uint8_t prefix[GRPC_PREFIX_SIZE];
	uint32_t size;
	bool is_compressed;

	(void) state;
	grpc_write_prefix(prefix, 0x01020304);
	assert_memory_equal(prefix, expected, sizeof(expected));
	assert_true(grpc_read_prefix(prefix, &size, &is_compressed));
	assert_int_equal(size, 0x01020304);
	assert_false(is_compressed);

	prefix[0] = 1;
	assert_false(grpc_read_prefix(prefix, &size, &is_compressed));
	assert_true(is_compressed);
	prefix[0] = 2;
	assert_false(grpc_read_prefix(prefix, &size, &is_compressed));
	assert_false(is_compressed);
}

static void
a_message_is_whole_however_it_is_cut(void **state)
{
	static const uint8_t bytes[] = {0, 0, 0, 0, 3, 'a', 'b', 'c'};

	(void) state;
	for (size_t piece = 1; piece <= sizeof(bytes); piece++)
	{
		GrpcReader reader = {0};

		assert_true(grpc_reader_is_empty(&reader));
		for (size_t at = 0; at < sizeof(bytes); at += piece)
		{
			size_t size = sizeof(bytes) - at < piece ? sizeof(bytes) - at : piece;

			assert_false(grpc_reader_is_whole(&reader));
			assert_int_equal(grpc_reader_add(&reader, bytes + at, size), GRPC_READ_OK);
			assert_false(grpc_reader_is_empty(&reader));
		}
		assert_true(grpc_reader_is_whole(&reader));
		assert_int_equal(reader.message.size, 3);
		assert_memory_equal(reader.message.data, "abc", 3);
		assert_int_equal(grpc_reader_add(&reader, bytes, 0), GRPC_READ_OK);
		assert_int_equal(grpc_reader_add(&reader, bytes, 1), GRPC_READ_EXTRA);
		grpc_reader_free(&reader);
	}
}

static void
an_empty_message_is_a_message(void **state)
{
	static const uint8_t bytes[GRPC_PREFIX_SIZE] = {0};
	GrpcReader reader = {0};

	(void) state;
	assert_int_equal(grpc_reader_add(&reader, bytes, sizeof(bytes)), GRPC_READ_OK);
	assert_true(grpc_reader_is_whole(&reader));
	grpc_reader_free(&reader);
}

static GrpcReadError
read_prefix_of(uint8_t flag, uint32_t size, size_t *allocated)
{
	GrpcReader reader = {0};
	uint8_t prefix[GRPC_PREFIX_SIZE];
	GrpcReadError error;

	grpc_write_prefix(prefix, size);
	prefix[0] = flag;
	error = grpc_reader_add(&reader, prefix, sizeof(prefix));
	*allocated = reader.message.capacity;
	grpc_reader_free(&reader);
	return error;
}

static void
a_prefix_is_judged_before_anything_is_allocated(void **state)
{
	size_t allocated;

	(void) state;
	assert_int_equal(read_prefix_of(0, GRPC_MESSAGE_BYTES_MAX, &allocated), GRPC_READ_OK);
	assert_int_equal(allocated, 0);
	assert_int_equal(read_prefix_of(0, GRPC_MESSAGE_BYTES_MAX + 1, &allocated),
					 GRPC_READ_TOO_LARGE);
	assert_int_equal(read_prefix_of(0, UINT32_MAX, &allocated), GRPC_READ_TOO_LARGE);
	assert_int_equal(allocated, 0);
	assert_int_equal(read_prefix_of(1, 5, &allocated), GRPC_READ_COMPRESSED);
	assert_int_equal(read_prefix_of(7, 5, &allocated), GRPC_READ_PREFIX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_status_has_its_own_name),
		cmocka_unit_test(a_number_that_is_no_status_is_unknown),
		cmocka_unit_test(parses_grpc_status),
		cmocka_unit_test(maps_http_status_and_reset_codes),
		cmocka_unit_test(writes_a_timeout_in_the_finest_unit_that_fits),
		cmocka_unit_test(reads_every_unit_of_a_timeout),
		cmocka_unit_test(a_timeout_is_never_read_as_less_than_was_written),
		cmocka_unit_test(a_special_message_survives_encoding),
		cmocka_unit_test(a_bad_escape_stays_as_it_is),
		cmocka_unit_test(a_long_message_is_cut_between_escapes),
		cmocka_unit_test(writes_and_reads_a_prefix),
		cmocka_unit_test(a_message_is_whole_however_it_is_cut),
		cmocka_unit_test(an_empty_message_is_a_message),
		cmocka_unit_test(a_prefix_is_judged_before_anything_is_allocated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
