/*
 * orderctl_event.h
 *		An event of the outbox as operators see it.
 */
#ifndef ORDERCTL_EVENT_H
#define ORDERCTL_EVENT_H

#include <stdint.h>

/* Times in milliseconds since 1970-01-01 UTC, 0 for none. Texts belong to who made it. */
typedef struct OrderctlEvent
{
	int64_t event_id;
	int64_t order_id;
	int64_t order_version;
	const char *type;
	const char *status; /* READY, SENT, FAILED, DLQ */
	int64_t attempts;   /* that failed by its own fault */
	const char *error;  /* of the last one, "" for none */
	int64_t created_at;
	int64_t sent_at;
	int64_t next_attempt_at;

	/* dlq: */
	int64_t failed_at;
	int64_t waiting; /* later events of its order, which wait for it */

	/* show: the event that it waits for, FAILED or DLQ; 0 when none */
	int64_t blocker_id;
	int64_t blocker_version;
	const char *blocker_status;
} OrderctlEvent;

#endif /* ORDERCTL_EVENT_H */
