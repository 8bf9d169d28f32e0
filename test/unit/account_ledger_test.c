/*
 * account_ledger_test.c
 *		The ledger of the Account stand-in. Ends with a line that tells how fast it is here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "account_bounds.h"
#include "base/clock.h"
#include "ledger.h"

#define SMALL_DATABASE_BYTES (96 * 1024)
#define MEASURED_CALLS 200000
#define MEASURED_BATCH 64

static Ledger *
open_ledger(LedgerOptions options)
{
	Ledger *ledger;

	if (options.path == NULL)
		options.path = ":memory:";
	if (options.database_bytes_max == 0)
		options.database_bytes_max = ACCOUNT_DATABASE_BYTES_MAX;
	ledger = ledger_open(&options);
	assert_non_null(ledger);
	return ledger;
}

/* Account 1 with 1000 of USD and 10 of ACME, account 2 with 500 of USD, account 3 suspended. */
static Ledger *
open_filled(LedgerOptions options)
{
	Ledger *ledger = open_ledger(options);

	ledger_begin(ledger);
	ledger_put_account(ledger, 1, LEDGER_ACTIVE);
	ledger_put_account(ledger, 2, LEDGER_ACTIVE);
	ledger_put_account(ledger, 3, LEDGER_SUSPENDED);
	assert_true(ledger_add(ledger, 1, LEDGER_CASH, "USD", 1000));
	assert_true(ledger_add(ledger, 1, LEDGER_POSITION, "ACME", 10));
	assert_true(ledger_add(ledger, 2, LEDGER_CASH, "USD", 500));
	assert_true(ledger_add(ledger, 3, LEDGER_CASH, "USD", 500));
	assert_true(ledger_commit(ledger));
	return ledger;
}

static LedgerReservation
cash(const char *reserve_id, int64_t account_id, int64_t amount)
{
	return (LedgerReservation){.reserve_id = reserve_id,
							   .account_id = account_id,
							   .kind = LEDGER_CASH,
							   .item = "USD",
							   .amount = amount,
							   .order_id = "77"};
}

static LedgerReservation
position(const char *reserve_id, const char *symbol, int64_t amount)
{
	return (LedgerReservation){.reserve_id = reserve_id,
							   .account_id = 1,
							   .kind = LEDGER_POSITION,
							   .item = symbol,
							   .amount = amount,
							   .order_id = "77"};
}

static LedgerResult
reserve(Ledger *ledger, LedgerReservation reservation)
{
	LedgerResult result;

	ledger_begin(ledger);
	result = ledger_reserve(ledger, &reservation);
	assert_true(ledger_commit(ledger));
	return result;
}

static LedgerResult
release(Ledger *ledger, LedgerReservation reservation)
{
	LedgerResult result;

	ledger_begin(ledger);
	result = ledger_release(ledger, &reservation);
	assert_true(ledger_commit(ledger));
	return result;
}

typedef struct Wanted
{
	LedgerKind kind;
	const char *item;
	int64_t available;
	int64_t reserved;
	int found;
} Wanted;

static void
look_at_balance(void *context, const LedgerBalance *balance)
{
	Wanted *wanted = context;

	if (balance->kind != wanted->kind || strcmp(balance->item, wanted->item) != 0)
		return;
	wanted->found++;
	wanted->available = balance->available;
	wanted->reserved = balance->reserved;
}

static void
assert_balance(Ledger *ledger, int64_t account_id, LedgerKind kind, int64_t available,
			   int64_t reserved)
{
	Wanted wanted = {.kind = kind, .item = kind == LEDGER_CASH ? "USD" : "ACME"};

	assert_true(ledger_each_balance(ledger, account_id, look_at_balance, &wanted));
	assert_int_equal(wanted.found, 1);
	assert_true(wanted.available == available);
	assert_true(wanted.reserved == reserved);
}

typedef struct Sum
{
	int count;
	int64_t amount;
	char last_id[ACCOUNT_RESERVE_ID_BYTES_MAX + 1];
} Sum;

