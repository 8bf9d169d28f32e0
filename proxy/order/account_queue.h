/*
 * account_queue.h
 *		The calls of Account that wait for a place of the bulkhead, first come, first served.
 *
 * Time is passed in, in microseconds of the monotonic clock.
 */
#ifndef ACCOUNT_QUEUE_H
#define ACCOUNT_QUEUE_H

#include <stdint.h>
#include <sys/queue.h>

#include "net/loop.h"

/* A call's place in the queue; the queue's while it waits. */
typedef struct AccountWaiter
{
	TAILQ_ENTRY(AccountWaiter) link;
	void *call;
	int64_t since_us;
	int64_t until_us;
} AccountWaiter;

/* Told of a call that has waited to its limit, and waits no more. May add others. */
typedef void (*AccountQueueExpired)(void *call);

typedef struct AccountQueue
{
	Loop *loop;
	TAILQ_HEAD(, AccountWaiter) waiters;
	int count;
	LoopEvent timer; /* comes no later than the first limit */
	AccountQueueExpired expired;
} AccountQueue;

/* Empty. It must be closed. */
extern void account_queue_init(AccountQueue *queue, Loop *loop, AccountQueueExpired expired);

/* Nobody waits any more. */
extern void account_queue_close(AccountQueue *queue);

/*
 * |call| waits, from |since_us| on, until it is taken or |limit_us| have passed. The limit is the
 * same for all, so that the first in the queue is the first to reach it; where it was made shorter
 * meanwhile, nobody waits longer than those before it.
 */
extern void account_queue_add(AccountQueue *queue, AccountWaiter *waiter, void *call,
							  int64_t since_us, int64_t limit_us);

/* The first call waits no more; it is returned. NULL: there is none. */
extern void *account_queue_take(AccountQueue *queue);

#endif /* ACCOUNT_QUEUE_H */
