/*
 * number_test.c
 *		Numbers as text: the same as printf() writes.
 */
#include "base/number.h" /* first: it must need nothing that is included below */

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void
expect_as_printed(int64_t value)
{
	char expected[32];
	char text[NUMBER_DECIMAL_SIZE];
	char hex[NUMBER_HEX_SIZE];

	snprintf(expected, sizeof(expected), "%" PRId64, value);
	assert_ptr_equal(number_decimal(value, text), text + strlen(expected));
	assert_string_equal(text, expected);
	snprintf(expected, sizeof(expected), "%016" PRIx64, (uint64_t) value);
	number_hex((uint64_t) value, hex);
	assert_string_equal(hex, expected);
}

static void
numbers_are_written_as_printf_writes_them(void **state)
{
	(void) state;
	expect_as_printed(0);
	for (int64_t value = 1; value <= INT64_MAX / 10; value *= 10)
	{
		expect_as_printed(value - 1);
		expect_as_printed(value);
		expect_as_printed(-value);
		expect_as_printed(1 - value);
	}
}

static void
the_ends_of_the_range_have_room(void **state)
{
	(void) state;
	expect_as_printed(INT64_MAX);
	expect_as_printed(INT64_MIN);
	expect_as_printed(-1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_written_as_printf_writes_them),
		cmocka_unit_test(the_ends_of_the_range_have_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
