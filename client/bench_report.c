/*
 * bench_report.c
 *		What order-bench tells.
 */
#include "bench_report.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>

#include "base/clock.h"
#include "decimal.h"

#define MS(us) ((double) (us) / CLOCK_MS)

typedef struct ReportedPercentile
{
	const char *name;
	double percent;
} ReportedPercentile;

static const ReportedPercentile percentiles[] = {
	{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}, {"max", 100},
};

#define PERCENTILE_COUNT ((int) (sizeof(percentiles) / sizeof(percentiles[0])))

/* ----- While it runs ----------------------------------------------------------------------- */

void
bench_report_progress(FILE *out, const BenchProgress *progress, BenchTally *tally)
{
	const Histogram *latency = &tally->recent_latency;

	fprintf(out,
			"\r%7.1f s  %8.0f/s  in flight %" PRIu64 "  p50 %.2f ms  p99 %.2f ms  refused %" PRIu64,
			progress->seconds, (double) tally->recent_answered / progress->recent_seconds,
			progress->in_flight, MS(histogram_percentile(latency, 50)),
			MS(histogram_percentile(latency, 99)), tally->refused);
	if (progress->behind > 0)
		fprintf(out, "  behind %" PRIu64, progress->behind);
	if (tally->connections_lost > 0)
		fprintf(out, "  lost %" PRIu64, tally->connections_lost);
	fputs("\033[K", out);
	fflush(out);
	tally->recent_answered = 0;
	histogram_reset(&tally->recent_latency);
}

void
bench_report_progress_end(FILE *out)
{
	fputs("\r\033[K", out);
	fflush(out);
}

/* ----- Sums over the kinds ----------------------------------------------------------------- */

/* Too large for the stack of a careful program. */
static BenchKindTally all;

static void
sum_up(const BenchTally *tally)
{
	all = (BenchKindTally){0};
	for (int i = 0; i < BENCH_KIND_COUNT; i++)
	{
		const BenchKindTally *kind = &tally->kinds[i];

		all.sent += kind->sent;
		all.answered += kind->answered;
		for (int j = 0; j < BENCH_CODE_COUNT; j++)
			all.codes[j] += kind->codes[j];
		histogram_merge(&all.latency, &kind->latency);
	}
}

static double
rate_of(const BenchSummary *summary, uint64_t count)
{
	return summary->seconds > 0 ? (double) count / summary->seconds : 0;
}

static double
cpu_us_per_request(const BenchSummary *summary)
{
	return summary->cpu_requests > 0
			   ? summary->cpu_seconds * CLOCK_SECOND / (double) summary->cpu_requests
			   : 0;
}

/* ----- Table ------------------------------------------------------------------------------- */

static void
write_kind(FILE *out, const char *name, const BenchKindTally *kind, const BenchSummary *summary)
{
	if (kind->sent == 0)
		return;
	fprintf(out, "%-8s %10" PRIu64 " %10" PRIu64 " %10.1f ", name, kind->sent, kind->answered,
			rate_of(summary, kind->answered));
	for (int i = 0; i < PERCENTILE_COUNT; i++)
		fprintf(out, " %9.3f", MS(histogram_percentile(&kind->latency, percentiles[i].percent)));
	fputc('\n', out);
}

static void
write_code(FILE *out, int position, const BenchTally *tally)
{
	int code = bench_tally_code(position);
	const char *name = reason_code_name(code);

	if (all.codes[position] == 0)
		return;
	fprintf(out, "%3d %-16s", code, name != NULL ? name : "(other)");
	for (int i = 0; i < BENCH_KIND_COUNT; i++)
		fprintf(out, " %10" PRIu64, tally->kinds[i].codes[position]);
	fputc('\n', out);
}

static void
write_head(FILE *out, const BenchOptions *options)
{
	fprintf(out, "%s, %d connection%s, ", options->server, options->connection_count,
			options->connection_count == 1 ? "" : "s");
	if (options->is_open_loop)
		fprintf(out, "open loop at %" PRId64 "/s (latency from when a request was due)\n\n",
				options->rate);
	else
		fprintf(out, "closed loop with %d in flight on each\n\n", options->in_flight_max);
}

static void
write_losses(FILE *out, const BenchTally *tally)
{
	fprintf(out,
			"connections lost %" PRIu64 ", made again %" PRIu64 ", requests sent again %" PRIu64
			"\n",
			tally->connections_lost, tally->reconnects, tally->resent);
	fprintf(out, "unavailable (503) %" PRIu64 ", outcome unknown (504) %" PRIu64 "\n",
			tally->unavailable, tally->outcome_unknown);
	if (tally->mismatched > 0)
		fprintf(out, "WRONG ANSWERS %" PRIu64 ": a repeated key did not bring back its order\n",
				tally->mismatched);
	if (tally->unsent > 0)
		fprintf(out, "NEVER SENT %" PRIu64 ": the server did not keep up\n", tally->unsent);
	fprintf(out, "never answered %" PRIu64 "\n", tally->unanswered);
}

