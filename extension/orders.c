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
#include "orders.h"
#include "rows.h"
#include "statement.h"

#define ORDER_COLUMNS \
	"order_id, account_id, quantity, price, filled_quantity, reserve_amount, last_event_id," \
	" created_at, updated_at, order_version, code, side, order_type, time_in_force, status, hold," \
	" reason, currency, symbol, reserve_id"

static RowStatement insert_statement = {
	.sql = "INSERT INTO order_service.orders"
		   " (order_id, account_id, quantity, price, reserve_amount, last_event_id, created_at,"
		   " updated_at, order_version, code, side, order_type, time_in_force, status, hold,"
		   " currency, symbol, reserve_id)"
		   " SELECT u.order_id, u.account_id, u.quantity, u.price, u.reserve_amount,"
		   " u.last_event_id, pg_catalog.now(), pg_catalog.now(), u.order_version, u.code, u.side,"
		   " u.order_type, u.time_in_force, u.status, 0, u.currency, u.symbol,"
		   " nullif(u.reserve_id, '') FROM %s",
	.columns = "order_id, account_id, quantity, price, reserve_amount, last_event_id,"
			   " order_version, code, side, order_type, time_in_force, status, currency, symbol,"
			   " reserve_id",
	.column_count = 15,
	.column_types = {INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT4OID, INT2OID,
					 INT2OID, INT2OID, INT2OID, INT2OID, TEXTOID, TEXTOID, TEXTOID},
};

static RowStatement update_statement = {
	.sql = "UPDATE order_service.orders o"
		   " SET filled_quantity = u.filled_quantity, last_event_id = u.last_event_id,"
		   " updated_at = pg_catalog.now(), order_version = u.order_version, code = u.code,"
		   " status = u.status, hold = u.hold, reason = u.reason"
		   " FROM %s WHERE o.order_id = u.order_id",
	.columns = "order_id, filled_quantity, last_event_id, order_version, code, status, hold,"
			   " reason",
	.column_count = 8,
	.column_types = {INT8OID, INT8OID, INT8OID, INT4OID, INT2OID, INT2OID, INT2OID, INT2OID},
};

static Statement prefix_statement = {
	.sql = "SELECT reserve_prefix FROM order_service.identity",
};

static Statement read_statement = {
	.sql = "SELECT " ORDER_COLUMNS " FROM order_service.orders"
		   " WHERE order_id = ANY ($1) ORDER BY order_id",
	.parameter_count = 1,
	.parameter_types = {INT8ARRAYOID},
};

