/*
 * grpc_server.c
 *		A gRPC server for unary calls, over proxy/net/link.
 *
 * DESIGN	A call has two owners, the client's stream and the handler, and is freed when both are
 *			through with it: a client may go away long before the handler answers.
 *
 * LIMITS	STREAMS_MAX calls of a client at a time, more are refused (REFUSED_STREAM);
 *			CLIENTS_MAX clients, more are closed at once; GRPC_MESSAGE_BYTES_MAX of a request,
 *			a larger one gets RESOURCE_EXHAUSTED; GRPC_HEADER_BYTES_MAX of its headers, more get a
 *			reset.
 */
#include "grpc_server.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/address.h"
#include "base/bounds.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/grpc_reader.h"
#include "net/link.h"

#define STREAMS_MAX 1000
#define CLIENTS_MAX 1000
#define BACKLOG 512

#define CONTENT_TYPE "application/grpc"

/* Every byte of a text may be escaped to three. */
#define ENCODED_TEXT_SIZE (3 * GRPC_STATUS_TEXT_SIZE)

typedef struct Connection
{
	LIST_ENTRY(Connection) link_of_server;
	GrpcServer *server;
	Link *link;
} Connection;

struct GrpcServer
{
	Loop *loop;
	GrpcHandler handler;
	void *context;
	int socket; /* -1: does not listen any more */
	int port;
	LoopEvent acceptable;
	LoopEvent pause;
	LIST_HEAD(, Connection) connections;
	int connection_count;
};

struct GrpcCall
{
	Connection *connection; /* as long as there is a stream */
	Http2Stream *stream;    /* NULL: the client has gone, or was reset */
	Bytes headers;          /* name, NUL, value, NUL, and so on */
	GrpcReader request;
	bool is_handled; /* the handler has it and has not ended it */
	bool is_refused; /* answered without the handler; what still comes is not looked at */
};

/* Calls ---------------------------------------------------------------------------------------- */

static void
free_when_done(GrpcCall *call)
{
	if (call->stream != NULL || call->is_handled)
		return;
	bytes_free(&call->headers);
	grpc_reader_free(&call->request);
	free(call);
}

static void
end_handling(GrpcCall *call)
{
	assert(call->is_handled);
	call->is_handled = false;
	free_when_done(call);
}

const char *
grpc_call_header(const GrpcCall *call, const char *name)
{
	const char *at = (const char *) call->headers.data;
	const char *end = at + call->headers.size;

	while (at < end)
	{
		const char *value = at + strlen(at) + 1;

		if (strcmp(at, name) == 0)
			return value;
		at = value + strlen(value) + 1;
	}
	return NULL;
}

int64_t
grpc_call_timeout_us(const GrpcCall *call)
{
	const char *timeout = grpc_call_header(call, "grpc-timeout");

	return timeout == NULL ? -1 : grpc_parse_timeout(timeout, strlen(timeout));
}

static void
respond_error(GrpcCall *call, GrpcStatus status, const char *text)
{
	char number[16];
	char encoded[ENCODED_TEXT_SIZE];
	const Http2Header headers[] = {
		{.name = ":status", .value = "200"},
		{.name = "content-type", .value = CONTENT_TYPE},
		{.name = "grpc-status", .value = number},
		{.name = "grpc-message", .value = encoded},
	};

	(void) snprintf(number, sizeof(number), "%d", (int) status);
	grpc_encode_message(text, encoded, sizeof(encoded));
	http2_respond(call->stream, headers, sizeof(headers) / sizeof(headers[0]), NULL, 0, NULL);
}

void
grpc_call_reply(GrpcCall *call, const uint8_t *message, size_t size)
{
	static const Http2Header headers[] = {
		{.name = ":status", .value = "200"},
		{.name = "content-type", .value = CONTENT_TYPE},
	};
	static const Http2Header trailer = {.name = "grpc-status", .value = "0"};

	if (call->stream != NULL)
	{
		uint8_t *body = bytes_new(GRPC_PREFIX_SIZE + size);

		grpc_write_prefix(body, size);
		if (size > 0)
			memcpy(body + GRPC_PREFIX_SIZE, message, size);
		http2_respond(call->stream, headers, sizeof(headers) / sizeof(headers[0]), body,
					  GRPC_PREFIX_SIZE + size, &trailer);
	}
	end_handling(call);
}