static void
add_hold(void *context, const LedgerReservation *hold)
{
	Sum *sum = context;

	/* By id, so that a page can begin where the last one ended. */
	assert_true(strcmp(hold->reserve_id, sum->last_id) > 0);
	snprintf(sum->last_id, sizeof(sum->last_id), "%s", hold->reserve_id);
	sum->count++;
	sum->amount += hold->amount;
}

static void
reserving_and_releasing_move_an_amount_there_and_back(void **state)
{
	Ledger *ledger = open_filled((LedgerOptions){0});

	(void) state;
	assert_int_equal(reserve(ledger, cash("a", 1, 400)), LEDGER_SUCCESS);
	assert_int_equal(reserve(ledger, position("b", "ACME", 10)), LEDGER_SUCCESS);
	assert_balance(ledger, 1, LEDGER_CASH, 600, 400);
	assert_balance(ledger, 1, LEDGER_POSITION, 0, 10);
	assert_balance(ledger, 2, LEDGER_CASH, 500, 0);
	assert_int_equal(ledger_counts(ledger).held, 2);
	assert_int_equal(release(ledger, cash("a", 1, 0)), LEDGER_SUCCESS);
	assert_int_equal(release(ledger, position("b", "", 0)), LEDGER_SUCCESS);
	assert_balance(ledger, 1, LEDGER_CASH, 1000, 0);
	assert_balance(ledger, 1, LEDGER_POSITION, 10, 0);
	assert_int_equal(ledger_counts(ledger).held, 0);
	assert_int_equal(ledger_counts(ledger).released, 2);
	ledger_close(ledger);
}

static void
the_same_reservation_again_holds_once(void **state)
{
	for (int is_reported = 0; is_reported <= 1; is_reported++)
	{
		Ledger *ledger = open_filled((LedgerOptions){.is_duplicate_reported = is_reported != 0});
		LedgerResult again = is_reported ? LEDGER_DUPLICATE_REQUEST : LEDGER_SUCCESS;

		(void) state;
		assert_int_equal(reserve(ledger, cash("a", 1, 400)), LEDGER_SUCCESS);
		assert_int_equal(reserve(ledger, cash("a", 1, 400)), again);
		/* It was held, so it is a success even for an account that may not reserve any more. */
		ledger_begin(ledger);
		ledger_put_account(ledger, 1, LEDGER_SUSPENDED);
		assert_true(ledger_commit(ledger));
		assert_int_equal(reserve(ledger, cash("a", 1, 400)), again);
		assert_balance(ledger, 1, LEDGER_CASH, 600, 400);
		assert_int_equal(ledger_counts(ledger).held, 1);
		ledger_close(ledger);
	}
}

static void
the_same_id_with_other_content_is_refused(void **state)
{
	Ledger *ledger = open_filled((LedgerOptions){0});
	LedgerReservation other = cash("a", 1, 400);

	(void) state;
	assert_int_equal(reserve(ledger, other), LEDGER_SUCCESS);
	assert_int_equal(reserve(ledger, cash("a", 1, 401)), LEDGER_INVALID_REQUEST);
	assert_int_equal(reserve(ledger, cash("a", 2, 400)), LEDGER_INVALID_REQUEST);
	assert_int_equal(reserve(ledger, position("a", "USD", 400)), LEDGER_INVALID_REQUEST);
	other.item = "EUR";
	assert_int_equal(reserve(ledger, other), LEDGER_INVALID_REQUEST);
	other = cash("a", 1, 400);
	other.order_id = "78";
	assert_int_equal(reserve(ledger, other), LEDGER_INVALID_REQUEST);
	assert_balance(ledger, 1, LEDGER_CASH, 600, 400);
	ledger_close(ledger);
}

