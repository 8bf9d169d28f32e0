/*
 * publisher.c
 *		The background worker that publishes the outbox of one database to Kafka.
 *
 * DESIGN	One process owns both ways an event can come: the hints in the ring and the rows in the table. It
 *			keeps what it has in hand (delivery.h) and what it does not know (gaps.h), so neither way can
 *			repeat or overtake the other. Each turn of the loop does a bounded piece of everything:
 *
 *				reports of the producer -> hints of the ring -> a page of the table -> marks -> wait
 *
 *			The table is read for gaps only. At the start everything from the saved low-water mark is one
 *			gap; so are the events of a ring that was full. In normal running gaps are what rolled back or
 *			has not committed yet, and the table is asked about them when no transaction can decide them any
 *			more.
 *
 *			An event is produced only when its commit is on disk: a crash must not leave Kafka with an order
 *			that the database lost.
 *
 * FAILURE	There is one way to recover, and every start takes it: from the low-water mark. So whatever cannot
 *			be handled here (an error in SQL, a producer that is fatal, other brokers) ends the process, and
 *			the postmaster starts another after RESTART_SECONDS. No transaction is open while Kafka is waited
 *			for, and no wait is longer than the latch allows.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "after_commit.h"
#include "bounds.h"
#include "compat.h"
#include "delivery.h"
#include "outbox.h"
#include "publisher.h"
#include "settings.h"
#include "shared.h"

#define RESTART_SECONDS 2

/* Where a record of the ring that was taken out stands: its events are offered one by one. */
typedef struct HintReader
{
	char *buffer;
	uint32 buffer_size;
	uint32 record_size; /* 0: no record */
	uint32 position;
} HintReader;

typedef struct Publisher
{
	Channel *channel;
	Delivery *delivery;
	Gaps gaps;
	HintReader hints;
	MemoryContext turn_context; /* reset every turn */
	Oid outbox;
	char *brokers; /* as the producer was opened with */
	char *options;
	bool is_eager;			/* gaps are looked up whether their horizon has passed or not */
	int64 cursor;			/* where the pass through the gaps has got to */
	TimestampTz next_check; /* of gaps whose horizon has passed */
	TimestampTz next_safety_pass;
	TimestampTz next_save;
	int64 saved_low_water;
	bool is_down;
} Publisher;

static void
set_state(Publisher *publisher, PublisherState state)
{
	static const char *const names[] = {
		[PUBLISHER_STOPPED] = "stopped",	 [PUBLISHER_ABSENT] = "extension absent",
		[PUBLISHER_PAUSED] = "paused",		 [PUBLISHER_CATCHING_UP] = "catching up",
		[PUBLISHER_STREAMING] = "streaming", [PUBLISHER_BACKING_OFF] = "no Kafka broker answers",
		[PUBLISHER_DRAINING] = "draining",
	};

	if (pg_atomic_read_u32(&publisher->channel->state) == (uint32) state)
		return;
	pg_atomic_write_u32(&publisher->channel->state, state);
	pgstat_report_activity(state == PUBLISHER_STREAMING ? STATE_IDLE : STATE_RUNNING, names[state]);
}

/* Ends the process so that the next one starts from the table. */
static void
start_anew(const char *why)
{
	ereport(LOG, (errmsg("order_service publisher starts anew: %s", why)));
	proc_exit(1);
}

/* Where the caller of begin() allocates, and goes on to after commit(). */
static MemoryContext caller_context = NULL;

static void
begin(void)
{
	caller_context = CurrentMemoryContext;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
commit(void)
{
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "could not finish SPI");
	PopActiveSnapshot();
	CommitTransactionCommand();
	/* Without this, autovacuum would never learn how many rows were updated here. */
	pgstat_report_stat(false);
	MemoryContextSwitchTo(caller_context);
}

/* A transaction on the outbox that the process started with; if that was dropped, the process starts anew. */
static void
begin_on_outbox(const Publisher *publisher)
{
	begin();
	if (outbox_relation() != publisher->outbox)
		start_anew("the extension was dropped or created again");
}

/* Everything from the low-water mark up to the ids handed out by now is to be looked up in the table. */
static void
look_everywhere(Publisher *publisher)
{
	int64 end = outbox_end();

	/* In this order: who takes an id below |end| has a transaction id below the next one by now. */
	gaps_extend(&publisher->gaps, end, outbox_next_transaction());
	publisher->is_eager = true;
	publisher->cursor = 0;
	publisher->next_safety_pass = TimestampTzPlusMilliseconds(
		GetCurrentTimestamp(), (int64) settings_safety_pass_s * 1000);
}