void
grpc_call_fail(GrpcCall *call, GrpcStatus status, const char *text)
{
	assert(status != GRPC_OK);
	if (call->stream != NULL)
		respond_error(call, status, text);
	end_handling(call);
}

static void
reset(GrpcCall *call, uint32_t error_code)
{
	Http2Stream *stream = call->stream;

	if (stream == NULL)
		return;
	call->stream = NULL;
	http2_stream_reset(stream, error_code);
}

void
grpc_call_reset(GrpcCall *call, uint32_t error_code)
{
	reset(call, error_code);
	end_handling(call);
}

void
grpc_call_hang(GrpcCall *call)
{
	end_handling(call);
}

void
grpc_call_drop(GrpcCall *call)
{
	if (call->stream != NULL)
		link_abort(call->connection->link);
	end_handling(call);
}

/* A call that never gets to the handler, before or after the end of its request. */
static void
refuse(GrpcCall *call, GrpcStatus status, const char *text)
{
	assert(!call->is_handled && !call->is_refused);
	call->is_refused = true;
	respond_error(call, status, text);
}

/* What the client sends ------------------------------------------------------------------------ */

static void
on_header(void *context, const char *name, size_t name_size, const char *value, size_t value_size)
{
	GrpcCall *call = context;

	/* Both are terminated, and without NUL in them: nghttp2 sees to that. */
	bytes_append(&call->headers, name, name_size + 1);
	bytes_append(&call->headers, value, value_size + 1);
}

static void
on_headers_end(void *context)
{
	GrpcCall *call = context;
	const char *content_type = grpc_call_header(call, "content-type");
	static const Http2Header headers[] = {{.name = ":status", .value = "415"}};

	if (content_type != NULL && strncmp(content_type, CONTENT_TYPE, strlen(CONTENT_TYPE)) == 0)
		return;
	if (!call->is_refused)
		http2_respond(call->stream, headers, 1, NULL, 0, NULL);
	call->is_refused = true;
}

static void
on_data(void *context, const uint8_t *data, size_t size)
{
	GrpcCall *call = context;
	GrpcReadError error;

	if (call->is_refused)
		return;
	error = grpc_reader_add(&call->request, data, size);
	if (error == GRPC_READ_OK)
		return;
	refuse(call,
		   error == GRPC_READ_COMPRESSED  ? GRPC_UNIMPLEMENTED
		   : error == GRPC_READ_TOO_LARGE ? GRPC_RESOURCE_EXHAUSTED
										  : GRPC_INTERNAL,
		   grpc_read_error_text(error));
}

static void
on_end(void *context)
{
	GrpcCall *call = context;
	GrpcServer *server = call->connection->server;

	if (call->is_refused)
		return;
	if (!grpc_reader_is_whole(&call->request))
	{
		refuse(call, GRPC_INTERNAL, "message is missing or cut short");
		return;
	}
	call->is_handled = true;
	server->handler(server->context, call, grpc_call_header(call, ":path"),
					call->request.message.data, call->request.message.size);
}

static void
on_stream_close(void *context, const Http2End *end)
{
	GrpcCall *call = context;

	(void) end;
	call->stream = NULL;
	free_when_done(call);
}

static const Http2StreamHandler stream_handler = {
	.on_header = on_header,
	.on_headers_end = on_headers_end,
	.on_data = on_data,
	.on_end = on_end,
	.on_close = on_stream_close,
};

static void
on_request(void *context, Http2Stream *stream)
{
	GrpcCall *call = bytes_new_zeroed(1, sizeof(GrpcCall));

	call->connection = context;
	call->stream = stream;
	http2_stream_handle(stream, &stream_handler, call);
}

static const Http2Handler connection_handler = {.on_request = on_request};

/* Connections ---------------------------------------------------------------------------------- */

static void
free_connection(Connection *connection)
{
	LIST_REMOVE(connection, link_of_server);
	connection->server->connection_count--;
	link_free(connection->link);
	free(connection);
}

static void
on_connection_close(void *context, LinkLoss loss, const char *text)
{
	(void) loss;
	log_event(LOG_DEBUG, "client's connection ended", LOG_TEXT("reason", text));
	free_connection(context);
}

