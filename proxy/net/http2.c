/*
 * http2.c
 *		The protocol of one HTTP/2 connection.
 *
 * DESIGN	nghttp2 knows the protocol. What it is told to send (submit) waits inside it until
 *			http2_make(). So a handler may submit at any time, while nghttp2 itself is never entered
 *			twice.
 *
 *			nghttp2 closes a stream in its own time. A stream that was reset has no owner any more
 *			and lives on until then, counted, because it takes one of the peer's places.
 *
 * LIMITS	GRPC_HEADER_BYTES_MAX of headers a block, counted as HTTP/2 does; HTTP2_STREAMS_MAX;
 *			HTTP2_STREAM_ID_MAX.
 *
 * FAILURE	The peer can end its connection, nothing else. The callbacks never fail: nghttp2 1.52
 *			leaks memory when on_stream_close does.
 */
#include "net/http2.h"

#include <assert.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * nghttp2 ends the connection of a client that resets more than 33 streams a second. The server
 * side serves programs of the same machine, whose calls time out when they are made to.
 */
#define SERVER_RESETS_PER_SECOND_MAX 100000

struct Http2
{
	Http2Options options;
	nghttp2_session *session;
	bool is_ready;
	bool is_draining; /* GOAWAY came, or is to be sent */
	bool is_pinging;
	bool is_lost;
	bool is_busy;   /* inside nghttp2 */
	bool is_broken; /* by an error of either side: |text| */
	Http2Streams streams;
	uint64_t made_bytes; /* of output, in all */
	char text[HTTP2_TEXT_SIZE];
};

const char *
http2_error_name(uint32_t error_code)
{
	return error_code <= NGHTTP2_HTTP_1_1_REQUIRED ? nghttp2_http2_strerror(error_code) : "unknown";
}

/* What nghttp2 refuses here would be our mistake, or no memory. */
static void
check(int result)
{
	assert(result == 0);
}

/* Nothing is made any more of what a lost connection is told to send. */
static void
tell_output(Http2 *http2)
{
	if (!http2->is_lost)
		http2->options.on_output(http2->options.output_context);
}

/* Streams -------------------------------------------------------------------------------------- */

static void
submit_reset(Http2Stream *stream, uint32_t error_code)
{
	check(nghttp2_submit_rst_stream(stream->http2->session, NGHTTP2_FLAG_NONE, stream->id,
									error_code));
	tell_output(stream->http2);
}

void
http2_stream_reset(Http2Stream *stream, uint32_t error_code)
{
	assert(stream->handler != NULL);
	stream->handler = NULL;
	submit_reset(stream, error_code);
}

/* nghttp2's callbacks -------------------------------------------------------------------------- */

static int
on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
	Http2 *http2 = context;
	Http2Stream *stream;

	if (http2->options.is_server && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
	{
		stream = http2_stream_new(&http2->streams, http2, NULL, NULL);
		stream->id = frame->hd.stream_id;
		stream->is_sent = true;
		nghttp2_session_set_stream_user_data(session, stream->id, stream);
		http2->options.handler->on_request(http2->options.context, stream);
		return 0;
	}
	stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (stream != NULL)
		stream->header_bytes = 0;
	return 0;
}

static int
on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		  size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags, void *context)
{
	Http2Stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	(void) flags;
	(void) context;
	if (stream == NULL || stream->handler == NULL)
		return 0;

	if (!http2_stream_count_header(stream, name_size, value_size))
	{
		submit_reset(stream, HTTP2_CANCEL);
		http2_stream_disown(stream, HTTP2_HEADERS_TOO_LARGE, HTTP2_CANCEL);
		return 0;
	}
	stream->handler->on_header(stream->context, (const char *) name, name_size,
							   (const char *) value, value_size);
	return 0;
}

static int
on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t size,
		void *context)
{
	Http2Stream *stream = nghttp2_session_get_stream_user_data(session, id);

	(void) flags;
	(void) context;
	if (stream != NULL && stream->handler != NULL)
		stream->handler->on_data(stream->context, data, size);
	return 0;
}

/* The peer has said everything. */
static void
end_peer(Http2Stream *stream)
{
	Http2 *http2 = stream->http2;

	stream->is_peer_done = true;
	if (http2->options.is_server)
	{
		if (stream->handler != NULL)
			stream->handler->on_end(stream->context);
	}
	else if (!nghttp2_session_get_stream_local_close(http2->session, stream->id))
	{
		/* An answer that did not wait for the whole request: the rest is of no use. */
		submit_reset(stream, HTTP2_NO_ERROR);
	}
}

