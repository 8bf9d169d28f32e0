/*
 * document.c
 *		Accounts, holds and totals as JSON.
 *
 * FAILURE	admin.c gives jansson an allocator that never returns NULL, so making a document cannot
 *			fail.
 */
#include "document.h"

#include <string.h>

#include "account_bounds.h"

/* The fields of a document that hold balances. */
static const char *const kind_fields[] = {
	[LEDGER_CASH] = "cash",
	[LEDGER_POSITION] = "positions",
};

static const char *const kind_names[] = {
	[LEDGER_CASH] = "cash",
	[LEDGER_POSITION] = "position",
};

static const char *const status_names[] = {
	[LEDGER_ACTIVE] = "ACTIVE",
	[LEDGER_SUSPENDED] = "SUSPENDED",
};

static const Field account_fields[] = {
	{"account_id", FIELD_INTEGER}, {"status", FIELD_TEXT}, {"cash", FIELD_OBJECT},
	{"positions", FIELD_OBJECT},   {NULL, FIELD_TEXT},
};

/* Accounts ------------------------------------------------------------------------------------ */

static bool
put_balances(const json_t *balances, Ledger *ledger, int64_t account_id, LedgerKind kind,
			 char error[FIELDS_ERROR_SIZE])
{
	const json_t *amount;
	const char *item;

	json_object_foreach((json_t *) balances, item, amount)
	{
		if (!ledger_is_text(item, ACCOUNT_ITEM_BYTES_MAX))
			return fields_fail(error, "a name in \"%s\" must be 1 to %d printable characters",
							   kind_fields[kind], ACCOUNT_ITEM_BYTES_MAX);
		if (!json_is_integer(amount) || json_integer_value(amount) < 0)
			return fields_fail(error, "\"%s\" in \"%s\" must be an integer, 0 or more", item,
							   kind_fields[kind]);
		if (!ledger_add(ledger, account_id, kind, item, json_integer_value(amount)))
			return fields_fail(error, "\"%s\" of account %lld would be above %lld", item,
							   (long long) account_id, (long long) INT64_MAX);
	}
	return true;
}

static bool
put_account(const json_t *document, Ledger *ledger, char error[FIELDS_ERROR_SIZE])
{
	LedgerStatus status = LEDGER_ACTIVE;
	int64_t account_id = 0;
	const char *text;

	if (!fields_check(document, "an account", account_fields, error))
		return false;
	if (json_object_get(document, "account_id") == NULL)
		return fields_fail(error, "an account needs \"account_id\"");
	if (!fields_integer(document, "account_id", 1, INT64_MAX, &account_id, error))
		return false;
	/* An account that exists keeps its status when none is given. */
	ledger_find_account(ledger, account_id, &status);
	text = json_string_value(json_object_get(document, "status"));
	if (text != NULL && strcmp(text, status_names[LEDGER_ACTIVE]) == 0)
		status = LEDGER_ACTIVE;
	else if (text != NULL && strcmp(text, status_names[LEDGER_SUSPENDED]) == 0)
		status = LEDGER_SUSPENDED;
	else if (text != NULL)
		return fields_fail(error, "\"status\" must be \"ACTIVE\" or \"SUSPENDED\"");
	ledger_put_account(ledger, account_id, status);
	return put_balances(json_object_get(document, "cash"), ledger, account_id, LEDGER_CASH,
						error) &&
		   put_balances(json_object_get(document, "positions"), ledger, account_id, LEDGER_POSITION,
						error);
}

int
document_put_accounts(const json_t *document, Ledger *ledger, char error[FIELDS_ERROR_SIZE])
{
	size_t count = json_array_size(document);

	if (!json_is_array(document))
		return put_account(document, ledger, error) ? 1 : -1;
	if (count > ACCOUNT_ADMIN_ACCOUNTS_MAX)
	{
		fields_fail(error, "at most %d accounts at a time", ACCOUNT_ADMIN_ACCOUNTS_MAX);
		return -1;
	}
	for (size_t i = 0; i < count; i++)
	{
		if (!put_account(json_array_get(document, i), ledger, error))
			return -1;
	}
	return (int) count;
}

