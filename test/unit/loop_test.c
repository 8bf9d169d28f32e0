/*
 * loop_test.c
 *		The event loop: turns, tasks, timers, descriptors, signals.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bounds.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "net/loop.h"

/* Far beyond what a test takes: ends one that would wait for ever. */
#define DEADLINE_US (20 * CLOCK_SECOND)
/* A long turn: 30 ms. */
#define LONG_US (30 * CLOCK_MS)

/* What the callbacks of a test leave behind. */
typedef struct Record
{
	Loop *loop;
	LoopEvent event;
	LoopEvent deadline;
	LoopTask first;
	LoopTask second;
	char order[32]; /* which callback came when, a letter each */
	int64_t due_us;
	int pipe[2];
} Record;

static void
note(Record *record, char letter)
{
	size_t size = strlen(record->order);

	assert_true(size < sizeof(record->order) - 1);
	record->order[size] = letter;
}

static void
assert_metrics_have(const char *part)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	metrics_write(out);
	fclose(out);
	assert_non_null(strstr(text, part));
	free(text);
}

static void
on_deadline(void *context, short what)
{
	(void) context;
	(void) what;
	fail_msg("nothing happened");
}

static int
setup(void **state)
{
	static Record record;

	record = (Record){.loop = loop_new()};
	assert_int_equal(pipe(record.pipe), 0);
	loop_event_init(&record.deadline, record.loop, -1, 0, on_deadline, NULL);
	loop_event_add(&record.deadline, DEADLINE_US);
	*state = &record;
	return 0;
}

static int
teardown(void **state)
{
	Record *record = *state;

	loop_event_remove(&record->event);
	loop_event_remove(&record->deadline);
	loop_task_cancel(&record->first);
	loop_task_cancel(&record->second);
	loop_free(record->loop);
	close(record->pipe[0]);
	close(record->pipe[1]);
	metrics_reset();
	return 0;
}

static void
stop_task(void *context)
{
	Record *record = context;

	note(record, 's');
	loop_stop(record->loop);
}

static void
chain_task(void *context)
{
	Record *record = context;

	note(record, 'c');
	loop_defer(&record->second);
}

static void
a_task_deferred_before_the_loop_runs_is_not_kept_waiting(void **state)
{
	Record *record = *state;

	loop_task_init(&record->first, record->loop, stop_task, record);
	loop_defer(&record->first);
	loop_run(record->loop);
	assert_string_equal(record->order, "s");
}

static void
a_task_runs_once_however_often_it_is_deferred(void **state)
{
	Record *record = *state;

	loop_task_init(&record->first, record->loop, chain_task, record);
	loop_task_init(&record->second, record->loop, stop_task, record);
	loop_defer(&record->first);
	loop_defer(&record->first);
	loop_run(record->loop);
	assert_string_equal(record->order, "cs");
}

static void
a_task_of_a_task_runs_in_the_same_turn(void **state)
{
	Record *record = *state;

	loop_task_init(&record->first, record->loop, chain_task, record);
	loop_task_init(&record->second, record->loop, stop_task, record);
	loop_defer(&record->first);
	loop_turn(record->loop);
	assert_string_equal(record->order, "cs");
}

static void
a_cancelled_task_does_not_run(void **state)
{
	Record *record = *state;

	loop_task_init(&record->first, record->loop, chain_task, record);
	loop_task_init(&record->second, record->loop, stop_task, record);
	loop_defer(&record->first);
	loop_defer(&record->second);
	loop_task_cancel(&record->first);
	loop_task_cancel(&record->first);
	loop_run(record->loop);
	assert_string_equal(record->order, "s");
}

static void
a_stop_before_the_run_ends_it_after_one_turn(void **state)
{
	Record *record = *state;

	loop_stop(record->loop);
	loop_run(record->loop);
	assert_string_equal(record->order, "");
}

