/*
 * decimal.c
 *		Prices as people write them.
 */
#include "decimal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PLACES_SHOWN_MIN 2

static bool
is_digit(char character)
{
	return character >= '0' && character <= '9';
}

/* Appends a digit to |*value|. False when the result is too large. */
static bool
push_digit(int64_t *value, int digit)
{
	return !__builtin_mul_overflow(*value, 10, value) &&
		   !__builtin_add_overflow(*value, digit, value);
}

const char *
decimal_parse(const char *text, int64_t *micro)
{
	bool is_behind_point = false;
	int digits = 0;
	int places = 0;

	*micro = 0;
	for (const char *next = text; *next != '\0'; next++)
	{
		if (*next == '.' && !is_behind_point)
		{
			is_behind_point = true;
			continue;
		}
		if (!is_digit(*next))
			return "not a decimal number such as 101.50";
		if (is_behind_point && ++places > DECIMAL_PLACES_MAX)
			return "more than 6 places behind the point";
		if (!push_digit(micro, *next - '0'))
			return "too large";
		digits++;
	}
	if (digits == 0)
		return "not a decimal number such as 101.50";
	for (; places < DECIMAL_PLACES_MAX; places++)
	{
		if (!push_digit(micro, 0))
			return "too large";
	}
	return NULL;
}

void
decimal_format(int64_t micro, char text[DECIMAL_TEXT_SIZE])
{
	/* The amount of the smallest int64 is not an int64. */
	uint64_t amount = micro < 0 ? 0 - (uint64_t) micro : (uint64_t) micro;
	int length = snprintf(text, DECIMAL_TEXT_SIZE, "%s%" PRIu64 ".%06" PRIu64, micro < 0 ? "-" : "",
						  amount / DECIMAL_MICRO, amount % DECIMAL_MICRO);
	int removable = DECIMAL_PLACES_MAX - PLACES_SHOWN_MIN;

	assert(length > 0 && length < DECIMAL_TEXT_SIZE);
	for (; removable > 0 && text[length - 1] == '0'; removable--)
		text[--length] = '\0';
}

bool
decimal_parse_whole(const char *text, int64_t min, int64_t max, int64_t *value)
{
	assert(min >= 0);
	*value = 0;
	if (*text == '\0')
		return false;
	for (; *text != '\0'; text++)
	{
		if (!is_digit(*text) || !push_digit(value, *text - '0'))
			return false;
	}
	return *value >= min && *value <= max;
}
