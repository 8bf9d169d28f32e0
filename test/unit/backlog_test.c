/*
 * backlog_test.c
 *		Which items go next, and together.
 */
#include "order/backlog.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define ITEMS_MAX 32

static Backlog backlog;
static StoreItem items[ITEMS_MAX];

static int
set_up(void **state)
{
	(void) state;
	backlog_init(&backlog);
	return 0;
}

static void
add(int index, StoreKind kind, int64_t deadline_us)
{
	items[index] = (StoreItem){.kind = kind, .deadline_us = deadline_us};
	backlog_add(&backlog, &items[index]);
}

/* Takes a call and checks that it is of these items. */
static Batch *
take(int count, const int *indexes)
{
	Batch *batch = backlog_take(&backlog, LANES_ALL, 4);

	assert_non_null(batch);
	assert_int_equal(batch->count, count);
	for (int i = 0; i < count; i++)
		assert_ptr_equal(batch->items[i], &items[indexes[i]]);
	return batch;
}

#define TAKE(...) \
	take((int) (sizeof((int[]){__VA_ARGS__}) / sizeof(int)), (const int[]){__VA_ARGS__})

static void
the_earliest_deadline_goes_first(void **state)
{
	(void) state;
	add(0, STORE_SETTLE, 30);
	add(1, STORE_SETTLE, 10);
	add(2, STORE_SETTLE, 20);
	add(3, STORE_SETTLE, 10);
	add(4, STORE_SETTLE, 40);
	assert_int_equal(backlog_next_deadline(&backlog), 10);
	batch_free(TAKE(1, 3, 2, 0));
	batch_free(TAKE(4));
	assert_null(backlog_take(&backlog, LANES_ALL, 4));
	assert_int_equal(backlog_next_deadline(&backlog), INT64_MAX);
	assert_int_equal(backlog.count, 0);
}

static void
what_ends_something_goes_before_what_begins_something(void **state)
{
	(void) state;
	add(0, STORE_GET, 1);
	add(1, STORE_RECEIVE, 1);
	add(2, STORE_RECORD_HOLD, 1);
	add(3, STORE_CLAIM, 1);
	add(4, STORE_CANCEL, 1);
	add(5, STORE_SETTLE, 1);
	add(6, STORE_FIND_SESSION, 1);
	batch_free(TAKE(5));
	batch_free(TAKE(6));
	batch_free(TAKE(4));
	batch_free(TAKE(1));
	batch_free(TAKE(2));
	batch_free(TAKE(3));
	batch_free(TAKE(0));
}

static void
reads_go_alone(void **state)
{
	(void) state;
	add(0, STORE_GET, 1);
	add(1, STORE_LIST, 2);
	batch_free(TAKE(0));
	batch_free(TAKE(1));
}

static void
no_lane_is_passed_over_for_ever(void **state)
{
	int calls = 0;
	StoreKind kind;

	(void) state;
	add(0, STORE_GET, 1);
	add(1, STORE_RECEIVE, 1);
	do
	{
		Batch *batch;

		add(2, STORE_SETTLE, 1);
		batch = backlog_take(&backlog, LANES_ALL, 4);
		kind = batch->kind;
		batch_free(batch);
		calls++;
	} while (kind == STORE_SETTLE && calls < 100);
	assert_int_equal(calls, BACKLOG_PASSES_MAX + 1);
	/* Both have waited as long: the more urgent one first, and the other right behind it. */
	assert_int_equal(kind, STORE_RECEIVE);
	batch_free(TAKE(0));
}

static void
a_pool_takes_only_from_its_lanes(void **state)
{
	(void) state;
	add(0, STORE_SETTLE, 1);
	add(1, STORE_GET, 1);
	assert_null(backlog_take(&backlog, LANE_BIT(LANE_CANCEL), 4));
	assert_false(backlog_has(&backlog, LANE_BIT(LANE_CANCEL)));
	assert_true(backlog_has(&backlog, LANE_BIT(LANE_READ)));
	batch_free(backlog_take(&backlog, LANE_BIT(LANE_READ), 4));
	assert_false(backlog_has(&backlog, LANE_BIT(LANE_READ)));
	batch_free(TAKE(0));
}

static void
one_order_is_read_before_lists_of_them(void **state)
{
	(void) state;
	add(0, STORE_LIST, 1);
	add(1, STORE_LIST, 2);
	add(2, STORE_FIND, 3);
	add(3, STORE_GET, 4);
	batch_free(TAKE(2));
	batch_free(TAKE(3));
	batch_free(TAKE(0));
	batch_free(TAKE(1));
	assert_false(backlog_has(&backlog, LANES_ALL));
}

