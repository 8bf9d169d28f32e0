/*
 * listener.c
 *		The port of the proxy.
 *
 * LIMITS	At connections_max further clients are accepted and closed at once, so that they learn
 *			it and can go elsewhere. ACCEPTS_PER_TURN_MAX clients are taken a turn.
 *
 * FAILURE	Without a free descriptor a waiting client cannot even be turned away, and the port
 *			stays readable: a loop would spin. A spare descriptor is given up to take it and close
 *			it, and the port then rests for ACCEPT_PAUSE_MS.
 */
#include "front/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bounds.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "front/client.h"
#include "front/port.h"
#include "front/traffic.h"

struct Listener
{
	Loop *loop;
	const Config *config;
	ClientGroup *clients;
	int descriptor;       /* -1 once it drains */
	int spare_descriptor; /* -1 when there was none left for it */
	LoopEvent readable;
	LoopEvent pause;
	int64_t logged_us;      /* when clients turned away were last told of ... */
	int64_t unlogged_count; /* ... and how many were since */
	char address[PORT_TEXT_SIZE];
};

/* One line a second at most: it is in a storm of connections that this is called. */
static void
turn_away(Listener *listener, TrafficTurnAway why, const char *event)
{
	int64_t now_us = loop_now_us(listener->loop);

	traffic_turn_away(why);
	listener->unlogged_count++;
	if (listener->logged_us != 0 && now_us - listener->logged_us < CLOCK_SECOND)
		return;
	log_event(LOG_WARNING, event, LOG_NUMBER("clients", listener->unlogged_count),
			  LOG_NUMBER("connections", client_group_figures(listener->clients).connections));
	listener->logged_us = now_us;
	listener->unlogged_count = 0;
}

/* Answers should not wait for each other, and a peer that vanished is to be noticed. */
static void
set_options(int descriptor)
{
	int on = 1;
	int idle = KEEPALIVE_IDLE_SECONDS;
	int interval = KEEPALIVE_INTERVAL_SECONDS;
	int count = KEEPALIVE_COUNT;

	setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

static void
take_client(Listener *listener, int descriptor, const struct sockaddr_storage *address,
			socklen_t size)
{
	char peer[PORT_TEXT_SIZE];

	if (client_group_figures(listener->clients).connections >= listener->config->connections_max)
	{
		close(descriptor);
		turn_away(listener, TRAFFIC_CONNECTIONS_MAX, "client refused: too many connections");
		return;
	}
	set_options(descriptor);
	port_format((const struct sockaddr *) address, size, peer);
	client_open(listener->clients, descriptor, peer);
}

static void
open_spare(Listener *listener)
{
	if (listener->spare_descriptor < 0)
		listener->spare_descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* No descriptor is left: turns clients away as far as the spare one goes, and rests. */
static void
rest(Listener *listener, int why)
{
	int turned_away = 0;

	while (listener->spare_descriptor >= 0 && turned_away < ACCEPTS_PER_TURN_MAX)
	{
		int descriptor;

		close(listener->spare_descriptor);
		listener->spare_descriptor = -1;
		descriptor = accept4(listener->descriptor, NULL, NULL, SOCK_CLOEXEC);
		if (descriptor >= 0)
			close(descriptor);
		open_spare(listener);
		if (descriptor < 0)
			break;
		turned_away++;
		turn_away(listener, TRAFFIC_NO_DESCRIPTOR, strerror(why));
	}
	loop_event_remove(&listener->readable);
	loop_event_add(&listener->pause, ACCEPT_PAUSE_MS * CLOCK_MS);
}

static void
on_pause_over(void *context, short what)
{
	Listener *listener = context;

	(void) what;
	open_spare(listener);
	loop_event_add(&listener->readable, LOOP_FOREVER);
}

static void
on_readable(void *context, short what)
{
	Listener *listener = context;

	(void) what;
	for (int i = 0; i < ACCEPTS_PER_TURN_MAX; i++)
	{
		struct sockaddr_storage address;
		socklen_t size = sizeof(address);
		int descriptor = accept4(listener->descriptor, (struct sockaddr *) &address, &size,
								 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (descriptor >= 0)
			take_client(listener, descriptor, &address, size);
		else if (errno == EAGAIN)
			return;
		else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
		{
			rest(listener, errno);
			return;
		}

		/* What else accept4() tells is of a connection that went before it was taken. */
	}
}

Listener *
listener_new(Loop *loop, Flow *flow, const Config *config)
{
	char address[PORT_TEXT_SIZE];
	int descriptor = port_open(config->listen_address, true, address);
	Listener *listener;

	if (descriptor < 0)
		return NULL;
	listener = bytes_new_zeroed(1, sizeof(*listener));
	listener->loop = loop;
	listener->config = config;
	listener->clients = client_group_new(loop, flow, config);
	listener->descriptor = descriptor;
	listener->spare_descriptor = -1;
	memcpy(listener->address, address, sizeof(address));
	open_spare(listener);
	loop_event_init(&listener->readable, loop, descriptor, EV_READ | EV_PERSIST, on_readable,
					listener);
	loop_event_init(&listener->pause, loop, -1, 0, on_pause_over, listener);
	loop_event_add(&listener->readable, LOOP_FOREVER);
	return listener;
}

static void
close_port(Listener *listener)
{
	if (listener->descriptor < 0)
		return;
	loop_event_remove(&listener->readable);
	loop_event_remove(&listener->pause);
	close(listener->descriptor);
	listener->descriptor = -1;
	if (listener->spare_descriptor >= 0)
		close(listener->spare_descriptor);
	listener->spare_descriptor = -1;
}

void
listener_free(Listener *listener)
{
	close_port(listener);
	client_group_free(listener->clients);
	free(listener);
}

const char *
listener_address(const Listener *listener)
{
	return listener->address;
}

void
listener_drain(Listener *listener)
{
	close_port(listener);
	client_group_drain(listener->clients);
}

bool
listener_is_draining(const Listener *listener)
{
	return client_group_figures(listener->clients).is_draining;
}

int
listener_pending_count(const Listener *listener)
{
	ClientFigures figures = client_group_figures(listener->clients);

	return figures.in_flight + figures.writing;
}

int
listener_connection_count(const Listener *listener)
{
	return client_group_figures(listener->clients).connections;
}

int
listener_in_flight_count(const Listener *listener)
{
	return client_group_figures(listener->clients).in_flight;
}
