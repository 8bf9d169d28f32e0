/*
 * store_metrics.c
 *		What the store counts.
 */
#include "order/store_metrics.h"

#include <assert.h>

#include "base/clock.h"
#include "base/metrics.h"

/* 2xx, 4xx and 5xx. */
#define CODE_CLASS_COUNT 3

/* X(kind, its label) */
#define KINDS(X) \
	X(STORE_RECEIVE, "receive") \
	X(STORE_SETTLE, "settle") \
	X(STORE_CANCEL, "cancel") \
	X(STORE_GET, "get") \
	X(STORE_FIND, "find") \
	X(STORE_LIST, "list") \
	X(STORE_FIND_SESSION, "find_session") \
	X(STORE_CLOSE_SESSION, "close_session") \
	X(STORE_CLAIM, "claim") \
	X(STORE_RECORD_HOLD, "record_hold")

#define KIND_LABEL(kind, label) [kind] = "kind=\"" label "\"",
#define CLASS_LABELS(kind, label) \
	[kind] = {"kind=\"" label "\",code=\"2xx\"", "kind=\"" label "\",code=\"4xx\"", \
			  "kind=\"" label "\",code=\"5xx\""},

static const char *const kind_labels[STORE_KIND_COUNT] = {KINDS(KIND_LABEL)};
static const char *const class_labels[STORE_KIND_COUNT][CODE_CLASS_COUNT] = {KINDS(CLASS_LABELS)};

static const double item_bounds[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096};

typedef struct KindMetrics
{
	MetricsHistogram batch_items;
	MetricsHistogram wait_seconds;
	MetricsHistogram call_seconds;
	MetricsCounter items[CODE_CLASS_COUNT];
	MetricsCounter retries;
	MetricsCounter splits;
} KindMetrics;

static KindMetrics metrics[STORE_KIND_COUNT];
static MetricsGauge queue;

static double
to_seconds(int64_t duration_us)
{
	return (double) duration_us / CLOCK_SECOND;
}

static void
register_kind(StoreKind kind)
{
	KindMetrics *own = &metrics[kind];
	const char *label = kind_labels[kind];

	assert(label != NULL);
	metrics_histogram_init(&own->batch_items, "store_batch_items", label, "Items of one call.",
						   item_bounds, sizeof(item_bounds) / sizeof(item_bounds[0]));
	metrics_histogram_init(&own->wait_seconds, "store_wait_seconds", label,
						   "Time an item waited before it was sent, in seconds.",
						   metrics_latency_bounds, metrics_latency_bound_count);
	metrics_histogram_init(&own->call_seconds, "store_call_seconds", label,
						   "Time a call took, in seconds.", metrics_latency_bounds,
						   metrics_latency_bound_count);
	for (int i = 0; i < CODE_CLASS_COUNT; i++)
		metrics_counter_init(&own->items[i], "store_items_total", class_labels[kind][i],
							 "Items answered, by the class of the business code.");
	metrics_counter_init(&own->retries, "store_retries_total", label,
						 "Calls whose items went again.");
	metrics_counter_init(&own->splits, "store_splits_total", label,
						 "Calls that failed and were halved.");
}

void
store_metrics_init(void)
{
	for (int kind = 0; kind < STORE_KIND_COUNT; kind++)
		register_kind((StoreKind) kind);
	metrics_gauge_init(&queue, "store_queue", NULL, "Items that wait for the database.");
}

void
store_metrics_queue(int count)
{
	queue.value = count;
}

void
store_metrics_waited(StoreKind kind, int64_t duration_us)
{
	metrics_observe(&metrics[kind].wait_seconds, to_seconds(duration_us));
}

void
store_metrics_called(StoreKind kind, int item_count, int64_t duration_us)
{
	metrics_observe(&metrics[kind].batch_items, item_count);
	metrics_observe(&metrics[kind].call_seconds, to_seconds(duration_us));
}

void
store_metrics_retried(StoreKind kind)
{
	metrics_count(&metrics[kind].retries);
}

void
store_metrics_split(StoreKind kind)
{
	metrics_count(&metrics[kind].splits);
}

void
store_metrics_answered(StoreKind kind, int code)
{
	int class = 0;

	if (code >= 500)
		class = 2;
	else if (code >= 400)
		class = 1;
	metrics_count(&metrics[kind].items[class]);
}
