/*
 * cancellation.c
 *		Asking for orders to be canceled.
 *
 * DESIGN	A repeated cancel must get its first answer even when the order has moved on, and a
 *			refused one must not use its key up. So keys are looked up before states are judged, and
 *			only cancels that can be carried out claim theirs; the claim remains the insert.
 *
 * LOCKING	Orders first, in the order of ids; then keys, in their order.
 */
#include "postgres.h"

#include "bounds.h"
#include "cancellation.h"
#include "idempotency.h"
#include "transition.h"

typedef struct Candidate
{
	KeyClaim claim; /* must be first: the claim's address is the candidate's */
	Outcome *outcome;
	int16 status_before;        /* of the order, where this candidate is to change it */
	struct Candidate *original; /* the item of the batch that claims the same key */
} Candidate;

static bool
check_item(const CancellationItem *item, Outcome *outcome)
{
	if (item->missing != NULL)
		outcome_refuse(outcome, REASON_FIELD_MISSING, "Field \"%s\" is null.", item->missing);
	else if (item->account_id <= 0)
		outcome_refuse(outcome, REASON_ACCOUNT_INVALID,
					   "Account id " INT64_FORMAT " is not positive.", item->account_id);
	else if (!rules_key_valid(item->key, item->key_length))
		outcome_refuse(outcome, REASON_KEY_INVALID, "A key has 1 to %d printable ASCII characters.",
					   KEY_LENGTH_MAX);
	else if (item->order_id <= 0)
		outcome_refuse(outcome, REASON_ORDER_ID_INVALID,
					   "Order id " INT64_FORMAT " is not positive.", item->order_id);
	else
		return true;
	return false;
}

/* Returns the candidates that passed the checks, sorted. */
static int
prepare(const CancellationItem *items, int count, Outcome *outcomes, Candidate **candidates)
{
	Candidate *all = palloc0(sizeof(Candidate) * Max(count, 1));
	int passed = 0;

	for (int i = 0; i < count; i++)
	{
		if (!check_item(&items[i], &outcomes[i]))
			continue;
		all[i].claim = (KeyClaim){.account_id = items[i].account_id,
								  .key = items[i].key,
								  .key_length = items[i].key_length,
								  .position = i,
								  .order_id = items[i].order_id};
		all[i].outcome = &outcomes[i];
		candidates[passed++] = &all[i];
	}
	qsort(candidates, passed, sizeof(Candidate *), idempotency_compare);
	return passed;
}

static OrderSet
lock_orders(Candidate **candidates, int count)
{
	int64 *order_ids = palloc(sizeof(int64) * Max(count, 1));

	for (int i = 0; i < count; i++)
		order_ids[i] = candidates[i]->claim.order_id;
	return orders_lock(order_ids, count);
}

/* Whether the order may be canceled by this candidate; else refuses it. */
static bool
judge(Candidate *candidate, const Order *order)
{
	if (order == NULL)
		outcome_refuse(candidate->outcome, REASON_UNKNOWN_ORDER, "Order id is " INT64_FORMAT ".",
					   candidate->claim.order_id);
	else if (order->account_id != candidate->claim.account_id)
		outcome_refuse(candidate->outcome, REASON_NOT_YOURS, "Order id is " INT64_FORMAT ".",
					   candidate->claim.order_id);
	else if (!rules_cancel_allowed(order->status))
		outcome_refuse_for(candidate->outcome, REASON_WRONG_STATE, order,
						   "Order " INT64_FORMAT " is %s.", order->order_id,
						   rules_status_name(order->status));
	else
		return true;
	return false;
}

/* The answer to a cancel whose key stands for |command| on |order|. */
static void
answer_repeated(Candidate *candidate, Command command, const Order *order)
{
	if (command == COMMAND_CANCEL && order->order_id == candidate->claim.order_id)
		outcome_accept(candidate->outcome, order, true);
	else
		outcome_refuse_for(candidate->outcome, REASON_KEY_REUSED, order,
						   "Differs in \"%s\" from the request for order " INT64_FORMAT ".",
						   command == COMMAND_CANCEL ? "order_id" : "command", order->order_id);
}

/*
 * Picks the candidates that can be carried out, one for each key, and moves their orders in memory
 * at once, so that a second key for the same order finds the cancel requested. Returns how many
 * claims there are.
 */