static void
on_due(void *context, short what)
{
	Record *record = context;

	assert_int_equal(what, EV_TIMEOUT);
	assert_true(loop_now_us(record->loop) >= record->due_us);
	assert_false(loop_event_is_added(&record->event));
	note(record, 't');
	if (strlen(record->order) == 20)
	{
		loop_stop(record->loop);
		return;
	}
	record->due_us = loop_now_us(record->loop) + 700;
	loop_event_add(&record->event, 700);
}

static void
a_timer_never_comes_early(void **state)
{
	Record *record = *state;

	loop_event_init(&record->event, record->loop, -1, 0, on_due, record);
	loop_event_add(&record->event, 0);
	assert_true(loop_event_is_added(&record->event));
	loop_run(record->loop);
	assert_int_equal(strlen(record->order), 20);
}

static int64_t
processor_us(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return time.tv_sec * CLOCK_SECOND + time.tv_nsec / 1000;
}

/* Stays until both clocks have moved. */
static void
on_same_time(void *context, short what)
{
	Record *record = context;
	int64_t worked_us = processor_us();

	(void) what;
	record->due_us = loop_now_us(record->loop);
	while (clock_now_us() == record->due_us || processor_us() == worked_us)
		;
	assert_int_equal(loop_now_us(record->loop), record->due_us);
	loop_defer(&record->first);
}

static void
check_same_time(void *context)
{
	Record *record = context;

	assert_int_equal(loop_now_us(record->loop), record->due_us);
	note(record, 's');
}

static void
the_time_stands_still_within_a_turn(void **state)
{
	Record *record = *state;

	loop_task_init(&record->first, record->loop, check_same_time, record);
	loop_event_init(&record->event, record->loop, -1, 0, on_same_time, record);
	loop_event_add(&record->event, 0);
	/* Not loop_run(): a turn in which others take the processor for long would be cut. */
	while (record->due_us == 0)
		loop_turn(record->loop);

	assert_string_equal(record->order, "s");
	assert_true(loop_now_us(record->loop) > record->due_us);
	assert_true(loop_longest_turn_us(record->loop) > 0);
	assert_true(loop_longest_own_us(record->loop) > 0);
	assert_metrics_have("\nloop_turn_seconds_count 1\n");
	assert_metrics_have("\nloop_turn_longest_seconds ");
	assert_metrics_have("\nloop_turn_longest_own_seconds ");
	assert_metrics_have("\nloop_turns_cut_total 0\n");
}

static void
block_task(void *context)
{
	(void) context;
	assert_int_equal(poll(NULL, 0, 30), 0);
}

static void
a_turn_that_blocks_is_long_by_its_own_doing(void **state)
{
	Record *record = *state;

	loop_task_init(&record->first, record->loop, block_task, record);
	loop_defer(&record->first);
	loop_turn(record->loop);
	assert_true(loop_longest_own_us(record->loop) >= LONG_US);
	assert_true(loop_longest_own_us(record->loop) == loop_longest_turn_us(record->loop));
}

static void
work_task(void *context)
{
	int64_t end_us = processor_us() + LONG_US;

	(void) context;
	while (processor_us() < end_us)
		;
}

static void
a_turn_that_works_is_long_by_its_own_doing(void **state)
{
	Record *record = *state;

	loop_task_init(&record->first, record->loop, work_task, record);
	loop_defer(&record->first);
	loop_turn(record->loop);
	assert_true(loop_longest_own_us(record->loop) >= LONG_US);
	assert_true(loop_longest_own_us(record->loop) <= loop_longest_turn_us(record->loop));
}

/* Works until others have had the processor for more than LONG_US: the clocks are rounded. */
static void
starve_task(void *context)
{
	int64_t begin_us = clock_now_us() - processor_us();

	(void) context;
	while (clock_now_us() - processor_us() - begin_us < LONG_US + CLOCK_MS)
		;
}

/* Stays on the processor it is on, with all that it begins. */
static void
stay_on_one_processor(cpu_set_t *before)
{
	cpu_set_t one;

	assert_int_equal(sched_getaffinity(0, sizeof(*before), before), 0);
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
}

