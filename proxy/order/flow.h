/*
 * flow.h
 *		What a request does: the only place that moves an order through its two phases (receive,
 *		reserve, settle). Gets a request and a completion callback, never a connection.
 */
#ifndef FLOW_H
#define FLOW_H

#include <stddef.h>

#include "base/config.h"
#include "net/loop.h"
#include "order/account.h"
#include "order/store.h"

typedef struct Flow Flow;

/* Who asks: what a connection has logged in as. One per client connection. */
typedef struct Session Session;

/* The answer to a request: the payload of its RESP frame. Valid during the callback. */
typedef struct FlowAnswer
{
	int code;      /* business code, for counters and logs */
	bool is_error; /* the payload is an ErrorMessage, the frame bears the ERROR flag */
	const uint8_t *payload;
	size_t size; /* at most FRAME_PAYLOAD_MAX */
} FlowAnswer;

typedef void (*FlowCallback)(void *context, const FlowAnswer *answer);

typedef struct FlowRequest
{
	Session *session; /* may be closed before the answer */
	uint16_t service;
	uint16_t method;
	uint64_t correlation_id;
	const uint8_t *payload; /* valid during the call only */
	size_t size;
} FlowRequest;

/* Store and account must outlive it. */
extern Flow *flow_new(Loop *loop, Store *store, Account *account, const Config *config);

/* No request may be under way. */
extern void flow_free(Flow *flow);

/* A new connection, without a session; end it with flow_session_close(). */
extern Session *flow_session_open(Flow *flow);

/* The connection is gone. Requests that run on go on to their end. */
extern void flow_session_close(Session *session);

/* Takes a request. The callback comes exactly once, perhaps from within this call. */
extern void flow_submit(Flow *flow, const FlowRequest *request, FlowCallback callback,
						void *context);

#define FLOW_REFUSAL_SIZE 256

/*
 * The answer to a request that is refused before it is looked at (limits, shutdown). |buffer| is
 * the caller's memory for the payload.
 */
extern FlowAnswer flow_refusal(Reason reason, uint8_t buffer[FLOW_REFUSAL_SIZE]);

/* Requests, and orders still to be settled, under way. */
extern int flow_pending_count(const Flow *flow);

#endif /* FLOW_H */
