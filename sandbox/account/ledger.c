/*
 * ledger.c
 *		Accounts, balances and reservations.
 *
 * DESIGN	One table for cash and positions, told apart by a kind: the rules are the same. Amounts
 *			move within a balance; a reservation says how much of it is whose.
 *
 *			Statements are prepared once. All about reservations number their parameters alike, so
 *			that one function binds them.
 *
 *			How many reservations there are is counted along, because counting them would read the
 *			whole table.
 *
 * FAILURE	See database.c. A transaction that failed leaves the counts as they were before it.
 */
#include "ledger.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "account_bounds.h"
#include "base/bytes.h"
#include "database.h"

#define SCHEMA_VERSION 1

typedef enum ReservationState
{
	RESERVATION_HELD = 0,
	RESERVATION_RELEASED = 1,
} ReservationState;

/* Parameters of the statements that have them. */
enum
{
	PARAMETER_ACCOUNT = 1,
	PARAMETER_KIND,
	PARAMETER_ITEM,
	PARAMETER_AMOUNT,
	PARAMETER_RESERVE_ID,
	PARAMETER_ORDER_ID,
	PARAMETER_STATE, /* of the reservation, or of the account */
};

typedef enum StatementId
{
	STATEMENT_FIND_RESERVATION,
	STATEMENT_FIND_ACCOUNT,
	STATEMENT_FIND_BALANCE,
	STATEMENT_MOVE,
	STATEMENT_INSERT,
	STATEMENT_RELEASE,
	STATEMENT_PUT_ACCOUNT,
	STATEMENT_ADD,
	STATEMENT_BALANCES,
	STATEMENT_SUMS,
	STATEMENT_HOLDS,
	STATEMENT_COUNTS,
	STATEMENT_COUNT
} StatementId;

struct Ledger
{
	Database *database;
	bool is_duplicate_reported;
	LedgerCounts counts;    /* with the open transaction */
	LedgerCounts committed; /* without it */
};

/* A reservation as it is in the database. */
typedef struct Stored
{
	ReservationState state;
	LedgerKind kind;
	int64_t account_id;
	int64_t amount;
	char item[ACCOUNT_ITEM_BYTES_MAX + 1];
	char order_id[ACCOUNT_ORDER_ID_BYTES_MAX + 1];
} Stored;

static const char schema[] =
	"CREATE TABLE account (account_id INTEGER PRIMARY KEY, status INTEGER NOT NULL) STRICT;"
	"CREATE TABLE balance ("
	" account_id INTEGER NOT NULL, kind INTEGER NOT NULL, item TEXT NOT NULL,"
	" available INTEGER NOT NULL CHECK (available >= 0),"
	" reserved INTEGER NOT NULL CHECK (reserved >= 0),"
	" PRIMARY KEY (account_id, kind, item)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE reservation ("
	" reserve_id TEXT NOT NULL PRIMARY KEY, state INTEGER NOT NULL,"
	" account_id INTEGER NOT NULL, kind INTEGER NOT NULL, item TEXT NOT NULL,"
	" amount INTEGER NOT NULL CHECK (amount >= 0), order_id TEXT NOT NULL) STRICT, WITHOUT ROWID;";

