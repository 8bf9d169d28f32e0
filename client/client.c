/*
 * client.c
 *		A connection to order-proxy.
 *
 * DESIGN	All clients of a process share one buffer for reading. A client owns memory for input
 *			only while an answer is incomplete.
 *
 * FAILURE	An answer that cannot be understood ends the connection: what follows cannot be told
 *			apart from it. EVENT and STREAM frames, which nobody asked for, are passed over.
 */
#include "client.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/address.h"
#include "base/bounds.h"
#include "base/bytes.h"
#include "pending.h"
#include "unpack.h"

/* A host name and what is to be said of it. */
#define REASON_SIZE (ADDRESS_HOST_SIZE + 256)
#define PEER_SIZE 64

typedef enum ClientState
{
	CLIENT_IDLE,
	CLIENT_RESOLVING,
	CLIENT_CONNECTING,
	CLIENT_CONNECTED,
} ClientState;

struct Client
{
	Loop *loop;
	Dns *dns;
	ClientOwner owner;
	ClientState state;
	bool is_in_callback;

	char host[ADDRESS_HOST_SIZE];
	int port;
	DnsQuery *query;
	DnsAddress addresses[DNS_ADDRESSES_MAX];
	int address_count;
	int address_next;
	char peer[PEER_SIZE];

	int socket; /* -1: none */
	LoopEvent readable;
	LoopEvent writable;
	LoopEvent connect_timer;
	LoopTask write_task;

	Pending pending;
	Bytes output;
	size_t output_written; /* of |output| */
	uint64_t stream_written;
	Bytes input; /* the beginning of an answer that is not complete */
};

/* An incomplete answer is moved to its start and completed there. */
static uint8_t read_buffer[FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX + READ_BYTES_MAX];

static void on_readable(void *context, short what);
static void on_writable(void *context, short what);
static void on_connect_timeout(void *context, short what);
static void write_output(void *context);
static void connect_next(Client *client, const char *error);

Client *
client_new(Loop *loop, Dns *dns, const char *server, int in_flight_max, const ClientOwner *owner)
{
	Client *client = bytes_new_zeroed(1, sizeof(Client));
	bool is_address = address_split(server, client->host, sizeof(client->host), &client->port);

	assert(is_address);
	assert(in_flight_max >= 1 && in_flight_max <= CONNECTION_IN_FLIGHT_MAX);
	client->loop = loop;
	client->dns = dns;
	client->owner = *owner;
	pending_init(&client->pending, in_flight_max);
	client->socket = -1;
	loop_event_init(&client->connect_timer, loop, -1, 0, on_connect_timeout, client);
	loop_task_init(&client->write_task, loop, write_output, client);
	return client;
}

static void
close_socket(Client *client)
{
	loop_event_remove(&client->readable);
	loop_event_remove(&client->writable);
	if (client->socket != -1)
		close(client->socket);
	client->socket = -1;
}

/* Back to a client that was never connected; requests stay pending. */
static void
disconnect(Client *client)
{
	close_socket(client);
	loop_event_remove(&client->connect_timer);
	loop_task_cancel(&client->write_task);
	if (client->query != NULL)
		dns_cancel(client->query);
	client->query = NULL;
	client->state = CLIENT_IDLE;
	bytes_clear(&client->output);
	bytes_clear(&client->input);
	client->output_written = 0;
}

void
client_free(Client *client)
{
	assert(!client->is_in_callback);
	disconnect(client);
	bytes_free(&client->output);
	bytes_free(&client->input);
	pending_free(&client->pending);
	free(client);
}

bool
client_is_connected(const Client *client)
{
	return client->state == CLIENT_CONNECTED;
}

const char *
client_peer(const Client *client)
{
	return client->peer;
}

int
client_in_flight_count(const Client *client)
{
	return client->pending.count;
}

const void *
client_unpack(const ClientAnswer *answer, const ProtobufCMessageDescriptor *descriptor)
{
	assert(answer->outcome == CLIENT_ANSWERED);
	return unpack_message(descriptor, answer->payload, answer->size);
}

