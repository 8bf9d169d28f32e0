/*
 * gaps_test.c
 *		The set of undecided ids: each function, with room and without.
 *
 * DESIGN	The gaps stand in memory of their exact size, whose end the address sanitizer watches.
 *			Long random runs: gaps_model_test.c.
 */
#include "gaps.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CAPACITY_MIN 4

static Gaps *
gaps_new(int capacity, int64_t head)
{
	Gaps *gaps = malloc(sizeof(Gaps));
	Gap *items = malloc(sizeof(Gap) * (size_t) capacity);

	assert_non_null(gaps);
	assert_non_null(items);
	memset(gaps, 0xa5, sizeof(Gaps)); /* gaps_init() must not depend on what was there */
	gaps_init(gaps, items, capacity, head);
	return gaps;
}

static void
gaps_free(Gaps *gaps)
{
	free(gaps->items);
	free(gaps);
}

static void
put(Gaps *gaps, int64_t from, int64_t to, uint64_t horizon, int64_t not_before)
{
	gaps_put(gaps, &(Gap){.from = from, .to = to, .horizon = horizon, .not_before = not_before});
}

/* A set with much room whose head is 100: 1 to 99 are known. */
static int
setup(void **state)
{
	*state = gaps_new(64, 100);
	return 0;
}

/*
 * A set with no room: gaps at 10, 20, 30 and 40, of 5 ids each, with horizons and times 1 to 4; the
 * head is 100.
 */
static int
setup_full(void **state)
{
	Gaps *gaps = gaps_new(CAPACITY_MIN, 100);

	for (int i = 1; i <= CAPACITY_MIN; i++)
		put(gaps, 10 * i, 10 * i + 5, (uint64_t) i, i);
	*state = gaps;
	return 0;
}

static int
teardown(void **state)
{
	gaps_free(*state);
	return 0;
}

static void
expect_gap(const Gap *gap, int64_t from, int64_t to, uint64_t horizon, int64_t not_before)
{
	assert_non_null(gap);
	assert_true(gap->from == from);
	assert_true(gap->to == to);
	assert_true(gap->horizon == horizon);
	assert_true(gap->not_before == not_before);
}

/* The gaps must be these: pairs of from and to, ended by 0. */
static void
expect_ranges(const Gaps *gaps, const int64_t *ranges)
{
	int64_t id = 0;
	const Gap *gap;

	for (; ranges[0] != 0; ranges += 2)
	{
		gap = gaps_find(gaps, id);
		assert_non_null(gap);
		assert_true(gap->from == ranges[0]);
		assert_true(gap->to == ranges[1]);
		id = gap->to;
	}
	assert_null(gaps_find(gaps, id));
}

#define EXPECT_RANGES(gaps, ...) expect_ranges(gaps, (const int64_t[]){__VA_ARGS__})

static void
new_set_knows_all_ids_below_its_head_and_none_above(void **state)
{
	Gaps *gaps = *state;

	EXPECT_RANGES(gaps, 0);
	assert_false(gaps_contain(gaps, 1));
	assert_false(gaps_contain(gaps, 99));
	assert_true(gaps_contain(gaps, 100));
	assert_true(gaps_contain(gaps, INT64_MAX));
	assert_true(gaps_low_water(gaps) == 100);
	assert_null(gaps_find(gaps, 0));
	assert_null(gaps_next_due(gaps, 0, UINT64_MAX, INT64_MAX, true));
}

static void
extending_makes_a_gap_and_never_lowers_the_head(void **state)
{
	Gaps *gaps = *state;

	gaps_extend(gaps, 110, 7);
	expect_gap(gaps_find(gaps, 0), 100, 110, 7, 0);
	gaps_extend(gaps, 110, 8);
	gaps_extend(gaps, 50, 8);
	assert_true(gaps->head == 110);
	gaps_extend(gaps, 111, 9);
	expect_gap(gaps_find(gaps, 109), 100, 110, 7, 0);
	expect_gap(gaps_find(gaps, 110), 110, 111, 9, 0);
	assert_true(gaps_low_water(gaps) == 100);
}

static void
taking_the_next_id_leaves_no_gap(void **state)
{
	Gaps *gaps = *state;

	for (int64_t id = 100; id < 200; id++)
	{
		gaps_take(gaps, id, 7);
		assert_false(gaps_contain(gaps, id));
		assert_true(gaps_low_water(gaps) == id + 1);
	}
	EXPECT_RANGES(gaps, 0);
}

static void
taking_an_id_above_the_head_leaves_a_gap_with_its_horizon(void **state)
{
	Gaps *gaps = *state;

	gaps_take(gaps, 105, 7);
	expect_gap(gaps_find(gaps, 0), 100, 105, 7, 0);
	assert_false(gaps_contain(gaps, 105));
	assert_true(gaps_contain(gaps, 106));
	assert_true(gaps->head == 106);
}

