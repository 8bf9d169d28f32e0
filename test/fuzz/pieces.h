/*
 * pieces.h
 *		A stream cut at the places that one byte of an input chooses, as a network cuts it.
 */
#ifndef PIECES_H
#define PIECES_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of the longest piece, where they are not all in one. */
#define PIECE_SIZE_MAX 64

typedef struct Pieces
{
	const uint8_t *data; /* what is left */
	size_t size;
	uint8_t choice;
	uint32_t random;
} Pieces;

/* The pieces of |size| bytes, which stay the caller's. */
static inline Pieces
pieces_of(const uint8_t *data, size_t size, uint8_t choice)
{
	return (Pieces){.data = data, .size = size, .choice = choice, .random = choice};
}

/* The next piece, NULL at the end. Memory of its own, to be freed: its bounds are watched. */
static inline uint8_t *
pieces_next(Pieces *pieces, size_t *size)
{
	uint8_t *piece;

	if (pieces->size == 0)
		return NULL;
	/* With 0 the stream comes in one piece, with 1 byte by byte. */
	pieces->random = pieces->random * 1103515245 + 12345;
	*size = 1 + (pieces->random >> 16) % PIECE_SIZE_MAX;
	if (pieces->choice == 1)
		*size = 1;
	if (pieces->choice == 0 || *size > pieces->size)
		*size = pieces->size;
	piece = malloc(*size);
	memcpy(piece, pieces->data, *size);
	pieces->data += *size;
	pieces->size -= *size;
	return piece;
}

#endif /* PIECES_H */
