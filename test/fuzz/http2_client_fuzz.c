/*
 * http2_client_fuzz.c
 *		Bytes of a hostile server into a connection with calls under way: every call ends once, with
 *		a status that is true, and the connection says when it is broken.
 *
 * The first byte of an input chooses where the stream is cut, the second what the client does
 * besides. The server's SETTINGS come before the rest, so that there are calls.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bounds.h"
#include "net/http2.h"
#include "net/response.h"
#include "pieces.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CALLS_MAX 8
#define CALLS_AT_ONCE 4
#define BODY_SIZE 16
#define OUTPUT_MAX 65536

/* What the client does: bits of the second byte. */
#define LOSES_ALL 0x01 /* the network took none of the output */
#define CANCELS 0x02   /* a call is given up in the middle */
#define PINGS 0x04
#define DRAINS 0x08
#define IS_LAZY 0x10   /* writes only now and then */
#define IS_UNSENT 0x20 /* the calls are not on their way when the server begins */

typedef struct Call
{
	Http2Stream *stream; /* NULL: ended */
	Response response;
	bool has_ended;
} Call;

typedef struct Client
{
	Http2 *http2;
	Call calls[CALLS_MAX];
	int call_count;
	bool is_leaving; /* a GOAWAY came */
	uint64_t made;
} Client;

/* A call, as channel.c treats it --------------------------------------------------------------- */

static void
check_end(Call *call, bool is_unprocessed)
{
	const Response *response = &call->response;

	assert(!call->has_ended);
	call->has_ended = true;
	assert(response->is_decided);
	assert(strlen(response->text) < sizeof(response->text));
	assert(response->reader.message.size <= GRPC_MESSAGE_BYTES_MAX);
	if (response->status == GRPC_OK)
		assert(!is_unprocessed && grpc_reader_is_whole(&response->reader));
}

static void
finish_early(Call *call)
{
	Http2Stream *stream = call->stream;

	if (!call->response.is_decided)
		return;
	call->stream = NULL;
	http2_stream_reset(stream, HTTP2_CANCEL);
	check_end(call, false);
}

static void
on_header(void *context, const char *name, size_t name_size, const char *value, size_t value_size)
{
	Call *call = context;

	assert(name[name_size] == '\0' && value[value_size] == '\0');
	assert(call->stream != NULL);
	response_header(&call->response, name, value, value_size);
}

static void
on_headers_end(void *context)
{
	Call *call = context;

	response_headers_end(&call->response);
	finish_early(call);
}

static void
on_data(void *context, const uint8_t *data, size_t size)
{
	Call *call = context;

	assert(call->stream != NULL);
	response_data(&call->response, data, size);
	finish_early(call);
}

static void
on_close(void *context, const Http2End *end)
{
	Call *call = context;

	assert(call->stream != NULL);
	call->stream = NULL;
	assert(end->cause != HTTP2_FINISHED || !end->is_unprocessed);
	response_end(&call->response, end);
	check_end(call, end->is_unprocessed);
}

static const Http2StreamHandler call_handler = {
	.on_header = on_header,
	.on_headers_end = on_headers_end,
	.on_data = on_data,
	.on_close = on_close,
};

/* The connection ------------------------------------------------------------------------------- */

static void
on_nothing(void *context)
{
	(void) context;
}

static void
on_goaway(void *context, uint32_t error_code, const char *text)
{
	Client *client = context;

	(void) error_code;
	assert(strlen(text) < HTTP2_TEXT_SIZE);
	client->is_leaving = true;
}

static const Http2Handler handler = {
	.on_ready = on_nothing,
	.on_room = on_nothing,
	.on_goaway = on_goaway,
};

static void
begin_call(Client *client)
{
	const Http2Header headers[] = {
		{.name = ":method", .value = "POST"},
		{.name = ":scheme", .value = "http"},
		{.name = ":path", .value = "/account.order.v1.AccountOrderService/ReserveCash"},
		{.name = ":authority", .value = "account:9000"},
		{.name = "te", .value = "trailers"},
		{.name = "content-type", .value = "application/grpc"},
	};
	Call *call = &client->calls[client->call_count++];
	uint8_t *body = calloc(1, BODY_SIZE);

	grpc_write_prefix(body, BODY_SIZE - GRPC_PREFIX_SIZE);
	call->stream = http2_request(client->http2, headers, sizeof(headers) / sizeof(headers[0]), body,
								 BODY_SIZE, &call_handler, call);
}

/* False when nothing more can be made. */
static bool
make(Client *client)
{
	Bytes output = {0};
	bool is_more;
	bool is_good = http2_make(client->http2, &output, OUTPUT_MAX, &is_more);

	client->made += output.size;
	bytes_free(&output);
	return is_good && !http2_is_finished(client->http2);
}

static void
cancel(Call *call)
{
	Http2Stream *stream = call->stream;

	if (stream == NULL)
		return;
	call->stream = NULL;
	http2_stream_reset(stream, HTTP2_CANCEL);
	response_decide(&call->response, GRPC_CANCELLED, "cancelled");
	check_end(call, false);
}

/* What happens on our side between two pieces. */
static bool
act(Client *client, uint8_t deeds, int piece_number)
{
	assert(!client->is_leaving || !http2_can_request(client->http2));
	if (client->call_count < CALLS_MAX && http2_can_request(client->http2))
		begin_call(client);
	if ((deeds & PINGS) != 0)
		(void) http2_ping(client->http2);
	if ((deeds & CANCELS) != 0 && piece_number == 2)
		cancel(&client->calls[0]);
	if ((deeds & DRAINS) != 0 && piece_number == 4)
		http2_drain(client->http2);
	if ((deeds & IS_LAZY) != 0 && piece_number % 8 != 0)
		return true;
	return make(client);
}

static void
end(Client *client, uint8_t deeds)
{
	assert(http2_text(client->http2)[0] != '\0');
	http2_lose(client->http2, (deeds & LOSES_ALL) != 0 ? 0 : client->made);
	assert(http2_is_idle(client->http2));
	http2_free(client->http2);
	for (int i = 0; i < client->call_count; i++)
	{
		assert(client->calls[i].has_ended && client->calls[i].stream == NULL);
		response_free(&client->calls[i].response);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
	Client client = {0};
	const Http2Options options = {.handler = &handler, .context = &client, .on_output = on_nothing};
	int piece_number = 0;
	size_t piece_size;
	uint8_t *piece;
	Pieces pieces;
	bool is_good;

	if (size < 2)
		return 0;
	client.http2 = http2_new(&options);
	is_good = http2_receive(client.http2, settings, sizeof(settings));
	assert(is_good);
	for (int i = 0; i < CALLS_AT_ONCE; i++)
		begin_call(&client);
	if ((data[1] & IS_UNSENT) == 0)
		is_good = make(&client);
	assert(is_good);
	pieces = pieces_of(data + 2, size - 2, data[0]);
	while (is_good && (piece = pieces_next(&pieces, &piece_size)) != NULL)
	{
		is_good = http2_receive(client.http2, piece, piece_size);
		assert(is_good || http2_is_broken(client.http2));
		is_good = is_good && act(&client, data[1], ++piece_number);
		free(piece);
	}
	end(&client, data[1]);
	return 0;
}
