/*
 * output.c
 *		Answers that wait to be written to a connection.
 *
 * DESIGN	An evbuffer: small answers share a chunk, a large one gets its own, and each is copied
 *			once.
 */
#include "front/output.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/bounds.h"
#include "base/fault_point.h"
#include "base/log.h"

static _Noreturn void
give_up(void)
{
	log_event(LOG_ERROR, "out of memory for an answer");
	abort();
}

void
output_init(Output *output)
{
	output->buffer = evbuffer_new();
	if (output->buffer == NULL)
		give_up();
}

void
output_free(Output *output)
{
	evbuffer_free(output->buffer);
	output->buffer = NULL;
}

size_t
output_size(const Output *output)
{
	return evbuffer_get_length(output->buffer);
}

void
output_append(Output *output, const void *data, size_t size)
{
	if (size > 0 && evbuffer_add(output->buffer, data, size) < 0)
		give_up();
}

void
output_clear(Output *output)
{
	evbuffer_drain(output->buffer, output_size(output));
}

ssize_t
output_write(Output *output, int descriptor)
{
	struct evbuffer_iovec chunks[WRITE_CHUNKS_MAX];
	int count = evbuffer_peek(output->buffer, -1, NULL, chunks, WRITE_CHUNKS_MAX);
	struct msghdr message = {.msg_iov = chunks};
	ssize_t written;

	assert(count > 0);
	message.msg_iovlen = (size_t) (count < WRITE_CHUNKS_MAX ? count : WRITE_CHUNKS_MAX);
	written = sendmsg(descriptor, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (written < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	fault_point("sent", "client");
	evbuffer_drain(output->buffer, (size_t) written);
	return written;
}
