/*
 * channel.c
 *		Unary gRPC calls to a service that has several endpoints.
 *
 * DESIGN	A call is in exactly one list: WAITING for an endpoint, RUNNING on a stream, FINISHED
 *			and to be told. It ends wherever HTTP/2 or a timer ends it, but its callback comes from
 *			a task of the loop, so that the caller may do anything in it, and nothing of ours is on
 *			the stack.
 *
 *			Calls wait here and not inside nghttp2: they can still go to another endpoint, and one
 *			that was never sent is known to be.
 *
 * LIMITS	CHANNEL_WAITING_MAX calls wait, any more are refused.
 *
 * FAILURE	An endpoint that is lost takes its running calls with it (UNAVAILABLE); waiting calls go
 *			to the others.
 */
#include "net/channel.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "net/channel_metrics.h"
#include "net/endpoint_set.h"
#include "net/response.h"

#define USER_AGENT "grpc-c-order-proxy"
#define CONTENT_TYPE "application/grpc"

typedef enum CallState
{
	CALL_WAITING,
	CALL_RUNNING,
	CALL_FINISHED,
} CallState;

struct ChannelCall
{
	TAILQ_ENTRY(ChannelCall) link; /* of the list of its state */
	Channel *channel;
	CallState state;
	ChannelCallback callback;
	void *context;
	const char *path;           /* the caller's */
	const char *correlation_id; /* the caller's; NULL: none */
	uint8_t *body;              /* with its prefix; the stream's, once there is one */
	size_t body_size;
	int avoid;
	int64_t begun_us;
	int64_t deadline_us;
	int64_t sent_us; /* when it went to its endpoint */
	LoopEvent timer;
	Http2Stream *stream; /* while it is running */
	int endpoint;
	bool is_unprocessed;
	bool is_lost;
	bool is_refused_here;
	Response response;
};

typedef TAILQ_HEAD(CallList, ChannelCall) CallList;

struct Channel
{
	Loop *loop;
	char *authority; /* NULL: the name of the endpoint */
	const char *scheme;
	EndpointSet *endpoints;
	CallList lists[CALL_FINISHED + 1]; /* by state */
	int waiting_count;
	LoopTask dispatch;
	LoopTask deliver;
	bool is_delivering;
	bool is_closing;
};

/* Ends of calls -------------------------------------------------------------------------------- */

static void
set_state(ChannelCall *call, CallState state)
{
	Channel *channel = call->channel;

	channel->waiting_count += (state == CALL_WAITING) - (call->state == CALL_WAITING);
	TAILQ_REMOVE(&channel->lists[call->state], call, link);
	TAILQ_INSERT_TAIL(&channel->lists[state], call, link);
	call->state = state;
}

static void
free_call(ChannelCall *call)
{
	assert(call->stream == NULL);
	loop_event_remove(&call->timer);
	TAILQ_REMOVE(&call->channel->lists[call->state], call, link);
	call->channel->waiting_count -= call->state == CALL_WAITING;
	response_free(&call->response);
	free(call->body);
	free(call);
}

/* The response is decided: the caller hears of it at the end of the turn. */
static void
finish(ChannelCall *call, bool is_unprocessed)
{
	assert(call->response.is_decided);
	assert(call->stream == NULL);
	loop_event_remove(&call->timer);
	call->is_unprocessed = is_unprocessed;
	set_state(call, CALL_FINISHED);
	loop_defer(&call->channel->deliver);
}

/* Takes the stream from a running call. Whether nothing of it was sent. */
static bool
reset(ChannelCall *call)
{
	Http2Stream *stream = call->stream;
	bool is_unsent = stream == NULL || !http2_stream_is_sent(stream);

	call->stream = NULL;
	if (stream != NULL)
		http2_stream_reset(stream, HTTP2_CANCEL);
	return is_unsent;
}

/* Ends a call for a reason of ours. */
static void
stop(ChannelCall *call, GrpcStatus status, const char *text)
{
	response_decide(&call->response, status, text);
	finish(call, reset(call));
}

static void
on_timer(void *context, short what)
{
	ChannelCall *call = context;

	(void) what;
	if (call->state == CALL_RUNNING)
		endpoint_doubt(endpoint_set_endpoint(call->channel->endpoints, call->endpoint),
					   call->sent_us);
	stop(call, GRPC_DEADLINE_EXCEEDED,
		 call->state == CALL_WAITING ? "no endpoint was ready in time" : "no answer in time");
}

