/*
 * order-bench.c
 *		The load generator of order-proxy: `order-bench --help`.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "bench_options.h"
#include "bench_report.h"
#include "bench_run.h"
#include "bench_tally.h"

static double
cpu_seconds(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) == -1)
		return 0;
	return (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		   (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / CLOCK_SECOND;
}

/* As many descriptors as the system allows; connecting tells when they are too few. */
static void
raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static uint64_t
answered_in_all(const BenchTally *tally)
{
	uint64_t count = tally->warm_up_answered;

	for (int i = 0; i < BENCH_KIND_COUNT; i++)
		count += tally->kinds[i].answered;
	return count;
}

/* Runs and reports. False when it did not go as it should. */
static bool
run(const BenchOptions *options, BenchTally *tally)
{
	double cpu_before = cpu_seconds();
	BenchSummary summary = {.options = options, .tally = tally};
	BenchResult result;
	bool is_good;

	bench_run(options, tally, &result);
	summary.seconds = result.seconds;
	summary.cpu_seconds = cpu_seconds() - cpu_before;
	summary.cpu_requests = answered_in_all(tally);
	is_good = result.error[0] == '\0' && tally->unanswered == 0 && tally->unsent == 0 &&
			  tally->mismatched == 0;

	if (result.error[0] != '\0')
		fprintf(stderr, "order-bench: %s\n", result.error);
	if (result.error[0] == '\0' || summary.cpu_requests > 0)
		bench_report_table(stdout, &summary);
	if (options->json_path != NULL && !bench_report_json(options->json_path, &summary))
	{
		fprintf(stderr, "order-bench: \"%s\" cannot be written: %s\n", options->json_path,
				strerror(errno));
		is_good = false;
	}
	return is_good;
}

int
main(int argc, char **argv)
{
	BenchOptions options;
	BenchTally *tally;
	int exit_code;
	bool is_good;

	if (!bench_options_read(&options, argc, argv, &exit_code))
		return exit_code;
	/* The log of the library is for servers; what matters here is printed. */
	log_configure(LOG_ERROR, LOG_FORMAT_TEXT);
	raise_descriptor_limit();
	tally = bench_tally_new(options.log_path);
	if (tally == NULL)
	{
		fprintf(stderr, "order-bench: \"%s\" cannot be written: %s\n", options.log_path,
				strerror(errno));
		bench_options_free(&options);
		return EXIT_FAILURE;
	}
	is_good = run(&options, tally);
	if (!bench_tally_free(tally))
	{
		fprintf(stderr, "order-bench: \"%s\" cannot be written: %s\n", options.log_path,
				strerror(errno));
		is_good = false;
	}
	bench_options_free(&options);
	metrics_reset();
	return is_good ? EXIT_SUCCESS : EXIT_FAILURE;
}