static void
a_turn_that_waits_for_a_processor_is_not_to_blame_for_the_wait(void **state)
{
	Record *record = *state;
	cpu_set_t before;
	pid_t rival;

	stay_on_one_processor(&before);
	rival = fork();
	assert_true(rival >= 0);
	if (rival == 0)
	{
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			;
	}
	loop_task_init(&record->first, record->loop, starve_task, record);
	loop_defer(&record->first);
	loop_turn(record->loop);
	kill(rival, SIGKILL);
	assert_int_equal(waitpid(rival, NULL, 0), rival);
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
	assert_true(loop_longest_own_us(record->loop) <= loop_longest_turn_us(record->loop) - LONG_US);
}

static void
note_task(void *context)
{
	note(context, 't');
}

static void
take_long(void)
{
	int64_t end_us = clock_now_us() + TURN_MS_MAX * CLOCK_MS;

	while (clock_now_us() < end_us)
		;
}

/* The second one ends the run. */
static void
on_long(void *context, short what)
{
	Record *record = context;

	(void) what;
	take_long();
	note(record, 'l');
	loop_defer(&record->first);
	if (strlen(record->order) > 1)
		loop_stop(record->loop);
}

static void
callbacks_that_take_long_leave_others_to_the_next_turn(void **state)
{
	Record *record = *state;
	LoopEvent other;

	loop_task_init(&record->first, record->loop, note_task, record);
	loop_event_init(&record->event, record->loop, record->pipe[0], EV_READ, on_long, record);
	loop_event_init(&other, record->loop, record->pipe[0], EV_READ, on_long, record);
	loop_event_add(&record->event, LOOP_FOREVER);
	loop_event_add(&other, LOOP_FOREVER);
	assert_int_equal(write(record->pipe[1], "a", 1), 1);
	loop_run(record->loop);
	assert_string_equal(record->order, "ltlt");
	assert_metrics_have("\nloop_turns_cut_total 2\n");
}

static void
long_task(void *context)
{
	take_long();
	note(context, 'l');
}

static void
on_readable(void *context, short what)
{
	Record *record = context;
	char letter;

	if (what == EV_TIMEOUT)
	{
		note(record, 't');
		loop_stop(record->loop);
		return;
	}
	assert_int_equal(what, EV_READ);
	assert_int_equal(read(record->pipe[0], &letter, 1), 1);
	note(record, letter);
	assert_true(loop_event_is_added(&record->event));
	if (letter == 'z')
		loop_stop(record->loop);
}

static void
a_persistent_event_comes_for_each_byte_and_then_times_out(void **state)
{
	Record *record = *state;

	loop_event_init(&record->event, record->loop, record->pipe[0], EV_READ | EV_PERSIST,
					on_readable, record);
	assert_int_equal(write(record->pipe[1], "ab", 2), 2);
	/* Long beside what a busy machine may keep us waiting between the bytes. */
	loop_event_add(&record->event, 300 * CLOCK_MS);
	loop_run(record->loop);
	assert_string_equal(record->order, "abt");
}

/* A long task and one behind it, while there are two bytes to read, one a callback. */
static void
put_off_a_long_task(Record *record)
{
	loop_task_init(&record->first, record->loop, long_task, record);
	loop_task_init(&record->second, record->loop, stop_task, record);
	loop_event_init(&record->event, record->loop, record->pipe[0], EV_READ | EV_PERSIST,
					on_readable, record);
	loop_event_add(&record->event, LOOP_FOREVER);
	assert_int_equal(write(record->pipe[1], "ab", 2), 2);
	loop_defer(&record->first);
	loop_defer(&record->second);
}

static void
tasks_that_take_long_leave_others_to_the_next_turn(void **state)
{
	Record *record = *state;

	put_off_a_long_task(record);
	loop_run(record->loop);
	assert_string_equal(record->order, "albs");
}