static void
receive_settings(Http2 *http2)
{
	bool is_first = !http2->is_ready;

	http2->is_ready = true;
	if (http2->options.is_server)
		return;
	if (is_first)
		http2->options.handler->on_ready(http2->options.context);
	else
		http2->options.handler->on_room(http2->options.context);
}

static void
receive_goaway(Http2 *http2, const nghttp2_goaway *goaway)
{
	char said[HTTP2_TEXT_SIZE / 2];
	const char *data = goaway->opaque_data_len == 0 ? "" : (const char *) goaway->opaque_data;
	size_t size = goaway->opaque_data_len;

	if (size > sizeof(said) - 1)
		size = sizeof(said) - 1;
	memcpy(said, data, size);
	said[size] = '\0';

	http2->is_draining = true;
	http2->is_broken = goaway->error_code != HTTP2_NO_ERROR;
	(void) snprintf(http2->text, sizeof(http2->text), "GOAWAY %s: %s",
					http2_error_name(goaway->error_code), said);
	if (!http2->options.is_server)
		http2->options.handler->on_goaway(http2->options.context, goaway->error_code, said);
}

static void
receive_ping_answer(Http2 *http2)
{
	if (!http2->is_pinging)
		return;
	http2->is_pinging = false;
	if (http2->options.is_server && http2->is_draining)
	{
		/* What was under way when the drain began has come by now. */
		int32_t last = nghttp2_session_get_last_proc_stream_id(http2->session);

		check(nghttp2_submit_goaway(http2->session, NGHTTP2_FLAG_NONE, last, HTTP2_NO_ERROR, NULL,
									0));
		tell_output(http2);
	}
}

static int
on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
	Http2 *http2 = context;
	Http2Stream *stream;

	switch (frame->hd.type)
	{
		case NGHTTP2_HEADERS:
		case NGHTTP2_DATA:
			stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
			if (stream == NULL)
				break;
			if (frame->hd.type == NGHTTP2_HEADERS && stream->handler != NULL)
				stream->handler->on_headers_end(stream->context);
			if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
				end_peer(stream);
			break;
		case NGHTTP2_SETTINGS:
			if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0)
				receive_settings(http2);
			break;
		case NGHTTP2_PING:
			if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0)
				receive_ping_answer(http2);
			break;
		case NGHTTP2_GOAWAY:
			receive_goaway(http2, &frame->goaway);
			break;
		default:
			break;
	}
	return 0;
}

static int
on_invalid_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, int error,
					  void *context)
{
	Http2 *http2 = context;

	(void) session;
	(void) frame;
	(void) snprintf(http2->text, sizeof(http2->text), "invalid frame: %s", nghttp2_strerror(error));
	return 0;
}

static int
on_stream_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *context)
{
	Http2 *http2 = context;
	Http2Stream *stream = nghttp2_session_get_stream_user_data(session, id);

	if (stream == NULL)
		return 0;
	http2_stream_end(stream, stream->is_peer_done ? HTTP2_FINISHED : HTTP2_RESET, error_code);
	if (!http2->options.is_server)
		http2->options.handler->on_room(http2->options.context);
	return 0;
}

static int
before_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
	Http2 *http2 = context;
	Http2Stream *stream;

	if (frame->hd.type != NGHTTP2_HEADERS || http2->options.is_server)
		return 0;
	stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (stream != NULL && !stream->is_sent)
	{
		stream->is_sent = true;
		stream->sent_at = http2->made_bytes;
	}
	return 0;
}

