/*
 * intake.h
 *		How the publisher learns of events: from the hints in the ring and from the table.
 */
#ifndef INTAKE_H
#define INTAKE_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "delivery.h"
#include "gaps.h"
#include "parked.h"
#include "shared.h"

typedef struct Intake Intake;

/*
 * Starts with everything from |low_water| up as one gap. Allocates in the current memory context;
 * to be called outside a transaction. |parked| stays the caller's.
 */
extern Intake *intake_new(Channel *channel, Oid outbox, Parked *parked, int64 low_water);

/* The gaps, for the delivery; and where events are offered to from now on. */
extern Gaps *intake_gaps(Intake *intake);
extern void intake_set_delivery(Intake *intake, Delivery *delivery);

/*
 * Offers the events of the ring until it is empty or no more can be in hand. True when there were
 * any.
 */
extern bool intake_read_ring(Intake *intake);

/* Whether it stopped within a transaction's events, because no more could be in hand. */
extern bool intake_is_within_record(const Intake *intake);

/*
 * One step of looking up gaps: a page of the table, in a transaction of its own, when somebody said
 * that hints are missing, when the horizon of a gap has passed, or when the safety pass is due.
 * True when there may be more to do at once.
 */
extern bool intake_read_table(Intake *intake, TimestampTz now);

/* True while gaps are looked up without waiting for their horizon. */
extern bool intake_is_catching_up(const Intake *intake);

/* When the next step in the table is due, if nothing happens before. */
extern TimestampTz intake_next_due(const Intake *intake);

/* Applies a changed order_service.safety_pass. */
extern void intake_reload(Intake *intake);

#endif /* INTAKE_H */
