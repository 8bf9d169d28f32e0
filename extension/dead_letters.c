/*
 * dead_letters.c
 *		Events that failed for good, published to a topic of their own.
 *
 * DESIGN	A pass goes through the parked orders, every settings_dlq_interval_s, and sends one
 *			event at a time, so that what Kafka says is said of that event. The copy in the topic is
 *			for people and their tools; the event itself stays in the outbox, now DLQ, and its order
 *			waits for requeue() as before.
 *
 * FAILURE	What is refused here too stays FAILED; the end of the pass says so in the log, and the
 *			next pass tries again. A topic that takes nothing, or an outage, ends the pass. A
 *			process that dies between the acknowledgement and the mark leaves FAILED, and the event
 *			is sent twice.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "bounds.h"
#include "dead_letters.h"
#include "outbox.h"
#include "record.h"
#include "settings.h"
#include "worker.h"

struct DeadLetters
{
	Channel *channel;
	Kafka *kafka;
	Oid outbox;
	MemoryContext page_context;
	OutboxDeadLetter *page;
	int page_count;
	int position;   /* in the page: the event to be sent next, or in flight */
	int64 order_id; /* where the next page begins: above it */
	bool is_passing;
	bool is_in_flight;
	KafkaTicket ticket;
	dlist_head reports;
	int published; /* in this pass, as the next two */
	int refused;
	const char *error; /* of the last that was not published; static, NULL for none */
	TimestampTz next_pass;
};

DeadLetters *
dead_letters_new(Channel *channel, Oid outbox, Kafka *kafka)
{
	DeadLetters *letters = palloc0(sizeof(DeadLetters));

	letters->channel = channel;
	letters->kafka = kafka;
	letters->outbox = outbox;
	letters->page_context = AllocSetContextCreate(
		CurrentMemoryContext, "order_service dead letters", ALLOCSET_DEFAULT_SIZES);
	dlist_init(&letters->reports);
	letters->ticket.reports = &letters->reports;
	return letters;
}

static void
begin_pass(DeadLetters *letters)
{
	letters->is_passing = true;
	letters->order_id = 0;
	letters->page_count = 0;
	letters->position = 0;
	letters->published = 0;
	letters->refused = 0;
	letters->error = NULL;
}

static void
end_pass(DeadLetters *letters, TimestampTz now)
{
	if (letters->published > 0)
		ereport(LOG, (errmsg_plural("published %d event to dead letter topic \"%s\"",
									"published %d events to dead letter topic \"%s\"",
									letters->published, letters->published, settings_dlq_topic)));
	if (letters->refused > 0)
		ereport(
			WARNING,
			(errmsg_plural("dead letter topic \"%s\" refused %d event: %s",
						   "dead letter topic \"%s\" refused %d events: %s", letters->refused,
						   settings_dlq_topic, letters->refused, letters->error),
			 errdetail("What was refused stays FAILED; later events of the same order wait."),
			 errhint("Put the topic right: it is tried again in %d s.", settings_dlq_interval_s)));
	letters->is_passing = false;
	letters->next_pass = TimestampTzPlusMilliseconds(now, (int64) settings_dlq_interval_s * 1000);
}

/* A dead letter among the events themselves would reach consumers out of order, and for good. */
static bool
is_topic_of_events(void)
{
	return strcmp(settings_dlq_topic, settings_topic) == 0;
}

static void
refuse_topic(DeadLetters *letters, TimestampTz now)
{
	ereport(WARNING, (errmsg("\"%s\" is the topic of the events as well as of dead letters",
							 settings_dlq_topic),
					  errdetail("No dead letter is published; what failed stays FAILED."),
					  errhint("Set order_service.dlq_topic to another topic.")));
	end_pass(letters, now);
}

/* Reads the next page; false when there is none. */
static bool
read_page(DeadLetters *letters)
{
	MemoryContextReset(letters->page_context);
	worker_begin_on(letters->outbox);
	letters->page_count =
		outbox_read_dead_letters(letters->order_id, settings_dlq_after_s, DEAD_LETTER_ROWS,
								 letters->page_context, &letters->page);
	worker_commit();
	letters->position = 0;
	if (letters->page_count == 0)
		return false;
	letters->order_id = letters->page[letters->page_count - 1].order_id;
	return true;
}

static void
mark(DeadLetters *letters)
{
	worker_begin_on(letters->outbox);
	outbox_mark_dead(letters->page[letters->position].event_id);
	worker_commit();
	letters->published++;
	pg_atomic_fetch_add_u64(&letters->channel->counters.dlq, 1);
}

/* Takes note of what became of the event that was sent. */
static void
settle(DeadLetters *letters, Verdict verdict, const char *error, TimestampTz now)
{
	if (verdict == VERDICT_DELIVERED)
		mark(letters);
	else
	{
		letters->error = error;
		shared_set_error(letters->channel, error);
	}
	if (verdict == VERDICT_RECORD_REFUSED || verdict == VERDICT_TOPIC_REFUSED)
	{
		letters->refused++;
		pg_atomic_fetch_add_u64(&letters->channel->counters.dlq_refused, 1);
	}
	letters->position++;
	if (verdict == VERDICT_OUTAGE || verdict == VERDICT_TOPIC_REFUSED)
		end_pass(letters, now);
}

static void
send(DeadLetters *letters, TimestampTz now)
{
	const OutboxDeadLetter *letter = &letters->page[letters->position];
	RecordEvent event = {.order_id = letter->order_id,
						 .order_version = letter->order_version,
						 .event_type = letter->event_type,
						 .payload = letter->payload,
						 .payload_size = letter->payload_size};
	EventRecord record;
	const char *error;
	Verdict verdict;

	if (!record_set(&record, settings_dlq_topic, letters->channel->database, &event, &error))
	{
		settle(letters, VERDICT_RECORD_REFUSED, error, now);
		return;
	}
	record_add_header(&record, "dlq_original_topic", settings_topic);
	record_add_header(&record, "dlq_original_key", record.key);
	record_add_header(&record, "dlq_error", letter->error);
	record_add_header(&record, "dlq_attempts", letter->attempts);
	record_add_header(&record, "dlq_failed_at", letter->failed_at);
	verdict = kafka_produce(letters->kafka, &record.record, KAFKA_ALONE, &letters->ticket, &error);
	record_release(&record);
	if (verdict == VERDICT_DELIVERED)
		letters->is_in_flight = true;
	else
		settle(letters, verdict, error, now);
}

bool
dead_letters_turn(DeadLetters *letters, TimestampTz now)
{
	if (letters->is_in_flight)
	{
		if (dlist_is_empty(&letters->reports))
			return false;
		(void) dlist_pop_head_node(&letters->reports);
		letters->is_in_flight = false;
		settle(letters, letters->ticket.verdict, letters->ticket.error, now);
		return letters->is_passing;
	}
	if (!letters->is_passing)
	{
		if (now < dead_letters_next_due(letters))
			return false;
		begin_pass(letters);
	}
	if (is_topic_of_events())
		refuse_topic(letters, now);
	else if (letters->position < letters->page_count || read_page(letters))
		send(letters, now);
	else
		end_pass(letters, now);
	return letters->is_passing && !letters->is_in_flight;
}

TimestampTz
dead_letters_next_due(const DeadLetters *letters)
{
	return letters->is_passing || settings_dlq_topic[0] == '\0' ? DT_NOEND : letters->next_pass;
}

void
dead_letters_reload(DeadLetters *letters)
{
	TimestampTz next =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), (int64) settings_dlq_interval_s * 1000);

	letters->next_pass = Min(letters->next_pass, next);
}
