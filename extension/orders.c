/*
 * orders.c
 *		The table orders.
 *
 * LOCKING	A row is locked before its state is read for a change, and batches lock in the order of
 *			ids. Locks are taken before any idempotency key is claimed, or on rows of this
 *			transaction's own; so orders and keys are always taken in one direction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "bounds.h"
#include "hot_table.h"
#include "ids.h"
#include "orders.h"
#include "statement.h"

/* The columns of the table; in this order below. */
enum
{
	ORDER_ID,
	ACCOUNT_ID,
	QUANTITY,
	PRICE,
	FILLED_QUANTITY,
	RESERVE_AMOUNT,
	LAST_EVENT_ID,
	CREATED_AT,
	UPDATED_AT,
	ORDER_VERSION,
	CODE,
	SIDE,
	ORDER_TYPE,
	TIME_IN_FORCE,
	STATUS,
	HOLD,
	REASON,
	CURRENCY,
	SYMBOL,
	RESERVE_ID,
	COLUMN_COUNT
};

static HotColumns order_columns = {
	.table = "orders",
	.count = COLUMN_COUNT,
	.names = {"order_id",       "account_id",    "quantity",   "price",         "filled_quantity",
			  "reserve_amount", "last_event_id", "created_at", "updated_at",    "order_version",
			  "code",           "side",          "order_type", "time_in_force", "status",
			  "hold",           "reason",        "currency",   "symbol",        "reserve_id"},
};

static Statement prefix_statement = {
	.sql = "SELECT reserve_prefix FROM order_service.identity",
};

/* The first part of every reserve_id of this database; see order_service.identity. */
static char *
read_reserve_prefix(void)
{
	if (statement_run(&prefix_statement, NULL) != 1)
		elog(ERROR, "order_service.identity has no row");
	return statement_text(0, 1, CurrentMemoryContext);
}

static void
set_state(HotTable *table, const Order *order)
{
	hot_table_set(table, FILLED_QUANTITY, Int64GetDatum(order->filled_quantity));
	hot_table_set(table, LAST_EVENT_ID, Int64GetDatum(order->last_event_id));
	hot_table_set(table, UPDATED_AT, TimestampTzGetDatum(order->updated_at));
	hot_table_set(table, ORDER_VERSION, Int32GetDatum(order->order_version));
	hot_table_set(table, CODE, Int16GetDatum(order->code));
	hot_table_set(table, STATUS, Int16GetDatum(order->status));
	hot_table_set(table, HOLD, Int16GetDatum(order->hold));
	hot_table_set(table, REASON, Int16GetDatum(order->reason));
}

static void
set_terms(HotTable *table, const Order *order)
{
	hot_table_set(table, ORDER_ID, Int64GetDatum(order->order_id));
	hot_table_set(table, ACCOUNT_ID, Int64GetDatum(order->account_id));
	hot_table_set(table, QUANTITY, Int64GetDatum(order->quantity));
	hot_table_set(table, PRICE, Int64GetDatum(order->price));
	hot_table_set(table, RESERVE_AMOUNT, Int64GetDatum(order->reserve_amount));
	hot_table_set(table, CREATED_AT, TimestampTzGetDatum(order->created_at));
	hot_table_set(table, SIDE, Int16GetDatum(order->side));
	hot_table_set(table, ORDER_TYPE, Int16GetDatum(order->order_type));
	hot_table_set(table, TIME_IN_FORCE, Int16GetDatum(order->time_in_force));
	hot_table_set(table, CURRENCY, CStringGetTextDatum(order->currency));
	hot_table_set(table, SYMBOL, CStringGetTextDatum(order->symbol));
	if (order->reserve_id != NULL)
		hot_table_set(table, RESERVE_ID, CStringGetTextDatum(order->reserve_id));
}

void
orders_insert(Order **orders, int count)
{
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	char *prefix = NULL;
	HotTable *table;

	if (count == 0)
		return;
	for (int i = 0; i < count; i++)
	{
		if (orders[i]->reserve_amount == 0)
			continue;
		if (prefix == NULL)
			prefix = read_reserve_prefix();
		orders[i]->reserve_id = psprintf("%s-" INT64_FORMAT, prefix, orders[i]->order_id);
	}
	table = hot_table_open(&order_columns, RowExclusiveLock);
	for (int i = 0; i < count; i++)
	{
		orders[i]->created_at = now;
		orders[i]->updated_at = now;
		hot_table_add(table);
		set_terms(table, orders[i]);
		set_state(table, orders[i]);
	}
	hot_table_insert(table);
	hot_table_close(table);
}

