/*
 * loop.c
 *		The event loop, on libevent.
 *
 * DESIGN	The turn begins with the first callback behind a wait, which stamps the time, and ends
 *			when the tasks are through. libevent's own time is brought up to the stamp, so that a
 *			timer never comes early by loop_now_us(). Callbacks of libraries with their own events
 *			are not seen: the first of ours stamps, or the first task.
 *
 *			A turn that takes long is cut short, in the callbacks and again in the tasks: libevent
 *			keeps what else is ready for the next turn, in its order, and tasks wait in theirs. So
 *			answers do not wait for all that came in with them, and a timer not for all of that.
 *
 *			A turn is long because the loop works or blocks, which is its own doing, or because
 *			others have the processor. The kernel tells these apart: it counts how often a thread
 *			gave the processor up by itself. A turn in which that happened is the loop's own doing
 *			as a whole; of any other, the processor time is. Two system calls a turn, 0.6 us.
 *
 *			Precise timers: libevent's usual clock moves in steps of up to 4 ms, too coarse for
 *			limits of 10 and 50 ms. They cost one system call a turn.
 *
 * FAILURE	A loop that cannot be made or cannot wait ends the process.
 */
#include "net/loop.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "base/bounds.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

struct Loop
{
	struct event_base *base;
	STAILQ_HEAD(, LoopTask) tasks;
	int64_t now_us;       /* when this turn began; 0: it has not */
	int64_t processor_us; /* of this thread, when this turn began, as the next one */
	long yields;
	int64_t longest_turn_us;
	int64_t longest_own_us;
	bool is_running;
	bool is_paced; /* long turns are cut */
	bool is_stopping;
};

static const double turn_bounds[] = {0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01,
									 0.02,   0.05,   0.1,    0.2,   0.5,   1};

static MetricsHistogram turn_seconds;
static MetricsCounter turns_cut;
static MetricsGauge turn_longest_seconds;
static MetricsGauge turn_longest_own_seconds;

static _Noreturn void
give_up(const char *event)
{
	log_event(LOG_ERROR, event);
	abort();
}

/* libevent's own messages; those of evdns about its name servers come this way, too. */
static void
log_message(int severity, const char *text)
{
	static const LogLevel levels[] = {
		[EVENT_LOG_DEBUG] = LOG_DEBUG,
		[EVENT_LOG_MSG] = LOG_INFO,
		[EVENT_LOG_WARN] = LOG_WARNING,
		[EVENT_LOG_ERR] = LOG_ERROR,
	};

	log_event(levels[severity & 3], "message of libevent", LOG_TEXT("text", text));
}

Loop *
loop_new(void)
{
	Loop *loop = bytes_new_zeroed(1, sizeof(Loop));
	struct event_config *config = event_config_new();

	/* Writing to a connection that the peer has closed is an error to handle, not a signal. */
	signal(SIGPIPE, SIG_IGN);
	event_set_log_callback(log_message);

	if (config != NULL)
	{
		event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
		loop->base = event_base_new_with_config(config);
		event_config_free(config);
	}
	if (loop->base == NULL)
		give_up("event loop cannot be made");
	STAILQ_INIT(&loop->tasks);

	metrics_histogram_init(&turn_seconds, "loop_turn_seconds", NULL,
						   "Time from the end of a wait to the next wait, in seconds.", turn_bounds,
						   sizeof(turn_bounds) / sizeof(turn_bounds[0]));
	metrics_counter_init(
		&turns_cut, "loop_turns_cut_total", NULL,
		"Turns that left callbacks or tasks to the next one because they had taken long.");
	metrics_gauge_init(&turn_longest_seconds, "loop_turn_longest_seconds", NULL,
					   "The longest turn of the event loop since the start, in seconds.");
	metrics_gauge_init(&turn_longest_own_seconds, "loop_turn_longest_own_seconds", NULL,
					   "The longest that a turn worked or blocked, in seconds: without its waits "
					   "for a processor that others had.");
	return loop;
}

void
loop_free(Loop *loop)
{
	assert(STAILQ_EMPTY(&loop->tasks));
	assert(event_base_get_num_events(loop->base, EVENT_BASE_COUNT_ADDED) == 0);
	event_base_free(loop->base);
	free(loop);
}

struct event_base *
loop_base(Loop *loop)
{
	return loop->base;
}

/* The processor time that this thread has used. */
static int64_t
processor_us(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return time.tv_sec * CLOCK_SECOND + time.tv_nsec / 1000;
}

/* How often this thread has given the processor up by itself. */
static long
yield_count(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw;
}

static void
begin_turn(Loop *loop)
{
	if (loop->now_us != 0)
		return;
	loop->now_us = clock_now_us();
	loop->processor_us = processor_us();
	loop->yields = yield_count();
	event_base_update_cache_time(loop->base);
}

/* Of a turn that took |duration_us|: what the loop itself is to blame for. */
static int64_t
own_us(const Loop *loop, int64_t duration_us)
{
	int64_t worked_us = processor_us() - loop->processor_us;

	if (yield_count() != loop->yields || worked_us > duration_us)
		return duration_us;
	return worked_us;
}

