/*
 * settlement.c
 *		Deciding orders that were RECEIVED.
 *
 * DESIGN	Settling is conditional on the status, under the row's lock: a proxy that comes late, or
 *			twice, or after a resolver gave its order up, learns what was decided and changes
 *			nothing.
 *
 *			But for the hold: two proxies may be at one order (one that has lost its connection
 *			takes what it finds in progress under its key for its own). If the other one has said
 *			that nothing is held, and the order has ended, then what this one holds, or may hold, is
 *			a debt: nobody else knows of it.
 *
 *			An order from a future that is further away than its time limit was received before the
 *			clock was set back, and is abandoned as well: nobody can know how old it is.
 *
 *			Abandoned orders are found by id, from a watermark below which none is RECEIVED. An id
 *			below the highest one seen may still be committed by a transaction that runs; so the
 *			highest is first kept as a candidate and becomes the watermark when all transactions of
 *			that moment have ended.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "debts.h"
#include "settings.h"
#include "settlement.h"
#include "statement.h"
#include "transition.h"

/* With the time limit as the first parameter. */
#define IS_ABANDONED \
	"created_at NOT BETWEEN pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $1)" \
	" AND pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => $1)"

/*
 * Moves the watermark on, and tells whether an order is abandoned: one pass through what is not yet
 * below it, once a second beside the orders that come in.
 */
static Statement advance_statement = {
	.sql =
		"WITH received AS MATERIALIZED (SELECT order_id, created_at FROM order_service.orders"
		" WHERE order_id >= (SELECT value FROM order_service.watermark WHERE name = 'orders')"
		" AND status = 0),"
		" advanced AS (UPDATE order_service.watermark w SET value = n.value,"
		" candidate = n.candidate,"
		" candidate_xid = pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())"
		" FROM (SELECT coalesce((SELECT min(r.order_id) FROM received r"
		" WHERE r.order_id <= l.candidate), l.candidate + 1) AS value,"
		" greatest(l.candidate, (SELECT max(o.order_id) FROM order_service.orders o)) AS candidate"
		" FROM (SELECT * FROM order_service.watermark"
		" WHERE name = 'orders' FOR UPDATE SKIP LOCKED) AS l"
		" WHERE pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())"
		" >= l.candidate_xid) AS n"
		" WHERE w.name = 'orders' AND (w.value <> n.value OR w.candidate <> n.candidate))"
		" SELECT 1 FROM received WHERE " IS_ABANDONED " LIMIT 1",
	.parameter_count = 1,
	.parameter_types = {FLOAT8OID},
};

static Statement abandoned_statement = {
	.sql = "SELECT order_id FROM order_service.orders"
		   " WHERE order_id >= (SELECT value FROM order_service.watermark WHERE name = 'orders')"
		   " AND status = 0 AND " IS_ABANDONED " ORDER BY order_id LIMIT $2 FOR UPDATE SKIP LOCKED",
	.parameter_count = 2,
	.parameter_types = {FLOAT8OID, INT4OID},
};

static bool
is_outcome_valid(const SettlementItem *item)
{
	if (item->reason == REASON_NONE)
		return item->hold == HOLD_NONE || item->hold == HOLD_HELD;
	return rules_reason_rejects(item->reason) &&
		   (item->hold == HOLD_NONE || item->hold == HOLD_UNKNOWN);
}

static bool
check_item(const SettlementItem *item, Outcome *outcome)
{
	if (item->missing != NULL)
		outcome_refuse(outcome, REASON_FIELD_MISSING, "Field \"%s\" is null.", item->missing);
	else if (item->order_id <= 0)
		outcome_refuse(outcome, REASON_ORDER_ID_INVALID,
					   "Order id " INT64_FORMAT " is not positive.", item->order_id);
	else if (!is_outcome_valid(item))
		outcome_refuse(outcome, REASON_OUTCOME_INVALID, "Reason %d does not go with hold %d.",
					   item->reason, item->hold);
	else
		return true;
	return false;
}

