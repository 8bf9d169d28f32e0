/*
 * resolver.h
 *		Pays the debts to Account: holds of which nobody knows whether they exist, and holds of
 *		orders that have ended; gives up orders whose proxy died between receiving and settling
 *		them.
 *
 * Every proxy has one; the database leases each debt to one of them at a time.
 */
#ifndef RESOLVER_H
#define RESOLVER_H

#include "base/config.h"
#include "net/loop.h"
#include "order/account.h"
#include "order/store.h"

typedef struct Resolver Resolver;

/*
 * Looks for debts at once and every RESOLVER_INTERVAL_MS. Takes from |config| what is under
 * [resolver]; it, store and account must outlive this.
 */
extern Resolver *resolver_new(Loop *loop, Store *store, Account *account, const Config *config);

/* Takes on nothing more; what is under way goes on. */
extern void resolver_stop(Resolver *resolver);

/* Debts under way, and the search for more. */
extern int resolver_pending_count(const Resolver *resolver);

/* It must have been stopped, and nothing be under way. */
extern void resolver_free(Resolver *resolver);

#endif /* RESOLVER_H */
