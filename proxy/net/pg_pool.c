/*
 * pg_pool.c
 *		A pool of connections to the writer, or to the readers.
 *
 * DESIGN	A member is in the list of its state, and only set_state() moves it. The idle list is a
 *			stack, so that what is not needed stays at its bottom and is found there.
 *
 *			tend() brings the pool to what it should be, and sets the timer to when that changes
 *			next. It runs after every change, so nothing else opens or closes for reasons of time.
 *
 * FAILURE	After a failed login, or a connection that was lost before it served, the pool pauses,
 *			each time longer, and then tries with one login only: a server that is down, full or
 *			starting is not hammered.
 */
#include "net/pg_pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "resilience/backoff.h"

typedef enum MemberState
{
	MEMBER_CONNECTING,
	MEMBER_IDLE,
	MEMBER_BUSY,
} MemberState;

#define MEMBER_STATE_COUNT 3

/* Why a connection was closed. */
typedef enum CloseReason
{
	CLOSE_IDLE,
	CLOSE_LIFETIME,
	CLOSE_FAILOVER, /* another one told that its server goes */
	CLOSE_LOST,
	CLOSE_READ_ONLY,
	CLOSE_UNUSABLE,
	CLOSE_SHUTDOWN,
} CloseReason;

#define CLOSE_REASON_COUNT 7

/* A connection that is lost at this age, or older, was a good one, also if it never served. */
#define YOUNG_US (PG_PAUSE_MS_MAX * CLOCK_MS)

#define SPREAD_STEPS 1000

#define ROLE_COUNT 2

typedef struct Member
{
	TAILQ_ENTRY(Member) link;
	PgPool *pool;
	PgConn *conn;
	MemberState state;
	uint64_t generation; /* of the pool, when it began to connect */
	int64_t opened_us;
	int64_t expires_us;    /* end of its lifetime */
	int64_t idle_since_us; /* IDLE */
	bool has_served;
	PgCallback callback; /* BUSY */
	void *context;
} Member;

TAILQ_HEAD(MemberList, Member);

typedef struct PoolMetrics
{
	MetricsGauge connections[MEMBER_STATE_COUNT];
	MetricsCounter connects;
	MetricsCounter connect_failures;
	MetricsCounter disconnects[CLOSE_REASON_COUNT];
} PoolMetrics;

struct PgPool
{
	Loop *loop;
	Dns *dns;
	PgPoolOptions options;
	PgTarget *target;
	PoolMetrics *metrics;
	struct MemberList members[MEMBER_STATE_COUNT];
	int counts[MEMBER_STATE_COUNT];
	uint64_t generation;
	Backoff backoff;
	bool is_failing;   /* no connection has proved good since a login failed */
	int64_t paused_us; /* no login before this */
	bool is_work_waiting;
	bool is_announced; /* whether the log says that the database is there */
	LoopEvent timer;
	int64_t due_us; /* when it comes */
};

static PoolMetrics metrics[ROLE_COUNT];

static void login_done(void *context, const PgReply *reply);
static void idle_lost(void *context, const PgReply *reply);

/* Metrics ------------------------------------------------------------------------------------- */

#define LABELS(role) \
	{ \
		.pool = "pool=\"" role "\"", \
		.states = {"pool=\"" role "\",state=\"connecting\"", "pool=\"" role "\",state=\"idle\"", \
				   "pool=\"" role "\",state=\"busy\""}, \
		.reasons = { \
			"pool=\"" role "\",reason=\"idle\"",      "pool=\"" role "\",reason=\"lifetime\"", \
			"pool=\"" role "\",reason=\"failover\"",  "pool=\"" role "\",reason=\"lost\"", \
			"pool=\"" role "\",reason=\"read_only\"", "pool=\"" role "\",reason=\"unusable\"", \
			"pool=\"" role "\",reason=\"shutdown\"", \
		}, \
	}

static const struct
{
	const char *pool;
	const char *states[MEMBER_STATE_COUNT];
	const char *reasons[CLOSE_REASON_COUNT];
} labels[ROLE_COUNT] = {LABELS("writer"), LABELS("reader")};

static const char *const role_names[ROLE_COUNT] = {"writer", "reader"};

