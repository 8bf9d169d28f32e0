/*
 * pg_target_test.c
 *		Connection strings, taken apart into hosts.
 */
#include "net/pg_target.h" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bounds.h"

static int
set_up(void **state)
{
	(void) state;
	unsetenv("PGHOST");
	unsetenv("PGHOSTADDR");
	unsetenv("PGPORT");
	return 0;
}

static PgTarget *
parse(const char *conninfo)
{
	char error[PG_MESSAGE_BYTES_MAX];
	PgTarget *target = pg_target_new(conninfo, error, sizeof(error));

	if (target == NULL)
		print_message("%s\n", error);
	assert_non_null(target);
	return target;
}

static void
assert_host(const PgTarget *target, int index, const char *name, const char *address, int port)
{
	const PgHost *host = pg_target_host(target, index);

	if (name == NULL)
		assert_null(host->name);
	else
		assert_string_equal(host->name, name);
	if (address == NULL)
		assert_null(host->address);
	else
		assert_string_equal(host->address, address);
	assert_int_equal(host->port, port);
}

static void
refuse(const char *conninfo, const char *why)
{
	char error[PG_MESSAGE_BYTES_MAX] = "";

	assert_null(pg_target_new(conninfo, error, sizeof(error)));
	assert_non_null(strstr(error, why));
	assert_null(strstr(error, "secret"));
}

static void
one_host(void **state)
{
	PgTarget *target = parse("host=db.example port=6432 dbname=orders");

	(void) state;
	assert_int_equal(pg_target_host_count(target), 1);
	assert_host(target, 0, "db.example", NULL, 6432);
	assert_false(pg_target_host(target, 0)->is_local);
	pg_target_free(target);
}

static void
lists_of_hosts(void **state)
{
	PgTarget *target = parse("host=one,two,/run/postgresql hostaddr=10.0.0.1,, port=1,,3");

	(void) state;
	assert_int_equal(pg_target_host_count(target), 3);
	assert_host(target, 0, "one", "10.0.0.1", 1);
	assert_host(target, 1, "two", NULL, 5432);
	assert_host(target, 2, "/run/postgresql", NULL, 3);
	assert_false(pg_target_host(target, 1)->is_local);
	assert_true(pg_target_host(target, 2)->is_local);
	pg_target_free(target);
	target = parse("postgresql://user@one,two:99/orders?hostaddr=1.1.1.1,2.2.2.2");
	assert_host(target, 0, "one", "1.1.1.1", 5432);
	assert_host(target, 1, "two", "2.2.2.2", 99);
	pg_target_free(target);
	target = parse("host=one,two port=7");
	assert_host(target, 0, "one", NULL, 7);
	assert_host(target, 1, "two", NULL, 7);
	pg_target_free(target);
}

static void
only_addresses(void **state)
{
	PgTarget *target = parse("hostaddr=::1,127.0.0.1");

	(void) state;
	assert_int_equal(pg_target_host_count(target), 2);
	assert_host(target, 0, NULL, "::1", 5432);
	assert_false(pg_target_host(target, 0)->is_local);
	pg_target_free(target);
}

static void
what_is_not_given_comes_from_the_environment(void **state)
{
	PgTarget *target = parse("dbname=orders");

	(void) state;
	assert_host(target, 0, NULL, NULL, 5432);
	assert_true(pg_target_host(target, 0)->is_local);
	pg_target_free(target);
	setenv("PGHOST", "elsewhere", 1);
	setenv("PGPORT", "77", 1);
	target = parse("dbname=orders");
	assert_host(target, 0, "elsewhere", NULL, 77);
	pg_target_free(target);
	target = parse("host=here port=78");
	assert_host(target, 0, "here", NULL, 78);
	pg_target_free(target);
}

static void
what_cannot_be_understood_is_refused(void **state)
{
	char many[PG_HOSTS_MAX * 2 + 16] = "host=";

	(void) state;
	refuse("not a connection string", "not a connection string");
	refuse("password secret", "not a connection string");
	refuse("host=a,b hostaddr=1.1.1.1", "hostaddr");
	refuse("host=a,b,c port=1,2", "port");
	refuse("host=a port=0", "port");
	refuse("host=a port=65536", "port");
	refuse("host=a port=5432x", "port");
	for (int i = 0; i < PG_HOSTS_MAX; i++)
		strcat(many, "a,");
	refuse(many, "too many hosts");
}

static void
one_host_is_connected_to_with_what_was_given(void **state)
{
	PgTarget *target = parse("host=one,two port=1,2 dbname=orders user=somebody"
							 " tcp_user_timeout=1234 sslmode=disable");
	PGconn *conn = pg_target_connect(target, 1, "127.0.0.1");
	PQconninfoOption *options = PQconninfo(conn);

	(void) state;
	assert_non_null(options);
	for (const PQconninfoOption *option = options; option->keyword != NULL; option++)
	{
		static const char *const expected[][2] = {
			{"host", "two"},
			{"hostaddr", "127.0.0.1"},
			{"port", "2"},
			{"dbname", "orders"},
			{"tcp_user_timeout", "1234"},
			{"keepalives_idle", "10"},
			{"gssencmode", "disable"},
			{"client_encoding", "UTF8"},
			{"fallback_application_name", "order-proxy"},
		};

		for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		{
			if (strcmp(option->keyword, expected[i][0]) == 0)
				assert_string_equal(option->val, expected[i][1]);
		}
	}
	PQconninfoFree(options);
	PQfinish(conn);
	pg_target_free(target);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, set_up)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_host),
		TEST(lists_of_hosts),
		TEST(only_addresses),
		TEST(what_is_not_given_comes_from_the_environment),
		TEST(what_cannot_be_understood_is_refused),
		TEST(one_host_is_connected_to_with_what_was_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
