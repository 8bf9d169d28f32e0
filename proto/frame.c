/*
 * frame.c
 *		The 24-byte header of the client protocol.
 *
 * DESIGN	Byte by byte, little-endian, so that neither alignment nor the machine's byte order
 *			matters. A header is checked before anything is allocated for its payload.
 */
#include "frame.h"

#include <assert.h>
#include <stdbool.h>

/* Where the fields begin. */
enum
{
	AT_VERSION = 0,
	AT_TYPE = 1,
	AT_SERVICE = 2,
	AT_METHOD = 4,
	AT_FLAGS = 6,
	AT_CORRELATION_ID = 8,
	AT_SEQUENCE = 16,
	AT_PAYLOAD_LENGTH = 20,
};

static_assert(AT_PAYLOAD_LENGTH + sizeof(uint32_t) == FRAME_HEADER_SIZE,
			  "the fields fill the header");

static void
put(uint8_t *bytes, uint64_t value, int size)
{
	for (int i = 0; i < size; i++)
		bytes[i] = (uint8_t) (value >> (8 * i));
}

static uint64_t
get(const uint8_t *bytes, int size)
{
	uint64_t value = 0;

	for (int i = 0; i < size; i++)
		value |= (uint64_t) bytes[i] << (8 * i);
	return value;
}

static FrameError
check(const FrameHeader *header)
{
	bool is_numbered = header->type == FRAME_EVENT || header->type == FRAME_STREAM;

	if (header->payload_length > FRAME_PAYLOAD_MAX)
		return FRAME_ERROR_LENGTH;
	if (header->type < FRAME_REQUEST || header->type > FRAME_EVENT)
		return FRAME_ERROR_DECODE;
	if ((header->flags & ~FRAME_FLAG_ERROR) != 0)
		return FRAME_ERROR_DECODE;
	/* A request cannot be an error. */
	if (header->type == FRAME_REQUEST && header->flags != 0)
		return FRAME_ERROR_DECODE;
	if (!is_numbered && header->sequence != 0)
		return FRAME_ERROR_DECODE;
	return FRAME_OK;
}

void
frame_encode(const FrameHeader *header, uint8_t bytes[FRAME_HEADER_SIZE])
{
	assert(check(header) == FRAME_OK);
	put(bytes + AT_VERSION, FRAME_VERSION, 1);
	put(bytes + AT_TYPE, header->type, 1);
	put(bytes + AT_SERVICE, header->service, 2);
	put(bytes + AT_METHOD, header->method, 2);
	put(bytes + AT_FLAGS, header->flags, 2);
	put(bytes + AT_CORRELATION_ID, header->correlation_id, 8);
	put(bytes + AT_SEQUENCE, header->sequence, 4);
	put(bytes + AT_PAYLOAD_LENGTH, header->payload_length, 4);
}

FrameError
frame_decode(const uint8_t bytes[FRAME_HEADER_SIZE], FrameHeader *header)
{
	header->type = (uint8_t) get(bytes + AT_TYPE, 1);
	header->service = (uint16_t) get(bytes + AT_SERVICE, 2);
	header->method = (uint16_t) get(bytes + AT_METHOD, 2);
	header->flags = (uint16_t) get(bytes + AT_FLAGS, 2);
	header->correlation_id = get(bytes + AT_CORRELATION_ID, 8);
	header->sequence = (uint32_t) get(bytes + AT_SEQUENCE, 4);
	header->payload_length = (uint32_t) get(bytes + AT_PAYLOAD_LENGTH, 4);
	if (bytes[AT_VERSION] != FRAME_VERSION)
		return FRAME_ERROR_VERSION;
	return check(header);
}
