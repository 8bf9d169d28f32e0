/*
 * message.c
 *		Payloads of the client protocol.
 *
 * DESIGN	protobuf-c decodes into an arena, so that a usual request costs no allocation and a
 *			hostile one cannot cost much: empty unknown fields would else take twelve times their
 *			bytes.
 *
 *			A text arrives as a length and bytes and leaves as a C string. One with a zero byte
 *			would silently be cut, and two different idempotency keys would become the same: such a
 *			payload is refused. So is what is not UTF-8, which the database would refuse for a
 *			whole batch.
 */
#include "order/message.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bounds.h"

/* Wire types of protobuf. */
enum
{
	WIRE_VARINT = 0,
	WIRE_64 = 1,
	WIRE_BYTES = 2,
	WIRE_32 = 5,
};

/* A text for people: reason, detail and what joins them. */
#define ERROR_TEXT_SIZE 512

/* An encoded Order: 13 fields, of which the texts are a symbol and the name of a reason. */
#define ORDER_BYTES_MAX 256

static_assert(LIST_ORDERS_MAX * ORDER_BYTES_MAX < FRAME_PAYLOAD_MAX, "a page fits into a frame");

/* Where the texts of a request are in its struct; 0, where no field can be: it has none. */
typedef struct TextOffsets
{
	size_t session_id;
	size_t symbol;
	size_t key;
} TextOffsets;

typedef struct MethodRow
{
	uint16_t service;
	uint16_t method;
	const ProtobufCMessageDescriptor *request; /* NULL: empty */
	TextOffsets texts;
} MethodRow;

/* What is asked for most comes first. */
static const MethodRow methods[] = {
	{SERVICE_ORDER,
	 ORDER_PLACE,
	 &order_service__v1__place_order_request__descriptor,
	 {.session_id = offsetof(OrderService__V1__PlaceOrderRequest, session_id),
	  .symbol = offsetof(OrderService__V1__PlaceOrderRequest, symbol),
	  .key = offsetof(OrderService__V1__PlaceOrderRequest, idempotency_key)}},
	{SERVICE_ORDER,
	 ORDER_CANCEL,
	 &order_service__v1__cancel_order_request__descriptor,
	 {.session_id = offsetof(OrderService__V1__CancelOrderRequest, session_id),
	  .key = offsetof(OrderService__V1__CancelOrderRequest, idempotency_key)}},
	{SERVICE_ORDER,
	 ORDER_GET,
	 &order_service__v1__get_order_request__descriptor,
	 {.session_id = offsetof(OrderService__V1__GetOrderRequest, session_id),
	  .key = offsetof(OrderService__V1__GetOrderRequest, idempotency_key)}},
	{SERVICE_ORDER,
	 ORDER_LIST,
	 &order_service__v1__list_orders_request__descriptor,
	 {.session_id = offsetof(OrderService__V1__ListOrdersRequest, session_id)}},
	{SERVICE_AUTH,
	 AUTH_LOGIN,
	 &order_service__v1__login_request__descriptor,
	 {.session_id = offsetof(OrderService__V1__LoginRequest, session_id)}},
	{SERVICE_AUTH, AUTH_LOGOUT, NULL, {0}},
	{SERVICE_CONTROL, CONTROL_PING, NULL, {0}},
};

const ProtobufCMessage message_empty = {0};

struct MessageBlock
{
	MessageBlock *next;
	_Alignas(max_align_t) uint8_t bytes[];
};

