/*
 * publisher.c
 *		The background worker that publishes the outbox of one database to Kafka.
 *
 * DESIGN	One process owns both ways an event can come (intake.h) and what is in hand
 *			(delivery.h), so neither way can repeat or overtake the other. Each turn of the loop
 *			does a bounded piece of everything:
 *
 *				reports of the producer -> hints of the ring -> a page of the table -> failures
 *				-> a dead letter -> marks -> a page of retention -> wait
 *
 * FAILURE	There is one way to recover, and every start takes it: from the low-water mark. So
 *			whatever cannot be handled here (an error in SQL, a producer that is fatal, other
 *			brokers) ends the process, and the postmaster starts another after RESTART_SECONDS. No
 *			transaction is open while Kafka is waited for, and no wait is longer than the latch
 *			allows.
 */
#include "postgres.h"

#include <time.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "bounds.h"
#include "compat.h"
#include "database.h"
#include "dead_letters.h"
#include "delivery.h"
#include "gathering.h"
#include "intake.h"
#include "outbox.h"
#include "parked.h"
#include "publisher.h"
#include "retention.h"
#include "settings.h"
#include "shared.h"
#include "worker.h"

#define RESTART_SECONDS 2
#define DRAIN_SLICE_MS 20

typedef struct Publisher
{
	Channel *channel;
	Parked *parked;
	Intake *intake;
	Kafka *kafka;
	Delivery *delivery;
	Retention *retention;
	DeadLetters *dead_letters;
	MemoryContext turn_context; /* reset every turn */
	WaitEventSet *wake_ups;
	Oid outbox;
	char *brokers; /* as the producer was opened with */
	char *options;
	int64 saved_low_water;
	DeliveryFailure given_up; /* the last event that became FAILED */
	int given_up_count;       /* those that no warning tells of yet */
	TimestampTz next_warning;
	TimestampTz next_save;
	uint64 progress; /* events acknowledged or refused so far, and when the last of them was */
	TimestampTz progress_at;
	bool is_away; /* Kafka, as last looked at */
	Gathering gathering;
} Publisher;

static void
set_state(Publisher *publisher, PublisherState state)
{
	static const char *const names[] = {
		[PUBLISHER_STOPPED] = "stopped",     [PUBLISHER_ABSENT] = "extension absent",
		[PUBLISHER_PAUSED] = "paused",       [PUBLISHER_CATCHING_UP] = "catching up",
		[PUBLISHER_STREAMING] = "streaming", [PUBLISHER_BACKING_OFF] = "Kafka does not answer",
		[PUBLISHER_DRAINING] = "draining",
	};
	bool is_at_work;

	if (pg_atomic_read_u32(&publisher->channel->state) == (uint32) state)
		return;
	pg_atomic_write_u32(&publisher->channel->state, state);
	/* What may last for long without anything to do must not look like a statement that hangs. */
	is_at_work = state == PUBLISHER_CATCHING_UP || state == PUBLISHER_DRAINING;
	pgstat_report_activity(is_at_work ? STATE_RUNNING : STATE_IDLE, names[state]);
}

/*
 * Waits for the extension to exist, and reads where to take up the work. A schema of its name that
 * somebody else made is none: what is in it would run with the rights of this process.
 */
static void
attach(Publisher *publisher)
{
	for (;;)
	{
		worker_begin();
		publisher->outbox = outbox_relation();
		if (OidIsValid(publisher->outbox) && outbox_is_of_extension(publisher->outbox))
			break;
		worker_commit();
		set_state(publisher, PUBLISHER_ABSENT);
		(void) pg_atomic_exchange_u32(&publisher->channel->is_woken, 0);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ABSENT_SLEEP_MS,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		worker_end_if_asked();
		if (database_is_wanted(publisher->channel))
			database_leave();
	}
	publisher->saved_low_water = outbox_low_water();
	publisher->parked = parked_new(TopMemoryContext);
	worker_commit();
	/* From here on hints come in; what was committed before is in the table. */
	pg_atomic_write_u32(&publisher->channel->database_id, MyDatabaseId);
	pg_memory_barrier();
}

/* The event is given up: its order is parked, and nobody has to look for it any more. */
static void
park(Publisher *publisher, const DeliveryFailure *failure)
{
	parked_add(publisher->parked, failure->order_id, failure->event_id);
	gaps_close(intake_gaps(publisher->intake), failure->event_id, failure->event_id + 1);
	pg_atomic_fetch_add_u64(&publisher->channel->counters.failed, 1);
	publisher->given_up = *failure;
	publisher->given_up_count++;
}