void
bench_report_table(FILE *out, const BenchSummary *summary)
{
	const BenchTally *tally = summary->tally;

	sum_up(tally);
	write_head(out, summary->options);
	fprintf(out, "%-8s %10s %10s %10s ", "requests", "sent", "answered", "rate/s");
	for (int i = 0; i < PERCENTILE_COUNT; i++)
		fprintf(out, " %6s ms", percentiles[i].name);
	fputc('\n', out);
	for (int i = 0; i < BENCH_KIND_COUNT; i++)
		write_kind(out, bench_tally_kind_name((BenchKind) i), &tally->kinds[i], summary);
	write_kind(out, "all", &all, summary);

	fprintf(out, "\n%-20s", "answers by code");
	for (int i = 0; i < BENCH_KIND_COUNT; i++)
		fprintf(out, " %10s", bench_tally_kind_name((BenchKind) i));
	fputc('\n', out);
	for (int i = 0; i < BENCH_CODE_COUNT; i++)
		write_code(out, i, tally);

	fputc('\n', out);
	write_losses(out, tally);
	fprintf(out, "%.1f s measured", summary->seconds);
	if (summary->options->warm_up_us > 0)
		fprintf(out, " after a warm-up with %" PRIu64 " answers", tally->warm_up_answered);
	fprintf(out, "; order-bench itself: %.1f us of CPU for each request\n",
			cpu_us_per_request(summary));
}

/* ----- JSON -------------------------------------------------------------------------------- */

static json_t *
latency_value(const Histogram *latency)
{
	json_t *object = json_object();

	json_object_set_new(object, "min", json_integer(latency->min));
	json_object_set_new(object, "mean", json_real(histogram_mean(latency)));
	for (int i = 0; i < PERCENTILE_COUNT; i++)
		json_object_set_new(object, percentiles[i].name,
							json_integer(histogram_percentile(latency, percentiles[i].percent)));
	return object;
}

static json_t *
kind_value(const BenchKindTally *kind, const BenchSummary *summary)
{
	json_t *object = json_object();
	json_t *codes = json_object();
	char name[16];

	for (int i = 0; i < BENCH_CODE_COUNT; i++)
	{
		snprintf(name, sizeof(name), "%d", bench_tally_code(i));
		if (kind->codes[i] > 0)
			json_object_set_new(codes, name, json_integer((json_int_t) kind->codes[i]));
	}
	json_object_set_new(object, "sent", json_integer((json_int_t) kind->sent));
	json_object_set_new(object, "answered", json_integer((json_int_t) kind->answered));
	json_object_set_new(object, "rate", json_real(rate_of(summary, kind->answered)));
	json_object_set_new(object, "codes", codes);
	json_object_set_new(object, "latency_us", latency_value(&kind->latency));
	return object;
}

static json_t *
options_value(const BenchOptions *options)
{
	json_t *object = json_object();
	json_t *symbols = json_array();
	char price[DECIMAL_TEXT_SIZE];

	for (int i = 0; i < options->symbol_count; i++)
		json_array_append_new(symbols, json_string(options->symbols[i]));
	decimal_format(options->price, price);
	json_object_set_new(object, "server", json_string(options->server));
	json_object_set_new(object, "loop", json_string(options->is_open_loop ? "open" : "closed"));
	if (options->is_open_loop)
		json_object_set_new(object, "rate", json_integer(options->rate));
	json_object_set_new(object, "connections", json_integer(options->connection_count));
	json_object_set_new(object, "sessions", json_integer(options->session_count));
	json_object_set_new(object, "in_flight", json_integer(options->in_flight_max));
	json_object_set_new(object, "warm_up_seconds",
						json_real((double) options->warm_up_us / CLOCK_SECOND));
	json_object_set_new(object, "repeat_percent", json_integer(options->repeat_percent));
	json_object_set_new(object, "cancel_percent", json_integer(options->cancel_percent));
	json_object_set_new(object, "symbols", symbols);
	json_object_set_new(object, "quantity", json_integer(options->quantity));
	json_object_set_new(object, "price", json_string(price));
	json_object_set_new(object, "seed", json_integer((json_int_t) options->seed));
	return object;
}

static void
set_count(json_t *object, const char *name, uint64_t count)
{
	json_object_set_new(object, name, json_integer((json_int_t) count));
}

static json_t *
summary_value(const BenchSummary *summary)
{
	const BenchTally *tally = summary->tally;
	json_t *object = json_object();
	json_t *requests = json_object();

	for (int i = 0; i < BENCH_KIND_COUNT; i++)
		json_object_set_new(requests, bench_tally_kind_name((BenchKind) i),
							kind_value(&tally->kinds[i], summary));
	json_object_set_new(requests, "all", kind_value(&all, summary));
	json_object_set_new(object, "options", options_value(summary->options));
	json_object_set_new(object, "seconds", json_real(summary->seconds));
	json_object_set_new(object, "requests", requests);
	set_count(object, "warm_up_answered", tally->warm_up_answered);
	set_count(object, "connections_lost", tally->connections_lost);
	set_count(object, "reconnects", tally->reconnects);
	set_count(object, "resent", tally->resent);
	set_count(object, "unavailable", tally->unavailable);
	set_count(object, "outcome_unknown", tally->outcome_unknown);
	set_count(object, "mismatched", tally->mismatched);
	set_count(object, "unanswered", tally->unanswered);
	set_count(object, "unsent", tally->unsent);
	json_object_set_new(object, "cpu_seconds", json_real(summary->cpu_seconds));
	json_object_set_new(object, "cpu_us_per_request", json_real(cpu_us_per_request(summary)));
	return object;
}

bool
bench_report_json(const char *path, const BenchSummary *summary)
{
	FILE *out = fopen(path, "we");
	json_t *object;
	bool is_written;

	if (out == NULL)
		return false;
	sum_up(summary->tally);
	object = summary_value(summary);
	is_written = json_dumpf(object, out, JSON_INDENT(2) | JSON_PRESERVE_ORDER) == 0;
	is_written = fputc('\n', out) != EOF && is_written;
	json_decref(object);
	return fclose(out) == 0 && is_written;
}