static void *
arena_allocate(void *allocator_data, size_t size)
{
	MessageArena *arena = allocator_data;
	size_t aligned = (size + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
	MessageBlock *block;

	if (size > MESSAGE_ARENA_BYTES_MAX)
		return NULL;
	if (aligned <= MESSAGE_ARENA_SIZE - arena->used)
	{
		void *bytes = arena->bytes + arena->used;

		arena->used += aligned;
		return bytes;
	}
	if (aligned + sizeof(MessageBlock) > MESSAGE_ARENA_BYTES_MAX - arena->allocated)
		return NULL;
	block = bytes_new(sizeof(MessageBlock) + aligned);
	block->next = arena->blocks;
	arena->blocks = block;
	arena->allocated += sizeof(MessageBlock) + aligned;
	return block->bytes;
}

char *
message_arena_copy(MessageArena *arena, const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = arena_allocate(arena, size);

	assert(copy != NULL);
	return memcpy(copy, text, size);
}

/* Everything is freed together, by message_arena_reset(). */
static void
arena_free(void *allocator_data, void *bytes)
{
	(void) allocator_data;
	(void) bytes;
}

void
message_arena_reset(MessageArena *arena)
{
	while (arena->blocks != NULL)
	{
		MessageBlock *block = arena->blocks;

		arena->blocks = block->next;
		free(block);
	}
	arena->used = 0;
	arena->allocated = 0;
}

/* Texts ---------------------------------------------------------------------------------------- */

/* Reads a varint; false at its end or where it is too long. */
static bool
read_varint(const uint8_t **position, const uint8_t *end, uint64_t *value)
{
	*value = 0;
	for (int shift = 0; shift < 64 && *position < end; shift += 7)
	{
		uint8_t byte = *(*position)++;

		*value |= (uint64_t) (byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
			return true;
	}
	return false;
}

/* Bytes that follow the first one of a UTF-8 sequence; -1 for one that cannot begin one. */
static int
continuation_count(uint8_t first)
{
	if (first < 0x80)
		return 0;
	if (first >= 0xc2 && first <= 0xdf)
		return 1;
	if ((first & 0xf0) == 0xe0)
		return 2;
	return first >= 0xf0 && first <= 0xf4 ? 3 : -1;
}

/* How many bytes a text begins with, by eights, that are ASCII and not zero: mostly all. */
static size_t
plain_count(const uint8_t *text, size_t size)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	size_t count = 0;

	for (; size - count >= sizeof(uint64_t); count += sizeof(uint64_t))
	{
		uint64_t word;

		memcpy(&word, text + count, sizeof(word));
		/* The upper bit of a byte that is zero, or has it; also of one behind a zero byte. */
		if (((word | (word - ones)) & (ones << 7)) != 0)
			break;
	}
	return count;
}

/* Whether a text is UTF-8 without zero bytes, overlong forms and surrogates. */
static bool
is_text(const uint8_t *text, size_t size)
{
	for (size_t i = plain_count(text, size); i < size;)
	{
		int more = continuation_count(text[i]);

		if (text[i] == 0 || more < 0 || (size_t) more > size - i - 1)
			return false;
		for (int j = 1; j <= more; j++)
		{
			if ((text[i + (size_t) j] & 0xc0) != 0x80)
				return false;
		}
		if (more >= 2)
		{
			uint8_t first = text[i];
			uint8_t second = text[i + 1];

			if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
				(first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f))
				return false;
		}
		i += (size_t) more + 1;
	}
	return true;
}

static bool
is_text_field(const ProtobufCMessageDescriptor *descriptor, uint64_t number)
{
	const ProtobufCFieldDescriptor *field =
		number <= UINT32_MAX
			? protobuf_c_message_descriptor_get_field(descriptor, (unsigned) number)
			: NULL;

	return field != NULL && field->type == PROTOBUF_C_TYPE_STRING;
}

/*
 * Whether every text of a message is one. What this cannot follow is left to protobuf-c, which
 * refuses it.
 */
static bool
texts_are_valid(const ProtobufCMessageDescriptor *descriptor, const uint8_t *payload, size_t size)
{
	const uint8_t *position = payload;
	const uint8_t *end = size > 0 ? payload + size : payload;

	while (position < end)
	{
		uint64_t tag;
		uint64_t value = 0;
		size_t skip = 0;

		/* protobuf-c takes an overlong zero for a field number. */
		if (!read_varint(&position, end, &tag) || tag >> 3 == 0)
			return false;
		switch (tag & 7)
		{
			case WIRE_VARINT:
				if (!read_varint(&position, end, &value))
					return false;
				break;
			case WIRE_64:
				skip = 8;
				break;
			case WIRE_32:
				skip = 4;
				break;
			case WIRE_BYTES:
				if (!read_varint(&position, end, &value) || value > (uint64_t) (end - position))
					return false;
				skip = (size_t) value;
				if (is_text_field(descriptor, tag >> 3) && !is_text(position, skip))
					return false;
				break;
			default:
				return false;
		}
		if (skip > (size_t) (end - position))
			return false;
		position += skip;
	}
	return true;
}

/* Requests ------------------------------------------------------------------------------------- */

static const MethodRow *
find_method(uint16_t service, uint16_t method)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
	{
		if (methods[i].service == service && methods[i].method == method)
			return &methods[i];
	}
	return NULL;
}

/* A text of a message; "" where the message has none. */
static const char *
text_at(const ProtobufCMessage *message, size_t offset)
{
	return offset != 0 ? *(char *const *) ((const uint8_t *) message + offset) : "";
}

const char *
message_session_id(const ProtobufCMessage *message)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
	{
		if (methods[i].request == message->descriptor)
			return text_at(message, methods[i].texts.session_id);
	}
	return "";
}

/* The reason why a text of the message is too long to be looked at; REASON_NONE when none is. */
static Reason
check_lengths(const ProtobufCMessage *message, const TextOffsets *texts)
{
	if (strlen(text_at(message, texts->session_id)) > SESSION_ID_BYTES_MAX)
		return REASON_NO_SESSION;
	if (strlen(text_at(message, texts->symbol)) > SYMBOL_BYTES_MAX)
		return REASON_SYMBOL_INVALID;
	if (strlen(text_at(message, texts->key)) > KEY_BYTES_MAX)
		return REASON_KEY_INVALID;
	return REASON_NONE;
}

