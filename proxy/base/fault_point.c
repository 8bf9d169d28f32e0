/*
 * fault_point.c
 *		Places where a test can end the process as a crash would.
 *
 * DESIGN	SIGKILL, because nothing of ours may run after it: no buffer is written, no connection
 *			closed in order.
 */
#include "base/fault_point.h"

#ifdef FAULT_POINTS

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VARIABLE "ORDER_PROXY_FAULT"
#define NAME_SIZE 64

/* Times left; 0: it does not happen here. */
static long left = -1;
static char chosen[NAME_SIZE];

/* A mistyped point would never come, and its test show nothing. */
static void
read_choice(void)
{
	const char *value = getenv(VARIABLE);

	left = 0;
	if (value == NULL)
		return;
	if (sscanf(value, "%63[^:]:%ld", chosen, &left) != 2 || left < 1)
	{
		fprintf(stderr, VARIABLE "=%s is not STEP/WHAT:N\n", value);
		abort();
	}
}

void
fault_point(const char *step, const char *what)
{
	size_t length = strlen(step);

	if (left < 0)
		read_choice();
	if (left > 0 && strncmp(chosen, step, length) == 0 && chosen[length] == '/' &&
		strcmp(chosen + length + 1, what) == 0 && --left == 0)
		raise(SIGKILL);
}

#endif
