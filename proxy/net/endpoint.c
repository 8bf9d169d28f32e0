/*
 * endpoint.c
 *		One address of a gRPC service.
 *
 * DESIGN	At most one connection takes calls, |current|. One that the server asked to leave
 *			(GOAWAY) finishes its calls beside the next one, which is opened at once.
 *
 *			One timer serves all that can be waited for: the end of an attempt to connect, or the
 *			next attempt. An attempt has succeeded when the server's SETTINGS are there: what
 *			accepts connections is not always what speaks HTTP/2.
 *
 *			A connection can be dead for HTTP2_SILENCE_MS_MAX before the kernel says so, and a
 *			server can hang for ever. So one that let a call time out and has said nothing since is
 *			doubted, and passed over while there are others. That costs it no PING: servers count
 *			those, and leave (too_many_pings).
 *
 * FAILURE	An attempt that fails is repeated after a pause that grows. A connection that was ready
 *			and is lost is made again at once, but for ENDPOINT_RECONNECT_MS_MIN, since losing it
 *			says nothing about the next one.
 *
 *			With TLS, a certificate that is refused, by us or by the server, is an attempt that
 *			failed: its line in the log says why, and the pause keeps lines as rare as attempts.
 */
#include "net/endpoint.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/address.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/channel_metrics.h"
#include "net/link.h"
#include "resilience/backoff.h"

typedef struct Connection
{
	LIST_ENTRY(Connection) entry;
	Endpoint *endpoint;
	Link *link;
} Connection;

struct Endpoint
{
	Loop *loop;
	EndpointOptions options;
	char name[ADDRESS_TEXT_SIZE];
	EndpointState state;
	bool is_retired;
	bool is_attempting; /* |timer| ends the attempt; else it begins the next one */
	int socket;         /* being connected; -1: none */
	LoopEvent connectable;
	LoopEvent timer;
	Backoff backoff;
	int64_t attempt_at_us; /* when the last attempt began */
	int64_t ping_idle_us;  /* longer than the policy's where the server wants that */
	LoopEvent keepalive;
	int64_t doubted_at_us; /* endpoint_doubt() */
	Connection *current;   /* NULL: none */
	LIST_HEAD(, Connection) connections;
};

/* On its way from or to READY the keepalive begins or ends, too. */
static void
set_state(Endpoint *endpoint, EndpointState state)
{
	loop_event_remove(&endpoint->keepalive);
	if (state == ENDPOINT_READY && endpoint->options.policy.pings_always)
		loop_event_add(&endpoint->keepalive, endpoint->ping_idle_us);
	if (endpoint->state == ENDPOINT_READY)
		channel_metrics.endpoints_ready.value--;
	if (state == ENDPOINT_READY)
		channel_metrics.endpoints_ready.value++;
	endpoint->state = state;
	endpoint->options.handler->on_change(endpoint->options.context);
}

static void
report_trouble(Endpoint *endpoint)
{
	endpoint->options.handler->on_trouble(endpoint->options.context, endpoint->options.number);
}

/* PINGs ---------------------------------------------------------------------------------------- */

/* How long the server has been silent. */
static int64_t
silence_us(const Endpoint *endpoint)
{
	return loop_now_us(endpoint->loop) - link_read_at_us(endpoint->current->link);
}

/* Asks a connection whether it lives, if it has been silent for long. */
static void
ping_if_silent(Endpoint *endpoint)
{
	if (silence_us(endpoint) >= endpoint->ping_idle_us && link_ping(endpoint->current->link))
		metrics_count(&channel_metrics.pings);
}

static void
on_keepalive(void *context, short what)
{
	Endpoint *endpoint = context;
	int64_t left_us = endpoint->ping_idle_us - silence_us(endpoint);

	(void) what;
	assert(endpoint->state == ENDPOINT_READY);
	ping_if_silent(endpoint);
	loop_event_add(&endpoint->keepalive, left_us > 0 ? left_us : endpoint->ping_idle_us);
}

