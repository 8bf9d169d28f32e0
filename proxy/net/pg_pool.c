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
 *
 *			A leader that was replaced while it hung answers when it comes back, but not to us: its
 *			answers would tell of what the new one does not have.
 */
#include "net/pg_pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "resilience/backoff.h"

/* A connection that is lost at this age, or older, was a good one, also if it never served. */
#define YOUNG_US (PG_PAUSE_MS_MAX * CLOCK_MS)

#define SPREAD_STEPS 1000

typedef struct Member
{
	TAILQ_ENTRY(Member) link;
	PgPool *pool;
	PgConn *conn;
	PgMemberState state;
	uint64_t generation; /* of the pool, when it began to connect */
	int64_t opened_us;
	int64_t expires_us; /* end of its lifetime */
	int64_t since_us;   /* in this state */
	bool has_served;
	PgCallback callback; /* BUSY */
	void *context;
} Member;

TAILQ_HEAD(MemberList, Member);

struct PgPool
{
	Loop *loop;
	Dns *dns;
	PgPoolOptions options;
	PgTarget *target;
	PgPoolMetrics *metrics;
	struct MemberList members[PG_MEMBER_STATE_COUNT];
	int counts[PG_MEMBER_STATE_COUNT];
	uint64_t generation;
	PgHistory known; /* of the latest leader that was met */
	int host;        /* where the last login succeeded */
	Member *search;  /* the login that looks for another leader, or NULL */
	int64_t next_search_us;
	Backoff backoff;
	bool is_failing;   /* no connection has proved good since a login failed */
	int64_t paused_us; /* no login before this */
	bool is_work_waiting;
	bool is_announced; /* whether the log says that the database is there */
	LoopEvent timer;
	int64_t due_us; /* when it comes */
};

static void login_done(void *context, const PgReply *reply);
static void idle_lost(void *context, const PgReply *reply);

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
count_member(PgPool *pool, PgMemberState state, int change)
{
	pool->counts[state] += change;
	pool->metrics->connections[state].value = pool->counts[state];
}

static void
set_state(Member *member, PgMemberState state)
{
	PgPool *pool = member->pool;

	TAILQ_REMOVE(&pool->members[member->state], member, link);
	count_member(pool, member->state, -1);
	member->state = state;
	member->since_us = loop_now_us(pool->loop);
	TAILQ_INSERT_HEAD(&pool->members[state], member, link);
	count_member(pool, state, 1);
}

