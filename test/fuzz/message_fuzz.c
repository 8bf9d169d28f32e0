/*
 * message_fuzz.c
 *		A message as protobuf-c decodes it, where we read what another process wrote: what is
 *		accepted is the same when written and read again.
 *
 * Compiled once for each message, with DESCRIPTOR. A message with unknown fields is only read:
 * protobuf-c takes a field number 0 that is written with more bytes than it needs, and then writes
 * it in a way that it refuses.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "account.pb-c.h"
#include "client.pb-c.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whether the message, or one of those in it, has fields that we do not know. */
static bool
has_unknown_fields(const ProtobufCMessage *message)
{
	const ProtobufCMessageDescriptor *descriptor = message->descriptor;

	for (unsigned i = 0; i < descriptor->n_fields; i++)
	{
		const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
		const uint8_t *base = (const uint8_t *) message;

		if (field->type != PROTOBUF_C_TYPE_MESSAGE)
			continue;
		assert(field->label == PROTOBUF_C_LABEL_REPEATED);
		for (size_t j = 0; j < *(const size_t *) (base + field->quantifier_offset); j++)
		{
			if (has_unknown_fields((*(ProtobufCMessage ***) (base + field->offset))[j]))
				return true;
		}
	}
	return message->n_unknown_fields > 0;
}

/* Writes the message, reads that, writes it once more: the same bytes. */
static void
check_packing(const ProtobufCMessage *message)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	uint8_t *packed = malloc(size + 1);
	uint8_t *packed_again = malloc(size + 1);
	ProtobufCMessage *again;

	assert(protobuf_c_message_pack(message, packed) == size);
	again = protobuf_c_message_unpack(&DESCRIPTOR, NULL, size, packed);
	assert(again != NULL);
	assert(protobuf_c_message_get_packed_size(again) == size);
	protobuf_c_message_pack(again, packed_again);
	assert(memcmp(packed, packed_again, size) == 0);
	protobuf_c_message_free_unpacked(again, NULL);
	free(packed_again);
	free(packed);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ProtobufCMessage *message = protobuf_c_message_unpack(&DESCRIPTOR, NULL, size, data);

	if (message == NULL)
		return 0;
	if (!has_unknown_fields(message))
		check_packing(message);
	protobuf_c_message_free_unpacked(message, NULL);
	return 0;
}
