/*
 * retention.c
 *		Removes old events from the outbox.
 *
 * DESIGN	Rows are removed in the order of their ids, a page at a time, by a cursor. A search for
 *			the oldest row would read all dead rows that a held snapshot keeps, each time. The
 *			cursor leaves them behind, and where it has to pass them (after a start, and when it
 *			goes back) a step ends after some ids, with or without a row; the stride grows while
 *			that is cheap. The cursor stops at the first row that is too young by created_at; ids
 *			and created_at rise together, but for long transactions.
 *
 *			What the cursor passed and left behind (FAILED, DLQ, waiting, sent late, locked by
 *			somebody) or may not have seen (above the low-water mark a transaction may still commit
 *			an id) is visited again from the lowest of them, several times within the retention.
 *
 *			DELETE and autovacuum, not partitions: dropping a partition gives space back at once,
 *			but an insert of a batch takes 5 to 20 % longer and a mark by UPDATE took 1.4 to 2.8
 *			times as long (4 and 16 partitions), the lock would stop all placing behind one long
 *			reader, and pg_dump does not take partitions that a worker made for a part of the
 *			extension. A DELETE costs 1.3 us of the publisher per event. Since rows go in the order
 *			in which they came, whole heap and index pages become free; autovacuum (the settings are
 *			with the table) gives them to new rows, or back to the system when they are the last.
 *
 * LIMITS	At most a fifth of the publisher's time, so a backlog of old rows cannot hold events up.
 *			The file of the index does not shrink, 27 bytes per event that a snapshot kept: its
 *			pages are used again, and REINDEX CONCURRENTLY gives them back to the system.
 *
 * FAILURE	Losing a step, or the cursor, loses nothing: a new process starts at the oldest row. A
 *			removal is in the WAL behind the mark that allowed it, so a crash never keeps the one
 *			without the other. A clock that jumps ahead removes SENT rows too early, nothing else.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "bounds.h"
#include "ids.h"
#include "outbox.h"
#include "retention.h"
#include "settings.h"
#include "statement.h"
#include "worker.h"

#define NOTHING_KEPT PG_INT64_MAX

struct Retention
{
	Channel *channel;
	Oid outbox;
	int64 cursor;      /* the next row to look at has this id or a higher one */
	int64 lowest_kept; /* where a visit to what was passed has to start, or NOTHING_KEPT */
	bool is_passing;   /* there may be more that is not young above the cursor */
	int64 stride;      /* ids that the next step looks at, at most */
	TimestampTz next_step;
	TimestampTz next_revisit;
};

/* What the rows looked at in one step are. */
typedef struct Finding
{
	int64 end;               /* every row below was looked at, and was not young */
	int64 due;               /* how many are to be removed */
	int64 lowest_kept;       /* the first that is not to be removed, or NOTHING_KEPT */
	bool has_more;           /* there may be more rows that are not young */
	TimestampTz young_since; /* when the first young row was made; DT_NOEND for none */
} Finding;

/* $1 to below $2; $3 rows at most; $4 what was sent before this is old; $5 NOTHING_KEPT. */
static Statement look_statement = {
	.sql = "SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE is_due),"
		   " coalesce(pg_catalog.max(event_id) + 1, 0),"
		   " coalesce(pg_catalog.min(event_id) FILTER (WHERE is_due IS NOT TRUE), $5),"
		   " coalesce(pg_catalog.min(event_id) FILTER (WHERE created_at >= $4), $5),"
		   " coalesce(pg_catalog.min(created_at) FILTER (WHERE created_at >= $4), 'infinity')"
		   " FROM (SELECT event_id, status = 1 AND sent_at < $4 AS is_due, created_at"
		   " FROM order_service.outbox WHERE event_id >= $1 AND event_id < $2"
		   " ORDER BY event_id LIMIT $3) AS page",
	.parameter_count = 5,
	.parameter_types = {INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID},
};

static Statement next_statement = {
	.sql = "SELECT event_id FROM order_service.outbox WHERE event_id >= $1"
		   " ORDER BY event_id LIMIT 1",
	.parameter_count = 1,
	.parameter_types = {INT8OID},
};

/* $1 to below $2; a row that somebody has locked is left for the next visit. */
static Statement remove_statement = {
	.sql = "DELETE FROM order_service.outbox o USING"
		   " (SELECT ctid FROM order_service.outbox"
		   " WHERE event_id >= $1 AND event_id < $2 AND status = 1 AND sent_at < $3"
		   " FOR UPDATE SKIP LOCKED) AS old"
		   " WHERE o.ctid = old.ctid",
	.parameter_count = 3,
	.parameter_types = {INT8OID, INT8OID, TIMESTAMPTZOID},
};

static int64
retention_ms(void)
{
	return (int64) settings_outbox_retention_s * 1000;
}

/*
 * Where to go on when there is no row within the stride. Ids that may have been removed are passed
 * a stride at a time; those that cannot exist, between two timelines and above the newest, at once.
 */
static void
skip(const Retention *retention, Finding *finding, int64 newest)
{
	Datum cursor = Int64GetDatum(retention->cursor);

	if (retention->cursor < newest && ids_timeline(retention->cursor) == ids_timeline(newest))
	{
		finding->end = Min(retention->cursor + retention->stride, newest);
		finding->has_more = true;
		return;
	}
	finding->has_more = statement_run(&next_statement, &cursor) == 1;
	finding->end = finding->has_more ? statement_int64(0, 1) : retention->cursor;
}

