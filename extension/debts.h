/*
 * debts.h
 *		The table hold_debt: orders whose hold at Account is still to be settled or released.
 *
 * All functions run within SPI and allocate in the current memory context.
 */
#ifndef DEBTS_H
#define DEBTS_H

#include "postgres.h"

typedef struct Debt
{
	int64 order_id;
	int32 attempts; /* this lease included */
} Debt;

/* Adds debts that are due at once. The orders have none yet. */
extern void debts_add(const int64 *order_ids, int count);

/*
 * Leases up to |limit| debts that are due, the oldest first: nobody else gets them before
 * |lease_ms| have passed. Skips what others have locked. Returns their number; |debts| points to
 * them, in any order.
 */
extern int debts_lease(int limit, int64 lease_ms, Debt **debts);

/* Makes a debt due again after |retry_after_ms|. */
extern void debts_postpone(int64 order_id, int32 retry_after_ms);

/* Removes a debt, if there is one: it is paid. */
extern void debts_remove(int64 order_id);

#endif /* DEBTS_H */