static const char *const statement_texts[STATEMENT_COUNT] = {
	[STATEMENT_FIND_RESERVATION] = "SELECT state, kind, account_id, amount, item, order_id"
								   " FROM reservation WHERE reserve_id = ?5",
	[STATEMENT_FIND_ACCOUNT] = "SELECT status FROM account WHERE account_id = ?1",
	[STATEMENT_FIND_BALANCE] = "SELECT available, reserved FROM balance"
							   " WHERE account_id = ?1 AND kind = ?2 AND item = ?3",
	[STATEMENT_MOVE] = "UPDATE balance SET available = available - ?4, reserved = reserved + ?4"
					   " WHERE account_id = ?1 AND kind = ?2 AND item = ?3 AND available >= ?4",
	[STATEMENT_INSERT] = "INSERT INTO reservation"
						 " (account_id, kind, item, amount, reserve_id, order_id, state)"
						 " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	[STATEMENT_RELEASE] = "UPDATE reservation SET state = ?7 WHERE reserve_id = ?5",
	[STATEMENT_PUT_ACCOUNT] = "INSERT INTO account (account_id, status) VALUES (?1, ?7)"
							  " ON CONFLICT (account_id) DO UPDATE SET status = excluded.status",
	[STATEMENT_ADD] = "INSERT INTO balance (account_id, kind, item, available, reserved)"
					  " VALUES (?1, ?2, ?3, ?4, 0) ON CONFLICT (account_id, kind, item)"
					  " DO UPDATE SET available = available + excluded.available",
	[STATEMENT_BALANCES] = "SELECT kind, item, available, reserved FROM balance"
						   " WHERE account_id = ?1 ORDER BY kind, item",
	[STATEMENT_SUMS] = "SELECT kind, item, sum(available), sum(reserved) FROM balance"
					   " GROUP BY kind, item ORDER BY kind, item",
	[STATEMENT_HOLDS] = "SELECT reserve_id, account_id, kind, item, amount, order_id"
						" FROM reservation WHERE reserve_id > ?1 AND state = 0"
						" ORDER BY reserve_id LIMIT ?2",
	[STATEMENT_COUNTS] = "SELECT (SELECT count(*) FROM account), count(*) FILTER (WHERE state = 0),"
						 " count(*) FILTER (WHERE state = 1) FROM reservation",
};

static const DatabaseDesign design = {
	.schema = schema,
	.version = SCHEMA_VERSION,
	.statements = statement_texts,
	.statement_count = STATEMENT_COUNT,
};

/* Binds as many of a reservation's parameters as the statement has. */
static sqlite3_stmt *
ledger_bind(Ledger *ledger, StatementId id, const LedgerReservation *reservation)
{
	sqlite3_stmt *statement = database_statement(ledger->database, id);
	int count = sqlite3_bind_parameter_count(statement);

	if (count >= PARAMETER_ACCOUNT)
		sqlite3_bind_int64(statement, PARAMETER_ACCOUNT, reservation->account_id);
	if (count >= PARAMETER_KIND)
		sqlite3_bind_int(statement, PARAMETER_KIND, reservation->kind);
	if (count >= PARAMETER_ITEM)
		sqlite3_bind_text(statement, PARAMETER_ITEM, reservation->item, -1, SQLITE_STATIC);
	if (count >= PARAMETER_AMOUNT)
		sqlite3_bind_int64(statement, PARAMETER_AMOUNT, reservation->amount);
	if (count >= PARAMETER_RESERVE_ID)
		sqlite3_bind_text(statement, PARAMETER_RESERVE_ID, reservation->reserve_id, -1,
						  SQLITE_STATIC);
	if (count >= PARAMETER_ORDER_ID)
		sqlite3_bind_text(statement, PARAMETER_ORDER_ID, reservation->order_id, -1, SQLITE_STATIC);
	return statement;
}

/* Opening and transactions -------------------------------------------------------------------- */

static bool
ledger_count_all(Ledger *ledger)
{
	sqlite3_stmt *statement = database_statement(ledger->database, STATEMENT_COUNTS);

	if (database_step(ledger->database, statement))
	{
		ledger->counts.accounts = sqlite3_column_int64(statement, 0);
		ledger->counts.held = sqlite3_column_int64(statement, 1);
		ledger->counts.released = sqlite3_column_int64(statement, 2);
	}
	ledger->committed = ledger->counts;
	sqlite3_reset(statement);
	return !database_has_failed(ledger->database);
}

Ledger *
ledger_open(const LedgerOptions *options)
{
	Ledger *ledger = bytes_new_zeroed(1, sizeof(*ledger));

	ledger->is_duplicate_reported = options->is_duplicate_reported;
	ledger->database =
		database_open(options->path, options->is_durable, options->database_bytes_max, &design);
	if (ledger->database != NULL && ledger_count_all(ledger))
		return ledger;
	ledger_close(ledger);
	return NULL;
}

void
ledger_close(Ledger *ledger)
{
	database_close(ledger->database);
	free(ledger);
}

