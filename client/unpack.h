/*
 * unpack.h
 *		Answers of the proxy, from bytes to messages, without an allocation for the usual ones.
 *
 * DESIGN	One arena for the whole process, because an answer is looked at and forgotten before the
 *			next one is read. One thread.
 */
#ifndef UNPACK_H
#define UNPACK_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Unpacks a message. Valid until unpack_forget(). NULL when the bytes are not such a message, or
 * one that needs more than UNPACK_BYTES_MAX (bounds.h).
 */
extern const ProtobufCMessage *unpack_message(const ProtobufCMessageDescriptor *descriptor,
											  const uint8_t *payload, size_t size);

/* Forgets all messages that were unpacked. */
extern void unpack_forget(void);

#endif /* UNPACK_H */