static void
a_reserve_that_comes_after_its_release_holds_nothing(void **state)
{
	Ledger *ledger = open_filled((LedgerOptions){0});

	(void) state;
	assert_int_equal(release(ledger, cash("late", 1, 0)), LEDGER_SUCCESS);
	assert_int_equal(reserve(ledger, cash("late", 1, 400)), LEDGER_INVALID_REQUEST);
	assert_int_equal(reserve(ledger, cash("again", 1, 400)), LEDGER_SUCCESS);
	assert_int_equal(release(ledger, cash("again", 1, 0)), LEDGER_SUCCESS);
	assert_int_equal(reserve(ledger, cash("again", 1, 400)), LEDGER_INVALID_REQUEST);
	assert_balance(ledger, 1, LEDGER_CASH, 1000, 0);
	ledger_close(ledger);
}

static void
a_release_frees_once(void **state)
{
	Ledger *ledger = open_filled((LedgerOptions){0});

	(void) state;
	assert_int_equal(reserve(ledger, cash("a", 1, 400)), LEDGER_SUCCESS);
	assert_int_equal(release(ledger, cash("a", 1, 0)), LEDGER_SUCCESS);
	assert_int_equal(release(ledger, cash("a", 1, 0)), LEDGER_SUCCESS);
	assert_int_equal(release(ledger, cash("unknown", 1, 0)), LEDGER_SUCCESS);
	assert_int_equal(release(ledger, cash("unknown", 1, 0)), LEDGER_SUCCESS);
	assert_balance(ledger, 1, LEDGER_CASH, 1000, 0);
	assert_int_equal(ledger_counts(ledger).released, 2);
	ledger_close(ledger);
}

static void
only_account_and_kind_of_a_reservation_release_it(void **state)
{
	Ledger *ledger = open_filled((LedgerOptions){0});

	(void) state;
	assert_int_equal(reserve(ledger, cash("a", 1, 400)), LEDGER_SUCCESS);
	assert_int_equal(release(ledger, cash("a", 2, 0)), LEDGER_INVALID_REQUEST);
	assert_int_equal(release(ledger, position("a", "", 0)), LEDGER_INVALID_REQUEST);
	assert_balance(ledger, 1, LEDGER_CASH, 600, 400);
	assert_int_equal(release(ledger, cash("a", 1, 0)), LEDGER_SUCCESS);
	assert_int_equal(release(ledger, cash("a", 2, 0)), LEDGER_INVALID_REQUEST);
	ledger_close(ledger);
}

static void
what_cannot_be_held_is_refused_and_leaves_the_id_new(void **state)
{
	Ledger *ledger = open_filled((LedgerOptions){0});

	(void) state;
	assert_int_equal(reserve(ledger, cash("a", 1, 1001)), LEDGER_INSUFFICIENT_FUNDS);
	assert_int_equal(reserve(ledger, cash("a", 1, INT64_MAX)), LEDGER_INSUFFICIENT_FUNDS);
	assert_int_equal(reserve(ledger, position("a", "ACME", 11)), LEDGER_INSUFFICIENT_POSITION);
	assert_int_equal(reserve(ledger, position("a", "NONE", 1)), LEDGER_POSITION_NOT_FOUND);
	assert_int_equal(reserve(ledger, cash("a", 9, 1)), LEDGER_ACCOUNT_NOT_FOUND);
	assert_int_equal(reserve(ledger, cash("a", 3, 1)), LEDGER_ACCOUNT_SUSPENDED);
	assert_int_equal(ledger_counts(ledger).held, 0);
	assert_int_equal(reserve(ledger, cash("a", 1, 1000)), LEDGER_SUCCESS);
	/* What is reserved is not there a second time. */
	assert_int_equal(reserve(ledger, cash("b", 1, 1)), LEDGER_INSUFFICIENT_FUNDS);
	ledger_close(ledger);
}

