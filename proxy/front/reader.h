/*
 * reader.h
 *		Cuts what a client sends into request frames, however it arrives.
 *
 * Pure: no socket. What is complete in the bytes given is used in place; only the rest of an
 * incomplete frame is kept, in memory of exactly its payload's size, allocated once its header was
 * read and found good.
 */
#ifndef READER_H
#define READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"

typedef struct Reader
{
	uint8_t header_bytes[FRAME_HEADER_SIZE];
	uint32_t header_received;  /* bytes of them; 0 between two frames */
	uint32_t payload_received; /* bytes of |payload| */
	FrameHeader header;        /* once all its bytes are there */
	uint8_t *payload;          /* of the incomplete frame, or of the one given out last */
	bool is_given;             /* the frame was given out, its memory goes with the next call */
	bool is_broken;
} Reader;

typedef enum ReaderResult
{
	READER_NEEDS_MORE, /* all bytes are used up */
	READER_HAS_FRAME,
	READER_IS_BROKEN, /* nothing that follows can be understood */
} ReaderResult;

/* A frame, or with READER_IS_BROKEN its header as far as it can be told, and what is wrong. */
typedef struct ReaderFrame
{
	FrameHeader header;
	FrameError error;
	const uint8_t *payload; /* header.payload_length bytes, valid until the next reader_next() */
} ReaderFrame;

/* A reader that keeps nothing. */
extern void reader_init(Reader *reader);

/* Frees what is kept. The reader can be used again. */
extern void reader_free(Reader *reader);

/*
 * Gives the next request out of |*size| bytes at |*data| and what is kept of earlier ones; moves
 * both behind what it used. Not to be called again after READER_IS_BROKEN. A frame that is good but
 * not a request is FRAME_ERROR_DECODE.
 */
extern ReaderResult reader_next(Reader *reader, const uint8_t **data, size_t *size,
								ReaderFrame *frame);

/* Whether nothing is kept: the last byte given was the last of a frame. */
extern bool reader_is_empty(const Reader *reader);

#endif /* READER_H */
