/*
 * uuid7_test.c
 *		Keys are UUIDs of version 7, each behind the one before.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "uuid7.h"

/* The moment of the example in RFC 9562, appendix A.6. */
#define EXAMPLE_MS INT64_C(0x017F22E279B0)

static const uint8_t zeros[UUID7_RANDOM_SIZE];
static const uint8_t ones[UUID7_RANDOM_SIZE] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
												0xFF, 0xFF, 0xFF, 0xFF, 0xFF};

static void
gives_the_example_of_the_standard(void **state)
{
	/* Its 12 bits are above the half in which ours start, so they are set before. */
	static const uint8_t random[UUID7_RANDOM_SIZE] = {0x18, 0xC4, 0xDC, 0x0C,
													  0x0C, 0x07, 0x39, 0x8F};
	Uuid7 uuid7 = {.time_ms = EXAMPLE_MS, .counter = 0xCC2};
	char text[UUID7_TEXT_SIZE];

	(void) state;
	uuid7_next(&uuid7, EXAMPLE_MS, random, text);
	assert_string_equal(text, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
}

static void
has_version_and_variant_whatever_is_random(void **state)
{
	Uuid7 uuid7 = {0};
	char text[UUID7_TEXT_SIZE];

	(void) state;
	uuid7_next(&uuid7, 1, zeros, text);
	assert_string_equal(text, "00000000-0001-7000-8000-000000000000");
	uuid7_next(&uuid7, 2, ones, text);
	assert_string_equal(text, "00000000-0002-77ff-bfff-ffffffffffff");
}

static void
rises_within_a_millisecond_and_beyond_its_counter(void **state)
{
	Uuid7 uuid7 = {0};
	char before[UUID7_TEXT_SIZE] = "";
	char text[UUID7_TEXT_SIZE];

	(void) state;
	for (int i = 0; i < 10000; i++)
	{
		uuid7_next(&uuid7, EXAMPLE_MS, i % 2 == 0 ? ones : zeros, text);
		assert_true(strcmp(before, text) < 0);
		strcpy(before, text);
	}
	/* At least 2048 fit into a millisecond. */
	assert_true(uuid7.time_ms <= EXAMPLE_MS + 10000 / 2048);
}

static void
rises_when_the_clock_goes_back(void **state)
{
	Uuid7 uuid7 = {0};
	char before[UUID7_TEXT_SIZE];
	char text[UUID7_TEXT_SIZE];

	(void) state;
	uuid7_next(&uuid7, EXAMPLE_MS, ones, before);
	uuid7_next(&uuid7, EXAMPLE_MS - 3600000, zeros, text);
	assert_true(strcmp(before, text) < 0);
}

static void
makes_different_ones_that_rise(void **state)
{
	char before[UUID7_TEXT_SIZE] = "";
	char text[UUID7_TEXT_SIZE];

	(void) state;
	for (int i = 0; i < 1000; i++)
	{
		uuid7_make(text);
		assert_int_equal(strlen(text), UUID7_TEXT_SIZE - 1);
		assert_true(strcmp(before, text) < 0);
		strcpy(before, text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_the_example_of_the_standard),
		cmocka_unit_test(has_version_and_variant_whatever_is_random),
		cmocka_unit_test(rises_within_a_millisecond_and_beyond_its_counter),
		cmocka_unit_test(rises_when_the_clock_goes_back),
		cmocka_unit_test(makes_different_ones_that_rise),
	};

	return cmocka_run_group_tests_name("uuid7", tests, NULL, NULL);
}
