/*
 * histogram.h
 *		Counts of latencies, in microseconds, from which percentiles are read: log-linear, after the
 *		idea of HdrHistogram.
 *
 * Pure: no allocation, about 190 KB each. Every value from 0 to HISTOGRAM_VALUE_MAX is kept with
 * three significant digits: what is read back is at most one thousandth above what was recorded.
 */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

/* One hour. */
#define HISTOGRAM_VALUE_MAX INT64_C(3600000000)

/*
 * Values below 2048 have a count each. Above, every doubling of the value is cut into 1024 counts;
 * HISTOGRAM_VALUE_MAX has 32 bits, so there are 21 doublings.
 */
#define HISTOGRAM_LINEAR_COUNT 2048
#define HISTOGRAM_DOUBLING_COUNT 1024
#define HISTOGRAM_DOUBLINGS 21
#define HISTOGRAM_COUNTS (HISTOGRAM_LINEAR_COUNT + HISTOGRAM_DOUBLINGS * HISTOGRAM_DOUBLING_COUNT)

/* A zeroed one is empty. */
typedef struct Histogram
{
	uint64_t count;
	uint64_t
		over_count; /* of these, how many were above HISTOGRAM_VALUE_MAX and recorded as that */
	int64_t min;    /* exact; 0 while empty */
	int64_t max;    /* exact; 0 while empty */
	uint64_t sum;
	uint64_t counts[HISTOGRAM_COUNTS];
} Histogram;

/* Empties it. */
extern void histogram_reset(Histogram *histogram);

/* Counts a value in constant time; one that is out of range counts as the end of the range. */
extern void histogram_record(Histogram *histogram, int64_t value);

/*
 * The smallest value, to three digits, that |percent| of the values do not exceed: 50 is the
 * median. Within the recorded minimum and maximum; 0 while empty. |percent| is within 0 to 100.
 */
extern int64_t histogram_percentile(const Histogram *histogram, double percent);

/* The mean of the values; 0 while empty. */
extern double histogram_mean(const Histogram *histogram);

/* Adds what |other| has counted. */
extern void histogram_merge(Histogram *histogram, const Histogram *other);

#endif /* HISTOGRAM_H */
