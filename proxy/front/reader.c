/*
 * reader.c
 *		Cuts what a client sends into request frames.
 *
 * LIMITS	Keeps at most one payload, so at most FRAME_PAYLOAD_MAX bytes. A client that only claims
 *			a large payload costs address space, not memory: the pages come with the bytes.
 */
#include "front/reader.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

void
reader_init(Reader *reader)
{
	*reader = (Reader){.payload = NULL};
}

void
reader_free(Reader *reader)
{
	free(reader->payload);
	reader_init(reader);
}

bool
reader_is_empty(const Reader *reader)
{
	return reader->header_received == 0 || reader->is_given;
}

/* Moves up to |wanted| bytes from the input to |to|; returns how many. */
static uint32_t
take(const uint8_t **data, size_t *size, uint8_t *to, uint32_t wanted)
{
	uint32_t taken = *size < wanted ? (uint32_t) *size : wanted;

	if (taken > 0)
		memcpy(to, *data, taken);
	*data += taken;
	*size -= taken;
	return taken;
}

static FrameError
decode_request(Reader *reader)
{
	FrameError error = frame_decode(reader->header_bytes, &reader->header);

	if (error == FRAME_OK && reader->header.type != FRAME_REQUEST)
		error = FRAME_ERROR_DECODE;
	return error;
}

ReaderResult
reader_next(Reader *reader, const uint8_t **data, size_t *size, ReaderFrame *frame)
{
	uint32_t missing;

	assert(!reader->is_broken);
	if (reader->is_given)
		reader_free(reader);
	if (reader->header_received < FRAME_HEADER_SIZE)
	{
		reader->header_received += take(data, size, reader->header_bytes + reader->header_received,
										FRAME_HEADER_SIZE - reader->header_received);
		if (reader->header_received < FRAME_HEADER_SIZE)
			return READER_NEEDS_MORE;
		*frame = (ReaderFrame){.error = decode_request(reader)};
		if (frame->error != FRAME_OK)
		{
			frame->header = reader->header;
			reader->is_broken = true;
			return READER_IS_BROKEN;
		}
	}
	missing = reader->header.payload_length - reader->payload_received;
	*frame = (ReaderFrame){.header = reader->header, .payload = *data};
	if (reader->payload == NULL && missing <= *size)
	{
		*data += missing;
		*size -= missing;
		reader->header_received = 0;
		return READER_HAS_FRAME;
	}
	if (reader->payload == NULL)
		reader->payload = bytes_new(reader->header.payload_length);
	reader->payload_received +=
		take(data, size, reader->payload + reader->payload_received, missing);
	if (reader->payload_received < reader->header.payload_length)
		return READER_NEEDS_MORE;
	frame->payload = reader->payload;
	reader->is_given = true;
	return READER_HAS_FRAME;
}
