/*
 * store_test.c
 *		What the store does when calls fail, are lost, or come too late; the pools are replaced.
 */
#include "order/store.h" /* first: it must need nothing that is included below */

#include "packed_rows.h"
#include "store_fixture.h"

/* Ends the writer's oldest call well: all its items get the code of the reason. */
static void
reply(Reason reason)
{
	static const int sizes[COLUMN_COUNT] = {4, 2, 2, 0, 8, 2, 1, 8, 8, 0, 0, 8};
	PGresult *rows = make_rows();
	int count = writer.calls[0].item_count;
	int statement = writer.calls[0].statement;

	for (int row = 0; row < count; row++)
	{
		for (int column = 0; column < COLUMN_COUNT; column++)
		{
			if (sizes[column] != 0)
				set_number(rows, row, column, 0, sizes[column]);
		}
		set_number(rows, row, 0, row + 1, 4);
		set_number(rows, row, 1, reason_code(reason), 2);
		set_number(rows, row, 2, reason, 2);
		set_cell(rows, row, 9, "r", 1);
		set_number(rows, row, 4, 1000 + row, 8);
	}
	if (statement == STORE_RECEIVE || statement == STORE_SETTLE)
		rows = pack_rows(rows);
	reply_rows(&writer, rows);
}

static int
open_with_writer(void **state)
{
	(void) state;
	return open_store(false);
}

/* Tests --------------------------------------------------------------------------------------- */

static void
items_of_a_turn_go_as_one_call(void **state)
{
	(void) state;
	submit_many(3, STORE_SETTLE);
	assert_int_equal(writer.call_count, 1);
	assert_int_equal(writer.calls[0].item_count, 3);
	reply(REASON_NONE);
	for (int i = 0; i < 3; i++)
	{
		assert_answered(i, REASON_NONE);
		assert_int_equal(answers[i].order_id, 1000 + i);
	}
	assert_int_equal(store_pending_count(store), 0);
}

static void
what_gathers_while_busy_goes_up_to_the_limit(void **state)
{
	(void) state;
	submit(0, STORE_SETTLE, CLOCK_SECOND);
	loop_turn(loop);
	for (int i = 1; i < 7; i++)
		submit(i, STORE_SETTLE, CLOCK_SECOND);
	loop_turn(loop);
	assert_int_equal(writer.call_count, 1);
	assert_true(writer.grow_count > 0);
	reply(REASON_NONE);
	assert_int_equal(writer.calls[0].item_count, 4);
	reply(REASON_NONE);
	assert_int_equal(writer.calls[0].item_count, 2);
	reply(REASON_NONE);
	assert_int_equal(store_pending_count(store), 0);
}

/* As many calls of one settlement each as go at once. */
static void
fill_writer(void)
{
	writer.open_count = STORE_PROMPT_CALLS + 2;
	for (int i = 0; i < STORE_PROMPT_CALLS; i++)
	{
		submit(i, STORE_SETTLE, 5 * CLOCK_SECOND);
		loop_turn(loop);
	}
	assert_int_equal(writer.call_count, STORE_PROMPT_CALLS);
}

static void
more_than_a_few_calls_wait_for_an_answer(void **state)
{
	(void) state;
	fill_writer();
	submit(STORE_PROMPT_CALLS, STORE_SETTLE, 5 * CLOCK_SECOND);
	loop_turn(loop);
	submit(STORE_PROMPT_CALLS + 1, STORE_SETTLE, 5 * CLOCK_SECOND);
	loop_turn(loop);
	assert_int_equal(writer.call_count, STORE_PROMPT_CALLS);
	assert_int_equal(writer.grow_count, 0);
	reply(REASON_NONE);
	assert_int_equal(writer.call_count, STORE_PROMPT_CALLS);
	assert_int_equal(writer.calls[STORE_PROMPT_CALLS - 1].item_count, 2);
	while (writer.call_count > 0)
		reply(REASON_NONE);
}

