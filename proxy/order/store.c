/*
 * store.c
 *		The extension's functions, called over a pool of asynchronous connections.
 *
 * DESIGN	What is submitted waits in the backlog until the end of the turn, so that all of a turn
 *			go together; then idle connections get a call. While all are busy, more waits.
 *
 *			Of the calls that gather, the writer has STORE_PROMPT_CALLS at a time while it answers
 *			quickly: more of them would be smaller, each with a commit of its own, and take the
 *			processors from each other. A call that takes long, because it waits for a lock or the
 *			disk does not follow, does not count, so it holds nobody up.
 *
 *			Calls that go alone leave STORE_KEPT_CONNECTIONS to the others: a client that lists
 *			many orders, again and again, must not keep those from being placed.
 *
 *			A reader that says no is not believed, because it may be behind: the writer is asked. An
 *			order that was just placed must not be unknown. Neither is a reader asked twice that did
 *			not answer.
 *
 *			One timer stands at the earliest deadline. The items of a call are sorted by theirs, so
 *			those that have run out of time are its first ones.
 *
 * FAILURE	A call that is lost goes again: all functions are idempotent. From then on its items end
 *			as "outcome unknown" when their deadline passes: the lost call may have been committed.
 *
 *			An item whose deadline passes while its call is under way is answered and forgotten; the
 *			call goes on, its owner will ask by key or repeat. (Canceling it could undo, on a
 *			synchronous standby, what the server has already committed.)
 */
#include "order/store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bounds.h"
#include "base/clock.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "net/pg_pool.h"
#include "order/backlog.h"
#include "order/store_metrics.h"

struct Store
{
	Loop *loop;
	const Config *config;
	PgPool *writer;
	PgPool *reader; /* NULL: the writer reads */
	Backlog backlog;
	struct BatchList running;
	struct StoreItemList refused; /* to be told so at the end of the turn */
	struct StoreItemList resting; /* settlements that the server had no room for */
	LoopEvent rest_over;
	LoopEvent prompt_over; /* a call under way begins to take long */
	int pending_count;
	PgArguments arguments; /* of the call that is being sent */
	LoopTask task;
	LoopEvent timer;
	int64_t due_us; /* when it comes */
};

/* Answers ------------------------------------------------------------------------------------- */

/* The item belongs to its owner again. */
static void
answer(Store *store, StoreItem *item, const StoreResult *result)
{
	store->pending_count--;
	store_metrics_answered(item->kind, result->code);
	item->callback(item->context, result);
}

static void
answer_reason(Store *store, StoreItem *item, Reason reason, const char *detail)
{
	StoreResult result = {.code = (int) reason_code(reason), .reason = reason, .detail = detail};

	answer(store, item, &result);
}

/* Answers all that are left of a batch, and frees it. */
static void
answer_all(Store *store, Batch *batch, Reason reason, const char *detail)
{
	for (int i = batch->answered_count; i < batch->count; i++)
		answer_reason(store, batch->items[i], reason, detail);
	batch_free(batch);
}

/*
 * Receiving is repeated when its connection is lost, and then finds, in progress, the order that it
 * has recorded itself: that one is ours to go on with. (Should another request with the same key be
 * at it, too, nothing happens twice: the reservation has one id, and the order's row decides.) An
 * order that somebody else is at stays refused.
 */
static void
recognize_own(const StoreItem *item, StoreResult *result)
{
	if (item->kind != STORE_RECEIVE || result->reason != REASON_IN_PROGRESS)
		return;
	if (item->was_lost)
	{
		result->code = CODE_OK;
		result->reason = REASON_NONE;
		result->is_shared = true;
	}
	else
		result->reserve_id = NULL;
}

static void
deliver(Store *store, Batch *batch, const PGresult *rows)
{
	BatchAnswer decoded = {0};

	for (int i = batch->answered_count; i < batch->count; i++)
	{
		StoreItem *item = batch->items[i];

		if (!batch_decode(batch, rows, i, &decoded))
		{
			log_event(LOG_ERROR, "database answered what was not expected",
					  LOG_TEXT("function", batch_statements[batch->kind].name),
					  LOG_NUMBER("rows", PQntuples(rows)));
			answer_reason(store, item, REASON_INTERNAL_ERROR, NULL);
		}
		else if (batch->is_on_reader && decoded.result.code != CODE_OK)
		{
			item->needs_writer = true;
			backlog_add(&store->backlog, item);
		}
		else
		{
			recognize_own(item, &decoded.result);
			answer(store, item, &decoded.result);
		}
	}
	batch_answer_free(&decoded);
	batch_free(batch);
}

/* Failures ------------------------------------------------------------------------------------ */

