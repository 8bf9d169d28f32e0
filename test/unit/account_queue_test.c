/*
 * account_queue_test.c
 *		Who waits for a place of the bulkhead, in which order, and for how long.
 */
#include "order/account_queue.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "order/account_metrics.h"

#define CALLS_MAX 4
#define SHORT_US (5 * CLOCK_MS)

static Loop *loop;
static AccountQueue queue;
static AccountWaiter waiters[CALLS_MAX];
static int calls[CALLS_MAX];
static int expired[CALLS_MAX];
static int expired_count;
static int successor; /* added when a call expires; 0: none */

static void
add(int number, int64_t limit_us)
{
	account_queue_add(&queue, &waiters[number], &calls[number], loop_now_us(loop), limit_us);
}

static void
note_expired(void *call)
{
	expired[expired_count++] = (int) ((int *) call - calls);
	if (successor != 0)
		add(successor, SHORT_US);
	successor = 0;
}

static int
open_queue(void **state)
{
	(void) state;
	loop = loop_new();
	account_metrics_init();
	account_queue_init(&queue, loop, note_expired);
	expired_count = 0;
	successor = 0;
	return 0;
}

static int
close_queue(void **state)
{
	(void) state;
	account_queue_close(&queue);
	loop_free(loop);
	metrics_reset();
	return 0;
}

static void
turn_until_expired(int count)
{
	int64_t give_up_us = clock_now_us() + 10 * CLOCK_SECOND;

	while (expired_count < count)
	{
		assert_true(clock_now_us() < give_up_us);
		loop_turn(loop);
	}
}

static void
who_comes_first_is_taken_first(void **state)
{
	(void) state;
	assert_null(account_queue_take(&queue));
	add(0, CLOCK_SECOND);
	add(1, CLOCK_SECOND);
	assert_int_equal(queue.count, 2);
	assert_ptr_equal(account_queue_take(&queue), &calls[0]);
	add(0, CLOCK_SECOND);
	assert_ptr_equal(account_queue_take(&queue), &calls[1]);
	assert_ptr_equal(account_queue_take(&queue), &calls[0]);
	assert_null(account_queue_take(&queue));
	assert_int_equal(queue.count, 0);
	assert_int_equal(account_metrics.waiting_seconds.count, 3);
	assert_int_equal(account_metrics.waiting_expired.value, 0);
}

static void
who_waits_too_long_is_told(void **state)
{
	int64_t begun_us = clock_now_us();

	(void) state;
	for (int i = 0; i < 3; i++)
		add(i, SHORT_US);
	turn_until_expired(3);
	assert_true(clock_now_us() - begun_us >= SHORT_US);
	for (int i = 0; i < 3; i++)
		assert_int_equal(expired[i], i);
	assert_int_equal(queue.count, 0);
	assert_int_equal(account_metrics.waiting_expired.value, 3);
}

static void
the_timer_goes_on_to_who_is_first(void **state)
{
	(void) state;
	add(0, SHORT_US);
	add(1, 4 * SHORT_US);
	assert_ptr_equal(account_queue_take(&queue), &calls[0]);
	turn_until_expired(1);
	assert_int_equal(expired[0], 1);
	assert_true(clock_now_us() >= waiters[1].until_us);
}

static void
one_that_is_added_meanwhile_expires_as_well(void **state)
{
	(void) state;
	successor = 3;
	add(0, SHORT_US);
	turn_until_expired(2);
	assert_int_equal(expired[1], 3);
	assert_true(clock_now_us() >= waiters[3].until_us);
}

/* One that comes too late to wait at all does not expire within the call that adds it. */
static void
nobody_is_told_at_once(void **state)
{
	(void) state;
	account_queue_add(&queue, &waiters[0], &calls[0], loop_now_us(loop) - CLOCK_SECOND, SHORT_US);
	assert_int_equal(expired_count, 0);
	turn_until_expired(1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_queue, close_queue)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(who_comes_first_is_taken_first),
		TEST(who_waits_too_long_is_told),
		TEST(the_timer_goes_on_to_who_is_first),
		TEST(one_that_is_added_meanwhile_expires_as_well),
		TEST(nobody_is_told_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
