/*
 * number.h
 *		Numbers as text where printf() is too slow: several times an order.
 */
#ifndef NUMBER_H
#define NUMBER_H

#include <stdint.h>

/* A decimal number with its sign, a hexadecimal one; each with a terminator. */
#define NUMBER_DECIMAL_SIZE 21
#define NUMBER_HEX_SIZE 17

/* The number as "%" PRId64 writes it. The end of the text, where its terminator is. */
extern char *number_decimal(int64_t value, char text[NUMBER_DECIMAL_SIZE]);

/* The number as "%016" PRIx64 writes it. */
extern void number_hex(uint64_t value, char text[NUMBER_HEX_SIZE]);

#endif /* NUMBER_H */
