/*
 * histogram.c
 *		Counts of latencies, log-linear.
 *
 * DESIGN	The position of a value is made of the position of its highest bit (the doubling) and
 *			the ten bits behind it. Two shifts, no search, no floating point when recording:
 *
 *				value      doubling  step   counts
 *				0..2047    0         1      2048
 *				..4095     1         2      1024
 *				..8191     2         4      1024
 *				...
 *
 *			The step is at most 1/1024 of the value: three digits.
 */
#include "base/histogram.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#define BITS_BELOW_HIGHEST 10

static_assert(HISTOGRAM_DOUBLING_COUNT == 1 << BITS_BELOW_HIGHEST,
			  "one count for each of the bits");
static_assert(HISTOGRAM_LINEAR_COUNT == 2 * HISTOGRAM_DOUBLING_COUNT, "the steps begin at 1");
static_assert(HISTOGRAM_VALUE_MAX >> (HISTOGRAM_DOUBLINGS + BITS_BELOW_HIGHEST) == 1,
			  "the largest value lies in the last doubling");

static int
doubling_of(int64_t value)
{
	int highest_bit = 63 - __builtin_clzll((uint64_t) value | 1);

	return highest_bit > BITS_BELOW_HIGHEST ? highest_bit - BITS_BELOW_HIGHEST : 0;
}

static int
position_of(int64_t value)
{
	int doubling = doubling_of(value);

	return doubling * HISTOGRAM_DOUBLING_COUNT + (int) (value >> doubling);
}

/* The largest value that is counted at a position. */
static int64_t
value_at(int position)
{
	int doubling = 0;
	int64_t step;

	if (position >= HISTOGRAM_LINEAR_COUNT)
		doubling = position / HISTOGRAM_DOUBLING_COUNT - 1;
	step = position - doubling * HISTOGRAM_DOUBLING_COUNT;
	return ((step + 1) << doubling) - 1;
}

void
histogram_reset(Histogram *histogram)
{
	memset(histogram, 0, sizeof(*histogram));
}

void
histogram_record(Histogram *histogram, int64_t value)
{
	int position;

	if (value < 0)
		value = 0;
	if (value > HISTOGRAM_VALUE_MAX)
	{
		value = HISTOGRAM_VALUE_MAX;
		histogram->over_count++;
	}
	position = position_of(value);
	assert(position < HISTOGRAM_COUNTS);

	if (histogram->count == 0 || value < histogram->min)
		histogram->min = value;
	if (value > histogram->max)
		histogram->max = value;
	histogram->count++;
	histogram->sum += (uint64_t) value;
	histogram->counts[position]++;
}

int64_t
histogram_percentile(const Histogram *histogram, double percent)
{
	uint64_t rank;
	uint64_t passed = 0;

	assert(percent >= 0 && percent <= 100);
	if (histogram->count == 0)
		return 0;
	rank = (uint64_t) ceil((double) histogram->count * percent / 100.0);
	if (rank <= 1)
		return histogram->min;
	for (int i = position_of(histogram->min); i < HISTOGRAM_COUNTS; i++)
	{
		passed += histogram->counts[i];
		if (passed >= rank)
			return value_at(i) < histogram->max ? value_at(i) : histogram->max;
	}
	return histogram->max;
}

double
histogram_mean(const Histogram *histogram)
{
	return histogram->count > 0 ? (double) histogram->sum / (double) histogram->count : 0;
}

void
histogram_merge(Histogram *histogram, const Histogram *other)
{
	if (other->count == 0)
		return;
	if (histogram->count == 0 || other->min < histogram->min)
		histogram->min = other->min;
	if (other->max > histogram->max)
		histogram->max = other->max;
	histogram->count += other->count;
	histogram->over_count += other->over_count;
	histogram->sum += other->sum;
	for (int i = 0; i < HISTOGRAM_COUNTS; i++)
		histogram->counts[i] += other->counts[i];
}