/* The items go again. */
static void
retry(Store *store, Batch *batch, bool is_lost)
{
	store_metrics_retried(batch->kind);
	for (int i = batch->answered_count; i < batch->count; i++)
	{
		StoreItem *item = batch->items[i];

		item->was_lost = item->was_lost || (is_lost && !batch_is_read(item->kind));
	}
	backlog_return(&store->backlog, batch);
}

/* The reader gave no answer, or no good one. */
static void
ask_writer(Store *store, Batch *batch)
{
	for (int i = batch->answered_count; i < batch->count; i++)
		batch->items[i]->needs_writer = true;
	backlog_return(&store->backlog, batch);
}

/*
 * The server had no room. Orders that wait to be settled will be submitted again whatever we say,
 * so they are kept for a while: asked at once, a full server would be busy with nothing else.
 */
static void
rest(Store *store, Batch *batch)
{
	int64_t over_us = loop_now_us(store->loop) + STORE_REST_MS * CLOCK_MS;

	for (int i = batch->answered_count; i < batch->count; i++)
	{
		StoreItem *item = batch->items[i];

		if (item->deadline_us <= over_us)
			answer_reason(store, item, REASON_DATABASE_UNAVAILABLE, NULL);
		else
			TAILQ_INSERT_TAIL(&store->resting, item, link);
	}
	batch_free(batch);
	if (!loop_event_is_added(&store->rest_over))
		loop_event_add(&store->rest_over, STORE_REST_MS * CLOCK_MS);
}

static bool
is_one_of(const char *sqlstate, const char *one, const char *other)
{
	return strcmp(sqlstate, one) == 0 || strcmp(sqlstate, other) == 0;
}

/* A call of the writer ended with an error, and without effect. */
static void
fail(Store *store, Batch *batch, const PgReply *reply)
{
	Reason refusal = batch_is_gathered(batch->kind) ? REASON_NONE : batch_refusal(reply->sqlstate);
	/* The server has no room: smaller calls would only be more of them. */
	bool is_full = strncmp(reply->sqlstate, "53", 2) == 0;
	bool will_split = batch->count > 1 && !is_full;

	if (refusal != REASON_NONE)
	{
		answer_all(store, batch, refusal, reply->detail);
		return;
	}
	/* Not serialized, or a deadlock. */
	if (is_one_of(reply->sqlstate, "40001", "40P01"))
	{
		retry(store, batch, false);
		return;
	}
	/* Of a call that is halved, the last halves say it. */
	log_event(will_split ? LOG_DEBUG : LOG_ERROR, "database call failed",
			  LOG_TEXT("function", batch_statements[batch->kind].name),
			  LOG_NUMBER("items", batch->count), LOG_TEXT("sqlstate", reply->sqlstate),
			  LOG_TEXT("message", reply->message));
	if (will_split)
	{
		store_metrics_split(batch->kind);
		backlog_split(&store->backlog, batch);
	}
	else if (is_full && batch->kind == STORE_SETTLE)
		rest(store, batch);
	/* Canceled by the server's limits, or by hand. */
	else if (is_full || is_one_of(reply->sqlstate, "57014", "55P03"))
		answer_all(store, batch, REASON_DATABASE_UNAVAILABLE, NULL);
	else
		answer_all(store, batch, REASON_INTERNAL_ERROR, NULL);
}

static void
call_done(void *context, const PgReply *reply)
{
	Batch *batch = context;
	Store *store = batch->holder;

	TAILQ_REMOVE(&store->running, batch, link);
	fault_point("answered", batch_statements[batch->kind].name);
	store_metrics_called(batch->kind, batch->count, loop_now_us(store->loop) - batch->sent_us);
	loop_defer(&store->task);
	if (batch->answered_count == batch->count)
		batch_free(batch);
	else if (reply->outcome == PG_OK)
		deliver(store, batch, reply->result);
	else if (batch->is_on_reader)
		ask_writer(store, batch);
	else if (reply->outcome != PG_FAILED)
		retry(store, batch, reply->outcome == PG_LOST);
	else
		fail(store, batch, reply);
}

/* Deadlines ----------------------------------------------------------------------------------- */

static void
set_timer(Store *store, int64_t due_us)
{
	int64_t now_us = loop_now_us(store->loop);

	store->due_us = due_us;
	if (due_us == INT64_MAX)
		loop_event_remove(&store->timer);
	else
		loop_event_add(&store->timer, due_us > now_us ? due_us - now_us : 0);
}

/* Answers the overdue items of a call that is under way. Returns the next deadline. */
static int64_t
expire_running(Store *store, Batch *batch, int64_t now_us)
{
	while (batch->answered_count < batch->count)
	{
		StoreItem *item = batch->items[batch->answered_count];

		if (item->deadline_us > now_us)
			return item->deadline_us;
		batch->answered_count++;
		answer_reason(
			store, item,
			batch_is_read(item->kind) ? REASON_DATABASE_UNAVAILABLE : REASON_OUTCOME_UNKNOWN, NULL);
	}
	return INT64_MAX;
}

