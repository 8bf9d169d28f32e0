/*
 * dns_test.c
 *		Names to addresses, against a name server of the test's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <event2/dns.h>
#include <event2/dns_struct.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "net/dns.h"

#define DEADLINE_US (20 * CLOCK_SECOND)

/* Names below this have no answer at all. */
#define SILENT_NAME "silent.test"
#define MANY_NAME "many.test"
#define MISSING_NAME "missing.test"

typedef struct Resolver
{
	Loop *loop;
	Dns *dns;
	struct evdns_server_port *server;
	char resolv_conf[64];
	int questions;
	int callbacks;
	int count;
	const char *error;
	char addresses[DNS_ADDRESSES_MAX][64];
} Resolver;

static void
answer_question(struct evdns_server_request *request, void *context)
{
	Resolver *resolver = context;
	const struct evdns_server_question *question = request->questions[0];

	resolver->questions++;
	if (strcasecmp(question->name, SILENT_NAME) == 0)
	{
		evdns_server_request_drop(request);
		return;
	}
	if (strcasecmp(question->name, MISSING_NAME) == 0)
	{
		evdns_server_request_respond(request, DNS_ERR_NOTEXIST);
		return;
	}
	if (question->type == EVDNS_TYPE_A)
	{
		uint32_t addresses[DNS_ADDRESSES_MAX + 4];
		int count = strcasecmp(question->name, MANY_NAME) == 0 ? DNS_ADDRESSES_MAX + 4 : 2;

		/* Each twice, where there are only a few. */
		for (int i = 0; i < count; i++)
			addresses[i] = htonl(0x0A000001 + (count == 2 ? 0 : (uint32_t) i));
		evdns_server_request_add_a_reply(request, question->name, count, addresses, 60);
	}
	else if (question->type == EVDNS_TYPE_AAAA)
	{
		struct in6_addr address;

		inet_pton(AF_INET6, "fd00::1", &address);
		evdns_server_request_add_aaaa_reply(request, question->name, 1, &address, 60);
	}
	evdns_server_request_respond(request, 0);
}

static void
start_server(Resolver *resolver)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	FILE *file;

	assert_int_equal(bind(descriptor, (struct sockaddr *) &address, size), 0);
	assert_int_equal(getsockname(descriptor, (struct sockaddr *) &address, &size), 0);
	resolver->server = evdns_add_server_port_with_base(loop_base(resolver->loop), descriptor, 0,
													   answer_question, resolver);
	assert_non_null(resolver->server);

	strcpy(resolver->resolv_conf, "/tmp/dns_test.XXXXXX");
	file = fdopen(mkstemp(resolver->resolv_conf), "w");
	fprintf(file, "nameserver 127.0.0.1:%d\n", ntohs(address.sin_port));
	fclose(file);
}

static int
setup(void **state)
{
	Resolver *resolver = calloc(1, sizeof(Resolver));

	resolver->loop = loop_new();
	start_server(resolver);
	resolver->dns = dns_new_from(
		resolver->loop, &(DnsOptions){.resolv_conf = resolver->resolv_conf, .refresh_us = 1});
	assert_int_equal(dns_refresh_us(resolver->dns), 1);
	*state = resolver;
	return 0;
}

static int
teardown(void **state)
{
	Resolver *resolver = *state;

	dns_free(resolver->dns);
	evdns_close_server_port(resolver->server);
	loop_turn(resolver->loop);
	loop_free(resolver->loop);
	unlink(resolver->resolv_conf);
	free(resolver);
	metrics_reset();
	return 0;
}

static void
take_result(void *context, const DnsAddress *addresses, int count, const char *error)
{
	Resolver *resolver = context;

	resolver->callbacks++;
	resolver->count = count;
	resolver->error = error;
	for (int i = 0; i < count; i++)
		dns_format((const struct sockaddr *) &addresses[i].address, resolver->addresses[i],
				   sizeof(resolver->addresses[i]));
}

static void
resolve(Resolver *resolver, const char *host, int port)
{
	int64_t until_us = clock_now_us() + DEADLINE_US;

	resolver->callbacks = 0;
	dns_resolve(resolver->dns, host, port, take_result, resolver);
	assert_int_equal(resolver->callbacks, 0);
	while (resolver->callbacks == 0 && clock_now_us() < until_us)
		loop_turn(resolver->loop);
	assert_int_equal(resolver->callbacks, 1);
}

