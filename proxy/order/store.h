/*
 * store.h
 *		The extension's functions, called over a pool of asynchronous connections.
 *
 * DESIGN	Gather while busy: commands wait while all connections are busy; the next free one takes
 *			all that wait of one kind, up to the batch limit, as one call of an array function, one
 *			transaction, one commit. With an idle pool a command goes at once, alone.
 */
#ifndef STORE_H
#define STORE_H

#include "base/config.h"
#include "net/dns.h"
#include "net/loop.h"
#include "order/store_item.h"

typedef struct Store Store;

/*
 * Begins to connect; the database need not be there. Takes from |config| what is under [database]
 * and in_flight_max; it must outlive the store. NULL and a line in the log when a connection string
 * cannot be understood.
 */
extern Store *store_new(Loop *loop, Dns *dns, const Config *config);

/* Closes all connections. No item may be left. */
extern void store_free(Store *store);

/*
 * Takes an item. Its callback comes exactly once, later, not from within this call. Above
 * in_flight_max items that wait, all but STORE_SETTLE are refused as REASON_OVERLOADED: what was
 * begun must end.
 */
extern void store_submit(Store *store, StoreItem *item);

/* Items taken whose callback has not come. */
extern int store_pending_count(const Store *store);

/* Whether a writer connection is open to a server that takes writes. */
extern bool store_is_ready(const Store *store);

#endif /* STORE_H */
