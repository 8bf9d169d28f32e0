/*
 * gaps.h
 *		The event ids of which the publisher does not know what became.
 *
 * Event ids rise, but transactions commit in any order, roll back, or tell of their events late or
 * never. So the publisher keeps a head and a set of gaps: an id at or above the head has not been
 * seen; an id within a gap is undecided (rolled back, not yet committed, or committed without a
 * hint); every other id is known, and finished unless the publisher holds it. The outbox table
 * decides a gap, at the earliest when every transaction that may still commit into it has ended:
 * its horizon.
 *
 * Pure: no PostgreSQL; transaction ids and times are numbers that only compare.
 */
#ifndef GAPS_H
#define GAPS_H

#include <stdbool.h>
#include <stdint.h>

/* Ids from |from| up to but not including |to|. */
typedef struct Gap
{
	int64_t from;
	int64_t to;
	uint64_t horizon;   /* no transaction from here on can commit into it; 0: none runs any more */
	int64_t not_before; /* not to be looked up before this time; 0: at once */
} Gap;

/* A set of disjoint gaps, ordered by id. */
typedef struct Gaps
{
	int64_t head;
	Gap *items;
	int count;
	int capacity;
} Gaps;

/*
 * Sets up an empty set over memory of the caller, |capacity| >= 4 gaps. |head| is the first id
 * never seen.
 */
extern void gaps_init(Gaps *gaps, Gap *items, int capacity, int64_t head);

/* True when nothing is known of the id: it lies in a gap, or at or above the head. */
extern bool gaps_contain(const Gaps *gaps, int64_t id);

/*
 * The gap that contains |id|, or the first one above it; NULL when there is none. Valid until a
 * change.
 */
extern const Gap *gaps_find(const Gaps *gaps, int64_t id);

/*
 * Moves the head up to |head|: what lies between becomes a gap with this horizon. Lower heads are
 * ignored.
 */
extern void gaps_extend(Gaps *gaps, int64_t head, uint64_t horizon);

/*
 * Takes an id out of the set because the publisher has it in hand; moves the head above it where
 * needed. |horizon| is that of the gap this may leave behind.
 */
extern void gaps_take(Gaps *gaps, int64_t id, uint64_t horizon);

/* Puts ids below the head into the set, in place of what was known of them. */
extern void gaps_put(Gaps *gaps, const Gap *gap);

/* Declares every id from |from| up to but not including |to| as known; |to| is at most the head. */
extern void gaps_close(Gaps *gaps, int64_t from, int64_t to);

/*
 * The lowest gap at or above |from| that is due: its horizon is at most |oldest_running| (or
 * |eager|), and |now| has reached its not_before. NULL when there is none. Valid until a change.
 */
extern const Gap *gaps_next_due(const Gaps *gaps, int64_t from, uint64_t oldest_running,
								int64_t now, bool eager);

/* Every id below it is known. */
extern int64_t gaps_low_water(const Gaps *gaps);

#endif /* GAPS_H */
