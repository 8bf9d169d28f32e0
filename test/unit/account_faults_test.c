/*
 * account_faults_test.c
 *		Which calls the Account stand-in lets fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "faults.h"

#define CALLS 10000

static Fault
always(FaultKind kind)
{
	return (Fault){.kind = kind, .method = FAULT_METHOD_ANY, .percent = 100};
}

static void
without_faults_nothing_is_hit(void **state)
{
	Faults faults;

	(void) state;
	faults_init(&faults, 1);
	assert_null(faults_choose(&faults, 0, 1));
	faults_replace(&faults, &(Fault){.percent = 100, .method = FAULT_METHOD_ANY}, 1);
	assert_non_null(faults_choose(&faults, 0, 1));
	faults_replace(&faults, NULL, 0);
	assert_null(faults_choose(&faults, 0, 1));
}

static void
a_fault_hits_its_method_and_account_only(void **state)
{
	Fault list[2] = {always(FAULT_HANG), always(FAULT_DROP)};
	Faults faults;

	(void) state;
	list[0].method = 2;
	list[1].account_id = 7;
	faults_init(&faults, 1);
	faults_replace(&faults, list, 2);
	assert_null(faults_choose(&faults, 1, 1));
	assert_int_equal(faults_choose(&faults, 2, 1)->kind, FAULT_HANG);
	assert_int_equal(faults_choose(&faults, 1, 7)->kind, FAULT_DROP);
	/* Both would hit: the first of the list does. */
	assert_int_equal(faults_choose(&faults, 2, 7)->kind, FAULT_HANG);
	assert_int_equal(faults.list[0].hits, 2);
	assert_int_equal(faults.list[1].hits, 1);
	assert_int_equal(faults.hits[FAULT_HANG], 2);
}

static void
a_fault_ends_after_its_times(void **state)
{
	Fault list[2] = {always(FAULT_STATUS), always(FAULT_DELAY)};
	Faults faults;

	(void) state;
	list[0].times = 2;
	faults_init(&faults, 1);
	faults_replace(&faults, list, 2);
	assert_int_equal(faults_choose(&faults, 0, 1)->kind, FAULT_STATUS);
	assert_int_equal(faults_choose(&faults, 0, 1)->kind, FAULT_STATUS);
	assert_int_equal(faults_choose(&faults, 0, 1)->kind, FAULT_DELAY);
	/* A new list counts anew, the sums over all lists go on. */
	faults_replace(&faults, list, 2);
	assert_int_equal(faults_choose(&faults, 0, 1)->kind, FAULT_STATUS);
	assert_int_equal(faults.hits[FAULT_STATUS], 3);
}

static int
count_hits(Faults *faults, double percent, int *first)
{
	Fault fault = always(FAULT_HANG);
	int count = 0;

	fault.percent = percent;
	*first = -1;
	faults_replace(faults, &fault, 1);
	for (int i = 0; i < CALLS; i++)
	{
		if (faults_choose(faults, 0, 1) == NULL)
			continue;
		if (*first < 0)
			*first = i;
		count++;
	}
	return count;
}

static void
a_percentage_of_calls_is_hit_the_same_ones_with_the_same_seed(void **state)
{
	Faults faults;
	Faults other;
	int first;
	int again;

	(void) state;
	faults_init(&faults, 1);
	faults_init(&other, 2);
	assert_int_equal(count_hits(&faults, 0, &first), 0);
	assert_int_equal(count_hits(&faults, 100, &first), CALLS);
	assert_in_range(count_hits(&faults, 2.5, &first), CALLS / 50, CALLS * 3 / 100);
	assert_int_equal(count_hits(&faults, 2.5, &again), faults.list[0].hits);
	assert_int_equal(first, again);
	assert_int_not_equal(count_hits(&other, 2.5, &again), faults.list[0].hits);
}

static void
every_kind_has_a_name(void **state)
{
	FaultKind kind;

	(void) state;
	for (int i = 0; i < FAULT_KIND_COUNT; i++)
	{
		assert_true(fault_kind_of(fault_kind_name((FaultKind) i), &kind));
		assert_int_equal(kind, i);
	}
	assert_false(fault_kind_of("", &kind));
	assert_false(fault_kind_of("Delay", &kind));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_faults_nothing_is_hit),
		cmocka_unit_test(a_fault_hits_its_method_and_account_only),
		cmocka_unit_test(a_fault_ends_after_its_times),
		cmocka_unit_test(a_percentage_of_calls_is_hit_the_same_ones_with_the_same_seed),
		cmocka_unit_test(every_kind_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
