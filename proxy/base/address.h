/*
 * address.h
 *		Addresses as people write them: "host:port", "[v6]:port", and lists of them.
 *
 * Pure: nothing is looked up.
 */
#ifndef ADDRESS_H
#define ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

/* A name of the DNS has at most 253 characters. */
#define ADDRESS_HOST_SIZE 256

/* "[host]:65535" with its terminator. */
#define ADDRESS_TEXT_SIZE (ADDRESS_HOST_SIZE + 8)

/*
 * Splits "host:port" or "[v6]:port". |host| gets at most |host_size| bytes with the terminator.
 * False, and nothing is to be relied on, when the text is neither, the host does not fit, or the
 * port is not within 0 to 65535.
 */
extern bool address_split(const char *text, char *host, size_t host_size, int *port);

/*
 * Takes the next item of a list separated by commas, without the blanks around it, and moves |list|
 * behind it. False at the end. An item that does not fit is cut, which address_split() refuses; an
 * item may be empty.
 */
extern bool address_next(const char **list, char item[ADDRESS_TEXT_SIZE]);

#endif /* ADDRESS_H */
