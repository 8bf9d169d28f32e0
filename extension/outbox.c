/*
 * outbox.c
 *		The table outbox.
 *
 * DESIGN	Only the primary key is indexed: what is unfinished is found by id (gaps.h), and
 *			marking an event SENT changes nothing but the row, in place (sent_mark.h).
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

#include "after_commit.h"
#include "hot_table.h"
#include "ids.h"
#include "outbox.h"
#include "rules.h"
#include "statement.h"

/* The columns of the table; in this order below. */
enum
{
	EVENT_ID,
	PREVIOUS_EVENT_ID,
	ORDER_ID,
	ACCOUNT_ID,
	CREATED_AT,
	SENT_AT,
	ORDER_VERSION,
	EVENT_TYPE,
	STATUS,
	RETRY_COUNT,
	NEXT_ATTEMPT_AT,
	PAYLOAD,
	LAST_ERROR,
	COLUMN_COUNT
};

static HotColumns outbox_columns = {
	.table = "outbox",
	.count = COLUMN_COUNT,
	.names = {"event_id", "previous_event_id", "order_id", "account_id", "created_at", "sent_at",
			  "order_version", "event_type", "status", "retry_count", "next_attempt_at", "payload",
			  "last_error"},
};

static Statement read_statement = {
	.sql = "SELECT event_id, status, previous_event_id, order_id, order_version, event_type,"
		   " created_at, coalesce(next_attempt_at, '-infinity'), retry_count,"
		   " CASE WHEN status = 0 THEN payload END, ctid"
		   " FROM order_service.outbox WHERE event_id >= $1 AND event_id < $2"
		   " ORDER BY event_id LIMIT $3",
	.parameter_count = 3,
	.parameter_types = {INT8OID, INT8OID, INT4OID},
};

/* For events that cannot be marked in place. */
static Statement mark_statement = {
	.sql = "UPDATE order_service.outbox SET status = 1, sent_at = pg_catalog.clock_timestamp()"
		   " WHERE event_id = ANY ($1) AND status = 0",
	.parameter_count = 1,
	.parameter_types = {INT8ARRAYOID},
};

static Statement failure_statement = {
	.sql = "UPDATE order_service.outbox SET retry_count = retry_count + 1, last_error = $2,"
		   " next_attempt_at = pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => $3),"
		   " status = CASE WHEN retry_count + 1 >= $4 THEN 2 ELSE 0 END"
		   " WHERE event_id = $1 AND status = 0 RETURNING status",
	.parameter_count = 4,
	.parameter_types = {INT8OID, TEXTOID, FLOAT8OID, INT4OID},
};

static Statement dead_letters_statement = {
	.sql =
		"SELECT b.event_id, b.order_id, b.order_version, b.event_type, coalesce(b.last_error, ''),"
		" b.retry_count::pg_catalog.text,"
		" pg_catalog.to_char(p.parked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'),"
		" b.payload"
		" FROM order_service.parked_order p"
		" JOIN order_service.outbox b ON b.event_id = p.event_id"
		" WHERE p.order_id > $1 AND b.status = 2 AND b.created_at <="
		" pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $2)"
		" ORDER BY p.order_id LIMIT $3",
	.parameter_count = 3,
	.parameter_types = {INT8OID, FLOAT8OID, INT4OID},
};

static Statement mark_dead_statement = {
	/* A requeue() that has not committed must not hold up the publisher. */
	.sql = "UPDATE order_service.outbox SET status = 3 WHERE event_id = (SELECT b.event_id"
		   " FROM order_service.outbox b WHERE b.event_id = $1 AND b.status = 2"
		   " FOR UPDATE SKIP LOCKED)",
	.parameter_count = 1,
	.parameter_types = {INT8OID},
};

static Statement end_statement = {
	.sql = "SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END"
		   " FROM order_service.event_id_seq",
};

static Statement low_water_statement = {
	.sql = "SELECT value FROM order_service.watermark WHERE name = 'outbox'",
};

static Statement save_low_water_statement = {
	.sql = "UPDATE order_service.watermark SET value = $1 WHERE name = 'outbox' AND value <> $1",
	.parameter_count = 1,
	.parameter_types = {INT8OID},
};

