/*
 * grpc_fuzz.c
 *		gRPC's own formats: a response put together from any pieces is what a simple reading of the
 *		whole says, and texts and timeouts survive being written and read.
 *
 * The first byte of an input chooses what is done, the second where the body is cut. The rest is a
 * body, or a grpc-status, a grpc-message, a grpc-timeout.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bounds.h"
#include "net/response.h"
#include "pieces.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Longer inputs are cut: what is encoded may take three times the room. */
#define TEXT_MAX 512

typedef enum Subject
{
	SUBJECT_BODY,
	SUBJECT_STATUS,
	SUBJECT_MESSAGE,
	SUBJECT_TIMEOUT,
	SUBJECT_COUNT,
} Subject;

static void
add_header(Response *response, const char *name, const char *value)
{
	response_header(response, name, value, strlen(value));
}

/* What a body is by the words of the protocol: one message, whole and not compressed. */
static GrpcStatus
expected_status(const uint8_t *body, size_t size)
{
	uint32_t length;

	if (size < GRPC_PREFIX_SIZE)
		return GRPC_INTERNAL;
	if (body[0] != 0)
		return GRPC_INTERNAL;
	length =
		(uint32_t) body[1] << 24 | (uint32_t) body[2] << 16 | (uint32_t) body[3] << 8 | body[4];
	if (length > GRPC_MESSAGE_BYTES_MAX)
		return GRPC_RESOURCE_EXHAUSTED;
	return length == size - GRPC_PREFIX_SIZE ? GRPC_OK : GRPC_INTERNAL;
}

static void
check_body(const uint8_t *body, size_t size, uint8_t cut)
{
	const Http2End end = {.cause = HTTP2_FINISHED};
	Pieces pieces = pieces_of(body, size, cut);
	Response response = {0};
	size_t piece_size;
	uint8_t *piece;

	add_header(&response, ":status", "200");
	add_header(&response, "content-type", "application/grpc");
	response_headers_end(&response);
	while ((piece = pieces_next(&pieces, &piece_size)) != NULL)
	{
		response_data(&response, piece, piece_size);
		free(piece);
	}
	add_header(&response, "grpc-status", "0");
	response_headers_end(&response);
	response_end(&response, &end);
	assert(response.status == expected_status(body, size));
	assert(response.is_too_large == (response.status == GRPC_RESOURCE_EXHAUSTED));
	if (response.status == GRPC_OK)
	{
		assert(response.reader.message.size == size - GRPC_PREFIX_SIZE);
		assert(size == GRPC_PREFIX_SIZE ||
			   memcmp(response.reader.message.data, body + GRPC_PREFIX_SIZE,
					  size - GRPC_PREFIX_SIZE) == 0);
	}
	response_free(&response);
}

/* A terminated copy, as HTTP/2 gives values. */
static char *
copy_text(const uint8_t *data, size_t *size)
{
	char *text;

	if (*size > TEXT_MAX)
		*size = TEXT_MAX;
	text = malloc(*size + 1);
	memcpy(text, data, *size);
	text[*size] = '\0';
	return text;
}

/* A response of trailers only, with this status: nothing but a number below 17 is one. */
static void
check_status(const char *text, size_t size)
{
	const Http2End end = {.cause = HTTP2_FINISHED};
	Response response = {0};
	GrpcStatus status = GRPC_UNKNOWN;

	for (int i = 0; i < GRPC_STATUS_COUNT; i++)
	{
		if ((size == 1 && i < 10 && text[0] == '0' + i) ||
			(size == 2 && text[0] == '0' + i / 10 && text[1] == '0' + i % 10))
			status = (GrpcStatus) i;
	}
	add_header(&response, ":status", "200");
	response_header(&response, "grpc-status", text, size);
	add_header(&response, "content-type", "application/grpc");
	response_headers_end(&response);
	response_end(&response, &end);
	/* OK is not all right without a message. */
	assert(response.status == (status == GRPC_OK ? GRPC_INTERNAL : status));
	response_free(&response);
}

/* Whatever a server says is a text in the end, and what we say is what the other side reads. */
static void
check_message(const char *text, size_t size)
{
	char decoded[GRPC_STATUS_TEXT_SIZE];
	char encoded[3 * TEXT_MAX + 1];
	char again[TEXT_MAX + 1];

	grpc_decode_message(text, size, decoded, sizeof(decoded));
	assert(strlen(decoded) < sizeof(decoded));
	grpc_encode_message(text, encoded, sizeof(encoded));
	for (const char *at = encoded; *at != '\0'; at++)
		assert(*at >= ' ' && *at <= '~');
	grpc_decode_message(encoded, strlen(encoded), again, sizeof(again));
	assert(strcmp(again, text) == 0);
}

/* A timeout that is written again is never shorter, but that 292 years are the longest. */
static void
check_timeout(const char *text, size_t size)
{
	int64_t timeout_us = grpc_parse_timeout(text, size);
	char again[GRPC_TIMEOUT_SIZE];

	assert(timeout_us >= -1);
	if (timeout_us < 0)
		return;
	grpc_format_timeout(timeout_us, again);
	if (timeout_us > INT64_MAX / 1000)
		timeout_us = INT64_MAX / 1000;
	assert(grpc_parse_timeout(again, strlen(again)) >= timeout_us);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Subject subject;
	char *text;

	if (size < 2)
		return 0;
	subject = (Subject) (data[0] % SUBJECT_COUNT);
	size -= 2;
	if (subject == SUBJECT_BODY)
	{
		check_body(data + 2, size, data[1]);
		return 0;
	}
	text = copy_text(data + 2, &size);
	if (subject == SUBJECT_STATUS)
		check_status(text, size);
	else if (subject == SUBJECT_MESSAGE)
		check_message(text, size);
	else
		check_timeout(text, size);
	free(text);
	return 0;
}