/* Waits for the extension to exist; then takes up the work where it was left. */
static void
attach(Publisher *publisher)
{
	Gap *gaps = palloc(sizeof(Gap) * GAPS_MAX);

	for (;;)
	{
		begin();
		publisher->outbox = outbox_relation();
		if (OidIsValid(publisher->outbox))
			break;
		commit();
		set_state(publisher, PUBLISHER_ABSENT);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ABSENT_SLEEP_MS,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	/* From here on hints come in; those of before are in the table. */
	pg_atomic_write_u32(&publisher->channel->database_id, MyDatabaseId);
	pg_memory_barrier();
	publisher->saved_low_water = outbox_low_water();
	gaps_init(&publisher->gaps, gaps, GAPS_MAX, publisher->saved_low_water);
	look_everywhere(publisher);
	commit();
}

/*
 * Makes sure that what a snapshot of now shows survives a crash. A message is written because the WAL position behind
 * the last record cannot be asked for safely; flushing the message flushes all before it.
 */
static void
flush_visible(void)
{
	if (GetFlushRecPtr(NULL) < GetXLogInsertRecPtr())
		XLogFlush(compat_log_message("order_service"));
}

/* Takes the next record out of the ring; false when there is none. */
static bool
next_record(Publisher *publisher)
{
	HintReader *hints = &publisher->hints;
	Ring *ring = publisher->channel->ring;
	const HintHead *head;
	RingResult result;

	result = ring_pop(ring, hints->buffer, hints->buffer_size, &hints->record_size);
	if (result == RING_CORRUPT || result == RING_TOO_BIG)
		ereport(PANIC, (errmsg("shared memory ring of order_service is corrupt")));
	if (result != RING_OK)
	{
		hints->record_size = 0;
		return false;
	}
	head = (const HintHead *) hints->buffer;
	hints->position = sizeof(HintHead);
	if (head->outbox != publisher->outbox)
		start_anew("a hint tells of another outbox");
	if (head->commit_end > GetFlushRecPtr(NULL))
		XLogFlush(head->commit_end);
	return true;
}

/* Offers the events of the ring until it is empty or no more can be in hand. Returns how many were taken. */
static int
read_ring(Publisher *publisher)
{
	HintReader *hints = &publisher->hints;
	uint64 horizon = 0;
	int taken = 0;

	while (hints->record_size > 0 || next_record(publisher))
	{
		const HintHead *head = (const HintHead *) hints->buffer;

		/* Read once a turn, after the hint: the ids it tells of were taken before. */
		if (horizon == 0)
			horizon = outbox_next_transaction();
		while (hints->position < hints->record_size)
		{
			const HintEvent *hint = (const HintEvent *) (hints->buffer + hints->position);
			DeliveryEvent event = {.event_id = hint->event_id,
								   .previous_event_id = hint->previous_event_id,
								   .order_id = hint->order_id,
								   .order_version = hint->order_version,
								   .event_type = (int16) hint->event_type,
								   .payload = (const char *) (hint + 1),
								   .payload_size = hint->payload_size,
								   .committed_at = head->committed_at};
			DeliveryResult result = delivery_offer(publisher->delivery, &event, horizon);

			if (result == DELIVERY_FULL)
				return taken;
			if (result == DELIVERY_DEFERRED)
			{
				/* Its predecessor is committed but not known here: the table has both. */
				gaps_extend(&publisher->gaps, event.event_id + 1, horizon);
				publisher->is_eager = true;
				publisher->cursor = 0;
			}
			else
				pg_atomic_fetch_add_u64(&publisher->channel->counters.from_ring, 1);
			hints->position += HINT_EVENT_SIZE(hint->payload_size);
			taken++;
		}
		Assert(hints->position == hints->record_size);
		hints->record_size = 0;
	}
	return taken;
}

/* Not to be looked up again before |time|, and then whatever runs. */
static void
postpone(Publisher *publisher, int64 event_id, TimestampTz time)
{
	Gap gap = {.from = event_id, .to = event_id + 1, .not_before = time};

	gaps_put(&publisher->gaps, &gap);
}

/* Decides one row of a gap; false when no more can be in hand. */
static bool
decide_row(Publisher *publisher, const OutboxRow *row, TimestampTz now, uint64 horizon)
{
	DeliveryEvent event = {.event_id = row->event_id,
						   .previous_event_id = row->previous_event_id,
						   .order_id = row->order_id,
						   .order_version = row->order_version,
						   .event_type = row->event_type,
						   .payload = row->payload,
						   .payload_size = row->payload_size};

	if (row->status != OUTBOX_READY)
	{
		gaps_close(&publisher->gaps, row->event_id, row->event_id + 1);
		return true;
	}
	if (row->next_attempt_at > now)
	{
		postpone(publisher, row->event_id, row->next_attempt_at);
		return true;
	}
	switch (delivery_offer(publisher->delivery, &event, horizon))
	{
		case DELIVERY_FULL:
			return false;
		case DELIVERY_DEFERRED:
			postpone(publisher, row->event_id, TimestampTzPlusMilliseconds(now, GAP_CHECK_MS));
			return true;
		case DELIVERY_TAKEN:
			pg_atomic_fetch_add_u64(&publisher->channel->counters.from_table, 1);
			return true;
	}
	pg_unreachable();
}

/*
 * Reads one page of the next gap that is due. An id that has no row stays a gap while a transaction may still commit
 * it. Returns false when no gap is due.
 */
static bool
read_table(Publisher *publisher, TimestampTz now)
{
	uint64 oldest_running = outbox_oldest_running();
	uint64 horizon = outbox_next_transaction();
	const Gap *due = gaps_next_due(&publisher->gaps, publisher->cursor, oldest_running, now,
								   publisher->is_eager);
	int64 from;
	int64 to;
	bool is_final;
	OutboxRow *rows;
	int count;

	if (due == NULL)
		return false;
	from = Max(due->from, publisher->cursor);
	to = due->to;
	is_final = due->horizon <= oldest_running;
	count = outbox_read(from, to, CATCH_UP_ROWS, &rows);
	if (count > 0)
		flush_visible();
	if (count == CATCH_UP_ROWS)
		to = rows[count - 1].event_id + 1;
	for (int i = 0; i <= count; i++)
	{
		int64 row_id = i < count ? rows[i].event_id : to;

		if (is_final && from < row_id)
			gaps_close(&publisher->gaps, from, row_id);
		publisher->cursor = from = row_id;
		if (i < count && !decide_row(publisher, &rows[i], now, horizon))
			break;
		if (i < count)
			publisher->cursor = from = row_id + 1;
	}
	return true;
}

/* One step of looking up gaps: at once after a hint was missing, else now and then. */
static bool
look_up_gaps(Publisher *publisher, TimestampTz now)
{
	bool must_catch_up = pg_atomic_exchange_u32(&publisher->channel->must_catch_up, 0) != 0;
	bool is_found;

	if (!must_catch_up && now < publisher->next_safety_pass && !publisher->is_eager &&
		publisher->cursor == 0 && (publisher->gaps.count == 0 || now < publisher->next_check))
		return false;
	if (delivery_count(publisher->delivery) >= settings_in_flight_max && !must_catch_up)
		return false;
	begin_on_outbox(publisher);
	if (must_catch_up || now >= publisher->next_safety_pass)
	{
		if (must_catch_up)
			pg_atomic_fetch_add_u64(&publisher->channel->counters.catch_ups, 1);
		look_everywhere(publisher);
	}
	is_found = read_table(publisher, now);
	commit();
	if (!is_found)
	{
		publisher->is_eager = false;
		publisher->cursor = 0;
		publisher->next_check = TimestampTzPlusMilliseconds(now, GAP_CHECK_MS);
	}
	return is_found;
}

static void
record_failures(Publisher *publisher)
{
	DeliveryFailure failure;
	bool has_begun = false;

	while (delivery_take_failure(publisher->delivery, &failure))
	{
		if (!has_begun)
			begin_on_outbox(publisher);
		has_begun = true;
		outbox_record_failure(failure.event_id, failure.error, settings_retry_interval_s);
	}
	if (has_begun)
		commit();
}

/* Marks what was acknowledged, when there is enough of it or it has waited long enough. */
static void
mark_sent(Publisher *publisher, TimestampTz now, bool is_due)
{
	int64 *event_ids;
	int count = delivery_acknowledged_count(publisher->delivery);

	if (count == 0)
		return;
	if (!is_due && count < settings_mark_batch &&
		now < TimestampTzPlusMilliseconds(delivery_acknowledged_since(publisher->delivery),
										  settings_flush_interval_ms))
		return;
	event_ids = palloc(sizeof(int64) * settings_mark_batch);
	count = delivery_acknowledged(publisher->delivery, event_ids, settings_mark_batch);
	begin_on_outbox(publisher);
	outbox_mark_sent(event_ids, count);
	commit();
	delivery_marked(publisher->delivery, count);
	pg_atomic_fetch_add_u64(&publisher->channel->counters.sent, count);
}

/* Every event below it is finished: marked, or known not to exist. */
static int64
low_water(const Publisher *publisher)
{
	return Min(gaps_low_water(&publisher->gaps), delivery_lowest(publisher->delivery));
}

static void
save_low_water(Publisher *publisher, TimestampTz now)
{
	int64 event_id;

	if (now < publisher->next_save)
		return;
	publisher->next_save = TimestampTzPlusMilliseconds(now, WATERMARK_INTERVAL_MS);
	event_id = low_water(publisher);
	pg_atomic_write_u64(&publisher->channel->counters.low_water, (uint64) event_id);
	if (event_id == publisher->saved_low_water)
		return;
	begin_on_outbox(publisher);
	outbox_save_low_water(event_id);
	commit();
	publisher->saved_low_water = event_id;
}

static void
report(Publisher *publisher)
{
	PublisherCounters *counters = &publisher->channel->counters;
	const Kafka *kafka = delivery_kafka(publisher->delivery);
	bool is_down = kafka_is_down(kafka);

	pg_atomic_write_u64(&counters->in_flight, delivery_in_flight(publisher->delivery));
	pg_atomic_write_u64(&counters->waiting, delivery_waiting(publisher->delivery));
	pg_atomic_write_u64(&counters->gaps, publisher->gaps.count);
	if (is_down && !publisher->is_down)
	{
		pg_atomic_fetch_add_u64(&counters->outages, 1);
		shared_set_error(publisher->channel, kafka_error(kafka));
	}
	publisher->is_down = is_down;
	if (kafka_is_fatal(kafka))
	{
		pg_atomic_fetch_add_u64(&counters->fatal_errors, 1);
		shared_set_error(publisher->channel, kafka_error(kafka));
		start_anew(kafka_error(kafka));
	}
	if (!settings_publishing)
		set_state(publisher, PUBLISHER_PAUSED);
	else if (is_down)
		set_state(publisher, PUBLISHER_BACKING_OFF);
	else
		set_state(publisher, publisher->is_eager ? PUBLISHER_CATCHING_UP : PUBLISHER_STREAMING);
}

/* A bounded piece of all work; false when there is nothing to do before the next wake-up. */
static bool
turn(Publisher *publisher)
{
	TimestampTz now = GetCurrentTimestamp();
	bool is_busy = false;

	/* Cleared before looking: who adds something later sets the latch again. */
	(void) pg_atomic_exchange_u32(&publisher->channel->is_woken, 0);
	delivery_poll(publisher->delivery);
	if (settings_publishing)
	{
		is_busy |= read_ring(publisher) > 0;
		is_busy |= look_up_gaps(publisher, now);
	}
	record_failures(publisher);
	mark_sent(publisher, now, false);
	save_low_water(publisher, now);
	report(publisher);
	return is_busy;
}

/* How long nothing needs to be done unless something happens, in milliseconds. */
static long
idle_time(const Publisher *publisher)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until = publisher->next_safety_pass;

	if (publisher->gaps.count > 0 || publisher->is_eager)
		until = Min(until, publisher->next_check);
	if (delivery_acknowledged_count(publisher->delivery) > 0)
		until = Min(until,
					TimestampTzPlusMilliseconds(delivery_acknowledged_since(publisher->delivery),
												settings_flush_interval_ms));
	if (low_water(publisher) != publisher->saved_low_water)
		until = Min(until, publisher->next_save);
	return Max(TimestampDifferenceMilliseconds(now, until), 1);
}