static void
a_suspended_account_can_still_release(void **state)
{
	Ledger *ledger = open_filled((LedgerOptions){0});

	(void) state;
	assert_int_equal(reserve(ledger, cash("a", 1, 400)), LEDGER_SUCCESS);
	ledger_begin(ledger);
	ledger_put_account(ledger, 1, LEDGER_SUSPENDED);
	assert_true(ledger_commit(ledger));
	assert_int_equal(reserve(ledger, cash("b", 1, 1)), LEDGER_ACCOUNT_SUSPENDED);
	assert_int_equal(release(ledger, cash("a", 1, 0)), LEDGER_SUCCESS);
	assert_balance(ledger, 1, LEDGER_CASH, 1000, 0);
	ledger_close(ledger);
}

static void
malformed_requests_are_refused(void **state)
{
	Ledger *ledger = open_filled((LedgerOptions){0});
	char text[ACCOUNT_RESERVE_ID_BYTES_MAX + 2];
	LedgerReservation reservation;

	(void) state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(reserve(ledger, cash("a", 1, 0)), LEDGER_INVALID_AMOUNT);
	assert_int_equal(reserve(ledger, cash("a", 1, -1)), LEDGER_INVALID_AMOUNT);
	assert_int_equal(reserve(ledger, cash("a", 1, INT64_MIN)), LEDGER_INVALID_AMOUNT);
	assert_int_equal(reserve(ledger, cash("", 1, 1)), LEDGER_INVALID_REQUEST);
	assert_int_equal(reserve(ledger, cash("a b", 1, 1)), LEDGER_INVALID_REQUEST);
	assert_int_equal(reserve(ledger, cash("\xff", 1, 1)), LEDGER_INVALID_REQUEST);
	assert_int_equal(reserve(ledger, cash(text, 1, 1)), LEDGER_INVALID_REQUEST);
	assert_int_equal(reserve(ledger, cash("a", 0, 1)), LEDGER_INVALID_REQUEST);
	assert_int_equal(reserve(ledger, cash("a", -1, 1)), LEDGER_INVALID_REQUEST);
	assert_int_equal(reserve(ledger, position("a", "", 1)), LEDGER_INVALID_REQUEST);
	reservation = cash("a", 1, 1);
	reservation.order_id = "";
	assert_int_equal(reserve(ledger, reservation), LEDGER_INVALID_REQUEST);
	assert_int_equal(release(ledger, cash("", 1, 0)), LEDGER_INVALID_REQUEST);
	assert_int_equal(release(ledger, cash("a", 0, 0)), LEDGER_INVALID_REQUEST);
	assert_int_equal(release(ledger, cash(text, 1, 0)), LEDGER_INVALID_REQUEST);
	/* One byte less is well. */
	assert_int_equal(reserve(ledger, cash(text + 1, 1, 1)), LEDGER_SUCCESS);
	ledger_close(ledger);
}

static void
balances_do_not_overflow(void **state)
{
	Ledger *ledger = open_filled((LedgerOptions){0});

	(void) state;
	assert_int_equal(reserve(ledger, cash("a", 1, 400)), LEDGER_SUCCESS);
	ledger_begin(ledger);
	assert_false(ledger_add(ledger, 1, LEDGER_CASH, "USD", INT64_MAX - 999));
	assert_true(ledger_add(ledger, 1, LEDGER_CASH, "USD", INT64_MAX - 1000));
	assert_false(ledger_add(ledger, 1, LEDGER_CASH, "USD", 1));
	assert_true(ledger_commit(ledger));
	assert_int_equal(reserve(ledger, cash("b", 1, INT64_MAX - 400)), LEDGER_SUCCESS);
	assert_balance(ledger, 1, LEDGER_CASH, 0, INT64_MAX);
	assert_int_equal(release(ledger, cash("a", 1, 0)), LEDGER_SUCCESS);
	assert_int_equal(release(ledger, cash("b", 1, 0)), LEDGER_SUCCESS);
	assert_balance(ledger, 1, LEDGER_CASH, INT64_MAX, 0);
	/* With the 500 of two others the sum is none that fits. */
	assert_false(ledger_each_balance(ledger, 0, look_at_balance, &(Wanted){.item = ""}));
	ledger_close(ledger);
}

