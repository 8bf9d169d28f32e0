/*
 * store_reader_test.c
 *		What the store asks a reader, and when it asks the writer instead; the pools are replaced.
 */
#include "order/store.h" /* first: it must need nothing that is included below */

#include "store_fixture.h"

/* Ends a pool's oldest call, of find_sessions(): the accounts, 0 where there is no session. */
static void
reply_sessions(PgPool *pool, int count, const int64_t *accounts)
{
	PGresult *rows = make_rows();

	assert_int_equal(pool->calls[0].statement, STORE_FIND_SESSION);
	assert_int_equal(pool->calls[0].item_count, count);
	for (int row = 0; row < count; row++)
	{
		set_number(rows, row, 0, row + 1, 4);
		if (accounts[row] != 0)
			set_number(rows, row, 1, accounts[row], 8);
	}
	reply_rows(pool, rows);
}

#define REPLY_SESSIONS(pool, ...) \
	reply_sessions(pool, (int) (sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), \
				   (const int64_t[]){__VA_ARGS__})

static int
open_with_reader(void **state)
{
	(void) state;
	return open_store(true);
}

static void
a_reader_that_says_no_or_nothing_is_not_believed(void **state)
{
	(void) state;
	for (int i = 0; i < 2; i++)
	{
		submit(i, STORE_FIND, CLOCK_SECOND);
		loop_turn(loop);
		fail_call(&reader, i == 0 ? PG_FAILED : PG_LOST, "OS404");
		assert_int_equal(answer_counts[i], 0);
		assert_int_equal(writer.calls[0].statement, STORE_FIND);
		fail_call(&writer, PG_FAILED, "OS404");
		assert_answered(i, REASON_UNKNOWN_ORDER);
	}
}

static void
of_many_sessions_the_writer_is_asked_for_those_that_the_reader_does_not_know(void **state)
{
	(void) state;
	submit_many(4, STORE_FIND_SESSION);
	assert_int_equal(writer.call_count, 0);
	REPLY_SESSIONS(&reader, 7, 0, 8, 0);
	assert_answered(0, REASON_NONE);
	assert_answered(2, REASON_NONE);
	assert_int_equal(answers[2].account_id, 8);
	assert_int_equal(answer_counts[1] + answer_counts[3], 0);
	REPLY_SESSIONS(&writer, 9, 0);
	assert_answered(1, REASON_NONE);
	assert_int_equal(answers[1].account_id, 9);
	assert_answered(3, REASON_NO_SESSION);
}

static void
orders_are_read_beside_sessions_and_not_instead(void **state)
{
	(void) state;
	reader.open_count = config.reader_connections;
	for (int i = 0; i < 5; i++)
		submit(i, STORE_LIST, 5 * CLOCK_SECOND);
	loop_turn(loop);
	assert_int_equal(reader.call_count, config.reader_connections - STORE_KEPT_CONNECTIONS);
	submit(5, STORE_FIND_SESSION, 5 * CLOCK_SECOND);
	loop_turn(loop);
	assert_int_equal(count_calls(&reader, STORE_FIND_SESSION), 1);
	submit(6, STORE_CLAIM, 5 * CLOCK_SECOND);
	loop_turn(loop);
	assert_int_equal(count_calls(&writer, STORE_CLAIM), 1);
	reply_rows(&writer, make_rows());
	assert_answered(6, REASON_NONE);
	while (reader.calls[0].statement == STORE_LIST)
		reply_rows(&reader, make_rows());
	REPLY_SESSIONS(&reader, 7);
	assert_answered(5, REASON_NONE);
	while (reader.call_count > 0)
		reply_rows(&reader, make_rows());
	for (int i = 0; i < 5; i++)
		assert_answered(i, REASON_NONE);
	assert_int_equal(writer.call_count, 0);
}

static void
the_writer_finds_the_sessions_that_a_lost_reader_was_asked_for(void **state)
{
	(void) state;
	submit(0, STORE_FIND_SESSION, 10 * CLOCK_MS);
	submit(1, STORE_FIND_SESSION, CLOCK_SECOND);
	submit(2, STORE_FIND_SESSION, CLOCK_SECOND);
	turn_until_answered(0);
	assert_answered(0, REASON_DATABASE_UNAVAILABLE);
	fail_call(&reader, PG_LOST, "");
	REPLY_SESSIONS(&writer, 7, 8);
	assert_answered(1, REASON_NONE);
	assert_int_equal(answers[2].account_id, 8);
	assert_int_equal(answer_counts[0], 1);
}

static void
the_writer_reads_while_there_is_no_reader(void **state)
{
	(void) state;
	reader.open_count = 0;
	submit(0, STORE_GET, CLOCK_SECOND);
	loop_turn(loop);
	assert_int_equal(writer.call_count, 1);
	fail_call(&writer, PG_FAILED, "OS404");
	assert_answered(0, REASON_UNKNOWN_ORDER);
}

static void
a_reader_serves_no_commands(void **state)
{
	(void) state;
	writer.open_count = 0;
	submit(0, STORE_CLOSE_SESSION, 10 * CLOCK_MS);
	submit(1, STORE_CLAIM, 10 * CLOCK_MS);
	turn_until_answered(0);
	turn_until_answered(1);
	assert_int_equal(reader.call_count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_with_reader, close_store)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_reader_that_says_no_or_nothing_is_not_believed),
		TEST(of_many_sessions_the_writer_is_asked_for_those_that_the_reader_does_not_know),
		TEST(orders_are_read_beside_sessions_and_not_instead),
		TEST(the_writer_finds_the_sessions_that_a_lost_reader_was_asked_for),
		TEST(the_writer_reads_while_there_is_no_reader),
		TEST(a_reader_serves_no_commands),
	};

	return cmocka_run_group_tests_name("store_reader", tests, NULL, NULL);
}