static void
a_single_turn_runs_all_tasks_however_long_they_take(void **state)
{
	Record *record = *state;

	put_off_a_long_task(record);
	loop_turn(record->loop);
	assert_string_equal(record->order, "abls");
}

static void
waiting_for_ever_takes_an_earlier_timeout_away(void **state)
{
	Record *record = *state;
	int64_t until_us = clock_now_us() + 5000;

	loop_event_init(&record->event, record->loop, record->pipe[0], EV_READ | EV_PERSIST,
					on_readable, record);
	loop_event_add(&record->event, 1000);
	loop_event_add(&record->event, LOOP_FOREVER);
	while (clock_now_us() < until_us)
		loop_turn(record->loop);
	assert_string_equal(record->order, "");
	assert_int_equal(write(record->pipe[1], "z", 1), 1);
	loop_run(record->loop);
	assert_string_equal(record->order, "z");
}

static void
a_removed_event_does_not_come(void **state)
{
	Record *record = *state;
	LoopEvent zeroed = {0};

	loop_event_remove(&zeroed);
	assert_false(loop_event_is_added(&zeroed));
	loop_event_init(&record->event, record->loop, record->pipe[0], EV_READ, on_readable, record);
	loop_event_remove(&record->event);
	loop_event_add(&record->event, 0);
	assert_int_equal(write(record->pipe[1], "a", 1), 1);
	loop_event_remove(&record->event);
	assert_false(loop_event_is_added(&record->event));
	loop_turn(record->loop);
	assert_string_equal(record->order, "");
}

static void
on_signal(void *context, short what)
{
	Record *record = context;

	assert_int_equal(what, EV_SIGNAL);
	note(record, 'h');
	loop_stop(record->loop);
}

static void
a_signal_wakes_the_loop(void **state)
{
	Record *record = *state;

	loop_event_init(&record->event, record->loop, SIGHUP, EV_SIGNAL | EV_PERSIST, on_signal,
					record);
	loop_event_add(&record->event, LOOP_FOREVER);
	assert_int_equal(raise(SIGHUP), 0);
	loop_run(record->loop);
	assert_int_equal(raise(SIGHUP), 0);
	loop_run(record->loop);
	assert_string_equal(record->order, "hh");
}

static void
writing_to_a_closed_pipe_is_an_error_not_a_signal(void **state)
{
	Record *record = *state;

	close(record->pipe[0]);
	assert_int_equal(write(record->pipe[1], "a", 1), -1);
	record->pipe[0] = dup(record->pipe[1]);
}

#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		LOOP_TEST(a_task_deferred_before_the_loop_runs_is_not_kept_waiting),
		LOOP_TEST(a_task_runs_once_however_often_it_is_deferred),
		LOOP_TEST(a_task_of_a_task_runs_in_the_same_turn),
		LOOP_TEST(a_cancelled_task_does_not_run),
		LOOP_TEST(a_stop_before_the_run_ends_it_after_one_turn),
		LOOP_TEST(a_timer_never_comes_early),
		LOOP_TEST(the_time_stands_still_within_a_turn),
		LOOP_TEST(a_turn_that_blocks_is_long_by_its_own_doing),
		LOOP_TEST(a_turn_that_works_is_long_by_its_own_doing),
		LOOP_TEST(a_turn_that_waits_for_a_processor_is_not_to_blame_for_the_wait),
		LOOP_TEST(callbacks_that_take_long_leave_others_to_the_next_turn),
		LOOP_TEST(a_persistent_event_comes_for_each_byte_and_then_times_out),
		LOOP_TEST(tasks_that_take_long_leave_others_to_the_next_turn),
		LOOP_TEST(a_single_turn_runs_all_tasks_however_long_they_take),
		LOOP_TEST(waiting_for_ever_takes_an_earlier_timeout_away),
		LOOP_TEST(a_removed_event_does_not_come),
		LOOP_TEST(a_signal_wakes_the_loop),
		LOOP_TEST(writing_to_a_closed_pipe_is_an_error_not_a_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
