/*
 * link.c
 *		An HTTP/2 connection: a socket, its protocol and the loop.
 *
 * DESIGN	Output gathers during a turn; one task makes all frames of it and writes them at once.
 *
 *			Under TLS no frame is made before the handshake is done. A record comes by a read of its
 *			own, so that there are several in a turn.
 *
 * LIMITS	HTTP2_OUTPUT_BYTES_MAX of output and one frame: above it no more frames are made, and a
 *			server stops reading, because what it reads makes it write.
 *
 * FAILURE	A peer that is gone is found by the kernel: HTTP2_SILENCE_MS_MAX after data that it does
 *			not acknowledge, or by probes on an idle connection.
 */
#include "net/link.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fault_point.h"

/* Of one connection in one turn, so that all get theirs. */
#define READ_BYTES (32 * 1024)

/* When an idle connection is probed, and how often. */
#define PROBE_IDLE_SECONDS 15
#define PROBE_INTERVAL_SECONDS 5

struct Link
{
	Loop *loop;
	Http2 *http2;
	TlsStream *tls; /* NULL: none */
	LinkCloseCallback on_close;
	void *context;
	int socket; /* -1: closed */
	bool is_server;
	bool is_aborted;
	Bytes output;
	size_t output_begin; /* before it everything is written */
	uint64_t written;    /* in all */
	int64_t read_at_us;
	LoopEvent readable;
	LoopEvent writable;
	LoopEvent ping_timer;
	LoopTask flush;
};

static void
close_socket(Link *link)
{
	loop_event_remove(&link->readable);
	loop_event_remove(&link->writable);
	loop_event_remove(&link->ping_timer);
	loop_task_cancel(&link->flush);
	if (link->tls != NULL)
		tls_stream_close(link->tls);
	close(link->socket);
	link->socket = -1;
	http2_lose(link->http2, link->written);
}

/* Always the last thing that is done: the owner may free the link. */
static void
lose(Link *link, LinkLoss loss, const char *text)
{
	close_socket(link);
	link->on_close(link->context, loss, text);
}

static void
lose_broken(Link *link)
{
	lose(link, LINK_BROKEN, http2_text(link->http2));
}

/* After a read or a write that failed. False: it only has to be done later. */
static bool
lose_for_error(Link *link)
{
	if (errno == EAGAIN || errno == EINTR)
		return false;
	if (link->tls != NULL && errno == EPROTO)
		lose(link, LINK_TLS, tls_stream_text(link->tls));
	else
		lose(link, LINK_SOCKET, strerror(errno));
	return true;
}

/* After a read that has to be done later; TLS may have to write first. */
static void
wait_for_input(Link *link)
{
	if (link->tls != NULL && tls_stream_is_blocked(link->tls))
	{
		/* What there is to read would only wake us. */
		loop_event_remove(&link->readable);
		loop_event_add(&link->writable, LOOP_FOREVER);
	}
	else if (!loop_event_is_added(&link->readable))
		loop_event_add(&link->readable, LOOP_FOREVER);
}

/* Goes on with the handshake if there is one. False: it is not done, or the connection was lost. */
static bool
shake_hands(Link *link)
{
	if (link->tls == NULL || tls_stream_is_ready(link->tls))
		return true;
	if (tls_stream_handshake(link->tls) == 0)
		return true;
	if (!lose_for_error(link))
		wait_for_input(link);
	return false;
}

/* False: the connection was lost. */
static bool
write_output(Link *link)
{
	size_t size = link->output.size - link->output_begin;
	ssize_t written;

	if (size == 0)
		return true;
	if (link->tls == NULL)
		written = send(link->socket, link->output.data + link->output_begin, size, MSG_NOSIGNAL);
	else
		written = tls_stream_write(link->tls, link->output.data + link->output_begin, size);
	if (written == -1)
		return !lose_for_error(link);
	fault_point("sent", "account");
	link->written += (uint64_t) written;
	link->output_begin += (size_t) written;
	if (link->output_begin == link->output.size)
	{
		bytes_clear(&link->output);
		link->output_begin = 0;
	}
	return true;
}

/* Moves what is not written to the front, so that |output| does not grow without end. */
static void
compact(Link *link)
{
	if (link->output_begin == 0)
		return;
	link->output.size -= link->output_begin;
	memmove(link->output.data, link->output.data + link->output_begin, link->output.size);
	link->output_begin = 0;
}

/* Everything that has gathered, with one write where that is enough. */
static void
flush(void *context)
{
	Link *link = context;
	bool is_more;

	if (link->is_aborted)
	{
		lose(link, LINK_ABORTED, "aborted");
		return;
	}
	if (!shake_hands(link))
		return;
	do
	{
		compact(link);
		if (!http2_make(link->http2, &link->output, HTTP2_OUTPUT_BYTES_MAX, &is_more))
		{
			lose_broken(link);
			return;
		}
		if (!write_output(link))
			return;
	} while (is_more && link->output.size == 0);

	if (link->output.size == 0 && http2_is_finished(link->http2))
	{
		if (http2_is_broken(link->http2))
			lose_broken(link);
		else
			lose(link, LINK_DRAINED, "drained");
		return;
	}
	if (link->output.size > 0)
		loop_event_add(&link->writable, LOOP_FOREVER);
	if (link->is_server && is_more)
		loop_event_remove(&link->readable);
	else if (!loop_event_is_added(&link->readable))
		loop_event_add(&link->readable, LOOP_FOREVER);
}

