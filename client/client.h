/*
 * client.h
 *		A connection to order-proxy (proto/WIRE.md): many requests at once, answers in any order.
 *
 * DESIGN	What is sent during a turn of the loop goes out with one write at its end. An answer
 *			finds its request by its correlation id, without a search (pending.h).
 *
 * LIMITS	Requests in flight (client_new()) and bytes not yet written (CLIENT_OUTPUT_BYTES_MAX):
 *			at either, client_send() says no.
 *
 * FAILURE	When the connection is lost, or was never made, every request ends with that, then the
 *			owner is told, who may connect again.
 */
#ifndef CLIENT_H
#define CLIENT_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client.pb-c.h"
#include "frame.h"
#include "net/dns.h"
#include "net/loop.h"

typedef struct Client Client;

typedef enum ClientOutcome
{
	CLIENT_ANSWERED, /* |payload| is the answer of the method */
	CLIENT_REFUSED,  /* |error| says why; nothing was recorded */
	CLIENT_UNSENT,   /* connection lost before a byte of the request was written */
	CLIENT_LOST,     /* connection lost afterwards: nobody knows whether it was carried out */
} ClientOutcome;

/* How a request ended. Valid during the callback. */
typedef struct ClientAnswer
{
	ClientOutcome outcome;
	const uint8_t *payload;                      /* ANSWERED */
	size_t size;                                 /* ANSWERED */
	const OrderService__V1__ErrorMessage *error; /* REFUSED */
	const char *reason; /* UNSENT, LOST: a sentence without its full stop */
} ClientAnswer;

typedef void (*ClientCallback)(void *context, const ClientAnswer *answer);

/* Who is told of the connection. Neither comes from within a call of the owner's. */
typedef struct ClientOwner
{
	void *context;
	void (*connected)(void *context);

	/* It is gone, or could not be made: |reason| as above. All requests have ended. */
	void (*lost)(void *context, const char *reason);
} ClientOwner;

/*
 * A client of |server|, "host:port", which must be one that address_split() takes. Not connected.
 * |in_flight_max| is within 1 to CONNECTION_IN_FLIGHT_MAX. |dns| must outlive it.
 */
extern Client *client_new(Loop *loop, Dns *dns, const char *server, int in_flight_max,
						  const ClientOwner *owner);

/* Closes without telling anybody. Not from within a callback of this client. */
extern void client_free(Client *client);

/* Looks the name up and tries its addresses in turn, |timeout_us| in all. Not while connected. */
extern void client_connect(Client *client, int64_t timeout_us);

/* Whether requests can be sent. */
extern bool client_is_connected(const Client *client);

/* The address that is connected or was tried last, as numbers; "" before. */
extern const char *client_peer(const Client *client);

/*
 * Sends a request. |payload| is copied; it has at most FRAME_PAYLOAD_MAX bytes. The callback comes
 * exactly once, later, unless the client is freed before. False, and no callback, when there is no
 * connection or a limit is reached.
 */
extern bool client_send(Client *client, uint16_t service, uint16_t method, const uint8_t *payload,
						size_t size, ClientCallback callback, void *context);

/* Sends a message; else like client_send(). */
extern bool client_send_message(Client *client, uint16_t service, uint16_t method,
								const ProtobufCMessage *message, ClientCallback callback,
								void *context);

/*
 * Unpacks the payload of an answer, valid during the callback. NULL when it is not such a message.
 */
extern const void *client_unpack(const ClientAnswer *answer,
								 const ProtobufCMessageDescriptor *descriptor);

/* Requests that are not answered. */
extern int client_in_flight_count(const Client *client);

#endif /* CLIENT_H */