static void
expire(Store *store)
{
	int64_t now_us = loop_now_us(store->loop);
	int64_t due_us = INT64_MAX;
	StoreItem *item;
	Batch *batch;

	while ((item = backlog_take_overdue(&store->backlog, now_us)) != NULL)
		answer_reason(store, item,
					  item->was_lost ? REASON_OUTCOME_UNKNOWN : REASON_DATABASE_UNAVAILABLE, NULL);
	TAILQ_FOREACH(batch, &store->running, link)
	{
		int64_t next_us = expire_running(store, batch, now_us);

		if (next_us < due_us)
			due_us = next_us;
	}
	/* The callbacks may have submitted more. */
	if (backlog_next_deadline(&store->backlog) < due_us)
		due_us = backlog_next_deadline(&store->backlog);
	set_timer(store, due_us);
}

static void
await(Store *store, StoreItem *item)
{
	backlog_add(&store->backlog, item);
	if (item->deadline_us < store->due_us)
		set_timer(store, item->deadline_us);
}

static void
end_rest(void *context, short what)
{
	Store *store = context;
	StoreItem *item;

	(void) what;
	while ((item = TAILQ_FIRST(&store->resting)) != NULL)
	{
		TAILQ_REMOVE(&store->resting, item, link);
		await(store, item);
	}
	loop_defer(&store->task);
}

static void
expire_in_time(void *context, short what)
{
	(void) what;
	expire(context);
}

/* Calls --------------------------------------------------------------------------------------- */

static void
send_batch(Store *store, PgPool *pool, Batch *batch)
{
	bool was_sent;

	for (int i = 0; i < batch->count; i++)
	{
		StoreItem *item = batch->items[i];

		if (item->submitted_us != 0)
			store_metrics_waited(item->kind, loop_now_us(store->loop) - item->submitted_us);
		item->submitted_us = 0;
	}
	batch->holder = store;
	batch->sent_us = loop_now_us(store->loop);
	batch->is_on_reader = pool == store->reader;
	TAILQ_INSERT_TAIL(&store->running, batch, link);
	batch_encode(batch, &store->arguments);
	was_sent = pg_pool_call(pool, (int) batch->kind, &store->arguments, call_done, batch);
	assert(was_sent);
	fault_point("sent", batch_statements[batch->kind].name);
}

/*
 * The oldest of the writer's calls that may still be answered promptly, when there are as many of
 * these as there may be; else NULL. Only calls that gather count.
 */
static const Batch *
find_prompt(const Store *store)
{
	int64_t since_us = loop_now_us(store->loop) - STORE_PROMPT_MS * CLOCK_MS;
	const Batch *oldest = NULL;
	const Batch *batch;
	int count = 0;

	TAILQ_FOREACH(batch, &store->running, link)
	{
		if (batch->is_on_reader || !batch_is_gathered(batch->kind) || batch->sent_us <= since_us)
			continue;
		if (count++ == 0)
			oldest = batch;
	}
	return count < STORE_PROMPT_CALLS ? NULL : oldest;
}

/* Whether the pool may have one more of the calls that go alone. */
static bool
may_go_alone(const Store *store, const PgPool *pool)
{
	bool is_reader = pool == store->reader;
	int connections =
		is_reader ? store->config->reader_connections : store->config->writer_connections;
	const Batch *batch;
	int count = 0;

	TAILQ_FOREACH(batch, &store->running, link)
	{
		if (batch->is_on_reader == is_reader && !batch_is_gathered(batch->kind))
			count++;
	}
	return count == 0 || count < connections - STORE_KEPT_CONNECTIONS;
}

/* Those of the lanes that the pool may have a call of now. */
static unsigned
open_lanes(Store *store, const PgPool *pool, unsigned lanes)
{
	const Batch *prompt = pool == store->writer ? find_prompt(store) : NULL;

	if (!may_go_alone(store, pool))
		lanes &= LANES_GATHERED;
	if (prompt == NULL)
		return lanes;
	if (!loop_event_is_added(&store->prompt_over) && backlog_has(&store->backlog, lanes))
		loop_event_add(&store->prompt_over,
					   prompt->sent_us + STORE_PROMPT_MS * CLOCK_MS - loop_now_us(store->loop));
	return lanes & ~LANES_GATHERED;
}

static void
prompt_over(void *context, short what)
{
	Store *store = context;

	(void) what;
	loop_defer(&store->task);
}

