/*
 * idempotency.c
 *		The table idempotency_key.
 *
 * DESIGN	A claim is the insert itself; nothing is looked up before. What the insert passes over
 *			was committed by somebody, and is read by a later statement, whose snapshot shows it
 *			(READ COMMITTED; under REPEATABLE READ the server raises a serialization failure
 *			instead).
 *
 * FAILURE	Claim and order are one transaction: a crash leaves both or neither.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "hot_table.h"
#include "idempotency.h"
#include "rows.h"
#include "settings.h"

/* A claim is tried again where the key it met was gone before it could be read. */
#define CLAIM_ROUNDS_MAX 10

/* The columns of the table; in this order below. */
enum
{
	KEY,
	ACCOUNT_ID,
	ORDER_ID,
	CREATED_AT,
	COMMAND,
	COLUMN_COUNT
};

static HotColumns key_columns = {
	.table = "idempotency_key",
	.key = HOT_KEY_TEXT,
	.count = COLUMN_COUNT,
	.names = {"key", "account_id", "order_id", "created_at", "command"},
};

static RowStatement take_over_statement = {
	.sql = "UPDATE order_service.idempotency_key k"
		   " SET order_id = u.order_id, command = $4, created_at = pg_catalog.now()"
		   " FROM %s WHERE k.account_id = u.account_id AND k.key = u.key COLLATE \"C\""
		   " AND k.created_at < pg_catalog.now() - pg_catalog.make_interval(secs => $5)"
		   " RETURNING k.account_id, k.key",
	.columns = "account_id, key, order_id",
	.column_count = 3,
	.column_types = {INT8OID, TEXTOID, INT8OID},
	.further_count = 2,
	.further_types = {INT2OID, FLOAT8OID},
};

static RowStatement find_statement = {
	.sql = "SELECT u.number, k.command, k.order_id,"
		   " k.created_at < pg_catalog.now() - pg_catalog.make_interval(secs => $4)"
		   " FROM %s JOIN order_service.idempotency_key k"
		   " ON k.account_id = u.account_id AND k.key = u.key COLLATE \"C\"",
	.columns = "account_id, key, number",
	.column_count = 3,
	.column_types = {INT8OID, TEXTOID, INT8OID},
	.further_count = 1,
	.further_types = {FLOAT8OID},
};

/* In the order of the primary key. */
static int
compare_key(const KeyClaim *claim, int64 account_id, const char *key, Size key_length)
{
	int order = memcmp(claim->key, key, Min(claim->key_length, key_length));

	if (order != 0)
		return order;
	if (claim->key_length != key_length)
		return claim->key_length < key_length ? -1 : 1;
	return claim->account_id == account_id ? 0 : claim->account_id < account_id ? -1 : 1;
}

int
idempotency_compare(const void *left, const void *right)
{
	const KeyClaim *a = *(KeyClaim *const *) left;
	const KeyClaim *b = *(KeyClaim *const *) right;
	int order = compare_key(a, b->account_id, b->key, b->key_length);

	return order != 0 ? order : a->position - b->position;
}

bool
idempotency_is_same(const KeyClaim *left, const KeyClaim *right)
{
	return compare_key(left, right->account_id, right->key, right->key_length) == 0;
}

static Datum
key_datum(const KeyClaim *claim)
{
	return PointerGetDatum(cstring_to_text_with_len(claim->key, (int) claim->key_length));
}

/* Account, key and what goes with it: the columns of both statements. */
static Rows
key_rows(RowStatement *statement, KeyClaim **claims, int count)
{
	Rows rows = rows_new(statement, count);

	for (int i = 0; i < count; i++)
	{
		const KeyClaim *claim = claims[i];

		rows_set(&rows, i, 0, Int64GetDatum(claim->account_id));
		rows_set(&rows, i, 1, key_datum(claim));
		rows_set(&rows, i, 2, Int64GetDatum(claim->order_id));
	}
	return rows;
}

