/*
 * http2_stream.c
 *		One request and its answer on an HTTP/2 connection.
 *
 * DESIGN	A request has a position: the count of output bytes before its first frame. If the
 *			connection is lost before the network took a byte more than that, the peer cannot have
 *			acted on the request.
 */
#include "net/http2_stream.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bounds.h"
#include "base/bytes.h"

/* What HTTP/2 counts for a header besides its name and value. */
#define HEADER_OVERHEAD 32

bool
http2_stream_is_sent(const Http2Stream *stream)
{
	return stream->is_sent;
}

void
http2_stream_handle(Http2Stream *stream, const Http2StreamHandler *handler, void *context)
{
	assert(stream->handler == NULL);
	stream->handler = handler;
	stream->context = context;
}

Http2Stream *
http2_stream_new(Http2Streams *streams, Http2 *http2, const Http2StreamHandler *handler,
				 void *context)
{
	Http2Stream *stream = bytes_new_zeroed(1, sizeof(Http2Stream));

	stream->streams = streams;
	stream->http2 = http2;
	stream->handler = handler;
	stream->context = context;
	LIST_INSERT_HEAD(&streams->all, stream, link);
	streams->count++;
	return stream;
}

static bool
is_unprocessed(const Http2Stream *stream, Http2Cause cause, uint32_t error_code)
{
	if (!stream->is_sent)
		return true;
	if (cause == HTTP2_LOST)
		return stream->streams->written_bytes <= stream->sent_at;
	return cause == HTTP2_RESET && error_code == HTTP2_REFUSED_STREAM;
}

void
http2_stream_disown(Http2Stream *stream, Http2Cause cause, uint32_t error_code)
{
	const Http2StreamHandler *handler = stream->handler;
	Http2End end = {.cause = cause, .error_code = error_code};

	if (handler == NULL)
		return;
	end.is_unprocessed = is_unprocessed(stream, cause, error_code);
	stream->handler = NULL;
	handler->on_close(stream->context, &end);
}

void
http2_stream_end(Http2Stream *stream, Http2Cause cause, uint32_t error_code)
{
	assert(stream->streams->count > 0);
	LIST_REMOVE(stream, link);
	stream->streams->count--;
	http2_stream_disown(stream, cause, error_code);
	free(stream->body);
	free(stream);
}

size_t
http2_stream_take_body(Http2Stream *stream, uint8_t *buffer, size_t size, bool *is_last)
{
	size_t left = stream->body_size - stream->body_sent;

	assert(stream->body_sent <= stream->body_size);
	*is_last = size >= left;
	if (size > left)
		size = left;
	if (size > 0)
		memcpy(buffer, stream->body + stream->body_sent, size);
	stream->body_sent += size;
	return size;
}

bool
http2_stream_count_header(Http2Stream *stream, size_t name_size, size_t value_size)
{
	/* nghttp2 takes no header above 64 KiB, so the sum does not overflow. */
	stream->header_bytes += name_size + value_size + HEADER_OVERHEAD;
	return stream->header_bytes <= GRPC_HEADER_BYTES_MAX;
}
