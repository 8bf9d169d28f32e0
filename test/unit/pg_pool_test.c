/*
 * pg_pool_test.c
 *		Whom a pool of the writer believes to be the leader; the connections are replaced.
 *
 * A test plays the servers: it lets logins succeed, on a timeline, and ends calls or does not.
 */
#include "net/pg_pool.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/metrics.h"

#define MEMBERS_MAX 2
#define CONNS_MAX 16
#define HOST_COUNT 2

struct PgConn
{
	PgConnOptions options;
	PgHistory history;
	int host;
	bool is_freed;
	PgCallback callback; /* of the call that is under way */
	void *context;
};

static PgConn conns[CONNS_MAX];
static int conn_count;
static Loop *loop;
static PgPool *pool;
static int lost_count; /* calls that ended as PG_LOST */

/* The connections ----------------------------------------------------------------------------- */

PgConn *
pg_conn_open(Loop *unused, Dns *dns, const PgConnOptions *options)
{
	PgConn *conn = &conns[conn_count++];

	(void) unused;
	(void) dns;
	assert_true(conn_count <= CONNS_MAX);
	*conn = (PgConn){.options = *options, .host = options->first_host % HOST_COUNT};
	return conn;
}

void
pg_conn_free(PgConn *conn)
{
	assert_false(conn->is_freed);
	conn->is_freed = true;
}

void
pg_conn_call(PgConn *conn, int statement, const PgArguments *arguments, PgCallback callback,
			 void *context)
{
	(void) statement;
	(void) arguments;
	conn->callback = callback;
	conn->context = context;
}

bool
pg_conn_is_fit(const PgConn *conn)
{
	(void) conn;
	return true;
}

const char *
pg_conn_peer(const PgConn *conn)
{
	(void) conn;
	return "peer";
}

int
pg_conn_host(const PgConn *conn)
{
	return conn->host;
}

const PgHistory *
pg_conn_history(const PgConn *conn)
{
	return &conn->history;
}

static void
log_in(int number, uint32_t timeline)
{
	PgConn *conn = &conns[number];

	assert_true(number < conn_count && !conn->is_freed);
	conn->history = (PgHistory){.cluster = 1, .timeline = timeline};
	conn->options.opened(conn->options.context,
						 &(PgReply){.outcome = PG_OK, .sqlstate = "", .message = ""});
}

/* The pool ------------------------------------------------------------------------------------ */

static void
ignore(void *context)
{
	(void) context;
}

static int
open_pool(void **state)
{
	const PgPoolOptions options = {
		.role = PG_WRITER,
		.conninfo = "host=one,two",
		.connections_max = MEMBERS_MAX,
		.connect_timeout_us = CLOCK_SECOND,
		.call_timeout_us = CLOCK_SECOND,
		.idle_timeout_us = 1000 * CLOCK_SECOND,
		.lifetime_us = 1000 * CLOCK_SECOND,
		.changed = ignore,
	};

	(void) state;
	conn_count = 0;
	lost_count = 0;
	loop = loop_new();
	pool = pg_pool_new(loop, NULL, &options);
	assert_non_null(pool);
	return 0;
}

static int
close_pool(void **state)
{
	(void) state;
	pg_pool_free(pool);
	for (int i = 0; i < conn_count; i++)
		assert_true(conns[i].is_freed);
	loop_free(loop);
	metrics_reset();
	return 0;
}

static void
call_ended(void *context, const PgReply *reply)
{
	(void) context;
	if (reply->outcome == PG_LOST)
		lost_count++;
}

static void
call(void)
{
	assert_true(pg_pool_call(pool, 0, &(PgArguments){0}, call_ended, NULL));
}

/* A pool whose connections all wait for an answer of the first host, on timeline 1. */
static void
keep_all_busy(void)
{
	for (int i = 0; i < MEMBERS_MAX; i++)
	{
		pg_pool_grow(pool);
		log_in(i, 1);
		assert_int_equal(conns[i].host, 0);
		call();
	}
	assert_int_equal(conn_count, MEMBERS_MAX);
}

static void
turn_until_login(int number)
{
	while (conn_count <= number)
		loop_turn(loop);
}

static void
while_calls_hang_a_login_begins_at_the_next_host(void **state)
{
	int64_t begun_us = loop_now_us(loop);

	(void) state;
	keep_all_busy();
	turn_until_login(MEMBERS_MAX);
	assert_true(loop_now_us(loop) - begun_us >= PG_DOUBT_MS * CLOCK_MS);
	assert_int_equal(conns[MEMBERS_MAX].host, 1);

	/* The leader is merely slow: no connection more than may be, and no call is touched. */
	log_in(MEMBERS_MAX, 1);
	assert_true(conns[MEMBERS_MAX].is_freed);
	assert_int_equal(pg_pool_open_count(pool), MEMBERS_MAX);
	assert_int_equal(lost_count, 0);

	/* It is looked for again; this time another server has been promoted. */
	turn_until_login(MEMBERS_MAX + 1);
	log_in(MEMBERS_MAX + 1, 2);
	assert_int_equal(lost_count, MEMBERS_MAX);
	assert_true(conns[0].is_freed && conns[1].is_freed);
	assert_int_equal(pg_pool_idle_count(pool), 1);
}

static void
a_leader_on_a_later_timeline_ends_all_connections_to_the_one_before(void **state)
{
	(void) state;
	log_in(0, 1);
	call();
	pg_pool_grow(pool);
	log_in(1, 2);
	assert_int_equal(lost_count, 1);
	assert_true(conns[0].is_freed);
	assert_false(conns[1].is_freed);
	assert_int_equal(pg_pool_idle_count(pool), 1);
	call();
	assert_non_null(conns[1].callback);
}

static void
logins_know_the_latest_timeline_and_begin_where_it_was_met(void **state)
{
	(void) state;
	conns[0].host = 1;
	log_in(0, 7);
	call();
	pg_pool_grow(pool);
	assert_int_equal(conns[1].options.first_host, 1);
	assert_int_equal(conns[1].options.known->timeline, 7);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_pool, close_pool)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(while_calls_hang_a_login_begins_at_the_next_host),
		TEST(a_leader_on_a_later_timeline_ends_all_connections_to_the_one_before),
		TEST(logins_know_the_latest_timeline_and_begin_where_it_was_met),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