static void
tell(ChannelCall *call)
{
	const Response *response = &call->response;
	double seconds =
		(double) (loop_now_us(call->channel->loop) - call->begun_us) / (double) CLOCK_SECOND;
	ChannelResult result = {
		.status = response->status,
		.text = response->text[0] == '\0' ? grpc_status_name(response->status) : response->text,
		.is_unprocessed = call->is_unprocessed,
		.is_lost = call->is_lost,
		.is_refused_here = call->is_refused_here,
		.endpoint = call->endpoint,
	};

	if (response->status == GRPC_OK)
	{
		result.reply = response->reader.message.data;
		result.reply_size = response->reader.message.size;
	}
	metrics_count(&channel_metrics.attempts[response->status]);
	metrics_observe(&channel_metrics.attempt_seconds, seconds);
	if (call->is_unprocessed)
		metrics_count(&channel_metrics.unprocessed);
	if (response->is_too_large)
		metrics_count(&channel_metrics.too_large);
	call->callback(call->context, &result);
}

static void
deliver(void *context)
{
	Channel *channel = context;
	ChannelCall *call;

	assert(!channel->is_delivering);
	channel->is_delivering = true;
	while ((call = TAILQ_FIRST(&channel->lists[CALL_FINISHED])) != NULL)
	{
		tell(call);
		free_call(call);
	}
	channel->is_delivering = false;
}

/* What the server sends ------------------------------------------------------------------------ */

/* Some responses are decided before they end: nobody waits for the rest. */
static void
finish_early(ChannelCall *call)
{
	if (!call->response.is_decided)
		return;
	(void) reset(call);
	finish(call, false);
}

static void
on_header(void *context, const char *name, size_t name_size, const char *value, size_t value_size)
{
	ChannelCall *call = context;

	(void) name_size;
	response_header(&call->response, name, value, value_size);
}

static void
on_headers_end(void *context)
{
	ChannelCall *call = context;

	response_headers_end(&call->response);
	finish_early(call);
}

static void
on_data(void *context, const uint8_t *data, size_t size)
{
	ChannelCall *call = context;

	response_data(&call->response, data, size);
	finish_early(call);
}

static void
on_close(void *context, const Http2End *end)
{
	ChannelCall *call = context;

	call->stream = NULL;
	call->is_lost = end->cause == HTTP2_LOST;
	response_end(&call->response, end);
	finish(call, end->is_unprocessed);
}

static const Http2StreamHandler stream_handler = {
	.on_header = on_header,
	.on_headers_end = on_headers_end,
	.on_data = on_data,
	.on_close = on_close,
};

/* To an endpoint ------------------------------------------------------------------------------- */

static void
start(ChannelCall *call, int number)
{
	Channel *channel = call->channel;
	char timeout[GRPC_TIMEOUT_SIZE];
	Http2Header headers[] = {
		{.name = ":method", .value = "POST"},
		{.name = ":scheme", .value = channel->scheme},
		{.name = ":path", .value = call->path},
		{.name = ":authority", .value = channel->authority},
		{.name = "grpc-timeout", .value = timeout},
		{.name = "te", .value = "trailers"},
		{.name = "content-type", .value = CONTENT_TYPE},
		{.name = "user-agent", .value = USER_AGENT},
		{.name = "x-correlation-id", .value = call->correlation_id, .is_unique = true},
	};
	int count = sizeof(headers) / sizeof(headers[0]) - (call->correlation_id == NULL);
	uint8_t *body = call->body;

	if (channel->authority == NULL)
		headers[3].value = endpoint_set_name(channel->endpoints, number);
	grpc_format_timeout(call->deadline_us - loop_now_us(channel->loop), timeout);
	call->body = NULL;
	call->endpoint = number;
	call->sent_us = loop_now_us(channel->loop);
	set_state(call, CALL_RUNNING);
	call->stream = endpoint_request(endpoint_set_endpoint(channel->endpoints, number), headers,
									count, body, call->body_size, &stream_handler, call);
}

static void
dispatch(void *context)
{
	Channel *channel = context;
	CallList *waiting = &channel->lists[CALL_WAITING];
	int number;

	endpoint_set_sweep(channel->endpoints);
	while (!TAILQ_EMPTY(waiting) &&
		   (number = endpoint_set_choose(channel->endpoints, TAILQ_FIRST(waiting)->avoid)) != -1)
		start(TAILQ_FIRST(waiting), number);
	if (endpoint_set_is_hopeful(channel->endpoints))
		return;
	while (!TAILQ_EMPTY(waiting))
		stop(TAILQ_FIRST(waiting), GRPC_UNAVAILABLE, "no endpoint can be reached");
}

