/*
 * listener.h
 *		The port of the proxy: accepts clients and keeps account of them.
 *
 * The order of an end is listener_drain(), wait until listener_pending_count() is 0 or the grace is
 * over, listener_free(), flow_free().
 */
#ifndef LISTENER_H
#define LISTENER_H

#include <stdbool.h>

#include "base/config.h"
#include "net/loop.h"
#include "order/flow.h"

typedef struct Listener Listener;

/*
 * Listens at |config->listen_address|; clients are accepted from the next turn on. Takes from
 * |config| what is under [listen]; it and |flow| must outlive the listener. NULL, with a line in
 * the log, when it cannot listen. Registers the metrics of clients and requests: once a process.
 */
extern Listener *listener_new(Loop *loop, Flow *flow, const Config *config);

/* Closes every connection without a word; answers that are still owed are dropped. Requests may be
 * under way only if the loop never runs again. */
extern void listener_free(Listener *listener);

/* Where it listens, as numbers: `127.0.0.1:7000` or `[::1]:7000`, the real port also when the
 * configuration said 0. Lives as long as the listener. */
extern const char *listener_address(const Listener *listener);

/*
 * Begins the end: the port is closed, new requests are refused with REASON_SHUTTING_DOWN, and each
 * connection is closed as soon as it is owed nothing and no request is half read. Harmless when
 * called again.
 */
extern void listener_drain(Listener *listener);

/* Whether listener_drain() was called. */
extern bool listener_is_draining(const Listener *listener);

/* What is still owed: requests not answered, and connections whose answers are not yet written. */
extern int listener_pending_count(const Listener *listener);

/* Open connections. */
extern int listener_connection_count(const Listener *listener);

/* Requests read and not answered, of all connections, also of those that are gone. */
extern int listener_in_flight_count(const Listener *listener);

#endif /* LISTENER_H */