const ProtobufCMessage *
message_decode(MessageArena *arena, uint16_t service, uint16_t method, const uint8_t *payload,
			   size_t size, Reason *reason)
{
	ProtobufCAllocator allocator = {
		.alloc = arena_allocate, .free = arena_free, .allocator_data = arena};
	const MethodRow *row = find_method(service, method);
	const ProtobufCMessage *message = NULL;

	*reason = row == NULL ? REASON_UNKNOWN_METHOD : REASON_PAYLOAD_INVALID;
	if (row == NULL)
		return NULL;
	if (row->request == NULL)
		message = size == 0 ? &message_empty : NULL;
	else if (texts_are_valid(row->request, payload, size))
		message = protobuf_c_message_unpack(row->request, &allocator, size, payload);
	if (message == NULL)
		return NULL;
	*reason = message == &message_empty ? REASON_NONE : check_lengths(message, &row->texts);
	return *reason == REASON_NONE ? message : NULL;
}

/* Answers -------------------------------------------------------------------------------------- */

static void
encode(Bytes *bytes, const ProtobufCMessage *message)
{
	size_t size = protobuf_c_message_get_packed_size(message);

	bytes->size += protobuf_c_message_pack(message, bytes_reserve(bytes, size));
}

void
message_encode_order_response(Bytes *bytes, const StoreResult *result, int64_t now_ms)
{
	OrderService__V1__OrderResponse response = ORDER_SERVICE__V1__ORDER_RESPONSE__INIT;
	const char *name = result->reason != REASON_NONE ? reason_name(result->reason) : "";
	const char *text = reason_message(result->reason);

	response.order_id = result->order_id;
	response.status = (OrderService__V1__OrderStatus) result->status;
	response.message = (char *) (text != NULL ? text : "");
	response.timestamp = result->updated_at_ms != 0 ? result->updated_at_ms : now_ms;
	response.code = result->code;
	response.reason = (char *) (name != NULL ? name : "");
	response.replayed = result->is_replayed;
	response.filled_quantity = result->filled_quantity;
	encode(bytes, &response.base);
}

static void
fill_order(OrderService__V1__Order *message, const StoreOrder *order)
{
	order_service__v1__order__init(message);
	message->order_id = order->order_id;
	message->account_id = order->account_id;
	message->symbol = (char *) order->symbol;
	message->side = (OrderService__V1__Side) order->side;
	message->order_type = (OrderService__V1__OrderType) order->order_type;
	message->quantity = order->quantity;
	message->price = order->price;
	message->time_in_force = (OrderService__V1__TimeInForce) order->time_in_force;
	message->status = (OrderService__V1__OrderStatus) order->status;
	message->filled_quantity = order->filled_quantity;
	message->reason = (char *) order->reason;
	message->created_at = order->created_at_ms;
	message->updated_at = order->updated_at_ms;
}

void
message_encode_order(Bytes *bytes, const StoreOrder *order)
{
	OrderService__V1__Order message;

	fill_order(&message, order);
	encode(bytes, &message.base);
}

void
message_encode_orders(Bytes *bytes, const StoreOrder *orders, int count, bool has_more)
{
	OrderService__V1__ListOrdersResponse response = ORDER_SERVICE__V1__LIST_ORDERS_RESPONSE__INIT;
	OrderService__V1__Order *messages;
	OrderService__V1__Order **pointers;

	assert(count >= 0 && count <= LIST_ORDERS_MAX);
	messages = bytes_new_zeroed((size_t) count + 1, sizeof(*messages));
	pointers = bytes_new_zeroed((size_t) count + 1, sizeof(*pointers));
	for (int i = 0; i < count; i++)
	{
		fill_order(&messages[i], &orders[i]);
		pointers[i] = &messages[i];
	}
	response.n_orders = (size_t) count;
	response.orders = pointers;
	response.more = has_more;
	encode(bytes, &response.base);
	free(pointers);
	free(messages);
}

void
message_encode_login(Bytes *bytes, int64_t account_id, int64_t expires_at_ms)
{
	OrderService__V1__LoginResponse response = ORDER_SERVICE__V1__LOGIN_RESPONSE__INIT;

	response.account_id = account_id;
	response.expires_at = expires_at_ms;
	encode(bytes, &response.base);
}

void
message_encode_error(Bytes *bytes, Reason reason, const char *detail)
{
	OrderService__V1__ErrorMessage message = ORDER_SERVICE__V1__ERROR_MESSAGE__INIT;
	char text[ERROR_TEXT_SIZE];

	assert(reason != REASON_NONE && reason_name(reason) != NULL);
	snprintf(text, sizeof(text), "%s%s%s", reason_message(reason), detail != NULL ? ": " : "",
			 detail != NULL ? detail : "");
	message.code = (int32_t) reason_code(reason);
	message.message = text;
	message.reason = (char *) reason_name(reason);
	encode(bytes, &message.base);
}

void
message_encode_frame_error(Bytes *bytes, FrameError error)
{
	OrderService__V1__ErrorMessage message = ORDER_SERVICE__V1__ERROR_MESSAGE__INIT;

	message.code = (int32_t) error;
	message.message = "type, flags or sequence number of the frame is not valid";
	if (error == FRAME_ERROR_VERSION)
		message.message = "version of the frame is not supported";
	else if (error == FRAME_ERROR_LENGTH)
		message.message = "payload is too long";
	encode(bytes, &message.base);
}
