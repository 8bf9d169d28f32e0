/*
 * orderctl_format.h
 *		Names and times as orderctl prints them.
 */
#ifndef ORDERCTL_FORMAT_H
#define ORDERCTL_FORMAT_H

#include <stdint.h>

#include "client.pb-c.h"

/* "2025-11-25T14:11:02.123Z" with its terminator, and room for years nobody will see. */
#define ORDERCTL_TIME_SIZE 40

/* Writes milliseconds since 1970-01-01 UTC as such a text; "" for 0, which is no time. */
extern void orderctl_format_time(int64_t time_ms, char text[ORDERCTL_TIME_SIZE]);

/* The names of the protocol; "UNKNOWN" for a number that is newer than this program. Static. */
extern const char *orderctl_format_side(int side);
extern const char *orderctl_format_order_type(int order_type);
extern const char *orderctl_format_time_in_force(int time_in_force);
extern const char *orderctl_format_status(int status);

#endif /* ORDERCTL_FORMAT_H */
