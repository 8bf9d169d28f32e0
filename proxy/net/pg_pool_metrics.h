/*
 * pg_pool_metrics.h
 *		What the pools of database connections count.
 */
#ifndef PG_POOL_METRICS_H
#define PG_POOL_METRICS_H

#include "base/metrics.h"

typedef enum PgPoolRole
{
	PG_WRITER, /* only servers that take writes */
	PG_READER, /* any server */
} PgPoolRole;

#define PG_ROLE_COUNT 2

typedef enum PgMemberState
{
	MEMBER_CONNECTING,
	MEMBER_IDLE,
	MEMBER_BUSY,
} PgMemberState;

#define PG_MEMBER_STATE_COUNT 3

/* Why a connection was closed. */
typedef enum PgCloseReason
{
	CLOSE_IDLE,
	CLOSE_LIFETIME,
	CLOSE_FAILOVER, /* another one told that its server goes, or met another leader */
	CLOSE_LOST,
	CLOSE_READ_ONLY,
	CLOSE_UNUSABLE,
	CLOSE_SHUTDOWN,
} PgCloseReason;

#define PG_CLOSE_REASON_COUNT 7

typedef struct PgPoolMetrics
{
	MetricsGauge connections[PG_MEMBER_STATE_COUNT];
	MetricsGauge timeline; /* of the leader; of the writer only */
	MetricsCounter connects;
	MetricsCounter connect_failures;
	MetricsCounter disconnects[PG_CLOSE_REASON_COUNT];
} PgPoolMetrics;

/* Registers those of a pool; again is harmless. They are the program's. */
extern PgPoolMetrics *pg_pool_metrics_init(PgPoolRole role);

/* "writer" or "reader". */
extern const char *pg_pool_role_name(PgPoolRole role);

#endif /* PG_POOL_METRICS_H */
