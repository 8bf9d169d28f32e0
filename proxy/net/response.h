/*
 * response.h
 *		The response to one unary gRPC call, from the pieces in which HTTP/2 brings it to a status
 *		and a message (PROTOCOL-HTTP2.md of gRPC). Pure.
 */
#ifndef RESPONSE_H
#define RESPONSE_H

#include "net/grpc_reader.h"
#include "net/http2_stream.h"

/* {0} is one of which nothing has come. */
typedef struct Response
{
	int http_status;   /* of the block of headers that came last with one; 0: none */
	bool is_grpc;      /* by its content type */
	bool is_begun;     /* its headers have come; what follows are trailers */
	bool has_status;   /* grpc-status came */
	bool is_decided;   /* |status| and |text| are the result, whatever still comes */
	bool is_too_large; /* decided for a limit: GRPC_MESSAGE_BYTES_MAX or GRPC_HEADER_BYTES_MAX */
	GrpcStatus status; /* GRPC_OK: |reader.message| is the reply */
	GrpcReader reader;
	char text[GRPC_STATUS_TEXT_SIZE]; /* grpc-message, or what is wrong; "" for nothing */
} Response;

/* Frees the message. */
extern void response_free(Response *response);

/* A header or trailer, the end of a block of them, a piece of the body. */
extern void response_header(Response *response, const char *name, const char *value,
							size_t value_size);
extern void response_headers_end(Response *response);
extern void response_data(Response *response, const uint8_t *data, size_t size);

/* The end of the stream: the response is decided after it. */
extern void response_end(Response *response, const Http2End *end);

/* Decides it for a reason of our own, unless it is decided. |text| is copied. */
extern void response_decide(Response *response, GrpcStatus status, const char *text);

#endif /* RESPONSE_H */
