/*
 * pg_pool_metrics.c
 *		What the pools of database connections count.
 */
#include "net/pg_pool_metrics.h"

static PgPoolMetrics metrics[PG_ROLE_COUNT];

#define LABELS(role) \
	{ \
		.pool = "pool=\"" role "\"", \
		.states = {"pool=\"" role "\",state=\"connecting\"", "pool=\"" role "\",state=\"idle\"", \
				   "pool=\"" role "\",state=\"busy\""}, \
		.reasons = { \
			"pool=\"" role "\",reason=\"idle\"",      "pool=\"" role "\",reason=\"lifetime\"", \
			"pool=\"" role "\",reason=\"failover\"",  "pool=\"" role "\",reason=\"lost\"", \
			"pool=\"" role "\",reason=\"read_only\"", "pool=\"" role "\",reason=\"unusable\"", \
			"pool=\"" role "\",reason=\"shutdown\"", \
		}, \
	}

static const struct
{
	const char *pool;
	const char *states[PG_MEMBER_STATE_COUNT];
	const char *reasons[PG_CLOSE_REASON_COUNT];
} labels[PG_ROLE_COUNT] = {LABELS("writer"), LABELS("reader")};

PgPoolMetrics *
pg_pool_metrics_init(PgPoolRole role)
{
	PgPoolMetrics *own = &metrics[role];

	for (int i = 0; i < PG_MEMBER_STATE_COUNT; i++)
		metrics_gauge_init(&own->connections[i], "pg_connections", labels[role].states[i],
						   "Connections to PostgreSQL.");
	if (role == PG_WRITER)
		metrics_gauge_init(
			&own->timeline, "pg_timeline", NULL,
			"Timeline of the leader, one more with every promotion; 0: not met yet.");
	metrics_counter_init(&own->connects, "pg_connects_total", labels[role].pool,
						 "Connections to PostgreSQL opened.");
	metrics_counter_init(&own->connect_failures, "pg_connect_failures_total", labels[role].pool,
						 "Rounds through all hosts of PostgreSQL that opened no connection.");
	for (int i = 0; i < PG_CLOSE_REASON_COUNT; i++)
		metrics_counter_init(&own->disconnects[i], "pg_disconnects_total", labels[role].reasons[i],
							 "Connections to PostgreSQL closed.");
	return own;
}

const char *
pg_pool_role_name(PgPoolRole role)
{
	return role == PG_WRITER ? "writer" : "reader";
}
