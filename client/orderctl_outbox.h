/*
 * orderctl_outbox.h
 *		Carries out the commands of orderctl that ask the database: outbox and dlq.
 */
#ifndef ORDERCTL_OUTBOX_H
#define ORDERCTL_OUTBOX_H

#include "orderctl_exit.h"
#include "orderctl_options.h"
#include "orderctl_print.h"

/* Connects, asks, prints. `outbox tail` does not return before it has failed or has enough. */
extern OrderctlExit orderctl_outbox(const OrderctlOptions *options, const OrderctlPrinter *printer);

#endif /* ORDERCTL_OUTBOX_H */
