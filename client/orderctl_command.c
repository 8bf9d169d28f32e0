/*
 * orderctl_command.c
 *		The commands of orderctl.
 */
#include "orderctl_command.h"

#include <assert.h>

static const char *const names[ORDERCTL_COMMAND_COUNT] = {
	[ORDERCTL_LOGIN] = "login",   [ORDERCTL_LOGOUT] = "logout", [ORDERCTL_PLACE] = "place",
	[ORDERCTL_CANCEL] = "cancel", [ORDERCTL_GET] = "get",       [ORDERCTL_LIST] = "list",
	[ORDERCTL_PING] = "ping",     [ORDERCTL_STATUS] = "status",
};

const char *
orderctl_command_name(OrderctlCommand command)
{
	assert(command < ORDERCTL_COMMAND_COUNT);
	return names[command];
}
