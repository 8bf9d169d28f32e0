/*
 * store_test.c
 *		What the store does when calls fail, are lost, or come too late; the pools are replaced.
 *
 * A test plays the database: it looks at the calls that were made and ends them.
 */
#include "order/store.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "net/pg_array.h"
#include "net/pg_pool.h"

#define CALLS_MAX 16
#define ITEMS_MAX 16

/* Of receive_orders(); the other functions have fewer, and nobody looks at the rest. */
#define COLUMN_COUNT 12

/* A call that a pool has been given. */
typedef struct Call
{
	int statement;
	int item_count; /* of the array functions */
	PgCallback callback;
	void *context;
} Call;

struct PgPool
{
	PgPoolOptions options;
	int open_count;
	int call_count; /* under way */
	Call calls[CALLS_MAX];
	int grow_count;
};

static PgPool writer;
static PgPool reader;
static Loop *loop;
static Config config;
static Store *store;
static StoreItem items[ITEMS_MAX];
static int answer_counts[ITEMS_MAX];
static StoreResult answers[ITEMS_MAX];

/* The pools ----------------------------------------------------------------------------------- */

PgPool *
pg_pool_new(Loop *unused, Dns *dns, const PgPoolOptions *options)
{
	PgPool *pool = options->role == PG_WRITER ? &writer : &reader;

	(void) unused;
	(void) dns;
	if (strcmp(options->conninfo, "nonsense") == 0)
		return NULL;
	*pool = (PgPool){.options = *options, .open_count = 1};
	return pool;
}

void
pg_pool_free(PgPool *pool)
{
	(void) pool;
}

int
pg_pool_idle_count(const PgPool *pool)
{
	return pool->open_count - pool->call_count;
}

int
pg_pool_open_count(const PgPool *pool)
{
	return pool->open_count;
}

void
pg_pool_grow(PgPool *pool)
{
	pool->grow_count++;
}

bool
pg_pool_call(PgPool *pool, int statement, const PgArguments *arguments, PgCallback callback,
			 void *context)
{
	const Bytes *first = &arguments->values[0];

	assert_true(pool->call_count < CALLS_MAX);
	if (pg_pool_idle_count(pool) == 0)
		return false;
	pool->calls[pool->call_count++] = (Call){
		.statement = statement,
		.item_count = first->size > 20 ? (int) bytes_u32(first->data + 12) : 0,
		.callback = callback,
		.context = context,
	};
	return true;
}

/* Ends the oldest call of a pool. */
static void
end_call(PgPool *pool, const PgReply *reply)
{
	Call call = pool->calls[0];

	assert_true(pool->call_count > 0);
	pool->call_count--;
	memmove(pool->calls, pool->calls + 1, sizeof(Call) * (size_t) pool->call_count);
	call.callback(call.context, reply);
	loop_turn(loop);
}

static void
fail_call(PgPool *pool, PgOutcome outcome, const char *sqlstate)
{
	end_call(pool, &(PgReply){.outcome = outcome, .sqlstate = sqlstate, .message = "it failed"});
}

static void
set_cell(PGresult *rows, int row, int column, const void *value, int size)
{
	assert_int_equal(PQsetvalue(rows, row, column, (char *) value, size), 1);
}

static void
set_number(PGresult *rows, int row, int column, int64_t value, int size)
{
	uint8_t bytes[8];

	for (int i = 0; i < size; i++)
		bytes[i] = (uint8_t) (value >> 8 * (size - 1 - i));
	set_cell(rows, row, column, bytes, size);
}

/* Ends the writer's oldest call well: all its items get the code of the reason. */
static void
reply(Reason reason)
{
	static const int sizes[COLUMN_COUNT] = {4, 2, 2, 0, 8, 2, 1, 8, 8, 0, 0, 8};
	static PGresAttDesc columns[COLUMN_COUNT];
	PGresult *rows = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	int count = writer.calls[0].item_count;

	for (int i = 0; i < COLUMN_COUNT; i++)
		columns[i] = (PGresAttDesc){.name = "column", .format = 1};
	assert_int_equal(PQsetResultAttrs(rows, COLUMN_COUNT, columns), 1);
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
	end_call(&writer, &(PgReply){.outcome = PG_OK, .result = rows, .sqlstate = "", .message = ""});
	PQclear(rows);
}

