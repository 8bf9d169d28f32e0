/*
 * budget.h
 *		A budget for further attempts: at most a share of the calls of the last seconds, so that
 *		retries cannot multiply the load on what already fails.
 *
 * Pure: time is passed in, in microseconds of the monotonic clock.
 */
#ifndef BUDGET_H
#define BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bounds.h"

/* What happened in one piece of the window. */
typedef struct BudgetBucket
{
	int64_t number; /* of the piece, since the clock began */
	int64_t calls;
	int64_t spent;
} BudgetBucket;

typedef struct Budget
{
	int percent; /* 0 to 100 of the calls; 0: none, not even the floor */
	BudgetBucket buckets[BUDGET_BUCKETS];
} Budget;

/* Nothing has happened yet. */
extern void budget_init(Budget *budget, int percent);

/* A call begins, with its first attempt. */
extern void budget_earn(Budget *budget, int64_t now_us);

/*
 * Pays for one more attempt; false when there is nothing left. A window allows |percent| of its
 * calls, rounded down, but BUDGET_FLOOR at least.
 */
extern bool budget_spend(Budget *budget, int64_t now_us);

/*
 * The same for what is less urgent: it leaves half of what the window allows, and BUDGET_FLOOR at
 * least, to others.
 */
extern bool budget_spend_spare(Budget *budget, int64_t now_us);

/* Attempts that could be paid for at this moment. */
extern int64_t budget_left(const Budget *budget, int64_t now_us);

#endif /* BUDGET_H */