static Statement lower_low_water_statement = {
	.sql = "UPDATE order_service.watermark SET value = $1 WHERE name = 'outbox' AND value > $1",
	.parameter_count = 1,
	.parameter_types = {INT8OID},
};

static Statement oldest_running_statement = {
	.sql = "SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())",
};

Oid
outbox_relation(void)
{
	Oid schema = get_namespace_oid("order_service", true);

	return OidIsValid(schema) ? get_relname_relid("outbox", schema) : InvalidOid;
}

bool
outbox_is_of_extension(Oid outbox)
{
	Oid extension = get_extension_oid("order_service", true);

	return OidIsValid(extension) && getExtensionOfObject(RelationRelationId, outbox) == extension;
}

int64
outbox_take_ids(int count)
{
	return ids_take(ids_sequence("event_id_seq"), count);
}

static void
remember(const OutboxEvent *events, const ItemPointerData *places, int count)
{
	Oid outbox = outbox_relation();

	for (int i = 0; i < count; i++)
	{
		HintEvent hint = {.event_id = events[i].event_id,
						  .previous_event_id = events[i].previous_event_id,
						  .order_id = events[i].order_id,
						  .order_version = events[i].order_version,
						  .event_type = (uint16) events[i].event_type,
						  .payload_size = (uint16) events[i].payload_size,
						  .place = places[i]};

		after_commit_add(outbox, &hint, events[i].payload);
	}
}

void
outbox_append(const OutboxEvent *events, int count)
{
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	ItemPointerData *places;
	HotTable *table;

	if (count == 0)
		return;
	places = palloc(sizeof(ItemPointerData) * count);
	table = hot_table_open(&outbox_columns, RowExclusiveLock);
	hot_table_tell_places(table, places);
	for (int i = 0; i < count; i++)
	{
		const OutboxEvent *event = &events[i];

		Assert(i == 0 || events[i - 1].event_id < event->event_id);
		Assert(event->payload_size > 0);
		Assert(event->payload_size <= PG_UINT16_MAX);
		hot_table_add(table);
		hot_table_set(table, EVENT_ID, Int64GetDatum(event->event_id));
		hot_table_set(table, PREVIOUS_EVENT_ID, Int64GetDatum(event->previous_event_id));
		hot_table_set(table, ORDER_ID, Int64GetDatum(event->order_id));
		hot_table_set(table, ACCOUNT_ID, Int64GetDatum(event->account_id));
		hot_table_set(table, CREATED_AT, TimestampTzGetDatum(now));
		hot_table_set(table, SENT_AT, TimestampTzGetDatum(DT_NOEND));
		hot_table_set(table, ORDER_VERSION, Int32GetDatum(event->order_version));
		hot_table_set(table, EVENT_TYPE, Int16GetDatum(event->event_type));
		hot_table_set(table, STATUS, Int16GetDatum(OUTBOX_READY));
		hot_table_set(table, RETRY_COUNT, Int16GetDatum(0));
		/* A bytea and a text are laid out alike. */
		hot_table_set(table, PAYLOAD,
					  PointerGetDatum(cstring_to_text_with_len((const char *) event->payload,
															   (int) event->payload_size)));
	}
	hot_table_insert(table);
	hot_table_close(table);
	remember(events, places, count);
	pfree(places);
}

/* The bytes of a column, still in the result; NULL where it is NULL. */
static const char *
read_bytes(uint64 row, int column, Size *size)
{
	bool is_null;
	Datum value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &is_null);
	bytea *bytes;

	if (is_null)
		return NULL;
	bytes = DatumGetByteaPP(value);
	*size = VARSIZE_ANY_EXHDR(bytes);
	return VARDATA_ANY(bytes);
}

static ItemPointerData
read_place(uint64 row, int column)
{
	bool is_null;
	Datum value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &is_null);

	return *(ItemPointer) DatumGetPointer(value);
}

