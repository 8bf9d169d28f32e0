/*
 * debts.c
 *		The table hold_debt.
 *
 * DESIGN	A table of its own, because debts are few and orders many: looking for one among the
 *			orders would need an index on a column that changes, and cost every order its HOT
 *			update.
 *
 *			A clock that is set back would leave leases and pauses longer by as much. So a row says
 *			when it was written; one that was written in the future (by more than what a claim may
 *			have waited since it looked at the clock) is due.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "debts.h"
#include "rows.h"

static RowStatement add_statement = {
	.sql = "INSERT INTO order_service.hold_debt (order_id, due_at)"
		   " SELECT u.order_id, pg_catalog.now() FROM %s",
	.columns = "order_id",
	.column_count = 1,
	.column_types = {INT8OID},
};

static Statement lease_statement = {
	.sql = "UPDATE order_service.hold_debt d SET attempts = d.attempts + 1, set_at = $3,"
		   " due_at = $3 + pg_catalog.make_interval(secs => $2)"
		   " FROM (SELECT order_id FROM order_service.hold_debt WHERE due_at <= $3"
		   " OR set_at > $3 + interval '1 s'"
		   " ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED) AS due"
		   " WHERE d.order_id = due.order_id RETURNING d.order_id, d.attempts",
	.parameter_count = 3,
	.parameter_types = {INT4OID, FLOAT8OID, TIMESTAMPTZOID},
};

static Statement postpone_statement = {
	.sql = "UPDATE order_service.hold_debt SET set_at = pg_catalog.clock_timestamp(),"
		   " due_at = pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => $2)"
		   " WHERE order_id = $1",
	.parameter_count = 2,
	.parameter_types = {INT8OID, FLOAT8OID},
};

static Statement remove_statement = {
	.sql = "DELETE FROM order_service.hold_debt WHERE order_id = $1",
	.parameter_count = 1,
	.parameter_types = {INT8OID},
};

void
debts_add(const int64 *order_ids, int count)
{
	Rows rows;

	if (count == 0)
		return;
	rows = rows_new(&add_statement, count);
	for (int i = 0; i < count; i++)
		rows_set(&rows, i, 0, Int64GetDatum(order_ids[i]));
	(void) rows_run(&rows, NULL);
}

int
debts_lease(int limit, int64 lease_ms, Debt **debts)
{
	/* The time is a parameter, so that the index on due_at finds what is due. */
	Datum values[3] = {Int32GetDatum(limit), Float8GetDatum(lease_ms / 1000.0),
					   TimestampTzGetDatum(GetCurrentTimestamp())};
	int count = (int) statement_run(&lease_statement, values);

	*debts = palloc(sizeof(Debt) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		(*debts)[i].order_id = statement_int64(i, 1);
		(*debts)[i].attempts = statement_int32(i, 2);
	}
	return count;
}

void
debts_postpone(int64 order_id, int32 retry_after_ms)
{
	Datum values[2] = {Int64GetDatum(order_id), Float8GetDatum(retry_after_ms / 1000.0)};

	(void) statement_run(&postpone_statement, values);
}

void
debts_remove(int64 order_id)
{
	Datum values[1] = {Int64GetDatum(order_id)};

	(void) statement_run(&remove_statement, values);
}
