/*
 * unpack.c
 *		Answers of the proxy, from bytes to messages.
 *
 * LIMITS	A server cannot make a message grow beyond UNPACK_BYTES_MAX, whatever it sends: two
 *			bytes of an empty message in a list cost a hundred once they are unpacked.
 */
#include "unpack.h"

#include <stdalign.h>
#include <stdlib.h>

#include "base/bounds.h"

/* An OrderResponse needs about 300 bytes, an Order 200. */
#define ARENA_SIZE 4096

/* What did not fit into the arena. */
typedef struct UnpackBlock
{
	struct UnpackBlock *next;
	alignas(max_align_t) uint8_t bytes[];
} UnpackBlock;

static alignas(max_align_t) uint8_t arena[ARENA_SIZE];
static size_t arena_used;
static UnpackBlock *blocks;
static size_t blocks_size;

static void *
allocate(void *context, size_t size)
{
	size_t room = size + (0 - size) % alignof(max_align_t);
	UnpackBlock *block;

	(void) context;
	if (room <= ARENA_SIZE - arena_used)
	{
		arena_used += room;
		return arena + arena_used - room;
	}
	if (size > UNPACK_BYTES_MAX - blocks_size)
		return NULL;
	block = malloc(sizeof(UnpackBlock) + size);
	if (block == NULL)
		return NULL;
	block->next = blocks;
	blocks = block;
	blocks_size += size;
	return block->bytes;
}

/* All is freed at once, by unpack_forget(). */
static void
ignore(void *context, void *memory)
{
	(void) context;
	(void) memory;
}

static ProtobufCAllocator allocator = {.alloc = allocate, .free = ignore};

const ProtobufCMessage *
unpack_message(const ProtobufCMessageDescriptor *descriptor, const uint8_t *payload, size_t size)
{
	return protobuf_c_message_unpack(descriptor, &allocator, size, payload);
}

void
unpack_forget(void)
{
	while (blocks != NULL)
	{
		UnpackBlock *next = blocks->next;

		free(blocks);
		blocks = next;
	}
	blocks_size = 0;
	arena_used = 0;
}
