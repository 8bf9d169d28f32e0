/*
 * admission.c
 *		Recording new orders.
 *
 * DESIGN	A batch goes through the stages together: check what needs no database; read the
 *			instruments and check against them; claim the keys; read what the keys not claimed stand
 *			for; insert the orders of the claimed ones.
 *
 *			A key is asked for before an item is refused on account of its instrument: the order may
 *			have been placed when the symbol still traded, and its repetition must get the recorded
 *			result.
 *
 * LOCKING	Keys are claimed in sorted order, so that overlapping batches wait for each other but
 *			never in a circle.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/timestamp.h"

#include "admission.h"
#include "bounds.h"
#include "idempotency.h"
#include "ids.h"
#include "instruments.h"
#include "transition.h"

/* The work on one item. */
typedef struct Candidate
{
	KeyClaim claim; /* must be first: the claim's address is the candidate's */
	const OrderRequest *request;
	Outcome *outcome;
	const InstrumentRow *instrument;
	Reason fault; /* REASON_NONE, or why the instrument forbids it */
	int64 amount;
	Order order;                /* the order of a claimed key */
	struct Candidate *original; /* the first item of the batch with the same key */
} Candidate;

static int
compare_symbols(const OrderRequest *left, const OrderRequest *right)
{
	int order = memcmp(left->symbol, right->symbol, Min(left->symbol_length, right->symbol_length));

	if (order != 0)
		return order;
	return left->symbol_length < right->symbol_length   ? -1
		   : left->symbol_length > right->symbol_length ? 1
														: 0;
}

static int
compare_candidates(const void *left, const void *right)
{
	return compare_symbols((*(Candidate *const *) left)->request,
						   (*(Candidate *const *) right)->request);
}

/*
 * The checks that need no database. Returns the candidates that passed them, in the order of the
 * batch.
 */
static int
check_requests(const AdmissionItem *items, int count, Outcome *outcomes, Candidate **candidates)
{
	Candidate *all = palloc0(sizeof(Candidate) * Max(count, 1));
	int passed = 0;

	for (int i = 0; i < count; i++)
	{
		const OrderRequest *request = &items[i].request;
		Reason reason;
		Candidate *candidate = &all[i];

		if (items[i].missing != NULL)
		{
			outcome_refuse(&outcomes[i], REASON_FIELD_MISSING, "Field \"%s\" is null.",
						   items[i].missing);
			continue;
		}
		reason = rules_check_request(request);
		if (reason != REASON_NONE)
		{
			char detail[DETAIL_SIZE];

			rules_explain(reason, request, NULL, detail, sizeof(detail));
			outcome_refuse(&outcomes[i], reason, detail[0] != '\0' ? "%s" : NULL, detail);
			continue;
		}
		candidate->claim = (KeyClaim){.account_id = request->account_id,
									  .key = request->key,
									  .key_length = request->key_length,
									  .position = i};
		candidate->request = request;
		candidate->outcome = &outcomes[i];
		candidates[passed++] = candidate;
	}
	return passed;
}

/* Sorts the candidates by symbol, to look for each symbol once. */
static void
check_instruments(Candidate **candidates, int count)
{
	HotTable *table = instruments_open();

	qsort(candidates, count, sizeof(Candidate *), compare_candidates);
	for (int i = 0; i < count; i++)
	{
		Candidate *candidate = candidates[i];
		const Candidate *previous = i > 0 ? candidates[i - 1] : NULL;

		if (previous != NULL && compare_symbols(previous->request, candidate->request) == 0)
			candidate->instrument = previous->instrument;
		else
			candidate->instrument = instruments_find(table, candidate->request->symbol,
													 candidate->request->symbol_length);
		candidate->fault =
			candidate->instrument == NULL
				? REASON_UNKNOWN_SYMBOL
				: rules_check_instrument(candidate->request, &candidate->instrument->instrument,
										 &candidate->amount);
	}
	hot_table_close(table);
}

/*
 * Sorts the candidates and splits them: those that may claim their key (|claims|), and those whose
 * key can only be looked up, because their instrument forbids the order (|lookups|). Later items
 * with the same key refer to the first claim.
 */
static void
split_candidates(Candidate **candidates, int count, KeyClaim **claims, int *claim_count,
				 KeyClaim **lookups, int *lookup_count)
{
	Candidate *last = NULL;

	qsort(candidates, count, sizeof(Candidate *), idempotency_compare);
	*claim_count = 0;
	*lookup_count = 0;
	for (int i = 0; i < count; i++)
	{
		Candidate *candidate = candidates[i];
		KeyClaim *claim = &candidate->claim;

		if (candidate->fault != REASON_NONE)
		{
			lookups[(*lookup_count)++] = claim;
			continue;
		}
		if (last != NULL && idempotency_is_same(&last->claim, claim))
		{
			candidate->original = last;
			continue;
		}
		claims[(*claim_count)++] = claim;
		last = candidate;
	}
}

/* Gives each claim the id that its order will have, in the order of their keys. */
static void
number_orders(KeyClaim **claims, int count)
{
	int64 first = count > 0 ? ids_take(ids_sequence("order_id_seq"), count) : 0;

	for (int i = 0; i < count; i++)
		claims[i]->order_id = first + i;
}

