/*
 * pg_server.h
 *		What a server is told, and says of itself: whether it takes writes, and its history.
 *
 * DESIGN	A promotion begins a new timeline of the cluster, so of two servers that take writes the
 *			one on the lower timeline was left behind: it may not know, if it hung meanwhile.
 *			Timelines of different clusters (a database that was moved or upgraded) say nothing
 *			about each other.
 *
 * Pure.
 */
#ifndef PG_SERVER_H
#define PG_SERVER_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct PgHistory
{
	uint64_t cluster;  /* the system identifier */
	uint32_t timeline; /* from 1; 0 when nothing is known */
} PgHistory;

/*
 * Has the server find out, too, when we are gone without a word: within 15 s. The kernel alone
 * would take two hours, for which each session would count among the server's connections.
 */
extern const char pg_server_session_settings[];

/* Asks a leader, but not a standby, for its history. */
extern const char pg_server_history_query[];

/*
 * Reads the answer to that, in text format, into |own|. NULL, or why the server will not do, where
 * |known| is the latest history that was met.
 */
extern const char *pg_server_check_history(const PGresult *answer, const PgHistory *known,
										   PgHistory *own);

/* Whether it takes writes, by what it last told its client: without a round trip. */
extern bool pg_server_takes_writes(const PGconn *pg);

#endif /* PG_SERVER_H */