static void
a_read_that_needs_the_writer_changes_its_lane(void **state)
{
	Batch *batch;

	(void) state;
	add(0, STORE_FIND, 1);
	batch = TAKE(0);
	items[0].needs_writer = true;
	backlog_return(&backlog, batch);
	assert_false(backlog_has(&backlog, LANE_BIT(LANE_READ)));
	assert_true(backlog_has(&backlog, LANE_BIT(LANE_SINGLE)));
	batch_free(TAKE(0));
}

static void
sessions_go_together_to_either_server(void **state)
{
	(void) state;
	for (int i = 0; i < 3; i++)
		add(i, STORE_FIND_SESSION, 1);
	add(3, STORE_GET, 1);
	batch_free(TAKE(0, 1, 2));
	for (int i = 0; i < 2; i++)
	{
		items[i].needs_writer = true;
		backlog_add(&backlog, &items[i]);
	}
	add(2, STORE_FIND_SESSION, 1);
	/* What the reader did not know waits apart from what it is still to be asked. */
	batch_free(backlog_take(&backlog, LANES_READ, 4));
	batch_free(TAKE(0, 1));
	batch_free(TAKE(3));
}

static void
what_returns_finds_its_place(void **state)
{
	Batch *batch;

	(void) state;
	add(0, STORE_RECEIVE, 10);
	add(1, STORE_RECEIVE, 30);
	add(2, STORE_RECEIVE, 50);
	batch = TAKE(0, 1, 2);
	add(3, STORE_RECEIVE, 20);
	add(4, STORE_RECEIVE, 60);
	batch->answered_count = 1;
	backlog_return(&backlog, batch);
	assert_int_equal(backlog.count, 4);
	batch_free(TAKE(3, 1, 2, 4));
}

static void
halves_go_first_and_as_they_are(void **state)
{
	Batch *batch;

	(void) state;
	for (int i = 0; i < 4; i++)
		add(i, STORE_RECEIVE, 10 + i);
	batch = TAKE(0, 1, 2, 3);
	add(4, STORE_RECEIVE, 1);
	batch->answered_count = 1;
	backlog_split(&backlog, batch);
	assert_int_equal(backlog.count, 4);
	batch_free(TAKE(1, 2));
	batch_free(TAKE(3));
	batch_free(TAKE(4));
}

static void
the_last_one_left_is_tried_alone(void **state)
{
	Batch *batch;

	(void) state;
	add(0, STORE_CANCEL, 10);
	add(1, STORE_CANCEL, 20);
	batch = TAKE(0, 1);
	batch->answered_count = 1;
	backlog_split(&backlog, batch);
	batch_free(TAKE(1));
	assert_int_equal(backlog.count, 0);
}

static void
overdue_items_are_taken_out(void **state)
{
	Batch *batch;

	(void) state;
	for (int i = 0; i < 4; i++)
		add(i, STORE_RECEIVE, 10 * (i + 1));
	batch = TAKE(0, 1, 2, 3);
	backlog_split(&backlog, batch);
	add(4, STORE_RECEIVE, 15);
	add(5, STORE_GET, 100);
	assert_null(backlog_take_overdue(&backlog, 9));
	assert_int_equal(backlog_next_deadline(&backlog), 10);
	assert_ptr_equal(backlog_take_overdue(&backlog, 30), &items[4]);
	assert_ptr_equal(backlog_take_overdue(&backlog, 30), &items[0]);
	assert_ptr_equal(backlog_take_overdue(&backlog, 30), &items[1]);
	assert_ptr_equal(backlog_take_overdue(&backlog, 30), &items[2]);
	assert_null(backlog_take_overdue(&backlog, 30));
	assert_int_equal(backlog_next_deadline(&backlog), 40);
	assert_int_equal(backlog.count, 2);
	batch_free(TAKE(3));
	batch_free(TAKE(5));
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_earliest_deadline_goes_first),
		TEST(what_ends_something_goes_before_what_begins_something),
		TEST(reads_go_alone),
		TEST(no_lane_is_passed_over_for_ever),
		TEST(a_pool_takes_only_from_its_lanes),
		TEST(one_order_is_read_before_lists_of_them),
		TEST(a_read_that_needs_the_writer_changes_its_lane),
		TEST(sessions_go_together_to_either_server),
		TEST(what_returns_finds_its_place),
		TEST(halves_go_first_and_as_they_are),
		TEST(the_last_one_left_is_tried_alone),
		TEST(overdue_items_are_taken_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