static void
fill_order(Candidate *candidate, AdmissionMode mode)
{
	const OrderRequest *request = candidate->request;
	const Instrument *instrument = &candidate->instrument->instrument;
	Order *order = &candidate->order;

	*order = (Order){
		.order_id = candidate->claim.order_id,
		.account_id = request->account_id,
		.quantity = request->quantity,
		.price = request->price,
		.created_at = GetCurrentTransactionStartTimestamp(),
		.updated_at = GetCurrentTransactionStartTimestamp(),
		.side = (int16) request->side,
		.order_type = (int16) request->order_type,
		.time_in_force = (int16) request->time_in_force,
		.status = mode == ADMISSION_ACCEPT ? STATUS_ACCEPTED : STATUS_RECEIVED,
		.code = mode == ADMISSION_ACCEPT ? CODE_OK : 0,
		.hold = HOLD_NONE,
		.currency = pstrdup(instrument->currency),
		.symbol = candidate->instrument->symbol,
	};
	if (mode == ADMISSION_RECEIVE)
		order->reserve_amount = request->side == SIDE_BUY ? candidate->amount : request->quantity;
}

static int
compare_orders(const void *left, const void *right)
{
	int64 a = (*(Order *const *) left)->order_id;
	int64 b = (*(Order *const *) right)->order_id;

	return a < b ? -1 : a > b;
}

/* Inserts the orders of the claimed keys. */
static void
record_orders(KeyClaim **claims, int count, AdmissionMode mode)
{
	Order **orders = palloc(sizeof(Order *) * Max(count, 1));
	EventType *event_types = palloc(sizeof(EventType) * Max(count, 1));
	int order_count = 0;

	for (int i = 0; i < count; i++)
	{
		Candidate *candidate = (Candidate *) claims[i];

		if (!claims[i]->is_claimed)
			continue;
		fill_order(candidate, mode);
		event_types[order_count] = EVENT_ORDER_ACCEPTED;
		orders[order_count++] = &candidate->order;
		outcome_accept(candidate->outcome, &candidate->order, false);
	}
	/*
	 * Ids were taken in the order of keys, so this is sorted but for keys claimed in a later round.
	 */
	qsort(orders, order_count, sizeof(Order *), compare_orders);
	if (mode == ADMISSION_ACCEPT)
		transition_write(orders, event_types, order_count, true);
	else
		orders_insert(orders, order_count);
}

/* The answer to a request whose key stands for |order|. */
static void
answer_repeated(const OrderRequest *request, Command command, const Order *order, Outcome *outcome)
{
	OrderTerms terms = {.symbol = order->symbol,
						.side = order->side,
						.order_type = order->order_type,
						.time_in_force = order->time_in_force,
						.quantity = order->quantity,
						.price = order->price};
	const char *difference =
		command == COMMAND_PLACE ? rules_first_difference(request, &terms) : "command";

	if (difference != NULL)
		outcome_refuse_for(outcome, REASON_KEY_REUSED, order,
						   "Differs in \"%s\" from the request of order " INT64_FORMAT ".",
						   difference, order->order_id);
	else if (order->status == STATUS_RECEIVED)
		outcome_refuse_for(outcome, REASON_IN_PROGRESS, order, "Order id is " INT64_FORMAT ".",
						   order->order_id);
	else
		outcome_replay(outcome, order);
}

static void
refuse_for_instrument(Candidate *candidate)
{
	char detail[DETAIL_SIZE];
	const Instrument *instrument =
		candidate->instrument != NULL ? &candidate->instrument->instrument : NULL;

	rules_explain(candidate->fault, candidate->request, instrument, detail, sizeof(detail));
	outcome_refuse(candidate->outcome, candidate->fault, detail[0] != '\0' ? "%s" : NULL, detail);
}

/*
 * Answers everything that was not recorded now: by the order its key stands for, or by the
 * instrument.
 */
static void
answer_rest(Candidate **candidates, int count)
{
	int64 *order_ids = palloc(sizeof(int64) * count);
	int id_count = 0;
	OrderSet set;

	for (int i = 0; i < count; i++)
	{
		if (candidates[i]->claim.is_found)
			order_ids[id_count++] = candidates[i]->claim.found_order_id;
	}
	set = orders_read(order_ids, id_count);
	for (int i = 0; i < count; i++)
	{
		Candidate *candidate = candidates[i];
		const KeyClaim *claim = &candidate->claim;

		if (claim->is_claimed || candidate->original != NULL)
			continue;
		if (claim->is_found)
		{
			const Order *order = orders_find(&set, claim->found_order_id);

			if (order == NULL)
				elog(ERROR,
					 "idempotency key stands for order " INT64_FORMAT ", which does not exist",
					 claim->found_order_id);
			answer_repeated(candidate->request, claim->found_command, order, candidate->outcome);
		}
		else
			refuse_for_instrument(candidate);
	}
	for (int i = 0; i < count; i++)
	{
		Candidate *candidate = candidates[i];
		const Candidate *original = candidate->original;

		if (original != NULL)
			answer_repeated(
				candidate->request,
				original->claim.is_claimed ? COMMAND_PLACE : original->claim.found_command,
				original->claim.is_claimed ? &original->order
										   : orders_find(&set, original->claim.found_order_id),
				candidate->outcome);
	}
}

void
admission_run(const AdmissionItem *items, int count, AdmissionMode mode, Outcome *outcomes)
{
	Candidate **candidates = palloc(sizeof(Candidate *) * Max(count, 1));
	KeyClaim **claims = palloc(sizeof(KeyClaim *) * Max(count, 1));
	KeyClaim **lookups = palloc(sizeof(KeyClaim *) * Max(count, 1));
	int passed = check_requests(items, count, outcomes, candidates);
	int claim_count;
	int lookup_count;

	if (passed == 0)
		return;
	check_instruments(candidates, passed);
	split_candidates(candidates, passed, claims, &claim_count, lookups, &lookup_count);
	number_orders(claims, claim_count);
	idempotency_claim(claims, claim_count, COMMAND_PLACE);
	idempotency_find(lookups, lookup_count);
	record_orders(claims, claim_count, mode);
	answer_rest(candidates, passed);
}