/* Gives the pool's idle connections what waits in the lanes. */
static void
serve(Store *store, PgPool *pool, unsigned lanes)
{
	unsigned open = open_lanes(store, pool, lanes);

	while (pg_pool_idle_count(pool) > 0 && backlog_has(&store->backlog, open))
	{
		send_batch(store, pool, backlog_take(&store->backlog, open, store->config->batch_max));
		open = open_lanes(store, pool, lanes);
	}
	if (backlog_has(&store->backlog, open))
		pg_pool_grow(pool);
}

static void
run(void *context)
{
	Store *store = context;
	bool has_reader = store->reader != NULL && pg_pool_open_count(store->reader) > 0;
	StoreItem *item;

	while ((item = TAILQ_FIRST(&store->refused)) != NULL)
	{
		TAILQ_REMOVE(&store->refused, item, link);
		answer_reason(store, item, REASON_OVERLOADED, NULL);
	}
	if (store->due_us <= loop_now_us(store->loop))
		expire(store);
	serve(store, store->writer, has_reader ? LANES_ALL & ~LANES_READ : LANES_ALL);
	if (has_reader)
		serve(store, store->reader, LANES_READ);
	store_metrics_queue(store->backlog.count);
}

/* Connections came or went: what waits may go now, or must go elsewhere. */
static void
pool_changed(void *context)
{
	Store *store = context;

	loop_defer(&store->task);
}

/* The store ----------------------------------------------------------------------------------- */

static PgPool *
open_pool(Store *store, Dns *dns, PgPoolRole role)
{
	const Config *config = store->config;
	PgPoolOptions options = {
		.role = role,
		.conninfo = role == PG_WRITER ? config->writer : config->reader,
		.connections_max =
			role == PG_WRITER ? config->writer_connections : config->reader_connections,
		.connect_timeout_us = config->connect_timeout_us,
		.call_timeout_us = (role == PG_WRITER ? PG_CALL_MS_MAX : PG_READ_MS_MAX) * CLOCK_MS,
		.idle_timeout_us = config->idle_timeout_us,
		.lifetime_us = config->lifetime_us,
		.statements = batch_statements,
		.statement_count = STORE_KIND_COUNT,
		.changed = pool_changed,
		.context = store,
	};

	return pg_pool_new(store->loop, dns, &options);
}

Store *
store_new(Loop *loop, Dns *dns, const Config *config)
{
	Store *store = bytes_new_zeroed(1, sizeof(Store));
	bool has_reader = config->reader != NULL && config->reader[0] != '\0';

	assert(config->batch_max >= BATCH_ITEMS_MIN);
	assert(config->batch_max <= BATCH_ITEMS_MAX);
	store->loop = loop;
	store->config = config;
	backlog_init(&store->backlog);
	TAILQ_INIT(&store->running);
	TAILQ_INIT(&store->refused);
	TAILQ_INIT(&store->resting);
	loop_task_init(&store->task, loop, run, store);
	loop_event_init(&store->timer, loop, -1, 0, expire_in_time, store);
	loop_event_init(&store->rest_over, loop, -1, 0, end_rest, store);
	loop_event_init(&store->prompt_over, loop, -1, 0, prompt_over, store);
	store->due_us = INT64_MAX;
	store_metrics_init();

	store->writer = open_pool(store, dns, PG_WRITER);
	if (has_reader)
		store->reader = open_pool(store, dns, PG_READER);
	if (store->writer != NULL && (!has_reader || store->reader != NULL))
		return store;
	store_free(store);
	return NULL;
}

void
store_free(Store *store)
{
	Batch *batch;

	assert(store->pending_count == 0);
	pg_pool_free(store->writer);
	pg_pool_free(store->reader);
	/* Calls that run on after all their items have been answered. */
	while ((batch = TAILQ_FIRST(&store->running)) != NULL)
	{
		TAILQ_REMOVE(&store->running, batch, link);
		batch_free(batch);
	}
	for (int i = 0; i < PG_PARAMETERS_MAX; i++)
		bytes_free(&store->arguments.values[i]);
	loop_task_cancel(&store->task);
	loop_event_remove(&store->timer);
	loop_event_remove(&store->rest_over);
	loop_event_remove(&store->prompt_over);
	free(store);
}

void
store_submit(Store *store, StoreItem *item)
{
	item->submitted_us = loop_now_us(store->loop);
	item->was_lost = false;
	item->needs_writer = false;
	store->pending_count++;
	loop_defer(&store->task);
	if (item->kind != STORE_SETTLE && store->backlog.count >= store->config->in_flight_max)
	{
		TAILQ_INSERT_TAIL(&store->refused, item, link);
		return;
	}
	await(store, item);
}

int
store_pending_count(const Store *store)
{
	return store->pending_count;
}

bool
store_is_ready(const Store *store)
{
	return pg_pool_open_count(store->writer) > 0;
}
