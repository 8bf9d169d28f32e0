/*
 * store_item.h
 *		What is asked of the store, and what it answers.
 */
#ifndef STORE_ITEM_H
#define STORE_ITEM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "reason.h"

typedef enum StoreKind
{
	STORE_RECEIVE,
	STORE_SETTLE,
	STORE_CANCEL,
	STORE_GET,
	STORE_FIND,
	STORE_LIST,
	STORE_FIND_SESSION, /* gathered like the commands, and read */
	STORE_CLOSE_SESSION,
	STORE_CLAIM,       /* claim_unsettled(limit, lease); a call of its own */
	STORE_RECORD_HOLD, /* record_hold(), gathered like the commands, behind them */
} StoreKind;

#define STORE_KIND_COUNT 10

/*
 * An order as it is read, from a reader where there is one: perhaps as it was a moment ago. Texts
 * are valid during the callback.
 */
typedef struct StoreOrder
{
	int64_t order_id;
	int64_t account_id;
	const char *symbol;
	int side;          /* as on the wire */
	int order_type;    /* as on the wire */
	int time_in_force; /* as on the wire */
	int status;        /* as on the wire */
	int64_t quantity;
	int64_t price;
	int64_t filled_quantity;
	const char *reason; /* name, or "" */
	int64_t created_at_ms;
	int64_t updated_at_ms;
} StoreOrder;

/* A debt to Account that claim_unsettled() leased to us. Texts are valid during the callback. */
typedef struct StoreClaim
{
	int64_t order_id;
	int64_t account_id;
	int side; /* as on the wire */
	const char *symbol;
	int hold;               /* 2 UNKNOWN, 3 RELEASE_DUE */
	const char *reserve_id; /* NULL: the order never had a reservation */
	const char *currency;
	int64_t reserve_amount;
	int attempts;
} StoreClaim;

/*
 * What became of an item. |code| is CODE_OK, the refusal of the function, or, when the function
 * gave no answer:
 *	REASON_DATABASE_UNAVAILABLE	nothing was done: it was never sent, or certainly rolled back
 *	REASON_OUTCOME_UNKNOWN		a command was sent, and no answer came before the deadline
 *	REASON_INTERNAL_ERROR		the function failed on this very item
 *	REASON_OVERLOADED			too many were waiting
 */
typedef struct StoreResult
{
	int code;
	Reason reason;
	const char *detail; /* a sentence for people, or NULL */

	/* commands; order_id 0 where there is no order to tell of */
	int64_t order_id;
	int status;
	bool is_replayed;
	int64_t filled_quantity;
	int64_t updated_at_ms;

	/* STORE_RECEIVE of an order that is this item's to reserve and settle, else NULL and 0 */
	const char *reserve_id;
	const char *currency;
	int64_t reserve_amount; /* micro-units for BUY, units for SELL */
	bool is_shared;         /* somebody else may be at it, too */

	/* STORE_GET, STORE_FIND, STORE_LIST */
	const StoreOrder *orders;
	int order_count;

	/* STORE_FIND_SESSION. (STORE_CLOSE_SESSION is CODE_OK also when there was none.) */
	int64_t account_id;
	int64_t expires_at_ms;

	/* STORE_CLAIM */
	const StoreClaim *claims;
	int claim_count;
} StoreResult;

typedef struct StoreItem StoreItem;

typedef void (*StoreCallback)(void *context, const StoreResult *result);

/*
 * One request. A field of its owner's struct, which must live, with all texts, until the callback.
 * The owner sets everything above the line and leaves the rest to the store. Texts are terminated.
 */
struct StoreItem
{
	StoreKind kind;
	int64_t deadline_us; /* loop time; the callback comes by then */
	StoreCallback callback;
	void *context;
	int64_t account_id; /* RECEIVE, CANCEL, GET, FIND, LIST */
	const char *key;    /* RECEIVE, CANCEL, FIND; *_SESSION: the session id */
	int64_t order_id;   /* SETTLE, CANCEL, GET, RECORD_HOLD; LIST: after this one */
	const char *symbol; /* RECEIVE */
	int side;           /* RECEIVE */
	int order_type;     /* RECEIVE */
	int time_in_force;  /* RECEIVE */
	int64_t quantity;   /* RECEIVE */
	int64_t price;      /* RECEIVE */
	Reason reason;      /* SETTLE: REASON_NONE accepts */
	int hold;           /* SETTLE: 0 NONE, 1 HELD, 2 UNKNOWN; RECORD_HOLD: 0, 2, 3 RELEASE_DUE */
	int retry_after_ms; /* RECORD_HOLD */
	bool open_only;     /* LIST */
	int limit;          /* LIST, CLAIM */
	int lease_ms;       /* CLAIM */

	/* the store's own */
	TAILQ_ENTRY(StoreItem) link;
	int64_t submitted_us; /* 0 once it was sent */
	bool was_lost;     /* an attempt was sent, and its connection lost: it may have taken effect */
	bool needs_writer; /* a read that the reader could not answer, or answered with no */
};

#endif /* STORE_ITEM_H */