static bool
has_address(const Resolver *resolver, const char *address)
{
	for (int i = 0; i < resolver->count; i++)
	{
		if (strcmp(resolver->addresses[i], address) == 0)
			return true;
	}
	return false;
}

static void
a_numeric_host_is_not_asked_for(void **state)
{
	Resolver *resolver = *state;

	resolve(resolver, "192.0.2.7", 5432);
	assert_null(resolver->error);
	assert_int_equal(resolver->count, 1);
	assert_string_equal(resolver->addresses[0], "192.0.2.7:5432");

	resolve(resolver, "2001:db8::1", 9000);
	assert_int_equal(resolver->count, 1);
	assert_string_equal(resolver->addresses[0], "[2001:db8::1]:9000");
	assert_int_equal(resolver->questions, 0);
}

static void
the_hosts_file_needs_no_name_server(void **state)
{
	Resolver *resolver = *state;

	resolve(resolver, "localhost", 9000);
	assert_null(resolver->error);
	assert_true(has_address(resolver, "127.0.0.1:9000"));
	assert_int_equal(resolver->questions, 0);
}

static void
both_families_are_found_and_each_address_once(void **state)
{
	Resolver *resolver = *state;

	resolve(resolver, "account.test", 9000);
	assert_null(resolver->error);
	assert_int_equal(resolver->count, 2);
	assert_true(has_address(resolver, "10.0.0.1:9000"));
	assert_true(has_address(resolver, "[fd00::1]:9000"));
}

static void
addresses_above_the_limit_are_left_out(void **state)
{
	Resolver *resolver = *state;

	resolve(resolver, MANY_NAME, 9000);
	assert_null(resolver->error);
	assert_int_equal(resolver->count, DNS_ADDRESSES_MAX);
}

static void
a_name_that_does_not_exist_is_an_error(void **state)
{
	Resolver *resolver = *state;

	resolve(resolver, MISSING_NAME, 9000);
	assert_non_null(resolver->error);
	assert_int_equal(resolver->count, 0);
}

static void
a_silent_name_server_ends_with_an_error_in_time(void **state)
{
	Resolver *resolver = *state;
	int64_t begin_us = clock_now_us();

	resolve(resolver, SILENT_NAME, 9000);
	assert_non_null(resolver->error);
	assert_int_equal(resolver->count, 0);
	assert_true(resolver->questions > 2);
	assert_true(clock_now_us() - begin_us < DEADLINE_US);
}

static void
a_cancelled_query_does_not_call_back(void **state)
{
	Resolver *resolver = *state;
	DnsQuery *numeric = dns_resolve(resolver->dns, "192.0.2.7", 1, take_result, resolver);
	DnsQuery *silent = dns_resolve(resolver->dns, SILENT_NAME, 1, take_result, resolver);
	DnsQuery *other = dns_resolve(resolver->dns, "account.test", 1, take_result, resolver);
	int64_t until_us = clock_now_us() + DEADLINE_US;

	dns_cancel(numeric);
	dns_cancel(other);
	while (resolver->questions < 2 && clock_now_us() < until_us)
		loop_turn(resolver->loop);
	dns_cancel(silent);
	loop_turn(resolver->loop);
	assert_int_equal(resolver->callbacks, 0);
	/* The teardown frees the resolver: nothing may be left behind. */
}

static void
a_missing_resolv_conf_is_not_fatal(void **state)
{
	Resolver *resolver = *state;

	dns_free(resolver->dns);
	resolver->dns = dns_new_from(resolver->loop,
								 &(DnsOptions){.resolv_conf = "/does/not/exist", .refresh_us = 1});
	resolve(resolver, "127.0.0.1", 80);
	assert_null(resolver->error);
	resolve(resolver, "localhost", 80);
	assert_null(resolver->error);
}

#define DNS_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		DNS_TEST(a_numeric_host_is_not_asked_for),
		DNS_TEST(the_hosts_file_needs_no_name_server),
		DNS_TEST(both_families_are_found_and_each_address_once),
		DNS_TEST(addresses_above_the_limit_are_left_out),
		DNS_TEST(a_name_that_does_not_exist_is_an_error),
		DNS_TEST(a_silent_name_server_ends_with_an_error_in_time),
		DNS_TEST(a_cancelled_query_does_not_call_back),
		DNS_TEST(a_missing_resolv_conf_is_not_fatal),
	};

	log_configure(LOG_ERROR, LOG_FORMAT_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
