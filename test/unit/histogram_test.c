/*
 * histogram_test.c
 *		Latencies are kept to three digits, over the whole range.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>

#include "base/histogram.h"

/* Too large for the stack of a careful program. */
static Histogram histogram;
static Histogram other;

static int
setup(void **state)
{
	(void) state;
	histogram_reset(&histogram);
	histogram_reset(&other);
	return 0;
}

static bool
is_within_three_digits(int64_t value)
{
	int64_t read;

	histogram_reset(&histogram);
	/* A smallest and a largest, so that the percentile is not clamped to the value itself. */
	histogram_record(&histogram, 0);
	histogram_record(&histogram, value);
	histogram_record(&histogram, HISTOGRAM_VALUE_MAX);
	read = histogram_percentile(&histogram, 50);
	return read >= value && read - value <= value / 1000;
}

static void
is_empty_at_first(void **state)
{
	(void) state;
	assert_int_equal(histogram.count, 0);
	assert_int_equal(histogram_percentile(&histogram, 50), 0);
	assert_int_equal(histogram_percentile(&histogram, 100), 0);
	assert_true(histogram_mean(&histogram) == 0);
}

static void
gives_back_one_value_exactly(void **state)
{
	(void) state;
	histogram_record(&histogram, 123456789);
	assert_int_equal(histogram_percentile(&histogram, 0), 123456789);
	assert_int_equal(histogram_percentile(&histogram, 50), 123456789);
	assert_int_equal(histogram_percentile(&histogram, 100), 123456789);
	assert_true(histogram_mean(&histogram) == 123456789);
}

static void
keeps_three_digits_everywhere(void **state)
{
	(void) state;
	for (int64_t value = 0; value < 10000; value++)
		assert_true(is_within_three_digits(value));
	/* Around each power of two, where the steps change. */
	for (int bit = 13; bit < 32; bit++)
	{
		for (int64_t distance = -3; distance <= 3; distance++)
		{
			int64_t value = (INT64_C(1) << bit) + distance;

			if (value <= HISTOGRAM_VALUE_MAX)
				assert_true(is_within_three_digits(value));
		}
	}
	assert_true(is_within_three_digits(HISTOGRAM_VALUE_MAX));
}

static void
finds_percentiles_by_nearest_rank(void **state)
{
	(void) state;
	for (int value = 1000; value >= 1; value--)
		histogram_record(&histogram, value);
	assert_int_equal(histogram_percentile(&histogram, 0), 1);
	assert_int_equal(histogram_percentile(&histogram, 0.1), 1);
	assert_int_equal(histogram_percentile(&histogram, 50), 500);
	assert_int_equal(histogram_percentile(&histogram, 50.05), 501);
	assert_int_equal(histogram_percentile(&histogram, 90), 900);
	assert_int_equal(histogram_percentile(&histogram, 99), 990);
	assert_int_equal(histogram_percentile(&histogram, 99.9), 999);
	assert_int_equal(histogram_percentile(&histogram, 100), 1000);
	assert_true(histogram_mean(&histogram) == 500.5);
}

static void
counts_what_is_out_of_range_at_its_ends(void **state)
{
	(void) state;
	histogram_record(&histogram, -5);
	assert_int_equal(histogram.min, 0);
	assert_int_equal(histogram.over_count, 0);
	histogram_record(&histogram, HISTOGRAM_VALUE_MAX);
	assert_int_equal(histogram.over_count, 0);
	histogram_record(&histogram, HISTOGRAM_VALUE_MAX + 1);
	histogram_record(&histogram, INT64_MAX);
	assert_int_equal(histogram.over_count, 2);
	assert_int_equal(histogram.count, 4);
	assert_int_equal(histogram.max, HISTOGRAM_VALUE_MAX);
	assert_int_equal(histogram_percentile(&histogram, 100), HISTOGRAM_VALUE_MAX);
}

static void
merges_as_if_all_had_been_recorded_in_one(void **state)
{
	(void) state;
	for (int value = 1; value <= 50; value++)
		histogram_record(&histogram, value);
	for (int value = 51; value <= 100; value++)
		histogram_record(&other, value);
	histogram_record(&other, HISTOGRAM_VALUE_MAX + 1);
	histogram_merge(&histogram, &other);
	assert_int_equal(histogram.count, 101);
	assert_int_equal(histogram.over_count, 1);
	assert_int_equal(histogram.min, 1);
	assert_int_equal(histogram.max, HISTOGRAM_VALUE_MAX);
	assert_int_equal(histogram_percentile(&histogram, 50), 51);
}

static void
merges_into_and_from_an_empty_one(void **state)
{
	(void) state;
	histogram_record(&other, 7);
	histogram_merge(&histogram, &other);
	assert_int_equal(histogram.min, 7);
	assert_int_equal(histogram.max, 7);
	histogram_reset(&other);
	histogram_merge(&histogram, &other);
	assert_int_equal(histogram.min, 7);
	assert_int_equal(histogram.count, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(is_empty_at_first, setup),
		cmocka_unit_test_setup(gives_back_one_value_exactly, setup),
		cmocka_unit_test_setup(keeps_three_digits_everywhere, setup),
		cmocka_unit_test_setup(finds_percentiles_by_nearest_rank, setup),
		cmocka_unit_test_setup(counts_what_is_out_of_range_at_its_ends, setup),
		cmocka_unit_test_setup(merges_as_if_all_had_been_recorded_in_one, setup),
		cmocka_unit_test_setup(merges_into_and_from_an_empty_one, setup),
	};

	return cmocka_run_group_tests_name("histogram", tests, NULL, NULL);
}
