/*
 * bench_report.h
 *		What order-bench tells: a line while it runs, a table and JSON at the end.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bench_options.h"
#include "bench_tally.h"

/* How a run went. */
typedef struct BenchSummary
{
	const BenchOptions *options;
	const BenchTally *tally;
	double seconds;        /* from the end of the warm-up to the last answer */
	double cpu_seconds;    /* of order-bench itself, with the warm-up */
	uint64_t cpu_requests; /* answered in that time */
} BenchSummary;

/* Where a run is. */
typedef struct BenchProgress
{
	double seconds;        /* since the start */
	double recent_seconds; /* since the line before */
	uint64_t in_flight;
	uint64_t behind; /* open loop: due and not yet sent */
} BenchProgress;

/* Overwrites the line of a terminal, and begins anew to count what is recent. */
extern void bench_report_progress(FILE *out, const BenchProgress *progress, BenchTally *tally);

/* Removes the line. */
extern void bench_report_progress_end(FILE *out);

/* Writes what was counted, for people. */
extern void bench_report_table(FILE *out, const BenchSummary *summary);

/* Writes a file. False, with errno, when it cannot be written. */
extern bool bench_report_json(const char *path, const BenchSummary *summary);

#endif /* BENCH_REPORT_H */
