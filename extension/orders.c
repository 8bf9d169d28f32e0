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
#include "statement.h"

#define ORDER_COLUMNS \
	"order_id, account_id, quantity, price, filled_quantity, reserve_amount, last_event_id," \
	" created_at, updated_at, order_version, code, side, order_type, time_in_force, status, hold," \
	" reason, currency, symbol, reserve_id"

static Statement insert_statement = {
	.sql =
		"INSERT INTO order_service.orders AS o"
		" (order_id, account_id, quantity, price, reserve_amount, last_event_id, created_at,"
		" updated_at, order_version, code, side, order_type, time_in_force, status, hold, currency,"
		" symbol, reserve_id)"
		" SELECT u.order_id, u.account_id, u.quantity, u.price, u.reserve_amount, u.last_event_id,"
		" pg_catalog.now(), pg_catalog.now(), u.order_version, u.code, u.side, u.order_type,"
		" u.time_in_force, u.status, 0, u.currency, u.symbol,"
		" CASE WHEN u.reserve_amount > 0"
		" THEN (SELECT i.reserve_prefix FROM order_service.identity i) || '-' || u.order_id END"
		" FROM %s RETURNING o.order_id, o.reserve_id",
	.columns = "order_id, account_id, quantity, price, reserve_amount, last_event_id,"
			   " order_version, code, side, order_type, time_in_force, status, currency, symbol",
	.parameter_count = 14,
	.parameter_types = {INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID,
						INT8ARRAYOID, INT4ARRAYOID, INT2ARRAYOID, INT2ARRAYOID, INT2ARRAYOID,
						INT2ARRAYOID, INT2ARRAYOID, TEXTARRAYOID, TEXTARRAYOID},
};

static Statement update_statement = {
	.sql = "UPDATE order_service.orders o"
		   " SET filled_quantity = u.filled_quantity, last_event_id = u.last_event_id,"
		   " updated_at = pg_catalog.now(), order_version = u.order_version, code = u.code,"
		   " status = u.status, hold = u.hold, reason = u.reason"
		   " FROM %s WHERE o.order_id = u.order_id",
	.columns = "order_id, filled_quantity, last_event_id, order_version, code, status, hold,"
			   " reason",
	.parameter_count = 8,
	.parameter_types = {INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID, INT2ARRAYOID,
						INT2ARRAYOID, INT2ARRAYOID, INT2ARRAYOID},
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

/* One field of every order as an array parameter. */
#define INT64_FIELD(field) int64_field(orders, count, offsetof(Order, field))
#define INT16_FIELD(field) int16_field(orders, count, offsetof(Order, field))
#define TEXT_FIELD(field) text_field(orders, count, offsetof(Order, field))

static Datum
int64_field(Order **orders, int count, Size offset)
{
	int64 *values = palloc(sizeof(int64) * count);

	for (int i = 0; i < count; i++)
		memcpy(&values[i], (const char *) orders[i] + offset, sizeof(int64));
	return statement_int64_array(values, count);
}

static Datum
int16_field(Order **orders, int count, Size offset)
{
	int16 *values = palloc(sizeof(int16) * count);

	for (int i = 0; i < count; i++)
		memcpy(&values[i], (const char *) orders[i] + offset, sizeof(int16));
	return statement_int16_array(values, count);
}

static Datum
text_field(Order **orders, int count, Size offset)
{
	Datum *values = palloc(sizeof(Datum) * count);

	for (int i = 0; i < count; i++)
	{
		char *value;

		memcpy(&value, (const char *) orders[i] + offset, sizeof(char *));
		values[i] = CStringGetTextDatum(value);
	}
	return statement_datum_array(values, count, TEXTOID);
}

static Datum
version_field(Order **orders, int count)
{
	int32 *values = palloc(sizeof(int32) * count);

	for (int i = 0; i < count; i++)
		values[i] = orders[i]->order_version;
	return statement_int32_array(values, count);
}

void
orders_insert(Order **orders, int count)
{
	Datum values[14];
	uint64 rows;

	if (count == 0)
		return;
	values[0] = INT64_FIELD(order_id);
	values[1] = INT64_FIELD(account_id);
	values[2] = INT64_FIELD(quantity);
	values[3] = INT64_FIELD(price);
	values[4] = INT64_FIELD(reserve_amount);
	values[5] = INT64_FIELD(last_event_id);
	values[6] = version_field(orders, count);
	values[7] = INT16_FIELD(code);
	values[8] = INT16_FIELD(side);
	values[9] = INT16_FIELD(order_type);
	values[10] = INT16_FIELD(time_in_force);
	values[11] = INT16_FIELD(status);
	values[12] = TEXT_FIELD(currency);
	values[13] = TEXT_FIELD(symbol);
	rows = statement_run_rows(&insert_statement, values, count);
	if (rows != (uint64) count)
		elog(ERROR, "%d orders were inserted as " UINT64_FORMAT, count, rows);
	for (int i = 0; i < count; i++)
	{
		if (statement_int64(i, 1) != orders[i]->order_id)
			elog(ERROR, "orders were inserted out of order");
		orders[i]->reserve_id = statement_text(i, 2, CurrentMemoryContext);
	}
}

void
orders_update(Order **orders, int count)
{
	Datum values[8];
	uint64 rows;

	if (count == 0)
		return;
	values[0] = INT64_FIELD(order_id);
	values[1] = INT64_FIELD(filled_quantity);
	values[2] = INT64_FIELD(last_event_id);
	values[3] = version_field(orders, count);
	values[4] = INT16_FIELD(code);
	values[5] = INT16_FIELD(status);
	values[6] = INT16_FIELD(hold);
	values[7] = INT16_FIELD(reason);
	rows = statement_run_rows(&update_statement, values, count);
	if (rows != (uint64) count)
		elog(ERROR, "%d orders were updated as " UINT64_FORMAT, count, rows);
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
