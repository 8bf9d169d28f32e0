/*
 * orderctl_window.h
 *		What has been shown of an outbox that is followed, so that nothing is shown twice and what
 *		commits late is not missed.
 *
 * Event ids rise, but their transactions commit in any order: behind the newest event one may still
 * come to light. Pure.
 */
#ifndef ORDERCTL_WINDOW_H
#define ORDERCTL_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#define ORDERCTL_WINDOW_MAX 20000

/* Events from |low| on may still appear; those that have are in |shown|, in ascending order. */
typedef struct OrderctlWindow
{
	int64_t low;
	int64_t shown[ORDERCTL_WINDOW_MAX];
	int count;
	bool has_mark;    /* of a moment: */
	int64_t end_id;   /* every id below it was taken, */
	uint64_t horizon; /* by a transaction below this one */
} OrderctlWindow;

/* Starts with nothing shown; events below |low| are of no interest. */
extern void orderctl_window_start(OrderctlWindow *window, int64_t low);

/*
 * Remembers an event, at least |low| and not yet remembered. False when the window was full: then
 * |low| has moved, and what still commits below it will be missed.
 */
extern bool orderctl_window_add(OrderctlWindow *window, int64_t event_id);

/*
 * Takes note that all events visible to a snapshot have been added. |end_id| and |horizon| are of a
 * moment before the snapshot (order_service.outbox_position()); |xmin| is the snapshot's: no
 * transaction below it was running. Moves |low| behind all ids that are decided.
 */
extern void orderctl_window_advance(OrderctlWindow *window, int64_t end_id, uint64_t horizon,
									uint64_t xmin);

#endif /* ORDERCTL_WINDOW_H */
