/*
 * metrics_test.c
 *		Metrics, and how Prometheus reads them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/metrics.h"

static const double bounds[] = {0.001, 0.5, 2};

static char *
written(void)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	metrics_write(out);
	fclose(out);
	return text;
}

static void
assert_written(const char *wanted)
{
	char *text = written();

	assert_string_equal(text, wanted);
	free(text);
}

static int
teardown(void **state)
{
	(void) state;
	metrics_reset();
	return 0;
}

static void
without_metrics_nothing_is_written(void **state)
{
	(void) state;
	assert_written("");
}

static void
a_counter_counts(void **state)
{
	static MetricsCounter counter;

	(void) state;
	metrics_counter_init(&counter, "calls_total", NULL, "Calls.");
	metrics_count(&counter);
	metrics_count(&counter);
	assert_written("# HELP calls_total Calls.\n"
				   "# TYPE calls_total counter\n"
				   "calls_total 2\n");
	counter.value = UINT64_MAX;
	assert_written("# HELP calls_total Calls.\n"
				   "# TYPE calls_total counter\n"
				   "calls_total 18446744073709551615\n");
}

static void
a_gauge_has_any_value(void **state)
{
	static const struct
	{
		double value;
		const char *text;
	} cases[] = {{0, "0"},     {-2.5, "-2.5"},          {1e15, "1e+15"},
				 {0.1, "0.1"}, {INFINITY, "+Inf"},      {-INFINITY, "-Inf"},
				 {NAN, "NaN"}, {123456789, "123456789"}};
	static MetricsGauge gauge;

	(void) state;
	metrics_gauge_init(&gauge, "level", "kind=\"a\"", "Level.");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		char wanted[128];

		gauge.value = cases[i].value;
		snprintf(wanted, sizeof(wanted),
				 "# HELP level Level.\n# TYPE level gauge\nlevel{kind=\"a\"} %s\n", cases[i].text);
		assert_written(wanted);
	}
}

static void
a_histogram_is_cumulated_up_to_infinity(void **state)
{
	static MetricsHistogram histogram;

	(void) state;
	metrics_histogram_init(&histogram, "latency_seconds", "kind=\"a\"", "Latency.", bounds, 3);
	metrics_observe(&histogram, 0.001);
	metrics_observe(&histogram, 0.25);
	metrics_observe(&histogram, 0.25);
	metrics_observe(&histogram, 7);
	assert_written("# HELP latency_seconds Latency.\n"
				   "# TYPE latency_seconds histogram\n"
				   "latency_seconds_bucket{kind=\"a\",le=\"0.001\"} 1\n"
				   "latency_seconds_bucket{kind=\"a\",le=\"0.5\"} 3\n"
				   "latency_seconds_bucket{kind=\"a\",le=\"2\"} 3\n"
				   "latency_seconds_bucket{kind=\"a\",le=\"+Inf\"} 4\n"
				   "latency_seconds_sum{kind=\"a\"} 7.501\n"
				   "latency_seconds_count{kind=\"a\"} 4\n");
}

static void
a_histogram_needs_no_labels(void **state)
{
	static MetricsHistogram histogram;

	(void) state;
	metrics_histogram_init(&histogram, "size", NULL, "Size.", bounds, 1);
	assert_written("# HELP size Size.\n"
				   "# TYPE size histogram\n"
				   "size_bucket{le=\"0.001\"} 0\n"
				   "size_bucket{le=\"+Inf\"} 0\n"
				   "size_sum 0\n"
				   "size_count 0\n");
}

static void
metrics_of_one_name_are_written_together(void **state)
{
	static MetricsCounter ok;
	static MetricsCounter other;
	static MetricsCounter failed;

	(void) state;
	metrics_counter_init(&ok, "answers_total", "code=\"200\"", "Answers.");
	metrics_counter_init(&other, "other_total", NULL, "Other.");
	metrics_counter_init(&failed, "answers_total", "code=\"500\"", "Answers.");
	metrics_count(&failed);
	assert_written("# HELP answers_total Answers.\n"
				   "# TYPE answers_total counter\n"
				   "answers_total{code=\"200\"} 0\n"
				   "answers_total{code=\"500\"} 1\n"
				   "# HELP other_total Other.\n"
				   "# TYPE other_total counter\n"
				   "other_total 0\n");
}

static void
help_is_escaped(void **state)
{
	static MetricsCounter counter;

	(void) state;
	metrics_counter_init(&counter, "a_total", NULL, "One\\two\nthree.");
	assert_written("# HELP a_total One\\\\two\\nthree.\n"
				   "# TYPE a_total counter\n"
				   "a_total 0\n");
}

static void
a_second_instance_of_a_module_shares_its_metrics(void **state)
{
	static MetricsCounter counter;
	static MetricsHistogram histogram;

	(void) state;
	for (int i = 0; i < 2; i++)
	{
		metrics_counter_init(&counter, "a_total", NULL, "A.");
		metrics_histogram_init(&histogram, "size", NULL, "Size.", bounds, 3);
		metrics_count(&counter);
		metrics_observe(&histogram, 1);
	}
	assert_int_equal(counter.value, 2);
	assert_int_equal(histogram.count, 2);
}

static void
after_a_reset_everything_begins_anew(void **state)
{
	static MetricsCounter counter;
	static MetricsHistogram histogram;

	(void) state;
	metrics_counter_init(&counter, "a_total", NULL, "A.");
	metrics_histogram_init(&histogram, "size", NULL, "Size.", bounds, 3);
	metrics_count(&counter);
	metrics_reset();
	assert_written("");
	metrics_observe(&histogram, 1);
	metrics_count(&counter);
	metrics_counter_init(&counter, "a_total", NULL, "A.");
	assert_int_equal(counter.value, 0);
}

static void
the_bounds_of_latencies_rise(void **state)
{
	(void) state;
	assert_true(metrics_latency_bounds[0] == 0.0005);
	for (int i = 1; i < metrics_latency_bound_count; i++)
		assert_true(metrics_latency_bounds[i - 1] < metrics_latency_bounds[i]);
	assert_true(metrics_latency_bounds[metrics_latency_bound_count - 1] == 10);
}

#define METRICS_TEST(name) cmocka_unit_test_teardown(name, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		METRICS_TEST(without_metrics_nothing_is_written),
		METRICS_TEST(a_counter_counts),
		METRICS_TEST(a_gauge_has_any_value),
		METRICS_TEST(a_histogram_is_cumulated_up_to_infinity),
		METRICS_TEST(a_histogram_needs_no_labels),
		METRICS_TEST(metrics_of_one_name_are_written_together),
		METRICS_TEST(help_is_escaped),
		METRICS_TEST(a_second_instance_of_a_module_shares_its_metrics),
		METRICS_TEST(after_a_reset_everything_begins_anew),
		METRICS_TEST(the_bounds_of_latencies_rise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
