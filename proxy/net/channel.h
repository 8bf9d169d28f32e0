/*
 * channel.h
 *		Unary gRPC calls to a service that has several endpoints: names to addresses, a connection
 *		to each, round robin over those that are ready, reconnection with back-off.
 *
 * One call is one attempt: retries and limits over several attempts are the caller's (account.c).
 */
#ifndef CHANNEL_H
#define CHANNEL_H

#include "base/bounds.h"
#include "net/dns.h"
#include "net/endpoint.h"
#include "net/grpc.h"
#include "net/loop.h"

typedef struct Channel Channel;
typedef struct ChannelCall ChannelCall;

typedef struct ChannelOptions
{
	const char *endpoints; /* "host:port, host:port"; every address of a host is an endpoint */
	const char *authority; /* :authority; NULL: host:port of the endpoint */
	EndpointPolicy policy; /* {0} for connections without TLS, with PINGs before late calls only */
} ChannelOptions;

typedef struct ChannelResult
{
	GrpcStatus status;
	const char *text;     /* the status in words, never NULL; valid during the callback */
	const uint8_t *reply; /* with GRPC_OK the message, valid during the callback */
	size_t reply_size;
	bool is_unprocessed;  /* certainly no server has acted on the call (never sent, REFUSED_STREAM,
						  * behind a GOAWAY's last stream) */
	bool is_lost;         /* its connection was lost: says something of one endpoint only */
	bool is_refused_here; /* because CHANNEL_WAITING_MAX calls wait: no word about the service */
	int endpoint;         /* which it went to, for ChannelRequest.avoid; -1: none */
} ChannelResult;

typedef void (*ChannelCallback)(void *context, const ChannelResult *result);

typedef struct ChannelRequest
{
	const char *path; /* "/package.Service/Method"; the caller's, until the call has ended */
	const uint8_t *message;
	size_t size;
	const char *correlation_id; /* sent as x-correlation-id; NULL for none; like |path| */
	int64_t timeout_us;         /* > 0; GRPC_DEADLINE_EXCEEDED after it, the stream is cancelled */
	int avoid;                  /* an endpoint not to use when another is ready; -1: any */
} ChannelRequest;

/* Begins to connect; NULL and a line in the log when the endpoints cannot be understood. */
extern Channel *channel_new(Loop *loop, Dns *dns, const ChannelOptions *options);

/*
 * Ends all calls (GRPC_CANCELLED), whose callbacks come from within this and may not make new ones,
 * and closes all connections. Not from within a callback.
 */
extern void channel_free(Channel *channel);

/*
 * Makes a call. The message is copied. The callback comes exactly once, later, not from within this
 * call. While no endpoint is ready but one is being connected to for the first time, the call waits
 * within its timeout; while all have failed, it ends at once with GRPC_UNAVAILABLE, unprocessed.
 */
extern ChannelCall *channel_call(Channel *channel, const ChannelRequest *request,
								 ChannelCallback callback, void *context);

/* Gives up a call that has not called back: its stream is reset (CANCEL), no callback comes. */
extern void channel_cancel(ChannelCall *call);

/* The endpoint that a call is under way to; -1: it waits for one, or has ended. */
extern int channel_call_endpoint(const ChannelCall *call);

/* Whether a call that avoids this endpoint would go to another one, and at once. */
extern bool channel_has_other(const Channel *channel, int avoid);

/* Endpoints that calls can go to now, and all that are known. */
extern int channel_ready_count(const Channel *channel);
extern int channel_endpoint_count(const Channel *channel);

#endif /* CHANNEL_H */
