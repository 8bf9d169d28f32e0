/*
 * orderctl_help.h
 *		The help of orderctl.
 */
#ifndef ORDERCTL_HELP_H
#define ORDERCTL_HELP_H

#include <stdio.h>

#include "orderctl_command.h"

/* All of it in short, with options and exit codes. */
extern void orderctl_help_write(FILE *out);

/* One command, with examples. */
extern void orderctl_help_write_command(FILE *out, OrderctlCommand command);

#endif /* ORDERCTL_HELP_H */