static void
register_metrics(PgPoolRole role)
{
	PoolMetrics *own = &metrics[role];

	for (int i = 0; i < MEMBER_STATE_COUNT; i++)
		metrics_gauge_init(&own->connections[i], "pg_connections", labels[role].states[i],
						   "Connections to PostgreSQL.");
	metrics_counter_init(&own->connects, "pg_connects_total", labels[role].pool,
						 "Connections to PostgreSQL opened.");
	metrics_counter_init(&own->connect_failures, "pg_connect_failures_total", labels[role].pool,
						 "Rounds through all hosts of PostgreSQL that opened no connection.");
	for (int i = 0; i < CLOSE_REASON_COUNT; i++)
		metrics_counter_init(&own->disconnects[i], "pg_disconnects_total", labels[role].reasons[i],
							 "Connections to PostgreSQL closed.");
}

/* Members ------------------------------------------------------------------------------------- */

/* A lifetime, give or take a tenth: what was opened together must not end together. */
static int64_t
spread(int64_t lifetime_us)
{
	int64_t steps = (int64_t) arc4random_uniform(2 * SPREAD_STEPS + 1) - SPREAD_STEPS;

	return lifetime_us + lifetime_us / 10 / SPREAD_STEPS * steps;
}

static int
open_count(const PgPool *pool)
{
	return pool->counts[MEMBER_IDLE] + pool->counts[MEMBER_BUSY];
}

static bool
is_expired(const Member *member)
{
	return loop_now_us(member->pool->loop) >= member->expires_us;
}

static void
count_member(PgPool *pool, MemberState state, int change)
{
	pool->counts[state] += change;
	pool->metrics->connections[state].value = pool->counts[state];
}

static void
set_state(Member *member, MemberState state)
{
	PgPool *pool = member->pool;

	TAILQ_REMOVE(&pool->members[member->state], member, link);
	count_member(pool, member->state, -1);
	member->state = state;
	member->idle_since_us = loop_now_us(pool->loop);
	TAILQ_INSERT_HEAD(&pool->members[state], member, link);
	count_member(pool, state, 1);
}

static void
start_login(PgPool *pool)
{
	Member *member = bytes_new_zeroed(1, sizeof(Member));
	PgConnOptions options = {
		.target = pool->target,
		.is_writer = pool->options.role == PG_WRITER,
		.connect_timeout_us = pool->options.connect_timeout_us,
		.statements = pool->options.statements,
		.statement_count = pool->options.statement_count,
		.opened = login_done,
		.closed = idle_lost,
		.context = member,
	};

	member->pool = pool;
	member->state = MEMBER_CONNECTING;
	member->generation = pool->generation;
	TAILQ_INSERT_HEAD(&pool->members[MEMBER_CONNECTING], member, link);
	count_member(pool, MEMBER_CONNECTING, 1);
	member->conn = pg_conn_open(pool->loop, pool->dns, &options);
}

static void
remove_member(Member *member)
{
	TAILQ_REMOVE(&member->pool->members[member->state], member, link);
	count_member(member->pool, member->state, -1);
	pg_conn_free(member->conn);
	free(member);
}

static void
close_member(Member *member, CloseReason reason)
{
	metrics_count(&member->pool->metrics->disconnects[reason]);
	remove_member(member);
}

/* What the pool should be --------------------------------------------------------------------- */

/* No login for a while. Failures during a pause have begun before it, and do not lengthen it. */
static void
pause_logins(PgPool *pool)
{
	int64_t now_us = loop_now_us(pool->loop);

	pool->is_failing = true;
	if (now_us >= pool->paused_us)
		pool->paused_us = now_us + backoff_next(&pool->backoff);
}

/* A connection has proved good. */
static void
end_failing(PgPool *pool)
{
	pool->is_failing = false;
	backoff_reset(&pool->backoff);
}

/* Whether a connection should be closed now; else |due_us| is brought forward to when it might. */
static bool
is_overdue(const Member *member, CloseReason *reason, int64_t *due_us)
{
	const PgPool *pool = member->pool;
	int64_t now_us = loop_now_us(pool->loop);
	int64_t idle_until_us = member->idle_since_us + pool->options.idle_timeout_us;
	/* The last one stays until another is there to serve, where another one may be. */
	bool is_last = open_count(pool) == 1;
	bool is_kept = is_last && pool->options.connections_max > 1;

	if (member->generation != pool->generation)
		*reason = CLOSE_FAILOVER;
	else if (is_expired(member) && !is_kept)
		*reason = CLOSE_LIFETIME;
	else if (now_us >= idle_until_us && !is_last)
		*reason = CLOSE_IDLE;
	else
	{
		if (!is_expired(member) && member->expires_us < *due_us)
			*due_us = member->expires_us;
		if (!is_last && idle_until_us < *due_us)
			*due_us = idle_until_us;
		return false;
	}
	return true;
}

