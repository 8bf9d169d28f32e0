/*
 * ids.c
 *		Order and event ids.
 *
 * DESIGN	(timeline - 1) << 44 | sequence value. A sequence alone hands out the same values again
 *			when a failover or a point-in-time recovery loses its last steps; Account and Kafka,
 *			which do not go back with the database, would then take a new order for one they know.
 *			Each of the two starts a new timeline of the WAL, so the ids jump instead. The first
 *			timeline counts 1, 2, 3, ...
 *
 *			A clock plays no part: ids rise however it is set.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "commands/sequence.h"
#include "utils/lsyscache.h"

#include "bounds.h"
#include "ids.h"

Oid
ids_sequence(const char *name)
{
	Oid schema = get_namespace_oid("order_service", false);
	Oid sequence = get_relname_relid(name, schema);

	if (!OidIsValid(sequence))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("sequence \"order_service.%s\" does not exist", name)));
	return sequence;
}

int64
ids_next(Oid sequence)
{
	(void) GetTopTransactionId();
	return ids_compose(nextval_internal(sequence, false));
}

int64
ids_compose(int64 value)
{
	int64 timeline = (int64) GetWALInsertionTimeLine() - 1;

	if (value < 0 || value >> ID_SEQUENCE_BITS != 0 ||
		timeline > (PG_INT64_MAX >> ID_SEQUENCE_BITS))
		ereport(ERROR, (errcode(ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED),
						errmsg("ids of order_service are exhausted")));
	return (timeline << ID_SEQUENCE_BITS) | value;
}

int64
ids_timeline(int64 id)
{
	return id >> ID_SEQUENCE_BITS;
}

int
ids_compare(const void *left, const void *right)
{
	int64 a = *(const int64 *) left;
	int64 b = *(const int64 *) right;

	return a < b ? -1 : a > b;
}
