/*
 * ids.h
 *		Order and event ids: never used twice, rising in the order in which they are taken.
 */
#ifndef IDS_H
#define IDS_H

#include "postgres.h"

/*
 * The sequence of the given name in schema order_service. ERROR (undefined table) when the
 * extension does not exist.
 */
extern Oid ids_sequence(const char *name);

/*
 * Takes the next |count| ids, one or more; returns the first, each other is the one before it plus
 * one. The transaction has a transaction id before it takes any: whoever sees an id committed knows
 * that every transaction that took a lower one had started writing by then. The watermarks rest on
 * that. ERROR when there is no room for all of them, or nothing may be written.
 */
extern int64 ids_take(Oid sequence, int count);

/*
 * The id that a sequence value stands for on the present timeline. ERROR when the value has no
 * room.
 */
extern int64 ids_compose(int64 value);

/* The timeline that an id was taken on, from 0. Between the ids of two there are none. */
extern int64 ids_timeline(int64 id);

/* For qsort() over int64. */
extern int ids_compare(const void *left, const void *right);

#endif /* IDS_H */
