/*
 * bench_tally.h
 *		What order-bench counts: requests by kind and by code, latencies, losses; and its log.
 */
#ifndef BENCH_TALLY_H
#define BENCH_TALLY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/histogram.h"
#include "bench_plan.h"
#include "client.pb-c.h"
#include "reason.h"

/* One for each code of the table, then one for every other number. */
#define BENCH_CODE_ONE(code, name, grpc, repeat) +1
#define BENCH_CODE_COUNT (1 CODE_TABLE(BENCH_CODE_ONE))

/* Requests of one kind, without those of the warm-up. */
typedef struct BenchKindTally
{
	uint64_t sent; /* once, however often the connection was lost */
	uint64_t answered;
	uint64_t codes[BENCH_CODE_COUNT];
	Histogram latency; /* from when a request was to be sent to its answer, us */
} BenchKindTally;

typedef struct BenchTally
{
	BenchKindTally kinds[BENCH_KIND_COUNT];
	uint64_t warm_up_answered;

	/* With the warm-up. */
	uint64_t unavailable;     /* code 503 */
	uint64_t outcome_unknown; /* code 504 */
	uint64_t mismatched;      /* answers that break the promise of a key, or cannot be read */
	uint64_t connections_lost;
	uint64_t reconnects;
	uint64_t resent;     /* requests sent again after a loss */
	uint64_t unanswered; /* never answered at all */
	uint64_t unsent;     /* open loop: due, but never sent */

	int64_t last_answer_us; /* 0: none yet */

	/* Since the last line of progress. */
	uint64_t recent_answered;
	Histogram recent_latency;
	uint64_t refused; /* codes other than 200, since the start */

	FILE *log; /* NULL: none */
} BenchTally;

/* An answer, as far as it is counted. */
typedef struct BenchAnswer
{
	int code;
	int64_t order_id; /* 0 with an error */
	bool is_replayed;
	bool is_broken; /* cannot be read */
	int64_t now_us;
} BenchAnswer;

/* |log_path| NULL: no log. Returns NULL with errno when the log cannot be opened. */
extern BenchTally *bench_tally_new(const char *log_path);

/* Closes the log. False, with errno, when it could not be written completely. */
extern bool bench_tally_free(BenchTally *tally);

/* Counts a request that is sent for the first time, or an answer that ends it. */
extern void bench_tally_sent(BenchTally *tally, const BenchRequest *request);
extern void bench_tally_answered(BenchTally *tally, const BenchRequest *request,
								 const BenchAnswer *answer);

/* The code at a position of |codes|; 0 for the last one, which counts all others. */
extern int bench_tally_code(int position);

/* "place", "repeat" or "cancel". Static. */
extern const char *bench_tally_kind_name(BenchKind kind);

#endif /* BENCH_TALLY_H */
