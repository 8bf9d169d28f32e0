/*
 * orderctl_window.c
 *		What has been shown of an outbox that is followed.
 *
 * DESIGN	One mark at a time: of a moment when all ids below its end had been taken. When every
 *			transaction that can have taken one of them has ended, all that will ever be there is
 *			visible, and the window begins at that end. Then the next mark is made.
 *
 * LIMITS	ORDERCTL_WINDOW_MAX events. A transaction that stays open for longer than these take
 *			holds the mark back; then the older half is forgotten, and the caller is told.
 */
#include "orderctl_window.h"

#include <assert.h>
#include <string.h>

void
orderctl_window_start(OrderctlWindow *window, int64_t low)
{
	window->low = low;
	window->count = 0;
	window->has_mark = false;
}

/* How many of them are below |event_id|. */
static int
count_below(const OrderctlWindow *window, int64_t event_id)
{
	int from = 0;
	int to = window->count;

	while (from < to)
	{
		int middle = from + (to - from) / 2;

		if (window->shown[middle] < event_id)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

static void
move_low(OrderctlWindow *window, int64_t low)
{
	int below = count_below(window, low);

	window->low = low;
	window->count -= below;
	memmove(window->shown, window->shown + below, (size_t) window->count * sizeof(int64_t));
}

bool
orderctl_window_add(OrderctlWindow *window, int64_t event_id)
{
	bool has_room = window->count < ORDERCTL_WINDOW_MAX;
	int position;

	assert(event_id >= window->low);
	if (!has_room)
		move_low(window, window->shown[ORDERCTL_WINDOW_MAX / 2]);
	if (event_id < window->low)
		return false;
	position = count_below(window, event_id);
	memmove(window->shown + position + 1, window->shown + position,
			(size_t) (window->count - position) * sizeof(int64_t));
	window->shown[position] = event_id;
	window->count++;
	return has_room;
}

void
orderctl_window_advance(OrderctlWindow *window, int64_t end_id, uint64_t horizon, uint64_t xmin)
{
	if (window->has_mark && window->horizon <= xmin)
	{
		window->has_mark = false;
		if (window->end_id > window->low)
			move_low(window, window->end_id);
	}
	if (window->has_mark)
		return;
	if (horizon > xmin)
	{
		window->has_mark = true;
		window->end_id = end_id;
		window->horizon = horizon;
	}
	else if (end_id > window->low)
		move_low(window, end_id);
}