/* The server has had enough: the next connections are asked half as often. */
static void
ping_less(Endpoint *endpoint)
{
	endpoint->ping_idle_us *= 2;
	if (endpoint->ping_idle_us > HTTP2_PING_IDLE_MS_MAX * CLOCK_MS)
		endpoint->ping_idle_us = HTTP2_PING_IDLE_MS_MAX * CLOCK_MS;
	metrics_count(&channel_metrics.too_many_pings);
	log_event(LOG_WARNING, "endpoint is sent fewer pings", LOG_TEXT("endpoint", endpoint->name),
			  LOG_NUMBER("idle_ms", endpoint->ping_idle_us / CLOCK_MS));
}

/* Trying to connect ---------------------------------------------------------------------------- */

static void
free_connection(Connection *connection)
{
	if (connection->endpoint->current == connection)
		connection->endpoint->current = NULL;
	LIST_REMOVE(connection, entry);
	link_free(connection->link);
	free(connection);
}

static void
close_socket(Endpoint *endpoint)
{
	if (endpoint->socket == -1)
		return;
	loop_event_remove(&endpoint->connectable);
	close(endpoint->socket);
	endpoint->socket = -1;
}

/* An attempt has failed. */
static void
fail(Endpoint *endpoint, const char *reason)
{
	int64_t pause_us = backoff_next(&endpoint->backoff);

	assert(endpoint->is_attempting);
	assert(endpoint->current == NULL);
	close_socket(endpoint);
	endpoint->is_attempting = false;
	loop_event_add(&endpoint->timer, pause_us);
	metrics_count(&channel_metrics.connect_failures);
	log_event(LOG_WARNING, "endpoint cannot be connected to", LOG_TEXT("endpoint", endpoint->name),
			  LOG_TEXT("reason", reason), LOG_NUMBER("retry_ms", pause_us / CLOCK_MS));
	set_state(endpoint, ENDPOINT_FAILED);
	report_trouble(endpoint);
}

/* A connection that was ready takes no more calls: the next one is due. */
static void
reconnect(Endpoint *endpoint)
{
	int64_t next_us = endpoint->attempt_at_us + backoff_shift(ENDPOINT_RECONNECT_MS_MIN * CLOCK_MS);
	int64_t pause_us = next_us - loop_now_us(endpoint->loop);

	assert(endpoint->current == NULL);
	assert(!endpoint->is_attempting);
	loop_event_add(&endpoint->timer, pause_us > 0 ? pause_us : 0);
	set_state(endpoint, ENDPOINT_CONNECTING);
	report_trouble(endpoint);
}

/* The connection is no longer the one for calls, whether it was ready or about to be. */
static void
leave_current(Endpoint *endpoint, const char *reason)
{
	endpoint->current = NULL;
	if (endpoint->is_attempting)
		fail(endpoint, reason);
	else
		reconnect(endpoint);
}

static void
on_ready(void *context)
{
	Connection *connection = context;
	Endpoint *endpoint = connection->endpoint;

	if (connection != endpoint->current)
		return;
	assert(endpoint->is_attempting);
	endpoint->is_attempting = false;
	loop_event_remove(&endpoint->timer);
	backoff_reset(&endpoint->backoff);
	metrics_count(&channel_metrics.connections);
	log_event(LOG_INFO, "endpoint is ready", LOG_TEXT("endpoint", endpoint->name));
	set_state(endpoint, ENDPOINT_READY);
}

static void
on_room(void *context)
{
	Connection *connection = context;
	Endpoint *endpoint = connection->endpoint;

	endpoint->options.handler->on_change(endpoint->options.context);
}

static void
on_goaway(void *context, uint32_t error_code, const char *text)
{
	Connection *connection = context;
	Endpoint *endpoint = connection->endpoint;

	/* A server says so twice; the second time tells which streams it has not served. */
	if (connection != endpoint->current)
		return;
	metrics_count(&channel_metrics.goaways);
	log_event(error_code == HTTP2_NO_ERROR ? LOG_INFO : LOG_WARNING, "endpoint asks to leave",
			  LOG_TEXT("endpoint", endpoint->name), LOG_TEXT("code", http2_error_name(error_code)),
			  LOG_TEXT("text", text));
	if (error_code == HTTP2_ENHANCE_YOUR_CALM && strcmp(text, "too_many_pings") == 0)
		ping_less(endpoint);
	leave_current(endpoint, "the server asks to leave");
}

