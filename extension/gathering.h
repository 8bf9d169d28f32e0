/*
 * gathering.h
 *		When the events that wait in the ring are handed over to the producer.
 *
 * An event that comes alone goes at once. Where more come all the time, a request with few of them
 * costs nearly what one with many does, here and at the broker, and takes it from the orders. So
 * after each hand-over the next ones gather:
 *
 *	- until handing over takes no more than one part in GATHER_WORK of a processor, but no longer
 *	  than GATHER_WORK_MS_MAX: next to no time where events are few, and the more the more there
 *	  are, or the slower the machine is;
 *	- while records are in flight, until all are acknowledged, but no longer than a few times what
 *	  an acknowledgement takes at its quickest: one broker may be slow, and the events of others
 *	  should not wait for it.
 *
 * Pure: no PostgreSQL. All times are microseconds of any one clock, which may be set back: then
 * nothing gathers.
 */
#ifndef GATHERING_H
#define GATHERING_H

#include <stdbool.h>
#include <stdint.h>

/* Zeroed, nothing gathers. */
typedef struct Gathering
{
	int64_t from;            /* when the last hand-over ended */
	int64_t work_until;      /* until it has paid for itself */
	int64_t in_flight_until; /* until records that are in flight are not waited for any more */
} Gathering;

/*
 * A hand-over has ended at |now|, for which this thread was on a processor for |cpu_us|, from 0. An
 * acknowledgement takes |round_trip_us| at its quickest, from 0; 0 when that is not known.
 */
extern void gathering_begin(Gathering *gathering, int64_t now, int64_t cpu_us,
							int64_t round_trip_us);

/*
 * Until when what has come gathers, as long as nothing changes with |is_in_flight|, whether a
 * record is in flight; |now| when it does not.
 */
extern int64_t gathering_end(const Gathering *gathering, int64_t now, bool is_in_flight);

#endif /* GATHERING_H */
