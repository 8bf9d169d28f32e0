/*
 * account_queue.c
 *		The calls of Account that wait for a place of the bulkhead, first come, first served.
 *
 * DESIGN	One timer for all of them, not one each: with many orders under way nearly every call
 *			waits, and nearly none to its limit. The timer stays when the call it was set for is
 *			taken; when it comes, it is set anew for who is first then.
 */
#include "order/account_queue.h"

#include <assert.h>
#include <stddef.h>

#include "base/clock.h"
#include "order/account_metrics.h"

static void
set_timer(AccountQueue *queue)
{
	const AccountWaiter *first = TAILQ_FIRST(&queue->waiters);
	int64_t left_us;

	if (first == NULL || loop_event_is_added(&queue->timer))
		return;
	left_us = first->until_us - loop_now_us(queue->loop);
	loop_event_add(&queue->timer, left_us > 0 ? left_us : 0);
}

static void
expire(void *context, short what)
{
	AccountQueue *queue = context;
	int64_t now_us = loop_now_us(queue->loop);
	const AccountWaiter *first;

	(void) what;
	while ((first = TAILQ_FIRST(&queue->waiters)) != NULL && first->until_us <= now_us)
	{
		metrics_count(&account_metrics.waiting_expired);
		queue->expired(account_queue_take(queue));
	}
	set_timer(queue);
}

void
account_queue_init(AccountQueue *queue, Loop *loop, AccountQueueExpired expired)
{
	*queue = (AccountQueue){.loop = loop, .expired = expired};
	TAILQ_INIT(&queue->waiters);
	loop_event_init(&queue->timer, loop, -1, 0, expire, queue);
}

void
account_queue_close(AccountQueue *queue)
{
	assert(TAILQ_EMPTY(&queue->waiters));
	loop_event_remove(&queue->timer);
}

void
account_queue_add(AccountQueue *queue, AccountWaiter *waiter, void *call, int64_t since_us,
				  int64_t limit_us)
{
	waiter->call = call;
	waiter->since_us = since_us;
	waiter->until_us = since_us + limit_us;
	TAILQ_INSERT_TAIL(&queue->waiters, waiter, link);
	queue->count++;
	set_timer(queue);
}

void *
account_queue_take(AccountQueue *queue)
{
	AccountWaiter *first = TAILQ_FIRST(&queue->waiters);
	int64_t waited_us;

	if (first == NULL)
		return NULL;
	waited_us = loop_now_us(queue->loop) - first->since_us;
	TAILQ_REMOVE(&queue->waiters, first, link);
	queue->count--;
	metrics_observe(&account_metrics.waiting_seconds, (double) waited_us / CLOCK_SECOND);
	return first->call;
}
