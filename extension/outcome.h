/*
 * outcome.h
 *		What became of one item of a call.
 */
#ifndef OUTCOME_H
#define OUTCOME_H

#include "orders.h"

typedef struct Outcome
{
	int16 code; /* CODE_OK where the command was carried out, now or by the first request */
	Reason reason;
	char *detail;       /* sentence for people, or NULL */
	bool is_recorded;   /* false: refused, nothing was stored and the key stays unused */
	bool is_replayed;   /* true: an earlier request did it, nothing was done now */
	const Order *order; /* the order as it is now; NULL where there is none to tell of */
} Outcome;

/* Refuses an item. |detail| is a printf format and may be NULL. */
extern void outcome_refuse(Outcome *outcome, Reason reason, const char *detail, ...)
	pg_attribute_printf(3, 4);

/* The same, telling of an existing order. */
extern void outcome_refuse_for(Outcome *outcome, Reason reason, const Order *order,
							   const char *detail, ...) pg_attribute_printf(4, 5);

/* The item was carried out on |order|. */
extern void outcome_accept(Outcome *outcome, const Order *order, bool is_replayed);

/* The recorded answer of a placement, whose order is no longer RECEIVED. */
extern void outcome_replay(Outcome *outcome, const Order *order);

/*
 * Raises a refusal as an error: SQLSTATE "OS" and the code, the reason as message, its detail and a
 * hint.
 */
extern _Noreturn void outcome_raise(const Outcome *outcome);

#endif /* OUTCOME_H */
