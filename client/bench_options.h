/*
 * bench_options.h
 *		The command line of order-bench.
 */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "client.pb-c.h"

/* Texts live until bench_options_free(). */
typedef struct BenchOptions
{
	const char *server; /* "host:port" */
	char **sessions;    /* at least one. Never print them. */
	int session_count;
	int connection_count;
	bool is_reconnecting; /* a lost connection is made again, its requests sent again */

	bool is_open_loop;
	int64_t rate;      /* open loop: requests a second */
	int burst_max;     /* open loop: requests due together that go out on one connection */
	int in_flight_max; /* of one connection */

	/* How long: one of the two is 0. Both without the warm-up. */
	int64_t request_count;
	int64_t duration_us;
	int64_t warm_up_us;
	int64_t patience_us; /* at the end, without a single answer */

	int repeat_percent;
	int cancel_percent;
	char **symbols; /* at least one */
	int symbol_count;
	bool is_buying;
	bool is_selling;
	int64_t quantity;
	int64_t price; /* micro-units; 0: market orders */
	uint64_t seed;

	const char *json_path; /* NULL: none */
	const char *log_path;  /* NULL: none */
} BenchOptions;

/*
 * Reads them. False: there is nothing to run, and |*exit_code| says how to end; help was written to
 * standard output, or what is wrong to standard error. A session id is wiped from |argv|.
 */
extern bool bench_options_read(BenchOptions *options, int argc, char **argv, int *exit_code);

/* Frees what was read. */
extern void bench_options_free(BenchOptions *options);

#endif /* BENCH_OPTIONS_H */
