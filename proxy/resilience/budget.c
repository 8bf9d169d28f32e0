/*
 * budget.c
 *		A budget for further attempts, over a window that slides.
 *
 * DESIGN	The window is cut into buckets, and a bucket that has fallen out of it is used again. So
 *			what is looked at is the last nine to ten tenths of the window. A bucket knows the piece
 *			of time it is for: a clock that jumps ahead leaves nothing behind that counts.
 *
 * LIMITS	Over a window the floor may be more than the share: with few calls a retry is cheap.
 */
#include "resilience/budget.h"

#include <assert.h>

#define BUCKET_US (BUDGET_WINDOW_MS * INT64_C(1000) / BUDGET_BUCKETS)

void
budget_init(Budget *budget, int percent)
{
	assert(percent >= 0 && percent <= 100);
	*budget = (Budget){.percent = percent};
}

static BudgetBucket *
current(Budget *budget, int64_t now_us)
{
	int64_t number = now_us / BUCKET_US;
	BudgetBucket *bucket = &budget->buckets[number % BUDGET_BUCKETS];

	assert(now_us >= 0);
	if (bucket->number != number)
		*bucket = (BudgetBucket){.number = number};
	return bucket;
}

void
budget_earn(Budget *budget, int64_t now_us)
{
	current(budget, now_us)->calls++;
}

/* What the window allows, and what of it has been spent. */
static void
sum_up(const Budget *budget, int64_t now_us, int64_t *allowed, int64_t *spent)
{
	int64_t number = now_us / BUCKET_US;
	int64_t calls = 0;

	*spent = 0;
	for (int i = 0; i < BUDGET_BUCKETS; i++)
	{
		const BudgetBucket *bucket = &budget->buckets[i];

		if (bucket->number <= number - BUDGET_BUCKETS || bucket->number > number)
			continue;
		calls += bucket->calls;
		*spent += bucket->spent;
	}
	*allowed = calls * budget->percent / 100;
	if (*allowed < BUDGET_FLOOR)
		*allowed = budget->percent > 0 ? BUDGET_FLOOR : 0;
}

int64_t
budget_left(const Budget *budget, int64_t now_us)
{
	int64_t allowed;
	int64_t spent;

	sum_up(budget, now_us, &allowed, &spent);
	return allowed > spent ? allowed - spent : 0;
}

bool
budget_spend(Budget *budget, int64_t now_us)
{
	if (budget_left(budget, now_us) == 0)
		return false;
	current(budget, now_us)->spent++;
	return true;
}

bool
budget_spend_spare(Budget *budget, int64_t now_us)
{
	int64_t allowed;
	int64_t spent;
	int64_t kept;

	sum_up(budget, now_us, &allowed, &spent);
	kept = allowed / 2 > BUDGET_FLOOR ? allowed / 2 : BUDGET_FLOOR;
	if (allowed - spent <= kept)
		return false;
	current(budget, now_us)->spent++;
	return true;
}
