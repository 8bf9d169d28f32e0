/*
 * grpc_reader.h
 *		One gRPC message, put together from the pieces in which it comes. Pure.
 */
#ifndef GRPC_READER_H
#define GRPC_READER_H

#include "base/bytes.h"
#include "net/grpc.h"

typedef enum GrpcReadError
{
	GRPC_READ_OK,
	GRPC_READ_COMPRESSED, /* by a method that was not agreed on */
	GRPC_READ_PREFIX,     /* a compressed flag that is neither 0 nor 1 */
	GRPC_READ_TOO_LARGE,  /* more than GRPC_MESSAGE_BYTES_MAX; nothing was allocated for it */
	GRPC_READ_EXTRA,      /* a second message where one is expected */
} GrpcReadError;

/* {0} is an empty one. */
typedef struct GrpcReader
{
	uint8_t prefix[GRPC_PREFIX_SIZE];
	size_t prefix_size;
	size_t message_size; /* by the prefix, when that is whole */
	Bytes message;
} GrpcReader;

/* Frees the message; the reader is empty again. */
extern void grpc_reader_free(GrpcReader *reader);

/* Takes the next piece. After an error nothing more is to be given. */
extern GrpcReadError grpc_reader_add(GrpcReader *reader, const uint8_t *data, size_t size);

/* Whether nothing has come, and whether the whole message has. */
extern bool grpc_reader_is_empty(const GrpcReader *reader);
extern bool grpc_reader_is_whole(const GrpcReader *reader);

/* "message too large" and so on. Static. */
extern const char *grpc_read_error_text(GrpcReadError error);

#endif /* GRPC_READER_H */