/* How many connections there should be, by what is known now. */
static int
wanted_count(const PgPool *pool)
{
	const Member *idle = TAILQ_FIRST(&pool->members[MEMBER_IDLE]);
	int count = open_count(pool);

	if (count == 0)
		return 1;
	if (pool->is_work_waiting && idle == NULL)
		return count + pool->counts[MEMBER_CONNECTING] + 1;
	/* The last one's lifetime is over: it waits for its successor. */
	if (count == 1 && idle != NULL && is_expired(idle))
		return 2;
	return count;
}

static void
set_timer(PgPool *pool, int64_t due_us)
{
	int64_t now_us = loop_now_us(pool->loop);

	pool->due_us = due_us;
	if (due_us == INT64_MAX)
		loop_event_remove(&pool->timer);
	else
		loop_event_add(&pool->timer, due_us > now_us ? due_us - now_us : 0);
}

static void
tend(PgPool *pool)
{
	int64_t now_us = loop_now_us(pool->loop);
	int64_t due_us = INT64_MAX;
	int logins_max = pool->is_failing ? 1 : PG_LOGINS_MAX;
	int wanted;
	Member *member;
	Member *before;

	/* From the bottom: the longest idle first. */
	for (member = TAILQ_LAST(&pool->members[MEMBER_IDLE], MemberList); member != NULL;
		 member = before)
	{
		CloseReason reason;

		before = TAILQ_PREV(member, MemberList, link);
		if (is_overdue(member, &reason, &due_us))
			close_member(member, reason);
	}

	wanted = wanted_count(pool);
	if (wanted > pool->options.connections_max)
		wanted = pool->options.connections_max;
	while (now_us >= pool->paused_us && pool->counts[MEMBER_CONNECTING] < logins_max &&
		   open_count(pool) + pool->counts[MEMBER_CONNECTING] < wanted)
		start_login(pool);
	if (now_us < pool->paused_us && open_count(pool) < wanted && pool->paused_us < due_us)
		due_us = pool->paused_us;
	pool->is_work_waiting = false;
	set_timer(pool, due_us);
}

static void
tend_in_time(void *context, short what)
{
	(void) what;
	tend(context);
}

/* What connections tell ----------------------------------------------------------------------- */

static void
log_reply(const PgPool *pool, LogLevel level, const char *event, const Member *member,
		  const PgReply *reply)
{
	log_event(level, event, LOG_TEXT("pool", role_names[pool->options.role]),
			  LOG_TEXT("peer", pg_conn_peer(member->conn)), LOG_TEXT("sqlstate", reply->sqlstate),
			  LOG_TEXT("message", reply->message));
}

static void
login_done(void *context, const PgReply *reply)
{
	Member *member = context;
	PgPool *pool = member->pool;

	if (reply->outcome != PG_OK)
	{
		metrics_count(&pool->metrics->connect_failures);
		log_reply(pool, LOG_WARNING, "database cannot be connected to", member, reply);
		remove_member(member);
		pause_logins(pool);
		tend(pool);
		return;
	}
	metrics_count(&pool->metrics->connects);
	if (!pool->is_announced)
		log_reply(pool, LOG_INFO, "database connected", member, reply);
	pool->is_announced = true;
	member->opened_us = loop_now_us(pool->loop);
	member->expires_us = member->opened_us + spread(pool->options.lifetime_us);
	set_state(member, MEMBER_IDLE);
	tend(pool);
	pool->options.changed(pool->options.context);
}

/* A connection is of no use any more. */
static void
drop_member(Member *member, const PgReply *reply)
{
	PgPool *pool = member->pool;
	CloseReason reason = CLOSE_UNUSABLE;

	if (reply->outcome == PG_LOST)
		reason = CLOSE_LOST;
	else if (reply->is_failover)
		reason = CLOSE_READ_ONLY;
	log_reply(pool, LOG_WARNING, "database connection lost", member, reply);
	if (!member->has_served && loop_now_us(pool->loop) - member->opened_us < YOUNG_US)
		pause_logins(pool);
	else if (!member->has_served)
		end_failing(pool);
	/* Others of the same generation tell nothing new. */
	if (reply->is_failover && member->generation == pool->generation)
		pool->generation++;
	close_member(member, reason);
	if (open_count(pool) == 0)
		pool->is_announced = false;
	tend(pool);
	pool->options.changed(pool->options.context);
}

