/*
 * settlement.h
 *		Deciding orders that were RECEIVED, once Account has answered or nobody is left to ask.
 */
#ifndef SETTLEMENT_H
#define SETTLEMENT_H

#include "outcome.h"

typedef struct SettlementItem
{
	int64 order_id;
	int reason;          /* REASON_NONE accepts, a reason of Account rejects */
	int hold;            /* NONE or HELD when accepted, NONE or UNKNOWN when rejected */
	const char *missing; /* name of a field that was NULL; NULL when all are there */
} SettlementItem;

/*
 * Settles the orders of a batch; one outcome per item, in the same order. An order that is no
 * longer RECEIVED is left as it is: its row decides the race, and the outcome tells what it found.
 * Runs within SPI.
 */
extern void settlement_run(const SettlementItem *items, int count, Outcome *outcomes);

/*
 * Rejects up to |limit| orders that were left RECEIVED for longer than
 * order_service.received_timeout, and moves the watermark that this search starts from. Waits for
 * no lock. Runs within SPI.
 */
extern void settlement_expire(int limit);

#endif /* SETTLEMENT_H */
