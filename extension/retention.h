/*
 * retention.h
 *		Removes events from the outbox that Kafka has had for longer than
 *		order_service.outbox_retention.
 */
#ifndef RETENTION_H
#define RETENTION_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "shared.h"

typedef struct Retention Retention;

/* Starts at the oldest row. Allocates in the current memory context. */
extern Retention *retention_new(Channel *channel, Oid outbox);

/*
 * When a step is due, looks at the next rows, at most RETENTION_STEP_ROWS, in a transaction of its
 * own and removes those that are SENT and old enough; all others stay, whatever their state. Below
 * |low_water| no row can appear any more. Waits for no lock of a row.
 */
extern void retention_step(Retention *retention, TimestampTz now, int64 low_water);

/* When the next step is due; DT_NOEND while rows are kept for ever. */
extern TimestampTz retention_next_due(const Retention *retention);

/* Applies a changed order_service.outbox_retention. */
extern void retention_reload(Retention *retention);

#endif /* RETENTION_H */
