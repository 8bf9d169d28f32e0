/*
 * channel_test.c
 *		Calls through a channel to servers in the same process, and to what is none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "grpc_server.h"
#include "net/channel.h"
#include "net/channel_metrics.h"

#define CALLS_MAX (CHANNEL_WAITING_MAX + 8)
#define PATIENCE_US (10 * CLOCK_SECOND)
#define LONG_US (60 * CLOCK_SECOND)

typedef struct Call
{
	ChannelCall *call;
	int end_count;
	GrpcStatus status;
	bool is_unprocessed;
	int endpoint;
	size_t reply_size;
	char reply[32];
	char text[64];
} Call;

static Loop *loop;
static Dns *dns;
static Channel *channel;
static GrpcServer *servers[2];
static Call calls[CALLS_MAX];
static GrpcCall *held[CALLS_MAX]; /* calls that a server has not answered yet */
static int held_count;
static int served_count[2];

/* Servers -------------------------------------------------------------------------------------- */

static void
serve(void *context, GrpcCall *call, const char *path, const uint8_t *message, size_t size)
{
	int *count = context;

	(*count)++;
	if (strcmp(path, "/test/Echo") == 0)
		grpc_call_reply(call, message, size);
	else if (strcmp(path, "/test/Size") == 0)
	{
		size_t reply_size = strtoul((const char *) message, NULL, 10);
		uint8_t *reply = calloc(1, reply_size);

		grpc_call_reply(call, reply, reply_size);
		free(reply);
	}
	else if (strcmp(path, "/test/Headers") == 0)
	{
		char text[128];

		(void) snprintf(text, sizeof(text), "%s %lld", grpc_call_header(call, "x-correlation-id"),
						(long long) grpc_call_timeout_us(call));
		grpc_call_reply(call, (const uint8_t *) text, strlen(text));
	}
	else if (strcmp(path, "/test/Fail") == 0)
		grpc_call_fail(call, GRPC_NOT_FOUND, "100% not there");
	else if (strcmp(path, "/test/Refuse") == 0)
		grpc_call_reset(call, 0x7);
	else if (strcmp(path, "/test/Drop") == 0)
		grpc_call_drop(call);
	else if (strcmp(path, "/test/Hang") == 0)
		grpc_call_hang(call);
	else
		held[held_count++] = call;
}

static void
answer_held(void)
{
	while (held_count > 0)
		grpc_call_reply(held[--held_count], (const uint8_t *) "late", 4);
}

static void
start_server(int number, int port)
{
	char address[32];

	(void) snprintf(address, sizeof(address), "127.0.0.1:%d", port);
	servers[number] = grpc_server_new(loop, address, serve, &served_count[number]);
	assert_non_null(servers[number]);
}

static void
stop_server(int number)
{
	grpc_server_free(servers[number]);
	servers[number] = NULL;
}

/* A socket that listens and whose clients nobody talks to. */
static int
silent_socket(int *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int result = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(result, (struct sockaddr *) &address, size), 0);
	assert_int_equal(listen(result, 8), 0);
	assert_int_equal(getsockname(result, (struct sockaddr *) &address, &size), 0);
	*port = ntohs(address.sin_port);
	return result;
}

/* The client ----------------------------------------------------------------------------------- */

static void
on_alarm(void *context, short what)
{
	(void) what;
	loop_stop(context);
}

/* One turn, at most a millisecond long, so that no test waits without end. */
static void
turn(void)
{
	LoopEvent alarm;

	loop_event_init(&alarm, loop, -1, 0, on_alarm, loop);
	loop_event_add(&alarm, CLOCK_MS);
	loop_run(loop);
	loop_event_remove(&alarm);
}

#define WAIT_FOR(condition) \
	do \
	{ \
		int64_t until_us = clock_now_us() + PATIENCE_US; \
\
		while (!(condition)) \
		{ \
			assert_true(clock_now_us() < until_us); \
			turn(); \
		} \
	} while (0)

