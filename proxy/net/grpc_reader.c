/*
 * grpc_reader.c
 *		One gRPC message, put together from the pieces in which it comes.
 *
 * LIMITS	GRPC_MESSAGE_BYTES_MAX, checked when the prefix has come. Memory grows with what
 *			arrives, not with what the prefix promises.
 */
#include "net/grpc_reader.h"

#include <assert.h>
#include <string.h>

#include "base/bounds.h"

void
grpc_reader_free(GrpcReader *reader)
{
	bytes_free(&reader->message);
	*reader = (GrpcReader){0};
}

bool
grpc_reader_is_empty(const GrpcReader *reader)
{
	return reader->prefix_size == 0;
}

bool
grpc_reader_is_whole(const GrpcReader *reader)
{
	return reader->prefix_size == GRPC_PREFIX_SIZE && reader->message.size == reader->message_size;
}

GrpcReadError
grpc_reader_add(GrpcReader *reader, const uint8_t *data, size_t size)
{
	size_t missing = GRPC_PREFIX_SIZE - reader->prefix_size;

	if (missing > 0)
	{
		uint32_t message_size;
		bool is_compressed;

		if (missing > size)
			missing = size;
		if (missing > 0)
			memcpy(reader->prefix + reader->prefix_size, data, missing);
		reader->prefix_size += missing;
		if (reader->prefix_size < GRPC_PREFIX_SIZE)
			return GRPC_READ_OK;
		if (!grpc_read_prefix(reader->prefix, &message_size, &is_compressed))
			return is_compressed ? GRPC_READ_COMPRESSED : GRPC_READ_PREFIX;
		if (message_size > GRPC_MESSAGE_BYTES_MAX)
			return GRPC_READ_TOO_LARGE;
		reader->message_size = message_size;
		data += missing;
		size -= missing;
	}

	assert(reader->message.size <= reader->message_size);
	if (size > reader->message_size - reader->message.size)
		return GRPC_READ_EXTRA;
	if (size > 0)
		bytes_append(&reader->message, data, size);
	return GRPC_READ_OK;
}

const char *
grpc_read_error_text(GrpcReadError error)
{
	switch (error)
	{
		case GRPC_READ_OK:
			return "no error";
		case GRPC_READ_COMPRESSED:
			return "message is compressed";
		case GRPC_READ_PREFIX:
			return "message has an invalid prefix";
		case GRPC_READ_TOO_LARGE:
			return "message is too large";
		case GRPC_READ_EXTRA:
			return "more than one message";
	}
	return "unknown error";
}
