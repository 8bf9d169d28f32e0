/*
 * resolver.c
 *		Pays the debts to Account.
 *
 * DESIGN	A debt is a hold that is UNKNOWN (Account's answer was lost) or RELEASE_DUE (the order
 *			ended). The database finds and leases them; a lease that ends before the debt is paid is
 *			given to whoever asks next, and every step may be repeated:
 *
 *				UNKNOWN ─► reserve until Account answers ─► release ─► RELEASE_DUE, in a while
 *				RELEASE_DUE ─► release ─► NONE
 *
 *			Reserving what is to be released looks odd. But the lost Reserve may still be under way:
 *			had we only released, it could arrive behind the release and hold for ever. An answered
 *			Reserve of the same id means that the lost one can do nothing new any more; the second
 *			release, [resolver] second_release later, is for an Account service that forgets.
 *
 * LIMITS	RESOLVER_DEBTS_MAX at a time, so that a day's debts cannot crowd out orders.
 *
 * FAILURE	Dying anywhere leaves the debt with its lease.
 */
#include "order/resolver.h"

#include <assert.h>
#include <stdlib.h>

#include "base/bounds.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

/* The wire's BUY. */
#define SIDE_BUY 1

/* Doublings of the pause after attempts that did not help: 1, 2, 4 ... s. */
#define DOUBLINGS_MAX 6

struct Resolver
{
	Loop *loop;
	Store *store;
	Account *account;
	const Config *config;
	LoopEvent timer;
	StoreItem search;
	bool is_searching;
	bool has_more; /* the last search found as many as it asked for */
	bool is_stopped;
	int debts;
	MetricsCounter claimed;
	MetricsCounter paid;
	MetricsCounter postponed;
};

typedef struct Debt
{
	Resolver *resolver;
	StoreItem item;
	int hold; /* as it was leased */
	int attempts;
	char *symbol;
	char *currency;
	char *reserve_id;
	AccountReservation reservation;
} Debt;

static void
free_debt(Debt *debt)
{
	Resolver *resolver = debt->resolver;

	/* What an outage has piled up is worked off without pauses. */
	if (--resolver->debts == 0 && resolver->has_more && !resolver->is_stopped)
		loop_event_add(&resolver->timer, 0);
	free(debt->symbol);
	free(debt->currency);
	free(debt->reserve_id);
	free(debt);
}

static void
recorded(void *context, const StoreResult *result)
{
	Debt *debt = context;

	/* If it was not recorded, the lease ends and somebody begins anew. */
	if (result->code != CODE_OK)
		log_event(LOG_WARNING, "hold not recorded",
				  LOG_NUMBER("order_id", debt->reservation.order_id),
				  LOG_TEXT("reason", reason_name(result->reason)));
	free_debt(debt);
}

static void
record(Debt *debt, int hold, int64_t retry_after_ms)
{
	Resolver *resolver = debt->resolver;

	metrics_count(hold == HOLD_NONE ? &resolver->paid : &resolver->postponed);
	debt->item = (StoreItem){
		.kind = STORE_RECORD_HOLD,
		.deadline_us = loop_now_us(resolver->loop) + RESOLVER_STORE_MS_MAX * CLOCK_MS,
		.callback = recorded,
		.context = debt,
		.order_id = debt->reservation.order_id,
		.hold = hold,
		.retry_after_ms = (int) retry_after_ms,
	};
	store_submit(resolver->store, &debt->item);
}

/* Account did not answer: the debt stays what it is, for longer each time. */
static void
postpone(Debt *debt)
{
	int doublings = debt->attempts < DOUBLINGS_MAX ? debt->attempts : DOUBLINGS_MAX;

	record(debt, debt->hold, (int64_t) RESOLVER_INTERVAL_MS << doublings);
}

static void
released(void *context, const AccountResult *result)
{
	Debt *debt = context;

	if (result->reason != REASON_NONE)
		postpone(debt);
	else if (debt->hold == HOLD_UNKNOWN)
		record(debt, HOLD_RELEASE_DUE, debt->resolver->config->second_release_us / CLOCK_MS);
	else
		record(debt, HOLD_NONE, 0);
}