/* The claim of a returned row; the claims are sorted. */
static KeyClaim *
find_claim(KeyClaim **claims, int count, int64 account_id, const char *key)
{
	Size key_length = strlen(key);
	int low = 0;
	int high = count;

	while (low < high)
	{
		int middle = low + (high - low) / 2;

		if (compare_key(claims[middle], account_id, key, key_length) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == count || compare_key(claims[low], account_id, key, key_length) != 0)
		elog(ERROR, "idempotency key returned that was not claimed");
	return claims[low];
}

static void
mark_returned(KeyClaim **claims, int count, uint64 rows)
{
	for (uint64 row = 0; row < rows; row++)
	{
		char *key = statement_text(row, 2, CurrentMemoryContext);

		find_claim(claims, count, statement_int64(row, 1), key)->is_claimed = true;
		pfree(key);
	}
}

static void
insert_keys(KeyClaim **claims, int count, Command command)
{
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	HotTable *table = hot_table_open(&key_columns, RowExclusiveLock);
	bool *is_inserted = palloc(sizeof(bool) * count);

	hot_table_tell_inserted(table, is_inserted);
	for (int i = 0; i < count; i++)
	{
		hot_table_add(table);
		hot_table_set(table, ACCOUNT_ID, Int64GetDatum(claims[i]->account_id));
		hot_table_set(table, KEY, key_datum(claims[i]));
		hot_table_set(table, ORDER_ID, Int64GetDatum(claims[i]->order_id));
		hot_table_set(table, CREATED_AT, TimestampTzGetDatum(now));
		hot_table_set(table, COMMAND, Int16GetDatum(command));
	}
	hot_table_insert(table);
	hot_table_close(table);
	for (int i = 0; i < count; i++)
		claims[i]->is_claimed = is_inserted[i];
	pfree(is_inserted);
}

/* Claims keys that were found expired, unless somebody else has by now. */
static void
take_over_keys(KeyClaim **claims, int count, Command command)
{
	Datum further[] = {Int16GetDatum(command), Float8GetDatum(settings_idempotency_retention_s)};
	Rows rows;

	if (count == 0)
		return;
	rows = key_rows(&take_over_statement, claims, count);
	mark_returned(claims, count, rows_run(&rows, further));
}

void
idempotency_find(KeyClaim **claims, int count)
{
	Datum further[] = {Float8GetDatum(settings_idempotency_retention_s)};
	Rows rows;
	uint64 found_count;

	if (count == 0)
		return;
	rows = key_rows(&find_statement, claims, count);
	/* What is found says which claim it belongs to. */
	for (int i = 0; i < count; i++)
		rows_set(&rows, i, 2, Int64GetDatum(i));
	found_count = rows_run(&rows, further);
	for (uint64 row = 0; row < found_count; row++)
	{
		KeyClaim *claim = claims[statement_int64(row, 1)];
		bool is_null;

		claim->found_command = statement_int16(row, 2);
		claim->found_order_id = statement_int64(row, 3);
		claim->is_expired = DatumGetBool(
			SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 4, &is_null));
		claim->is_found = !claim->is_expired;
	}
}

/*
 * Moves the claims that are |is_wanted| to the front of |selected|, in order; returns their number.
 */
static int
select_claims(KeyClaim **claims, int count, bool (*is_wanted)(const KeyClaim *),
			  KeyClaim **selected)
{
	int selected_count = 0;

	for (int i = 0; i < count; i++)
	{
		if (is_wanted(claims[i]))
			selected[selected_count++] = claims[i];
	}
	return selected_count;
}

static bool
is_unclaimed(const KeyClaim *claim)
{
	return !claim->is_claimed;
}

static bool
is_expired(const KeyClaim *claim)
{
	return claim->is_expired;
}

/* Neither claimed nor known to be in use: pruned or taken over by somebody else in between. */
static bool
is_undecided(const KeyClaim *claim)
{
	return !claim->is_claimed && !claim->is_found;
}

void
idempotency_claim(KeyClaim **claims, int count, Command command)
{
	KeyClaim **open = palloc(sizeof(KeyClaim *) * Max(count, 1));
	KeyClaim **expired = palloc(sizeof(KeyClaim *) * Max(count, 1));
	int open_count = select_claims(claims, count, is_undecided, open);

	for (int round = 0; open_count > 0; round++)
	{
		if (round == CLAIM_ROUNDS_MAX)
			ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
							errmsg("could not claim an idempotency key that keeps changing")));
		insert_keys(open, open_count, command);
		open_count = select_claims(open, open_count, is_unclaimed, open);
		idempotency_find(open, open_count);
		take_over_keys(expired, select_claims(open, open_count, is_expired, expired), command);
		open_count = select_claims(open, open_count, is_undecided, open);
	}
	pfree(open);
	pfree(expired);
}