static void
add_connection(GrpcServer *server, int socket)
{
	Connection *connection;

	if (server->connection_count == CLIENTS_MAX)
	{
		log_event(LOG_WARNING, "too many connections", LOG_NUMBER("limit", CLIENTS_MAX));
		close(socket);
		return;
	}
	connection = bytes_new_zeroed(1, sizeof(Connection));
	connection->server = server;
	LIST_INSERT_HEAD(&server->connections, connection, link_of_server);
	server->connection_count++;
	connection->link = link_new_server(server->loop, socket, STREAMS_MAX, &connection_handler,
									   on_connection_close, connection);
}

static void
on_acceptable(void *context, short what)
{
	GrpcServer *server = context;

	(void) what;
	for (int i = 0; i < ACCEPTS_PER_TURN_MAX; i++)
	{
		int socket = accept4(server->socket, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (socket != -1)
			add_connection(server, socket);
		else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
		{
			/* It would be reported as acceptable again and again. */
			log_event(LOG_WARNING, "cannot accept", LOG_TEXT("reason", strerror(errno)));
			loop_event_remove(&server->acceptable);
			loop_event_add(&server->pause, ACCEPT_PAUSE_MS * CLOCK_MS);
			return;
		}
		else if (errno == EAGAIN)
			return;
	}
}

static void
on_pause_end(void *context, short what)
{
	GrpcServer *server = context;

	(void) what;
	loop_event_add(&server->acceptable, LOOP_FOREVER);
}

/* The server ----------------------------------------------------------------------------------- */

/* A listening socket, or -1. */
static int
bind_socket(const struct addrinfo *address)
{
	const int on = 1;
	int result = socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (result == -1)
		return -1;
	(void) setsockopt(result, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(result, address->ai_addr, address->ai_addrlen) == 0 && listen(result, BACKLOG) == 0)
		return result;
	close(result);
	return -1;
}

/* The first address of |text| that can be listened on, or -1 with the reason. */
static int
open_socket(const char *text, const char **reason)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *addresses = NULL;
	char host[ADDRESS_HOST_SIZE];
	char service[8];
	int port;
	int result = -1;

	if (!address_split(text, host, sizeof(host), &port))
	{
		*reason = "not host:port";
		return -1;
	}
	(void) snprintf(service, sizeof(service), "%d", port);
	result = getaddrinfo(host, service, &hints, &addresses);
	if (result != 0)
	{
		*reason = gai_strerror(result);
		return -1;
	}
	result = -1;
	for (struct addrinfo *address = addresses; address != NULL && result == -1;
		 address = address->ai_next)
		result = bind_socket(address);
	if (result == -1)
		*reason = strerror(errno);
	freeaddrinfo(addresses);
	return result;
}

static int
local_port(int socket)
{
	union
	{
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} address;
	socklen_t size = sizeof(address);

	if (getsockname(socket, &address.any, &size) != 0)
		return 0;
	return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

GrpcServer *
grpc_server_new(Loop *loop, const char *address, GrpcHandler handler, void *context)
{
	const char *reason = NULL;
	int socket = open_socket(address, &reason);
	GrpcServer *server;

	if (socket == -1)
	{
		log_event(LOG_ERROR, "cannot listen", LOG_TEXT("address", address),
				  LOG_TEXT("reason", reason));
		return NULL;
	}
	server = bytes_new_zeroed(1, sizeof(GrpcServer));
	server->loop = loop;
	server->handler = handler;
	server->context = context;
	server->socket = socket;
	server->port = local_port(socket);
	LIST_INIT(&server->connections);
	loop_event_init(&server->acceptable, loop, socket, EV_READ | EV_PERSIST, on_acceptable, server);
	loop_event_init(&server->pause, loop, -1, 0, on_pause_end, server);
	loop_event_add(&server->acceptable, LOOP_FOREVER);
	return server;
}

int
grpc_server_port(const GrpcServer *server)
{
	return server->port;
}

static void
stop_listening(GrpcServer *server)
{
	loop_event_remove(&server->acceptable);
	loop_event_remove(&server->pause);
	if (server->socket != -1)
		close(server->socket);
	server->socket = -1;
}

void
grpc_server_drain(GrpcServer *server)
{
	Connection *connection;

	stop_listening(server);
	LIST_FOREACH(connection, &server->connections, link_of_server)
		link_drain(connection->link);
}

void
grpc_server_free(GrpcServer *server)
{
	stop_listening(server);
	while (!LIST_EMPTY(&server->connections))
		free_connection(LIST_FIRST(&server->connections));
	free(server);
}