static void
what_goes_alone_does_not_wait_for_others(void **state)
{
	(void) state;
	fill_writer();
	submit(STORE_PROMPT_CALLS, STORE_CLAIM, 5 * CLOCK_SECOND);
	loop_turn(loop);
	assert_int_equal(writer.call_count, STORE_PROMPT_CALLS + 1);
	while (writer.call_count > 0)
		fail_call(&writer, PG_FAILED, "XX000");
}

static void
what_goes_alone_leaves_connections_to_orders(void **state)
{
	(void) state;
	writer.open_count = config.writer_connections;
	for (int i = 0; i < 6; i++)
		submit(i, i == 0 ? STORE_CLAIM : STORE_LIST, 5 * CLOCK_SECOND);
	loop_turn(loop);
	assert_int_equal(writer.call_count, config.writer_connections - STORE_KEPT_CONNECTIONS);
	submit(6, STORE_SETTLE, 5 * CLOCK_SECOND);
	loop_turn(loop);
	assert_int_equal(count_calls(&writer, STORE_SETTLE), 1);
	while (count_calls(&writer, STORE_SETTLE) == 1)
	{
		assert_int_equal(writer.call_count, config.writer_connections - STORE_KEPT_CONNECTIONS + 1);
		if (writer.calls[0].statement == STORE_SETTLE)
			reply(REASON_NONE);
		else
			reply_rows(&writer, make_rows());
	}
	assert_answered(6, REASON_NONE);
	while (writer.call_count > 0)
		reply_rows(&writer, make_rows());
	for (int i = 0; i < 6; i++)
		assert_answered(i, REASON_NONE);
}

static void
one_goes_alone_over_however_few_connections(void **state)
{
	(void) state;
	config.writer_connections = 1;
	submit(0, STORE_LIST, 5 * CLOCK_SECOND);
	submit(1, STORE_LIST, 5 * CLOCK_SECOND);
	loop_turn(loop);
	for (int i = 0; i < 2; i++)
	{
		assert_int_equal(writer.call_count, 1);
		reply_rows(&writer, make_rows());
		assert_answered(i, REASON_NONE);
	}
}

static void
calls_go_beside_those_that_take_long(void **state)
{
	int64_t give_up_us = clock_now_us() + 10 * CLOCK_SECOND;
	int64_t begin_us = clock_now_us();

	(void) state;
	fill_writer();
	submit(STORE_PROMPT_CALLS, STORE_SETTLE, 5 * CLOCK_SECOND);
	while (writer.call_count == STORE_PROMPT_CALLS)
	{
		assert_true(clock_now_us() < give_up_us);
		loop_turn(loop);
	}
	assert_true(clock_now_us() - begin_us >= STORE_PROMPT_MS * CLOCK_MS);
	while (writer.call_count > 0)
		reply(REASON_NONE);
	for (int i = 0; i <= STORE_PROMPT_CALLS; i++)
		assert_answered(i, REASON_NONE);
}

static void
a_lost_call_goes_again(void **state)
{
	(void) state;
	submit_many(3, STORE_RECEIVE);
	fail_call(&writer, PG_LOST, "57P01");
	assert_int_equal(store_pending_count(store), 3);
	assert_int_equal(writer.call_count, 1);
	assert_int_equal(writer.calls[0].item_count, 3);
	/* Nobody can say any more that nothing was done. */
	writer.open_count = 0;
	fail_call(&writer, PG_UNUSABLE, "25006");
	turn_until_answered(2);
	for (int i = 0; i < 3; i++)
		assert_answered(i, REASON_OUTCOME_UNKNOWN);
}

static void
receiving_again_finds_its_own_order_and_nobody_elses(void **state)
{
	(void) state;
	submit_many(1, STORE_RECEIVE);
	fail_call(&writer, PG_LOST, "");
	submit(1, STORE_RECEIVE, CLOCK_SECOND);
	loop_turn(loop);
	reply(REASON_IN_PROGRESS);
	reply(REASON_IN_PROGRESS);
	assert_answered(0, REASON_NONE);
	assert_answered(1, REASON_IN_PROGRESS);
	assert_true(answers[0].reserve_id != NULL && answers[1].reserve_id == NULL);
}

