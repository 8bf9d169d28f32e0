/*
 * bench_run.c
 *		A run of order-bench.
 *
 * DESIGN	Open loop: request number n is due n / rate after the start, whatever the server does.
 *			When no connection has room it waits, and its latency counts from when it was due, so a
 *			server that stalls cannot hide it (no coordinated omission). Closed loop: each answer
 *			makes room for the next request, whose latency counts from when it was sent.
 *
 *			Memory for requests is taken once. What is due and not sent is a number, not a queue.
 */
#include "bench_run.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bounds.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "bench_connection.h"
#include "bench_plan.h"
#include "bench_report.h"

/* Requests due within this time go out together: every turn costs five system calls. */
#define TICK_US 300

typedef enum BenchPhase
{
	BENCH_CONNECTING,
	BENCH_SENDING,
	BENCH_DRAINING,
	BENCH_DONE,
} BenchPhase;

typedef struct BenchRun
{
	const BenchOptions *options;
	BenchTally *tally;
	BenchResult *result;
	BenchTeam team;
	BenchPhase phase;
	bool is_progress_shown;

	BenchConnection *connections;
	int opening_next;
	int open_count; /* those that were ready once */
	int gone_count;
	TAILQ_HEAD(, BenchConnection) available; /* open loop: those with room */

	BenchRequest *requests;
	STAILQ_HEAD(, BenchRequest) free_requests;
	uint64_t outstanding;

	uint64_t begun;    /* requests, each counted once */
	uint64_t measured; /* of these */
	uint64_t warm_up;  /* open loop: so many come first */
	uint64_t total;    /* open loop: so many in all */

	int64_t start_us;
	int64_t measure_us;      /* the warm-up is over */
	int64_t end_us;          /* closed loop with a duration: no request begins later */
	int64_t sending_over_us; /* 0: it is not */
	int64_t progress_us;     /* of the line before */

	LoopEvent pump_timer;
	LoopTask pump_task;
	LoopEvent second_timer;
	LoopEvent signals[2];
} BenchRun;

static void
finish(BenchRun *run)
{
	if (run->phase == BENCH_DONE)
		return;
	run->phase = BENCH_DONE;
	run->team.is_closing = true;
	loop_stop(run->team.loop);
}

static void
on_failed(void *context, const char *reason)
{
	BenchRun *run = context;

	if (run->phase == BENCH_DONE)
		return;
	snprintf(run->result->error, sizeof(run->result->error), "%s", reason);
	finish(run);
}

/* ----- Which requests are still to begin --------------------------------------------------- */

/* Open loop: when the next request is due. */
static int64_t
due_us(const BenchRun *run)
{
	return run->start_us + (int64_t) run->begun * CLOCK_SECOND / run->options->rate;
}

/* Requests that should have been sent by now and were not. */
static uint64_t
behind(BenchRun *run, int64_t now_us)
{
	uint64_t due;

	if (!run->options->is_open_loop || run->phase == BENCH_CONNECTING)
		return 0;
	due = (uint64_t) ((now_us - run->start_us) * run->options->rate / CLOCK_SECOND) + 1;
	if (due > run->total)
		due = run->total;
	return due > run->begun ? due - run->begun : 0;
}

static bool
is_sending_over(BenchRun *run, int64_t now_us)
{
	if (run->phase == BENCH_DRAINING)
		return true;
	if (run->options->is_open_loop)
		return run->begun == run->total;
	if (run->options->request_count > 0)
		return run->measured == (uint64_t) run->options->request_count;
	return now_us >= run->end_us;
}

/* Ends the run when all is sent and answered. */
static void
check_end(BenchRun *run)
{
	int64_t now_us = loop_now_us(run->team.loop);

	if (run->phase != BENCH_SENDING && run->phase != BENCH_DRAINING)
		return;
	if (!is_sending_over(run, now_us))
		return;
	if (run->phase == BENCH_SENDING)
		run->sending_over_us = now_us;
	run->phase = BENCH_DRAINING;
	if (run->outstanding == 0)
		finish(run);
}

/* Begins a request on a connection that has room. False when all memory for requests is in use. */
static bool
begin_request(BenchRun *run, BenchConnection *connection, int64_t intended_us)
{
	BenchRequest *request = STAILQ_FIRST(&run->free_requests);

	if (request == NULL)
		return false;
	STAILQ_REMOVE_HEAD(&run->free_requests, link);
	bench_plan_next(run->team.plan, &connection->history, request);
	request->intended_us = intended_us;
	request->is_resent = false;
	request->is_measured =
		run->options->is_open_loop ? run->begun >= run->warm_up : intended_us >= run->measure_us;
	run->begun++;
	run->measured += request->is_measured;
	run->outstanding++;
	bench_tally_sent(run->tally, request);
	bench_connection_send(connection, request);
	return true;
}

static void
on_ended(void *context, BenchRequest *request)
{
	BenchRun *run = context;

	assert(run->outstanding > 0);
	run->outstanding--;
	STAILQ_INSERT_HEAD(&run->free_requests, request, link);
	check_end(run);
}

