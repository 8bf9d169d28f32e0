/*
 * bench_run.h
 *		A run of order-bench: connects, warms up, sends at its rate or in a closed loop, waits for
 *		the last answers.
 */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "bench_options.h"
#include "bench_tally.h"

typedef struct BenchResult
{
	double seconds;  /* from the end of the warm-up to the last answer */
	char error[512]; /* why there was no run, or it was broken off; "" otherwise */
} BenchResult;

/*
 * Runs to the end and counts in |tally|. Writes progress to standard error when that is a terminal.
 * SIGINT and SIGTERM end the sending; once more, the waiting for answers, too.
 */
extern void bench_run(const BenchOptions *options, BenchTally *tally, BenchResult *result);

#endif /* BENCH_RUN_H */