static void
reserved(void *context, const AccountResult *result)
{
	Debt *debt = context;
	bool is_answered = result->hold != HOLD_UNKNOWN && result->reason != REASON_ACCOUNT_UNAVAILABLE;

	if (is_answered)
		account_release(debt->resolver->account, &debt->reservation, released, debt);
	else
		postpone(debt);
}

static void
pay(Resolver *resolver, const StoreClaim *claim)
{
	Debt *debt = bytes_new_zeroed(1, sizeof(Debt));

	debt->resolver = resolver;
	debt->hold = claim->hold;
	debt->attempts = claim->attempts;
	debt->symbol = bytes_copy_text(claim->symbol);
	debt->currency = bytes_copy_text(claim->currency);
	debt->reserve_id = claim->reserve_id != NULL ? bytes_copy_text(claim->reserve_id) : NULL;
	debt->reservation = (AccountReservation){
		.account_id = claim->account_id,
		.order_id = claim->order_id,
		.correlation_id = (uint64_t) claim->order_id,
		.reserve_id = debt->reserve_id,
		.is_cash = claim->side == SIDE_BUY,
		.is_debt = true,
		.currency = debt->currency,
		.symbol = debt->symbol,
		.amount = claim->reserve_amount,
	};
	resolver->debts++;
	metrics_count(&resolver->claimed);
	if (debt->reserve_id == NULL)
		record(debt, HOLD_NONE, 0);
	else if (debt->hold == HOLD_UNKNOWN)
		account_reserve(resolver->account, &debt->reservation, reserved, debt);
	else
		account_release(resolver->account, &debt->reservation, released, debt);
}

static void
claimed(void *context, const StoreResult *result)
{
	Resolver *resolver = context;

	resolver->is_searching = false;
	resolver->has_more = result->claim_count > 0 && result->claim_count == resolver->search.limit;
	for (int i = 0; i < result->claim_count; i++)
		pay(resolver, &result->claims[i]);
}

static void
search(void *context, short what)
{
	Resolver *resolver = context;

	(void) what;
	if (resolver->is_stopped)
		return;
	loop_event_add(&resolver->timer, RESOLVER_INTERVAL_MS * CLOCK_MS);
	if (resolver->is_searching || resolver->debts == RESOLVER_DEBTS_MAX ||
		!store_is_ready(resolver->store))
		return;
	resolver->is_searching = true;
	resolver->search = (StoreItem){
		.kind = STORE_CLAIM,
		.deadline_us = loop_now_us(resolver->loop) + RESOLVER_STORE_MS_MAX * CLOCK_MS,
		.callback = claimed,
		.context = resolver,
		.limit = RESOLVER_DEBTS_MAX - resolver->debts,
		.lease_ms = (int) (resolver->config->resolver_lease_us / CLOCK_MS),
	};
	store_submit(resolver->store, &resolver->search);
}

Resolver *
resolver_new(Loop *loop, Store *store, Account *account, const Config *config)
{
	Resolver *resolver = bytes_new_zeroed(1, sizeof(Resolver));

	resolver->loop = loop;
	resolver->store = store;
	resolver->account = account;
	resolver->config = config;
	metrics_counter_init(&resolver->claimed, "resolver_debts_total", "step=\"claimed\"",
						 "Debts to Account, by what the resolver did with them.");
	metrics_counter_init(&resolver->paid, "resolver_debts_total", "step=\"paid\"",
						 "Debts to Account, by what the resolver did with them.");
	metrics_counter_init(&resolver->postponed, "resolver_debts_total", "step=\"postponed\"",
						 "Debts to Account, by what the resolver did with them.");
	loop_event_init(&resolver->timer, loop, -1, 0, search, resolver);
	loop_event_add(&resolver->timer, 0);
	return resolver;
}

void
resolver_stop(Resolver *resolver)
{
	resolver->is_stopped = true;
	loop_event_remove(&resolver->timer);
}

int
resolver_pending_count(const Resolver *resolver)
{
	return resolver->debts + resolver->is_searching;
}

void
resolver_free(Resolver *resolver)
{
	assert(resolver->is_stopped && resolver_pending_count(resolver) == 0);
	free(resolver);
}