static Member *
start_login(PgPool *pool, int first_host)
{
	Member *member = bytes_new_zeroed(1, sizeof(Member));
	PgConnOptions options = {
		.target = pool->target,
		.first_host = first_host,
		.is_writer = pool->options.role == PG_WRITER,
		.known = &pool->known,
		.connect_timeout_us = pool->options.connect_timeout_us,
		.call_timeout_us = pool->options.call_timeout_us,
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
	return member;
}

static void
remove_member(Member *member)
{
	PgPool *pool = member->pool;

	TAILQ_REMOVE(&pool->members[member->state], member, link);
	count_member(pool, member->state, -1);
	if (pool->search == member)
		pool->search = NULL;
	pg_conn_free(member->conn);
	free(member);
}

static void
close_member(Member *member, PgCloseReason reason)
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
is_overdue(const Member *member, PgCloseReason *reason, int64_t *due_us)
{
	const PgPool *pool = member->pool;
	int64_t now_us = loop_now_us(pool->loop);
	int64_t idle_until_us = member->since_us + pool->options.idle_timeout_us;
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

/* When a call has hung for so long that another leader should be looked for; INT64_MAX if none. */
static int64_t
search_time(const PgPool *pool)
{
	const Member *oldest = TAILQ_LAST(&pool->members[MEMBER_BUSY], MemberList);
	int64_t doubt_us;

	if (pool->options.role != PG_WRITER || oldest == NULL || pool->search != NULL)
		return INT64_MAX;
	doubt_us = oldest->since_us + PG_DOUBT_MS * CLOCK_MS;
	return doubt_us > pool->next_search_us ? doubt_us : pool->next_search_us;
}

/* Begins behind the server that hangs: a login there would hang, too. It may be one too many. */
static void
start_search(PgPool *pool)
{
	const Member *oldest = TAILQ_LAST(&pool->members[MEMBER_BUSY], MemberList);

	pool->next_search_us = loop_now_us(pool->loop) + PG_DOUBT_MS * CLOCK_MS;
	pool->search = start_login(pool, pg_conn_host(oldest->conn) + 1);
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
		PgCloseReason reason;

		before = TAILQ_PREV(member, MemberList, link);
		if (is_overdue(member, &reason, &due_us))
			close_member(member, reason);
	}

	wanted = wanted_count(pool);
	if (wanted > pool->options.connections_max)
		wanted = pool->options.connections_max;
	while (now_us >= pool->paused_us && pool->counts[MEMBER_CONNECTING] < logins_max &&
		   open_count(pool) + pool->counts[MEMBER_CONNECTING] < wanted)
		start_login(pool, pool->host);
	if (now_us < pool->paused_us && open_count(pool) < wanted && pool->paused_us < due_us)
		due_us = pool->paused_us;
	if (search_time(pool) <= now_us)
		start_search(pool);
	if (search_time(pool) < due_us)
		due_us = search_time(pool);
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
	log_event(level, event, LOG_TEXT("pool", pg_pool_role_name(pool->options.role)),
			  LOG_TEXT("peer", pg_conn_peer(member->conn)), LOG_TEXT("sqlstate", reply->sqlstate),
			  LOG_TEXT("message", reply->message));
}

/* A leader was met that has replaced the one before: whoever is connected there must leave. */
static void
leave_superseded(PgPool *pool)
{
	static const PgReply superseded = {.outcome = PG_LOST,
									   .sqlstate = "",
									   .message = "another server is the leader",
									   .is_failover = true};
	Member *member;

	pool->generation++;
	while ((member = TAILQ_FIRST(&pool->members[MEMBER_BUSY])) != NULL)
	{
		PgCallback callback = member->callback;
		void *caller = member->context;

		log_reply(pool, LOG_WARNING, "database connection left", member, &superseded);
		close_member(member, CLOSE_FAILOVER);
		callback(caller, &superseded);
	}
}

/* Takes note of whom a login has met. */
static void
meet_leader(Member *member)
{
	PgPool *pool = member->pool;
	const PgHistory *history = pg_conn_history(member->conn);
	bool is_first = pool->known.timeline == 0;
	bool is_same =
		history->cluster == pool->known.cluster && history->timeline == pool->known.timeline;

	pool->host = pg_conn_host(member->conn);
	pool->known = *history;
	pool->metrics->timeline.value = history->timeline;
	if (!is_first && !is_same)
	{
		leave_superseded(pool);
		member->generation = pool->generation;
	}
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
	if (pool->search == member)
		pool->search = NULL;
	if (pool->options.role == PG_WRITER)
		meet_leader(member);
	if (open_count(pool) >= pool->options.connections_max)
	{
		/* The leader is the one it was, and slow. */
		close_member(member, CLOSE_IDLE);
		tend(pool);
		return;
	}
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
	PgCloseReason reason = CLOSE_UNUSABLE;

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
	idle_until_us = member->since_us + pool->options.idle_timeout_us;
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
				  LOG_TEXT("pool", pg_pool_role_name(options->role)), LOG_TEXT("error", error));
		return NULL;
	}
	assert(options->connections_max > 0);
	pool = bytes_new_zeroed(1, sizeof(PgPool));
	pool->loop = loop;
	pool->dns = dns;
	pool->options = *options;
	pool->target = target;
	pool->metrics = pg_pool_metrics_init(options->role);
	pool->backoff.first_us = PG_PAUSE_MS_MIN * CLOCK_MS;
	pool->backoff.limit_us = PG_PAUSE_MS_MAX * CLOCK_MS;
	for (int i = 0; i < PG_MEMBER_STATE_COUNT; i++)
		TAILQ_INIT(&pool->members[i]);
	loop_event_init(&pool->timer, loop, -1, 0, tend_in_time, pool);
	tend(pool);
	return pool;
}

void
pg_pool_free(PgPool *pool)
{
	if (pool == NULL)
		return;
	for (int i = 0; i < PG_MEMBER_STATE_COUNT; i++)
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
	if (search_time(pool) < pool->due_us)
		set_timer(pool, search_time(pool));
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
