/*
 * number.c
 *		Numbers as text where printf() is too slow: several times an order.
 */
#include "base/number.h"

#include <string.h>

char *
number_decimal(int64_t value, char text[NUMBER_DECIMAL_SIZE])
{
	char digits[NUMBER_DECIMAL_SIZE];
	char *first = digits + sizeof(digits);
	/* The lowest number has no positive counterpart among the signed ones. */
	uint64_t rest = value < 0 ? -(uint64_t) value : (uint64_t) value;
	size_t size;

	do
	{
		*--first = (char) ('0' + rest % 10);
		rest /= 10;
	} while (rest > 0);
	if (value < 0)
		*--first = '-';
	size = (size_t) (digits + sizeof(digits) - first);
	memcpy(text, first, size);
	text[size] = '\0';
	return text + size;
}

void
number_hex(uint64_t value, char text[NUMBER_HEX_SIZE])
{
	for (int i = NUMBER_HEX_SIZE - 2; i >= 0; i--)
	{
		text[i] = "0123456789abcdef"[value & 0xf];
		value >>= 4;
	}
	text[NUMBER_HEX_SIZE - 1] = '\0';
}
