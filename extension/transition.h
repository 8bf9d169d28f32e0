/*
 * transition.h
 *		Changes of orders with their events: the only place that writes both.
 */
#ifndef TRANSITION_H
#define TRANSITION_H

#include "orders.h"

/*
 * Writes orders whose fields were already set to their new state, one event each: the version
 * counts up, and order and event go to their tables. |is_new| inserts the orders, else their locked
 * rows are updated. Runs within SPI; |orders| is in ascending order of ids.
 */
extern void transition_write(Order **orders, const EventType *event_types, int count, bool is_new);

#endif /* TRANSITION_H */
