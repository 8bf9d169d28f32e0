/*
 * loop.h
 *		The event loop, on libevent: descriptors, timers and signals, work put off to the end of a
 *		turn, and how long turns take.
 *
 * DESIGN	A turn is one wait and all the callbacks it led to. Callbacks read and record; what can
 *			be done for many at once (a batch for the database, one write per client) is put off
 *			with loop_defer() and runs once, when the callbacks of the turn are through.
 *
 * LIMITS	Callbacks that have taken TURN_MS_MAX are the last ones of their turn, and so are tasks:
 *			what else is ready has a turn of its own (loop_turns_cut_total).
 */
#ifndef LOOP_H
#define LOOP_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

typedef struct Loop Loop;

/* |what| has libevent's bits: EV_READ, EV_WRITE, EV_TIMEOUT, EV_SIGNAL. */
typedef void (*LoopCallback)(void *context, short what);

/* A descriptor, a timer or a signal that is waited for. A field of its owner's struct. */
typedef struct LoopEvent
{
	struct event event;
	Loop *loop;
	LoopCallback callback;
	void *context;
} LoopEvent;

/* Work put off to the end of the turn. A field of its owner's struct. */
typedef struct LoopTask
{
	STAILQ_ENTRY(LoopTask) link;
	Loop *loop;
	void (*run)(void *context);
	void *context;
	bool is_queued;
} LoopTask;

#define LOOP_FOREVER INT64_C(-1)

/* Makes a loop, never NULL. SIGPIPE is ignored from now on. */
extern Loop *loop_new(void);

/* All events must have been removed, and all tasks have run or been taken back. */
extern void loop_free(Loop *loop);

/* For libraries that bring their own events (evdns, evhttp). */
extern struct event_base *loop_base(Loop *loop);

/* Runs until loop_stop(). */
extern void loop_run(Loop *loop);

/*
 * Runs what is ready, without waiting, and the tasks: all of them, however long it takes. Not from
 * within a turn.
 */
extern void loop_turn(Loop *loop);

/* Ends loop_run() after this turn and all tasks; called before it, after its first turn. */
extern void loop_stop(Loop *loop);

/*
 * The time of this turn, monotonic: the same for all callbacks between two waits. A timer never
 * comes early by it. Outside of a turn: the clock.
 */
extern int64_t loop_now_us(Loop *loop);

/* The longest turn since the start; the metric loop_turn_seconds has all of them. */
extern int64_t loop_longest_turn_us(const Loop *loop);

/*
 * The longest that the loop itself worked or blocked in a turn: without the waits for a processor
 * that others had.
 */
extern int64_t loop_longest_own_us(const Loop *loop);

/*
 * Prepares an event; it waits for nothing until loop_event_add(). |what| as event_assign() takes
 * it: EV_READ | EV_PERSIST, EV_SIGNAL | EV_PERSIST (|descriptor| is the signal), or 0 for a timer
 * (|descriptor| -1).
 */
extern void loop_event_init(LoopEvent *event, Loop *loop, int descriptor, short what,
							LoopCallback callback, void *context);

/*
 * Waits, at most |timeout_us| (LOOP_FOREVER: without end; a timer never comes). Again: the new
 * timeout counts. With EV_PERSIST the timeout begins anew with each callback.
 */
extern void loop_event_add(LoopEvent *event, int64_t timeout_us);

/* Waits no longer. Harmless for an event that is zeroed or was not added. */
extern void loop_event_remove(LoopEvent *event);

/* Whether it waits, or its callback is still to come in this turn. */
extern bool loop_event_is_added(const LoopEvent *event);

/* Prepares a task. */
extern void loop_task_init(LoopTask *task, Loop *loop, void (*run)(void *context), void *context);

/*
 * Runs the task once at the end of this turn, or of a next one if this one takes long, however
 * often this is called. A task deferred by a task runs behind those already waiting.
 */
extern void loop_defer(LoopTask *task);

/* Takes a task back, so that its owner can be freed. Harmless for one that is zeroed. */
extern void loop_task_cancel(LoopTask *task);

#endif /* LOOP_H */
