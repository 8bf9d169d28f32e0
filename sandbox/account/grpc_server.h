/*
 * grpc_server.h
 *		A gRPC server for unary calls, over proxy/net/http2.
 */
#ifndef GRPC_SERVER_H
#define GRPC_SERVER_H

#include "net/grpc.h"
#include "net/loop.h"

typedef struct GrpcServer GrpcServer;
typedef struct GrpcCall GrpcCall;

/*
 * A call has come in whole. |path| and |message| are valid until the call is ended. The handler
 * ends the call by exactly one of the functions below, at once or later; a call whose client went
 * away or cancelled is still ended so (then nothing is sent).
 */
typedef void (*GrpcHandler)(void *context, GrpcCall *call, const char *path, const uint8_t *message,
							size_t size);

/* Listens on "host:port" (port 0: any free one); NULL and a line in the log when it cannot. */
extern GrpcServer *grpc_server_new(Loop *loop, const char *address, GrpcHandler handler,
								   void *context);

/* The port it listens on. */
extern int grpc_server_port(const GrpcServer *server);

/* GOAWAY to all clients; they finish their calls. No new connection is accepted. */
extern void grpc_server_drain(GrpcServer *server);

/* Closes everything, not from within a handler. Calls not ended stay valid until they are ended. */
extern void grpc_server_free(GrpcServer *server);

/* A request header of the call, or NULL. */
extern const char *grpc_call_header(const GrpcCall *call, const char *name);

/* Microseconds of grpc-timeout that the client gave, or -1. */
extern int64_t grpc_call_timeout_us(const GrpcCall *call);

/* Answers with GRPC_OK and a message, which is copied. */
extern void grpc_call_reply(GrpcCall *call, const uint8_t *message, size_t size);

/* Answers with an error, as trailers only. */
extern void grpc_call_fail(GrpcCall *call, GrpcStatus status, const char *text);

/* Resets the stream with an HTTP/2 error code. */
extern void grpc_call_reset(GrpcCall *call, uint32_t error_code);

/* Never answers: the stream stays open until the client gives up. */
extern void grpc_call_hang(GrpcCall *call);

/* Closes the whole connection of the call without a word. */
extern void grpc_call_drop(GrpcCall *call);

#endif /* GRPC_SERVER_H */
