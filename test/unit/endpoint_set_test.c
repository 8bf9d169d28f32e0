/*
 * endpoint_set_test.c
 *		The endpoints of a service as the addresses behind its names change. The names (target.h)
 *		are this test's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "grpc_server.h"
#include "net/channel_metrics.h"
#include "net/endpoint_set.h"
#include "net/target.h"

#define PATIENCE_US (10 * CLOCK_SECOND)
#define SERVERS 3

struct Target
{
	char *name;
	TargetCallback callback;
	void *context;
};

static Loop *loop;
static EndpointSet *set;
static GrpcServer *servers[SERVERS];
static Target *targets[2];
static int target_count;
static bool is_hopeful;
static int refresh_count;

/* Names ---------------------------------------------------------------------------------------- */

Target *
target_new(Loop *owner, Dns *dns, const char *text, TargetCallback callback, void *context)
{
	Target *target = bytes_new_zeroed(1, sizeof(Target));

	(void) owner;
	(void) dns;
	assert_true(target_count < 2);
	target->name = bytes_copy_text(text);
	target->callback = callback;
	target->context = context;
	targets[target_count++] = target;
	return target;
}

void
target_free(Target *target)
{
	free(target->name);
	free(target);
}

void
target_refresh(Target *target)
{
	(void) target;
	refresh_count++;
}

bool
target_is_hopeful(const Target *target)
{
	(void) target;
	return is_hopeful;
}

const char *
target_name(const Target *target)
{
	return target->name;
}

const char *
target_host(const Target *target)
{
	return target->name;
}

static DnsAddress
make_address(uint32_t host, int port)
{
	struct sockaddr_in v4 = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(host), .sin_port = htons((uint16_t) port)};
	DnsAddress address = {.size = sizeof(v4)};

	memcpy(&address.address, &v4, sizeof(v4));
	return address;
}

/* The name has the addresses of these servers. */
static void
resolve(int target, const int *numbers, int count)
{
	DnsAddress addresses[SERVERS];

	for (int i = 0; i < count; i++)
		addresses[i] = make_address(INADDR_LOOPBACK, grpc_server_port(servers[numbers[i]]));
	targets[target]->callback(targets[target]->context, targets[target], addresses, count, NULL);
}

/* The rest ------------------------------------------------------------------------------------- */

static void
serve(void *context, GrpcCall *call, const char *path, const uint8_t *message, size_t size)
{
	(void) context;
	(void) path;
	grpc_call_reply(call, message, size);
}

static void
on_change(void *context)
{
	(void) context;
}

static void
on_alarm(void *context, short what)
{
	(void) what;
	loop_stop(context);
}

/* One turn, at most a millisecond long. */
static void
turn(void)
{
	LoopEvent alarm;

	loop_event_init(&alarm, loop, -1, 0, on_alarm, loop);
	loop_event_add(&alarm, CLOCK_MS);
	loop_run(loop);
	loop_event_remove(&alarm);
}

static void
wait_for_ready(int count)
{
	int64_t until_us = clock_now_us() + PATIENCE_US;

	while (endpoint_set_ready_count(set) != count)
	{
		assert_true(clock_now_us() < until_us);
		turn();
	}
}

static int
set_up(void **state)
{
	(void) state;
	log_configure(LOG_ERROR, LOG_FORMAT_TEXT);
	loop = loop_new();
	target_count = 0;
	is_hopeful = true;
	refresh_count = 0;
	for (int i = 0; i < SERVERS; i++)
		servers[i] = grpc_server_new(loop, "127.0.0.1:0", serve, NULL);
	channel_metrics_init();
	set = endpoint_set_new(loop, NULL, "first:1, second:2", &(EndpointPolicy){0}, on_change, NULL);
	assert_non_null(set);
	assert_int_equal(target_count, 2);
	return 0;
}

static int
tear_down(void **state)
{
	(void) state;
	endpoint_set_free(set);
	for (int i = 0; i < SERVERS; i++)
		grpc_server_free(servers[i]);
	loop_free(loop);
	return 0;
}

/* Tests ---------------------------------------------------------------------------------------- */

static void
every_address_of_every_name_is_an_endpoint(void **state)
{
	(void) state;
	resolve(0, (const int[]){0, 1}, 2);
	resolve(1, (const int[]){2}, 1);
	wait_for_ready(3);
	assert_int_equal(endpoint_set_count(set), 3);
	assert_string_equal(endpoint_set_name(set, 0), "first:1");
	assert_string_equal(endpoint_set_name(set, 2), "second:2");
}

static void
new_addresses_are_added_and_vanished_ones_retired(void **state)
{
	Endpoint *kept;

	(void) state;
	resolve(0, (const int[]){0, 1}, 2);
	wait_for_ready(2);
	kept = endpoint_set_endpoint(set, 1);
	resolve(0, (const int[]){1, 2}, 2);
	assert_int_equal(endpoint_set_count(set), 2);
	wait_for_ready(2);
	assert_ptr_equal(endpoint_set_endpoint(set, 1), kept);
	for (int i = 0; i < 8; i++)
		assert_int_not_equal(endpoint_set_choose(set, -1), 0);
}

