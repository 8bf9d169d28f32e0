/*
 * cancellation.h
 *		Asking for orders to be canceled.
 */
#ifndef CANCELLATION_H
#define CANCELLATION_H

#include "outcome.h"

typedef struct CancellationItem
{
	int64 account_id;
	const char *key; /* not terminated */
	Size key_length;
	int64 order_id;
	const char *missing; /* name of a field that was NULL; NULL when all are there */
} CancellationItem;

/*
 * Moves the orders of a batch to CANCEL_REQUESTED; one outcome per item, in the same order. A
 * refused item leaves its key unused. A hold is not touched: a fill may still race with the cancel.
 * Runs within SPI.
 */
extern void cancellation_run(const CancellationItem *items, int count, Outcome *outcomes);

#endif /* CANCELLATION_H */