/* A server's answer that does not wait for the whole request: the rest of that is of no use. */
static int
on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
	Http2 *http2 = context;
	Http2Stream *stream;

	if (!http2->options.is_server || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0 ||
		(frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
		return 0;
	stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (stream != NULL && !stream->is_peer_done)
		submit_reset(stream, HTTP2_NO_ERROR);
	return 0;
}

static ssize_t
read_body(nghttp2_session *session, int32_t id, uint8_t *buffer, size_t size, uint32_t *flags,
		  nghttp2_data_source *source, void *context)
{
	/* Still there: nghttp2 asks for no body of a stream that it has closed. */
	Http2Stream *stream = source->ptr;
	bool is_last;

	(void) context;
	size = http2_stream_take_body(stream, buffer, size, &is_last);
	if (is_last)
	{
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (stream->trailer != NULL)
		{
			nghttp2_nv trailer = {(uint8_t *) stream->trailer->name,
								  (uint8_t *) stream->trailer->value, strlen(stream->trailer->name),
								  strlen(stream->trailer->value), NGHTTP2_NV_FLAG_NONE};

			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			if (nghttp2_submit_trailer(session, id, &trailer, 1) != 0)
				return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
		}
	}
	return (ssize_t) size;
}

/* The connection ------------------------------------------------------------------------------- */

static nghttp2_session *
new_session(Http2 *http2)
{
	nghttp2_session *session = NULL;
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;

	check(nghttp2_session_callbacks_new(&callbacks));
	check(nghttp2_option_new(&option));
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame_recv);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_callbacks_set_before_frame_send_callback(callbacks, before_frame_send);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
	/* Closed streams are kept for priorities, which nobody uses. */
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_stream_reset_rate_limit(option, SERVER_RESETS_PER_SECOND_MAX,
											   SERVER_RESETS_PER_SECOND_MAX);
	if (http2->options.is_server)
		check(nghttp2_session_server_new2(&session, callbacks, http2, option));
	else
		check(nghttp2_session_client_new2(&session, callbacks, http2, option));
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	return session;
}

Http2 *
http2_new(const Http2Options *options)
{
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_STREAM_WINDOW_BYTES},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, GRPC_HEADER_BYTES_MAX},
		/* The last one is each side's own. */
		{options->is_server ? NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
							: NGHTTP2_SETTINGS_ENABLE_PUSH,
		 options->is_server ? (uint32_t) options->streams_max : 0},
	};
	Http2 *http2 = bytes_new_zeroed(1, sizeof(Http2));

	assert(!options->is_server || options->streams_max > 0);
	http2->options = *options;
	LIST_INIT(&http2->streams.all);
	http2->session = new_session(http2);
	check(nghttp2_submit_settings(http2->session, NGHTTP2_FLAG_NONE, settings,
								  sizeof(settings) / sizeof(settings[0])));
	check(nghttp2_session_set_local_window_size(http2->session, NGHTTP2_FLAG_NONE, 0,
												HTTP2_CONNECTION_WINDOW_BYTES));
	tell_output(http2);
	return http2;
}

void
http2_free(Http2 *http2)
{
	assert(!http2->is_busy);
	assert(LIST_EMPTY(&http2->streams.all));
	nghttp2_session_del(http2->session);
	free(http2);
}

void
http2_lose(Http2 *http2, uint64_t written)
{
	Http2Stream *stream;

	assert(!http2->is_busy && !http2->is_lost);
	assert(written <= http2->made_bytes);
	http2->is_lost = true;
	http2->streams.written_bytes = written;
	while ((stream = LIST_FIRST(&http2->streams.all)) != NULL)
		http2_stream_end(stream, HTTP2_LOST, HTTP2_NO_ERROR);
}

static void
break_off(Http2 *http2, int error)
{
	http2->is_broken = true;
	(void) snprintf(http2->text, sizeof(http2->text), "%s", nghttp2_strerror(error));
}

bool
http2_receive(Http2 *http2, const uint8_t *data, size_t size)
{
	ssize_t result;

	assert(!http2->is_busy && !http2->is_lost);
	http2->is_busy = true;
	result = nghttp2_session_mem_recv(http2->session, data, size);
	http2->is_busy = false;
	if (result < 0)
		break_off(http2, (int) result);
	else
		tell_output(http2);
	return result >= 0;
}

bool
http2_make(Http2 *http2, Bytes *output, size_t size_max, bool *is_more)
{
	const uint8_t *data;
	ssize_t size = 0;

	assert(!http2->is_busy && !http2->is_lost);
	http2->is_busy = true;
	while (output->size < size_max && (size = nghttp2_session_mem_send(http2->session, &data)) > 0)
	{
		bytes_append(output, data, (size_t) size);
		http2->made_bytes += (uint64_t) size;
	}
	http2->is_busy = false;
	*is_more = output->size >= size_max;
	if (size < 0)
		break_off(http2, (int) size);
	return size >= 0;
}

bool
http2_is_finished(const Http2 *http2)
{
	return !nghttp2_session_want_read(http2->session) &&
		   !nghttp2_session_want_write(http2->session);
}

bool
http2_is_broken(const Http2 *http2)
{
	/* nghttp2 ends by itself only what broke the rules. */
	return http2->is_broken || (!http2->is_draining && http2_is_finished(http2));
}