static void
on_close(void *context, LinkLoss loss, const char *text)
{
	Connection *connection = context;
	Endpoint *endpoint = connection->endpoint;
	bool is_current = connection == endpoint->current;

	metrics_count(&channel_metrics.losses[loss]);
	if (loss == LINK_TLS)
		metrics_count(&channel_metrics.tls_failures[tls_stream_cause(link_tls(connection->link))]);
	/* An attempt that failed has a line of its own. */
	if (!is_current || !endpoint->is_attempting)
		log_event(is_current ? LOG_WARNING : LOG_INFO, "connection to endpoint ended",
				  LOG_TEXT("endpoint", endpoint->name), LOG_TEXT("reason", text));
	if (is_current)
		leave_current(endpoint, text);
	else
		endpoint->options.handler->on_change(endpoint->options.context);
	free_connection(connection);
}

static const Http2Handler connection_handler = {
	.on_ready = on_ready,
	.on_room = on_room,
	.on_goaway = on_goaway,
};

/* The certificates may have been replaced since the last connection. */
static TlsStream *
begin_tls(Endpoint *endpoint)
{
	Tls *tls = endpoint->options.policy.tls;
	TlsError error;

	if (tls == NULL)
		return NULL;
	if (!tls_refresh(tls, &error))
	{
		metrics_count(&channel_metrics.tls_files_refused);
		log_event(LOG_ERROR, "TLS files cannot be read again, what was read before stays",
				  LOG_TEXT("error", error.text));
	}
	return tls_stream_new(tls, endpoint->socket, endpoint->options.host);
}

static void
on_connectable(void *context, short what)
{
	Endpoint *endpoint = context;
	Connection *connection;
	int error = 0;
	socklen_t size = sizeof(error);

	(void) what;
	if (getsockopt(endpoint->socket, SOL_SOCKET, SO_ERROR, &error, &size) == -1)
		error = errno;
	if (error != 0)
	{
		fail(endpoint, strerror(error));
		return;
	}

	/* The attempt goes on until SETTINGS are there. */
	connection = bytes_new_zeroed(1, sizeof(Connection));
	connection->endpoint = endpoint;
	connection->link = link_new_client(endpoint->loop, endpoint->socket, begin_tls(endpoint),
									   &connection_handler, on_close, connection);
	LIST_INSERT_HEAD(&endpoint->connections, connection, entry);
	endpoint->current = connection;
	endpoint->socket = -1;
}