static int
pick(Candidate **candidates, int count, const OrderSet *set, KeyClaim **claims)
{
	Candidate *last = NULL;
	int claim_count = 0;

	for (int i = 0; i < count; i++)
	{
		Candidate *candidate = candidates[i];
		Order *order = orders_find(set, candidate->claim.order_id);

		if (candidate->claim.is_found)
			continue;
		if (last != NULL && idempotency_is_same(&last->claim, &candidate->claim))
		{
			candidate->original = last;
			continue;
		}
		if (!judge(candidate, order))
			continue;
		candidate->status_before = order->status;
		order->status = STATUS_CANCEL_REQUESTED;
		claims[claim_count++] = &candidate->claim;
		last = candidate;
	}
	return claim_count;
}

/* Claims the keys and writes the orders of those that got theirs; the other orders stay. */
static void
carry_out(KeyClaim **claims, int count, const OrderSet *set)
{
	Order **changed = palloc(sizeof(Order *) * Max(set->count, 1));
	EventType *event_types = palloc(sizeof(EventType) * Max(set->count, 1));
	bool *is_canceled = palloc0(sizeof(bool) * Max(set->count, 1));
	int changed_count = 0;

	idempotency_claim(claims, count, COMMAND_CANCEL);
	for (int i = 0; i < count; i++)
	{
		Candidate *candidate = (Candidate *) claims[i];
		Order *order = orders_find(set, claims[i]->order_id);

		if (claims[i]->is_claimed)
		{
			is_canceled[order - set->orders] = true;
			outcome_accept(candidate->outcome, order, false);
		}
		else
			order->status = candidate->status_before;
	}
	for (int i = 0; i < set->count; i++)
	{
		if (!is_canceled[i])
			continue;
		event_types[changed_count] = EVENT_ORDER_CANCEL_REQUESTED;
		changed[changed_count++] = &set->orders[i];
	}
	transition_write(changed, event_types, changed_count, false);
}

/*
 * Refuses those again that were refused for a cancel of the same batch which then lost its key.
 * Another round of claims could carry them out, but no longer in the order of keys: batches could
 * deadlock.
 */
static void
refuse_left_over(Candidate **candidates, int count)
{
	for (int i = 0; i < count; i++)
	{
		Candidate *candidate = candidates[i];
		const Order *order = candidate->outcome->order;

		if (candidate->outcome->reason == REASON_WRONG_STATE && order != NULL &&
			rules_cancel_allowed(order->status))
			outcome_refuse_for(candidate->outcome, REASON_IN_PROGRESS, order,
							   "Another cancel of order " INT64_FORMAT
							   " was tried at the same time.",
							   order->order_id);
	}
}

/* Answers those whose key was in use before, or is another item's of the batch. */
static void
answer_rest(Candidate **candidates, int count, const OrderSet *set)
{
	int64 *order_ids = palloc(sizeof(int64) * Max(count, 1));
	int id_count = 0;
	OrderSet others;

	/* A key may stand for an order that this batch does not name. */
	for (int i = 0; i < count; i++)
	{
		if (candidates[i]->claim.is_found)
			order_ids[id_count++] = candidates[i]->claim.found_order_id;
	}
	others = orders_read(order_ids, id_count);
	for (int i = 0; i < count; i++)
	{
		Candidate *candidate = candidates[i];
		const KeyClaim *claim = &candidate->claim;
		const Order *order;

		if (claim->is_found)
		{
			order = orders_find(&others, claim->found_order_id);
			if (order == NULL)
				elog(ERROR,
					 "idempotency key stands for order " INT64_FORMAT ", which does not exist",
					 claim->found_order_id);
			answer_repeated(candidate, claim->found_command, order);
		}
		else if (candidate->original != NULL)
		{
			order = orders_find(set, candidate->original->claim.order_id);
			answer_repeated(candidate, COMMAND_CANCEL, order);
		}
	}
}

void
cancellation_run(const CancellationItem *items, int count, Outcome *outcomes)
{
	Candidate **candidates = palloc(sizeof(Candidate *) * Max(count, 1));
	KeyClaim **claims = palloc(sizeof(KeyClaim *) * Max(count, 1));
	int passed = prepare(items, count, outcomes, candidates);
	OrderSet set = lock_orders(candidates, passed);

	for (int i = 0; i < passed; i++)
		claims[i] = &candidates[i]->claim;
	idempotency_find(claims, passed);
	carry_out(claims, pick(candidates, passed, &set, claims), &set);
	refuse_left_over(candidates, passed);
	answer_rest(candidates, passed, &set);
}
