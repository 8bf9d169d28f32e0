/*
 * grpc.h
 *		The parts of gRPC over HTTP/2 that are pure: status codes, the message prefix, grpc-timeout,
 *		percent encoding (PROTOCOL-HTTP2.md of gRPC).
 */
#ifndef GRPC_H
#define GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum GrpcStatus
{
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_NOT_FOUND = 5,
	GRPC_ALREADY_EXISTS = 6,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_ABORTED = 10,
	GRPC_OUT_OF_RANGE = 11,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
	GRPC_DATA_LOSS = 15,
	GRPC_UNAUTHENTICATED = 16,
} GrpcStatus;

#define GRPC_STATUS_COUNT 17

/* Compressed flag and length in front of every message. */
#define GRPC_PREFIX_SIZE 5

/* A text for grpc-message: what of a longer one does not fit is cut. */
#define GRPC_STATUS_TEXT_SIZE 256

/* 8 digits, unit, terminator. */
#define GRPC_TIMEOUT_SIZE 10

/* "UNAVAILABLE"; "UNKNOWN" for a number that is none. Static. */
extern const char *grpc_status_name(int status);

/* A grpc-status value: decimal digits, at most two; GRPC_UNKNOWN for anything else. */
extern GrpcStatus grpc_parse_status(const char *text, size_t size);

/* The status where a response has no grpc-status: from the HTTP status. */
extern GrpcStatus grpc_status_of_http(int http_status);

/* The same from the code of a RST_STREAM. */
extern GrpcStatus grpc_status_of_reset(uint32_t error_code);

/* Writes the prefix of a message that is not compressed; its size is below 4 GiB. */
extern void grpc_write_prefix(uint8_t prefix[GRPC_PREFIX_SIZE], size_t message_size);

/* The message's size behind a prefix; false when the compressed flag is not 0 (is_compressed set)
 * or neither 0 nor 1. */
extern bool grpc_read_prefix(const uint8_t prefix[GRPC_PREFIX_SIZE], uint32_t *size,
							 bool *is_compressed);

/* A grpc-timeout value, the finest unit that fits, rounded up; "0n" for none left. */
extern void grpc_format_timeout(int64_t timeout_us, char text[GRPC_TIMEOUT_SIZE]);

/* Microseconds of a grpc-timeout value, rounded up; -1 when it is none. */
extern int64_t grpc_parse_timeout(const char *text, size_t size);

/*
 * grpc-message: percent-decodes into |text|, terminated; a bad escape stays as it is. The encoder
 * escapes what is not printable ASCII, and '%'. Both cut at the size.
 */
extern void grpc_decode_message(const char *encoded, size_t encoded_size, char *text, size_t size);
extern void grpc_encode_message(const char *text, char *encoded, size_t size);

#endif /* GRPC_H */