static void
on_end(void *context, const ChannelResult *result)
{
	Call *call = context;

	call->end_count++;
	call->status = result->status;
	call->is_unprocessed = result->is_unprocessed;
	call->endpoint = result->endpoint;
	call->reply_size = result->reply_size;
	(void) snprintf(call->reply, sizeof(call->reply), "%.*s", (int) result->reply_size,
					result->reply_size == 0 ? "" : (const char *) result->reply);
	(void) snprintf(call->text, sizeof(call->text), "%s", result->text);
}

static void
begin(int number, const char *path, const char *message, int64_t timeout_us, int avoid)
{
	const ChannelRequest request = {.path = path,
									.message = (const uint8_t *) message,
									.size = strlen(message),
									.correlation_id = "00ff",
									.timeout_us = timeout_us,
									.avoid = avoid};

	calls[number] = (Call){.endpoint = -2};
	calls[number].call = channel_call(channel, &request, on_end, &calls[number]);
	assert_int_equal(calls[number].end_count, 0);
}

static const Call *
call(const char *path, const char *message)
{
	begin(0, path, message, LONG_US, -1);
	WAIT_FOR(calls[0].end_count > 0);
	assert_int_equal(calls[0].end_count, 1);
	return &calls[0];
}

static void
open_channel(const char *endpoints)
{
	const ChannelOptions options = {.endpoints = endpoints};

	channel = channel_new(loop, dns, &options);
	assert_non_null(channel);
}

static void
open_to_servers(int count)
{
	char endpoints[64];

	if (count == 1)
		(void) snprintf(endpoints, sizeof(endpoints), "127.0.0.1:%d", grpc_server_port(servers[0]));
	else
		(void) snprintf(endpoints, sizeof(endpoints), "127.0.0.1:%d, 127.0.0.1:%d",
						grpc_server_port(servers[0]), grpc_server_port(servers[1]));
	open_channel(endpoints);
	WAIT_FOR(channel_ready_count(channel) == count);
	/* What a server says by itself comes before its first answer: from now on it is silent. */
	for (int i = 0; i < count; i++)
		assert_int_equal(call("/test/Echo", "")->status, GRPC_OK);
	memset(served_count, 0, sizeof(served_count));
}

static int
set_up(void **state)
{
	(void) state;
	log_configure(LOG_ERROR, LOG_FORMAT_TEXT);
	loop = loop_new();
	dns = dns_new(loop);
	channel = NULL;
	held_count = 0;
	memset(served_count, 0, sizeof(served_count));
	start_server(0, 0);
	start_server(1, 0);
	return 0;
}

static int
tear_down(void **state)
{
	(void) state;
	if (channel != NULL)
		channel_free(channel);
	for (int i = 0; i < 2; i++)
	{
		if (servers[i] != NULL)
			stop_server(i);
	}
	answer_held();
	dns_free(dns);
	loop_free(loop);
	return 0;
}

/* Tests ---------------------------------------------------------------------------------------- */

static void
a_call_is_answered(void **state)
{
	(void) state;
	open_to_servers(1);
	assert_int_equal(call("/test/Echo", "hello")->status, GRPC_OK);
	assert_string_equal(calls[0].reply, "hello");
	assert_string_equal(calls[0].text, "OK");
	assert_int_equal(call("/test/Echo", "")->status, GRPC_OK);
	assert_int_equal(calls[0].reply_size, 0);
	begin(0, "/test/Headers", "", 5 * CLOCK_SECOND, -1);
	WAIT_FOR(calls[0].end_count == 1);
	assert_memory_equal(calls[0].reply, "00ff ", 5);
	assert_in_range(atoi(calls[0].reply + 5), 1, 5000000);
}

static void
an_error_of_the_server_is_the_result(void **state)
{
	(void) state;
	open_to_servers(1);
	assert_int_equal(call("/test/Fail", "")->status, GRPC_NOT_FOUND);
	assert_string_equal(calls[0].text, "100% not there");
	assert_false(calls[0].is_unprocessed);
	assert_int_equal(call("/test/Refuse", "")->status, GRPC_UNAVAILABLE);
	assert_true(calls[0].is_unprocessed);
}

