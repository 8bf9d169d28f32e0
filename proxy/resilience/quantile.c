/*
 * quantile.c
 *		A quantile of the last values.
 *
 * DESIGN	The values are a ring, each kept as its position among log-linear counts: adding one is
 *			two changes of a count. The quantile is looked for in the counts now and then, since it
 *			moves slowly and is asked for with every call.
 */
#include "resilience/quantile.h"

#include <assert.h>

#define STEP_BITS 4

static_assert(QUANTILE_STEPS == 1 << STEP_BITS, "the steps of a doubling");
static_assert(QUANTILE_SAMPLES <= UINT16_MAX, "a count has 16 bits");

static int
position_of(int64_t value)
{
	int highest_bit = 63 - __builtin_clzll((uint64_t) value | 1);
	int doubling = highest_bit > STEP_BITS ? highest_bit - STEP_BITS : 0;

	return doubling * QUANTILE_STEPS + (int) (value >> doubling);
}

/* The largest value that is counted at a position. */
static int64_t
value_at(int position)
{
	int doubling = position < 2 * QUANTILE_STEPS ? 0 : position / QUANTILE_STEPS - 1;
	int64_t step = position - doubling * QUANTILE_STEPS;

	return ((step + 1) << doubling) - 1;
}

static void
compute(Quantile *quantile)
{
	/* Rounded up: the smallest number of values that are |percent| of all. */
	int wanted = (quantile->count * quantile->percent + 99) / 100;
	int below = 0;
	int position = 0;

	while (position < QUANTILE_COUNTS - 1 && (below += quantile->counts[position]) < wanted)
		position++;
	quantile->result = value_at(position);
	quantile->fresh = 0;
}

void
quantile_init(Quantile *quantile, int percent)
{
	assert(percent >= 1 && percent <= 99);
	*quantile = (Quantile){.percent = percent, .result = -1};
}

void
quantile_add(Quantile *quantile, int64_t value)
{
	int position;

	assert(value >= 0);
	position = position_of(value <= QUANTILE_VALUE_MAX ? value : QUANTILE_VALUE_MAX);
	assert(position < QUANTILE_COUNTS);
	if (quantile->count < QUANTILE_SAMPLES)
		quantile->count++;
	else
		quantile->counts[quantile->positions[quantile->next]]--;
	quantile->positions[quantile->next] = (uint16_t) position;
	quantile->counts[position]++;
	quantile->next = (quantile->next + 1) % QUANTILE_SAMPLES;
	quantile->fresh++;
	if (quantile->count >= QUANTILE_SAMPLES_MIN &&
		(quantile->result == -1 || quantile->fresh >= QUANTILE_REFRESH))
		compute(quantile);
}

int64_t
quantile_get(const Quantile *quantile)
{
	return quantile->result;
}