static void
add_balance(void *context, const LedgerBalance *balance)
{
	json_t *kinds = json_object_get(context, kind_fields[balance->kind]);

	json_object_set_new(kinds, balance->item,
						json_pack("{s:I, s:I}", "available", (json_int_t) balance->available,
								  "reserved", (json_int_t) balance->reserved));
}

json_t *
document_account(Ledger *ledger, int64_t account_id)
{
	LedgerStatus status;
	json_t *document;

	if (!ledger_find_account(ledger, account_id, &status))
		return NULL;
	document = json_pack("{s:I, s:s, s:{}, s:{}}", "account_id", (json_int_t) account_id, "status",
						 status_names[status], "cash", "positions");
	ledger_each_balance(ledger, account_id, add_balance, document);
	return document;
}

/* Holds --------------------------------------------------------------------------------------- */

/* Fields as the contract names them; the one that belongs to the other kind is empty. */
static void
add_hold(void *context, const LedgerReservation *hold)
{
	bool is_cash = hold->kind == LEDGER_CASH;
	json_t *document =
		json_pack("{s:s, s:I, s:s, s:s, s:s, s:I, s:s}", "reserve_id", hold->reserve_id,
				  "account_id", (json_int_t) hold->account_id, "kind", kind_names[hold->kind],
				  "currency", is_cash ? hold->item : "", "symbol", is_cash ? "" : hold->item,
				  "amount", (json_int_t) hold->amount, "order_id", hold->order_id);

	json_array_append_new(context, document);
}

json_t *
document_holds(Ledger *ledger, const char *after, int limit)
{
	json_t *holds = json_array();
	json_t *next = NULL;

	if (!ledger_each_hold(ledger, after, limit, add_hold, holds))
	{
		json_decref(holds);
		return NULL;
	}
	/* A page that is full may be the last one; the next is empty then. */
	if (json_array_size(holds) == (size_t) limit)
		next = json_object_get(json_array_get(holds, (size_t) limit - 1), "reserve_id");
	return json_pack("{s:o, s:O?}", "holds", holds, "next", next);
}

/* Totals -------------------------------------------------------------------------------------- */

/* Calls by method and result, without those that never happened. */
static json_t *
document_calls(const ServiceTotals *totals)
{
	json_t *calls = json_object();

	for (int i = 0; i < METHOD_COUNT; i++)
	{
		json_t *results = json_object();

		for (int j = 0; j < LEDGER_RESULT_COUNT; j++)
		{
			if (totals->results[i][j] > 0)
				json_object_set_new(results, method_result_name(j),
									json_integer(totals->results[i][j]));
		}
		json_object_set_new(calls, method_name((Method) i), results);
	}
	return calls;
}

static json_t *
document_seen(const ServiceTotals *totals)
{
	json_t *seen = json_object();

	for (int i = 0; i < METHOD_COUNT; i++)
		json_object_set_new(seen, method_name((Method) i), json_integer(totals->seen[i]));
	return seen;
}

static json_t *
document_fault_hits(const Faults *faults)
{
	json_t *hits = json_object();

	for (int i = 0; i < FAULT_KIND_COUNT; i++)
	{
		if (faults->hits[i] > 0)
			json_object_set_new(hits, fault_kind_name((FaultKind) i),
								json_integer(faults->hits[i]));
	}
	return hits;
}

json_t *
document_totals(Ledger *ledger, const Faults *faults, const ServiceTotals *totals)
{
	LedgerCounts counts = ledger_counts(ledger);
	json_t *document =
		json_pack("{s:I, s:I, s:I, s:{}, s:{}, s:o, s:o, s:o, s:{s:I, s:I, s:I}}", "accounts",
				  (json_int_t) counts.accounts, "held", (json_int_t) counts.held, "released",
				  (json_int_t) counts.released, "cash", "positions", "seen", document_seen(totals),
				  "calls", document_calls(totals), "faults", document_fault_hits(faults), "refused",
				  "unknown_method", (json_int_t) totals->unknown_method, "unreadable",
				  (json_int_t) totals->unreadable, "overloaded", (json_int_t) totals->overloaded);

	if (ledger_each_balance(ledger, 0, add_balance, document))
		return document;
	json_decref(document);
	return NULL;
}
