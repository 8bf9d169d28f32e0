/*
 * decimal.h
 *		Prices as people write them ("101.50"), to and from micro-units (1,000,000 is 1.0).
 *
 * Pure and exact: no floating point.
 */
#ifndef DECIMAL_H
#define DECIMAL_H

#include <stdbool.h>
#include <stdint.h>

#define DECIMAL_MICRO INT64_C(1000000)
#define DECIMAL_PLACES_MAX 6

/* The longest text, "-9223372036854.775808", with its terminator. */
#define DECIMAL_TEXT_SIZE 24

/*
 * Reads digits, at most one point and at most six places behind it: "101.50", "101", "0.000001",
 * ".5". No sign, no exponent, no grouping, no white space. Returns NULL, or why the text is not
 * such a number (static text).
 */
extern const char *decimal_parse(const char *text, int64_t *micro);

/* Writes a number with two places, or more where they are not 0: "101.50", "0.000001". */
extern void decimal_format(int64_t micro, char text[DECIMAL_TEXT_SIZE]);

/*
 * Reads a whole number of digits within |min| (at least 0) to |max|. False when it is something
 * else.
 */
extern bool decimal_parse_whole(const char *text, int64_t min, int64_t max, int64_t *value);

#endif /* DECIMAL_H */