/* ----- Open loop --------------------------------------------------------------------------- */

static void
list_connection(BenchRun *run, BenchConnection *connection)
{
	if (connection->is_listed)
		return;
	TAILQ_INSERT_TAIL(&run->available, connection, link);
	connection->is_listed = true;
}

/* The next connection with room, out of the list; NULL when there is none. */
static BenchConnection *
take_connection(BenchRun *run)
{
	BenchConnection *connection;

	while ((connection = TAILQ_FIRST(&run->available)) != NULL)
	{
		TAILQ_REMOVE(&run->available, connection, link);
		connection->is_listed = false;
		if (bench_connection_has_room(connection))
			return connection;
	}
	return NULL;
}

/*
 * Sends requests that are due on one connection, at most |count| and what is one write's worth, and
 * lists it again if it has room. Returns how many.
 */
static uint64_t
send_burst(BenchRun *run, BenchConnection *connection, uint64_t count)
{
	uint64_t sent = 0;

	if (count > (uint64_t) run->options->burst_max)
		count = (uint64_t) run->options->burst_max;
	while (sent < count && bench_connection_has_room(connection) &&
		   begin_request(run, connection, due_us(run)))
		sent++;
	if (bench_connection_has_room(connection))
		list_connection(run, connection);
	return sent;
}

/* Sends what is due, as far as there is room. */
static void
pump(void *context)
{
	BenchRun *run = context;
	int64_t now_us = loop_now_us(run->team.loop);
	uint64_t left;
	int64_t wait_us;

	if (run->phase != BENCH_SENDING)
		return;
	left = behind(run, now_us);
	while (left > 0)
	{
		BenchConnection *connection = take_connection(run);
		uint64_t sent = connection != NULL ? send_burst(run, connection, left) : 0;

		/* on_room() pumps again. */
		if (sent == 0)
			return;
		left -= sent;
	}
	wait_us = due_us(run) - now_us;
	if (!is_sending_over(run, now_us))
		loop_event_add(&run->pump_timer, wait_us > TICK_US ? wait_us : TICK_US);
}

static void
on_pump_timer(void *context, short what)
{
	(void) what;
	pump(context);
}

/* ----- Connections ------------------------------------------------------------------------- */

static void
on_room(void *context, BenchConnection *connection)
{
	BenchRun *run = context;
	int64_t now_us = loop_now_us(run->team.loop);

	if (run->options->is_open_loop)
	{
		list_connection(run, connection);
		if (run->phase == BENCH_SENDING && behind(run, now_us) > 0)
			loop_defer(&run->pump_task);
		return;
	}
	while (run->phase == BENCH_SENDING && !is_sending_over(run, now_us) &&
		   bench_connection_has_room(connection) && begin_request(run, connection, now_us))
		continue;
	check_end(run);
}

static void
start_sending(BenchRun *run)
{
	const BenchOptions *options = run->options;
	int64_t now_us = loop_now_us(run->team.loop);

	run->phase = BENCH_SENDING;
	run->start_us = now_us;
	run->progress_us = now_us;
	run->measure_us = now_us + options->warm_up_us;
	run->end_us = run->measure_us + options->duration_us;
	run->warm_up = (uint64_t) (options->warm_up_us * options->rate / CLOCK_SECOND);
	run->total = run->warm_up;
	run->total += options->request_count > 0
					  ? (uint64_t) options->request_count
					  : (uint64_t) (options->duration_us * options->rate / CLOCK_SECOND);
	loop_event_add(&run->second_timer, CLOCK_SECOND);
	if (options->is_open_loop)
	{
		loop_defer(&run->pump_task);
		return;
	}
	for (int i = 0; i < options->connection_count; i++)
	{
		if (bench_connection_has_room(&run->connections[i]))
			on_room(run, &run->connections[i]);
	}
}

static void
open_next(BenchRun *run)
{
	if (run->opening_next < run->options->connection_count)
		bench_connection_open(&run->connections[run->opening_next++]);
}

static void
on_opened(void *context, BenchConnection *connection)
{
	BenchRun *run = context;

	(void) connection;
	run->open_count++;
	if (run->open_count == run->options->connection_count)
		start_sending(run);
	else
		open_next(run);
}

static void
on_gone(void *context, BenchConnection *connection)
{
	BenchRun *run = context;

	(void) connection;
	run->gone_count++;
	if (run->gone_count == run->options->connection_count)
		on_failed(run, "all connections are lost");
}

/* ----- Time and signals -------------------------------------------------------------------- */

static void
show_progress(BenchRun *run, int64_t now_us)
{
	BenchProgress progress = {
		.seconds = (double) (now_us - run->start_us) / CLOCK_SECOND,
		.recent_seconds = (double) (now_us - run->progress_us) / CLOCK_SECOND,
		.in_flight = run->outstanding,
		/* With room somewhere, what is due goes out at the next tick. */
		.behind = TAILQ_EMPTY(&run->available) ? behind(run, now_us) : 0,
	};

	run->progress_us = now_us;
	if (run->is_progress_shown)
		bench_report_progress(stderr, &progress, run->tally);
}