static void
taking_an_id_out_of_a_gap_splits_it_and_keeps_its_horizon(void **state)
{
	Gaps *gaps = *state;

	put(gaps, 10, 20, 7, 8);
	gaps_take(gaps, 15, 99);
	expect_gap(gaps_find(gaps, 0), 10, 15, 7, 8);
	expect_gap(gaps_find(gaps, 15), 16, 20, 7, 8);
	gaps_take(gaps, 10, 99);
	gaps_take(gaps, 19, 99);
	gaps_take(gaps, 15, 99); /* known already */
	gaps_take(gaps, 50, 99); /* never in a gap */
	EXPECT_RANGES(gaps, 11, 15, 16, 19, 0);
	assert_true(gaps->head == 100);
}

static void
putting_replaces_what_was_known(void **state)
{
	Gaps *gaps = *state;

	put(gaps, 10, 20, 7, 8);
	put(gaps, 12, 15, 1, 2);
	expect_gap(gaps_find(gaps, 10), 10, 12, 7, 8);
	expect_gap(gaps_find(gaps, 12), 12, 15, 1, 2);
	expect_gap(gaps_find(gaps, 15), 15, 20, 7, 8);
	put(gaps, 5, 30, 3, 4);
	expect_gap(gaps_find(gaps, 0), 5, 30, 3, 4);
	put(gaps, 30, 100, 5, 6);
	EXPECT_RANGES(gaps, 5, 30, 30, 100, 0);
	put(gaps, 99, 100, 0, 0);
	EXPECT_RANGES(gaps, 5, 30, 30, 99, 99, 100, 0);
}

static void
closing_forgets_whole_gaps_and_parts_of_them(void **state)
{
	Gaps *gaps = *state;

	for (int64_t from = 10; from < 60; from += 10)
		put(gaps, from, from + 5, 7, 8);
	gaps_close(gaps, 1, 10);   /* below all */
	gaps_close(gaps, 15, 20);  /* between two */
	gaps_close(gaps, 55, 100); /* above all */
	EXPECT_RANGES(gaps, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 0);
	gaps_close(gaps, 20, 25); /* exactly one */
	gaps_close(gaps, 32, 33); /* a part in the middle */
	EXPECT_RANGES(gaps, 10, 15, 30, 32, 33, 35, 40, 45, 50, 55, 0);
	gaps_close(gaps, 31, 42); /* an end, one whole, a beginning */
	EXPECT_RANGES(gaps, 10, 15, 30, 31, 42, 45, 50, 55, 0);
	gaps_close(gaps, 5, 11);
	gaps_close(gaps, 54, 70);
	EXPECT_RANGES(gaps, 11, 15, 30, 31, 42, 45, 50, 54, 0);
	gaps_close(gaps, 1, 100);
	EXPECT_RANGES(gaps, 0);
	assert_true(gaps_low_water(gaps) == 100);
}

static void
finding_gives_the_gap_of_an_id_or_the_next_one(void **state)
{
	Gaps *gaps = *state;

	put(gaps, 10, 15, 7, 8);
	put(gaps, 15, 20, 9, 10);
	expect_gap(gaps_find(gaps, INT64_MIN), 10, 15, 7, 8);
	expect_gap(gaps_find(gaps, 9), 10, 15, 7, 8);
	expect_gap(gaps_find(gaps, 14), 10, 15, 7, 8);
	expect_gap(gaps_find(gaps, 15), 15, 20, 9, 10);
	assert_null(gaps_find(gaps, 20));
	assert_false(gaps_contain(gaps, 9));
	assert_true(gaps_contain(gaps, 10));
	assert_true(gaps_contain(gaps, 19));
	assert_false(gaps_contain(gaps, 20));
	assert_true(gaps_low_water(gaps) == 10);
}

static void
gap_is_due_when_its_horizon_has_passed_and_its_time_has_come(void **state)
{
	Gaps *gaps = *state;

	put(gaps, 10, 15, 7, 100);
	put(gaps, 20, 25, 5, 200);
	put(gaps, 30, 35, 0, 0);
	expect_gap(gaps_next_due(gaps, 0, 0, 0, false), 30, 35, 0, 0);
	expect_gap(gaps_next_due(gaps, 0, 6, 200, false), 20, 25, 5, 200);
	expect_gap(gaps_next_due(gaps, 0, 6, 199, false), 30, 35, 0, 0);
	expect_gap(gaps_next_due(gaps, 0, 7, 100, false), 10, 15, 7, 100);
	expect_gap(gaps_next_due(gaps, 0, 7, 99, false), 30, 35, 0, 0);
	/* Eager: whatever runs, but not before its time. */
	expect_gap(gaps_next_due(gaps, 0, 0, 100, true), 10, 15, 7, 100);
	expect_gap(gaps_next_due(gaps, 0, 0, 99, true), 30, 35, 0, 0);
	/* From an id on, in the middle of a gap too. */
	expect_gap(gaps_next_due(gaps, 14, 7, 200, false), 10, 15, 7, 100);
	expect_gap(gaps_next_due(gaps, 15, 7, 200, false), 20, 25, 5, 200);
	expect_gap(gaps_next_due(gaps, 34, 7, 200, false), 30, 35, 0, 0);
	assert_null(gaps_next_due(gaps, 35, UINT64_MAX, INT64_MAX, true));
	assert_null(gaps_next_due(gaps, 0, 0, -1, true));
}

