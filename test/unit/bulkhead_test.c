/*
 * bulkhead_test.c
 *		So many at a time.
 */
#include "resilience/bulkhead.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
it_has_so_many_places_and_nobody_waits(void **state)
{
	Bulkhead bulkhead = {.places = 128};

	(void) state;
	for (int i = 0; i < 128; i++)
		assert_true(bulkhead_enter(&bulkhead));
	assert_false(bulkhead_has_place(&bulkhead));
	assert_false(bulkhead_enter(&bulkhead));
	bulkhead_leave(&bulkhead);
	assert_true(bulkhead_enter(&bulkhead));
	assert_int_equal(bulkhead.taken, 128);
}

static void
with_fewer_places_nobody_enters_until_enough_have_left(void **state)
{
	Bulkhead bulkhead = {.places = 2};

	(void) state;
	assert_true(bulkhead_enter(&bulkhead));
	assert_true(bulkhead_enter(&bulkhead));
	bulkhead.places = 1;
	bulkhead_leave(&bulkhead);
	assert_false(bulkhead_enter(&bulkhead));
	bulkhead_leave(&bulkhead);
	assert_true(bulkhead_enter(&bulkhead));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_has_so_many_places_and_nobody_waits),
		cmocka_unit_test(with_fewer_places_nobody_enters_until_enough_have_left),
	};

	return cmocka_run_group_tests_name("bulkhead", tests, NULL, NULL);
}