static void
on_output(void *context)
{
	Link *link = context;

	loop_defer(&link->flush);
}

static void
on_writable(void *context, short what)
{
	(void) what;
	on_output(context);
}

static void
on_end_of_input(Link *link)
{
	if (http2_is_broken(link->http2))
		lose_broken(link);
	else if (http2_is_draining(link->http2) && http2_is_idle(link->http2))
		lose(link, LINK_DRAINED, "drained");
	else
		lose(link, LINK_CLOSED, "closed by the peer");
}

/* Bytes that were read; 0: nothing, or the connection was lost. */
static size_t
read_input(Link *link)
{
	uint8_t data[READ_BYTES];
	ssize_t size;

	if (link->tls == NULL)
		size = recv(link->socket, data, sizeof(data), 0);
	else
		size = tls_stream_read(link->tls, data, sizeof(data));
	if (size == -1)
	{
		if (!lose_for_error(link))
			wait_for_input(link);
		return 0;
	}
	if (size == 0)
	{
		on_end_of_input(link);
		return 0;
	}
	link->read_at_us = loop_now_us(link->loop);
	if (!http2_receive(link->http2, data, (size_t) size))
	{
		lose_broken(link);
		return 0;
	}
	if (!http2_is_pinging(link->http2))
		loop_event_remove(&link->ping_timer);
	return (size_t) size;
}

/* Records until there is no more, or enough for a turn. */
static void
read_records(Link *link)
{
	size_t size = 0;
	size_t count;

	if (!tls_stream_is_ready(link->tls))
	{
		if (!shake_hands(link))
			return;
		loop_defer(&link->flush);
	}
	do
	{
		count = read_input(link);
		size += count;
	} while (count > 0 && size < READ_BYTES);
}

static void
on_readable(void *context, short what)
{
	Link *link = context;

	(void) what;
	if (link->tls == NULL)
		(void) read_input(link);
	else
		read_records(link);
}

static void
on_ping_timer(void *context, short what)
{
	(void) what;
	lose(context, LINK_SILENT, "PING not answered");
}

/* Nothing here is vital: a socket that is not TCP's does without. */
static void
set_options(int socket)
{
	const int options[][3] = {
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{IPPROTO_TCP, TCP_USER_TIMEOUT, HTTP2_SILENCE_MS_MAX},
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, PROBE_IDLE_SECONDS},
		{IPPROTO_TCP, TCP_KEEPINTVL, PROBE_INTERVAL_SECONDS},
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		(void) setsockopt(socket, options[i][0], options[i][1], &options[i][2], sizeof(int));
}

static Link *
new_link(Loop *loop, int socket, TlsStream *tls, Http2Options *options, LinkCloseCallback on_close)
{
	Link *link = bytes_new_zeroed(1, sizeof(Link));

	assert(socket >= 0);
	link->loop = loop;
	link->on_close = on_close;
	link->context = options->context;
	link->socket = socket;
	link->tls = tls;
	link->is_server = options->is_server;
	link->read_at_us = loop_now_us(loop);
	set_options(socket);
	loop_event_init(&link->readable, loop, socket, EV_READ | EV_PERSIST, on_readable, link);
	loop_event_init(&link->writable, loop, socket, EV_WRITE, on_writable, link);
	loop_event_init(&link->ping_timer, loop, -1, 0, on_ping_timer, link);
	loop_task_init(&link->flush, loop, flush, link);
	options->on_output = on_output;
	options->output_context = link;
	link->http2 = http2_new(options);
	loop_event_add(&link->readable, LOOP_FOREVER);
	return link;
}

Link *
link_new_client(Loop *loop, int socket, TlsStream *tls, const Http2Handler *handler,
				LinkCloseCallback on_close, void *context)
{
	Http2Options options = {.handler = handler, .context = context};

	return new_link(loop, socket, tls, &options, on_close);
}

Link *
link_new_server(Loop *loop, int socket, int streams_max, const Http2Handler *handler,
				LinkCloseCallback on_close, void *context)
{
	Http2Options options = {
		.is_server = true, .streams_max = streams_max, .handler = handler, .context = context};

	return new_link(loop, socket, NULL, &options, on_close);
}

void
link_free(Link *link)
{
	if (link->socket != -1)
		close_socket(link);
	http2_free(link->http2);
	if (link->tls != NULL)
		tls_stream_free(link->tls);
	bytes_free(&link->output);
	free(link);
}

Http2 *
link_http2(Link *link)
{
	return link->http2;
}

const TlsStream *
link_tls(const Link *link)
{
	return link->tls;
}

void
link_abort(Link *link)
{
	if (link->socket == -1)
		return;
	link->is_aborted = true;
	loop_defer(&link->flush);
}

static void
watch_ping(Link *link)
{
	loop_event_add(&link->ping_timer, HTTP2_PING_ANSWER_MS_MAX * CLOCK_MS);
}

void
link_drain(Link *link)
{
	if (link->socket == -1)
		return;
	http2_drain(link->http2);
	if (http2_is_pinging(link->http2))
		watch_ping(link);
}

bool
link_ping(Link *link)
{
	if (link->socket == -1 || !http2_ping(link->http2))
		return false;
	watch_ping(link);
	return true;
}

int64_t
link_read_at_us(const Link *link)
{
	return link->read_at_us;
}
