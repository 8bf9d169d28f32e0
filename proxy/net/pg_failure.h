/*
 * pg_failure.h
 *		What went wrong with a call or a connection, and what that means for both.
 *
 * Pure.
 */
#ifndef PG_FAILURE_H
#define PG_FAILURE_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "base/bounds.h"

#define PG_SQLSTATE_SIZE 6
#define PG_SQLSTATE_READ_ONLY "25006"

/* How a call ended, or a connection. */
typedef enum PgOutcome
{
	PG_OK,
	PG_FAILED,   /* an error; certainly rolled back, the connection is fine */
	PG_UNUSABLE, /* certainly rolled back or never run; the connection is closed */
	PG_LOST,     /* the connection is closed; whether the call took effect is not known */
} PgOutcome;

typedef struct PgFailure
{
	char sqlstate[PG_SQLSTATE_SIZE];    /* "" when there is none: libpq's own errors */
	char message[PG_MESSAGE_BYTES_MAX]; /* the first line, cut to the size */
	bool is_fatal;                      /* the server has said its last word */
} PgFailure;

/* |sqlstate| may be NULL. */
extern void pg_failure_set(PgFailure *failure, const char *sqlstate, const char *message);

/* From an error, or a notice, of the server. */
extern void pg_failure_of_result(PgFailure *failure, const PGresult *result);

/* What a failure means while the connection still seems to be there: never PG_OK. */
extern PgOutcome pg_failure_outcome(const PgFailure *failure);

/*
 * Whether other connections to the same servers are stale, too: the server is going down, has gone,
 * or is no longer the leader.
 */
extern bool pg_failure_is_failover(const PgFailure *failure, PgOutcome outcome);

#endif /* PG_FAILURE_H */
