/*
 * bench_connection.h
 *		A connection of order-bench: logs in, sends requests, and after a loss connects again and
 *		sends them once more with the same keys.
 */
#ifndef BENCH_CONNECTION_H
#define BENCH_CONNECTION_H

#include <stdbool.h>
#include <sys/queue.h>

#include "bench_options.h"
#include "bench_plan.h"
#include "bench_tally.h"
#include "client.h"

typedef struct BenchConnection BenchConnection;

/* What all connections share, and who is told. It must outlive them. */
typedef struct BenchTeam
{
	Loop *loop;
	Dns *dns;
	const BenchOptions *options;
	BenchPlan *plan;
	BenchTally *tally;
	bool is_closing; /* set by the owner at the end: a lost connection stays lost */

	void *context;

	/* The first time that it can be used. */
	void (*opened)(void *context, BenchConnection *connection);

	/* It can take another request: has just become ready, or got an answer. */
	void (*room)(void *context, BenchConnection *connection);

	/* A request has ended and is its owner's again. */
	void (*ended)(void *context, BenchRequest *request);

	/* It is lost and stays so; its requests have ended. */
	void (*gone)(void *context, BenchConnection *connection);

	/* The run makes no sense: |reason| is a sentence without its full stop. */
	void (*failed)(void *context, const char *reason);
} BenchTeam;

struct BenchConnection
{
	TAILQ_ENTRY(BenchConnection) link; /* the owner's */
	bool is_listed;                    /* the owner's */
	BenchHistory history;

	/* Private from here. */
	BenchTeam *team;
	int index;
	Client *client;
	bool is_ready;
	bool was_ready; /* once */
	int in_flight_count;
	STAILQ_HEAD(, BenchRequest) waiting; /* to be sent as soon as there is room */
	STAILQ_HEAD(, BenchRequest) later;   /* then put into |waiting| */
	LoopEvent connect_timer;
	LoopEvent later_timer;
	int64_t pause_us; /* before the next attempt to connect */
};

/* Prepares the connection number |index|; freed with bench_connection_close(). */
extern void bench_connection_init(BenchConnection *connection, BenchTeam *team, int index);

/* Not from within a callback of the team. Requests that wait are forgotten. */
extern void bench_connection_close(BenchConnection *connection);

/* Connects and logs in. */
extern void bench_connection_open(BenchConnection *connection);

/* Whether it can take another request. */
extern bool bench_connection_has_room(const BenchConnection *connection);

/* Sends a request. There must be room. */
extern void bench_connection_send(BenchConnection *connection, BenchRequest *request);

#endif /* BENCH_CONNECTION_H */
