/*
 * endpoint.h
 *		One address of a gRPC service: its connection, and how it is made again.
 */
#ifndef ENDPOINT_H
#define ENDPOINT_H

#include "net/dns.h"
#include "net/http2.h"
#include "net/loop.h"
#include "net/tls.h"

typedef struct Endpoint Endpoint;

typedef enum EndpointState
{
	ENDPOINT_CONNECTING, /* for the first time, or the first time after a connection was lost */
	ENDPOINT_READY,
	ENDPOINT_FAILED, /* could not be connected to; that is tried again and again */
} EndpointState;

/* The handlers are not called from within endpoint_new() and endpoint_free(). */
typedef struct EndpointHandler
{
	/* The state changed, or another call may be possible now. Called often. */
	void (*on_change)(void *context);
	/* The address failed, or the server asked to leave: there may be others by now. */
	void (*on_trouble)(void *context, int number);
} EndpointHandler;

/* How connections to a service are made and kept: the same for all endpoints of it. */
typedef struct EndpointPolicy
{
	Tls *tls;             /* NULL: without TLS; must outlive them */
	int64_t ping_idle_us; /* after so long a silence a PING goes before a call; 0: the default */
	bool pings_always;    /* also without a call */
} EndpointPolicy;

typedef struct EndpointOptions
{
	DnsAddress address;
	int number; /* for its owner */
	EndpointPolicy policy;
	const char *host; /* the name that led to the address: what a certificate must name */
	const EndpointHandler *handler;
	void *context;
} EndpointOptions;

/* Begins to connect. |host| must outlive it. */
extern Endpoint *endpoint_new(Loop *loop, const EndpointOptions *options);

/* Closes all connections; their streams end (HTTP2_LOST). Not from within a handler of Http2. */
extern void endpoint_free(Endpoint *endpoint);

/* FAILED, too, when it is retired. */
extern EndpointState endpoint_state(const Endpoint *endpoint);

/* "127.0.0.1:9000". */
extern const char *endpoint_name(const Endpoint *endpoint);

/* Whether a request can be made now: ready, and with room for one more stream. */
extern bool endpoint_can_request(const Endpoint *endpoint);

/* As http2_request(), after a PING if the connection was silent for long. */
extern Http2Stream *endpoint_request(Endpoint *endpoint, const Http2Header *headers,
									 int header_count, uint8_t *body, size_t size,
									 const Http2StreamHandler *handler, void *context);

/*
 * A request that was made at |begun_us| was not answered in time. If nothing has come from the
 * server since, it is doubted: for ENDPOINT_DOUBT_MS, or until something comes.
 */
extern void endpoint_doubt(Endpoint *endpoint, int64_t begun_us);

/* Whether others should be asked first. */
extern bool endpoint_is_doubted(const Endpoint *endpoint);

/* The address is no longer one of the service: nothing new; what runs is finished. */
extern void endpoint_retire(Endpoint *endpoint);

/* Whether endpoint_retire() was called. */
extern bool endpoint_is_retired(const Endpoint *endpoint);

/* Whether a retired endpoint has finished, and can be freed. */
extern bool endpoint_is_gone(const Endpoint *endpoint);

#endif /* ENDPOINT_H */
