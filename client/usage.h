/*
 * usage.h
 *		What a program says of a command line it cannot follow.
 */
#ifndef USAGE_H
#define USAGE_H

#include <stdbool.h>
#include <stdint.h>

/* Writes `program: what is wrong` to standard error; returns false. */
__attribute__((format(printf, 1, 2))) extern bool usage_complain(const char *format, ...);

/* Reads a whole number from |min| to |max|; else complains of |what| and returns false. */
extern bool usage_read_whole(const char *what, const char *text, int64_t min, int64_t max,
							 int64_t *value);

#endif /* USAGE_H */