/* The store ----------------------------------------------------------------------------------- */

static int
open_store(bool has_reader)
{
	loop = loop_new();
	config = (Config){.writer = "writer",
					  .reader = has_reader ? "reader" : "",
					  .writer_connections = 4,
					  .reader_connections = 4,
					  .batch_max = 4,
					  .in_flight_max = 8};
	memset(answer_counts, 0, sizeof(answer_counts));
	store = store_new(loop, NULL, &config);
	assert_non_null(store);
	return 0;
}

static int
open_with_writer(void **state)
{
	(void) state;
	return open_store(false);
}

static int
open_with_reader(void **state)
{
	(void) state;
	return open_store(true);
}

static int
close_store(void **state)
{
	(void) state;
	/* A test that failed half way leaves items behind. */
	if (store_pending_count(store) > 0)
		return 1;
	store_free(store);
	loop_free(loop);
	metrics_reset();
	return 0;
}

static void
note_answer(void *context, const StoreResult *result)
{
	StoreItem *item = context;

	answers[item - items] = *result;
	answer_counts[item - items]++;
	/* It is its owner's again: the store must not look at it any more. */
	memset(item, 0xff, sizeof(*item));
}

static void
submit(int index, StoreKind kind, int64_t timeout_us)
{
	items[index] = (StoreItem){.kind = kind,
							   .deadline_us = loop_now_us(loop) + timeout_us,
							   .callback = note_answer,
							   .context = &items[index],
							   .account_id = 7,
							   .key = "key",
							   .order_id = 1 + index,
							   .symbol = "ABC"};
	store_submit(store, &items[index]);
}

static void
submit_many(int count, StoreKind kind)
{
	for (int i = 0; i < count; i++)
		submit(i, kind, CLOCK_SECOND);
	loop_turn(loop);
}

/* Turns until an item has been answered, and no longer than a good while. */
static void
turn_until_answered(int index)
{
	int64_t give_up_us = clock_now_us() + 10 * CLOCK_SECOND;

	while (answer_counts[index] == 0)
	{
		assert_true(clock_now_us() < give_up_us);
		loop_turn(loop);
	}
}

static void
assert_answered(int index, Reason reason)
{
	assert_int_equal(answer_counts[index], 1);
	assert_int_equal(answers[index].reason, reason);
	assert_int_equal(answers[index].code, reason_code(reason));
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
	writer.open_count = 4;
	submit(0, STORE_GET, CLOCK_SECOND);
	submit(1, STORE_GET, CLOCK_SECOND);
	submit(2, STORE_FIND_SESSION, CLOCK_SECOND);
	submit(3, STORE_FIND, CLOCK_SECOND);
	loop_turn(loop);
	assert_int_equal(writer.call_count, 4);
	fail_call(&writer, PG_FAILED, "OS404");
	fail_call(&writer, PG_FAILED, "OS403");
	fail_call(&writer, PG_FAILED, "OS401");
	fail_call(&writer, PG_FAILED, "XX000");
	assert_answered(0, REASON_UNKNOWN_ORDER);
	assert_answered(1, REASON_NOT_YOURS);
	assert_answered(2, REASON_NO_SESSION);
	assert_answered(3, REASON_INTERNAL_ERROR);
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
	PGresult *rows = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);

	(void) state;
	submit_many(2, STORE_RECEIVE);
	end_call(&writer, &(PgReply){.outcome = PG_OK, .result = rows, .sqlstate = "", .message = ""});
	PQclear(rows);
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
#define TEST_WITH_READER(name) cmocka_unit_test_setup_teardown(name, open_with_reader, close_store)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(items_of_a_turn_go_as_one_call),
		TEST(what_gathers_while_busy_goes_up_to_the_limit),
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
		TEST_WITH_READER(a_reader_that_says_no_or_nothing_is_not_believed),
		TEST_WITH_READER(the_writer_reads_while_there_is_no_reader),
		TEST_WITH_READER(a_reader_serves_no_commands),
		TEST(too_many_waiting_are_refused_but_not_settles),
		TEST(an_answer_of_another_shape_is_an_error_of_ours),
		TEST(connection_strings_are_checked_at_the_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