static void
idle_lost(void *context, const PgReply *reply)
{
	drop_member(context, reply);
}

static void
call_done(void *context, const PgReply *reply)
{
	static const PgReply no_writes = {.outcome = PG_UNUSABLE,
									  .sqlstate = "25006",
									  .message = "server takes no writes any more",
									  .is_failover = true};
	Member *member = context;
	PgPool *pool = member->pool;
	int64_t idle_until_us;

	/* The caller first: the reply does not outlive the connection. */
	member->callback(member->context, reply);
	if (reply->outcome == PG_UNUSABLE || reply->outcome == PG_LOST)
	{
		drop_member(member, reply);
		return;
	}
	/* That others go on serving says nothing about logins. */
	if (!member->has_served)
		end_failing(pool);
	member->has_served = true;
	if (!pg_conn_is_fit(member->conn))
	{
		drop_member(member, &no_writes);
		return;
	}
	set_state(member, MEMBER_IDLE);
	idle_until_us = member->idle_since_us + pool->options.idle_timeout_us;
	if (member->generation != pool->generation || is_expired(member))
		tend(pool);
	else if (idle_until_us < pool->due_us)
		set_timer(pool, idle_until_us);
}

/* The pool ------------------------------------------------------------------------------------ */

PgPool *
pg_pool_new(Loop *loop, Dns *dns, const PgPoolOptions *options)
{
	PgPool *pool;
	char error[PG_MESSAGE_BYTES_MAX];
	PgTarget *target = pg_target_new(options->conninfo, error, sizeof(error));

	if (target == NULL)
	{
		log_event(LOG_ERROR, "connection string cannot be understood",
				  LOG_TEXT("pool", role_names[options->role]), LOG_TEXT("error", error));
		return NULL;
	}
	assert(options->connections_max > 0);
	pool = bytes_new_zeroed(1, sizeof(PgPool));
	pool->loop = loop;
	pool->dns = dns;
	pool->options = *options;
	pool->target = target;
	pool->metrics = &metrics[options->role];
	pool->backoff.first_us = PG_PAUSE_MS_MIN * CLOCK_MS;
	pool->backoff.limit_us = PG_PAUSE_MS_MAX * CLOCK_MS;
	for (int i = 0; i < MEMBER_STATE_COUNT; i++)
		TAILQ_INIT(&pool->members[i]);
	register_metrics(options->role);
	loop_event_init(&pool->timer, loop, -1, 0, tend_in_time, pool);
	tend(pool);
	return pool;
}

void
pg_pool_free(PgPool *pool)
{
	if (pool == NULL)
		return;
	for (int i = 0; i < MEMBER_STATE_COUNT; i++)
	{
		Member *member;

		while ((member = TAILQ_FIRST(&pool->members[i])) != NULL)
			close_member(member, CLOSE_SHUTDOWN);
	}
	loop_event_remove(&pool->timer);
	pg_target_free(pool->target);
	free(pool);
}

bool
pg_pool_call(PgPool *pool, int statement, const PgArguments *arguments, PgCallback callback,
			 void *context)
{
	Member *member = TAILQ_FIRST(&pool->members[MEMBER_IDLE]);

	if (member == NULL)
		return false;
	assert(member->generation == pool->generation);
	member->callback = callback;
	member->context = context;
	set_state(member, MEMBER_BUSY);
	pg_conn_call(member->conn, statement, arguments, call_done, member);
	return true;
}

int
pg_pool_idle_count(const PgPool *pool)
{
	return pool->counts[MEMBER_IDLE];
}

int
pg_pool_open_count(const PgPool *pool)
{
	return open_count(pool);
}

void
pg_pool_grow(PgPool *pool)
{
	if (pool->counts[MEMBER_IDLE] > 0 || pool->counts[MEMBER_CONNECTING] >= PG_LOGINS_MAX ||
		open_count(pool) + pool->counts[MEMBER_CONNECTING] >= pool->options.connections_max)
		return;
	pool->is_work_waiting = true;
	tend(pool);
}
