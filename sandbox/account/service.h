/*
 * service.h
 *		The gRPC service: takes calls, lets them fail as the faults say, asks the ledger, answers.
 */
#ifndef SERVICE_H
#define SERVICE_H

#include "faults.h"
#include "ledger.h"
#include "method.h"
#include "net/loop.h"

typedef struct Service Service;

/* Calls since the start. */
typedef struct ServiceTotals
{
	/* What came and could be read, whatever became of it. */
	int64_t seen[METHOD_COUNT];

	/* What the ledger decided, whatever a fault then did to the answer. */
	int64_t results[METHOD_COUNT][LEDGER_RESULT_COUNT];

	/* What never came so far. */
	int64_t unknown_method;
	int64_t unreadable;
	int64_t overloaded;
} ServiceTotals;

/*
 * Listens on "host:port" (port 0: any free one); a call above |calls_max| under way is refused.
 * Ledger and faults outlive the service. NULL, and a line in the log, when it cannot.
 */
extern Service *service_new(Loop *loop, Ledger *ledger, Faults *faults, const char *address,
							int calls_max);

/* The port it listens on. */
extern int service_port(const Service *service);

/* Takes no new connection and tells clients to go elsewhere; calls under way go on. */
extern void service_drain(Service *service);

/* Calls that are still to be answered; those that hang are not. */
extern int service_pending_count(const Service *service);

/* Ends what is under way. */
extern void service_free(Service *service);

/* Valid as long as the service. */
extern const ServiceTotals *service_totals(const Service *service);

#endif /* SERVICE_H */
