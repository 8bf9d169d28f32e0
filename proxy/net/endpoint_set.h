/*
 * endpoint_set.h
 *		All endpoints of a gRPC service: the names it goes by, the addresses behind them as they
 *		change, and whose turn it is.
 */
#ifndef ENDPOINT_SET_H
#define ENDPOINT_SET_H

#include "net/dns.h"
#include "net/endpoint.h"
#include "net/loop.h"

typedef struct EndpointSet EndpointSet;

/*
 * |names| is "host:port, host:port". |on_change| comes when a choice may have another result:
 * often, from within others' handlers, not from within this. NULL and a line in the log when the
 * names cannot be understood or are too many (ENDPOINTS_MAX).
 */
extern EndpointSet *endpoint_set_new(Loop *loop, Dns *dns, const char *names,
									 const EndpointPolicy *policy, void (*on_change)(void *context),
									 void *context);

/* Closes all connections; their streams end (HTTP2_LOST). Not from within a handler of Http2. */
extern void endpoint_set_free(EndpointSet *set);

/*
 * The number of the endpoint whose turn it is among those that can take a request now, or -1. It is
 * one that is doubted (endpoint.h), or |avoid|, only when there is no other: |avoid| rather than a
 * doubted one. A number is small, and stays with its address.
 */
extern int endpoint_set_choose(EndpointSet *set, int avoid);

/* Whether an endpoint other than |avoid| can take a request now and is not doubted. */
extern bool endpoint_set_has_other(const EndpointSet *set, int avoid);

/* Of a number chosen in this turn: the endpoint, and the name it is behind ("host:port"). */
extern Endpoint *endpoint_set_endpoint(EndpointSet *set, int number);
extern const char *endpoint_set_name(const EndpointSet *set, int number);

/* Whether an endpoint may become ready, or get room, without having failed. */
extern bool endpoint_set_is_hopeful(const EndpointSet *set);

/* Frees endpoints that are gone: not from within a handler of Http2. */
extern void endpoint_set_sweep(EndpointSet *set);

/* Endpoints that are ready, and all of them. */
extern int endpoint_set_ready_count(const EndpointSet *set);
extern int endpoint_set_count(const EndpointSet *set);

#endif /* ENDPOINT_SET_H */