static void
settle(Order *order, const SettlementItem *item)
{
	Assert(order->status == STATUS_RECEIVED);
	order->status = item->reason == REASON_NONE ? STATUS_ACCEPTED : STATUS_REJECTED;
	order->reason = (int16) item->reason;
	order->code = (int16) reason_code(item->reason);
	order->hold = (int16) item->hold;
}

/* What the late one holds. Debts that exist, and holds that will become some, cover it already. */
static void
take_over_hold(Order *order, const SettlementItem *item)
{
	if (item->hold != HOLD_NONE && order->hold == HOLD_NONE && order->reserve_id != NULL &&
		rules_status_final(order->status))
		order->hold = HOLD_UNKNOWN;
}

/*
 * Writes the orders of the set that have changed, and their debts. An order settled here is
 * recognized by its version: only settling gives it the first event.
 */
static void
write_changes(OrderSet *set, const int16 *holds_before)
{
	Order **settled = palloc(sizeof(Order *) * Max(set->count, 1));
	Order **late = palloc(sizeof(Order *) * Max(set->count, 1));
	EventType *event_types = palloc(sizeof(EventType) * Max(set->count, 1));
	int64 *debts = palloc(sizeof(int64) * Max(set->count, 1));
	int settled_count = 0;
	int late_count = 0;
	int debt_count = 0;

	for (int i = 0; i < set->count; i++)
	{
		Order *order = &set->orders[i];
		bool is_debt = order->hold == HOLD_UNKNOWN && holds_before[i] != HOLD_UNKNOWN;

		if (order->order_version == 0)
		{
			event_types[settled_count] =
				order->status == STATUS_ACCEPTED ? EVENT_ORDER_ACCEPTED : EVENT_ORDER_REJECTED;
			settled[settled_count++] = order;
		}
		else if (is_debt)
			late[late_count++] = order;
		if (is_debt)
			debts[debt_count++] = order->order_id;
	}
	transition_write(settled, event_types, settled_count, false);
	orders_update(late, late_count);
	debts_add(debts, debt_count);
}

void
settlement_run(const SettlementItem *items, int count, Outcome *outcomes)
{
	int64 *order_ids = palloc(sizeof(int64) * Max(count, 1));
	bool *is_checked = palloc(sizeof(bool) * Max(count, 1));
	int id_count = 0;
	int16 *holds_before;
	OrderSet set;

	for (int i = 0; i < count; i++)
	{
		is_checked[i] = check_item(&items[i], &outcomes[i]);
		if (is_checked[i])
			order_ids[id_count++] = items[i].order_id;
	}
	set = orders_lock(order_ids, id_count);
	holds_before = palloc(sizeof(int16) * Max(set.count, 1));
	for (int i = 0; i < set.count; i++)
		holds_before[i] = set.orders[i].hold;
	for (int i = 0; i < count; i++)
	{
		Order *order = is_checked[i] ? orders_find(&set, items[i].order_id) : NULL;

		if (!is_checked[i])
			continue;
		if (order == NULL)
			outcome_refuse(&outcomes[i], REASON_UNKNOWN_ORDER, "Order id is " INT64_FORMAT ".",
						   items[i].order_id);
		else if (order->status != STATUS_RECEIVED)
		{
			take_over_hold(order, &items[i]);
			outcome_replay(&outcomes[i], order);
		}
		else
		{
			settle(order, &items[i]);
			outcome_replay(&outcomes[i], order);
			outcomes[i].is_replayed = false;
		}
	}
	write_changes(&set, holds_before);
}

void
settlement_expire(int limit)
{
	Datum values[2] = {Float8GetDatum(settings_received_timeout_ms / 1000.0), Int32GetDatum(limit)};
	SettlementItem *items;
	Outcome *outcomes;
	int count;

	if (statement_run(&advance_statement, values) == 0)
		return;
	count = (int) statement_run(&abandoned_statement, values);
	items = palloc0(sizeof(SettlementItem) * Max(count, 1));
	outcomes = palloc0(sizeof(Outcome) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		items[i].order_id = statement_int64(i, 1);
		items[i].reason = REASON_EXPIRED_BEFORE_ACCEPTANCE;
		items[i].hold = HOLD_UNKNOWN;
	}
	settlement_run(items, count, outcomes);
}
