/*
 * orderctl_command.c
 *		The commands of orderctl.
 */
#include "orderctl_command.h"

#include <assert.h>

static const char *const names[ORDERCTL_COMMAND_COUNT] = {
	[ORDERCTL_LOGIN] = "login",
	[ORDERCTL_LOGOUT] = "logout",
	[ORDERCTL_PLACE] = "place",
	[ORDERCTL_CANCEL] = "cancel",
	[ORDERCTL_GET] = "get",
	[ORDERCTL_LIST] = "list",
	[ORDERCTL_PING] = "ping",
	[ORDERCTL_STATUS] = "status",
	[ORDERCTL_OUTBOX_LIST] = "outbox list",
	[ORDERCTL_OUTBOX_SHOW] = "outbox show",
	[ORDERCTL_OUTBOX_REQUEUE] = "outbox requeue",
	[ORDERCTL_OUTBOX_TAIL] = "outbox tail",
	[ORDERCTL_DLQ_LIST] = "dlq list",
	[ORDERCTL_DLQ_SHOW] = "dlq show",
	[ORDERCTL_DLQ_REQUEUE] = "dlq requeue",
};

const char *
orderctl_command_name(OrderctlCommand command)
{
	assert(command < ORDERCTL_COMMAND_COUNT);
	return names[command];
}

bool
orderctl_command_is_for_operators(OrderctlCommand command)
{
	return command >= ORDERCTL_OUTBOX_LIST;
}
