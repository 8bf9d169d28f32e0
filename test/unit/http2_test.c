/*
 * http2_test.c
 *		Both sides of an HTTP/2 connection, joined in memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "net/http2.h"

#define STREAMS_MAX 4
#define REQUESTS_MAX 32

/* One side. */
typedef struct Side
{
	Http2 *http2;
	Bytes output;
	uint64_t delivered; /* bytes of the output, in all, that the other side got */
	int ready_count;
	int room_count;
	int goaway_count;
	bool is_broken;
	int stream_count;
	Http2Stream *streams[REQUESTS_MAX]; /* a server's */
	int ended_count;                    /* whole requests */
} Side;

/* A request, as its client sees it. Static: it may end as late as with the connection. */
typedef struct Request
{
	Http2Stream *stream;
	Bytes body;
	int header_count;
	int block_count;
	int close_count;
	Http2End end;
} Request;

static Side client;
static Side server;
static char server_path[64];
static size_t server_body_size;

/* Handlers ------------------------------------------------------------------------------------- */

static void
on_output(void *context)
{
	(void) context;
}

static void
on_ready(void *context)
{
	((Side *) context)->ready_count++;
}

static void
on_room(void *context)
{
	((Side *) context)->room_count++;
}

static void
on_goaway(void *context, uint32_t error_code, const char *text)
{
	(void) error_code;
	(void) text;
	((Side *) context)->goaway_count++;
}

static void
on_server_header(void *context, const char *name, size_t name_size, const char *value,
				 size_t value_size)
{
	(void) context;
	(void) name_size;
	if (strcmp(name, ":path") == 0 && value_size < sizeof(server_path))
		memcpy(server_path, value, value_size + 1);
}

static void
on_server_headers_end(void *context)
{
	(void) context;
}

static void
on_server_data(void *context, const uint8_t *data, size_t size)
{
	(void) context;
	(void) data;
	server_body_size += size;
}

static void
on_server_end(void *context)
{
	(void) context;
	server.ended_count++;
}

static void
on_server_close(void *context, const Http2End *end)
{
	(void) context;
	(void) end;
}

static const Http2StreamHandler server_stream_handler = {
	.on_header = on_server_header,
	.on_headers_end = on_server_headers_end,
	.on_data = on_server_data,
	.on_end = on_server_end,
	.on_close = on_server_close,
};

static void
on_request(void *context, Http2Stream *stream)
{
	Side *side = context;

	assert_true(side->stream_count < REQUESTS_MAX);
	side->streams[side->stream_count++] = stream;
	http2_stream_handle(stream, &server_stream_handler, NULL);
}

static const Http2Handler handler = {
	.on_ready = on_ready,
	.on_room = on_room,
	.on_goaway = on_goaway,
	.on_request = on_request,
};

static void
on_header(void *context, const char *name, size_t name_size, const char *value, size_t value_size)
{
	Request *request = context;

	assert_int_equal(strlen(name), name_size);
	assert_int_equal(strlen(value), value_size);
	request->header_count++;
}

static void
on_headers_end(void *context)
{
	((Request *) context)->block_count++;
}

static void
on_data(void *context, const uint8_t *data, size_t size)
{
	bytes_append(&((Request *) context)->body, data, size);
}

static void
on_close(void *context, const Http2End *end)
{
	Request *request = context;

	request->stream = NULL;
	request->close_count++;
	request->end = *end;
}

static const Http2StreamHandler stream_handler = {
	.on_header = on_header,
	.on_headers_end = on_headers_end,
	.on_data = on_data,
	.on_close = on_close,
};

/* The wire ------------------------------------------------------------------------------------- */

static void
begin_side(Side *side, bool is_server)
{
	Http2Options options = {.is_server = is_server,
							.streams_max = STREAMS_MAX,
							.handler = &handler,
							.context = side,
							.on_output = on_output};

	*side = (Side){.http2 = http2_new(&options)};
}

static bool
make(Side *side)
{
	bool is_more;

	if (side->is_broken || http2_is_finished(side->http2))
		return false;
	side->is_broken = !http2_make(side->http2, &side->output, SIZE_MAX, &is_more);
	return side->output.size > 0;
}

/* What the side has to say goes to the other one. Whether it was anything. */
static bool
carry(Side *from, Side *to)
{
	if (!make(from))
		return false;
	from->delivered += from->output.size;
	if (!to->is_broken)
		to->is_broken = !http2_receive(to->http2, from->output.data, from->output.size);
	bytes_clear(&from->output);
	return true;
}

static void
exchange(void)
{
	bool is_more = true;

	while (is_more)
	{
		is_more = carry(&client, &server);
		is_more = carry(&server, &client) || is_more;
	}
}

static int
set_up(void **state)
{
	(void) state;
	begin_side(&client, false);
	begin_side(&server, true);
	server_body_size = 0;
	return 0;
}

static int
tear_down(void **state)
{
	Side *const sides[] = {&client, &server};

	(void) state;
	for (int i = 0; i < 2; i++)
	{
		http2_lose(sides[i]->http2, sides[i]->delivered);
		http2_free(sides[i]->http2);
		bytes_free(&sides[i]->output);
	}
	return 0;
}