static void
a_call_that_never_ran_leaves_no_doubt(void **state)
{
	(void) state;
	submit(0, STORE_RECEIVE, 20 * CLOCK_MS);
	loop_turn(loop);
	writer.open_count = 0;
	fail_call(&writer, PG_UNUSABLE, "25006");
	turn_until_answered(0);
	assert_answered(0, REASON_DATABASE_UNAVAILABLE);
}

static void
without_a_connection_items_end_by_their_deadlines(void **state)
{
	(void) state;
	writer.open_count = 0;
	submit(0, STORE_RECEIVE, 40 * CLOCK_MS);
	submit(1, STORE_RECEIVE, 20 * CLOCK_MS);
	submit(2, STORE_GET, 20 * CLOCK_MS);
	turn_until_answered(1);
	turn_until_answered(2);
	assert_int_equal(answer_counts[0], 0);
	turn_until_answered(0);
	for (int i = 0; i < 3; i++)
		assert_answered(i, REASON_DATABASE_UNAVAILABLE);
	assert_false(store_is_ready(store));
}

static void
a_late_answer_reaches_only_those_who_wait(void **state)
{
	(void) state;
	submit(0, STORE_SETTLE, CLOCK_SECOND);
	submit(1, STORE_SETTLE, 10 * CLOCK_MS);
	submit(2, STORE_SETTLE, 10 * CLOCK_MS);
	turn_until_answered(2);
	assert_answered(1, REASON_OUTCOME_UNKNOWN);
	assert_answered(2, REASON_OUTCOME_UNKNOWN);
	assert_int_equal(writer.calls[0].item_count, 3);
	reply(REASON_NONE);
	assert_answered(0, REASON_NONE);
	/* Its deadline made it the last of the call. */
	assert_int_equal(answers[0].order_id, 1002);
	assert_int_equal(answer_counts[1], 1);
}

static void
a_late_answer_to_nobody_is_dropped(void **state)
{
	(void) state;
	submit(0, STORE_GET, 10 * CLOCK_MS);
	submit(1, STORE_RECEIVE, 10 * CLOCK_MS);
	writer.open_count = 2;
	turn_until_answered(0);
	turn_until_answered(1);
	assert_answered(0, REASON_DATABASE_UNAVAILABLE);
	assert_answered(1, REASON_OUTCOME_UNKNOWN);
	fail_call(&writer, PG_LOST, "");
	fail_call(&writer, PG_FAILED, "XX000");
	assert_int_equal(writer.call_count, 0);
}

static void
a_failed_call_is_halved_until_the_guilty_item_is_found(void **state)
{
	(void) state;
	submit_many(4, STORE_RECEIVE);
	fail_call(&writer, PG_FAILED, "22021");
	assert_int_equal(writer.calls[0].item_count, 2);
	reply(REASON_NONE);
	assert_answered(0, REASON_NONE);
	assert_answered(1, REASON_NONE);
	assert_int_equal(writer.calls[0].item_count, 2);
	fail_call(&writer, PG_FAILED, "22021");
	assert_int_equal(writer.calls[0].item_count, 1);
	fail_call(&writer, PG_FAILED, "22021");
	assert_answered(2, REASON_INTERNAL_ERROR);
	reply(REASON_NONE);
	assert_answered(3, REASON_NONE);
	assert_int_equal(store_pending_count(store), 0);
}

static void
halves_expire(void **state)
{
	(void) state;
	submit(0, STORE_RECEIVE, 10 * CLOCK_MS);
	submit(1, STORE_RECEIVE, 20 * CLOCK_MS);
	submit(2, STORE_RECEIVE, CLOCK_SECOND);
	loop_turn(loop);
	writer.open_count = 0;
	fail_call(&writer, PG_FAILED, "XX000");
	turn_until_answered(1);
	assert_answered(0, REASON_DATABASE_UNAVAILABLE);
	assert_answered(1, REASON_DATABASE_UNAVAILABLE);
	writer.open_count = 1;
	writer.options.changed(writer.options.context);
	loop_turn(loop);
	assert_int_equal(writer.calls[0].item_count, 1);
	reply(REASON_NONE);
	assert_answered(2, REASON_NONE);
}

