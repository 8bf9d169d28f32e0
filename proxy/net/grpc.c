/*
 * grpc.c
 *		The parts of gRPC over HTTP/2 that are pure.
 */
#include "net/grpc.h"

#include <assert.h>
#include <nghttp2/nghttp2.h>
#include <string.h>

#include "base/bytes.h"
#include "base/number.h"

#define TIMEOUT_DIGITS_MAX 8
#define TIMEOUT_VALUE_MAX 99999999

static const char *const status_names[] = {
	[GRPC_OK] = "OK",
	[GRPC_CANCELLED] = "CANCELLED",
	[GRPC_UNKNOWN] = "UNKNOWN",
	[GRPC_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
	[GRPC_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
	[GRPC_NOT_FOUND] = "NOT_FOUND",
	[GRPC_ALREADY_EXISTS] = "ALREADY_EXISTS",
	[GRPC_PERMISSION_DENIED] = "PERMISSION_DENIED",
	[GRPC_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
	[GRPC_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
	[GRPC_ABORTED] = "ABORTED",
	[GRPC_OUT_OF_RANGE] = "OUT_OF_RANGE",
	[GRPC_UNIMPLEMENTED] = "UNIMPLEMENTED",
	[GRPC_INTERNAL] = "INTERNAL",
	[GRPC_UNAVAILABLE] = "UNAVAILABLE",
	[GRPC_DATA_LOSS] = "DATA_LOSS",
	[GRPC_UNAUTHENTICATED] = "UNAUTHENTICATED",
};

static_assert(sizeof(status_names) / sizeof(status_names[0]) == GRPC_STATUS_COUNT,
			  "every status has a name");

/* Units of grpc-timeout, from the finest. */
static const struct
{
	char letter;
	int64_t ns;
} timeout_units[] = {
	{'n', 1},
	{'u', 1000},
	{'m', 1000000},
	{'S', 1000000000},
	{'M', INT64_C(60) * 1000000000},
	{'H', INT64_C(3600) * 1000000000},
};

#define TIMEOUT_UNIT_COUNT (sizeof(timeout_units) / sizeof(timeout_units[0]))

const char *
grpc_status_name(int status)
{
	if (status < 0 || status >= GRPC_STATUS_COUNT)
		return status_names[GRPC_UNKNOWN];
	return status_names[status];
}

GrpcStatus
grpc_parse_status(const char *text, size_t size)
{
	int status = 0;

	if (size < 1 || size > 2)
		return GRPC_UNKNOWN;
	for (size_t i = 0; i < size; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return GRPC_UNKNOWN;
		status = 10 * status + (text[i] - '0');
	}
	return status < GRPC_STATUS_COUNT ? (GrpcStatus) status : GRPC_UNKNOWN;
}

GrpcStatus
grpc_status_of_http(int http_status)
{
	switch (http_status)
	{
		case 400:
		case 431:
			return GRPC_INTERNAL;
		case 401:
			return GRPC_UNAUTHENTICATED;
		case 403:
			return GRPC_PERMISSION_DENIED;
		case 404:
			return GRPC_UNIMPLEMENTED;
		case 429:
		case 502:
		case 503:
		case 504:
			return GRPC_UNAVAILABLE;
		default:
			return GRPC_UNKNOWN;
	}
}

GrpcStatus
grpc_status_of_reset(uint32_t error_code)
{
	switch (error_code)
	{
		case NGHTTP2_REFUSED_STREAM:
			return GRPC_UNAVAILABLE;
		case NGHTTP2_CANCEL:
			return GRPC_CANCELLED;
		case NGHTTP2_ENHANCE_YOUR_CALM:
			return GRPC_RESOURCE_EXHAUSTED;
		case NGHTTP2_INADEQUATE_SECURITY:
			return GRPC_PERMISSION_DENIED;
		case NGHTTP2_NO_ERROR:
		case NGHTTP2_PROTOCOL_ERROR:
		case NGHTTP2_INTERNAL_ERROR:
		case NGHTTP2_FLOW_CONTROL_ERROR:
		case NGHTTP2_SETTINGS_TIMEOUT:
		case NGHTTP2_STREAM_CLOSED:
		case NGHTTP2_FRAME_SIZE_ERROR:
		case NGHTTP2_COMPRESSION_ERROR:
		case NGHTTP2_CONNECT_ERROR:
			return GRPC_INTERNAL;
		default:
			return GRPC_UNKNOWN;
	}
}

void
grpc_write_prefix(uint8_t prefix[GRPC_PREFIX_SIZE], size_t message_size)
{
	assert(message_size <= UINT32_MAX);
	prefix[0] = 0;
	for (int i = 0; i < 4; i++)
		prefix[1 + i] = (uint8_t) (message_size >> (8 * (3 - i)));
}

bool
grpc_read_prefix(const uint8_t prefix[GRPC_PREFIX_SIZE], uint32_t *size, bool *is_compressed)
{
	*size = bytes_u32(prefix + 1);
	*is_compressed = prefix[0] == 1;
	return prefix[0] == 0;
}

static int64_t
divide_up(int64_t value, int64_t divisor)
{
	return value / divisor + (value % divisor != 0);
}

void
grpc_format_timeout(int64_t timeout_us, char text[GRPC_TIMEOUT_SIZE])
{
	int64_t value = 0;
	size_t unit = 0;
	char digits[NUMBER_DECIMAL_SIZE + 1];
	char *end;

	/* 292 years are enough. */
	if (timeout_us > INT64_MAX / 1000)
		timeout_us = INT64_MAX / 1000;
	if (timeout_us > 0)
	{
		while ((value = divide_up(timeout_us * 1000, timeout_units[unit].ns)) > TIMEOUT_VALUE_MAX)
			unit++;
	}
	end = number_decimal(value, digits);
	assert(end - digits <= TIMEOUT_DIGITS_MAX);
	end[0] = timeout_units[unit].letter;
	end[1] = '\0';
	memcpy(text, digits, (size_t) (end + 2 - digits));
}

int64_t
grpc_parse_timeout(const char *text, size_t size)
{
	int64_t value = 0;

	if (size < 2 || size > TIMEOUT_DIGITS_MAX + 1)
		return -1;
	for (size_t i = 0; i < size - 1; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return -1;
		value = 10 * value + (text[i] - '0');
	}
	for (size_t i = 0; i < TIMEOUT_UNIT_COUNT; i++)
	{
		int64_t ns = timeout_units[i].ns;

		if (text[size - 1] == timeout_units[i].letter)
			return ns == 1 ? divide_up(value, 1000) : value * (ns / 1000);
	}
	return -1;
}

/* The value of a hexadecimal digit, or -1. */
static int
hex_digit(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'A' && digit <= 'F')
		return digit - 'A' + 10;
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	return -1;
}

void
grpc_decode_message(const char *encoded, size_t encoded_size, char *text, size_t size)
{
	size_t length = 0;

	assert(size > 0);
	for (size_t i = 0; i < encoded_size && length < size - 1; i++)
	{
		int high = -1;
		int low = -1;

		if (encoded[i] == '%' && encoded_size - i > 2)
		{
			high = hex_digit(encoded[i + 1]);
			low = hex_digit(encoded[i + 2]);
		}
		if (high >= 0 && low >= 0)
		{
			text[length++] = (char) (16 * high + low);
			i += 2;
		}
		else
			text[length++] = encoded[i];
	}
	text[length] = '\0';
}

void
grpc_encode_message(const char *text, char *encoded, size_t size)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t length = 0;

	assert(size > 0);
	for (const char *at = text; *at != '\0'; at++)
	{
		uint8_t byte = (uint8_t) *at;
		bool is_plain = byte >= ' ' && byte <= '~' && byte != '%';

		if (size - length <= (is_plain ? 1 : 3))
			break;
		if (is_plain)
			encoded[length++] = (char) byte;
		else
		{
			encoded[length++] = '%';
			encoded[length++] = digits[byte >> 4];
			encoded[length++] = digits[byte & 0xF];
		}
	}
	encoded[length] = '\0';
}
