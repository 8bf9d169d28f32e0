/*
 * quantile_test.c
 *		A quantile of the last values.
 */
#include "resilience/quantile.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static Quantile quantile;

static void
add(int count, int64_t value)
{
	for (int i = 0; i < count; i++)
		quantile_add(&quantile, value);
}

static void
there_is_none_before_there_are_enough_values(void **state)
{
	(void) state;
	quantile_init(&quantile, 95);
	add(QUANTILE_SAMPLES_MIN - 1, 7);
	assert_int_equal(quantile_get(&quantile), -1);
	add(1, 7);
	assert_int_equal(quantile_get(&quantile), 7);
}

static void
every_value_is_read_back_to_a_sixteenth(void **state)
{
	(void) state;
	for (int64_t value = 0; value <= QUANTILE_VALUE_MAX; value = value * 21 / 20 + 1)
	{
		quantile_init(&quantile, 50);
		add(QUANTILE_SAMPLES_MIN, value);
		assert_true(quantile_get(&quantile) >= value);
		assert_true(quantile_get(&quantile) <= value + value / QUANTILE_STEPS);
	}
}

static void
what_is_too_large_counts_as_the_largest(void **state)
{
	(void) state;
	quantile_init(&quantile, 50);
	add(QUANTILE_SAMPLES_MIN, INT64_MAX);
	assert_int_equal(quantile_get(&quantile), QUANTILE_VALUE_MAX);
}

static void
so_many_of_the_values_do_not_exceed_it(void **state)
{
	static const struct
	{
		int percent;
		int low; /* of 128 values, how many are 10; all others are 1000 */
		int64_t result;
	} rows[] = {
		{95, 128, 10},  {95, 122, 10}, {95, 121, 1023}, {95, 0, 1023}, {50, 64, 10},
		{50, 63, 1023}, {99, 127, 10}, {99, 126, 1023}, {1, 2, 10},    {1, 1, 1023},
	};

	(void) state;
	assert_true(QUANTILE_SAMPLES_MIN <= 128 && QUANTILE_SAMPLES > 128);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
	{
		quantile_init(&quantile, rows[i].percent);
		add(128 - rows[i].low, 1000);
		add(rows[i].low, 10);
		/* Computed with the last value. */
		assert_int_equal((128 - QUANTILE_SAMPLES_MIN) % QUANTILE_REFRESH, 0);
		assert_int_equal(quantile_get(&quantile), rows[i].result);
	}
}

static void
values_that_have_left_the_window_do_not_count(void **state)
{
	(void) state;
	quantile_init(&quantile, 95);
	add(QUANTILE_SAMPLES, 5000);
	assert_true(quantile_get(&quantile) >= 5000);
	add(QUANTILE_SAMPLES, 3);
	assert_int_equal(quantile_get(&quantile), 3);
	assert_int_equal(quantile.count, QUANTILE_SAMPLES);
}

static void
it_follows_within_a_few_values(void **state)
{
	(void) state;
	quantile_init(&quantile, 50);
	add(QUANTILE_SAMPLES_MIN, 1);
	add(QUANTILE_SAMPLES_MIN + QUANTILE_REFRESH, 9);
	assert_int_equal(quantile_get(&quantile), 9);
}

/* Against the values themselves, sorted. */
static int
compare(const void *one, const void *other)
{
	int64_t a = *(const int64_t *) one;
	int64_t b = *(const int64_t *) other;

	return (a > b) - (a < b);
}

static void
it_agrees_with_a_sorted_list(void **state)
{
	int64_t values[QUANTILE_SAMPLES];

	(void) state;
	srandom(7);
	for (int percent = 1; percent <= 99; percent += 7)
	{
		int64_t exact;

		quantile_init(&quantile, percent);
		for (int i = 0; i < QUANTILE_SAMPLES; i++)
		{
			values[i] = random() % (1 << (1 + random() % 20));
			quantile_add(&quantile, values[i]);
		}
		assert_int_equal((QUANTILE_SAMPLES - QUANTILE_SAMPLES_MIN) % QUANTILE_REFRESH, 0);
		qsort(values, QUANTILE_SAMPLES, sizeof(values[0]), compare);
		exact = values[(QUANTILE_SAMPLES * percent + 99) / 100 - 1];
		assert_true(quantile_get(&quantile) >= exact);
		assert_true(quantile_get(&quantile) <= exact + exact / QUANTILE_STEPS);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_is_none_before_there_are_enough_values),
		cmocka_unit_test(every_value_is_read_back_to_a_sixteenth),
		cmocka_unit_test(what_is_too_large_counts_as_the_largest),
		cmocka_unit_test(so_many_of_the_values_do_not_exceed_it),
		cmocka_unit_test(values_that_have_left_the_window_do_not_count),
		cmocka_unit_test(it_follows_within_a_few_values),
		cmocka_unit_test(it_agrees_with_a_sorted_list),
	};

	return cmocka_run_group_tests_name("quantile", tests, NULL, NULL);
}