static void
wait_for_work(const Publisher *publisher)
{
	(void) WaitLatchOrSocket(MyLatch,
							 WL_LATCH_SET | WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 kafka_descriptor(delivery_kafka(publisher->delivery)),
							 idle_time(publisher), PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
}

/* Publishes what is in the ring and waits for what is in flight, within DRAIN_MS_MAX; then interrupts are served. */
static void
drain(Publisher *publisher)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), DRAIN_MS_MAX);

	set_state(publisher, PUBLISHER_DRAINING);
	HOLD_INTERRUPTS();
	for (;;)
	{
		delivery_poll(publisher->delivery);
		if (settings_publishing)
			(void) read_ring(publisher);
		mark_sent(publisher, 0, true);
		if (delivery_in_flight(publisher->delivery) == 0 &&
			delivery_acknowledged_count(publisher->delivery) == 0)
			break;
		if (kafka_is_down(delivery_kafka(publisher->delivery)) || GetCurrentTimestamp() >= end)
			break;
		(void) WaitLatchOrSocket(MyLatch, WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
								 kafka_descriptor(delivery_kafka(publisher->delivery)),
								 settings_flush_interval_ms, PG_WAIT_EXTENSION);
	}
	RESUME_INTERRUPTS();
	CHECK_FOR_INTERRUPTS();
}

