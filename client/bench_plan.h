/*
 * bench_plan.h
 *		What order-bench asks for: the mix of new orders, repeated keys and cancels, and the
 *		payloads.
 *
 * Pure but for the keys, which are UUIDs of this moment: with the same seed the same mix comes in
 * the same order.
 */
#ifndef BENCH_PLAN_H
#define BENCH_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/bounds.h"
#include "bench_options.h"
#include "uuid7.h"

typedef enum BenchKind
{
	BENCH_PLACE,  /* a new order */
	BENCH_REPEAT, /* an order that was answered, once more with its key: nothing may be done */
	BENCH_CANCEL,
} BenchKind;

#define BENCH_KIND_COUNT 3

typedef struct BenchRequest
{
	STAILQ_ENTRY(BenchRequest) link; /* in the one list that it waits in */
	void *owner;                     /* for the callbacks of who sends it */
	BenchKind kind;
	int shape;   /* PLACE, REPEAT: which symbol and side */
	int session; /* of the options; -1: the connection is logged in */
	bool is_measured;
	bool is_resent;      /* a connection was lost meanwhile */
	int64_t order_id;    /* REPEAT: the one that must be answered; CANCEL: which */
	int64_t intended_us; /* when it was to be sent */
	char key[UUID7_TEXT_SIZE];
} BenchRequest;

/* An order that was answered, to be repeated or canceled. */
typedef struct BenchPlaced
{
	int64_t order_id;
	int shape;
	int session;
	bool is_cancelable;
	char key[UUID7_TEXT_SIZE];
} BenchPlaced;

/* The last orders of one connection. */
typedef struct BenchHistory
{
	BenchPlaced *placed;
	int capacity; /* 0: nothing is remembered */
	int count;
	int next; /* to be overwritten */
} BenchHistory;

/* The largest payload: session, symbol and key, and some 60 bytes of numbers and tags. */
#define BENCH_PAYLOAD_SIZE (SESSION_ID_BYTES_MAX + SYMBOL_BYTES_MAX + KEY_BYTES_MAX + 128)

typedef struct BenchPlan BenchPlan;

/* |options| must outlive it. */
extern BenchPlan *bench_plan_new(const BenchOptions *options);
extern void bench_plan_free(BenchPlan *plan);

/* Prepares the history of a connection; freed with bench_history_free(). */
extern void bench_history_init(BenchHistory *history, const BenchOptions *options);
extern void bench_history_free(BenchHistory *history);

/*
 * Decides on the next request of a connection: kind, shape, session, order id and key. Where the
 * history has nothing to repeat or cancel, it is a new order.
 */
extern void bench_plan_next(BenchPlan *plan, BenchHistory *history, BenchRequest *request);

/* The session of a connection; -1 when each request names one. */
extern int bench_plan_login(const BenchPlan *plan, int connection);

/* Writes the payload of a request and returns its size. */
extern size_t bench_plan_pack(const BenchPlan *plan, const BenchRequest *request,
							  uint8_t payload[BENCH_PAYLOAD_SIZE]);

/* Remembers a new order that was answered. */
extern void bench_history_add(BenchHistory *history, const BenchRequest *request, int64_t order_id,
							  bool is_accepted);

#endif /* BENCH_PLAN_H */
