/*
 * orderctl_status.h
 *		Asks the proxy's port for operators how it is.
 */
#ifndef ORDERCTL_STATUS_H
#define ORDERCTL_STATUS_H

#include "net/loop.h"
#include "orderctl_exit.h"
#include "orderctl_options.h"
#include "orderctl_print.h"

/* Fetches /readyz and /status, prints. Runs the loop until that is done or has failed. */
extern OrderctlExit orderctl_status(Loop *loop, const OrderctlOptions *options,
									const OrderctlPrinter *printer);

#endif /* ORDERCTL_STATUS_H */
