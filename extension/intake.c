/*
 * intake.c
 *		How the publisher learns of events.
 *
 * DESIGN	The ring is read first: it is fast and has everything in normal running. The table is
 *			read for gaps only (gaps.h). At the start everything from the saved low-water mark is
 *			one gap; so are the events that a full ring could not take. What rolled back or has not
 *			committed yet leaves gaps in normal running too, and the table is asked about them when
 *			no transaction can decide them any more.
 *
 *			An event is offered only when its commit is on disk: a crash must not leave Kafka with
 *			an order that the database lost. Hints carry the position of their commit; for rows, all
 *			that a snapshot shows is flushed.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "utils/timestamp.h"

#include "after_commit.h"
#include "bounds.h"
#include "compat.h"
#include "intake.h"
#include "outbox.h"
#include "rules.h"
#include "settings.h"
#include "worker.h"

/* Where a record of the ring that was taken out stands: its events are offered one by one. */
typedef struct HintReader
{
	char *buffer;
	uint32 buffer_size;
	uint32 record_size; /* 0: no record */
	uint32 position;
	uint64 horizon; /* of the gaps that this record's ids leave behind */
} HintReader;

struct Intake
{
	Channel *channel;
	Parked *parked;
	Delivery *delivery;
	Gaps gaps;
	HintReader hints;
	Oid outbox;
	bool is_eager;          /* gaps are looked up whether their horizon has passed or not */
	int64 cursor;           /* where the pass through the gaps has got to; 0: no pass */
	TimestampTz next_check; /* of gaps whose horizon has passed */
	TimestampTz next_safety_pass;
};

static void
start_eager_pass(Intake *intake)
{
	intake->is_eager = true;
	intake->cursor = 0;
}

/*
 * The events of parked orders that requeue() put back are undecided again. From the commit of this
 * transaction on the saved low-water mark stands for them, until the publisher saves the next.
 */
static void
take_requeued(Intake *intake)
{
	ParkedEvents events;
	int count;

	do
	{
		count = parked_take_requeued(intake->parked, &events);
		if (events.count > 0)
			outbox_lower_low_water(events.event_ids[0]);
		for (int i = 0; i < events.count; i++)
		{
			Gap gap = {.from = events.event_ids[i], .to = events.event_ids[i] + 1};

			/* What was committed a moment ago may not be seen yet; it comes by itself. */
			if (gap.to <= intake->gaps.head)
				gaps_put(&intake->gaps, &gap);
		}
	} while (count == PARKED_BATCH);
}

/* All ids handed out by now are to be looked up in the table, but for those that are known. */
static void
look_everywhere(Intake *intake)
{
	int64 end = outbox_end();

	/* In this order: who took an id below |end| has a transaction id below the next one. */
	gaps_extend(&intake->gaps, end, outbox_next_transaction());
	take_requeued(intake);
	start_eager_pass(intake);
	intake->next_safety_pass =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), (int64) settings_safety_pass_s * 1000);
}

/* Takes a record out of the ring; false when there is none. */
static bool
take_record(Intake *intake)
{
	HintReader *hints = &intake->hints;
	RingResult result =
		ring_pop(intake->channel->ring, hints->buffer, hints->buffer_size, &hints->record_size);

	/* Only a wild write can do this, and it may have hit more than the ring. */
	if (result == RING_CORRUPT || result == RING_TOO_BIG)
		ereport(PANIC, (errmsg("shared memory ring of order_service is corrupt")));
	if (result != RING_OK)
		hints->record_size = 0;
	return result == RING_OK;
}

Intake *
intake_new(Channel *channel, Oid outbox, Parked *parked, int64 low_water)
{
	Intake *intake = palloc0(sizeof(Intake));

	intake->channel = channel;
	intake->outbox = outbox;
	intake->parked = parked;
	intake->hints.buffer_size =
		Min(ring_record_max(channel->ring), COLLECT_BYTES_MAX + sizeof(HintHead));
	intake->hints.buffer = palloc(intake->hints.buffer_size);
	/* What is in the ring by now is in the table too, and may be marked there already. */
	while (take_record(intake))
		continue;
	gaps_init(&intake->gaps, palloc(sizeof(Gap) * GAPS_MAX), GAPS_MAX, low_water);
	worker_begin_on(outbox);
	look_everywhere(intake);
	worker_commit();
	return intake;
}

