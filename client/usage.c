/*
 * usage.c
 *		What a program says of a command line it cannot follow.
 */
#include "usage.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "decimal.h"

bool
usage_complain(const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return false;
}

bool
usage_read_whole(const char *what, const char *text, int64_t min, int64_t max, int64_t *value)
{
	if (decimal_parse_whole(text, min, max, value))
		return true;
	return usage_complain("%s must be a whole number from %lld to %lld, not \"%s\"", what,
						  (long long) min, (long long) max, text);
}
