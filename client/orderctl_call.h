/*
 * orderctl_call.h
 *		Carries out the commands of orderctl that ask the proxy.
 */
#ifndef ORDERCTL_CALL_H
#define ORDERCTL_CALL_H

#include "orderctl_exit.h"
#include "orderctl_options.h"
#include "orderctl_print.h"

/* Connects, asks, prints. Runs the loop until that is done or has failed. */
extern OrderctlExit orderctl_call(Loop *loop, const OrderctlOptions *options,
								  const OrderctlPrinter *printer);

#endif /* ORDERCTL_CALL_H */