void
ledger_begin(Ledger *ledger)
{
	database_begin(ledger->database);
}

bool
ledger_commit(Ledger *ledger)
{
	bool is_committed = database_commit(ledger->database);

	if (is_committed)
		ledger->committed = ledger->counts;
	else
		ledger->counts = ledger->committed;
	return is_committed;
}

void
ledger_rollback(Ledger *ledger)
{
	database_rollback(ledger->database);
	ledger->counts = ledger->committed;
}

/* Reservations -------------------------------------------------------------------------------- */

bool
ledger_is_text(const char *text, size_t size_max)
{
	size_t size = strnlen(text, size_max + 1);

	if (size == 0 || size > size_max)
		return false;
	for (size_t i = 0; i < size; i++)
	{
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	}
	return true;
}

static void
column_copy(sqlite3_stmt *statement, int column, char *text, size_t size)
{
	snprintf(text, size, "%s", (const char *) sqlite3_column_text(statement, column));
}

static bool
ledger_find(Ledger *ledger, const LedgerReservation *reservation, Stored *stored)
{
	sqlite3_stmt *statement = ledger_bind(ledger, STATEMENT_FIND_RESERVATION, reservation);
	bool is_found = database_step(ledger->database, statement);

	if (is_found)
	{
		stored->state = (ReservationState) sqlite3_column_int(statement, 0);
		stored->kind = (LedgerKind) sqlite3_column_int(statement, 1);
		stored->account_id = sqlite3_column_int64(statement, 2);
		stored->amount = sqlite3_column_int64(statement, 3);
		column_copy(statement, 4, stored->item, sizeof(stored->item));
		column_copy(statement, 5, stored->order_id, sizeof(stored->order_id));
	}
	sqlite3_reset(statement);
	return is_found;
}

static bool
stored_is_same(const Stored *stored, const LedgerReservation *reservation)
{
	return stored->account_id == reservation->account_id && stored->kind == reservation->kind &&
		   stored->amount == reservation->amount && strcmp(stored->item, reservation->item) == 0 &&
		   strcmp(stored->order_id, reservation->order_id) == 0;
}

/* Moves the amount to reserved, a negative one back; false when there is not so much. */
static bool
ledger_move(Ledger *ledger, const LedgerReservation *reservation)
{
	ledger_bind(ledger, STATEMENT_MOVE, reservation);
	return database_run(ledger->database, STATEMENT_MOVE) == 1;
}

static void
ledger_insert(Ledger *ledger, const LedgerReservation *reservation, ReservationState state)
{
	sqlite3_stmt *statement = ledger_bind(ledger, STATEMENT_INSERT, reservation);

	sqlite3_bind_int(statement, PARAMETER_STATE, state);
	database_run(ledger->database, STATEMENT_INSERT);
	if (state == RESERVATION_HELD)
		ledger->counts.held++;
	else
		ledger->counts.released++;
}

static bool
ledger_find_balance(Ledger *ledger, const LedgerReservation *reservation, LedgerBalance *balance)
{
	sqlite3_stmt *statement = ledger_bind(ledger, STATEMENT_FIND_BALANCE, reservation);
	bool is_found = database_step(ledger->database, statement);

	if (is_found)
	{
		balance->available = sqlite3_column_int64(statement, 0);
		balance->reserved = sqlite3_column_int64(statement, 1);
	}
	sqlite3_reset(statement);
	return is_found;
}

/* Why an amount could not be moved. */
static LedgerResult
ledger_shortage(Ledger *ledger, const LedgerReservation *reservation)
{
	LedgerBalance balance;

	if (reservation->kind == LEDGER_CASH)
		return LEDGER_INSUFFICIENT_FUNDS;
	if (ledger_find_balance(ledger, reservation, &balance))
		return LEDGER_INSUFFICIENT_POSITION;
	return LEDGER_POSITION_NOT_FOUND;
}

