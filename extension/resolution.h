/*
 * resolution.h
 *		Holds whose fate is open: handing them to resolvers, and recording what those learnt.
 */
#ifndef RESOLUTION_H
#define RESOLUTION_H

#include "outcome.h"

/* An order whose hold is UNKNOWN or RELEASE_DUE, leased to the caller. */
typedef struct ResolutionTask
{
	const Order *order;
	int32 attempts; /* leases so far, this one included */
} ResolutionTask;

typedef struct ResolutionItem
{
	int64 order_id;
	int hold;             /* NONE, UNKNOWN or RELEASE_DUE */
	int32 retry_after_ms; /* >= 0; when the debt is due again, unless NONE pays it */
	const char *missing;  /* name of a field that was NULL; NULL when all are there */
} ResolutionItem;

/*
 * Gives abandoned orders up (settlement_expire()), then leases up to |limit| debts for |lease_ms|.
 * Returns their number; |tasks| points to them, in the order of ids. Waits for no lock that another
 * caller holds for long. Runs within SPI.
 */
extern int resolution_claim(int limit, int64 lease_ms, ResolutionTask **tasks);

/*
 * Records holds; one outcome per item, in the same order. No event: the order itself does not
 * change.
 */
extern void resolution_record(const ResolutionItem *items, int count, Outcome *outcomes);

#endif /* RESOLUTION_H */
