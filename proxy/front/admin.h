/*
 * admin.h
 *		The port for operators: HTTP with /metrics, /healthz, /readyz, /status and /breaker/reset.
 */
#ifndef ADMIN_H
#define ADMIN_H

#include <stdbool.h>

#include "base/config.h"
#include "front/listener.h"
#include "net/channel.h"
#include "net/loop.h"
#include "order/account.h"
#include "order/flow.h"
#include "order/store.h"

typedef struct Admin Admin;

/* Whom it asks. They must outlive the admin. All but the listener may be NULL, in tests. */
typedef struct AdminSources
{
	const Listener *listener;
	const Flow *flow;
	const Store *store;
	const Channel *channel; /* to the Account service */
	Account *account;
} AdminSources;

/*
 * Listens at |config->admin_address|. NULL, with a line in the log, when it cannot.
 *
 *	/metrics	all metrics, Prometheus' text format
 *	/healthz	200: the loop turns
 *	/readyz		200, or 503 with the reason in words
 *	/status		JSON for people
 *	/breaker/reset	POST: closes the circuit breaker of Account
 */
extern Admin *admin_new(Loop *loop, const Config *config, const AdminSources *sources);

/* Closes the port and its connections. */
extern void admin_free(Admin *admin);

/* Where it listens, as numbers, with the real port. Lives as long as the admin. */
extern const char *admin_address(const Admin *admin);

/*
 * With false, /readyz answers 503 `draining` whatever else holds: before the listener drains, so
 * that a balancer turns away first. Ready from the start; a listener that drains is not ready
 * either.
 */
extern void admin_set_ready(Admin *admin, bool is_ready);

#endif /* ADMIN_H */
