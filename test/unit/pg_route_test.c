/*
 * pg_route_test.c
 *		Which addresses are gone to, in which order. The names are the test's own.
 */
#include "net/pg_route.h" /* first: it must need nothing that is included below */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* In place of dns.c: one question at a time, answered when the test says so. */
struct DnsQuery
{
	char question[64];
	DnsCallback callback;
	void *context;
	bool is_under_way;
};

static DnsQuery query;
static int found_count;
static const char *found_error;

DnsQuery *
dns_resolve(Dns *dns, const char *host, int port, DnsCallback callback, void *context)
{
	(void) dns;
	assert_false(query.is_under_way);
	snprintf(query.question, sizeof(query.question), "%s:%d", host, port);
	query.callback = callback;
	query.context = context;
	query.is_under_way = true;
	return &query;
}

void
dns_cancel(DnsQuery *canceled)
{
	assert_ptr_equal(canceled, &query);
	assert_true(query.is_under_way);
	query.is_under_way = false;
}

void
dns_format(const struct sockaddr *address, char *text, size_t size)
{
	const struct sockaddr_in *internet = (const void *) address;

	snprintf(text, size, "%s:%d", inet_ntoa(internet->sin_addr), ntohs(internet->sin_port));
}

/* Answers with 127.0.0.1 and what follows it, all at a port where nobody listens. */
static void
answer(int count, const char *error)
{
	DnsAddress addresses[DNS_ADDRESSES_MAX] = {0};

	for (int i = 0; i < count; i++)
	{
		struct sockaddr_in *internet = (void *) &addresses[i].address;

		internet->sin_family = AF_INET;
		internet->sin_addr.s_addr = htonl(INADDR_LOOPBACK + (in_addr_t) i);
		internet->sin_port = htons(1);
		addresses[i].size = sizeof(*internet);
	}
	assert_true(query.is_under_way);
	query.is_under_way = false;
	query.callback(query.context, error == NULL ? addresses : NULL, count, error);
}

static void
found(void *context, const char *error)
{
	(void) context;
	found_count++;
	found_error = error;
}

static int
set_up(void **state)
{
	(void) state;
	unsetenv("PGHOST");
	unsetenv("PGHOSTADDR");
	unsetenv("PGPORT");
	query = (DnsQuery){0};
	found_count = 0;
	return 0;
}

static PgTarget *
begin(PgRoute *route, const char *conninfo, int first_host)
{
	char error[PG_MESSAGE_BYTES_MAX];
	PgTarget *target = pg_target_new(conninfo, error, sizeof(error));

	assert_non_null(target);
	pg_route_init(route, NULL, target, first_host, found, NULL);
	return target;
}

static void
expect_there(PgRoute *route, int host, const char *peer)
{
	assert_int_equal(pg_route_next(route), PG_ROUTE_THERE);
	assert_int_equal(pg_route_host(route), host);
	assert_string_equal(pg_route_peer(route), peer);
}

/* Where libpq goes to when it is told to connect. */
static void
expect_connected_to(const PgRoute *route, const char *address)
{
	const char *error = "left as it was";
	PGconn *pg = pg_route_connect(route, &error);

	assert_null(error);
	assert_non_null(pg);
	assert_string_equal(PQhostaddr(pg), address);
	PQfinish(pg);
}

static void
each_host_once_from_the_first_wanted(void **state)
{
	PgRoute route;
	PgTarget *target =
		begin(&route, "host=a,/run/postgresql,c hostaddr=127.0.0.1,,127.0.0.3 port=1,2,3", 1);

	(void) state;
	expect_there(&route, 1, "/run/postgresql");
	expect_there(&route, 2, "127.0.0.3:3");
	expect_there(&route, 0, "127.0.0.1:1");
	expect_connected_to(&route, "127.0.0.1");
	assert_int_equal(pg_route_next(&route), PG_ROUTE_END);
	assert_false(query.is_under_way);
	pg_target_free(target);
}

static void
all_addresses_of_a_name(void **state)
{
	PgRoute route;
	PgTarget *target = begin(&route, "host=db.test,10.0.0.9 port=1", 0);

	(void) state;
	assert_int_equal(pg_route_next(&route), PG_ROUTE_ASKING);
	assert_string_equal(query.question, "db.test:1");
	assert_string_equal(pg_route_peer(&route), "db.test:1");
	answer(2, NULL);
	assert_int_equal(found_count, 1);
	assert_null(found_error);
	assert_string_equal(pg_route_peer(&route), "127.0.0.1:1");
	expect_connected_to(&route, "127.0.0.1");
	expect_there(&route, 0, "127.0.0.2:1");
	expect_connected_to(&route, "127.0.0.2");
	assert_int_equal(pg_route_next(&route), PG_ROUTE_ASKING);
	assert_string_equal(query.question, "10.0.0.9:1");
	answer(1, NULL);
	assert_int_equal(pg_route_host(&route), 1);
	assert_int_equal(pg_route_next(&route), PG_ROUTE_END);
	assert_int_equal(found_count, 2);
	pg_target_free(target);
}

static void
a_name_without_addresses_is_passed_over(void **state)
{
	PgRoute route;
	PgTarget *target = begin(&route, "host=missing.test,silent.test,last.test port=1", 0);

	(void) state;
	assert_int_equal(pg_route_next(&route), PG_ROUTE_ASKING);
	answer(0, "no such name");
	assert_string_equal(found_error, "no such name");
	assert_int_equal(pg_route_next(&route), PG_ROUTE_ASKING);
	pg_route_cancel(&route);
	assert_false(query.is_under_way);
	pg_route_cancel(&route);
	assert_int_equal(pg_route_next(&route), PG_ROUTE_ASKING);
	assert_string_equal(query.question, "last.test:1");
	answer(1, NULL);
	assert_int_equal(pg_route_host(&route), 2);
	assert_int_equal(pg_route_next(&route), PG_ROUTE_END);
	assert_int_equal(found_count, 2);
	pg_target_free(target);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(each_host_once_from_the_first_wanted, set_up),
		cmocka_unit_test_setup(all_addresses_of_a_name, set_up),
		cmocka_unit_test_setup(a_name_without_addresses_is_passed_over, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
