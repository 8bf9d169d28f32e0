/*
 * message.h
 *		Payloads of the client protocol: requests to structs, answers to bytes (proto/client.proto).
 *
 * Pure. A request is decoded into memory of a MessageArena that its owner keeps for the length of
 * the request: what a client sends cannot make it grow beyond MESSAGE_ARENA_BYTES_MAX.
 */
#ifndef MESSAGE_H
#define MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "client.pb-c.h"
#include "frame.h"
#include "order/store.h"
#include "reason.h"

/*
 * A usual request fits into the struct (its fields, a UUID as key, a session id of 64); a larger
 * one costs allocations, at most twice the largest payload: unknown fields are kept beside their
 * bytes.
 */
#define MESSAGE_ARENA_SIZE 512
#define MESSAGE_ARENA_BYTES_MAX (2 * FRAME_PAYLOAD_MAX + 65536)

typedef struct MessageBlock MessageBlock;

/* Zeroed before its first use. */
typedef struct MessageArena
{
	size_t used;
	size_t allocated;     /* outside of |bytes| */
	MessageBlock *blocks; /* what did not fit */
	_Alignas(max_align_t) uint8_t bytes[MESSAGE_ARENA_SIZE];
} MessageArena;

/* Forgets everything decoded; the arena can be used again. */
extern void message_arena_reset(MessageArena *arena);

/* A copy of a text no longer than SESSION_ID_BYTES_MAX, in the arena. */
extern char *message_arena_copy(MessageArena *arena, const char *text);

/*
 * Decodes a request of |service| and |method|. Returns its message in the arena; NULL with
 * |reason|: UNKNOWN_METHOD, PAYLOAD_INVALID (not that message, or a text with a zero byte or not
 * in UTF-8), or for a text that is too long KEY_INVALID, SYMBOL_INVALID or NO_SESSION. Methods
 * with an empty request (ping, logout) give &message_empty.
 */
extern const ProtobufCMessage *message_decode(MessageArena *arena, uint16_t service,
											  uint16_t method, const uint8_t *payload, size_t size,
											  Reason *reason);

/* Stands for the request of a method that has none. */
extern const ProtobufCMessage message_empty;

/* The session id that a request names, or "" where it names none. */
extern const char *message_session_id(const ProtobufCMessage *message);

/* The answers append one message to |bytes|. What became of a command on a recorded order: */
extern void message_encode_order_response(Bytes *bytes, const StoreResult *result, int64_t now_ms);
extern void message_encode_order(Bytes *bytes, const StoreOrder *order);
extern void message_encode_orders(Bytes *bytes, const StoreOrder *orders, int count, bool has_more);
extern void message_encode_login(Bytes *bytes, int64_t account_id, int64_t expires_at_ms);

/* An ErrorMessage: code and text of the reason, and the detail behind it unless that is NULL. */
extern void message_encode_error(Bytes *bytes, Reason reason, const char *detail);

/* An ErrorMessage for a broken frame. */
extern void message_encode_frame_error(Bytes *bytes, FrameError error);

#endif /* MESSAGE_H */