/* The first at once, the others together: a topic that takes nothing gives up thousands. */
static void
warn_of_given_up(Publisher *publisher, TimestampTz now)
{
	const DeliveryFailure *last = &publisher->given_up;

	if (publisher->given_up_count == 0 || now < publisher->next_warning)
		return;
	ereport(WARNING, (errmsg("Kafka refuses event " INT64_FORMAT " of order " INT64_FORMAT ": %s",
							 last->event_id, last->order_id, last->error),
					  errdetail("Newly FAILED events, after %d attempts each: %d. Later events of "
								"the same order wait.",
								settings_max_attempts, publisher->given_up_count),
					  errhint("See order_service.dlq; order_service.requeue() has an event sent "
							  "again.")));
	publisher->given_up_count = 0;
	publisher->next_warning = TimestampTzPlusMilliseconds(now, WARNING_INTERVAL_MS);
}

/* Counts the failures reported by now. */
static void
record_failures(Publisher *publisher, TimestampTz now)
{
	DeliveryFailure failure;
	bool has_begun = false;

	while (delivery_take_failure(publisher->delivery, &failure))
	{
		if (!has_begun)
			worker_begin_on(publisher->outbox);
		has_begun = true;
		if (outbox_record_failure(failure.event_id, failure.error, settings_retry_interval_s,
								  settings_max_attempts))
			park(publisher, &failure);
	}
	if (has_begun)
		worker_commit();
	warn_of_given_up(publisher, now);
}

/*
 * Marks what was acknowledged, when there is enough of it or it has waited long enough. True when
 * there is enough left for another batch.
 */
static bool
mark_sent(Publisher *publisher, TimestampTz now, bool is_due)
{
	SentMark *marks;
	int count = delivery_acknowledged_count(publisher->delivery);

	if (count == 0)
		return false;
	if (!is_due && count < settings_mark_batch &&
		now < TimestampTzPlusMilliseconds(delivery_acknowledged_since(publisher->delivery),
										  settings_flush_interval_ms))
		return false;
	marks = palloc(sizeof(SentMark) * settings_mark_batch);
	count = delivery_acknowledged(publisher->delivery, marks, settings_mark_batch);
	worker_begin_on(publisher->outbox);
	outbox_mark_sent(marks, count);
	worker_commit();
	delivery_marked(publisher->delivery, count);
	pg_atomic_fetch_add_u64(&publisher->channel->counters.sent, count);
	return delivery_acknowledged_count(publisher->delivery) >= settings_mark_batch;
}

/* Every event below it is finished: marked, or known not to exist. */
static int64
low_water(const Publisher *publisher)
{
	return Min(gaps_low_water(intake_gaps(publisher->intake)),
			   delivery_lowest(publisher->delivery));
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
	/* Asked for also when there is nothing to save: in an outage nobody else would look. */
	worker_begin_on(publisher->outbox);
	if (event_id != publisher->saved_low_water)
		outbox_save_low_water(event_id);
	worker_commit();
	publisher->saved_low_water = event_id;
}

/*
 * True when events are in flight and nothing was said of any for long: a broker that hangs, or a
 * network that swallows everything, keeps the connection open.
 */
static bool
is_stalled(Publisher *publisher, TimestampTz now)
{
	PublisherCounters *counters = &publisher->channel->counters;
	uint64 progress = pg_atomic_read_u64(&counters->sent) + pg_atomic_read_u64(&counters->refused) +
					  (uint64) delivery_acknowledged_count(publisher->delivery);

	if (progress != publisher->progress || delivery_in_flight(publisher->delivery) == 0)
	{
		publisher->progress = progress;
		publisher->progress_at = now;
	}
	return now >= TimestampTzPlusMilliseconds(publisher->progress_at, STALL_MS);
}

/* Whether Kafka is away; an outage that begins is counted, with what is known of it. */
static void
look_for_outage(Publisher *publisher, TimestampTz now)
{
	const Kafka *kafka = publisher->kafka;
	bool is_stalling = is_stalled(publisher, now);
	bool is_away = is_stalling || delivery_is_backing_off(publisher->delivery);

	if (is_away && !publisher->is_away)
	{
		pg_atomic_fetch_add_u64(&publisher->channel->counters.outages, 1);
		if (kafka_is_down(kafka))
			shared_set_error(publisher->channel, kafka_error(kafka));
		else if (is_stalling)
			shared_set_error(publisher->channel, "Kafka acknowledges nothing");
	}
	publisher->is_away = is_away;
}