static void
a_full_server_is_not_asked_again(void **state)
{
	(void) state;
	submit_many(4, STORE_RECEIVE);
	fail_call(&writer, PG_FAILED, "53100");
	for (int i = 0; i < 4; i++)
		assert_answered(i, REASON_DATABASE_UNAVAILABLE);
	assert_int_equal(writer.call_count, 0);
}

static void
a_deadlock_is_tried_again_as_it_was(void **state)
{
	(void) state;
	submit_many(2, STORE_CANCEL);
	fail_call(&writer, PG_FAILED, "40P01");
	assert_int_equal(writer.calls[0].item_count, 2);
	reply(REASON_NONE);
	assert_answered(0, REASON_NONE);
	assert_answered(1, REASON_NONE);
}

static void
refusals_of_reads_have_their_reasons(void **state)
{
	(void) state;
	submit(0, STORE_GET, CLOCK_SECOND);
	submit(1, STORE_GET, CLOCK_SECOND);
	submit(2, STORE_FIND, CLOCK_SECOND);
	loop_turn(loop);
	fail_call(&writer, PG_FAILED, "OS404");
	fail_call(&writer, PG_FAILED, "OS403");
	fail_call(&writer, PG_FAILED, "XX000");
	assert_answered(0, REASON_UNKNOWN_ORDER);
	assert_answered(1, REASON_NOT_YOURS);
	assert_answered(2, REASON_INTERNAL_ERROR);
}

static void
too_many_waiting_are_refused_but_not_settles(void **state)
{
	(void) state;
	writer.open_count = 0;
	for (int i = 0; i < 8; i++)
		submit(i, STORE_RECEIVE, 50 * CLOCK_MS);
	submit(8, STORE_RECEIVE, 50 * CLOCK_MS);
	submit(9, STORE_SETTLE, 50 * CLOCK_MS);
	assert_int_equal(answer_counts[8], 0);
	loop_turn(loop);
	assert_answered(8, REASON_OVERLOADED);
	assert_int_equal(answer_counts[9], 0);
	turn_until_answered(9);
	assert_answered(9, REASON_DATABASE_UNAVAILABLE);
}

static void
an_answer_of_another_shape_is_an_error_of_ours(void **state)
{
	(void) state;
	submit_many(2, STORE_RECEIVE);
	reply_rows(&writer, make_rows());
	assert_answered(0, REASON_INTERNAL_ERROR);
	assert_answered(1, REASON_INTERNAL_ERROR);
}

static void
connection_strings_are_checked_at_the_start(void **state)
{
	(void) state;
	config.reader = "nonsense";
	assert_null(store_new(loop, NULL, &config));
	config.writer = "nonsense";
	assert_null(store_new(loop, NULL, &config));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_with_writer, close_store)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(items_of_a_turn_go_as_one_call),
		TEST(what_gathers_while_busy_goes_up_to_the_limit),
		TEST(more_than_a_few_calls_wait_for_an_answer),
		TEST(what_goes_alone_does_not_wait_for_others),
		TEST(what_goes_alone_leaves_connections_to_orders),
		TEST(one_goes_alone_over_however_few_connections),
		TEST(calls_go_beside_those_that_take_long),
		TEST(a_lost_call_goes_again),
		TEST(receiving_again_finds_its_own_order_and_nobody_elses),
		TEST(a_call_that_never_ran_leaves_no_doubt),
		TEST(without_a_connection_items_end_by_their_deadlines),
		TEST(a_late_answer_reaches_only_those_who_wait),
		TEST(a_late_answer_to_nobody_is_dropped),
		TEST(a_failed_call_is_halved_until_the_guilty_item_is_found),
		TEST(halves_expire),
		TEST(a_full_server_is_not_asked_again),
		TEST(a_deadlock_is_tried_again_as_it_was),
		TEST(refusals_of_reads_have_their_reasons),
		TEST(too_many_waiting_are_refused_but_not_settles),
		TEST(an_answer_of_another_shape_is_an_error_of_ours),
		TEST(connection_strings_are_checked_at_the_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
