/*
 * decimal_test.c
 *		Prices as people write them are exact, and nothing else is taken for one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "decimal.h"

static void
assert_reads(const char *text, int64_t expected)
{
	int64_t micro;

	assert_null(decimal_parse(text, &micro));
	assert_true(micro == expected);
}

static void
assert_refuses(const char *text, const char *complaint)
{
	int64_t micro;
	const char *error = decimal_parse(text, &micro);

	assert_non_null(error);
	assert_non_null(strstr(error, complaint));
}

static void
assert_writes(int64_t micro, const char *expected)
{
	char text[DECIMAL_TEXT_SIZE];

	decimal_format(micro, text);
	assert_string_equal(text, expected);
}

static void
reads_decimals_exactly(void **state)
{
	(void) state;
	assert_reads("101.50", 101500000);
	assert_reads("101", 101000000);
	assert_reads("101.", 101000000);
	assert_reads(".5", 500000);
	assert_reads("0", 0);
	assert_reads("0.000001", 1);
	assert_reads("000001.10", 1100000);
	/* No binary fraction is this. */
	assert_reads("0.1", 100000);
	assert_reads("9223372036854.775807", INT64_MAX);
}

static void
refuses_what_would_have_to_be_rounded_or_cut(void **state)
{
	(void) state;
	assert_refuses("0.0000001", "6 places");
	assert_refuses("1.0000000", "6 places");
	assert_refuses("9223372036854.775808", "too large");
	assert_refuses("9223372036855", "too large");
	assert_refuses("99999999999999999999999999", "too large");
}

static void
refuses_what_is_no_decimal(void **state)
{
	static const char *const texts[] = {
		"", ".", "-1", "+1", "1e3", "1,5", "1.2.3", " 1", "1 ", "0x10", "abc", "1_000", "nan",
	};

	(void) state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_refuses(texts[i], "decimal number");
}

static void
writes_two_places_or_as_many_as_are_needed(void **state)
{
	(void) state;
	assert_writes(0, "0.00");
	assert_writes(101500000, "101.50");
	assert_writes(101000000, "101.00");
	assert_writes(101505000, "101.505");
	assert_writes(1, "0.000001");
	assert_writes(-1500000, "-1.50");
	assert_writes(INT64_MAX, "9223372036854.775807");
	assert_writes(INT64_MIN, "-9223372036854.775808");
}

static void
reads_back_what_it_wrote(void **state)
{
	char text[DECIMAL_TEXT_SIZE];
	int64_t micro;

	(void) state;
	for (int64_t value = 1; value < INT64_MAX / 7; value *= 7)
	{
		decimal_format(value, text);
		assert_null(decimal_parse(text, &micro));
		assert_true(micro == value);
	}
}

static void
reads_whole_numbers_within_their_range(void **state)
{
	int64_t value;

	(void) state;
	assert_true(decimal_parse_whole("1", 1, 10, &value));
	assert_int_equal(value, 1);
	assert_true(decimal_parse_whole("10", 1, 10, &value));
	assert_int_equal(value, 10);
	assert_true(decimal_parse_whole("9223372036854775807", 0, INT64_MAX, &value));
	assert_true(value == INT64_MAX);
	assert_false(decimal_parse_whole("0", 1, 10, &value));
	assert_false(decimal_parse_whole("11", 1, 10, &value));
	assert_false(decimal_parse_whole("9223372036854775808", 0, INT64_MAX, &value));
	assert_false(decimal_parse_whole("", 0, 10, &value));
	assert_false(decimal_parse_whole("-1", 0, 10, &value));
	assert_false(decimal_parse_whole("1.0", 0, 10, &value));
	assert_false(decimal_parse_whole("1x", 0, 10, &value));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_decimals_exactly),
		cmocka_unit_test(refuses_what_would_have_to_be_rounded_or_cut),
		cmocka_unit_test(refuses_what_is_no_decimal),
		cmocka_unit_test(writes_two_places_or_as_many_as_are_needed),
		cmocka_unit_test(reads_back_what_it_wrote),
		cmocka_unit_test(reads_whole_numbers_within_their_range),
	};

	return cmocka_run_group_tests_name("decimal", tests, NULL, NULL);
}