/*
 * Whether to wait no longer. With a duration an outage may take its time; without one, or when
 * sending is over, patience ends when nothing has been answered for so long.
 */
static bool
is_patience_over(BenchRun *run, int64_t now_us)
{
	int64_t since_us = run->start_us;
	bool is_schedule_over = run->sending_over_us != 0;

	if (run->options->is_open_loop)
		is_schedule_over = is_schedule_over || behind(run, now_us) == run->total - run->begun;
	if (!is_schedule_over && run->options->duration_us > 0)
		return false;
	if (run->tally->last_answer_us > since_us)
		since_us = run->tally->last_answer_us;
	if (run->sending_over_us > since_us)
		since_us = run->sending_over_us;
	return now_us - since_us > run->options->patience_us;
}

static void
on_second(void *context, short what)
{
	BenchRun *run = context;
	int64_t now_us = loop_now_us(run->team.loop);

	(void) what;
	show_progress(run, now_us);
	check_end(run);
	if (run->phase == BENCH_DONE)
		return;
	if (is_patience_over(run, now_us))
		finish(run);
	else
		loop_event_add(&run->second_timer, CLOCK_SECOND);
}

static void
on_signal(void *context, short what)
{
	BenchRun *run = context;

	(void) what;
	if (run->phase == BENCH_CONNECTING)
		on_failed(run, "interrupted");
	else if (run->phase == BENCH_SENDING)
	{
		run->total = run->begun;
		run->sending_over_us = loop_now_us(run->team.loop);
		run->phase = BENCH_DRAINING;
		check_end(run);
	}
	else
		finish(run);
}

/* ----- All together ------------------------------------------------------------------------ */

static void
prepare_requests(BenchRun *run)
{
	int64_t count = (int64_t) run->options->connection_count * run->options->in_flight_max;

	if (count > BENCH_REQUESTS_MAX)
		count = BENCH_REQUESTS_MAX;
	STAILQ_INIT(&run->free_requests);
	run->requests = bytes_new_zeroed((size_t) count, sizeof(BenchRequest));
	for (int64_t i = 0; i < count; i++)
		STAILQ_INSERT_TAIL(&run->free_requests, &run->requests[i], link);
}

static void
prepare(BenchRun *run, Loop *loop)
{
	const BenchOptions *options = run->options;

	run->team = (BenchTeam){.loop = loop,
							.dns = dns_new(loop),
							.options = options,
							.plan = bench_plan_new(options),
							.tally = run->tally,
							.context = run,
							.opened = on_opened,
							.room = on_room,
							.ended = on_ended,
							.gone = on_gone,
							.failed = on_failed};
	TAILQ_INIT(&run->available);
	prepare_requests(run);
	run->connections =
		bytes_new_zeroed((size_t) options->connection_count, sizeof(BenchConnection));
	for (int i = 0; i < options->connection_count; i++)
		bench_connection_init(&run->connections[i], &run->team, i);

	loop_event_init(&run->pump_timer, loop, -1, 0, on_pump_timer, run);
	loop_task_init(&run->pump_task, loop, pump, run);
	loop_event_init(&run->second_timer, loop, -1, 0, on_second, run);
	loop_event_init(&run->signals[0], loop, SIGINT, EV_SIGNAL | EV_PERSIST, on_signal, run);
	loop_event_init(&run->signals[1], loop, SIGTERM, EV_SIGNAL | EV_PERSIST, on_signal, run);
	loop_event_add(&run->signals[0], LOOP_FOREVER);
	loop_event_add(&run->signals[1], LOOP_FOREVER);
}

static void
tidy_up(BenchRun *run)
{
	loop_event_remove(&run->pump_timer);
	loop_task_cancel(&run->pump_task);
	loop_event_remove(&run->second_timer);
	loop_event_remove(&run->signals[0]);
	loop_event_remove(&run->signals[1]);
	for (int i = 0; i < run->options->connection_count; i++)
		bench_connection_close(&run->connections[i]);
	free(run->connections);
	free(run->requests);
	bench_plan_free(run->team.plan);
	dns_free(run->team.dns);
}

void
bench_run(const BenchOptions *options, BenchTally *tally, BenchResult *result)
{
	BenchRun run = {.options = options,
					.tally = tally,
					.result = result,
					.is_progress_shown = isatty(STDERR_FILENO) == 1};
	Loop *loop = loop_new();

	*result = (BenchResult){0};
	prepare(&run, loop);
	for (int i = 0; i < BENCH_CONNECTS_MAX; i++)
		open_next(&run);
	loop_run(loop);

	if (run.is_progress_shown)
		bench_report_progress_end(stderr);
	tally->unanswered += run.outstanding;
	if (run.phase == BENCH_DONE && options->is_open_loop && run.start_us != 0)
		tally->unsent = run.total - run.begun;
	if (tally->last_answer_us > run.measure_us)
		result->seconds = (double) (tally->last_answer_us - run.measure_us) / CLOCK_SECOND;
	tidy_up(&run);
	loop_free(loop);
}
