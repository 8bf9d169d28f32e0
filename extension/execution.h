/*
 * execution.h
 *		Applying the reports of the exchange.
 */
#ifndef EXECUTION_H
#define EXECUTION_H

#include "outcome.h"

typedef struct Execution
{
	const char *execution_id; /* terminated; the exchange's id of the report */
	int64 order_id;
	int type;            /* ExecutionType, or -1 for a name that is none */
	int64 last_quantity; /* units traded by this report, > 0 for TRADE, else 0 */
	int64 last_price;    /* micro-units per unit, > 0 for TRADE, else 0 */
	const char *missing; /* name of a field that was NULL; NULL when all are there */
} Execution;

/*
 * Applies one report, once: a repeated one gives the order as it is, is_replayed. When the order
 * ends, what is left of its hold becomes RELEASE_DUE. Runs within SPI.
 */
extern void execution_apply(const Execution *execution, Outcome *outcome);

#endif /* EXECUTION_H */
