/*
 * store_fixture.h
 *		The store over pools that are replaced: a test plays the database, looks at the calls that
 *		were made and ends them.
 *
 * A test that includes this is linked without net/pg_pool. Include it after the module under test.
 */
#ifndef STORE_FIXTURE_H
#define STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "net/pg_array.h"
#include "net/pg_pool.h"
#include "order/store.h"

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

/* A pool with one open connection; "nonsense" is a connection string that is not understood. */
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

/* There is nothing to free. */
void
pg_pool_free(PgPool *pool)
{
	(void) pool;
}

/* Connections without a call. */
int
pg_pool_idle_count(const PgPool *pool)
{
	return pool->open_count - pool->call_count;
}

/* Set by the test. */
int
pg_pool_open_count(const PgPool *pool)
{
	return pool->open_count;
}

/* Counts the wishes for more connections. */
void
pg_pool_grow(PgPool *pool)
{
	pool->grow_count++;
}

/* Notes the call. */
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

/* Ends the oldest call of a pool without rows. */
static void
fail_call(PgPool *pool, PgOutcome outcome, const char *sqlstate)
{
	end_call(pool, &(PgReply){.outcome = outcome, .sqlstate = sqlstate, .message = "it failed"});
}

/* Sets a cell, in binary. */
static void
set_cell(PGresult *rows, int row, int column, const void *value, int size)
{
	assert_int_equal(PQsetvalue(rows, row, column, (char *) value, size), 1);
}

/* Sets an integer of |size| bytes. */
static void
set_number(PGresult *rows, int row, int column, int64_t value, int size)
{
	uint8_t bytes[8];

	for (int i = 0; i < size; i++)
		bytes[i] = (uint8_t) (value >> 8 * (size - 1 - i));
	set_cell(rows, row, column, bytes, size);
}

/* A result without rows; reply_rows() frees it. */
static PGresult *
make_rows(void)
{
	static PGresAttDesc columns[COLUMN_COUNT];
	PGresult *rows = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);

	for (int i = 0; i < COLUMN_COUNT; i++)
		columns[i] = (PGresAttDesc){.name = "column", .format = 1};
	assert_int_equal(PQsetResultAttrs(rows, COLUMN_COUNT, columns), 1);
	return rows;
}

/* Ends a pool's oldest call well. */
static void
reply_rows(PgPool *pool, PGresult *rows)
{
	end_call(pool, &(PgReply){.outcome = PG_OK, .result = rows, .sqlstate = "", .message = ""});
	PQclear(rows);
}

/* Calls of a statement that are under way in a pool. */
static int
count_calls(const PgPool *pool, int statement)
{
	int count = 0;

	for (int i = 0; i < pool->call_count; i++)
		count += pool->calls[i].statement == statement;
	return count;
}

/* The store ----------------------------------------------------------------------------------- */

/* Opens |store| over a writer, and perhaps a reader, of one connection each. */
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

/* Closes |store|: the tear-down of every test. */
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

/* The callback of all items. */
static void
note_answer(void *context, const StoreResult *result)
{
	StoreItem *item = context;

	answers[item - items] = *result;
	answer_counts[item - items]++;
	/* It is its owner's again: the store must not look at it any more. */
	memset(item, 0xff, sizeof(*item));
}

/* Submits items[index], which waits no longer than |timeout_us|. */
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

/* Submits the first items for a second, and takes a turn. */
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

/* The item was answered once, with the reason and its code. */
static void
assert_answered(int index, Reason reason)
{
	assert_int_equal(answer_counts[index], 1);
	assert_int_equal(answers[index].reason, reason);
	assert_int_equal(answers[index].code, reason_code(reason));
}

#endif /* STORE_FIXTURE_H */