static Statement lock_statement = {
	.sql = "SELECT " ORDER_COLUMNS " FROM order_service.orders"
		   " WHERE order_id = ANY ($1) ORDER BY order_id FOR UPDATE",
	.parameter_count = 1,
	.parameter_types = {INT8ARRAYOID},
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
set_insert_row(Rows *rows, int row, const Order *order)
{
	int column = 0;

	rows_set(rows, row, column++, Int64GetDatum(order->order_id));
	rows_set(rows, row, column++, Int64GetDatum(order->account_id));
	rows_set(rows, row, column++, Int64GetDatum(order->quantity));
	rows_set(rows, row, column++, Int64GetDatum(order->price));
	rows_set(rows, row, column++, Int64GetDatum(order->reserve_amount));
	rows_set(rows, row, column++, Int64GetDatum(order->last_event_id));
	rows_set(rows, row, column++, Int32GetDatum(order->order_version));
	rows_set(rows, row, column++, Int16GetDatum(order->code));
	rows_set(rows, row, column++, Int16GetDatum(order->side));
	rows_set(rows, row, column++, Int16GetDatum(order->order_type));
	rows_set(rows, row, column++, Int16GetDatum(order->time_in_force));
	rows_set(rows, row, column++, Int16GetDatum(order->status));
	rows_set(rows, row, column++, CStringGetTextDatum(order->currency));
	rows_set(rows, row, column++, CStringGetTextDatum(order->symbol));
	rows_set(rows, row, column++,
			 CStringGetTextDatum(order->reserve_id != NULL ? order->reserve_id : ""));
	Assert(column == insert_statement.column_count);
}

void
orders_insert(Order **orders, int count)
{
	char *prefix = NULL;
	Rows rows;

	if (count == 0)
		return;
	rows = rows_new(&insert_statement, count);
	for (int i = 0; i < count; i++)
	{
		Order *order = orders[i];

		if (order->reserve_amount > 0)
		{
			if (prefix == NULL)
				prefix = read_reserve_prefix();
			order->reserve_id = psprintf("%s-" INT64_FORMAT, prefix, order->order_id);
		}
		set_insert_row(&rows, i, order);
	}
	(void) rows_run(&rows, NULL);
}

static void
set_update_row(Rows *rows, int row, const Order *order)
{
	int column = 0;

	rows_set(rows, row, column++, Int64GetDatum(order->order_id));
	rows_set(rows, row, column++, Int64GetDatum(order->filled_quantity));
	rows_set(rows, row, column++, Int64GetDatum(order->last_event_id));
	rows_set(rows, row, column++, Int32GetDatum(order->order_version));
	rows_set(rows, row, column++, Int16GetDatum(order->code));
	rows_set(rows, row, column++, Int16GetDatum(order->status));
	rows_set(rows, row, column++, Int16GetDatum(order->hold));
	rows_set(rows, row, column++, Int16GetDatum(order->reason));
	Assert(column == update_statement.column_count);
}

void
orders_update(Order **orders, int count)
{
	Rows rows;
	uint64 updated_count;

	if (count == 0)
		return;
	rows = rows_new(&update_statement, count);
	for (int i = 0; i < count; i++)
		set_update_row(&rows, i, orders[i]);
	updated_count = rows_run(&rows, NULL);
	if (updated_count != (uint64) count)
		elog(ERROR, "%d orders were updated as " UINT64_FORMAT, count, updated_count);
	for (int i = 0; i < count; i++)
		orders[i]->updated_at = GetCurrentTransactionStartTimestamp();
}

static void
read_row(uint64 row, Order *order)
{
	order->order_id = statement_int64(row, 1);
	order->account_id = statement_int64(row, 2);
	order->quantity = statement_int64(row, 3);
	order->price = statement_int64(row, 4);
	order->filled_quantity = statement_int64(row, 5);
	order->reserve_amount = statement_int64(row, 6);
	order->last_event_id = statement_int64(row, 7);
	order->created_at = statement_int64(row, 8);
	order->updated_at = statement_int64(row, 9);
	order->order_version = statement_int32(row, 10);
	order->code = statement_int16(row, 11);
	order->side = statement_int16(row, 12);
	order->order_type = statement_int16(row, 13);
	order->time_in_force = statement_int16(row, 14);
	order->status = statement_int16(row, 15);
	order->hold = statement_int16(row, 16);
	order->reason = statement_int16(row, 17);
	order->currency = statement_text(row, 18, CurrentMemoryContext);
	order->symbol = statement_text(row, 19, CurrentMemoryContext);
	order->reserve_id = statement_text(row, 20, CurrentMemoryContext);
}

static OrderSet
read_with(Statement *statement, const int64 *order_ids, int count)
{
	Datum values[1];
	OrderSet set = {.orders = NULL, .count = 0};

	if (count == 0)
		return set;
	values[0] = statement_int64_array(order_ids, count);
	set.count = (int) statement_run(statement, values);
	set.orders = palloc(sizeof(Order) * Max(set.count, 1));
	for (int i = 0; i < set.count; i++)
		read_row(i, &set.orders[i]);
	return set;
}

OrderSet
orders_read(const int64 *order_ids, int count)
{
	return read_with(&read_statement, order_ids, count);
}

OrderSet
orders_lock(const int64 *order_ids, int count)
{
	return read_with(&lock_statement, order_ids, count);
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
