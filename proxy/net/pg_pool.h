/*
 * pg_pool.h
 *		A pool of connections to the writer, or to the readers.
 *
 * DESIGN	One connection is kept open; more are opened while work waits, up to the maximum, and
 *			closed again when they are not needed. When one tells that its server goes or is no
 *			longer the leader, all that were open then are closed: they would fail one by one.
 *
 *			A server that hangs tells nothing. While a call of the writer hangs, one connection more
 *			looks for a leader, and where that is on a later timeline, all to the one before are
 *			closed, also with a call under way. From then on no server on an earlier timeline will
 *			do, whatever it says of itself.
 */
#ifndef PG_POOL_H
#define PG_POOL_H

#include "net/pg_conn.h"
#include "net/pg_pool_metrics.h"

typedef struct PgPool PgPool;

typedef struct PgPoolOptions
{
	PgPoolRole role;
	const char *conninfo;
	int connections_max;
	int64_t connect_timeout_us;
	int64_t call_timeout_us;
	int64_t idle_timeout_us; /* of connections above the first */
	int64_t lifetime_us;     /* of each, give or take a tenth, so that not all end at once */
	const PgStatement *statements;
	int statement_count;
	void (*changed)(
		void *context); /* a connection was opened or lost: calls may go otherwise now */
	void *context;
} PgPoolOptions;

/*
 * Begins to connect; the server need not be there. NULL and a line in the log when the connection
 * string cannot be understood. What |options| points to outlives the pool.
 */
extern PgPool *pg_pool_new(Loop *loop, Dns *dns, const PgPoolOptions *options);

/* Closes all connections. The callbacks of calls do not come any more. */
extern void pg_pool_free(PgPool *pool);

/*
 * Calls a statement on an idle connection; false when there is none. Arguments and callback as with
 * pg_conn_call(); the connection can be used again in the next turn.
 */
extern bool pg_pool_call(PgPool *pool, int statement, const PgArguments *arguments,
						 PgCallback callback, void *context);

/* Connections that calls can go to now, and all that are open. */
extern int pg_pool_idle_count(const PgPool *pool);
extern int pg_pool_open_count(const PgPool *pool);

/* Work waits: opens another connection if it may and none is idle. */
extern void pg_pool_grow(PgPool *pool);

#endif /* PG_POOL_H */
