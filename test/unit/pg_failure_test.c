/*
 * pg_failure_test.c
 *		What an SQLSTATE means for a call, its connection, and the other connections.
 */
#include "net/pg_failure.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct Row
{
	const char *sqlstate; /* NULL: an error of libpq */
	bool is_fatal;
	PgOutcome outcome;
	bool is_failover;
} Row;

static void
each_sqlstate_has_its_meaning(void **state)
{
	static const Row rows[] = {
		{"42P01", false, PG_FAILED, false},   {"22021", false, PG_FAILED, false},
		{"40001", false, PG_FAILED, false},   {"OS404", false, PG_FAILED, false},
		{"57014", false, PG_FAILED, false},   {"53300", false, PG_FAILED, false},
		{"25006", false, PG_UNUSABLE, true},  {"0A000", false, PG_UNUSABLE, false},
		{"26000", false, PG_UNUSABLE, false}, {"40003", false, PG_LOST, false},
		{"57P01", true, PG_LOST, true},       {"57P02", true, PG_LOST, true},
		{"57P03", true, PG_LOST, false},      {"57P05", true, PG_LOST, false},
		{"08006", false, PG_LOST, false},     {"XX000", true, PG_LOST, false},
		{NULL, false, PG_LOST, true},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
	{
		PgFailure failure;

		pg_failure_set(&failure, rows[i].sqlstate, "message");
		failure.is_fatal = rows[i].is_fatal;
		assert_int_equal(pg_failure_outcome(&failure), rows[i].outcome);
		assert_int_equal(pg_failure_is_failover(&failure, rows[i].outcome), rows[i].is_failover);
	}
}

static void
the_first_line_is_kept_and_cut(void **state)
{
	char text[2 * PG_MESSAGE_BYTES_MAX];
	PgFailure failure;

	(void) state;
	pg_failure_set(&failure, NULL, "server closed the connection\n\tThis probably means");
	assert_string_equal(failure.message, "server closed the connection");
	assert_string_equal(failure.sqlstate, "");
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = 'x';
	text[sizeof(text) - 1] = '\0';
	pg_failure_set(&failure, "57P01", text);
	assert_int_equal(failure.message[PG_MESSAGE_BYTES_MAX - 2], 'x');
	assert_int_equal(failure.message[PG_MESSAGE_BYTES_MAX - 1], '\0');
	assert_string_equal(failure.sqlstate, "57P01");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_sqlstate_has_its_meaning),
		cmocka_unit_test(the_first_line_is_kept_and_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