static void
read_row(uint64 row, OutboxRow *result)
{
	result->event_id = statement_int64(row, 1);
	result->status = statement_int16(row, 2);
	result->previous_event_id = statement_int64(row, 3);
	result->order_id = statement_int64(row, 4);
	result->order_version = statement_int32(row, 5);
	result->event_type = statement_int16(row, 6);
	result->created_at = statement_int64(row, 7);
	result->next_attempt_at = statement_int64(row, 8);
	result->attempts = statement_int16(row, 9);
	result->payload = read_bytes(row, 10, &result->payload_size);
	result->place = read_place(row, 11);
}

int
outbox_read(int64 from, int64 to, int limit, OutboxRow **rows)
{
	Datum values[3] = {Int64GetDatum(from), Int64GetDatum(to), Int32GetDatum(limit)};
	int count = (int) statement_run(&read_statement, values);

	*rows = palloc0(sizeof(OutboxRow) * Max(count, 1));
	for (int i = 0; i < count; i++)
		read_row(i, &(*rows)[i]);
	return count;
}

void
outbox_mark_sent(SentMark *marks, int count)
{
	Relation outbox;
	int64 *event_ids;
	Datum rest;

	if (count == 0)
		return;
	outbox = table_open(outbox_relation(), RowExclusiveLock);
	count = sent_mark_write(outbox, marks, count, GetCurrentTimestamp());
	table_close(outbox, NoLock);
	if (count == 0)
		return;
	event_ids = palloc(sizeof(int64) * count);
	for (int i = 0; i < count; i++)
		event_ids[i] = marks[i].event_id;
	rest = statement_int64_array(event_ids, count);
	(void) statement_run(&mark_statement, &rest);
}

bool
outbox_record_failure(int64 event_id, const char *error, int retry_after_s, int max_attempts)
{
	Datum values[4] = {Int64GetDatum(event_id), CStringGetTextDatum(error),
					   Float8GetDatum(retry_after_s), Int32GetDatum(max_attempts)};

	return statement_run(&failure_statement, values) == 1 && statement_int16(0, 1) == OUTBOX_FAILED;
}

int
outbox_read_dead_letters(int64 order_id, int age_s, int limit, MemoryContext context,
						 OutboxDeadLetter **letters)
{
	Datum values[3] = {Int64GetDatum(order_id), Float8GetDatum(age_s), Int32GetDatum(limit)};
	int count = (int) statement_run(&dead_letters_statement, values);

	*letters = MemoryContextAllocZero(context, sizeof(OutboxDeadLetter) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		OutboxDeadLetter *letter = &(*letters)[i];
		const char *payload = read_bytes(i, 8, &letter->payload_size);

		letter->payload = MemoryContextAlloc(context, Max(letter->payload_size, 1));
		memcpy(letter->payload, payload, letter->payload_size);
		letter->event_id = statement_int64(i, 1);
		letter->order_id = statement_int64(i, 2);
		letter->order_version = statement_int32(i, 3);
		letter->event_type = statement_int16(i, 4);
		letter->error = statement_text(i, 5, context);
		letter->attempts = statement_text(i, 6, context);
		letter->failed_at = statement_text(i, 7, context);
	}
	return count;
}

void
outbox_mark_dead(int64 event_id)
{
	Datum value = Int64GetDatum(event_id);

	(void) statement_run(&mark_dead_statement, &value);
}

int64
outbox_end(void)
{
	if (statement_run(&end_statement, NULL) != 1)
		elog(ERROR, "sequence of event ids has no row");
	return ids_compose(statement_int64(0, 1));
}

int64
outbox_low_water(void)
{
	return statement_run(&low_water_statement, NULL) == 1 ? statement_int64(0, 1) : 0;
}

void
outbox_save_low_water(int64 event_id)
{
	Datum values[1] = {Int64GetDatum(event_id)};

	(void) statement_run(&save_low_water_statement, values);
}

void
outbox_lower_low_water(int64 event_id)
{
	Datum value = Int64GetDatum(event_id);

	(void) statement_run(&lower_low_water_statement, &value);
}

uint64
outbox_oldest_running(void)
{
	if (statement_run(&oldest_running_statement, NULL) != 1)
		elog(ERROR, "snapshot has no row");
	return (uint64) statement_int64(0, 1);
}

uint64
outbox_next_transaction(void)
{
	return U64FromFullTransactionId(ReadNextFullTransactionId());
}
