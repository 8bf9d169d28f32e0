/*
 * request_fuzz.c
 *		The payload of a request as the proxy decodes it: whatever is accepted is within the limits,
 *		and is the same request when written and read again.
 *
 * Compiled once for each method, with SERVICE and METHOD.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bounds.h"
#include "order/message.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every text of the message is within its limit; one that has none has no more bytes than came. */
static void
check_texts(const ProtobufCMessage *message, size_t size)
{
	const ProtobufCMessageDescriptor *descriptor = message->descriptor;

	assert(strlen(message_session_id(message)) <= SESSION_ID_BYTES_MAX);
	for (unsigned i = 0; i < descriptor->n_fields; i++)
	{
		const ProtobufCFieldDescriptor *field = &descriptor->fields[i];

		if (field->type != PROTOBUF_C_TYPE_STRING)
			continue;
		assert(strlen(*(char *const *) ((const uint8_t *) message + field->offset)) <= size);
	}
}

/*
 * protobuf-c takes a field number 0 that is written with more bytes than it needs, and then writes
 * it in a way that it refuses. Nobody looks at unknown fields; their memory is the arena's.
 */
static void
forget_unknown_fields(const ProtobufCMessage *message)
{
	((ProtobufCMessage *) message)->n_unknown_fields = 0;
}

/* Writes the message, reads that, writes it once more: the same bytes. */
static void
check_packed(const ProtobufCMessage *message)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	uint8_t *packed = malloc(size + 1);
	uint8_t *packed_again = malloc(size + 1);
	MessageArena arena = {.used = 0};
	const ProtobufCMessage *again;
	Reason reason;

	assert(protobuf_c_message_pack(message, packed) == size);
	again = message_decode(&arena, SERVICE, METHOD, packed, size, &reason);
	assert(again != NULL);
	assert(again->n_unknown_fields == 0);
	assert(protobuf_c_message_get_packed_size(again) == size);
	protobuf_c_message_pack(again, packed_again);
	assert(memcmp(packed, packed_again, size) == 0);
	message_arena_reset(&arena);
	free(packed);
	free(packed_again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	MessageArena arena = {.used = 0};
	Reason reason;
	const ProtobufCMessage *message = message_decode(&arena, SERVICE, METHOD, data, size, &reason);

	assert(arena.allocated <= MESSAGE_ARENA_BYTES_MAX);
	if (message == NULL)
		assert(reason != REASON_NONE && reason_name(reason) != NULL);
	else
	{
		assert(reason == REASON_NONE);
		check_texts(message, size);
		forget_unknown_fields(message);
		check_packed(message);
	}
	message_arena_reset(&arena);
	return 0;
}
