/*
 * http2_server_fuzz.c
 *		Bytes of a hostile client into a server's connection, which answers what it can: every
 *		stream ends once, and the connection says when it is broken.
 *
 * The first byte of an input chooses where the stream is cut, the second what the server does. The
 * client's preface comes before the rest.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/http2.h"
#include "pieces.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define STREAMS_MAX 4
#define BODY_SIZE 8
#define OUTPUT_MAX 65536

/* What the server does: bits of the second byte. */
#define ANSWERS_EARLY 0x01 /* before the request is complete */
#define HAS_BODY 0x02
#define RESETS 0x04
#define DRAINS 0x08
#define IS_LAZY 0x10 /* writes only now and then */

typedef struct Server
{
	Http2 *http2;
	uint8_t deeds;
	int open_count;
	uint64_t made;
} Server;

typedef struct Request
{
	Server *server;
	Http2Stream *stream;
	bool is_answered;
} Request;

static void
forget(Request *request)
{
	assert(request->server->open_count > 0);
	request->server->open_count--;
	free(request);
}

static void
answer(Request *request)
{
	static const Http2Header trailer = {.name = "grpc-status", .value = "0"};
	const Http2Header headers[] = {
		{.name = ":status", .value = "200"},
		{.name = "content-type", .value = "application/grpc"},
	};
	bool has_body = (request->server->deeds & HAS_BODY) != 0;

	if (request->is_answered)
		return;
	request->is_answered = true;
	http2_respond(request->stream, headers, 2, has_body ? calloc(1, BODY_SIZE) : NULL,
				  has_body ? BODY_SIZE : 0, has_body ? &trailer : NULL);
}

static void
on_header(void *context, const char *name, size_t name_size, const char *value, size_t value_size)
{
	(void) context;
	assert(name[name_size] == '\0' && value[value_size] == '\0');
}

static void
on_headers_end(void *context)
{
	Request *request = context;

	if ((request->server->deeds & ANSWERS_EARLY) != 0)
		answer(request);
}

static void
on_data(void *context, const uint8_t *data, size_t size)
{
	(void) context;
	(void) data;
	(void) size;
}

static void
on_end(void *context)
{
	Request *request = context;

	if ((request->server->deeds & RESETS) == 0)
		answer(request);
	else if (!request->is_answered)
	{
		http2_stream_reset(request->stream, HTTP2_INTERNAL_ERROR);
		forget(request);
	}
}

static void
on_close(void *context, const Http2End *end)
{
	(void) end;
	forget(context);
}

static const Http2StreamHandler request_handler = {
	.on_header = on_header,
	.on_headers_end = on_headers_end,
	.on_data = on_data,
	.on_end = on_end,
	.on_close = on_close,
};

static void
on_request(void *context, Http2Stream *stream)
{
	Server *server = context;
	Request *request = calloc(1, sizeof(Request));

	request->server = server;
	request->stream = stream;
	server->open_count++;
	http2_stream_handle(stream, &request_handler, request);
}

static void
on_nothing(void *context)
{
	(void) context;
}

static const Http2Handler handler = {.on_request = on_request};

/* False when nothing more can be made. */
static bool
make(Server *server)
{
	Bytes output = {0};
	bool is_more;
	bool is_good = http2_make(server->http2, &output, OUTPUT_MAX, &is_more);

	server->made += output.size;
	bytes_free(&output);
	return is_good && !http2_is_finished(server->http2);
}

static bool
act(Server *server, int piece_number)
{
	if ((server->deeds & DRAINS) != 0 && piece_number == 2)
		http2_drain(server->http2);
	if ((server->deeds & IS_LAZY) != 0 && piece_number % 8 != 0)
		return true;
	return make(server);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Server server = {0};
	const Http2Options options = {.is_server = true,
								  .streams_max = STREAMS_MAX,
								  .handler = &handler,
								  .context = &server,
								  .on_output = on_nothing};
	int piece_number = 0;
	size_t piece_size;
	uint8_t *piece;
	Pieces pieces;
	bool is_good;

	if (size < 2)
		return 0;
	server.deeds = data[1];
	server.http2 = http2_new(&options);
	is_good = http2_receive(server.http2, (const uint8_t *) PREFACE, strlen(PREFACE));
	assert(is_good);
	pieces = pieces_of(data + 2, size - 2, data[0]);
	while (is_good && (piece = pieces_next(&pieces, &piece_size)) != NULL)
	{
		is_good = http2_receive(server.http2, piece, piece_size);
		assert(is_good || http2_is_broken(server.http2));
		is_good = is_good && act(&server, ++piece_number);
		free(piece);
	}
	http2_lose(server.http2, server.made);
	assert(http2_is_idle(server.http2) && server.open_count == 0);
	http2_free(server.http2);
	return 0;
}
