/*
 * orderctl_print.h
 *		What orderctl prints: the same answers for people and as JSON.
 */
#ifndef ORDERCTL_PRINT_H
#define ORDERCTL_PRINT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "client.h"
#include "orderctl_event.h"
#include "orderctl_options.h"

/* How long pings took, in microseconds. */
typedef struct OrderctlPings
{
	int64_t count;
	int64_t min_us;
	int64_t median_us;
	int64_t max_us;
} OrderctlPings;

/* The result of `status`. */
typedef struct OrderctlHealth
{
	bool is_ready;
	const char *readiness; /* what /readyz said */
	const json_t *status;  /* what /status said; NULL when that was no JSON */
} OrderctlHealth;

/* Each prints one answer. |options| has the command and, for place and cancel, its key. */
typedef struct OrderctlPrinter
{
	/* place, cancel: the order is recorded, whatever became of it */
	void (*response)(const OrderctlOptions *options,
					 const OrderService__V1__OrderResponse *response);
	void (*order)(const OrderctlOptions *options, const OrderService__V1__Order *order);
	void (*orders)(const OrderctlOptions *options,
				   const OrderService__V1__ListOrdersResponse *response);
	void (*login)(const OrderctlOptions *options, const OrderService__V1__LoginResponse *response);
	void (*logout)(const OrderctlOptions *options);
	void (*ping)(const OrderctlOptions *options, const char *peer, int64_t duration_us);
	void (*pings)(const OrderctlOptions *options, const OrderctlPings *pings);
	void (*health)(const OrderctlOptions *options, const OrderctlHealth *health);

	/* outbox list and tail, dlq list; |is_more|: there are others behind them */
	void (*events)(const OrderctlOptions *options, const OrderctlEvent *events, int count,
				   bool is_more);
	/* show; |payload| is NULL when it is not an event */
	void (*event)(const OrderctlOptions *options, const OrderctlEvent *event,
				  const json_t *payload);
	void (*requeued)(const OrderctlOptions *options, int64_t count);

	/* nothing was recorded */
	void (*refusal)(const OrderctlOptions *options, const OrderService__V1__ErrorMessage *error);

	/* no answer; |is_sent|: the request may have been carried out */
	void (*failure)(const OrderctlOptions *options, bool is_sent, const char *reason);
} OrderctlPrinter;

extern const OrderctlPrinter orderctl_text_printer;
extern const OrderctlPrinter orderctl_json_printer;

#endif /* ORDERCTL_PRINT_H */
