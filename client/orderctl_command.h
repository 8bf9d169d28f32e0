/*
 * orderctl_command.h
 *		The commands of orderctl.
 */
#ifndef ORDERCTL_COMMAND_H
#define ORDERCTL_COMMAND_H

#include <stdbool.h>

typedef enum OrderctlCommand
{
	ORDERCTL_LOGIN,
	ORDERCTL_LOGOUT,
	ORDERCTL_PLACE,
	ORDERCTL_CANCEL,
	ORDERCTL_GET,
	ORDERCTL_LIST,
	ORDERCTL_PING,
	ORDERCTL_STATUS,
	ORDERCTL_OUTBOX_LIST, /* this and all below it ask the database */
	ORDERCTL_OUTBOX_SHOW,
	ORDERCTL_OUTBOX_REQUEUE,
	ORDERCTL_OUTBOX_TAIL,
	ORDERCTL_DLQ_LIST,
	ORDERCTL_DLQ_SHOW,
	ORDERCTL_DLQ_REQUEUE,
} OrderctlCommand;

#define ORDERCTL_COMMAND_COUNT 15

/* The name of a command, as it is written, of one word or two. Static. */
extern const char *orderctl_command_name(OrderctlCommand command);

/* Whether it asks the database, not the proxy. */
extern bool orderctl_command_is_for_operators(OrderctlCommand command);

#endif /* ORDERCTL_COMMAND_H */