static void
ask(Request *request, size_t body_size)
{
	static const Http2Header headers[] = {
		{.name = ":method", .value = "POST"},
		{.name = ":scheme", .value = "http"},
		{.name = ":path", .value = "/service/method"},
		{.name = ":authority", .value = "test"},
		{.name = "x-unique", .value = "1", .is_unique = true},
	};

	*request = (Request){0};
	request->stream =
		http2_request(client.http2, headers, sizeof(headers) / sizeof(headers[0]),
					  bytes_new_zeroed(1, body_size + 1), body_size, &stream_handler, request);
}

static void
answer(int number, size_t body_size)
{
	static const Http2Header headers[] = {
		{.name = ":status", .value = "200"},
		{.name = "content-type", .value = "application/grpc"},
	};
	static const Http2Header trailer = {.name = "grpc-status", .value = "0"};

	http2_respond(server.streams[number], headers, 2, bytes_new_zeroed(1, body_size + 1), body_size,
				  &trailer);
}

/* Tests ---------------------------------------------------------------------------------------- */

static void
a_request_and_its_answer_come_whole(void **state)
{
	static Request request;

	(void) state;
	exchange();
	assert_int_equal(client.ready_count, 1);
	ask(&request, 100000);
	exchange();
	assert_int_equal(server.ended_count, 1);
	assert_int_equal(server_body_size, 100000);
	assert_string_equal(server_path, "/service/method");

	answer(0, GRPC_MESSAGE_BYTES_MAX + 5);
	exchange();
	assert_int_equal(request.close_count, 1);
	assert_int_equal(request.end.cause, HTTP2_FINISHED);
	assert_false(request.end.is_unprocessed);
	assert_int_equal(request.body.size, GRPC_MESSAGE_BYTES_MAX + 5);
	assert_int_equal(request.block_count, 2);
	assert_int_equal(request.header_count, 3);
	assert_true(http2_is_idle(client.http2));
	bytes_free(&request.body);
}

/* Of a header whose value is another one each time, only that is sent each time. */
static void
names_are_sent_once(void **state)
{
	static Request requests[3];
	size_t sizes[3];

	(void) state;
	exchange();
	for (int i = 0; i < 3; i++)
	{
		sizes[i] = client.delivered;
		ask(&requests[i], 0);
		exchange();
		sizes[i] = client.delivered - sizes[i];
	}
	/* Two frames; three headers of a byte; the path; a name's number, a size, a value. */
	assert_true(sizes[1] <= 2 * 9 + 3 + 2 + strlen("/service/method") + 4);
	assert_int_equal(sizes[2], sizes[1]);
}

static void
no_request_before_settings(void **state)
{
	(void) state;
	assert_false(http2_can_request(client.http2));
	exchange();
	assert_true(http2_can_request(client.http2));
}

static void
the_peers_limit_of_streams_is_kept(void **state)
{
	static Request requests[STREAMS_MAX];

	(void) state;
	exchange();
	for (int i = 0; i < STREAMS_MAX; i++)
	{
		assert_true(http2_can_request(client.http2));
		ask(&requests[i], 1);
	}
	assert_false(http2_can_request(client.http2));
	exchange();
	assert_false(http2_can_request(client.http2));
	answer(1, 1);
	exchange();
	assert_true(client.room_count > 0);
	assert_true(http2_can_request(client.http2));
	bytes_free(&requests[1].body);
}

static void
a_request_reset_before_it_is_sent_never_is(void **state)
{
	static Request request;

	(void) state;
	exchange();
	ask(&request, 10);
	assert_false(http2_stream_is_sent(request.stream));
	http2_stream_reset(request.stream, HTTP2_CANCEL);
	assert_int_equal(http2_is_idle(client.http2), false);
	exchange();
	assert_int_equal(server.stream_count, 0);
	assert_int_equal(request.close_count, 0);
	assert_true(http2_is_idle(client.http2));
}

static void
a_request_that_is_refused_is_unprocessed(void **state)
{
	static Request request;

	(void) state;
	exchange();
	ask(&request, 10);
	exchange();
	assert_true(http2_stream_is_sent(request.stream));
	http2_stream_reset(server.streams[0], HTTP2_REFUSED_STREAM);
	exchange();
	assert_int_equal(request.close_count, 1);
	assert_int_equal(request.end.cause, HTTP2_RESET);
	assert_int_equal(request.end.error_code, HTTP2_REFUSED_STREAM);
	assert_true(request.end.is_unprocessed);
}

static void
a_request_that_is_reset_may_have_been_processed(void **state)
{
	static Request request;

	(void) state;
	exchange();
	ask(&request, 10);
	exchange();
	http2_stream_reset(server.streams[0], HTTP2_INTERNAL_ERROR);
	exchange();
	assert_int_equal(request.end.cause, HTTP2_RESET);
	assert_int_equal(request.end.error_code, HTTP2_INTERNAL_ERROR);
	assert_false(request.end.is_unprocessed);
}