static void
reload(const Publisher *publisher)
{
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	if (strcmp(publisher->brokers, settings_kafka_brokers) != 0 ||
		strcmp(publisher->options, settings_kafka_options) != 0)
		start_anew("the Kafka settings have changed");
}

static void
forget_process(int code, Datum channel)
{
	Channel *own = (Channel *) DatumGetPointer(channel);

	(void) code;
	pg_atomic_write_u32(&own->process, SHARED_NO_PROCESS);
	pg_atomic_write_u32(&own->pid, 0);
	pg_atomic_write_u32(&own->state, PUBLISHER_STOPPED);
}

/* See "A producer is not closed" in kafka.c. Registered first, so that it runs after all others. */
static void
exit_at_once(int code, Datum argument)
{
	(void) argument;
	_exit(code);
}

static Publisher *
start(Channel *channel)
{
	Publisher *publisher = palloc0(sizeof(Publisher));

	publisher->channel = channel;
	before_shmem_exit(forget_process, PointerGetDatum(channel));
	pg_atomic_write_u32(&channel->pid, (uint32) MyProcPid);
	pg_atomic_write_u32(&channel->process, compat_proc_number());
	publisher->hints.buffer_size =
		Min(ring_record_max(channel->ring), COLLECT_BYTES_MAX + sizeof(HintHead));
	publisher->hints.buffer = palloc(publisher->hints.buffer_size);
	publisher->turn_context =
		AllocSetContextCreate(TopMemoryContext, "order_service turn", ALLOCSET_DEFAULT_SIZES);
	attach(publisher);
	publisher->brokers = pstrdup(settings_kafka_brokers);
	publisher->options = pstrdup(settings_kafka_options);
	publisher->delivery =
		delivery_new(channel, &publisher->gaps, publisher->brokers, publisher->options);
	return publisher;
}

