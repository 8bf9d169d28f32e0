/*
 * orders.h
 *		The table orders.
 *
 * All functions run within SPI and allocate in the current memory context.
 */
#ifndef ORDERS_H
#define ORDERS_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "storage/itemptr.h"

#include "rules.h"

/* A row of orders; see the comments of the table. Texts are terminated. */
typedef struct Order
{
	int64 order_id;
	int64 account_id;
	int64 quantity;
	int64 price;
	int64 filled_quantity;
	int64 reserve_amount;
	int64 last_event_id;
	TimestampTz created_at;
	TimestampTz updated_at;
	int32 order_version;
	int16 code;
	int16 side;
	int16 order_type;
	int16 time_in_force;
	int16 status;
	int16 hold;
	int16 reason;
	char *currency;
	char *symbol;
	char *reserve_id; /* NULL without a reservation step */

	ItemPointerData place; /* of the row, while it is locked; else invalid */
} Order;

/* The orders of a batch, sorted by id, without duplicates. */
typedef struct OrderSet
{
	Order *orders;
	int count;
} OrderSet;

/* Inserts orders. Those with a reserve_amount get their reserve_id here. */
extern void orders_insert(Order **orders, int count);

/*
 * Writes back what may change after the insert: state, fills, versions, hold. The rows are locked.
 */
extern void orders_update(Order **orders, int count);

/* Reads the orders that exist among |order_ids| (in any order, duplicates allowed). */
extern OrderSet orders_read(const int64 *order_ids, int count);

/* The same and locks them in the order of their ids, so that two batches cannot deadlock. */
extern OrderSet orders_lock(const int64 *order_ids, int count);

/* The order of an id; NULL when it is not in the set. */
extern Order *orders_find(const OrderSet *set, int64 order_id);

#endif /* ORDERS_H */