static void
a_transaction_given_up_leaves_nothing(void **state)
{
	Ledger *ledger = open_filled((LedgerOptions){0});
	LedgerReservation reservation = cash("a", 1, 400);

	(void) state;
	ledger_begin(ledger);
	assert_int_equal(ledger_reserve(ledger, &reservation), LEDGER_SUCCESS);
	ledger_put_account(ledger, 9, LEDGER_ACTIVE);
	ledger_rollback(ledger);
	assert_balance(ledger, 1, LEDGER_CASH, 1000, 0);
	assert_int_equal(ledger_counts(ledger).held, 0);
	assert_int_equal(ledger_counts(ledger).accounts, 3);
	ledger_close(ledger);
}

static void
a_full_database_fails_the_whole_transaction_and_later_ones_work(void **state)
{
	Ledger *ledger = open_filled((LedgerOptions){.database_bytes_max = SMALL_DATABASE_BYTES});
	LedgerResult result = LEDGER_SUCCESS;
	LedgerReservation reservation;
	char reserve_id[32];

	(void) state;
	ledger_begin(ledger);
	for (int i = 0; i < 5000 && result == LEDGER_SUCCESS; i++)
	{
		snprintf(reserve_id, sizeof(reserve_id), "filler-%d", i);
		reservation = cash(reserve_id, 1, 1);
		result = ledger_release(ledger, &reservation);
	}
	assert_int_equal(result, LEDGER_INTERNAL_ERROR);
	assert_int_equal(ledger_reserve(ledger, &reservation), LEDGER_INTERNAL_ERROR);
	assert_false(ledger_commit(ledger));
	assert_int_equal(ledger_counts(ledger).released, 0);
	assert_int_equal(reserve(ledger, cash("a", 1, 400)), LEDGER_SUCCESS);
	assert_balance(ledger, 1, LEDGER_CASH, 600, 400);
	ledger_close(ledger);
}

static void
a_file_keeps_everything_and_belongs_to_one_process(void **state)
{
	char path[] = "/tmp/account_ledger_test.XXXXXX";
	int descriptor = mkstemp(path);
	LedgerOptions options = {.path = path, .database_bytes_max = ACCOUNT_DATABASE_BYTES_MAX};
	Ledger *ledger;

	(void) state;
	assert_true(descriptor >= 0);
	close(descriptor);
	ledger = open_filled(options);
	assert_int_equal(reserve(ledger, cash("a", 1, 400)), LEDGER_SUCCESS);
	assert_int_equal(release(ledger, cash("b", 1, 0)), LEDGER_SUCCESS);
	assert_null(ledger_open(&options));
	ledger_close(ledger);

	ledger = open_ledger(options);
	assert_int_equal(ledger_counts(ledger).accounts, 3);
	assert_int_equal(ledger_counts(ledger).held, 1);
	assert_int_equal(ledger_counts(ledger).released, 1);
	assert_balance(ledger, 1, LEDGER_CASH, 600, 400);
	assert_int_equal(reserve(ledger, cash("b", 1, 400)), LEDGER_INVALID_REQUEST);
	ledger_close(ledger);
	unlink(path);
}

static void
holds_come_in_pages_by_id(void **state)
{
	Ledger *ledger = open_filled((LedgerOptions){0});
	char reserve_id[32];
	Sum sum = {0};

	(void) state;
	for (int i = 0; i < 25; i++)
	{
		snprintf(reserve_id, sizeof(reserve_id), "r%02d", i);
		assert_int_equal(reserve(ledger, cash(reserve_id, 1, i + 1)), LEDGER_SUCCESS);
	}
	assert_int_equal(release(ledger, cash("r03", 1, 0)), LEDGER_SUCCESS);
	for (int pages = 1; pages <= 3; pages++)
	{
		char after[sizeof(sum.last_id)];

		strcpy(after, sum.last_id);
		assert_true(ledger_each_hold(ledger, after, 10, add_hold, &sum));
		assert_int_equal(sum.count, pages < 3 ? 10 * pages : 24);
	}
	assert_int_equal(sum.amount, 25 * 26 / 2 - 4);
	assert_balance(ledger, 1, LEDGER_CASH, 1000 - sum.amount, sum.amount);
	ledger_close(ledger);
}