static void
full_set_keeps_a_gap_whole_that_it_cannot_split(void **state)
{
	Gaps *gaps = *state;

	gaps_close(gaps, 22, 23);
	gaps_take(gaps, 33, 99);
	EXPECT_RANGES(gaps, 10, 15, 20, 25, 30, 35, 40, 45, 0);
	/* At an end there is nothing to split. */
	gaps_take(gaps, 20, 99);
	gaps_close(gaps, 34, 35);
	EXPECT_RANGES(gaps, 10, 15, 21, 25, 30, 34, 40, 45, 0);
	/* Nor where a gap goes, which makes room. */
	gaps_close(gaps, 12, 32);
	EXPECT_RANGES(gaps, 10, 12, 32, 34, 40, 45, 0);
	gaps_take(gaps, 42, 99);
	EXPECT_RANGES(gaps, 10, 12, 32, 34, 40, 42, 43, 45, 0);
}

static void
full_set_merges_with_the_later_horizon_and_the_earlier_time(void **state)
{
	Gaps *gaps = *state;

	/* With the gap below; or above, where there is none below. */
	put(gaps, 27, 28, 9, 9);
	expect_gap(gaps_find(gaps, 20), 20, 28, 9, 2);
	put(gaps, 5, 6, 0, 0);
	expect_gap(gaps_find(gaps, 0), 5, 15, 1, 0);
	put(gaps, 47, 48, 0, 9);
	expect_gap(gaps_find(gaps, 40), 40, 48, 4, 4);
	assert_int_equal(gaps->count, CAPACITY_MIN);
}

static void
full_set_extends_its_last_gap(void **state)
{
	Gaps *gaps = *state;

	gaps_take(gaps, 100, 9); /* leaves no gap */
	EXPECT_RANGES(gaps, 10, 15, 20, 25, 30, 35, 40, 45, 0);
	gaps_take(gaps, 103, 9);
	EXPECT_RANGES(gaps, 10, 15, 20, 25, 30, 35, 40, 103, 0);
	expect_gap(gaps_find(gaps, 40), 40, 103, 9, 0);
	assert_true(gaps->head == 104);
	gaps_extend(gaps, 200, 8);
	expect_gap(gaps_find(gaps, 40), 40, 200, 9, 0);
}

static void
ranges_of_2_to_the_62_cost_one_gap(void **state)
{
	const int64_t huge = INT64_C(1) << 62;
	Gaps *gaps = *state;

	gaps_extend(gaps, huge, 7);
	gaps_take(gaps, INT64_MAX - 1, 8);
	EXPECT_RANGES(gaps, 100, huge, huge, INT64_MAX - 1, 0);
	assert_true(gaps->head == INT64_MAX);
	gaps_take(gaps, huge / 2, 9);
	gaps_close(gaps, huge - 1, huge + 1);
	EXPECT_RANGES(gaps, 100, huge / 2, huge / 2 + 1, huge - 1, huge + 1, INT64_MAX - 1, 0);
	assert_true(gaps_contain(gaps, huge + huge / 2));
	assert_false(gaps_contain(gaps, huge));
	put(gaps, 1, INT64_MAX, 0, 0);
	EXPECT_RANGES(gaps, 1, INT64_MAX, 0);
	gaps_close(gaps, 1, INT64_MAX);
	EXPECT_RANGES(gaps, 0);
	assert_true(gaps_low_water(gaps) == INT64_MAX);
}

#define GAPS_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define FULL_TEST(name) cmocka_unit_test_setup_teardown(name, setup_full, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		GAPS_TEST(new_set_knows_all_ids_below_its_head_and_none_above),
		GAPS_TEST(extending_makes_a_gap_and_never_lowers_the_head),
		GAPS_TEST(taking_the_next_id_leaves_no_gap),
		GAPS_TEST(taking_an_id_above_the_head_leaves_a_gap_with_its_horizon),
		GAPS_TEST(taking_an_id_out_of_a_gap_splits_it_and_keeps_its_horizon),
		GAPS_TEST(putting_replaces_what_was_known),
		GAPS_TEST(closing_forgets_whole_gaps_and_parts_of_them),
		GAPS_TEST(finding_gives_the_gap_of_an_id_or_the_next_one),
		GAPS_TEST(gap_is_due_when_its_horizon_has_passed_and_its_time_has_come),
		GAPS_TEST(ranges_of_2_to_the_62_cost_one_gap),
		FULL_TEST(full_set_keeps_a_gap_whole_that_it_cannot_split),
		FULL_TEST(full_set_merges_with_the_later_horizon_and_the_earlier_time),
		FULL_TEST(full_set_extends_its_last_gap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
