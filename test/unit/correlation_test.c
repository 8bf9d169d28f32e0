/*
 * correlation_test.c
 *		The table of requests under way: who waits, who is gone, and tickets that are good once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "front/correlation.h"

#define CAPACITY 8

/* As often as an entry has to be used until its tickets come again. */
#define GENERATION_COUNT 64

typedef struct Table
{
	Correlation *correlation;
	CorrelationOwner one;
	CorrelationOwner other;
} Table;

static int
set_up(void **state)
{
	Table *table = malloc(sizeof(*table));

	table->correlation = correlation_new(CAPACITY);
	correlation_owner_init(&table->one, &table->one);
	correlation_owner_init(&table->other, &table->other);
	*state = table;
	return 0;
}

static int
tear_down(void **state)
{
	Table *table = *state;

	correlation_free(table->correlation);
	free(table);
	return 0;
}

static void *
open_with_id(Table *table, CorrelationOwner *owner, uint64_t id)
{
	FrameHeader request = {.type = FRAME_REQUEST,
						   .service = SERVICE_ORDER,
						   .method = ORDER_CANCEL,
						   .correlation_id = id};

	return correlation_open(table->correlation, owner, &request, (int64_t) id * 1000);
}

static void
gives_back_what_was_noted(void **state)
{
	Table *table = *state;
	CorrelationRequest request = correlation_close(open_with_id(table, &table->one, 77));

	assert_ptr_equal(request.owner, &table->one);
	assert_ptr_equal(request.owner->context, &table->one);
	assert_true(request.correlation_id == 77);
	assert_int_equal(request.service, SERVICE_ORDER);
	assert_int_equal(request.method, ORDER_CANCEL);
	assert_int_equal(request.started_us, 77000);
}

static void
tells_requests_with_the_same_id_apart(void **state)
{
	Table *table = *state;
	void *one = open_with_id(table, &table->one, 5);
	void *same = open_with_id(table, &table->one, 5);
	void *other = open_with_id(table, &table->other, 5);

	assert_ptr_not_equal(one, same);
	assert_ptr_equal(correlation_close(other).owner, &table->other);
	assert_int_equal(table->one.count, 2);
	assert_ptr_equal(correlation_close(one).owner, &table->one);
	assert_ptr_equal(correlation_close(same).owner, &table->one);
	assert_int_equal(correlation_count(table->correlation), 0);
}

static void
is_full_at_its_capacity_and_has_room_again_after_one_closes(void **state)
{
	Table *table = *state;
	void *tickets[CAPACITY];

	for (int i = 0; i < CAPACITY; i++)
	{
		tickets[i] = open_with_id(table, &table->one, (uint64_t) i);
		assert_non_null(tickets[i]);
		assert_int_equal(correlation_count(table->correlation), i + 1);
	}
	assert_null(open_with_id(table, &table->other, 99));
	assert_int_equal(table->other.count, 0);
	correlation_close(tickets[3]);
	tickets[3] = open_with_id(table, &table->other, 99);
	assert_non_null(tickets[3]);
	assert_null(open_with_id(table, &table->other, 100));
	for (int i = 0; i < CAPACITY; i++)
		assert_true(correlation_close(tickets[i]).correlation_id == (uint64_t) (i == 3 ? 99 : i));
}

static void
an_owner_that_goes_leaves_its_requests_running_and_others_alone(void **state)
{
	Table *table = *state;
	void *first = open_with_id(table, &table->one, 1);
	void *others = open_with_id(table, &table->other, 2);
	void *second = open_with_id(table, &table->one, 3);

	correlation_detach(&table->one);
	assert_int_equal(table->one.count, 0);
	assert_int_equal(table->other.count, 1);
	assert_int_equal(correlation_count(table->correlation), 3);
	assert_null(correlation_close(first).owner);
	assert_ptr_equal(correlation_close(others).owner, &table->other);
	assert_true(correlation_close(second).correlation_id == 3);
	assert_int_equal(correlation_count(table->correlation), 0);
}

static void
random_use_agrees_with_a_simple_model(void **state)
{
	Table *table = *state;
	void *tickets[CAPACITY] = {NULL};
	uint64_t ids[CAPACITY];
	unsigned int random = 20;
	uint64_t next_id = 1;

	print_message("random numbers from %u\n", random);
	for (int step = 0; step < 20000; step++)
	{
		int slot = rand_r(&random) % CAPACITY;

		if (tickets[slot] != NULL)
		{
			assert_true(correlation_close(tickets[slot]).correlation_id == ids[slot]);
			tickets[slot] = NULL;
			continue;
		}
		ids[slot] = next_id++;
		tickets[slot] = open_with_id(table, slot % 2 == 0 ? &table->one : &table->other, ids[slot]);
		assert_non_null(tickets[slot]);
		assert_int_equal(table->one.count + table->other.count,
						 correlation_count(table->correlation));
	}
}

/* Whether closing a ticket ends the process. */
static bool
close_is_caught(void *ticket)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0)
	{
		struct rlimit no_core = {0, 0};

		signal(SIGABRT, SIG_DFL);
		setrlimit(RLIMIT_CORE, &no_core);
		close(STDERR_FILENO);
		correlation_close(ticket);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

static void
a_ticket_used_twice_is_caught(void **state)
{
	Table *table = *state;
	void *ticket = open_with_id(table, &table->one, 1);

	assert_false(close_is_caught(ticket));
	correlation_close(ticket);
	assert_true(close_is_caught(ticket));
}

static void
an_old_ticket_is_caught_though_another_request_has_its_place(void **state)
{
	Table *table = *state;
	void *old = open_with_id(table, &table->one, 0);

	correlation_close(old);
	for (int use = 1; use < GENERATION_COUNT; use++)
	{
		void *ticket = open_with_id(table, &table->one, (uint64_t) use);

		assert_ptr_not_equal(ticket, old);
		if (use % 16 == 1)
			assert_true(close_is_caught(old));
		correlation_close(ticket);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(gives_back_what_was_noted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tells_requests_with_the_same_id_apart, set_up, tear_down),
		cmocka_unit_test_setup_teardown(is_full_at_its_capacity_and_has_room_again_after_one_closes,
										set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			an_owner_that_goes_leaves_its_requests_running_and_others_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(random_use_agrees_with_a_simple_model, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_ticket_used_twice_is_caught, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			an_old_ticket_is_caught_though_another_request_has_its_place, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("correlation", tests, NULL, NULL);
}
