/*
 * bench_help.h
 *		The help of order-bench.
 */
#ifndef BENCH_HELP_H
#define BENCH_HELP_H

#include <stdio.h>

/* All of it, with examples. */
extern void bench_help_write(FILE *out);

#endif /* BENCH_HELP_H */