/* ----- Requests ---------------------------------------------------------------------------- */

/* Writes the header of a request; its payload is to follow. False at a limit. */
static bool
begin_request(Client *client, uint16_t service, uint16_t method, size_t size,
			  ClientCallback callback, void *context)
{
	size_t waiting = client->output.size - client->output_written;
	PendingRequest request = {.callback = callback,
							  .context = context,
							  .stream_offset = client->stream_written + waiting,
							  .service = service,
							  .method = method};
	FrameHeader header = {.type = FRAME_REQUEST,
						  .service = service,
						  .method = method,
						  .payload_length = (uint32_t) size};

	assert(size <= FRAME_PAYLOAD_MAX && callback != NULL);
	if (client->state != CLIENT_CONNECTED || client->pending.count == client->pending.count_max ||
		FRAME_HEADER_SIZE + size > CLIENT_OUTPUT_BYTES_MAX - waiting)
		return false;

	header.correlation_id = pending_add(&client->pending, &request);
	frame_encode(&header, bytes_reserve(&client->output, FRAME_HEADER_SIZE + size));
	client->output.size += FRAME_HEADER_SIZE;
	if (!loop_event_is_added(&client->writable))
		loop_defer(&client->write_task);
	return true;
}

bool
client_send(Client *client, uint16_t service, uint16_t method, const uint8_t *payload, size_t size,
			ClientCallback callback, void *context)
{
	if (!begin_request(client, service, method, size, callback, context))
		return false;
	bytes_append(&client->output, payload, size);
	return true;
}

bool
client_send_message(Client *client, uint16_t service, uint16_t method,
					const ProtobufCMessage *message, ClientCallback callback, void *context)
{
	size_t size = protobuf_c_message_get_packed_size(message);

	if (!begin_request(client, service, method, size, callback, context))
		return false;
	client->output.size +=
		protobuf_c_message_pack(message, client->output.data + client->output.size);
	return true;
}

/* ----- The end of a connection ------------------------------------------------------------- */

/* Ends all requests, then tells the owner. */
static void
lose(Client *client, const char *reason)
{
	char copy[REASON_SIZE];
	uint64_t stream_written = client->stream_written;

	/* The text may lie in memory that the callbacks use again. */
	snprintf(copy, sizeof(copy), "%s", reason);
	disconnect(client);
	client->is_in_callback = true;
	for (int i = 0; i < client->pending.capacity; i++)
	{
		ClientAnswer answer = {.outcome = CLIENT_LOST, .reason = copy};
		PendingRequest request;

		if (!pending_take_at(&client->pending, i, &request))
			continue;
		if (request.stream_offset >= stream_written)
			answer.outcome = CLIENT_UNSENT;
		request.callback(request.context, &answer);
	}
	client->is_in_callback = false;
	assert(client->pending.count == 0);
	client->owner.lost(client->owner.context, copy);
}

static void
lose_with_errno(Client *client, const char *what, int error)
{
	char reason[REASON_SIZE];

	snprintf(reason, sizeof(reason), "%s %s: %s", what, client->peer, strerror(error));
	lose(client, reason);
}

/* ----- Connecting -------------------------------------------------------------------------- */