/* Whatever comes in whatever order: money neither appears nor vanishes, and holds explain all. */
static void
random_calls_keep_the_books(void **state)
{
	Ledger *ledger = open_filled((LedgerOptions){0});
	Wanted wanted = {.kind = LEDGER_CASH, .item = "USD"};
	char reserve_id[32];
	Sum sum = {0};

	(void) state;
	srand(1);
	for (int i = 0; i < 20000; i++)
	{
		int64_t account_id = rand() % 2 + 1;
		int64_t amount = rand() % 100;

		/* Seldom the same id again, so that late, repeated and foreign calls all occur. */
		snprintf(reserve_id, sizeof(reserve_id), "r%d", rand() % 2000 + i / 20);
		if (rand() % 2 == 0)
			reserve(ledger, cash(reserve_id, account_id, amount));
		else
			release(ledger, cash(reserve_id, account_id, 0));
	}
	assert_true(ledger_each_balance(ledger, 0, look_at_balance, &wanted));
	assert_true(wanted.available + wanted.reserved == 2000);
	assert_true(ledger_each_hold(ledger, "", ACCOUNT_HOLDS_MAX, add_hold, &sum));
	assert_true(sum.amount == wanted.reserved);
	assert_int_equal(sum.count, ledger_counts(ledger).held);
	ledger_close(ledger);
}

static void
tells_how_fast_it_is(void **state)
{
	Ledger *ledger = open_filled((LedgerOptions){0});
	int64_t start_us = clock_now_us();
	char reserve_id[32];

	(void) state;
	ledger_begin(ledger);
	for (int account_id = 1; account_id <= 1000; account_id++)
	{
		ledger_put_account(ledger, account_id, LEDGER_ACTIVE);
		ledger_add(ledger, account_id, LEDGER_CASH, "USD", INT64_C(1000000000));
	}
	for (int i = 0; i < MEASURED_CALLS; i++)
	{
		LedgerReservation reservation = cash(reserve_id, i % 1000 + 1, 1);

		if (i % MEASURED_BATCH == 0)
		{
			assert_true(ledger_commit(ledger));
			ledger_begin(ledger);
		}
		snprintf(reserve_id, sizeof(reserve_id), "reserve-%08x", (unsigned) i * 2654435761U);
		assert_int_equal(ledger_reserve(ledger, &reservation), LEDGER_SUCCESS);
	}
	assert_true(ledger_commit(ledger));
	print_message("%.0f reserves/s in memory, transactions of %d\n",
				  MEASURED_CALLS / ((double) (clock_now_us() - start_us) / CLOCK_SECOND),
				  MEASURED_BATCH);
	ledger_close(ledger);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reserving_and_releasing_move_an_amount_there_and_back),
		cmocka_unit_test(the_same_reservation_again_holds_once),
		cmocka_unit_test(the_same_id_with_other_content_is_refused),
		cmocka_unit_test(a_reserve_that_comes_after_its_release_holds_nothing),
		cmocka_unit_test(a_release_frees_once),
		cmocka_unit_test(only_account_and_kind_of_a_reservation_release_it),
		cmocka_unit_test(what_cannot_be_held_is_refused_and_leaves_the_id_new),
		cmocka_unit_test(a_suspended_account_can_still_release),
		cmocka_unit_test(malformed_requests_are_refused),
		cmocka_unit_test(balances_do_not_overflow),
		cmocka_unit_test(a_transaction_given_up_leaves_nothing),
		cmocka_unit_test(a_full_database_fails_the_whole_transaction_and_later_ones_work),
		cmocka_unit_test(a_file_keeps_everything_and_belongs_to_one_process),
		cmocka_unit_test(holds_come_in_pages_by_id),
		cmocka_unit_test(random_calls_keep_the_books),
		cmocka_unit_test(tells_how_fast_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