static Finding
look(const Retention *retention, TimestampTz old)
{
	int64 end = retention->cursor + retention->stride;
	Datum values[5] = {Int64GetDatum(retention->cursor), Int64GetDatum(end),
					   Int64GetDatum(RETENTION_STEP_ROWS), TimestampTzGetDatum(old),
					   Int64GetDatum(NOTHING_KEPT)};
	/* Before the rows are read: what gets an id meanwhile is above it. */
	int64 newest = outbox_end();
	Finding finding;
	int64 first_young;
	int64 count;

	if (statement_run(&look_statement, values) != 1)
		elog(ERROR, "aggregate has no row");
	count = statement_int64(0, 1);
	finding.due = statement_int64(0, 2);
	finding.end = statement_int64(0, 3);
	finding.lowest_kept = statement_int64(0, 4);
	first_young = statement_int64(0, 5);
	finding.young_since = statement_int64(0, 6);
	if (count == 0)
	{
		skip(retention, &finding, newest);
		return finding;
	}
	finding.has_more =
		first_young == NOTHING_KEPT && (count == RETENTION_STEP_ROWS || end < newest);
	finding.end = Min(finding.end, first_young);
	return finding;
}

/* Removes what is due of the rows found; returns their number. */
static int64
remove_due(const Retention *retention, const Finding *finding, TimestampTz old)
{
	Datum values[3] = {Int64GetDatum(retention->cursor), Int64GetDatum(finding->end),
					   TimestampTzGetDatum(old)};

	return finding->due > 0 ? (int64) statement_run(&remove_statement, values) : 0;
}

/* What lies at |event_id| or above, and below the cursor, is to be visited again. */
static void
keep(Retention *retention, int64 event_id)
{
	retention->lowest_kept = Min(retention->lowest_kept, event_id);
}

/*
 * Goes back to the lowest row that was left behind, if it is time. Not from the middle of a pass:
 * one that takes longer than the time between two would never come to its end.
 */
static void
revisit(Retention *retention, TimestampTz now)
{
	int64 interval_ms = retention_ms() / RETENTION_REVISITS;

	if (now < retention->next_revisit || retention->is_passing)
		return;
	interval_ms = Min(Max(interval_ms, RETENTION_CHECK_MS), RETENTION_REVISIT_MS_MAX);
	retention->next_revisit = TimestampTzPlusMilliseconds(now, interval_ms);
	retention->cursor = Min(retention->cursor, retention->lowest_kept);
	retention->lowest_kept = NOTHING_KEPT;
}

/* Moves the cursor over what was found, of which |removed| rows are gone. */
static void
pass(Retention *retention, const Finding *finding, int64 removed, int64 low_water)
{
	if (finding->lowest_kept < finding->end)
		keep(retention, finding->lowest_kept);
	if (removed < finding->due)
		keep(retention, retention->cursor);
	if (low_water < finding->end)
		keep(retention, low_water);
	retention->cursor = finding->end;
	pg_atomic_fetch_add_u64(&retention->channel->counters.removed, removed);
}

/* When to look again: soon for more of the same, else when the next row has become old. */
static TimestampTz
next_step(const Retention *retention, const Finding *finding, TimestampTz end, int64 elapsed)
{
	TimestampTz next;

	if (finding->has_more)
		return end + elapsed * RETENTION_PAUSE_FACTOR;
	next = TimestampTzPlusMilliseconds(Min(finding->young_since, end), retention_ms());
	if (retention->lowest_kept != NOTHING_KEPT)
		next = Min(next, retention->next_revisit);
	next = Min(next, TimestampTzPlusMilliseconds(end, RETENTION_REVISIT_MS_MAX));
	return Max(next, TimestampTzPlusMilliseconds(end, RETENTION_CHECK_MS));
}

/* Plans the next step by what the last one found, and by how long it took. */
static void
plan(Retention *retention, const Finding *finding, TimestampTz begin)
{
	TimestampTz end = GetCurrentTimestamp();
	int64 elapsed = Max(end - begin, 0);

	if (elapsed > RETENTION_STEP_US)
		retention->stride = Max(retention->stride / 2, RETENTION_STRIDE_MIN);
	else
		retention->stride = Min(retention->stride * 2, RETENTION_STRIDE_MAX);
	retention->is_passing = finding->has_more;
	retention->next_step = next_step(retention, finding, end, elapsed);
}

Retention *
retention_new(Channel *channel, Oid outbox)
{
	Retention *retention = palloc0(sizeof(Retention));

	retention->channel = channel;
	retention->outbox = outbox;
	retention->lowest_kept = NOTHING_KEPT;
	retention->stride = RETENTION_STRIDE_MIN;
	retention_reload(retention);
	return retention;
}

void
retention_step(Retention *retention, TimestampTz now, int64 low_water)
{
	TimestampTz old = TimestampTzPlusMilliseconds(now, -retention_ms());
	TimestampTz begin;
	Finding finding;
	int64 removed;

	if (now < retention->next_step)
		return;
	begin = GetCurrentTimestamp();
	revisit(retention, now);
	worker_begin_on(retention->outbox);
	finding = look(retention, old);
	removed = remove_due(retention, &finding, old);
	worker_commit();
	pass(retention, &finding, removed, low_water);
	plan(retention, &finding, begin);
}

TimestampTz
retention_next_due(const Retention *retention)
{
	return retention->next_step;
}

void
retention_reload(Retention *retention)
{
	retention->next_revisit = 0;
	retention->is_passing = false;
	retention->next_step =
		settings_outbox_retention_s < 0
			? DT_NOEND
			: TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETENTION_CHECK_MS);
}
