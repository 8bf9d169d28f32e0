/*
 * frame_fuzz.c
 *		The header decoder and the frame reader: a stream cut at any places gives the frames that
 *		it gives in one piece, and those are what a simple reading of proto/WIRE.md says.
 *
 * The first byte of an input chooses where the stream, the rest, is cut (pieces.h).
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "front/reader.h"
#include "pieces.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What should come next of the stream. */
typedef struct Expected
{
	const uint8_t *data;
	size_t size;
} Expected;

/* A header that was accepted is written as it was read. */
static void
check_header(const uint8_t *bytes, const FrameHeader *header)
{
	uint8_t again[FRAME_HEADER_SIZE];

	frame_encode(header, again);
	assert(memcmp(bytes, again, sizeof(again)) == 0);
}

static void
check_frame(Expected *expected, const ReaderFrame *frame)
{
	FrameHeader header;

	assert(expected->size >= FRAME_HEADER_SIZE);
	assert(frame_decode(expected->data, &header) == FRAME_OK);
	assert(header.type == FRAME_REQUEST);
	check_header(expected->data, &header);
	expected->data += FRAME_HEADER_SIZE;
	expected->size -= FRAME_HEADER_SIZE;
	assert(frame->header.correlation_id == header.correlation_id);
	assert(frame->header.service == header.service && frame->header.method == header.method);
	assert(frame->header.payload_length == header.payload_length);
	assert(expected->size >= header.payload_length);
	assert(memcmp(expected->data, frame->payload, header.payload_length) == 0);
	expected->data += header.payload_length;
	expected->size -= header.payload_length;
}

/* The reader says that the stream goes wrong here. */
static void
check_broken(const Expected *expected, const ReaderFrame *frame)
{
	FrameHeader header;
	FrameError error;

	assert(expected->size >= FRAME_HEADER_SIZE);
	error = frame_decode(expected->data, &header);
	if (error == FRAME_OK)
	{
		check_header(expected->data, &header);
		assert(header.type != FRAME_REQUEST);
		error = FRAME_ERROR_DECODE;
	}
	assert(frame->error == error);
	assert(frame->header.correlation_id == header.correlation_id);
}

/* The reader says that the stream ends within a frame, or between two. */
static void
check_rest(const Expected *expected, const Reader *reader)
{
	FrameHeader header;

	assert(reader_is_empty(reader) == (expected->size == 0));
	if (expected->size < FRAME_HEADER_SIZE)
		return;
	assert(frame_decode(expected->data, &header) == FRAME_OK);
	assert(header.type == FRAME_REQUEST);
	assert(expected->size - FRAME_HEADER_SIZE < header.payload_length);
}

/* Gives the reader one piece; false when it is broken. */
static bool
feed(Reader *reader, const uint8_t *data, size_t size, Expected *expected)
{
	ReaderResult result;
	ReaderFrame frame;

	while ((result = reader_next(reader, &data, &size, &frame)) == READER_HAS_FRAME)
		check_frame(expected, &frame);
	if (result == READER_IS_BROKEN)
		check_broken(expected, &frame);
	else
		assert(size == 0);
	return result != READER_IS_BROKEN;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Expected expected;
	Pieces pieces;
	size_t piece_size;
	uint8_t *piece;
	bool is_good = true;
	Reader reader;

	if (size == 0)
		return 0;
	expected = (Expected){.data = data + 1, .size = size - 1};
	pieces = pieces_of(data + 1, size - 1, data[0]);
	reader_init(&reader);
	while (is_good && (piece = pieces_next(&pieces, &piece_size)) != NULL)
	{
		is_good = feed(&reader, piece, piece_size, &expected);
		free(piece);
	}
	if (is_good)
		check_rest(&expected, &reader);
	reader_free(&reader);
	return 0;
}
