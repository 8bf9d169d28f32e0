/*
 * orderctl_window_test.c
 *		What is shown of an outbox that is followed: everything once, late or not, within a bound.
 */
#include "orderctl_window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROUNDS 300
#define TRANSACTIONS 400
#define RUNNING_MAX 8

static OrderctlWindow window;

/* A window is too large for the stack of some systems; each test begins it anew. */
static int
setup(void **state)
{
	(void) state;
	memset(&window, 0, sizeof(window));
	orderctl_window_start(&window, 100);
	return 0;
}

static void
keeps_what_was_shown_in_the_order_of_ids(void **state)
{
	(void) state;
	assert_true(orderctl_window_add(&window, 105));
	assert_true(orderctl_window_add(&window, 101));
	assert_true(orderctl_window_add(&window, 103));
	assert_int_equal(window.count, 3);
	assert_int_equal(window.shown[0], 101);
	assert_int_equal(window.shown[1], 103);
	assert_int_equal(window.shown[2], 105);
	assert_int_equal(window.low, 100);
}

static void
moves_to_the_end_when_nobody_runs(void **state)
{
	(void) state;
	assert_true(orderctl_window_add(&window, 101));
	orderctl_window_advance(&window, 103, 50, 50);
	assert_int_equal(window.low, 103);
	assert_int_equal(window.count, 0);
}

static void
waits_for_the_transactions_that_ran(void **state)
{
	(void) state;
	assert_true(orderctl_window_add(&window, 101));
	orderctl_window_advance(&window, 103, 50, 48);
	assert_int_equal(window.low, 100);
	/* Later moments do not push back the one that is waited for. */
	orderctl_window_advance(&window, 110, 60, 49);
	assert_int_equal(window.low, 100);
	assert_true(orderctl_window_add(&window, 102));
	assert_true(orderctl_window_add(&window, 107));
	orderctl_window_advance(&window, 112, 70, 50);
	assert_int_equal(window.low, 103);
	assert_int_equal(window.count, 1);
	assert_int_equal(window.shown[0], 107);
	/* The moment after it is waited for from then on. */
	orderctl_window_advance(&window, 115, 80, 70);
	assert_int_equal(window.low, 112);
	assert_int_equal(window.count, 0);
}

static void
never_moves_back(void **state)
{
	(void) state;
	orderctl_window_start(&window, 1000);
	orderctl_window_advance(&window, 103, 50, 50);
	assert_int_equal(window.low, 1000);
	orderctl_window_advance(&window, 104, 60, 50);
	orderctl_window_advance(&window, 105, 70, 65);
	assert_int_equal(window.low, 1000);
}

static void
forgets_the_older_half_when_it_is_full_and_says_so(void **state)
{
	(void) state;
	for (int i = 0; i < ORDERCTL_WINDOW_MAX; i++)
		assert_true(orderctl_window_add(&window, 100 + 2 * i));
	assert_false(orderctl_window_add(&window, 100 + 2 * ORDERCTL_WINDOW_MAX));
	assert_int_equal(window.low, 100 + ORDERCTL_WINDOW_MAX);
	assert_int_equal(window.count, ORDERCTL_WINDOW_MAX / 2 + 1);
	assert_int_equal(window.shown[0], window.low);
	assert_true(orderctl_window_add(&window, window.low + 1));
	/* One that is itself below is not kept. */
	setup(NULL);
	for (int i = 0; i < ORDERCTL_WINDOW_MAX; i++)
		assert_true(orderctl_window_add(&window, 101 + i));
	assert_false(orderctl_window_add(&window, 100));
	assert_int_equal(window.count, ORDERCTL_WINDOW_MAX / 2);
	assert_true(window.low > 100);
}

/* A transaction of the model: its id is its index; it takes some event ids and ends at any time. */
typedef struct Transaction
{
	int64_t event_ids[4];
	int count;
	bool is_running;
	bool is_committed;
} Transaction;

typedef struct Model
{
	Transaction transactions[TRANSACTIONS];
	int begun;
	int64_t next_event_id;
	int shown[TRANSACTIONS * 4 + 101];
} Model;

static int
running_of(const Model *model)
{
	int running = 0;

	for (int i = 0; i < model->begun; i++)
		running += model->transactions[i].is_running;
	return running;
}

/* One step of somebody: a transaction begins, takes an id, commits or rolls back. */
static void
step(Model *model)
{
	int number = rand() % (model->begun + 1);
	Transaction *transaction = &model->transactions[number];

	if (number == model->begun)
	{
		if (model->begun == TRANSACTIONS || running_of(model) == RUNNING_MAX)
			return;
		model->begun++;
		transaction->is_running = true;
	}
	if (!transaction->is_running)
		return;
	if (rand() % 2 == 0 && transaction->count < 4)
		transaction->event_ids[transaction->count++] = model->next_event_id++;
	else if (rand() % 3 == 0)
	{
		transaction->is_running = false;
		transaction->is_committed = rand() % 5 != 0;
	}
}

static void
look(Model *model)
{
	int64_t end_id = model->next_event_id;
	uint64_t horizon = (uint64_t) model->begun;
	uint64_t xmin;

	for (int i = rand() % 6; i > 0; i--)
		step(model);
	xmin = (uint64_t) model->begun;
	for (int i = model->begun - 1; i >= 0; i--)
	{
		const Transaction *transaction = &model->transactions[i];

		if (transaction->is_running)
			xmin = (uint64_t) i;
		for (int j = 0; transaction->is_committed && j < transaction->count; j++)
		{
			int64_t event_id = transaction->event_ids[j];
			bool is_shown = false;

			for (int k = 0; k < window.count; k++)
				is_shown |= window.shown[k] == event_id;
			if (event_id < window.low || is_shown)
				continue;
			assert_true(orderctl_window_add(&window, event_id));
			model->shown[event_id]++;
		}
	}
	orderctl_window_advance(&window, end_id, horizon, xmin);
}

static void
shows_every_committed_event_exactly_once_whatever_the_order(void **state)
{
	(void) state;
	srand(20261125);
	for (int round = 0; round < ROUNDS; round++)
	{
		static Model model;

		memset(&model, 0, sizeof(model));
		model.next_event_id = 100;
		setup(NULL);
		while (model.begun < TRANSACTIONS || running_of(&model) > 0)
		{
			for (int i = rand() % 20; i >= 0; i--)
				step(&model);
			look(&model);
		}
		look(&model);
		for (int i = 0; i < TRANSACTIONS; i++)
		{
			for (int j = 0; j < model.transactions[i].count; j++)
				assert_int_equal(model.shown[model.transactions[i].event_ids[j]],
								 model.transactions[i].is_committed);
		}
		/* Nothing is open, so one look is enough to be at the end. */
		assert_int_equal(window.low, model.next_event_id);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(keeps_what_was_shown_in_the_order_of_ids, setup),
		cmocka_unit_test_setup(moves_to_the_end_when_nobody_runs, setup),
		cmocka_unit_test_setup(waits_for_the_transactions_that_ran, setup),
		cmocka_unit_test_setup(never_moves_back, setup),
		cmocka_unit_test_setup(forgets_the_older_half_when_it_is_full_and_says_so, setup),
		cmocka_unit_test_setup(shows_every_committed_event_exactly_once_whatever_the_order, setup),
	};

	return cmocka_run_group_tests_name("orderctl_window", tests, NULL, NULL);
}