static void
a_reply_may_have_the_largest_size_and_not_more(void **state)
{
	char size[16];
	uint64_t count;

	(void) state;
	open_to_servers(1);
	(void) snprintf(size, sizeof(size), "%d", GRPC_MESSAGE_BYTES_MAX);
	assert_int_equal(call("/test/Size", size)->status, GRPC_OK);
	assert_int_equal(calls[0].reply_size, GRPC_MESSAGE_BYTES_MAX);

	count = channel_metrics.too_large.value;
	(void) snprintf(size, sizeof(size), "%d", GRPC_MESSAGE_BYTES_MAX + 1);
	assert_int_equal(call("/test/Size", size)->status, GRPC_RESOURCE_EXHAUSTED);
	assert_int_equal(channel_metrics.too_large.value, count + 1);
	assert_int_equal(call("/test/Echo", "again")->status, GRPC_OK);
}

static void
a_call_ends_at_its_timeout(void **state)
{
	(void) state;
	open_to_servers(1);
	begin(0, "/test/Hang", "", 20 * CLOCK_MS, -1);
	WAIT_FOR(calls[0].end_count == 1);
	assert_int_equal(calls[0].status, GRPC_DEADLINE_EXCEEDED);
	assert_false(calls[0].is_unprocessed);
	assert_int_equal(call("/test/Echo", "next")->status, GRPC_OK);
}

static void
a_lost_connection_ends_its_calls_and_is_made_again(void **state)
{
	(void) state;
	open_to_servers(1);
	begin(1, "/test/Hold", "", LONG_US, -1);
	WAIT_FOR(held_count == 1);
	assert_int_equal(call("/test/Drop", "")->status, GRPC_UNAVAILABLE);
	assert_false(calls[0].is_unprocessed);
	WAIT_FOR(calls[1].end_count == 1);
	assert_int_equal(calls[1].status, GRPC_UNAVAILABLE);
	assert_false(calls[1].is_unprocessed);
	assert_int_equal(call("/test/Echo", "again")->status, GRPC_OK);
}

static void
a_server_that_returns_is_found(void **state)
{
	int port;

	(void) state;
	open_to_servers(1);
	port = grpc_server_port(servers[0]);
	stop_server(0);
	WAIT_FOR(channel_ready_count(channel) == 0);
	WAIT_FOR(call("/test/Echo", "")->status == GRPC_UNAVAILABLE);
	assert_true(calls[0].is_unprocessed);
	start_server(0, port);
	WAIT_FOR(channel_ready_count(channel) == 1);
	assert_int_equal(call("/test/Echo", "")->status, GRPC_OK);
}

static void
calls_take_turns_among_the_endpoints(void **state)
{
	(void) state;
	open_to_servers(2);
	for (int i = 0; i < 20; i++)
		assert_int_equal(call("/test/Echo", "")->status, GRPC_OK);
	assert_int_equal(served_count[0], 10);
	assert_int_equal(served_count[1], 10);
}

static void
an_endpoint_is_avoided_while_there_is_another(void **state)
{
	(void) state;
	open_to_servers(2);
	for (int i = 0; i < 10; i++)
	{
		begin(0, "/test/Echo", "", LONG_US, 1);
		WAIT_FOR(calls[0].end_count == 1);
		assert_int_equal(calls[0].endpoint, 0);
	}
	stop_server(0);
	WAIT_FOR(channel_ready_count(channel) == 1);
	begin(0, "/test/Echo", "", LONG_US, 1);
	WAIT_FOR(calls[0].end_count == 1);
	assert_int_equal(calls[0].status, GRPC_OK);
	assert_int_equal(calls[0].endpoint, 1);
}

