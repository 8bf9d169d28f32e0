/*
 * pg_server_test.c
 *		Which servers were left behind, by what they say of their history.
 */
#include "net/pg_server.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CLUSTER "7000000000000000001"

static PgHistory own;

/* What the check says of an answer with these two texts. */
static const char *
check(const char *cluster, const char *wal_file, const PgHistory *known)
{
	PGresAttDesc columns[] = {{.name = "system_identifier"}, {.name = "pg_walfile_name"}};
	PGresult *answer = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	const char *objection;

	assert_int_equal(PQsetResultAttrs(answer, 2, columns), 1);
	assert_int_equal(PQsetvalue(answer, 0, 0, (char *) cluster, (int) strlen(cluster)), 1);
	assert_int_equal(PQsetvalue(answer, 0, 1, (char *) wal_file, (int) strlen(wal_file)), 1);
	objection = pg_server_check_history(answer, known, &own);
	PQclear(answer);
	return objection;
}

static void
a_history_is_read_from_the_answer(void **state)
{
	const PgHistory nothing = {0};

	(void) state;
	assert_null(check(CLUSTER, "0000000A000000010000004C", &nothing));
	assert_true(own.cluster == UINT64_C(7000000000000000001));
	assert_int_equal(own.timeline, 10);
	/* The identifier's highest bit is the sign in SQL. */
	assert_null(check("-1", "FFFFFFFF000000010000004C", &nothing));
	assert_true(own.cluster == UINT64_MAX);
	assert_int_equal(own.timeline, UINT32_MAX);
}

static void
a_server_on_an_earlier_timeline_of_the_same_cluster_was_left_behind(void **state)
{
	const PgHistory known = {.cluster = UINT64_C(7000000000000000001), .timeline = 3};

	(void) state;
	assert_non_null(strstr(check(CLUSTER, "000000020000000000000001", &known), "left behind"));
	assert_null(check(CLUSTER, "000000030000000000000001", &known));
	assert_null(check(CLUSTER, "000000040000000000000001", &known));
	assert_null(check("7000000000000000002", "000000010000000000000001", &known));
}

static void
an_answer_that_is_none_is_not_accepted(void **state)
{
	static const char *const wal_files[] = {"", "000A", "0000000G000000010000004C",
											"000000000000000100000001"};
	static const char *const clusters[] = {"", "x", "1x", "99999999999999999999"};
	const PgHistory nothing = {0};
	PGresult *error = PQmakeEmptyPGresult(NULL, PGRES_FATAL_ERROR);

	(void) state;
	for (size_t i = 0; i < sizeof(wal_files) / sizeof(wal_files[0]); i++)
		assert_non_null(check(CLUSTER, wal_files[i], &nothing));
	for (size_t i = 0; i < sizeof(clusters) / sizeof(clusters[0]); i++)
		assert_non_null(check(clusters[i], "0000000A000000010000004C", &nothing));
	assert_non_null(pg_server_check_history(error, &nothing, &own));
	PQclear(error);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_history_is_read_from_the_answer),
		cmocka_unit_test(a_server_on_an_earlier_timeline_of_the_same_cluster_was_left_behind),
		cmocka_unit_test(an_answer_that_is_none_is_not_accepted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