static LedgerResult
ledger_reserve_new(Ledger *ledger, const LedgerReservation *reservation)
{
	LedgerStatus status;

	if (!ledger_find_account(ledger, reservation->account_id, &status))
		return LEDGER_ACCOUNT_NOT_FOUND;
	if (status != LEDGER_ACTIVE)
		return LEDGER_ACCOUNT_SUSPENDED;
	if (!ledger_move(ledger, reservation))
		return ledger_shortage(ledger, reservation);
	ledger_insert(ledger, reservation, RESERVATION_HELD);
	return LEDGER_SUCCESS;
}

LedgerResult
ledger_reserve(Ledger *ledger, const LedgerReservation *reservation)
{
	LedgerResult result;
	Stored stored;

	assert(database_is_in_transaction(ledger->database));
	if (database_has_failed(ledger->database))
		return LEDGER_INTERNAL_ERROR;
	if (reservation->account_id <= 0 ||
		!ledger_is_text(reservation->reserve_id, ACCOUNT_RESERVE_ID_BYTES_MAX) ||
		!ledger_is_text(reservation->item, ACCOUNT_ITEM_BYTES_MAX) ||
		!ledger_is_text(reservation->order_id, ACCOUNT_ORDER_ID_BYTES_MAX))
		return LEDGER_INVALID_REQUEST;
	if (reservation->amount <= 0)
		return LEDGER_INVALID_AMOUNT;
	if (!ledger_find(ledger, reservation, &stored))
		result = ledger_reserve_new(ledger, reservation);
	else if (stored.state == RESERVATION_HELD && stored_is_same(&stored, reservation))
		result = ledger->is_duplicate_reported ? LEDGER_DUPLICATE_REQUEST : LEDGER_SUCCESS;
	else
		result = LEDGER_INVALID_REQUEST;
	return database_has_failed(ledger->database) ? LEDGER_INTERNAL_ERROR : result;
}

/* Turns a reservation that holds into a tombstone. */
static void
ledger_release_held(Ledger *ledger, const char *reserve_id, const Stored *stored)
{
	LedgerReservation back = {.reserve_id = reserve_id,
							  .account_id = stored->account_id,
							  .kind = stored->kind,
							  .item = stored->item,
							  .amount = -stored->amount,
							  .order_id = stored->order_id};
	sqlite3_stmt *statement;
	bool is_moved = ledger_move(ledger, &back);

	/* A reservation without its balance would mean that the ledger is wrong. */
	assert(is_moved || database_has_failed(ledger->database));
	statement = ledger_bind(ledger, STATEMENT_RELEASE, &back);
	sqlite3_bind_int(statement, PARAMETER_STATE, RESERVATION_RELEASED);
	database_run(ledger->database, STATEMENT_RELEASE);
	ledger->counts.held--;
	ledger->counts.released++;
}

LedgerResult
ledger_release(Ledger *ledger, const LedgerReservation *reservation)
{
	LedgerReservation tombstone = {.reserve_id = reservation->reserve_id,
								   .account_id = reservation->account_id,
								   .kind = reservation->kind,
								   .item = "",
								   .order_id = ""};
	Stored stored;

	assert(database_is_in_transaction(ledger->database));
	if (database_has_failed(ledger->database))
		return LEDGER_INTERNAL_ERROR;
	if (reservation->account_id <= 0 ||
		!ledger_is_text(reservation->reserve_id, ACCOUNT_RESERVE_ID_BYTES_MAX))
		return LEDGER_INVALID_REQUEST;
	if (!ledger_find(ledger, &tombstone, &stored))
	{
		if (!database_has_failed(ledger->database))
			ledger_insert(ledger, &tombstone, RESERVATION_RELEASED);
	}
	else if (stored.account_id != reservation->account_id || stored.kind != reservation->kind)
		return LEDGER_INVALID_REQUEST;
	else if (stored.state == RESERVATION_HELD)
		ledger_release_held(ledger, reservation->reserve_id, &stored);
	return database_has_failed(ledger->database) ? LEDGER_INTERNAL_ERROR : LEDGER_SUCCESS;
}

/* Accounts ------------------------------------------------------------------------------------ */

