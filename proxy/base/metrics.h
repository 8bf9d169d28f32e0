/*
 * metrics.h
 *		Counters, gauges and histograms, written in Prometheus' text format.
 *
 * A metric is a variable of its module, registered by its _init function and never taken out; it
 * must live until metrics_reset(). A static one that is registered again, by a second instance of
 * the module, stays as it is.
 * Metrics of the same name with other labels are separate variables, registered one after another.
 * Names, labels and help are string literals (or live as long as the process).
 */
#ifndef METRICS_H
#define METRICS_H

#include <stdint.h>
#include <stdio.h>
#include <sys/queue.h>

typedef enum MetricType
{
	METRIC_COUNTER,
	METRIC_GAUGE,
	METRIC_HISTOGRAM,
} MetricType;

typedef struct Metric
{
	STAILQ_ENTRY(Metric) link;
	MetricType type;
	const char *name;
	const char *labels; /* such as `code="200"`; NULL for none */
	const char *help;   /* one sentence, with unit */
} Metric;

typedef struct MetricsCounter
{
	Metric metric; /* must be first */
	uint64_t value;
} MetricsCounter;

typedef struct MetricsGauge
{
	Metric metric; /* must be first */
	double value;
} MetricsGauge;

/* Counts of values up to each bound; one above the last bound is in |count| and |sum| only. */
typedef struct MetricsHistogram
{
	Metric metric; /* must be first */
	const double *bounds;
	int bound_count;
	uint64_t *counts; /* bound_count of them, not cumulated */
	uint64_t count;
	double sum;
} MetricsHistogram;

/* Bounds for latencies of requests: 0.5 ms to 10 s, in seconds. */
extern const double metrics_latency_bounds[];
extern const int metrics_latency_bound_count;

/* Registers a counter. Its name ends in `_total`. */
extern void metrics_counter_init(MetricsCounter *counter, const char *name, const char *labels,
								 const char *help);

/* One more. */
static inline void
metrics_count(MetricsCounter *counter)
{
	counter->value++;
}

/* Registers a gauge; the owner sets its value. */
extern void metrics_gauge_init(MetricsGauge *gauge, const char *name, const char *labels,
							   const char *help);

/* |bounds| rise and outlive the histogram. */
extern void metrics_histogram_init(MetricsHistogram *histogram, const char *name,
								   const char *labels, const char *help, const double *bounds,
								   int bound_count);

/* Counts a value. */
extern void metrics_observe(MetricsHistogram *histogram, double value);

/* Writes all metrics, one HELP and TYPE per name. */
extern void metrics_write(FILE *out);

/* Forgets all metrics and frees what histograms count in: at the end of the process, in tests. */
extern void metrics_reset(void);

#endif /* METRICS_H */