static void
report(Publisher *publisher)
{
	PublisherCounters *counters = &publisher->channel->counters;
	const Kafka *kafka = publisher->kafka;

	pg_atomic_write_u64(&counters->in_flight, delivery_in_flight(publisher->delivery));
	pg_atomic_write_u64(&counters->waiting, delivery_waiting(publisher->delivery));
	pg_atomic_write_u64(&counters->parked, parked_count(publisher->parked));
	pg_atomic_write_u64(&counters->gaps, intake_gaps(publisher->intake)->count);
	if (kafka_is_fatal(kafka))
	{
		pg_atomic_fetch_add_u64(&counters->fatal_errors, 1);
		shared_set_error(publisher->channel, kafka_error(kafka));
		worker_start_anew(kafka_error(kafka));
	}
	if (!settings_publishing)
		set_state(publisher, PUBLISHER_PAUSED);
	else if (publisher->is_away)
		set_state(publisher, PUBLISHER_BACKING_OFF);
	else
		set_state(publisher, intake_is_catching_up(publisher->intake) ? PUBLISHER_CATCHING_UP
																	  : PUBLISHER_STREAMING);
}

/* What this thread was on a processor for, in microseconds. */
static int64
cpu_time(void)
{
	struct timespec time;

	(void) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (int64) time.tv_sec * USECS_PER_SEC + time.tv_nsec / 1000;
}

/*
 * Until when the hints that are in the ring gather; |now| when they do not. A record that was taken
 * out is not put back.
 */
static TimestampTz
gathering_time(const Publisher *publisher, TimestampTz now)
{
	if (!settings_publishing || intake_is_within_record(publisher->intake))
		return now;
	return gathering_end(&publisher->gathering, now, delivery_in_flight(publisher->delivery) > 0);
}

/*
 * Reads the ring, unless publishing is off, or its hints gather, so that fewer requests carry more
 * records each. The flag of the ring stays set meanwhile, so that no commit wakes us; an
 * acknowledgement does.
 */
static bool
read_ring(Publisher *publisher, TimestampTz now)
{
	int64 cpu_before;

	if (gathering_time(publisher, now) > now)
		return false;
	/* Cleared before looking: who adds something later sets the latch again. */
	(void) pg_atomic_exchange_u32(&publisher->channel->is_woken, 0);
	if (!settings_publishing)
		return false;
	cpu_before = cpu_time();
	if (!intake_read_ring(publisher->intake))
		return false;
	gathering_begin(&publisher->gathering, GetCurrentTimestamp(), cpu_time() - cpu_before,
					delivery_round_trip(publisher->delivery));
	return true;
}

/* A bounded piece of all work; false when there is nothing to do before the next wake-up. */
static bool
turn(Publisher *publisher)
{
	TimestampTz now = GetCurrentTimestamp();
	bool is_busy = false;

	delivery_poll(publisher->delivery);
	is_busy |= read_ring(publisher, now);
	if (settings_publishing)
		is_busy |= intake_read_table(publisher->intake, now);
	record_failures(publisher, now);
	if (settings_publishing)
		is_busy |= dead_letters_turn(publisher->dead_letters, now);
	is_busy |= mark_sent(publisher, now, false);
	save_low_water(publisher, now);
	look_for_outage(publisher, now);
	retention_step(publisher->retention, now, publisher->saved_low_water);
	report(publisher);
	return is_busy;
}

/* How long nothing needs to be done unless something happens, in milliseconds. */
static long
idle_time(const Publisher *publisher)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until = Min(publisher->next_save, retention_next_due(publisher->retention));

	if (settings_publishing)
	{
		until = Min(until, intake_next_due(publisher->intake));
		until = Min(until, dead_letters_next_due(publisher->dead_letters));
	}
	if (pg_atomic_read_u32(&publisher->channel->is_woken) != 0)
		until = Min(until, gathering_time(publisher, now));
	if (delivery_acknowledged_count(publisher->delivery) > 0)
		until =
			Min(until, TimestampTzPlusMilliseconds(delivery_acknowledged_since(publisher->delivery),
												   settings_flush_interval_ms));
	/* In so many words: before PostgreSQL 16 the difference to DT_NOBEGIN overflows. */
	return until <= now ? 1 : Max(TimestampDifferenceMilliseconds(now, until), 1);
}