static void
a_server_that_does_not_answer_is_passed_over_until_it_says_something(void **state)
{
	uint64_t doubts = channel_metrics.doubts.value;

	(void) state;
	open_to_servers(2);
	begin(1, "/test/Hold", "", LONG_US, 1);
	begin(2, "/test/Hold", "", 20 * CLOCK_MS, 1);
	WAIT_FOR(calls[2].end_count == 1);
	assert_int_equal(calls[2].status, GRPC_DEADLINE_EXCEEDED);
	assert_int_equal(channel_metrics.doubts.value, doubts + 1);
	for (int i = 0; i < 10; i++)
		assert_int_equal(call("/test/Echo", "")->endpoint, 1);
	/* One that has just failed is better than one of which nothing is known. */
	begin(3, "/test/Echo", "", LONG_US, 1);
	WAIT_FOR(calls[3].end_count == 1);
	assert_int_equal(calls[3].endpoint, 1);

	answer_held();
	WAIT_FOR(calls[1].end_count == 1);
	served_count[0] = 0;
	for (int i = 0; i < 10; i++)
		assert_int_equal(call("/test/Echo", "")->status, GRPC_OK);
	assert_int_equal(served_count[0], 5);
}

static void
a_server_that_does_not_answer_is_asked_again_after_a_while(void **state)
{
	(void) state;
	open_to_servers(2);
	begin(1, "/test/Hold", "", 20 * CLOCK_MS, 1);
	WAIT_FOR(calls[1].end_count == 1);
	served_count[0] = 0;
	assert_int_equal(call("/test/Echo", "")->endpoint, 1);
	WAIT_FOR(call("/test/Echo", "")->endpoint == 0);
	answer_held();
}

static void
the_only_server_is_asked_whatever_it_does(void **state)
{
	uint64_t doubts = channel_metrics.doubts.value;

	(void) state;
	open_to_servers(1);
	begin(1, "/test/Hold", "", 20 * CLOCK_MS, -1);
	WAIT_FOR(calls[1].end_count == 1);
	assert_int_equal(channel_metrics.doubts.value, doubts + 1);
	assert_int_equal(call("/test/Echo", "")->status, GRPC_OK);
	answer_held();
}

static void
a_draining_server_fails_no_call(void **state)
{
	(void) state;
	open_to_servers(2);
	for (int i = 0; i < 40; i++)
		begin(i, "/test/Hold", "", LONG_US, -1);
	WAIT_FOR(held_count == 40);
	grpc_server_drain(servers[0]);
	for (int i = 40; i < 80; i++)
		begin(i, "/test/Hold", "", LONG_US, -1);
	WAIT_FOR(channel_ready_count(channel) == 1 && held_count == 80);
	answer_held();
	for (int i = 0; i < 80; i++)
	{
		WAIT_FOR(calls[i].end_count == 1);
		assert_int_equal(calls[i].status, GRPC_OK);
	}
}

static void
a_cancelled_call_is_not_heard_of_again(void **state)
{
	(void) state;
	open_to_servers(1);
	begin(1, "/test/Hold", "", LONG_US, -1);
	WAIT_FOR(held_count == 1);
	channel_cancel(calls[1].call);
	begin(2, "/test/Echo", "", LONG_US, -1);
	channel_cancel(calls[2].call);
	answer_held();
	assert_int_equal(call("/test/Echo", "next")->status, GRPC_OK);
	assert_int_equal(calls[1].end_count, 0);
	assert_int_equal(calls[2].end_count, 0);
}

static void
waiting_calls_are_sent_when_an_endpoint_is_ready(void **state)
{
	char endpoint[32];

	(void) state;
	(void) snprintf(endpoint, sizeof(endpoint), "127.0.0.1:%d", grpc_server_port(servers[0]));
	open_channel(endpoint);
	for (int i = 0; i < 100; i++)
		begin(i, "/test/Echo", "early", LONG_US, -1);
	for (int i = 0; i < 100; i++)
	{
		WAIT_FOR(calls[i].end_count == 1);
		assert_int_equal(calls[i].status, GRPC_OK);
	}
}

