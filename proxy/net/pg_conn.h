/*
 * pg_conn.h
 *		One asynchronous connection to PostgreSQL, with its prepared statements: one call at a time.
 */
#ifndef PG_CONN_H
#define PG_CONN_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bounds.h"
#include "base/bytes.h"
#include "net/dns.h"
#include "net/loop.h"
#include "net/pg_failure.h"
#include "net/pg_server.h"
#include "net/pg_target.h"

typedef struct PgConn PgConn;

/* A statement that is prepared on every connection. |parameter_types|: PG_TYPE_ of pg_array.h. */
typedef struct PgStatement
{
	const char *name;
	const char *sql;
	int parameter_count;
	Oid parameter_types[PG_PARAMETERS_MAX];
} PgStatement;

/* The values of a statement's parameters, in binary format. */
typedef struct PgArguments
{
	Bytes values[PG_PARAMETERS_MAX];
	int count;
} PgArguments;

typedef struct PgReply
{
	PgOutcome outcome;
	const PGresult *result; /* PG_OK of a call: rows in binary format; else NULL */
	const char *sqlstate;   /* "" when there is none (libpq's own errors), never NULL */
	const char *message;    /* one line, "" with PG_OK, never NULL */
	const char *detail;     /* or NULL */
	bool is_failover;       /* other connections to the same servers are stale, too */
} PgReply;

/* The reply and all it points to is valid in the callback, which may call pg_conn_free(). */
typedef void (*PgCallback)(void *context, const PgReply *reply);

typedef struct PgConnOptions
{
	const PgTarget *target;     /* outlives the connection */
	int first_host;             /* the one to begin with, counted on from the last to the first */
	bool is_writer;             /* only a server that takes writes will do ... */
	const PgHistory *known;     /* ... and is on this timeline or a later one; read at each login */
	int64_t connect_timeout_us; /* for one address: resolve, connect, log in, prepare */
	int64_t call_timeout_us;    /* for a call */
	const PgStatement *statements;
	int statement_count;
	PgCallback opened; /* once, later, not from within pg_conn_open(): PG_OK or the last failure */
	PgCallback closed; /* once, when an idle connection is lost or its server takes no writes */
	void *context;
} PgConnOptions;

/* Begins to connect: to the first address of a host, after a failure to the next one of all. */
extern PgConn *pg_conn_open(Loop *loop, Dns *dns, const PgConnOptions *options);

/* Closes it. No callback comes any more, also not that of a call. */
extern void pg_conn_free(PgConn *conn);

/*
 * Calls a statement, by its number, on an idle connection. The arguments are copied. The callback
 * comes once, later, not from within this call; in it the connection is idle again or closed.
 */
extern void pg_conn_call(PgConn *conn, int statement, const PgArguments *arguments,
						 PgCallback callback, void *context);

/* Whether the server is still what |is_writer| asks for, by what it last said of itself. */
extern bool pg_conn_is_fit(const PgConn *conn);

/* host:port of the server, for the log; valid until the connection is closed. */
extern const char *pg_conn_peer(const PgConn *conn);

/* Which host of the target that is. */
extern int pg_conn_host(const PgConn *conn);

/* Of a writer that was opened: the server's history. */
extern const PgHistory *pg_conn_history(const PgConn *conn);

#endif /* PG_CONN_H */