/* Settings of the session: those of the functions' statements (order_service--*.sql), and no wait at commit. */
static void
set_session(void)
{
	static const char *const settings[][2] = {
		/* What is lost is a mark, and costs a duplicate. */
		{"synchronous_commit", "off"},
		{"search_path", "pg_catalog, pg_temp"},
		{"enable_seqscan", "off"},
		{"enable_hashjoin", "off"},
		{"enable_mergejoin", "off"},
		{"jit", "off"},
	};

	for (int i = 0; i < (int) lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
}

void
publisher_main(Datum channel_number)
{
	Channel *channel = shared_channel(DatumGetInt32(channel_number));
	Publisher *publisher;

	on_proc_exit(exit_at_once, 0);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(channel->database, NULL, 0);
	set_session();
	MemoryContextSwitchTo(TopMemoryContext);
	publisher = start(channel);
	for (;;)
	{
		MemoryContextReset(publisher->turn_context);
		MemoryContextSwitchTo(publisher->turn_context);
		if (ProcDiePending)
			drain(publisher);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
			reload(publisher);
		if (!turn(publisher))
			wait_for_work(publisher);
	}
}

void
publisher_register(void)
{
	int count = shared_configured_count();

	for (int i = 0; i < count; i++)
	{
		BackgroundWorker worker = {
			.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
			.bgw_start_time = BgWorkerStart_RecoveryFinished,
			.bgw_restart_time = RESTART_SECONDS,
			.bgw_library_name = "order_service",
			.bgw_function_name = "publisher_main",
			.bgw_main_arg = Int32GetDatum(i),
			.bgw_type = "order_service publisher",
		};

		snprintf(worker.bgw_name, BGW_MAXLEN, "order_service publisher %d", i + 1);
		RegisterBackgroundWorker(&worker);
	}
}
