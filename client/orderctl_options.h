/*
 * orderctl_options.h
 *		The command line and the environment of orderctl.
 */
#ifndef ORDERCTL_OPTIONS_H
#define ORDERCTL_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "client.pb-c.h"
#include "orderctl_command.h"

/* --status ALL */
#define ORDERCTL_STATUS_ALL "ALL"

/* Texts are those of the command line or the environment, and live as long as the process. */
typedef struct OrderctlOptions
{
	OrderctlCommand command;
	const char *server;  /* "host:port"; NULL: not needed by the command */
	const char *admin;   /* likewise */
	const char *session; /* NULL: not needed by the command. Never print it. */
	bool is_json;
	int64_t timeout_us;

	const char *key;  /* place, cancel: NULL is a fresh one; get: NULL is by order_id */
	int64_t order_id; /* 0: not given */

	/* place */
	OrderService__V1__Side side;
	OrderService__V1__OrderType order_type;
	OrderService__V1__TimeInForce time_in_force;
	const char *symbol;
	int64_t quantity;
	int64_t price; /* micro-units */

	/* list */
	bool is_open_only;
	bool is_all;
	int64_t after_order_id;
	int32_t limit;

	/* ping; outbox tail, where 0 is endless */
	int64_t count;

	/* outbox and dlq: the event by its id, or by order_id and version; 0: not given */
	const char *database; /* a connection string; NULL: from libpq's environment. Never print it. */
	int64_t event_id;
	int32_t order_version;
	int64_t after_event_id;   /* -1: not given */
	const char *event_status; /* NULL: not given */
	const char *event_error;  /* a pattern of LIKE; NULL: not given */
} OrderctlOptions;

/*
 * Reads them. False: there is nothing to run, and |*exit_code| says how to end; help was written to
 * standard output, or what is wrong to standard error. The session id and the connection string are
 * wiped from |argv|, where other users of the machine could read them.
 */
extern bool orderctl_options_read(OrderctlOptions *options, int argc, char **argv, int *exit_code);

#endif /* ORDERCTL_OPTIONS_H */
