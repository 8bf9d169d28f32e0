/*
 * pending_test.c
 *		Requests find their answers by correlation id, once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pending.h"

#define COUNT 100

static void
ignore(void *context, const struct ClientAnswer *answer)
{
	(void) context;
	(void) answer;
}

static PendingRequest
request_number(uintptr_t number)
{
	return (PendingRequest){.callback = ignore, .context = (void *) number};
}

static void
gives_each_request_back_once_in_any_order(void **state)
{
	Pending pending;
	uint64_t ids[COUNT];

	(void) state;
	pending_init(&pending, COUNT);
	for (uintptr_t i = 0; i < COUNT; i++)
	{
		PendingRequest request = request_number(i);

		ids[i] = pending_add(&pending, &request);
	}
	assert_int_equal(pending.count, COUNT);
	assert_int_equal(pending.capacity, COUNT);
	for (uintptr_t i = 0; i < COUNT; i++)
	{
		uintptr_t number = (i * 37) % COUNT;

		assert_non_null(pending_find(&pending, ids[number]));
		assert_ptr_equal(pending_take(&pending, ids[number]).context, (void *) number);
		assert_null(pending_find(&pending, ids[number]));
	}
	assert_int_equal(pending.count, 0);
	pending_free(&pending);
}

static void
does_not_take_the_answer_of_an_earlier_request_for_that_of_a_later_one(void **state)
{
	Pending pending;
	PendingRequest request = request_number(1);
	uint64_t first;
	uint64_t second;

	(void) state;
	pending_init(&pending, 1);
	first = pending_add(&pending, &request);
	pending_take(&pending, first);
	second = pending_add(&pending, &request);
	assert_true(first != second);
	assert_null(pending_find(&pending, first));
	assert_non_null(pending_find(&pending, second));
	pending_free(&pending);
}

static void
knows_nothing_of_ids_that_it_did_not_give(void **state)
{
	Pending pending;
	PendingRequest request = request_number(1);
	uint64_t id;

	(void) state;
	pending_init(&pending, 4);
	assert_null(pending_find(&pending, 0));
	id = pending_add(&pending, &request);
	assert_null(pending_find(&pending, id + 1));
	assert_null(pending_find(&pending, id + (UINT64_C(1) << 32)));
	assert_null(pending_find(&pending, UINT64_MAX));
	pending_free(&pending);
}

static void
can_be_emptied_by_position(void **state)
{
	Pending pending;
	PendingRequest request = request_number(7);
	PendingRequest taken;
	int count = 0;

	(void) state;
	pending_init(&pending, 20);
	for (int i = 0; i < 5; i++)
		pending_add(&pending, &request);
	for (int i = 0; i < pending.capacity; i++)
		count += pending_take_at(&pending, i, &taken);
	assert_int_equal(count, 5);
	assert_int_equal(pending.count, 0);
	pending_free(&pending);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_each_request_back_once_in_any_order),
		cmocka_unit_test(does_not_take_the_answer_of_an_earlier_request_for_that_of_a_later_one),
		cmocka_unit_test(knows_nothing_of_ids_that_it_did_not_give),
		cmocka_unit_test(can_be_emptied_by_position),
	};

	return cmocka_run_group_tests_name("pending", tests, NULL, NULL);
}
