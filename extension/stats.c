/*
 * stats.c
 *		What the publishers are doing, for the view order_service.stats.
 *
 * DESIGN	Reads shared memory without a lock: each figure is right, figures of one row may be of
 *			slightly different moments.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "shared.h"
#include "statement.h"

PG_FUNCTION_INFO_V1(stats_publisher);

#define STATS_COLUMNS 26

static const char *
state_name(uint32 state)
{
	static const char *const names[] = {
		[PUBLISHER_STOPPED] = "STOPPED",     [PUBLISHER_ABSENT] = "ABSENT",
		[PUBLISHER_PAUSED] = "PAUSED",       [PUBLISHER_CATCHING_UP] = "CATCHING_UP",
		[PUBLISHER_STREAMING] = "STREAMING", [PUBLISHER_BACKING_OFF] = "BACKING_OFF",
		[PUBLISHER_DRAINING] = "DRAINING",
	};

	return state < lengthof(names) ? names[state] : "UNKNOWN";
}

/*
 * The upper bound, in milliseconds, of the bucket that the quantile falls into; false without a
 * sample.
 */
static bool
latency_quantile(PublisherCounters *counters, double quantile, double *latency_ms)
{
	uint64 samples[SHARED_LATENCY_BUCKETS];
	uint64 total = 0;
	uint64 seen = 0;

	for (int i = 0; i < SHARED_LATENCY_BUCKETS; i++)
	{
		samples[i] = pg_atomic_read_u64(&counters->latency[i]);
		total += samples[i];
	}
	for (int i = 0; i < SHARED_LATENCY_BUCKETS; i++)
	{
		seen += samples[i];
		if (seen > 0 && seen >= quantile * total)
		{
			*latency_ms = (double) (UINT64CONST(2) << i) / 1000.0;
			return true;
		}
	}
	return false;
}

static Datum
latency_buckets(PublisherCounters *counters)
{
	Datum samples[SHARED_LATENCY_BUCKETS];

	for (int i = 0; i < SHARED_LATENCY_BUCKETS; i++)
		samples[i] = Int64GetDatum((int64) pg_atomic_read_u64(&counters->latency[i]));
	return statement_array(samples, SHARED_LATENCY_BUCKETS, INT8OID);
}

static Datum
counter(pg_atomic_uint64 *value)
{
	return Int64GetDatum((int64) pg_atomic_read_u64(value));
}

static void
put_channel(ReturnSetInfo *result, Channel *channel)
{
	PublisherCounters *counters = &channel->counters;
	Datum values[STATS_COLUMNS];
	bool is_null[STATS_COLUMNS] = {false};
	char error[SHARED_ERROR_SIZE];
	double latency_ms = 0;
	uint32 pid = pg_atomic_read_u32(&channel->pid);
	int i = 0;

	shared_get_error(channel, error);
	values[i++] = CStringGetTextDatum(channel->database);
	is_null[i] = pid == 0;
	values[i++] = Int32GetDatum((int32) pid);
	values[i++] = CStringGetTextDatum(state_name(pg_atomic_read_u32(&channel->state)));
	values[i++] = Int64GetDatum((int64) shared_ring_bytes());
	values[i++] = Int64GetDatum((int64) ring_used(channel->ring));
	values[i++] = Int64GetDatum((int64) ring_overflows(channel->ring));
	values[i++] = counter(&counters->in_flight);
	values[i++] = counter(&counters->waiting);
	values[i++] = counter(&counters->gaps);
	values[i++] = counter(&counters->low_water);
	values[i++] = counter(&counters->from_ring);
	values[i++] = counter(&counters->from_table);
	values[i++] = counter(&counters->sent);
	values[i++] = counter(&counters->refused);
	values[i++] = counter(&counters->failed);
	values[i++] = counter(&counters->dlq);
	values[i++] = counter(&counters->dlq_refused);
	values[i++] = counter(&counters->parked);
	values[i++] = counter(&counters->catch_ups);
	values[i++] = counter(&counters->outages);
	values[i++] = counter(&counters->fatal_errors);
	values[i++] = counter(&counters->removed);
	is_null[i] = error[0] == '\0';
	values[i++] = CStringGetTextDatum(error);
	is_null[i] = !latency_quantile(counters, 0.50, &latency_ms);
	values[i++] = Float8GetDatum(latency_ms);
	is_null[i] = !latency_quantile(counters, 0.99, &latency_ms);
	values[i++] = Float8GetDatum(latency_ms);
	values[i++] = latency_buckets(counters);
	Assert(i == STATS_COLUMNS);
	tuplestore_putvalues(result->setResult, result->setDesc, values, is_null);
}

Datum
stats_publisher(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < shared_channel_count(); i++)
		put_channel((ReturnSetInfo *) fcinfo->resultinfo, shared_channel(i));
	return (Datum) 0;
}
