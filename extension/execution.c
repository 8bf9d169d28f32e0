/*
 * execution.c
 *		Applying the reports of the exchange.
 *
 * LOCKING	The order's row first, then the report's id: reports of one order are applied one after
 *			another.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "bounds.h"
#include "debts.h"
#include "execution.h"
#include "statement.h"
#include "transition.h"

static Statement insert_statement = {
	.sql = "INSERT INTO order_service.execution"
		   " (execution_id, order_id, execution_type, last_quantity, last_price, created_at)"
		   " VALUES ($1, $2, $3, $4, $5, pg_catalog.now())"
		   " ON CONFLICT (execution_id) DO NOTHING",
	.parameter_count = 5,
	.parameter_types = {TEXTOID, INT8OID, INT2OID, INT8OID, INT8OID},
};

static Statement find_statement = {
	.sql = "SELECT order_id, execution_type, last_quantity, last_price"
		   " FROM order_service.execution WHERE execution_id = $1 COLLATE \"C\"",
	.parameter_count = 1,
	.parameter_types = {TEXTOID},
};

static bool
check(const Execution *execution, Outcome *outcome)
{
	Size length;

	if (execution->missing != NULL)
	{
		outcome_refuse(outcome, REASON_FIELD_MISSING, "Field \"%s\" is null.", execution->missing);
		return false;
	}
	length = strlen(execution->execution_id);
	if (length < 1 || length > EXECUTION_ID_LENGTH_MAX)
		outcome_refuse(outcome, REASON_EXECUTION_INVALID, "An execution id has 1 to %d bytes.",
					   EXECUTION_ID_LENGTH_MAX);
	else if (execution->order_id <= 0)
		outcome_refuse(outcome, REASON_ORDER_ID_INVALID,
					   "Order id " INT64_FORMAT " is not positive.", execution->order_id);
	else if (rules_execution_type_name(execution->type) == NULL)
		outcome_refuse(outcome, REASON_EXECUTION_INVALID,
					   "Type is NEW, TRADE, CANCELED, REJECTED, EXPIRED or CANCEL_REJECTED.");
	else if (execution->type == EXECUTION_TRADE ? execution->last_price <= 0
												: execution->last_price != 0)
		outcome_refuse(outcome, REASON_EXECUTION_INVALID,
					   "Price " INT64_FORMAT " does not go with %s.", execution->last_price,
					   rules_execution_type_name(execution->type));
	else
		return true;
	return false;
}

/* Answers a report that was applied before; false when its id is new. */
static bool
answer_repeated(const Execution *execution, const Order *order, Outcome *outcome)
{
	Datum values[1] = {CStringGetTextDatum(execution->execution_id)};
	int64 order_id;

	if (statement_run(&find_statement, values) == 0)
		return false;
	order_id = statement_int64(0, 1);
	if (order_id == execution->order_id && statement_int16(0, 2) == execution->type &&
		statement_int64(0, 3) == execution->last_quantity &&
		statement_int64(0, 4) == execution->last_price)
		outcome_accept(outcome, order, true);
	else
		outcome_refuse_for(outcome, REASON_KEY_REUSED, order,
						   "Execution id \"%s\" stands for another report, of order " INT64_FORMAT
						   ".",
						   execution->execution_id, order_id);
	return true;
}

/* False when another transaction has used the id meanwhile, for another order. */
static bool
record(const Execution *execution)
{
	Datum values[5] = {CStringGetTextDatum(execution->execution_id),
					   Int64GetDatum(execution->order_id), Int16GetDatum((int16) execution->type),
					   Int64GetDatum(execution->last_quantity),
					   Int64GetDatum(execution->last_price)};

	return statement_run(&insert_statement, values) == 1;
}

static void
change_order(Order *order, const ExecutionEffect *effect)
{
	order->status = (int16) effect->status;
	order->filled_quantity = effect->filled_quantity;
	if (effect->reason != REASON_NONE)
		order->reason = (int16) effect->reason;
	if (effect->ends_order && order->hold == HOLD_HELD)
	{
		order->hold = HOLD_RELEASE_DUE;
		debts_add(&order->order_id, 1);
	}
	transition_write(&order, &effect->event_type, 1, false);
}

void
execution_apply(const Execution *execution, Outcome *outcome)
{
	OrderSet set;
	Order *order;
	ExecutionEffect effect;
	Reason reason;

	if (!check(execution, outcome))
		return;
	set = orders_lock(&execution->order_id, 1);
	order = orders_find(&set, execution->order_id);
	if (order == NULL)
	{
		outcome_refuse(outcome, REASON_UNKNOWN_ORDER, "Order id is " INT64_FORMAT ".",
					   execution->order_id);
		return;
	}
	if (answer_repeated(execution, order, outcome))
		return;
	reason = rules_apply_execution(order->status, order->quantity, order->filled_quantity,
								   execution->type, execution->last_quantity, &effect);
	if (reason != REASON_NONE)
	{
		outcome_refuse_for(outcome, reason, order,
						   "Order " INT64_FORMAT " is %s with " INT64_FORMAT " of " INT64_FORMAT
						   " filled; %s of " INT64_FORMAT " does not apply.",
						   order->order_id, rules_status_name(order->status),
						   order->filled_quantity, order->quantity,
						   rules_execution_type_name(execution->type), execution->last_quantity);
		return;
	}
	if (!record(execution))
	{
		if (!answer_repeated(execution, order, outcome))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not record execution id \"%s\"", execution->execution_id)));
		return;
	}
	change_order(order, &effect);
	outcome_accept(outcome, order, false);
}
