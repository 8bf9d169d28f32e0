/*
 * bench_tally.c
 *		What order-bench counts.
 *
 * DESIGN	The log has a line for each answered request, `KEY KIND ORDER_ID CODE REPLAYED`, for who
 *			wants to compare what was acknowledged with what is in the database. Order id 0: none;
 *			REPLAYED is 0 or 1. A key that stands in it twice was repeated.
 */
#include "bench_tally.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/bytes.h"

#define LOG_BUFFER_SIZE (1024 * 1024)

static const int codes[BENCH_CODE_COUNT] = {
#define BENCH_CODE(code, name, grpc, repeat) code,
	CODE_TABLE(BENCH_CODE)
#undef BENCH_CODE
	/* then 0 */
};

static const char *const kind_names[BENCH_KIND_COUNT] = {
	[BENCH_PLACE] = "place",
	[BENCH_REPEAT] = "repeat",
	[BENCH_CANCEL] = "cancel",
};

int
bench_tally_code(int position)
{
	return codes[position];
}

const char *
bench_tally_kind_name(BenchKind kind)
{
	return kind_names[kind];
}

BenchTally *
bench_tally_new(const char *log_path)
{
	BenchTally *tally = bytes_new_zeroed(1, sizeof(BenchTally));

	if (log_path == NULL)
		return tally;
	tally->log = fopen(log_path, "we");
	if (tally->log == NULL)
	{
		free(tally);
		return NULL;
	}
	setvbuf(tally->log, NULL, _IOFBF, LOG_BUFFER_SIZE);
	return tally;
}

bool
bench_tally_free(BenchTally *tally)
{
	bool is_written = true;

	if (tally->log != NULL)
	{
		is_written = !ferror(tally->log);
		is_written = fclose(tally->log) == 0 && is_written;
	}
	free(tally);
	return is_written;
}

void
bench_tally_sent(BenchTally *tally, const BenchRequest *request)
{
	if (request->is_measured)
		tally->kinds[request->kind].sent++;
}

static int
position_of(int code)
{
	int position = 0;

	while (position < BENCH_CODE_COUNT - 1 && codes[position] != code)
		position++;
	return position;
}

/* A repeated key must bring back its order and say so; a refusal says nothing about orders. */
static bool
is_mismatch(const BenchRequest *request, const BenchAnswer *answer)
{
	if (answer->is_broken)
		return true;
	return request->kind == BENCH_REPEAT && answer->order_id != 0 &&
		   (!answer->is_replayed || answer->order_id != request->order_id);
}

void
bench_tally_answered(BenchTally *tally, const BenchRequest *request, const BenchAnswer *answer)
{
	BenchKindTally *kind = &tally->kinds[request->kind];
	int64_t latency_us = answer->now_us - request->intended_us;

	tally->last_answer_us = answer->now_us;
	tally->recent_answered++;
	histogram_record(&tally->recent_latency, latency_us);
	tally->refused += answer->code != CODE_OK;
	tally->unavailable += answer->code == CODE_UNAVAILABLE;
	tally->outcome_unknown += answer->code == CODE_OUTCOME_UNKNOWN;
	tally->mismatched += is_mismatch(request, answer);

	if (request->is_measured)
	{
		kind->answered++;
		kind->codes[position_of(answer->code)]++;
		histogram_record(&kind->latency, latency_us);
	}
	else
		tally->warm_up_answered++;
	if (tally->log != NULL)
		fprintf(tally->log, "%s %s %" PRId64 " %d %d\n", request->key, kind_names[request->kind],
				answer->order_id, answer->code, answer->is_replayed);
}