const char *
http2_text(const Http2 *http2)
{
	return http2->text[0] == '\0' ? "broken rules of HTTP/2" : http2->text;
}

void
http2_drain(Http2 *http2)
{
	if (http2->is_draining)
		return;
	http2->is_draining = true;
	if (http2->options.is_server)
	{
		check(nghttp2_submit_shutdown_notice(http2->session));
		(void) http2_ping(http2);
	}
	else
		check(nghttp2_submit_goaway(http2->session, NGHTTP2_FLAG_NONE, 0, HTTP2_NO_ERROR, NULL, 0));
	tell_output(http2);
}

bool
http2_is_draining(const Http2 *http2)
{
	return http2->is_draining;
}

bool
http2_is_idle(const Http2 *http2)
{
	return http2->streams.count == 0;
}

bool
http2_ping(Http2 *http2)
{
	if (http2->is_pinging || http2->is_lost)
		return false;
	check(nghttp2_submit_ping(http2->session, NGHTTP2_FLAG_NONE, NULL));
	http2->is_pinging = true;
	tell_output(http2);
	return true;
}

bool
http2_is_pinging(const Http2 *http2)
{
	return http2->is_pinging;
}

/* Requests and answers ------------------------------------------------------------------------- */

bool
http2_is_used_up(const Http2 *http2)
{
	return nghttp2_session_get_next_stream_id(http2->session) > HTTP2_STREAM_ID_MAX;
}

bool
http2_can_request(const Http2 *http2)
{
	uint32_t streams_max = nghttp2_session_get_remote_settings(
		http2->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

	if (streams_max > HTTP2_STREAMS_MAX)
		streams_max = HTTP2_STREAMS_MAX;
	return http2->is_ready && !http2->is_draining && !http2->is_lost &&
		   http2->streams.count < streams_max && !http2_is_used_up(http2) &&
		   nghttp2_session_check_request_allowed(http2->session);
}

/* |is_first| of the connection: it puts the names of unique values into the table, too. */
static void
write_headers(const Http2Header *headers, int count, bool is_first,
			  nghttp2_nv fields[HTTP2_HEADERS_MAX])
{
	assert(count > 0);
	assert(count <= HTTP2_HEADERS_MAX);
	for (int i = 0; i < count; i++)
		fields[i] = (nghttp2_nv){
			.name = (uint8_t *) headers[i].name,
			.value = (uint8_t *) headers[i].value,
			.namelen = strlen(headers[i].name),
			.valuelen = strlen(headers[i].value),
			.flags = NGHTTP2_NV_FLAG_NO_COPY_NAME |
					 (headers[i].is_unique && !is_first ? NGHTTP2_NV_FLAG_NO_INDEX : 0),
		};
}

Http2Stream *
http2_request(Http2 *http2, const Http2Header *headers, int header_count, uint8_t *body,
			  size_t size, const Http2StreamHandler *handler, void *context)
{
	nghttp2_data_provider provider = {.read_callback = read_body};
	nghttp2_nv fields[HTTP2_HEADERS_MAX];
	Http2Stream *stream;

	assert(!http2->options.is_server && http2_can_request(http2));
	write_headers(headers, header_count, nghttp2_session_get_next_stream_id(http2->session) == 1,
				  fields);
	provider.source.ptr = stream = http2_stream_new(&http2->streams, http2, handler, context);
	stream->body = body;
	stream->body_size = size;
	stream->id = nghttp2_submit_request(http2->session, NULL, fields, (size_t) header_count,
										body == NULL ? NULL : &provider, stream);
	assert(stream->id > 0);
	tell_output(http2);
	return stream;
}

void
http2_respond(Http2Stream *stream, const Http2Header *headers, int header_count, uint8_t *body,
			  size_t size, const Http2Header *trailer)
{
	Http2 *http2 = stream->http2;
	nghttp2_data_provider provider = {.source = {.ptr = stream}, .read_callback = read_body};
	nghttp2_nv fields[HTTP2_HEADERS_MAX];

	assert(http2->options.is_server && stream->body == NULL);
	assert(body != NULL || trailer == NULL);
	write_headers(headers, header_count, false, fields);
	stream->body = body;
	stream->body_size = size;
	stream->trailer = trailer;
	check(nghttp2_submit_response(http2->session, stream->id, fields, (size_t) header_count,
								  body == NULL ? NULL : &provider));
	tell_output(http2);
}
