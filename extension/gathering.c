/*
 * gathering.c
 *		When the events that wait in the ring are handed over to the producer.
 *
 * DESIGN	What a hand-over takes is measured as processor time: on a busy machine it also waits
 *			for a processor, which says nothing of what the next one will need.
 */
#include "gathering.h" /* first: it must need nothing that is included below */

#include "bounds.h"

#define US_PER_MS 1000

static int64_t
clamp(int64_t value, int64_t minimum, int64_t maximum)
{
	if (value < minimum)
		return minimum;
	return value > maximum ? maximum : value;
}

void
gathering_begin(Gathering *gathering, int64_t now, int64_t cpu_us, int64_t round_trip_us)
{
	/* Bounded first: a product could be more than there are numbers. */
	int64_t work = clamp(cpu_us, 0, GATHER_WORK_MS_MAX * US_PER_MS) * GATHER_WORK;
	int64_t round_trips = clamp(round_trip_us, 0, GATHER_MS_MAX * US_PER_MS) * GATHER_ROUND_TRIPS;

	gathering->from = now;
	gathering->work_until = now + clamp(work, 0, GATHER_WORK_MS_MAX * US_PER_MS);
	gathering->in_flight_until =
		now + clamp(round_trips, GATHER_MS_MIN * US_PER_MS, GATHER_MS_MAX * US_PER_MS);
}

int64_t
gathering_end(const Gathering *gathering, int64_t now, bool is_in_flight)
{
	int64_t end = gathering->work_until;

	if (is_in_flight && gathering->in_flight_until > end)
		end = gathering->in_flight_until;
	return now < gathering->from || now > end ? now : end;
}
