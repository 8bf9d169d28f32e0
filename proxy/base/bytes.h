/*
 * bytes.h
 *		A growable buffer of bytes, with big-endian numbers for PostgreSQL's and gRPC's formats.
 *
 * Memory that cannot be had ends the process (xmalloc's habit): a proxy that cannot allocate a few
 * hundred bytes cannot serve either, and its successor can.
 */
#ifndef BYTES_H
#define BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Bytes
{
	uint8_t *data;
	size_t size;
	size_t capacity;
} Bytes;

/* An empty buffer without memory; {0} is one, too. */
extern void bytes_init(Bytes *bytes);

/* Frees the memory; the buffer is empty again. */
extern void bytes_free(Bytes *bytes);

/* Keeps the memory, forgets the content. */
extern void bytes_clear(Bytes *bytes);

/* Room for |size| more bytes at the end; the caller fills it and adds to |bytes->size|. */
extern uint8_t *bytes_reserve(Bytes *bytes, size_t size);

/* Copies |size| bytes to the end; |data| may be NULL when there are none. */
extern void bytes_append(Bytes *bytes, const void *data, size_t size);

/* Numbers at the end, the most significant byte first. */
extern void bytes_append_u8(Bytes *bytes, uint8_t value);
extern void bytes_append_u16(Bytes *bytes, uint16_t value);
extern void bytes_append_u32(Bytes *bytes, uint32_t value);
extern void bytes_append_u64(Bytes *bytes, uint64_t value);

/* Overwrites the four bytes at |offset|, which must be there. */
extern void bytes_set_u32(Bytes *bytes, size_t offset, uint32_t value);

/* Big-endian numbers at |data|; the caller knows that the bytes are there. */
extern uint16_t bytes_u16(const uint8_t *data);
extern uint32_t bytes_u32(const uint8_t *data);
extern uint64_t bytes_u64(const uint8_t *data);

/* malloc, calloc, realloc and strdup that end the process when there is no memory. */
extern void *bytes_new(size_t size);
extern void *bytes_new_zeroed(size_t count, size_t size);
extern void *bytes_resize(void *data, size_t size);
extern char *bytes_copy_text(const char *text);

#endif /* BYTES_H */
