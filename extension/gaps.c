/*
 * gaps.c
 *		The event ids of which the publisher does not know what became.
 *
 * DESIGN	A sorted array. In normal running it has as many entries as transactions are open, all
 *			near its end, so moving the tail costs nothing. A large rollback, a pruned stretch and
 *			the jump of the ids after a failover are one entry each, however many ids they span.
 *
 * LIMITS	The array has a fixed capacity. When it is full, a gap is merged with its neighbour: ids
 *			between them that were known become undecided again. That is always safe: the table is
 *			asked once more and says SENT.
 */
#include "gaps.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

void
gaps_init(Gaps *gaps, Gap *items, int capacity, int64_t head)
{
	assert(items != NULL);
	assert(capacity >= 4);
	assert(head >= 0);
	*gaps = (Gaps){.head = head, .items = items, .count = 0, .capacity = capacity};
}

/* Index of the first gap that ends above |id|: it contains the id or lies above it. */
static int
position_of(const Gaps *gaps, int64_t id)
{
	int low = 0;
	int high = gaps->count;

	while (low < high)
	{
		int middle = low + (high - low) / 2;

		if (gaps->items[middle].to <= id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void
remove_at(Gaps *gaps, int index, int count)
{
	assert(index + count <= gaps->count);
	memmove(&gaps->items[index], &gaps->items[index + count],
			sizeof(Gap) * (size_t) (gaps->count - index - count));
	gaps->count -= count;
}

/*
 * Makes |gap| wide enough to cover |other| too, with the more careful horizon and the earlier time.
 */
static void
merge_into(Gap *gap, const Gap *other)
{
	if (other->from < gap->from)
		gap->from = other->from;
	if (other->to > gap->to)
		gap->to = other->to;
	if (other->horizon > gap->horizon)
		gap->horizon = other->horizon;
	if (other->not_before < gap->not_before)
		gap->not_before = other->not_before;
}

/* Inserts a gap that overlaps none, before index |index|. */
static void
insert_at(Gaps *gaps, int index, const Gap *gap)
{
	assert(gap->from < gap->to);
	assert(index == 0 || gaps->items[index - 1].to <= gap->from);
	assert(index == gaps->count || gap->to <= gaps->items[index].from);
	if (gaps->count == gaps->capacity)
	{
		merge_into(&gaps->items[index > 0 ? index - 1 : index], gap);
		return;
	}
	memmove(&gaps->items[index + 1], &gaps->items[index],
			sizeof(Gap) * (size_t) (gaps->count - index));
	gaps->items[index] = *gap;
	gaps->count++;
}

bool
gaps_contain(const Gaps *gaps, int64_t id)
{
	const Gap *gap;

	if (id >= gaps->head)
		return true;
	gap = gaps_find(gaps, id);
	return gap != NULL && gap->from <= id;
}

const Gap *
gaps_find(const Gaps *gaps, int64_t id)
{
	int index = position_of(gaps, id);

	return index < gaps->count ? &gaps->items[index] : NULL;
}

void
gaps_extend(Gaps *gaps, int64_t head, uint64_t horizon)
{
	Gap gap = {.from = gaps->head, .to = head, .horizon = horizon};

	if (head <= gaps->head)
		return;
	insert_at(gaps, gaps->count, &gap);
	gaps->head = head;
}

void
gaps_take(Gaps *gaps, int64_t id, uint64_t horizon)
{
	if (id >= gaps->head)
	{
		gaps_extend(gaps, id, horizon);
		gaps->head = id + 1;
		return;
	}
	gaps_close(gaps, id, id + 1);
}

void
gaps_put(Gaps *gaps, const Gap *gap)
{
	int index;

	assert(gap->from < gap->to);
	assert(gap->to <= gaps->head);
	gaps_close(gaps, gap->from, gap->to);
	index = position_of(gaps, gap->from);
	/* A full set may not have been able to close what lies in the middle of a gap. */
	if (index < gaps->count && gaps->items[index].from <= gap->from)
		merge_into(&gaps->items[index], gap);
	else
		insert_at(gaps, index, gap);
}

void
gaps_close(Gaps *gaps, int64_t from, int64_t to)
{
	int index = position_of(gaps, from);
	int last;

	assert(from < to);
	assert(to <= gaps->head);
	if (index < gaps->count && gaps->items[index].from < from)
	{
		Gap *gap = &gaps->items[index];

		if (gap->to > to)
		{
			Gap upper = *gap;

			/* A full set keeps the whole gap: undecided is the careful answer. */
			if (gaps->count == gaps->capacity)
				return;
			upper.from = to;
			gap->to = from;
			insert_at(gaps, index + 1, &upper);
			return;
		}
		gap->to = from;
		index++;
	}
	for (last = index; last < gaps->count && gaps->items[last].to <= to; last++)
		continue;
	remove_at(gaps, index, last - index);
	if (index < gaps->count && gaps->items[index].from < to)
		gaps->items[index].from = to;
}

const Gap *
gaps_next_due(const Gaps *gaps, int64_t from, uint64_t oldest_running, int64_t now, bool eager)
{
	for (int i = position_of(gaps, from); i < gaps->count; i++)
	{
		const Gap *gap = &gaps->items[i];

		if (gap->not_before <= now && (eager || gap->horizon <= oldest_running))
			return gap;
	}
	return NULL;
}

int64_t
gaps_low_water(const Gaps *gaps)
{
	return gaps->count > 0 ? gaps->items[0].from : gaps->head;
}
