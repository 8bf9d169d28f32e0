/*
 * resolution.c
 *		Holds whose fate is open.
 *
 * FAILURE	A resolver that dies keeps its lease until it runs out; then another one gets the debt.
 *			Everything a resolver does at Account is repeatable under the order's reserve_id.
 */
#include "postgres.h"

#include "debts.h"
#include "resolution.h"
#include "settlement.h"

static int
compare_debts(const void *left, const void *right)
{
	int64 a = ((const Debt *) left)->order_id;
	int64 b = ((const Debt *) right)->order_id;

	return a < b ? -1 : a > b;
}

int
resolution_claim(int limit, int64 lease_ms, ResolutionTask **tasks)
{
	Debt *debts;
	int count;
	int64 *order_ids;
	OrderSet set;
	int task_count = 0;

	settlement_expire(limit);
	count = debts_lease(limit, lease_ms, &debts);
	qsort(debts, count, sizeof(Debt), compare_debts);
	order_ids = palloc(sizeof(int64) * Max(count, 1));
	for (int i = 0; i < count; i++)
		order_ids[i] = debts[i].order_id;
	set = orders_read(order_ids, count);
	*tasks = palloc(sizeof(ResolutionTask) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		const Order *order = orders_find(&set, debts[i].order_id);

		if (order == NULL)
			elog(ERROR, "hold debt of order " INT64_FORMAT ", which does not exist",
				 debts[i].order_id);
		(*tasks)[task_count++] = (ResolutionTask){.order = order, .attempts = debts[i].attempts};
	}
	return task_count;
}

static bool
check_item(const ResolutionItem *item, Outcome *outcome)
{
	if (item->missing != NULL)
		outcome_refuse(outcome, REASON_FIELD_MISSING, "Field \"%s\" is null.", item->missing);
	else if (item->order_id <= 0)
		outcome_refuse(outcome, REASON_ORDER_ID_INVALID,
					   "Order id " INT64_FORMAT " is not positive.", item->order_id);
	else if (rules_hold_name(item->hold) == NULL || item->hold == HOLD_HELD ||
			 item->retry_after_ms < 0)
		outcome_refuse(outcome, REASON_OUTCOME_INVALID, "Hold %d, due again in %d ms.", item->hold,
					   item->retry_after_ms);
	else
		return true;
	return false;
}

/* Records one hold in memory and in the debts, or refuses what the order's hold does not allow. */
static void
record(Order *order, const ResolutionItem *item, Outcome *outcome)
{
	if (!rules_hold_allowed(order->hold, item->hold))
	{
		outcome_refuse_for(outcome, REASON_WRONG_STATE, order,
						   "The hold of order " INT64_FORMAT " is %s and does not become %s.",
						   order->order_id, rules_hold_name(order->hold),
						   rules_hold_name(item->hold));
		return;
	}
	outcome_accept(outcome, order, order->hold == HOLD_NONE);
	order->hold = (int16) item->hold;
	if (item->hold == HOLD_NONE)
		debts_remove(order->order_id);
	else
		debts_postpone(order->order_id, item->retry_after_ms);
}

void
resolution_record(const ResolutionItem *items, int count, Outcome *outcomes)
{
	int64 *order_ids = palloc(sizeof(int64) * Max(count, 1));
	bool *is_checked = palloc(sizeof(bool) * Max(count, 1));
	int id_count = 0;
	int changed_count = 0;
	OrderSet set;
	Order **changed;
	int16 *holds_before;

	for (int i = 0; i < count; i++)
	{
		is_checked[i] = check_item(&items[i], &outcomes[i]);
		if (is_checked[i])
			order_ids[id_count++] = items[i].order_id;
	}
	set = orders_lock(order_ids, id_count);
	changed = palloc(sizeof(Order *) * Max(set.count, 1));
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
		else
			record(order, &items[i], &outcomes[i]);
	}
	for (int i = 0; i < set.count; i++)
	{
		if (set.orders[i].hold != holds_before[i])
			changed[changed_count++] = &set.orders[i];
	}
	orders_update(changed, changed_count);
}
