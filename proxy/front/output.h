/*
 * output.h
 *		Answers that wait to be written to a connection.
 */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <event2/buffer.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A queue of bytes. Empty, it has no memory but its own. */
typedef struct Output
{
	struct evbuffer *buffer;
} Output;

/* An empty queue. */
extern void output_init(Output *output);

/* Frees all memory, and what waits with it. */
extern void output_free(Output *output);

/* Bytes that wait. */
extern size_t output_size(const Output *output);

/* Copies bytes to the end; |size| may be 0. */
extern void output_append(Output *output, const void *data, size_t size);

/* Drops all that waits. */
extern void output_clear(Output *output);

/*
 * Writes to a socket that does not block, in one system call. Returns how much it took, 0 when it
 * takes nothing now; -1 with errno when the connection is lost. Something must be waiting.
 */
extern ssize_t output_write(Output *output, int descriptor);

#endif /* OUTPUT_H */