/* Whether callbacks, or tasks, that began at |begin_us| have had their share of the turn. */
static bool
is_cut(const Loop *loop, int64_t begin_us)
{
	if (!loop->is_paced || clock_now_us() - begin_us < TURN_MS_MAX * CLOCK_MS)
		return false;
	metrics_count(&turns_cut);
	return true;
}

static void
run_tasks(Loop *loop)
{
	int64_t begin_us = clock_now_us();
	LoopTask *task;

	while ((task = STAILQ_FIRST(&loop->tasks)) != NULL)
	{
		begin_turn(loop);
		STAILQ_REMOVE_HEAD(&loop->tasks, link);
		task->is_queued = false;
		task->run(task->context);
		if (!loop->is_stopping && is_cut(loop, begin_us))
			break;
	}
}

/* |longest_us| and its metric become |us|, if that is more. */
static void
note_longest(int64_t *longest_us, MetricsGauge *gauge, int64_t us)
{
	if (us <= *longest_us)
		return;
	*longest_us = us;
	gauge->value = (double) us / CLOCK_SECOND;
}

static void
end_turn(Loop *loop)
{
	int64_t duration_us;

	if (loop->now_us == 0)
		return;
	duration_us = clock_now_us() - loop->now_us;
	loop->now_us = 0;
	metrics_observe(&turn_seconds, (double) duration_us / CLOCK_SECOND);
	note_longest(&loop->longest_turn_us, &turn_longest_seconds, duration_us);
	/* It cannot be more than the whole turn. */
	if (duration_us > loop->longest_own_us)
		note_longest(&loop->longest_own_us, &turn_longest_own_seconds, own_us(loop, duration_us));
}

static void
turn(Loop *loop, int flags)
{
	assert(!loop->is_running);
	loop->is_running = true;

	/* What was put off or stopped before this turn must not wait for an event. */
	if (!STAILQ_EMPTY(&loop->tasks) || loop->is_stopping)
		flags |= EVLOOP_NONBLOCK;
	if (event_base_loop(loop->base, flags) < 0)
		give_up("event loop cannot wait");
	run_tasks(loop);
	end_turn(loop);
	loop->is_running = false;
}

void
loop_run(Loop *loop)
{
	loop->is_paced = true;
	do
		turn(loop, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY);
	while (!loop->is_stopping);
	loop->is_paced = false;
	loop->is_stopping = false;
}

void
loop_turn(Loop *loop)
{
	turn(loop, EVLOOP_NONBLOCK);
}

void
loop_stop(Loop *loop)
{
	loop->is_stopping = true;
}

int64_t
loop_now_us(Loop *loop)
{
	if (!loop->is_running)
		return clock_now_us();
	begin_turn(loop);
	return loop->now_us;
}

int64_t
loop_longest_turn_us(const Loop *loop)
{
	return loop->longest_turn_us;
}

int64_t
loop_longest_own_us(const Loop *loop)
{
	return loop->longest_own_us;
}

static void
on_event(evutil_socket_t descriptor, short what, void *context)
{
	LoopEvent *event = context;
	Loop *loop = event->loop;

	(void) descriptor;
	begin_turn(loop);
	/* It may free the event. */
	event->callback(event->context, what);
	if (is_cut(loop, loop->now_us))
		event_base_loopbreak(loop->base);
}

void
loop_event_init(LoopEvent *event, Loop *loop, int descriptor, short what, LoopCallback callback,
				void *context)
{
	int result;

	*event = (LoopEvent){.loop = loop, .callback = callback, .context = context};
	result = event_assign(&event->event, loop->base, descriptor, what, on_event, event);
	assert(result == 0);
}

void
loop_event_add(LoopEvent *event, int64_t timeout_us)
{
	struct timeval timeout = {.tv_sec = timeout_us / CLOCK_SECOND,
							  .tv_usec = timeout_us % CLOCK_SECOND};

	assert(event->loop != NULL && timeout_us >= LOOP_FOREVER);

	/* To libevent "no timeout" means that an earlier one stays. */
	if (timeout_us == LOOP_FOREVER)
		event_remove_timer(&event->event);
	if (event_add(&event->event, timeout_us == LOOP_FOREVER ? NULL : &timeout) < 0)
		give_up("event loop cannot wait for one more descriptor");
}

bool
loop_event_is_added(const LoopEvent *event)
{
	return event->loop != NULL &&
		   event_pending(&event->event, EV_READ | EV_WRITE | EV_TIMEOUT | EV_SIGNAL, NULL) != 0;
}

void
loop_event_remove(LoopEvent *event)
{
	/* To ask first is cheaper: most timers are removed once more than they are added. */
	if (loop_event_is_added(event))
		event_del(&event->event);
}

void
loop_task_init(LoopTask *task, Loop *loop, void (*run)(void *context), void *context)
{
	*task = (LoopTask){.loop = loop, .run = run, .context = context};
}

void
loop_defer(LoopTask *task)
{
	if (task->is_queued)
		return;
	task->is_queued = true;
	STAILQ_INSERT_TAIL(&task->loop->tasks, task, link);
}

void
loop_task_cancel(LoopTask *task)
{
	if (!task->is_queued)
		return;
	task->is_queued = false;
	STAILQ_REMOVE(&task->loop->tasks, task, LoopTask, link);
}