/* What ends a wait for work. Kept: to make such a set for each wait takes five system calls. */
static WaitEventSet *
make_wake_ups(const Kafka *kafka)
{
	WaitEventSet *set = compat_create_wait_set(3);

	AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(set, WL_SOCKET_READABLE, kafka_descriptor(kafka), NULL, NULL);
	return set;
}

static void
wait_for_work(const Publisher *publisher)
{
	WaitEvent event;

	/* Nothing more goes with what was handed over. */
	kafka_push(publisher->kafka);
	(void) WaitEventSetWait(publisher->wake_ups, idle_time(publisher), &event, 1,
							PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
}

/*
 * Publishes what is in the ring and sees what is in flight through, within DRAIN_MS_MAX.
 */
static void
drain(Publisher *publisher)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), DRAIN_MS_MAX);

	set_state(publisher, PUBLISHER_DRAINING);
	/* Once: what comes later is the next process's. */
	if (settings_publishing)
		(void) intake_read_ring(publisher->intake);
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		delivery_poll(publisher->delivery);
		record_failures(publisher, GetCurrentTimestamp());
		(void) mark_sent(publisher, 0, true);
		if (delivery_in_flight(publisher->delivery) == 0 &&
			delivery_acknowledged_count(publisher->delivery) == 0)
			return;
		if (publisher->is_away || kafka_is_down(publisher->kafka) || GetCurrentTimestamp() >= end)
			return;
		(void) WaitLatchOrSocket(MyLatch, WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
								 kafka_descriptor(publisher->kafka), DRAIN_SLICE_MS,
								 PG_WAIT_EXTENSION);
	}
}

static void
reload(const Publisher *publisher)
{
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	if (strcmp(publisher->brokers, settings_kafka_brokers) != 0 ||
		strcmp(publisher->options, settings_kafka_options) != 0)
		worker_start_anew("the Kafka settings have changed");
	intake_reload(publisher->intake);
	retention_reload(publisher->retention);
	dead_letters_reload(publisher->dead_letters);
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
	publisher->progress_at = GetCurrentTimestamp();
	publisher->turn_context =
		AllocSetContextCreate(TopMemoryContext, "order_service turn", ALLOCSET_DEFAULT_SIZES);
	attach(publisher);
	publisher->intake =
		intake_new(channel, publisher->outbox, publisher->parked, publisher->saved_low_water);
	publisher->brokers = pstrdup(settings_kafka_brokers);
	publisher->options = pstrdup(settings_kafka_options);
	publisher->kafka = kafka_open(publisher->brokers, publisher->options);
	kafka_prepare(publisher->kafka, settings_topic);
	publisher->wake_ups = make_wake_ups(publisher->kafka);
	publisher->delivery =
		delivery_new(channel, intake_gaps(publisher->intake), publisher->parked, publisher->kafka);
	publisher->dead_letters = dead_letters_new(channel, publisher->outbox, publisher->kafka);
	intake_set_delivery(publisher->intake, publisher->delivery);
	publisher->retention = retention_new(channel, publisher->outbox);
	return publisher;
}

void
publisher_main(Datum channel_number)
{
	Channel *channel = shared_channel(DatumGetInt32(channel_number));
	Publisher *publisher;
	bool is_busy;

	on_proc_exit(exit_at_once, 0);
	worker_take_signals();
	before_shmem_exit(forget_process, PointerGetDatum(channel));
	pg_atomic_write_u32(&channel->pid, (uint32) MyProcPid);
	pg_atomic_write_u32(&channel->process, compat_proc_number());
	database_connect(channel);
	worker_set_session();
	MemoryContextSwitchTo(TopMemoryContext);
	publisher = start(channel);
	for (;;)
	{
		MemoryContextReset(publisher->turn_context);
		MemoryContextSwitchTo(publisher->turn_context);
		CHECK_FOR_INTERRUPTS();
		if (ShutdownRequestPending)
		{
			drain(publisher);
			worker_end_if_asked();
		}
		if (ConfigReloadPending)
			reload(publisher);
		is_busy = turn(publisher);
		if (database_is_wanted(channel))
		{
			drain(publisher);
			database_leave();
		}
		if (!is_busy)
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
