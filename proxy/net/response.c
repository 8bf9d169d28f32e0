/*
 * response.c
 *		The response to one unary gRPC call.
 *
 * DESIGN	A decided response may have an open stream: its owner resets that. So nothing that a
 *			server sends behind a mistake is waited for or kept.
 *
 *			What a server can get wrong with a status of OK ends as INTERNAL, never as a status that
 *			says that nothing was done.
 */
#include "net/response.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/http2.h"

#define CONTENT_TYPE "application/grpc"

void
response_free(Response *response)
{
	grpc_reader_free(&response->reader);
}

void
response_decide(Response *response, GrpcStatus status, const char *text)
{
	if (response->is_decided)
		return;
	response->is_decided = true;
	response->status = status;
	(void) snprintf(response->text, sizeof(response->text), "%s", text);
}

/* "application/grpc", alone or followed by "+proto" or "; parameter=value". */
static bool
is_grpc_type(const char *value)
{
	size_t size = strlen(CONTENT_TYPE);

	return strncmp(value, CONTENT_TYPE, size) == 0 &&
		   (value[size] == '\0' || value[size] == '+' || value[size] == ';');
}

void
response_header(Response *response, const char *name, const char *value, size_t value_size)
{
	if (response->is_decided)
		return;
	if (strcmp(name, ":status") == 0)
		response->http_status = atoi(value); /* three digits: nghttp2 has seen to that */
	else if (strcmp(name, "content-type") == 0)
		response->is_grpc = response->is_grpc || is_grpc_type(value);
	else if (strcmp(name, "grpc-status") == 0)
	{
		response->has_status = true;
		response->status = grpc_parse_status(value, value_size);
	}
	else if (strcmp(name, "grpc-message") == 0)
		grpc_decode_message(value, value_size, response->text, sizeof(response->text));
}

/* Without grpc-status only HTTP's own tells anything. */
static void
decide_by_http(Response *response)
{
	char text[GRPC_STATUS_TEXT_SIZE];

	if (response->is_grpc && response->http_status == 200)
		(void) snprintf(text, sizeof(text), "response without grpc-status");
	else
		(void) snprintf(text, sizeof(text), "HTTP status %d%s", response->http_status,
						response->is_grpc ? "" : ", content is not gRPC's");
	response_decide(response, grpc_status_of_http(response->http_status), text);
}

void
response_headers_end(Response *response)
{
	if (response->is_decided || response->is_begun)
		return;
	if (response->http_status >= 100 && response->http_status < 200)
	{
		/* An interim response: the real one follows. */
		response->is_grpc = false;
		response->has_status = false;
		response->text[0] = '\0';
		return;
	}
	response->is_begun = true;
	if (!response->is_grpc && !response->has_status)
		decide_by_http(response);
}

void
response_data(Response *response, const uint8_t *data, size_t size)
{
	GrpcReadError error;

	if (response->is_decided)
		return;
	error = grpc_reader_add(&response->reader, data, size);
	if (error == GRPC_READ_OK)
		return;
	response->is_too_large = error == GRPC_READ_TOO_LARGE;
	response_decide(response,
					error == GRPC_READ_TOO_LARGE ? GRPC_RESOURCE_EXHAUSTED : GRPC_INTERNAL,
					grpc_read_error_text(error));
}

/* The server has said everything. */
static void
decide_finished(Response *response)
{
	if (!response->has_status)
		decide_by_http(response);
	else if (response->status == GRPC_OK && !grpc_reader_is_whole(&response->reader))
		response_decide(response, GRPC_INTERNAL,
						grpc_reader_is_empty(&response->reader) ? "OK without a message"
																: "message is cut short");
	else
		response->is_decided = true;
}

void
response_end(Response *response, const Http2End *end)
{
	char text[GRPC_STATUS_TEXT_SIZE];

	if (response->is_decided)
		return;
	switch (end->cause)
	{
		case HTTP2_FINISHED:
			decide_finished(response);
			break;
		case HTTP2_RESET:
			(void) snprintf(text, sizeof(text), "stream reset: %s",
							http2_error_name(end->error_code));
			response_decide(response, grpc_status_of_reset(end->error_code), text);
			break;
		case HTTP2_LOST:
			response_decide(response, GRPC_UNAVAILABLE, "connection lost");
			break;
		case HTTP2_HEADERS_TOO_LARGE:
			response->is_too_large = true;
			response_decide(response, GRPC_RESOURCE_EXHAUSTED, "headers are too large");
			break;
	}
	assert(response->is_decided);
}