static void
on_change(void *context)
{
	Channel *channel = context;

	loop_defer(&channel->dispatch);
}

/* Calls ---------------------------------------------------------------------------------------- */

/* What a new call does first. */
static void
place(ChannelCall *call)
{
	Channel *channel = call->channel;
	bool is_first = TAILQ_FIRST(&channel->lists[CALL_WAITING]) == call;
	int number = is_first ? endpoint_set_choose(channel->endpoints, call->avoid) : -1;

	if (number != -1)
		start(call, number);
	else if (!endpoint_set_is_hopeful(channel->endpoints))
		stop(call, GRPC_UNAVAILABLE, "no endpoint can be reached");
	else if (channel->waiting_count > CHANNEL_WAITING_MAX)
	{
		metrics_count(&channel_metrics.waiting_refused);
		call->is_refused_here = true;
		stop(call, GRPC_UNAVAILABLE, "too many calls wait for an endpoint");
	}
}

ChannelCall *
channel_call(Channel *channel, const ChannelRequest *request, ChannelCallback callback,
			 void *context)
{
	ChannelCall *call = bytes_new_zeroed(1, sizeof(ChannelCall));

	assert(!channel->is_closing);
	assert(request->timeout_us > 0);
	call->channel = channel;
	call->callback = callback;
	call->context = context;
	call->path = request->path;
	call->correlation_id = request->correlation_id;
	call->body_size = GRPC_PREFIX_SIZE + request->size;
	call->body = bytes_new(call->body_size);
	grpc_write_prefix(call->body, request->size);
	if (request->size > 0)
		memcpy(call->body + GRPC_PREFIX_SIZE, request->message, request->size);
	call->avoid = request->avoid;
	call->endpoint = -1;
	call->begun_us = loop_now_us(channel->loop);
	call->deadline_us = call->begun_us + request->timeout_us;
	loop_event_init(&call->timer, channel->loop, -1, 0, on_timer, call);
	loop_event_add(&call->timer, request->timeout_us);

	metrics_count(&channel_metrics.attempts_started);
	call->state = CALL_WAITING;
	TAILQ_INSERT_TAIL(&channel->lists[CALL_WAITING], call, link);
	channel->waiting_count++;
	place(call);
	return call;
}

void
channel_cancel(ChannelCall *call)
{
	(void) reset(call);
	free_call(call);
}

int
channel_call_endpoint(const ChannelCall *call)
{
	return call->state == CALL_RUNNING ? call->endpoint : -1;
}

bool
channel_has_other(const Channel *channel, int avoid)
{
	return TAILQ_EMPTY(&channel->lists[CALL_WAITING]) &&
		   endpoint_set_has_other(channel->endpoints, avoid);
}

/* The channel ---------------------------------------------------------------------------------- */

Channel *
channel_new(Loop *loop, Dns *dns, const ChannelOptions *options)
{
	Channel *channel = bytes_new_zeroed(1, sizeof(Channel));

	channel_metrics_init();
	channel->loop = loop;
	for (int i = 0; i <= CALL_FINISHED; i++)
		TAILQ_INIT(&channel->lists[i]);
	loop_task_init(&channel->dispatch, loop, dispatch, channel);
	loop_task_init(&channel->deliver, loop, deliver, channel);
	if (options->authority != NULL)
		channel->authority = bytes_copy_text(options->authority);
	channel->scheme = options->policy.tls != NULL ? "https" : "http";
	channel->endpoints =
		endpoint_set_new(loop, dns, options->endpoints, &options->policy, on_change, channel);
	if (channel->endpoints == NULL)
	{
		channel_free(channel);
		return NULL;
	}
	return channel;
}

void
channel_free(Channel *channel)
{
	assert(!channel->is_delivering);
	channel->is_closing = true;
	for (int state = CALL_WAITING; state <= CALL_RUNNING; state++)
	{
		while (!TAILQ_EMPTY(&channel->lists[state]))
			stop(TAILQ_FIRST(&channel->lists[state]), GRPC_CANCELLED, "the channel is closed");
	}
	deliver(channel);
	if (channel->endpoints != NULL)
		endpoint_set_free(channel->endpoints);
	loop_task_cancel(&channel->dispatch);
	loop_task_cancel(&channel->deliver);
	free(channel->authority);
	free(channel);
}

int
channel_ready_count(const Channel *channel)
{
	return endpoint_set_ready_count(channel->endpoints);
}

int
channel_endpoint_count(const Channel *channel)
{
	return endpoint_set_count(channel->endpoints);
}