static void
on_connected(Client *client)
{
	int yes = 1;

	loop_event_remove(&client->connect_timer);
	setsockopt(client->socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	client->state = CLIENT_CONNECTED;
	client->stream_written = 0;
	loop_event_init(&client->writable, client->loop, client->socket, EV_WRITE, on_writable, client);
	loop_event_init(&client->readable, client->loop, client->socket, EV_READ | EV_PERSIST,
					on_readable, client);
	loop_event_add(&client->readable, LOOP_FOREVER);
	client->owner.connected(client->owner.context);
}

/* Begins to connect to an address. Returns 0, or the error why not. */
static int
connect_to(Client *client, const DnsAddress *address)
{
	client->socket =
		socket(address->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (client->socket == -1)
		return errno;
	if (connect(client->socket, (const struct sockaddr *) &address->address, address->size) == -1 &&
		errno != EINPROGRESS)
		return errno;
	loop_event_init(&client->writable, client->loop, client->socket, EV_WRITE, on_writable, client);
	loop_event_add(&client->writable, LOOP_FOREVER);
	return 0;
}

/* |error| says what became of the address before. */
static void
connect_next(Client *client, const char *error)
{
	char reason[REASON_SIZE];

	snprintf(reason, sizeof(reason), "%s", error);
	while (client->address_next < client->address_count)
	{
		const DnsAddress *address = &client->addresses[client->address_next++];
		int code;

		close_socket(client);
		dns_format((const struct sockaddr *) &address->address, client->peer, sizeof(client->peer));
		code = connect_to(client, address);
		if (code == 0)
			return;
		snprintf(reason, sizeof(reason), "no connection to %s: %s", client->peer, strerror(code));
	}
	lose(client, reason);
}

static void
on_resolved(void *context, const DnsAddress *addresses, int count, const char *error)
{
	Client *client = context;
	char reason[REASON_SIZE];

	client->query = NULL;
	if (count == 0)
	{
		snprintf(reason, sizeof(reason), "no address for \"%s\": %s", client->host, error);
		lose(client, reason);
		return;
	}
	memcpy(client->addresses, addresses, (size_t) count * sizeof(DnsAddress));
	client->address_count = count;
	client->address_next = 0;
	client->state = CLIENT_CONNECTING;
	connect_next(client, "");
}

void
client_connect(Client *client, int64_t timeout_us)
{
	assert(client->state == CLIENT_IDLE);
	client->state = CLIENT_RESOLVING;
	loop_event_add(&client->connect_timer, timeout_us);
	client->query = dns_resolve(client->dns, client->host, client->port, on_resolved, client);
}

static void
on_connect_timeout(void *context, short what)
{
	Client *client = context;
	char reason[REASON_SIZE];

	(void) what;
	if (client->state == CLIENT_RESOLVING)
		snprintf(reason, sizeof(reason), "no address for \"%s\" in time", client->host);
	else
		snprintf(reason, sizeof(reason), "no connection to %s in time", client->peer);
	lose(client, reason);
}

static void
on_connect_result(Client *client)
{
	int error = 0;
	socklen_t size = sizeof(error);
	char reason[REASON_SIZE];

	if (getsockopt(client->socket, SOL_SOCKET, SO_ERROR, &error, &size) == -1)
		error = errno;
	if (error == 0)
	{
		on_connected(client);
		return;
	}
	snprintf(reason, sizeof(reason), "no connection to %s: %s", client->peer, strerror(error));
	connect_next(client, reason);
}

/* ----- Writing ----------------------------------------------------------------------------- */

static void
write_output(void *context)
{
	Client *client = context;
	Bytes *output = &client->output;

	while (client->output_written < output->size)
	{
		ssize_t size = send(client->socket, output->data + client->output_written,
							output->size - client->output_written, MSG_NOSIGNAL);

		if (size == -1 && errno == EINTR)
			continue;
		if (size == -1 && errno == EAGAIN)
		{
			loop_event_add(&client->writable, LOOP_FOREVER);
			return;
		}
		if (size == -1)
		{
			lose_with_errno(client, "connection lost to", errno);
			return;
		}
		client->output_written += (size_t) size;
		client->stream_written += (uint64_t) size;
	}
	bytes_clear(output);
	client->output_written = 0;
}

static void
on_writable(void *context, short what)
{
	Client *client = context;

	(void) what;
	if (client->state == CLIENT_CONNECTING)
		on_connect_result(client);
	else
		write_output(client);
}

/* ----- Reading ----------------------------------------------------------------------------- */

/* An answer to nobody: an error in it says why the connection is about to be closed. */
static const char *
take_stray(const FrameHeader *header, const uint8_t *payload)
{
	const OrderService__V1__ErrorMessage *error;

	if ((header->flags & FRAME_FLAG_ERROR) == 0)
		return NULL;
	error = (const OrderService__V1__ErrorMessage *) unpack_message(
		&order_service__v1__error_message__descriptor, payload, header->payload_length);
	return error != NULL ? error->message : "error of the server that cannot be understood";
}

/* Delivers one answer. Returns NULL, or why the connection cannot go on. */
static const char *
take_answer(Client *client, const FrameHeader *header, const uint8_t *payload)
{
	ClientAnswer answer = {
		.outcome = CLIENT_ANSWERED, .payload = payload, .size = header->payload_length};
	const PendingRequest *request;
	PendingRequest taken;

	if (header->type == FRAME_EVENT || header->type == FRAME_STREAM)
		return NULL;
	if (header->type != FRAME_RESPONSE)
		return "the server sent a request";
	request = pending_find(&client->pending, header->correlation_id);
	if (request == NULL)
		return take_stray(header, payload);
	if (header->service != request->service || header->method != request->method)
		return "the server answered another method than was asked";

	if (header->flags & FRAME_FLAG_ERROR)
	{
		answer = (ClientAnswer){.outcome = CLIENT_REFUSED};
		answer.error = (const OrderService__V1__ErrorMessage *) unpack_message(
			&order_service__v1__error_message__descriptor, payload, header->payload_length);
		if (answer.error == NULL)
			return "the server sent an error that cannot be understood";
	}
	taken = pending_take(&client->pending, header->correlation_id);
	client->is_in_callback = true;
	taken.callback(taken.context, &answer);
	client->is_in_callback = false;
	return NULL;
}

/* Takes all complete answers of |data|. Returns how many bytes they had; sets |error|. */
static size_t
take_answers(Client *client, const uint8_t *data, size_t size, const char **error)
{
	size_t taken = 0;

	while (*error == NULL && size - taken >= FRAME_HEADER_SIZE)
	{
		const uint8_t *payload = data + taken + FRAME_HEADER_SIZE;
		FrameHeader header;

		if (frame_decode(data + taken, &header) != FRAME_OK)
		{
			*error = "what the server sent is not the protocol of order-proxy";
			break;
		}
		if (header.payload_length > size - taken - FRAME_HEADER_SIZE)
			break;
		*error = take_answer(client, &header, payload);
		if (*error == NULL)
			unpack_forget();
		taken += FRAME_HEADER_SIZE + header.payload_length;
	}
	return taken;
}

/* Reads once. Returns whether more may be there. */
static bool
read_once(Client *client)
{
	size_t had = client->input.size;
	const char *error = NULL;
	ssize_t size;
	size_t taken;

	assert(had <= sizeof(read_buffer) - READ_BYTES_MAX);
	size = recv(client->socket, read_buffer + had, READ_BYTES_MAX, 0);
	if (size == -1 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (size == -1)
	{
		lose_with_errno(client, "connection lost to", errno);
		return false;
	}
	if (size == 0)
	{
		char reason[REASON_SIZE];

		snprintf(reason, sizeof(reason), "connection closed by %s", client->peer);
		lose(client, reason);
		return false;
	}

	if (had > 0)
		memcpy(read_buffer, client->input.data, had);
	bytes_clear(&client->input);
	had += (size_t) size;
	taken = take_answers(client, read_buffer, had, &error);
	if (error != NULL)
	{
		lose(client, error);
		unpack_forget();
		return false;
	}
	if (taken < had)
		bytes_append(&client->input, read_buffer + taken, had - taken);
	return size == READ_BYTES_MAX;
}

static void
on_readable(void *context, short what)
{
	Client *client = context;
	int reads = 0;

	(void) what;
	while (read_once(client) && ++reads < READS_PER_TURN_MAX)
		continue;
}
