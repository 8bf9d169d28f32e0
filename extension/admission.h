/*
 * admission.h
 *		Recording new orders: idempotency key and order in one transaction.
 */
#ifndef ADMISSION_H
#define ADMISSION_H

#include "outcome.h"

/*
 * An order asked for. A request with a field missing is not looked at further.
 */
typedef struct AdmissionItem
{
	OrderRequest request;
	const char *missing; /* name of a field that was NULL; NULL when all are there */
} AdmissionItem;

/* What is recorded of a new order. */
typedef enum AdmissionMode
{
	/* RECEIVED, to be reserved for at Account and then settled (settlement.h). */
	ADMISSION_RECEIVE,
	/* ACCEPTED at once, with its event: there is no reservation step. */
	ADMISSION_ACCEPT,
} AdmissionMode;

/*
 * Records the orders of a batch; one outcome per item, in the same order. Refused items leave no
 * trace. A key already in use gives the recorded result, IN_PROGRESS while its order is RECEIVED,
 * or KEY_REUSED. Runs within SPI; unexpected errors are raised and undo the whole batch.
 */
extern void admission_run(const AdmissionItem *items, int count, AdmissionMode mode,
						  Outcome *outcomes);

#endif /* ADMISSION_H */
