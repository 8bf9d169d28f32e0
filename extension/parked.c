/*
 * parked.c
 *		Orders that are parked.
 *
 * DESIGN	A row of parked_order stands for an event that is FAILED or DLQ and for all later ones
 *			of its order, which stay READY. With it these events count as known: the low-water mark
 *			passes them, no gap is kept for them, and a start does not look for them. They are found
 *			again from the row: the order knows its newest event, and each event its predecessor, so
 *			all reads are by primary key.
 *
 *			requeue() marks the row; only the publisher deletes it, in the transaction that also
 *			takes the low-water mark back to the event. So there is no moment at which a crash could
 *			leave an event that is neither parked nor above the mark.
 *
 * LIMITS	Some 50 bytes of memory for a parked order. Each stands for an event that failed for
 *			good after several attempts: it takes a long fault that nobody looks at to make this
 *			large.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/hsearch.h"

#include "bounds.h"
#include "parked.h"
#include "statement.h"

typedef struct ParkedOrder
{
	int64 order_id; /* must be first: the hash key */
	int64 event_id; /* what it waits behind */
} ParkedOrder;

struct Parked
{
	HTAB *orders;
};

static Statement read_statement = {
	.sql = "SELECT order_id, event_id FROM order_service.parked_order",
};

static Statement add_statement = {
	.sql = "INSERT INTO order_service.parked_order (order_id, event_id, parked_at)"
		   " VALUES ($1, $2, pg_catalog.clock_timestamp()) ON CONFLICT DO NOTHING",
	.parameter_count = 2,
	.parameter_types = {INT8OID, INT8OID},
};

static Statement release_statement = {
	.sql = "DELETE FROM order_service.parked_order WHERE order_id IN (SELECT order_id"
		   " FROM order_service.parked_order WHERE is_requeued ORDER BY order_id LIMIT $1)"
		   " RETURNING order_id, event_id",
	.parameter_count = 1,
	.parameter_types = {INT4OID},
};

/* From the newest event of each order back to the one that was parked. */
static Statement chain_statement = {
	.sql = "WITH RECURSIVE released AS ("
		   "SELECT u.order_id, u.event_id FROM ROWS FROM (pg_catalog.unnest($1),"
		   " pg_catalog.unnest($2)) AS u (order_id, event_id)),"
		   " chain AS ("
		   "SELECT o.last_event_id AS event_id, r.event_id AS first_event_id"
		   " FROM released r JOIN order_service.orders o ON o.order_id = r.order_id"
		   " UNION ALL"
		   " SELECT b.previous_event_id, c.first_event_id"
		   " FROM chain c JOIN order_service.outbox b ON b.event_id = c.event_id"
		   " WHERE b.previous_event_id >= c.first_event_id)"
		   " SELECT event_id FROM chain ORDER BY event_id",
	.parameter_count = 2,
	.parameter_types = {INT8ARRAYOID, INT8ARRAYOID},
};

static ParkedOrder *
enter(Parked *parked, int64 order_id, int64 event_id)
{
	bool is_known;
	ParkedOrder *order = hash_search(parked->orders, &order_id, HASH_ENTER, &is_known);

	if (is_known)
		return NULL;
	order->event_id = event_id;
	return order;
}

Parked *
parked_new(MemoryContext context)
{
	Parked *parked = MemoryContextAllocZero(context, sizeof(Parked));
	HASHCTL control = {.keysize = sizeof(int64), .entrysize = sizeof(ParkedOrder), .hcxt = context};
	uint64 count = statement_run(&read_statement, NULL);

	parked->orders = hash_create("order_service parked orders", 64, &control,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (uint64 i = 0; i < count; i++)
		(void) enter(parked, statement_int64(i, 1), statement_int64(i, 2));
	return parked;
}

bool
parked_holds(const Parked *parked, int64 order_id, int64 event_id)
{
	const ParkedOrder *order = hash_search(parked->orders, &order_id, HASH_FIND, NULL);

	return order != NULL && order->event_id <= event_id;
}

void
parked_add(Parked *parked, int64 order_id, int64 event_id)
{
	Datum values[2] = {Int64GetDatum(order_id), Int64GetDatum(event_id)};

	if (enter(parked, order_id, event_id) != NULL)
		(void) statement_run(&add_statement, values);
}

int
parked_take_requeued(Parked *parked, ParkedEvents *events)
{
	Datum limit = Int32GetDatum(PARKED_BATCH);
	int count = (int) statement_run(&release_statement, &limit);
	int64 *order_ids = palloc(sizeof(int64) * Max(count, 1));
	int64 *event_ids = palloc(sizeof(int64) * Max(count, 1));
	Datum values[2];

	events->count = 0;
	if (count == 0)
		return 0;
	for (int i = 0; i < count; i++)
	{
		order_ids[i] = statement_int64(i, 1);
		event_ids[i] = statement_int64(i, 2);
		(void) hash_search(parked->orders, &order_ids[i], HASH_REMOVE, NULL);
	}
	values[0] = statement_int64_array(order_ids, count);
	values[1] = statement_int64_array(event_ids, count);
	events->count = (int) statement_run(&chain_statement, values);
	events->event_ids = palloc(sizeof(int64) * Max(events->count, 1));
	for (int i = 0; i < events->count; i++)
		events->event_ids[i] = statement_int64(i, 1);
	return count;
}

int
parked_count(const Parked *parked)
{
	return (int) hash_get_num_entries(parked->orders);
}
