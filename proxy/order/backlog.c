/*
 * backlog.c
 *		The items that wait for a database connection.
 *
 * DESIGN	Deadlines mostly rise, so a new item is put in from the end. What comes back has the
 *			earliest ones and is merged from the front. Either way the list stays sorted at the cost
 *			of a few steps, and the item to expire next is a lane's first.
 */
#include "order/backlog.h"

#include <assert.h>
#include <string.h>

void
backlog_init(Backlog *backlog)
{
	*backlog = (Backlog){0};
	for (int i = 0; i < LANE_COUNT; i++)
	{
		TAILQ_INIT(&backlog->lanes[i].items);
		TAILQ_INIT(&backlog->lanes[i].halves);
	}
}

static Lane *
lane_of(Backlog *backlog, const StoreItem *item)
{
	static const BacklogLane lanes[STORE_KIND_COUNT] = {
		[STORE_RECEIVE] = LANE_RECEIVE,
		[STORE_SETTLE] = LANE_SETTLE,
		[STORE_CANCEL] = LANE_CANCEL,
		[STORE_GET] = LANE_READ,
		[STORE_FIND] = LANE_READ,
		[STORE_LIST] = LANE_LIST,
		[STORE_FIND_SESSION] = LANE_SESSION,
		[STORE_CLOSE_SESSION] = LANE_SINGLE,
		[STORE_CLAIM] = LANE_SINGLE,
		[STORE_RECORD_HOLD] = LANE_RECORD_HOLD,
	};
	BacklogLane lane = lanes[item->kind];

	if (item->needs_writer)
		lane = lane == LANE_SESSION ? LANE_SESSION_AGAIN : LANE_SINGLE;
	return &backlog->lanes[lane];
}

void
backlog_add(Backlog *backlog, StoreItem *item)
{
	Lane *lane = lane_of(backlog, item);
	StoreItem *before = TAILQ_LAST(&lane->items, StoreItemList);

	while (before != NULL && before->deadline_us > item->deadline_us)
		before = TAILQ_PREV(before, StoreItemList, link);
	if (before != NULL)
		TAILQ_INSERT_AFTER(&lane->items, before, item, link);
	else
		TAILQ_INSERT_HEAD(&lane->items, item, link);
	backlog->count++;
}

void
backlog_return(Backlog *backlog, Batch *batch)
{
	Lane *lane;
	StoreItem *after;

	assert(batch->answered_count < batch->count);
	lane = lane_of(backlog, batch->items[batch->answered_count]);
	after = TAILQ_FIRST(&lane->items);
	for (int i = batch->answered_count; i < batch->count; i++)
	{
		StoreItem *item = batch->items[i];

		while (after != NULL && after->deadline_us < item->deadline_us)
			after = TAILQ_NEXT(after, link);
		if (after != NULL)
			TAILQ_INSERT_BEFORE(after, item, link);
		else
			TAILQ_INSERT_TAIL(&lane->items, item, link);
		backlog->count++;
	}
	batch_free(batch);
}

static void
add_half(Backlog *backlog, const Batch *batch, int first, int count)
{
	Batch *half = batch_new(batch->kind, count);

	memcpy(half->items, batch->items + first, sizeof(half->items[0]) * (size_t) count);
	TAILQ_INSERT_TAIL(&lane_of(backlog, half->items[0])->halves, half, link);
	backlog->count += count;
}

void
backlog_split(Backlog *backlog, Batch *batch)
{
	int count = batch->count - batch->answered_count;
	int middle = (count + 1) / 2;

	assert(batch->count > 1);
	assert(count > 0);
	add_half(backlog, batch, batch->answered_count, middle);
	if (middle < count)
		add_half(backlog, batch, batch->answered_count + middle, count - middle);
	batch_free(batch);
}

static bool
is_lane_empty(const Lane *lane)
{
	return TAILQ_EMPTY(&lane->items) && TAILQ_EMPTY(&lane->halves);
}