static void
more_waiting_calls_than_allowed_are_refused(void **state)
{
	uint64_t count = channel_metrics.waiting_refused.value;
	char endpoint[32];
	int port;
	int socket = silent_socket(&port);

	(void) state;
	(void) snprintf(endpoint, sizeof(endpoint), "127.0.0.1:%d", port);
	open_channel(endpoint);
	for (int i = 0; i <= CHANNEL_WAITING_MAX; i++)
		begin(i, "/test/Echo", "", LONG_US, -1);
	WAIT_FOR(calls[CHANNEL_WAITING_MAX].end_count == 1);
	assert_int_equal(calls[CHANNEL_WAITING_MAX].status, GRPC_UNAVAILABLE);
	assert_true(calls[CHANNEL_WAITING_MAX].is_unprocessed);
	assert_int_equal(channel_metrics.waiting_refused.value, count + 1);

	/* The server never says a word, so the endpoint fails, and with it all that wait. */
	WAIT_FOR(calls[0].end_count == 1);
	for (int i = 0; i < CHANNEL_WAITING_MAX; i++)
	{
		assert_int_equal(calls[i].end_count, 1);
		assert_int_equal(calls[i].status, GRPC_UNAVAILABLE);
		assert_true(calls[i].is_unprocessed);
	}
	close(socket);
}

static void
a_waiting_call_ends_at_its_timeout_unprocessed(void **state)
{
	char endpoint[32];
	int port;
	int socket = silent_socket(&port);

	(void) state;
	(void) snprintf(endpoint, sizeof(endpoint), "127.0.0.1:%d", port);
	open_channel(endpoint);
	begin(0, "/test/Echo", "", 20 * CLOCK_MS, -1);
	WAIT_FOR(calls[0].end_count == 1);
	assert_int_equal(calls[0].status, GRPC_DEADLINE_EXCEEDED);
	assert_true(calls[0].is_unprocessed);
	assert_int_equal(calls[0].endpoint, -1);
	close(socket);
}

static void
closing_a_channel_ends_its_calls(void **state)
{
	(void) state;
	open_to_servers(1);
	begin(0, "/test/Hold", "", LONG_US, -1);
	WAIT_FOR(held_count == 1);
	begin(1, "/test/Echo", "", LONG_US, -1);
	channel_free(channel);
	channel = NULL;
	assert_int_equal(calls[0].end_count, 1);
	assert_int_equal(calls[0].status, GRPC_CANCELLED);
	assert_false(calls[0].is_unprocessed);
	assert_int_equal(calls[1].end_count, 1);
	assert_true(calls[1].is_unprocessed);
}

static void
endpoints_that_are_none_are_refused(void **state)
{
	static const char *const invalid[] = {"", "127.0.0.1", "127.0.0.1:0", "a:1,,b:2", "a:70000"};
	char many[ENDPOINTS_MAX * 8 + 16] = "a:1";

	(void) state;
	log_configure(LOG_ERROR + 1, LOG_FORMAT_TEXT);
	for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++)
		assert_null(channel_new(loop, dns, &(ChannelOptions){.endpoints = invalid[i]}));
	for (int i = 0; i < ENDPOINTS_MAX; i++)
		(void) strncat(many, ",a:1", sizeof(many) - strlen(many) - 1);
	assert_null(channel_new(loop, dns, &(ChannelOptions){.endpoints = many}));
	turn();
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_call_is_answered),
		TEST(an_error_of_the_server_is_the_result),
		TEST(a_reply_may_have_the_largest_size_and_not_more),
		TEST(a_call_ends_at_its_timeout),
		TEST(a_lost_connection_ends_its_calls_and_is_made_again),
		TEST(a_server_that_returns_is_found),
		TEST(calls_take_turns_among_the_endpoints),
		TEST(an_endpoint_is_avoided_while_there_is_another),
		TEST(a_server_that_does_not_answer_is_passed_over_until_it_says_something),
		TEST(a_server_that_does_not_answer_is_asked_again_after_a_while),
		TEST(the_only_server_is_asked_whatever_it_does),
		TEST(a_draining_server_fails_no_call),
		TEST(a_cancelled_call_is_not_heard_of_again),
		TEST(waiting_calls_are_sent_when_an_endpoint_is_ready),
		TEST(more_waiting_calls_than_allowed_are_refused),
		TEST(a_waiting_call_ends_at_its_timeout_unprocessed),
		TEST(closing_a_channel_ends_its_calls),
		TEST(endpoints_that_are_none_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