Gaps *
intake_gaps(Intake *intake)
{
	return &intake->gaps;
}

void
intake_set_delivery(Intake *intake, Delivery *delivery)
{
	intake->delivery = delivery;
}

/* Makes the next record of the ring ready to be offered; false when there is none. */
static bool
next_record(Intake *intake)
{
	HintReader *hints = &intake->hints;
	const HintHead *head = (const HintHead *) hints->buffer;

	if (!take_record(intake))
		return false;
	hints->position = sizeof(HintHead);
	/* After the record: whoever took an id below those in it has a lower transaction id. */
	hints->horizon = outbox_next_transaction();
	if (head->outbox != intake->outbox)
		worker_start_anew("a hint tells of another outbox");
	if (head->commit_end > GetFlushRecPtr(NULL))
		XLogFlush(head->commit_end);
	return true;
}

/* Offers the next event of the record; false when no more can be in hand. */
static bool
offer_hint(Intake *intake)
{
	HintReader *hints = &intake->hints;
	const HintHead *head = (const HintHead *) hints->buffer;
	const HintEvent *hint = (const HintEvent *) (hints->buffer + hints->position);
	DeliveryEvent event = {.event_id = hint->event_id,
						   .place = hint->place,
						   .previous_event_id = hint->previous_event_id,
						   .order_id = hint->order_id,
						   .order_version = hint->order_version,
						   .event_type = (int16) hint->event_type,
						   .payload = (const char *) (hint + 1),
						   .payload_size = hint->payload_size,
						   .committed_at = head->committed_at};

	switch (delivery_offer(intake->delivery, &event, hints->horizon))
	{
		case DELIVERY_FULL:
			return false;
		case DELIVERY_DEFERRED:
			/* Its predecessor is committed but not known here: the table has both. */
			gaps_extend(&intake->gaps, event.event_id + 1, hints->horizon);
			start_eager_pass(intake);
			break;
		case DELIVERY_TAKEN:
			pg_atomic_fetch_add_u64(&intake->channel->counters.from_ring, 1);
			break;
		case DELIVERY_KNOWN:
		case DELIVERY_PARKED:
			break;
	}
	hints->position += HINT_EVENT_SIZE(hint->payload_size);
	return true;
}

bool
intake_read_ring(Intake *intake)
{
	HintReader *hints = &intake->hints;
	bool is_any = false;

	while (hints->record_size > 0 || next_record(intake))
	{
		while (hints->position < hints->record_size)
		{
			if (!offer_hint(intake))
				return is_any;
			is_any = true;
		}
		Assert(hints->position == hints->record_size);
		hints->record_size = 0;
	}
	return is_any;
}

bool
intake_is_within_record(const Intake *intake)
{
	return intake->hints.record_size > 0;
}

/*
 * Makes sure that what a snapshot of now shows survives a crash. A message is written because the
 * WAL position behind the last record cannot be asked for safely; flushing the message flushes all
 * before it.
 */
static void
flush_visible(void)
{
	if (GetFlushRecPtr(NULL) < GetXLogInsertRecPtr())
		XLogFlush(compat_log_message("order_service"));
}

/* Not to be looked up again before |time|, and then whatever runs. */
static void
postpone(Intake *intake, int64 event_id, TimestampTz time)
{
	Gap gap = {.from = event_id, .to = event_id + 1, .not_before = time};

	gaps_put(&intake->gaps, &gap);
}

/*
 * When a row may be looked up again whose predecessor is undecided. One that failed is not tried
 * before its time, and with it waits what follows it.
 */
static TimestampTz
after_predecessor(const Intake *intake, int64 previous_event_id, TimestampTz now)
{
	const Gap *gap = gaps_find(&intake->gaps, previous_event_id);
	TimestampTz next = TimestampTzPlusMilliseconds(now, GAP_CHECK_MS);

	if (gap != NULL && gap->from <= previous_event_id)
		next = Max(next, gap->not_before);
	return next;
}