bool
ledger_find_account(Ledger *ledger, int64_t account_id, LedgerStatus *status)
{
	sqlite3_stmt *statement = database_statement(ledger->database, STATEMENT_FIND_ACCOUNT);
	bool is_found;

	sqlite3_bind_int64(statement, PARAMETER_ACCOUNT, account_id);
	is_found = database_step(ledger->database, statement);
	if (is_found)
		*status = (LedgerStatus) sqlite3_column_int(statement, 0);
	sqlite3_reset(statement);
	return is_found;
}

void
ledger_put_account(Ledger *ledger, int64_t account_id, LedgerStatus status)
{
	sqlite3_stmt *statement = database_statement(ledger->database, STATEMENT_PUT_ACCOUNT);
	LedgerStatus old_status;

	assert(database_is_in_transaction(ledger->database));
	assert(account_id > 0);
	if (!ledger_find_account(ledger, account_id, &old_status))
		ledger->counts.accounts++;
	sqlite3_bind_int64(statement, PARAMETER_ACCOUNT, account_id);
	sqlite3_bind_int(statement, PARAMETER_STATE, status);
	database_run(ledger->database, STATEMENT_PUT_ACCOUNT);
}

bool
ledger_add(Ledger *ledger, int64_t account_id, LedgerKind kind, const char *item, int64_t amount)
{
	LedgerReservation addition = {.reserve_id = "",
								  .account_id = account_id,
								  .kind = kind,
								  .item = item,
								  .amount = amount,
								  .order_id = ""};
	LedgerBalance balance;

	assert(database_is_in_transaction(ledger->database));
	assert(amount >= 0);
	assert(ledger_is_text(item, ACCOUNT_ITEM_BYTES_MAX));
	if (ledger_find_balance(ledger, &addition, &balance) &&
		amount > INT64_MAX - balance.available - balance.reserved)
		return false;
	ledger_bind(ledger, STATEMENT_ADD, &addition);
	database_run(ledger->database, STATEMENT_ADD);
	return true;
}

/* Reading ------------------------------------------------------------------------------------- */

bool
ledger_each_balance(Ledger *ledger, int64_t account_id, LedgerBalanceCallback callback,
					void *context)
{
	StatementId id = account_id == 0 ? STATEMENT_SUMS : STATEMENT_BALANCES;
	sqlite3_stmt *statement = database_statement(ledger->database, id);

	assert(!database_is_in_transaction(ledger->database));
	database_clear(ledger->database);
	if (account_id != 0)
		sqlite3_bind_int64(statement, PARAMETER_ACCOUNT, account_id);
	while (database_step(ledger->database, statement))
	{
		LedgerBalance balance = {.kind = (LedgerKind) sqlite3_column_int(statement, 0),
								 .item = (const char *) sqlite3_column_text(statement, 1),
								 .available = sqlite3_column_int64(statement, 2),
								 .reserved = sqlite3_column_int64(statement, 3)};

		callback(context, &balance);
	}
	sqlite3_reset(statement);
	return !database_has_failed(ledger->database);
}

bool
ledger_each_hold(Ledger *ledger, const char *after, int limit, LedgerHoldCallback callback,
				 void *context)
{
	sqlite3_stmt *statement = database_statement(ledger->database, STATEMENT_HOLDS);

	assert(!database_is_in_transaction(ledger->database));
	assert(limit > 0);
	database_clear(ledger->database);
	sqlite3_bind_text(statement, 1, after, -1, SQLITE_STATIC);
	sqlite3_bind_int(statement, 2, limit);
	while (database_step(ledger->database, statement))
	{
		LedgerReservation hold = {.reserve_id = (const char *) sqlite3_column_text(statement, 0),
								  .account_id = sqlite3_column_int64(statement, 1),
								  .kind = (LedgerKind) sqlite3_column_int(statement, 2),
								  .item = (const char *) sqlite3_column_text(statement, 3),
								  .amount = sqlite3_column_int64(statement, 4),
								  .order_id = (const char *) sqlite3_column_text(statement, 5)};

		callback(context, &hold);
	}
	sqlite3_reset(statement);
	return !database_has_failed(ledger->database);
}

LedgerCounts
ledger_counts(const Ledger *ledger)
{
	return ledger->committed;
}
