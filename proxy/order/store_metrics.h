/*
 * store_metrics.h
 *		What the store counts.
 */
#ifndef STORE_METRICS_H
#define STORE_METRICS_H

#include "order/store_item.h"

/* Registers the metrics. */
extern void store_metrics_init(void);

/* Items that wait, of all kinds. */
extern void store_metrics_queue(int count);

/* An item was sent for the first time, so long after it was submitted. */
extern void store_metrics_waited(StoreKind kind, int64_t duration_us);

/* A call ended, with so many items, so long after it was sent. */
extern void store_metrics_called(StoreKind kind, int item_count, int64_t duration_us);

/* A call's items go again: it was lost, or could not be serialized. */
extern void store_metrics_retried(StoreKind kind);

/* A call failed and was halved, to find the item that it failed on. */
extern void store_metrics_split(StoreKind kind);

/* An item was answered with a business code. */
extern void store_metrics_answered(StoreKind kind, int code);

#endif /* STORE_METRICS_H */
