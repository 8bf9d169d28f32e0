/*
 * backlog.h
 *		The items that wait for a database connection, in lanes: which go next, and together.
 *
 * Pure. Within a lane the earliest deadline goes first; between lanes the more urgent work, but
 * none is passed over for ever.
 */
#ifndef BACKLOG_H
#define BACKLOG_H

#include "order/batch.h"

/* By falling urgency: what ends something begun, before what begins something. */
typedef enum BacklogLane
{
	LANE_SETTLE,
	LANE_SESSION,       /* to any server; everything else of the session's owner waits for it */
	LANE_SESSION_AGAIN, /* to the writer only */
	LANE_CANCEL,
	LANE_RECEIVE,
	LANE_RECORD_HOLD,
	LANE_SINGLE, /* what goes alone, and to the writer only */
	LANE_READ,   /* what goes alone, and to any server */
	LANE_LIST,   /* the same, of what may take long */
} BacklogLane;

#define LANE_COUNT 9
#define LANE_BIT(lane) (1u << (lane))
#define LANES_ALL (LANE_BIT(LANE_COUNT) - 1)

/* What goes together in one call. */
#define LANES_GATHERED \
	(LANES_ALL & ~(LANE_BIT(LANE_SINGLE) | LANE_BIT(LANE_READ) | LANE_BIT(LANE_LIST)))

/* What a reader may serve. */
#define LANES_READ (LANE_BIT(LANE_SESSION) | LANE_BIT(LANE_READ) | LANE_BIT(LANE_LIST))

TAILQ_HEAD(StoreItemList, StoreItem);

typedef struct Lane
{
	struct StoreItemList items; /* by rising deadline */
	struct BatchList halves;    /* of calls that failed; they go before the items, as they are */
	int passed_count;           /* calls for which it was passed over since its last */
} Lane;

typedef struct Backlog
{
	Lane lanes[LANE_COUNT];
	int count; /* items */
} Backlog;

/* Makes an empty one. */
extern void backlog_init(Backlog *backlog);

/* Adds an item to its lane. */
extern void backlog_add(Backlog *backlog, StoreItem *item);

/* The items of a call that had no effect go back, to go again with others. Frees the batch. */
extern void backlog_return(Backlog *backlog, Batch *batch);

/* The items of a call that failed, to go again as two calls of half the size. Frees the batch. */
extern void backlog_split(Backlog *backlog, Batch *batch);

/*
 * Takes the next call from one of |lanes| (LANE_BIT): all that wait there, at most |batch_max|, or
 * one that goes alone. NULL when nothing waits. The caller owns the batch.
 */
extern Batch *backlog_take(Backlog *backlog, unsigned lanes, int batch_max);

/* Whether something waits in one of |lanes|. */
extern bool backlog_has(const Backlog *backlog, unsigned lanes);

/* Takes an item whose deadline is not after |now_us|; NULL when there is none. */
extern StoreItem *backlog_take_overdue(Backlog *backlog, int64_t now_us);

/* The earliest deadline; INT64_MAX when nothing waits. */
extern int64_t backlog_next_deadline(const Backlog *backlog);

#endif /* BACKLOG_H */