static void
a_lost_connection_tells_what_was_never_sent(void **state)
{
	static Request sent;
	static Request unsent;
	static Request unmade;
	uint64_t written;

	(void) state;
	exchange();
	ask(&sent, 10);
	exchange();
	written = client.delivered;
	ask(&unsent, 10);
	assert_true(make(&client));
	ask(&unmade, 10);
	http2_lose(client.http2, written);
	assert_int_equal(sent.end.cause, HTTP2_LOST);
	assert_false(sent.end.is_unprocessed);
	assert_int_equal(unsent.end.cause, HTTP2_LOST);
	assert_true(unsent.end.is_unprocessed);
	assert_true(unmade.end.is_unprocessed);
	assert_int_equal(unmade.close_count, 1);

	/* What is left of the fixture. */
	http2_free(client.http2);
	bytes_free(&client.output);
	begin_side(&client, false);
}

static void
a_drained_server_finishes_what_runs(void **state)
{
	static Request request;

	(void) state;
	exchange();
	ask(&request, 10);
	exchange();
	http2_drain(server.http2);
	assert_true(http2_is_pinging(server.http2));
	exchange();
	assert_false(http2_is_pinging(server.http2));
	assert_int_equal(client.goaway_count, 2);
	assert_false(http2_can_request(client.http2));
	assert_false(http2_is_finished(client.http2));
	assert_int_equal(request.close_count, 0);

	answer(0, 10);
	exchange();
	assert_int_equal(request.end.cause, HTTP2_FINISHED);
	assert_true(http2_is_finished(client.http2));
	assert_true(http2_is_finished(server.http2));
	assert_false(http2_is_broken(client.http2));
	assert_false(http2_is_broken(server.http2));
	bytes_free(&request.body);
}

static void
a_request_on_its_way_when_a_server_drains_is_served(void **state)
{
	static Request request;

	(void) state;
	exchange();
	ask(&request, 10);
	http2_drain(server.http2);
	assert_true(carry(&client, &server));
	exchange();
	assert_int_equal(server.ended_count, 1);
	answer(0, 1);
	exchange();
	assert_int_equal(request.end.cause, HTTP2_FINISHED);
	bytes_free(&request.body);
}

static void
a_drained_client_finishes_what_runs(void **state)
{
	static Request request;

	(void) state;
	exchange();
	ask(&request, 10);
	http2_drain(client.http2);
	assert_false(http2_can_request(client.http2));
	exchange();
	assert_int_equal(server.ended_count, 1);
	answer(0, 1);
	exchange();
	assert_int_equal(request.end.cause, HTTP2_FINISHED);
	assert_true(http2_is_finished(client.http2));
	bytes_free(&request.body);
}

static void
too_many_bytes_of_headers_end_the_stream_only(void **state)
{
	char value[GRPC_HEADER_BYTES_MAX];
	const Http2Header headers[] = {
		{.name = ":status", .value = "200"},
		{.name = "x-long", .value = value},
	};
	static Request request;

	(void) state;
	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	exchange();
	ask(&request, 10);
	exchange();
	http2_respond(server.streams[0], headers, 2, NULL, 0, NULL);
	exchange();
	assert_int_equal(request.close_count, 1);
	assert_int_equal(request.end.cause, HTTP2_HEADERS_TOO_LARGE);
	assert_false(request.end.is_unprocessed);

	ask(&request, 10);
	exchange();
	answer(1, 1);
	exchange();
	assert_int_equal(request.end.cause, HTTP2_FINISHED);
	bytes_free(&request.body);
}

static void
what_is_not_http2_breaks_the_connection(void **state)
{
	static const char text[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";

	(void) state;
	exchange();
	if (http2_receive(client.http2, (const uint8_t *) text, sizeof(text) - 1))
		(void) make(&client);
	assert_true(http2_is_broken(client.http2));
	assert_string_not_equal(http2_text(client.http2), "");
}

static void
a_ping_is_answered(void **state)
{
	(void) state;
	exchange();
	assert_true(http2_ping(client.http2));
	assert_false(http2_ping(client.http2));
	assert_true(http2_is_pinging(client.http2));
	exchange();
	assert_false(http2_is_pinging(client.http2));
	assert_true(http2_ping(client.http2));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_request_and_its_answer_come_whole),
		TEST(names_are_sent_once),
		TEST(no_request_before_settings),
		TEST(the_peers_limit_of_streams_is_kept),
		TEST(a_request_reset_before_it_is_sent_never_is),
		TEST(a_request_that_is_refused_is_unprocessed),
		TEST(a_request_that_is_reset_may_have_been_processed),
		TEST(a_lost_connection_tells_what_was_never_sent),
		TEST(a_drained_server_finishes_what_runs),
		TEST(a_request_on_its_way_when_a_server_drains_is_served),
		TEST(a_drained_client_finishes_what_runs),
		TEST(too_many_bytes_of_headers_end_the_stream_only),
		TEST(what_is_not_http2_breaks_the_connection),
		TEST(a_ping_is_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