/* Decides one row of a gap; false when no more can be in hand. */
static bool
decide_row(Intake *intake, const OutboxRow *row, TimestampTz now)
{
	DeliveryEvent event = {.event_id = row->event_id,
						   .place = row->place,
						   .previous_event_id = row->previous_event_id,
						   .order_id = row->order_id,
						   .order_version = row->order_version,
						   .event_type = row->event_type,
						   .attempts = row->attempts,
						   .payload = row->payload,
						   .payload_size = row->payload_size};

	if (row->status != OUTBOX_READY)
	{
		/* It is parked already, unless the table was restored from a dump. */
		if (row->status != OUTBOX_SENT)
			parked_add(intake->parked, row->order_id, row->event_id);
		gaps_close(&intake->gaps, row->event_id, row->event_id + 1);
		return true;
	}
	if (row->next_attempt_at > now)
	{
		postpone(intake, row->event_id, row->next_attempt_at);
		return true;
	}
	/* The row lies below the head, so it leaves no gap behind that would need a horizon. */
	switch (delivery_offer(intake->delivery, &event, 0))
	{
		case DELIVERY_FULL:
			return false;
		case DELIVERY_DEFERRED:
			postpone(intake, row->event_id, after_predecessor(intake, row->previous_event_id, now));
			break;
		case DELIVERY_TAKEN:
			pg_atomic_fetch_add_u64(&intake->channel->counters.from_table, 1);
			break;
		case DELIVERY_KNOWN:
		case DELIVERY_PARKED:
			break;
	}
	return true;
}

/*
 * Reads one page of the next gap that is due; false when none is. An id that has no row stays a gap
 * while a transaction may still commit it.
 */
static bool
read_page(Intake *intake, TimestampTz now)
{
	/* Before the rows are read, so that what ended by now is seen. */
	uint64 oldest_running = outbox_oldest_running();
	const Gap *due =
		gaps_next_due(&intake->gaps, intake->cursor, oldest_running, now, intake->is_eager);
	int64 from;
	int64 to;
	bool is_final;
	OutboxRow *rows;
	int count;

	if (due == NULL)
		return false;
	from = Max(due->from, intake->cursor);
	to = due->to;
	is_final = due->horizon <= oldest_running;
	count = outbox_read(from, to, CATCH_UP_ROWS, &rows);
	if (count > 0)
		flush_visible();
	if (count == CATCH_UP_ROWS)
		to = rows[count - 1].event_id + 1;
	for (int i = 0; i < count; i++)
	{
		if (is_final && from < rows[i].event_id)
			gaps_close(&intake->gaps, from, rows[i].event_id);
		intake->cursor = rows[i].event_id;
		if (!decide_row(intake, &rows[i], now))
			return true;
		from = rows[i].event_id + 1;
	}
	if (is_final && from < to)
		gaps_close(&intake->gaps, from, to);
	intake->cursor = to;
	return true;
}

bool
intake_read_table(Intake *intake, TimestampTz now)
{
	bool is_told;
	bool is_safety_pass;
	bool is_found;

	/* With full hands there is no use in looking, however often somebody asks for it. */
	if (now < intake_next_due(intake))
		return false;
	is_told = pg_atomic_exchange_u32(&intake->channel->must_catch_up, 0) != 0;
	is_safety_pass = now >= intake->next_safety_pass;
	worker_begin_on(intake->outbox);
	if (is_told)
		pg_atomic_fetch_add_u64(&intake->channel->counters.catch_ups, 1);
	if (is_told || is_safety_pass)
		look_everywhere(intake);
	is_found = read_page(intake, now);
	worker_commit();
	if (!is_found)
	{
		intake->is_eager = false;
		intake->cursor = 0;
		intake->next_check = TimestampTzPlusMilliseconds(now, GAP_CHECK_MS);
	}
	return is_found;
}

bool
intake_is_catching_up(const Intake *intake)
{
	return intake->is_eager;
}

TimestampTz
intake_next_due(const Intake *intake)
{
	/* Only a report helps then, and that wakes the process. */
	if (delivery_count(intake->delivery) >= settings_in_flight_max)
		return DT_NOEND;
	if (intake->is_eager || intake->cursor != 0 || intake->hints.record_size > 0 ||
		pg_atomic_read_u32(&intake->channel->must_catch_up) != 0)
		return DT_NOBEGIN;
	return intake->gaps.count > 0 ? Min(intake->next_check, intake->next_safety_pass)
								  : intake->next_safety_pass;
}

void
intake_reload(Intake *intake)
{
	TimestampTz next =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), (int64) settings_safety_pass_s * 1000);

	intake->next_safety_pass = Min(intake->next_safety_pass, next);
}