static void
the_number_of_a_vanished_endpoint_is_used_again(void **state)
{
	(void) state;
	resolve(0, (const int[]){0, 1}, 2);
	resolve(0, (const int[]){1}, 1);
	endpoint_set_sweep(set);
	resolve(0, (const int[]){1, 2}, 2);
	wait_for_ready(2);
	assert_int_equal(endpoint_set_choose(set, 1), 0);
	assert_int_equal(endpoint_set_choose(set, 0), 1);
}

static void
a_name_that_is_not_resolved_keeps_its_addresses(void **state)
{
	(void) state;
	resolve(0, (const int[]){0, 1}, 2);
	wait_for_ready(2);
	targets[0]->callback(targets[0]->context, targets[0], NULL, 0, "no name server");
	assert_int_equal(endpoint_set_count(set), 2);
	assert_int_equal(endpoint_set_ready_count(set), 2);
}

static void
addresses_above_the_limit_are_not_used(void **state)
{
	uint64_t refused = channel_metrics.endpoints_refused.value;
	DnsAddress addresses[DNS_ADDRESSES_MAX];

	(void) state;
	log_configure(LOG_ERROR + 1, LOG_FORMAT_TEXT);
	/* Each answer replaces the one before, whose endpoints are gone, but not swept. */
	for (int i = 0; i <= ENDPOINTS_MAX / DNS_ADDRESSES_MAX; i++)
	{
		for (int j = 0; j < DNS_ADDRESSES_MAX; j++)
			addresses[j] =
				make_address(INADDR_LOOPBACK + (uint32_t) (1 + i * DNS_ADDRESSES_MAX + j), 1);
		targets[0]->callback(targets[0]->context, targets[0], addresses, DNS_ADDRESSES_MAX, NULL);
	}
	assert_int_equal(channel_metrics.endpoints_refused.value, refused + DNS_ADDRESSES_MAX);
	assert_int_equal(endpoint_set_count(set), 0);
	endpoint_set_sweep(set);
	targets[0]->callback(targets[0]->context, targets[0], addresses, DNS_ADDRESSES_MAX, NULL);
	assert_int_equal(endpoint_set_count(set), DNS_ADDRESSES_MAX);
}

static void
another_endpoint_is_one_that_is_ready_and_not_doubted(void **state)
{
	(void) state;
	assert_false(endpoint_set_has_other(set, -1));
	resolve(0, (const int[]){0}, 1);
	wait_for_ready(1);
	assert_true(endpoint_set_has_other(set, -1));
	assert_false(endpoint_set_has_other(set, 0));
	resolve(0, (const int[]){0, 1}, 2);
	wait_for_ready(2);
	assert_true(endpoint_set_has_other(set, 0));
	assert_true(endpoint_set_has_other(set, 1));
	endpoint_doubt(endpoint_set_endpoint(set, 1), loop_now_us(loop));
	assert_true(endpoint_is_doubted(endpoint_set_endpoint(set, 1)));
	assert_false(endpoint_set_has_other(set, 0));
	assert_true(endpoint_set_has_other(set, 1));
}

static void
hope_ends_with_the_first_failure(void **state)
{
	const DnsAddress nobody = make_address(INADDR_LOOPBACK + 1, 1);
	int64_t until_us = clock_now_us() + PATIENCE_US;

	(void) state;
	assert_true(endpoint_set_is_hopeful(set));
	is_hopeful = false;
	assert_false(endpoint_set_is_hopeful(set));
	targets[0]->callback(targets[0]->context, targets[0], &nobody, 1, NULL);
	assert_true(endpoint_set_is_hopeful(set));
	while (endpoint_set_is_hopeful(set))
	{
		assert_true(clock_now_us() < until_us);
		loop_turn(loop);
	}
	assert_int_equal(refresh_count, 1);

	/* A name without an endpoint may still bring one. */
	is_hopeful = true;
	assert_true(endpoint_set_is_hopeful(set));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

static void
a_silent_connection_is_asked_without_a_call_where_that_is_wanted(void **state)
{
	const EndpointPolicy policy = {.ping_idle_us = CLOCK_MS, .pings_always = true};
	uint64_t wanted = channel_metrics.pings.value + 3;
	int64_t until_us = clock_now_us() + PATIENCE_US;

	(void) state;
	endpoint_set_free(set);
	target_count = 0;
	set = endpoint_set_new(loop, NULL, "first:1, second:2", &policy, on_change, NULL);
	resolve(0, (const int[]){0}, 1);
	wait_for_ready(1);
	/* The next PING goes when the last one was answered. */
	while (channel_metrics.pings.value < wanted)
	{
		assert_true(clock_now_us() < until_us);
		turn();
	}
	assert_int_equal(endpoint_set_ready_count(set), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_address_of_every_name_is_an_endpoint),
		TEST(new_addresses_are_added_and_vanished_ones_retired),
		TEST(the_number_of_a_vanished_endpoint_is_used_again),
		TEST(a_name_that_is_not_resolved_keeps_its_addresses),
		TEST(addresses_above_the_limit_are_not_used),
		TEST(another_endpoint_is_one_that_is_ready_and_not_doubted),
		TEST(hope_ends_with_the_first_failure),
		TEST(a_silent_connection_is_asked_without_a_call_where_that_is_wanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