/* The lane whose turn it is: one that was passed over too often, else the most urgent. */
static Lane *
choose_lane(Backlog *backlog, unsigned lanes)
{
	Lane *chosen = NULL;

	for (int i = 0; i < LANE_COUNT; i++)
	{
		Lane *lane = &backlog->lanes[i];
		bool is_waiting = (lanes & LANE_BIT(i)) != 0 && !is_lane_empty(lane);

		if (is_waiting && (chosen == NULL || (lane->passed_count >= BACKLOG_PASSES_MAX &&
											  lane->passed_count > chosen->passed_count)))
			chosen = lane;
	}
	for (int i = 0; i < LANE_COUNT; i++)
	{
		Lane *lane = &backlog->lanes[i];

		if (lane == chosen || is_lane_empty(lane))
			lane->passed_count = 0;
		else if ((lanes & LANE_BIT(i)) != 0)
			lane->passed_count++;
	}
	return chosen;
}

/* A half as it goes: without those that have been answered. */
static Batch *
take_half(Lane *lane)
{
	Batch *half = TAILQ_FIRST(&lane->halves);

	TAILQ_REMOVE(&lane->halves, half, link);
	half->count -= half->answered_count;
	assert(half->count > 0);
	memmove(half->items, half->items + half->answered_count,
			sizeof(half->items[0]) * (size_t) half->count);
	half->answered_count = 0;
	return half;
}

static int
count_up_to(const Lane *lane, int max)
{
	const StoreItem *item;
	int count = 0;

	TAILQ_FOREACH(item, &lane->items, link)
	{
		if (count == max)
			break;
		count++;
	}
	return count;
}

Batch *
backlog_take(Backlog *backlog, unsigned lanes, int batch_max)
{
	Lane *lane = choose_lane(backlog, lanes);
	Batch *batch;

	if (lane == NULL)
		return NULL;
	if (!TAILQ_EMPTY(&lane->halves))
		batch = take_half(lane);
	else
	{
		StoreKind kind = TAILQ_FIRST(&lane->items)->kind;
		int count = batch_is_gathered(kind) ? count_up_to(lane, batch_max) : 1;

		batch = batch_new(kind, count);
		for (int i = 0; i < count; i++)
		{
			batch->items[i] = TAILQ_FIRST(&lane->items);
			TAILQ_REMOVE(&lane->items, batch->items[i], link);
		}
	}
	backlog->count -= batch->count;
	return batch;
}

bool
backlog_has(const Backlog *backlog, unsigned lanes)
{
	for (int i = 0; i < LANE_COUNT; i++)
	{
		if ((lanes & LANE_BIT(i)) != 0 && !is_lane_empty(&backlog->lanes[i]))
			return true;
	}
	return false;
}

static StoreItem *
take_overdue_of_half(Lane *lane, int64_t now_us)
{
	Batch *half;

	TAILQ_FOREACH(half, &lane->halves, link)
	{
		StoreItem *item = half->items[half->answered_count];

		if (item->deadline_us > now_us)
			continue;
		if (++half->answered_count == half->count)
		{
			TAILQ_REMOVE(&lane->halves, half, link);
			batch_free(half);
		}
		return item;
	}
	return NULL;
}

StoreItem *
backlog_take_overdue(Backlog *backlog, int64_t now_us)
{
	for (int i = 0; i < LANE_COUNT; i++)
	{
		Lane *lane = &backlog->lanes[i];
		StoreItem *item = TAILQ_FIRST(&lane->items);

		if (item != NULL && item->deadline_us <= now_us)
			TAILQ_REMOVE(&lane->items, item, link);
		else
			item = take_overdue_of_half(lane, now_us);
		if (item != NULL)
		{
			backlog->count--;
			return item;
		}
	}
	return NULL;
}

int64_t
backlog_next_deadline(const Backlog *backlog)
{
	int64_t next_us = INT64_MAX;

	for (int i = 0; i < LANE_COUNT; i++)
	{
		const Lane *lane = &backlog->lanes[i];
		const StoreItem *first = TAILQ_FIRST(&lane->items);
		const Batch *half;

		if (first != NULL && first->deadline_us < next_us)
			next_us = first->deadline_us;
		TAILQ_FOREACH(half, &lane->halves, link)
		{
			if (half->items[half->answered_count]->deadline_us < next_us)
				next_us = half->items[half->answered_count]->deadline_us;
		}
	}
	return next_us;
}
