/*
 * metrics.c
 *		Counters, gauges and histograms, written in Prometheus' text format 0.0.4.
 *
 * DESIGN	One list in the order of registration. Writing gathers the metrics of a name at the
 *			place of its first one: quadratic, but there are a hundred or so, and a scrape comes
 *			every few seconds.
 */
#include "base/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

static STAILQ_HEAD(, Metric) all_metrics = STAILQ_HEAD_INITIALIZER(all_metrics);

const double metrics_latency_bounds[] = {0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075,
										 0.01,   0.02,  0.03,  0.05,  0.075, 0.1,
										 0.2,    0.5,   1,     2,     5,     10};
const int metrics_latency_bound_count =
	sizeof(metrics_latency_bounds) / sizeof(metrics_latency_bounds[0]);

static bool
is_same_text(const char *one, const char *other)
{
	return one == other || (one != NULL && other != NULL && strcmp(one, other) == 0);
}

/* False when the variable is registered already: a second instance of its module shares it. */
static bool
add(Metric *metric, MetricType type, const char *name, const char *labels, const char *help)
{
	Metric *known;

	STAILQ_FOREACH(known, &all_metrics, link)
	{
		if (known == metric)
			return false;
		if (strcmp(known->name, name) == 0)
			assert(known->type == type && !is_same_text(known->labels, labels));
	}
	*metric = (Metric){.type = type, .name = name, .labels = labels, .help = help};
	STAILQ_INSERT_TAIL(&all_metrics, metric, link);
	return true;
}

void
metrics_counter_init(MetricsCounter *counter, const char *name, const char *labels,
					 const char *help)
{
	if (add(&counter->metric, METRIC_COUNTER, name, labels, help))
		counter->value = 0;
}

void
metrics_gauge_init(MetricsGauge *gauge, const char *name, const char *labels, const char *help)
{
	if (add(&gauge->metric, METRIC_GAUGE, name, labels, help))
		gauge->value = 0;
}

void
metrics_histogram_init(MetricsHistogram *histogram, const char *name, const char *labels,
					   const char *help, const double *bounds, int bound_count)
{
	for (int i = 1; i < bound_count; i++)
		assert(bounds[i - 1] < bounds[i]);
	if (!add(&histogram->metric, METRIC_HISTOGRAM, name, labels, help))
		return;
	histogram->bounds = bounds;
	histogram->bound_count = bound_count;
	histogram->counts = bytes_new_zeroed((size_t) bound_count, sizeof(histogram->counts[0]));
	histogram->count = 0;
	histogram->sum = 0;
}

void
metrics_observe(MetricsHistogram *histogram, double value)
{
	histogram->count++;
	histogram->sum += value;
	for (int i = 0; i < histogram->bound_count; i++)
	{
		if (value <= histogram->bounds[i])
		{
			histogram->counts[i]++;
			break;
		}
	}
}

static void
write_double(FILE *out, double value)
{
	if (isnan(value))
		fputs("NaN", out);
	else if (isinf(value))
		fputs(value > 0 ? "+Inf" : "-Inf", out);
	else
		fprintf(out, "%.15g", value);
}

static void
write_help(FILE *out, const char *help)
{
	for (; *help != '\0'; help++)
	{
		if (*help == '\\')
			fputs("\\\\", out);
		else if (*help == '\n')
			fputs("\\n", out);
		else
			fputc(*help, out);
	}
}

/* The part of a line before its value. |bound| is that of a bucket, or NULL. */
static void
write_name(FILE *out, const Metric *metric, const char *suffix, const double *bound)
{
	fprintf(out, "%s%s", metric->name, suffix);
	if (metric->labels != NULL || bound != NULL)
	{
		fprintf(out, "{%s", metric->labels == NULL ? "" : metric->labels);
		if (bound != NULL)
		{
			fputs(metric->labels == NULL ? "le=\"" : ",le=\"", out);
			write_double(out, *bound);
			fputc('"', out);
		}
		fputc('}', out);
	}
	fputc(' ', out);
}

static void
write_histogram(FILE *out, const MetricsHistogram *histogram)
{
	static const double infinity = INFINITY;
	uint64_t below = 0;

	for (int i = 0; i < histogram->bound_count; i++)
	{
		below += histogram->counts[i];
		write_name(out, &histogram->metric, "_bucket", &histogram->bounds[i]);
		fprintf(out, "%" PRIu64 "\n", below);
	}
	write_name(out, &histogram->metric, "_bucket", &infinity);
	fprintf(out, "%" PRIu64 "\n", histogram->count);
	write_name(out, &histogram->metric, "_sum", NULL);
	write_double(out, histogram->sum);
	fputc('\n', out);
	write_name(out, &histogram->metric, "_count", NULL);
	fprintf(out, "%" PRIu64 "\n", histogram->count);
}

static void
write_metric(FILE *out, const Metric *metric)
{
	switch (metric->type)
	{
		case METRIC_COUNTER:
			write_name(out, metric, "", NULL);
			fprintf(out, "%" PRIu64 "\n", ((const MetricsCounter *) metric)->value);
			break;
		case METRIC_GAUGE:
			write_name(out, metric, "", NULL);
			write_double(out, ((const MetricsGauge *) metric)->value);
			fputc('\n', out);
			break;
		case METRIC_HISTOGRAM:
			write_histogram(out, (const MetricsHistogram *) metric);
			break;
	}
}

static bool
is_first_of_name(const Metric *metric)
{
	const Metric *other;

	STAILQ_FOREACH(other, &all_metrics, link)
	{
		if (strcmp(other->name, metric->name) == 0)
			break;
	}
	return other == metric;
}

void
metrics_write(FILE *out)
{
	static const char *const types[] = {"counter", "gauge", "histogram"};
	const Metric *first;
	const Metric *metric;

	STAILQ_FOREACH(first, &all_metrics, link)
	{
		if (!is_first_of_name(first))
			continue;
		fprintf(out, "# HELP %s ", first->name);
		write_help(out, first->help);
		fprintf(out, "\n# TYPE %s %s\n", first->name, types[first->type]);
		for (metric = first; metric != NULL; metric = STAILQ_NEXT(metric, link))
		{
			if (strcmp(metric->name, first->name) == 0)
				write_metric(out, metric);
		}
	}
}

void
metrics_reset(void)
{
	Metric *metric;

	STAILQ_FOREACH(metric, &all_metrics, link)
	{
		if (metric->type == METRIC_HISTOGRAM)
		{
			MetricsHistogram *histogram = (MetricsHistogram *) metric;

			/* Observed once more, it still counts, without buckets. */
			free(histogram->counts);
			histogram->counts = NULL;
			histogram->bound_count = 0;
		}
	}
	STAILQ_INIT(&all_metrics);
}
