/*
 * response_test.c
 *		What a response is taken for, whatever a server makes of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/bounds.h"
#include "net/response.h"

static const Http2End finished = {.cause = HTTP2_FINISHED};
static const Http2End lost = {.cause = HTTP2_LOST};

static void
header(Response *response, const char *name, const char *value)
{
	response_header(response, name, value, strlen(value));
}

/* The headers of a gRPC response. */
static void
begin(Response *response)
{
	header(response, ":status", "200");
	header(response, "content-type", "application/grpc+proto");
	response_headers_end(response);
}

static void
trailers(Response *response, const char *status, const char *message)
{
	header(response, "grpc-status", status);
	if (message != NULL)
		header(response, "grpc-message", message);
	response_headers_end(response);
}

static void
message(Response *response, const char *text)
{
	uint8_t prefix[GRPC_PREFIX_SIZE];

	grpc_write_prefix(prefix, strlen(text));
	response_data(response, prefix, sizeof(prefix));
	response_data(response, (const uint8_t *) text, strlen(text));
}

static void
assert_ended(Response *response, const Http2End *end, GrpcStatus status, const char *text)
{
	response_end(response, end);
	assert_true(response->is_decided);
	assert_int_equal(response->status, status);
	if (text != NULL)
		assert_string_equal(response->text, text);
	response_free(response);
	*response = (Response){0};
}

static void
a_message_and_ok_are_a_reply(void **state)
{
	Response response = {0};

	(void) state;
	begin(&response);
	message(&response, "reply");
	trailers(&response, "0", NULL);
	assert_false(response.is_decided);
	response_end(&response, &finished);
	assert_int_equal(response.status, GRPC_OK);
	assert_int_equal(response.reader.message.size, 5);
	assert_memory_equal(response.reader.message.data, "reply", 5);
	response_free(&response);
}

static void
trailers_only_are_a_response(void **state)
{
	Response response = {0};

	(void) state;
	header(&response, ":status", "200");
	header(&response, "content-type", "application/grpc");
	trailers(&response, "5", "not%20there");
	assert_ended(&response, &finished, GRPC_NOT_FOUND, "not there");
}

static void
an_error_after_a_message_is_an_error(void **state)
{
	Response response = {0};

	(void) state;
	begin(&response);
	message(&response, "half");
	trailers(&response, "13", "broke");
	assert_ended(&response, &finished, GRPC_INTERNAL, "broke");
}

static void
interim_responses_are_skipped(void **state)
{
	Response response = {0};

	(void) state;
	header(&response, ":status", "103");
	header(&response, "grpc-status", "5");
	header(&response, "grpc-message", "early");
	response_headers_end(&response);
	assert_false(response.is_decided);
	begin(&response);
	message(&response, "reply");
	trailers(&response, "0", NULL);
	assert_ended(&response, &finished, GRPC_OK, "");
}

static void
ok_needs_exactly_one_whole_message(void **state)
{
	static const uint8_t cut[] = {0, 0, 0, 0, 9, 'c'};
	Response response = {0};

	(void) state;
	begin(&response);
	trailers(&response, "0", NULL);
	assert_ended(&response, &finished, GRPC_INTERNAL, "OK without a message");

	begin(&response);
	response_data(&response, cut, sizeof(cut));
	trailers(&response, "0", NULL);
	assert_ended(&response, &finished, GRPC_INTERNAL, "message is cut short");

	begin(&response);
	response_data(&response, cut, 3);
	trailers(&response, "0", NULL);
	assert_ended(&response, &finished, GRPC_INTERNAL, "message is cut short");

	begin(&response);
	message(&response, "one");
	message(&response, "two");
	assert_true(response.is_decided);
	trailers(&response, "0", NULL);
	assert_ended(&response, &finished, GRPC_INTERNAL, "more than one message");
}

static void
what_is_not_grpc_is_judged_by_its_http_status(void **state)
{
	static const char *const types[] = {"text/html", "application/grpc-web", "application/json",
										""};
	Response response = {0};

	(void) state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
	{
		header(&response, ":status", "503");
		header(&response, "content-type", types[i]);
		response_headers_end(&response);
		assert_true(response.is_decided);
		message(&response, "<html>");
		assert_ended(&response, &finished, GRPC_UNAVAILABLE,
					 "HTTP status 503, content is not gRPC's");
	}

	/* A grpc-status counts wherever it stands. */
	header(&response, ":status", "503");
	trailers(&response, "7", "no");
	assert_ended(&response, &finished, GRPC_PERMISSION_DENIED, "no");
}

static void
a_missing_status_is_unknown(void **state)
{
	Response response = {0};

	(void) state;
	begin(&response);
	message(&response, "reply");
	assert_ended(&response, &finished, GRPC_UNKNOWN, "response without grpc-status");
}

static void
a_message_that_cannot_be_taken_decides_at_once(void **state)
{
	uint8_t prefix[GRPC_PREFIX_SIZE];
	Response response = {0};

	(void) state;
	grpc_write_prefix(prefix, GRPC_MESSAGE_BYTES_MAX + 1);
	begin(&response);
	response_data(&response, prefix, sizeof(prefix));
	assert_true(response.is_decided);
	assert_true(response.is_too_large);
	assert_int_equal(response.reader.message.capacity, 0);
	assert_ended(&response, &finished, GRPC_RESOURCE_EXHAUSTED, "message is too large");

	prefix[0] = 1;
	begin(&response);
	response_data(&response, prefix, sizeof(prefix));
	assert_true(response.is_decided);
	assert_ended(&response, &finished, GRPC_INTERNAL, "message is compressed");
}

static void
a_stream_that_ends_otherwise_is_an_error(void **state)
{
	const Http2End reset = {.cause = HTTP2_RESET, .error_code = HTTP2_REFUSED_STREAM};
	const Http2End headers = {.cause = HTTP2_HEADERS_TOO_LARGE, .error_code = HTTP2_CANCEL};
	Response response = {0};

	(void) state;
	assert_ended(&response, &lost, GRPC_UNAVAILABLE, "connection lost");
	begin(&response);
	message(&response, "reply");
	assert_ended(&response, &lost, GRPC_UNAVAILABLE, "connection lost");
	assert_ended(&response, &reset, GRPC_UNAVAILABLE, "stream reset: REFUSED_STREAM");
	assert_ended(&response, &headers, GRPC_RESOURCE_EXHAUSTED, "headers are too large");
}

static void
the_first_decision_stays(void **state)
{
	Response response = {0};

	(void) state;
	response_decide(&response, GRPC_DEADLINE_EXCEEDED, "late");
	response_decide(&response, GRPC_CANCELLED, "cancelled");
	begin(&response);
	message(&response, "reply");
	trailers(&response, "0", "fine");
	assert_ended(&response, &finished, GRPC_DEADLINE_EXCEEDED, "late");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_and_ok_are_a_reply),
		cmocka_unit_test(trailers_only_are_a_response),
		cmocka_unit_test(an_error_after_a_message_is_an_error),
		cmocka_unit_test(interim_responses_are_skipped),
		cmocka_unit_test(ok_needs_exactly_one_whole_message),
		cmocka_unit_test(what_is_not_grpc_is_judged_by_its_http_status),
		cmocka_unit_test(a_missing_status_is_unknown),
		cmocka_unit_test(a_message_that_cannot_be_taken_decides_at_once),
		cmocka_unit_test(a_stream_that_ends_otherwise_is_an_error),
		cmocka_unit_test(the_first_decision_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