static void
begin_attempt(Endpoint *endpoint)
{
	const DnsAddress *address = &endpoint->options.address;

	assert(endpoint->current == NULL);
	assert(endpoint->socket == -1);
	endpoint->is_attempting = true;
	endpoint->attempt_at_us = loop_now_us(endpoint->loop);
	loop_event_add(&endpoint->timer, ENDPOINT_CONNECT_MS_MAX * CLOCK_MS);
	endpoint->socket =
		socket(address->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (endpoint->socket == -1)
	{
		fail(endpoint, strerror(errno));
		return;
	}
	loop_event_init(&endpoint->connectable, endpoint->loop, endpoint->socket, EV_WRITE,
					on_connectable, endpoint);
	if (connect(endpoint->socket, (const struct sockaddr *) &address->address, address->size) ==
			-1 &&
		errno != EINPROGRESS)
		fail(endpoint, strerror(errno));
	else
		loop_event_add(&endpoint->connectable, LOOP_FOREVER);
}

static void
on_timer(void *context, short what)
{
	Endpoint *endpoint = context;
	const char *reason = "no answer in time";

	(void) what;
	if (!endpoint->is_attempting)
	{
		begin_attempt(endpoint);
		return;
	}
	if (endpoint->current != NULL)
	{
		const TlsStream *tls = link_tls(endpoint->current->link);

		if (tls != NULL && !tls_stream_is_ready(tls))
		{
			metrics_count(&channel_metrics.tls_failures[TLS_LATE]);
			reason = "the TLS handshake was not done in time";
		}
		free_connection(endpoint->current);
	}
	fail(endpoint, reason);
}

/* The endpoint --------------------------------------------------------------------------------- */

Endpoint *
endpoint_new(Loop *loop, const EndpointOptions *options)
{
	Endpoint *endpoint = bytes_new_zeroed(1, sizeof(Endpoint));

	endpoint->loop = loop;
	endpoint->options = *options;
	dns_format((const struct sockaddr *) &options->address.address, endpoint->name,
			   sizeof(endpoint->name));
	endpoint->state = ENDPOINT_CONNECTING;
	endpoint->socket = -1;
	endpoint->backoff = (Backoff){.first_us = ENDPOINT_BACKOFF_MS_MIN * CLOCK_MS,
								  .limit_us = ENDPOINT_BACKOFF_MS_MAX * CLOCK_MS};
	endpoint->ping_idle_us = options->policy.ping_idle_us;
	if (endpoint->ping_idle_us == 0)
		endpoint->ping_idle_us = HTTP2_PING_IDLE_MS_DEFAULT * CLOCK_MS;
	loop_event_init(&endpoint->keepalive, loop, -1, 0, on_keepalive, endpoint);
	LIST_INIT(&endpoint->connections);
	loop_event_init(&endpoint->timer, loop, -1, 0, on_timer, endpoint);
	loop_event_add(&endpoint->timer, 0);
	channel_metrics.endpoints.value++;
	return endpoint;
}

void
endpoint_free(Endpoint *endpoint)
{
	if (!endpoint->is_retired)
		channel_metrics.endpoints.value--;
	if (endpoint->state == ENDPOINT_READY)
		channel_metrics.endpoints_ready.value--;
	loop_event_remove(&endpoint->timer);
	loop_event_remove(&endpoint->keepalive);
	close_socket(endpoint);
	while (!LIST_EMPTY(&endpoint->connections))
		free_connection(LIST_FIRST(&endpoint->connections));
	free(endpoint);
}

EndpointState
endpoint_state(const Endpoint *endpoint)
{
	return endpoint->state;
}

const char *
endpoint_name(const Endpoint *endpoint)
{
	return endpoint->name;
}

bool
endpoint_can_request(const Endpoint *endpoint)
{
	return endpoint->state == ENDPOINT_READY &&
		   http2_can_request(link_http2(endpoint->current->link));
}

Http2Stream *
endpoint_request(Endpoint *endpoint, const Http2Header *headers, int header_count, uint8_t *body,
				 size_t size, const Http2StreamHandler *handler, void *context)
{
	Link *link = endpoint->current->link;
	Http2Stream *stream;

	assert(endpoint->state == ENDPOINT_READY);
	ping_if_silent(endpoint);
	stream = http2_request(link_http2(link), headers, header_count, body, size, handler, context);
	if (http2_is_used_up(link_http2(link)))
	{
		metrics_count(&channel_metrics.used_up);
		link_drain(link);
		leave_current(endpoint, "stream ids are used up");
	}
	return stream;
}

bool
endpoint_is_doubted(const Endpoint *endpoint)
{
	int64_t end_us = endpoint->doubted_at_us + ENDPOINT_DOUBT_MS * CLOCK_MS;

	return endpoint->state == ENDPOINT_READY && endpoint->doubted_at_us != 0 &&
		   loop_now_us(endpoint->loop) < end_us &&
		   link_read_at_us(endpoint->current->link) <= endpoint->doubted_at_us;
}

void
endpoint_doubt(Endpoint *endpoint, int64_t begun_us)
{
	if (endpoint->state != ENDPOINT_READY || endpoint_is_doubted(endpoint) ||
		link_read_at_us(endpoint->current->link) > begun_us)
		return;
	endpoint->doubted_at_us = loop_now_us(endpoint->loop);
	metrics_count(&channel_metrics.doubts);
	log_event(LOG_WARNING, "endpoint does not answer", LOG_TEXT("endpoint", endpoint->name));
}

void
endpoint_retire(Endpoint *endpoint)
{
	if (endpoint->is_retired)
		return;
	endpoint->is_retired = true;
	channel_metrics.endpoints.value--;
	loop_event_remove(&endpoint->timer);
	close_socket(endpoint);
	if (endpoint->current != NULL && endpoint->is_attempting)
		free_connection(endpoint->current);
	else if (endpoint->current != NULL)
		link_drain(endpoint->current->link);
	endpoint->is_attempting = false;
	endpoint->current = NULL;
	set_state(endpoint, ENDPOINT_FAILED);
}

bool
endpoint_is_retired(const Endpoint *endpoint)
{
	return endpoint->is_retired;
}

bool
endpoint_is_gone(const Endpoint *endpoint)
{
	return endpoint->is_retired && LIST_EMPTY(&endpoint->connections);
}