static bool
find_again(HotTable *table, const Order *order)
{
	return (ItemPointerIsValid(&order->place) && hot_table_find_at(table, order->place)) ||
		   hot_table_find(table, Int64GetDatum(order->order_id));
}

void
orders_update(Order **orders, int count)
{
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	HotTable *table;

	if (count == 0)
		return;
	table = hot_table_open(&order_columns, RowExclusiveLock);
	for (int i = 0; i < count; i++)
	{
		if (!find_again(table, orders[i]))
			elog(ERROR, "order " INT64_FORMAT " is not there to be updated", orders[i]->order_id);
		orders[i]->updated_at = now;
		hot_table_change(table);
		set_state(table, orders[i]);
		hot_table_update(table);
	}
	hot_table_close(table);
}

/* A column that is NOT NULL. */
static Datum
cell(HotTable *table, int column)
{
	bool is_null;

	return hot_table_get(table, column, &is_null);
}

static void
read_row(HotTable *table, Order *order)
{
	bool is_null;
	Datum reserve_id = hot_table_get(table, RESERVE_ID, &is_null);

	*order = (Order){
		.order_id = DatumGetInt64(cell(table, ORDER_ID)),
		.account_id = DatumGetInt64(cell(table, ACCOUNT_ID)),
		.quantity = DatumGetInt64(cell(table, QUANTITY)),
		.price = DatumGetInt64(cell(table, PRICE)),
		.filled_quantity = DatumGetInt64(cell(table, FILLED_QUANTITY)),
		.reserve_amount = DatumGetInt64(cell(table, RESERVE_AMOUNT)),
		.last_event_id = DatumGetInt64(cell(table, LAST_EVENT_ID)),
		.created_at = DatumGetTimestampTz(cell(table, CREATED_AT)),
		.updated_at = DatumGetTimestampTz(cell(table, UPDATED_AT)),
		.order_version = DatumGetInt32(cell(table, ORDER_VERSION)),
		.code = DatumGetInt16(cell(table, CODE)),
		.side = DatumGetInt16(cell(table, SIDE)),
		.order_type = DatumGetInt16(cell(table, ORDER_TYPE)),
		.time_in_force = DatumGetInt16(cell(table, TIME_IN_FORCE)),
		.status = DatumGetInt16(cell(table, STATUS)),
		.hold = DatumGetInt16(cell(table, HOLD)),
		.reason = DatumGetInt16(cell(table, REASON)),
		.currency = TextDatumGetCString(cell(table, CURRENCY)),
		.symbol = TextDatumGetCString(cell(table, SYMBOL)),
		.reserve_id = is_null ? NULL : TextDatumGetCString(reserve_id),
	};
}

/* Reads orders, and locks them if |is_locking|, in the order of their ids. */
static OrderSet
read_sorted(const int64 *order_ids, int count, bool is_locking)
{
	OrderSet set = {.orders = NULL, .count = 0};
	HotTable *table;
	int64 *sorted;

	if (count == 0)
		return set;
	sorted = palloc(sizeof(int64) * count);
	memcpy(sorted, order_ids, sizeof(int64) * count);
	qsort(sorted, count, sizeof(int64), ids_compare);
	set.orders = palloc(sizeof(Order) * count);
	table = hot_table_open(&order_columns, is_locking ? RowShareLock : AccessShareLock);
	for (int i = 0; i < count; i++)
	{
		if (i > 0 && sorted[i] == sorted[i - 1])
			continue;
		if (!hot_table_find_ascending(table, Int64GetDatum(sorted[i])) ||
			(is_locking && !hot_table_lock(table)))
			continue;
		read_row(table, &set.orders[set.count]);
		if (is_locking)
			set.orders[set.count].place = hot_table_place(table);
		set.count++;
	}
	hot_table_close(table);
	pfree(sorted);
	return set;
}

OrderSet
orders_read(const int64 *order_ids, int count)
{
	return read_sorted(order_ids, count, false);
}

OrderSet
orders_lock(const int64 *order_ids, int count)
{
	return read_sorted(order_ids, count, true);
}

Order *
orders_find(const OrderSet *set, int64 order_id)
{
	int low = 0;
	int high = set->count;

	while (low < high)
	{
		int middle = low + (high - low) / 2;

		if (set->orders[middle].order_id < order_id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < set->count && set->orders[low].order_id == order_id ? &set->orders[low] : NULL;
}
