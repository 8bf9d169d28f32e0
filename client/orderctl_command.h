/*
 * orderctl_command.h
 *		The commands of orderctl.
 */
#ifndef ORDERCTL_COMMAND_H
#define ORDERCTL_COMMAND_H

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
} OrderctlCommand;

#define ORDERCTL_COMMAND_COUNT 8

/* The name of a command, as it is written. Static. */
extern const char *orderctl_command_name(OrderctlCommand command);

#endif /* ORDERCTL_COMMAND_H */
