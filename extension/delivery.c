/*
 * delivery.c
 *		The events a publisher has in hand.
 *
 * DESIGN	One entry per event, in a hash table by event id:
 *
 *				offered --> IN_FLIGHT --report--> ACKNOWLEDGED --row marked--> (gone, finished)
 *				      \           \
 *				       WAITING     failure --> (gone, a gap again: looked up later)
 *
 *			WAITING events are chained to their predecessor and produced when it is acknowledged.
 *			That costs a round trip where events of one order follow each other closely, and buys
 *			that nothing can overtake: librdkafka keeps the order of what succeeds, but a record
 *			that is refused, or sent again by a new producer, would come after its successors.
 *
 *			An entry stays until its row is marked, because until then the table still shows it as
 *			READY.
 *
 *			A broker refuses a batch as a whole, so an event that was refused in company may not be
 *			the one to blame. It becomes a suspect: it is tried again alone, and only what is said
 *			of it then is counted. Alone goes, too, what has failed before. The others go on
 *			together meanwhile.
 *
 * FAILURE	What is in hand when the process dies is READY in the table, and is published by the
 *			next process; what was acknowledged but not marked is then published twice.
 *
 * LIMITS	settings_in_flight_max entries. Events that go alone take a round trip each: where the
 *			topic's max.message.bytes is smaller than the producer's batch.size, whole batches of
 *			sound events come to that under load.
 */
#include "postgres.h"

#include "lib/ilist.h"
#include "port/pg_bitutils.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "bounds.h"
#include "delivery.h"
#include "record.h"
#include "settings.h"

typedef enum EntryState
{
	ENTRY_IN_FLIGHT,
	ENTRY_WAITING,
	ENTRY_ACKNOWLEDGED,
} EntryState;

typedef struct Entry
{
	int64 event_id; /* must be first: the hash key */
	int64 order_id;
	int64 previous_event_id;
	TimestampTz committed_at;
	TimestampTz produced_at;
	TimestampTz acknowledged_at;
	KafkaTicket ticket; /* while IN_FLIGHT */
	EntryState state;
	KafkaLane lane;
	int32 order_version;
	int16 event_type;
	char *payload; /* while WAITING, our copy */
	Size payload_size;
	ItemPointerData place;   /* of its row */
	struct Entry *successor; /* WAITING for this one */
	dlist_node node;         /* in acknowledged */
} Entry;

typedef struct FailureNode
{
	DeliveryFailure failure;
	dlist_node node;
} FailureNode;

struct Delivery
{
	MemoryContext context;
	Channel *channel;
	Gaps *gaps;
	const Parked *parked;
	Kafka *kafka;
	HTAB *entries;
	HTAB *suspects;     /* ids of events to be tried alone */
	dlist_head reports; /* entries the producer has reported on since the last poll */
	dlist_head acknowledged;
	dlist_head failures;
	int in_flight_count;
	int waiting_count;
	int acknowledged_count;
	int64 round_trip_us; /* see delivery_round_trip() */
	int backoff_ms;      /* 0 while records are delivered */
	TimestampTz backoff_until;
	TimestampTz topic_grace_until; /* what is wrong with the topic counts from then on */
};

Delivery *
delivery_new(Channel *channel, Gaps *gaps, const Parked *parked, Kafka *kafka)
{
	Delivery *delivery = palloc0(sizeof(Delivery));
	HASHCTL entries = {
		.keysize = sizeof(int64), .entrysize = sizeof(Entry), .hcxt = CurrentMemoryContext};
	HASHCTL suspects = {
		.keysize = sizeof(int64), .entrysize = sizeof(int64), .hcxt = CurrentMemoryContext};

	delivery->context = CurrentMemoryContext;
	delivery->channel = channel;
	delivery->gaps = gaps;
	delivery->parked = parked;
	delivery->kafka = kafka;
	delivery->entries = hash_create("order_service events in hand", 1024, &entries,
									HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	delivery->suspects =
		hash_create("order_service suspects", 64, &suspects, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	dlist_init(&delivery->reports);
	dlist_init(&delivery->acknowledged);
	dlist_init(&delivery->failures);
	return delivery;
}

static Entry *
find_entry(const Delivery *delivery, int64 event_id)
{
	return hash_search(delivery->entries, &event_id, HASH_FIND, NULL);
}

static void
forget(Delivery *delivery, Entry *entry)
{
	if (entry->payload != NULL)
		pfree(entry->payload);
	(void) hash_search(delivery->entries, &entry->event_id, HASH_REMOVE, NULL);
}

/* Gives events back to the table: this one and those that wait for it. */
static void
give_back(Delivery *delivery, Entry *entry, TimestampTz not_before)
{
	while (entry != NULL)
	{
		Entry *successor = entry->successor;
		Gap gap = {.from = entry->event_id, .to = entry->event_id + 1, .not_before = not_before};

		if (entry->state == ENTRY_WAITING)
			delivery->waiting_count--;
		gaps_put(delivery->gaps, &gap);
		forget(delivery, entry);
		entry = successor;
	}
}

/*
 * When to try again what was not delivered: each failure after the pause of the last one doubles
 * it.
 */
static TimestampTz
back_off(Delivery *delivery, TimestampTz now)
{
	if (now >= delivery->backoff_until)
	{
		delivery->backoff_ms = Min(Max(delivery->backoff_ms * 2, BACKOFF_MS_MIN), BACKOFF_MS_MAX);
		delivery->backoff_until = TimestampTzPlusMilliseconds(now, delivery->backoff_ms);
	}
	return delivery->backoff_until;
}

static bool
is_suspect(const Delivery *delivery, int64 event_id)
{
	return hash_get_num_entries(delivery->suspects) > 0 &&
		   hash_search(delivery->suspects, &event_id, HASH_FIND, NULL) != NULL;
}

static void
clear_of_suspicion(Delivery *delivery, int64 event_id)
{
	if (hash_get_num_entries(delivery->suspects) > 0)
		(void) hash_search(delivery->suspects, &event_id, HASH_REMOVE, NULL);
}

/* |is_blamed|: the event's own fault for sure. */
static void
fail(Delivery *delivery, Entry *entry, bool is_blamed, const char *error)
{
	TimestampTz now = GetCurrentTimestamp();
	FailureNode *node;

	/* Who refuses is there. */
	delivery->backoff_ms = 0;
	pg_atomic_fetch_add_u64(&delivery->channel->counters.refused, 1);
	if (!is_blamed)
	{
		(void) hash_search(delivery->suspects, &entry->event_id, HASH_ENTER, NULL);
		give_back(delivery, entry, now);
		return;
	}
	clear_of_suspicion(delivery, entry->event_id);
	node = MemoryContextAllocZero(delivery->context, sizeof(FailureNode));
	node->failure =
		(DeliveryFailure){.event_id = entry->event_id, .order_id = entry->order_id, .error = error};
	dlist_push_tail(&delivery->failures, &node->node);
	give_back(delivery, entry,
			  TimestampTzPlusMilliseconds(now, (int64) settings_retry_interval_s * 1000));
}

static void
not_delivered(Delivery *delivery, Entry *entry, Verdict verdict, const char *error)
{
	TimestampTz now = GetCurrentTimestamp();

	shared_set_error(delivery->channel, error);
	if (verdict == VERDICT_OUTAGE ||
		(verdict == VERDICT_TOPIC_REFUSED && now < delivery->topic_grace_until))
		give_back(delivery, entry, back_off(delivery, now));
	else
		fail(delivery, entry, verdict == VERDICT_TOPIC_REFUSED || entry->lane == KAFKA_ALONE,
			 error);
}

/* Hands an event to the producer. */
static void
produce(Delivery *delivery, Entry *entry, const char *payload, Size payload_size)
{
	RecordEvent event = {.order_id = entry->order_id,
						 .order_version = entry->order_version,
						 .event_type = entry->event_type,
						 .payload = payload,
						 .payload_size = payload_size};
	EventRecord record;
	Verdict verdict;
	const char *error;

	if (!record_set(&record, settings_topic, delivery->channel->database, &event, &error))
	{
		shared_set_error(delivery->channel, error);
		fail(delivery, entry, true, error);
		return;
	}
	entry->state = ENTRY_IN_FLIGHT;
	entry->produced_at = GetCurrentTimestamp();
	entry->ticket.reports = &delivery->reports;
	verdict = kafka_produce(delivery->kafka, &record.record, entry->lane, &entry->ticket, &error);
	record_release(&record);
	if (verdict == VERDICT_DELIVERED)
		delivery->in_flight_count++;
	else
		not_delivered(delivery, entry, verdict, error);
}

static void
wait_for(Delivery *delivery, Entry *entry, Entry *predecessor, const DeliveryEvent *event)
{
	Assert(predecessor->successor == NULL);
	entry->state = ENTRY_WAITING;
	entry->payload = MemoryContextAlloc(delivery->context, event->payload_size);
	entry->payload_size = event->payload_size;
	memcpy(entry->payload, event->payload, event->payload_size);
	predecessor->successor = entry;
	delivery->waiting_count++;
}

static Entry *
add_entry(Delivery *delivery, const DeliveryEvent *event)
{
	Entry *entry = hash_search(delivery->entries, &event->event_id, HASH_ENTER, NULL);

	memset((char *) entry + sizeof(entry->event_id), 0, sizeof(Entry) - sizeof(entry->event_id));
	entry->place = event->place;
	entry->order_id = event->order_id;
	entry->previous_event_id = event->previous_event_id;
	entry->order_version = event->order_version;
	entry->event_type = event->event_type;
	entry->committed_at = event->committed_at;
	if (event->attempts > 0 || is_suspect(delivery, event->event_id))
		entry->lane = KAFKA_ALONE;
	return entry;
}

DeliveryResult
delivery_offer(Delivery *delivery, const DeliveryEvent *event, uint64 horizon)
{
	Entry *predecessor = NULL;
	Entry *entry;

	if (find_entry(delivery, event->event_id) != NULL ||
		!gaps_contain(delivery->gaps, event->event_id))
		return DELIVERY_KNOWN;
	if (parked_holds(delivery->parked, event->order_id, event->event_id))
	{
		gaps_take(delivery->gaps, event->event_id, horizon);
		return DELIVERY_PARKED;
	}
	if (event->previous_event_id != 0)
	{
		predecessor = find_entry(delivery, event->previous_event_id);
		if (predecessor == NULL && gaps_contain(delivery->gaps, event->previous_event_id))
			return DELIVERY_DEFERRED;
	}
	if (hash_get_num_entries(delivery->entries) >= settings_in_flight_max)
		return DELIVERY_FULL;
	gaps_take(delivery->gaps, event->event_id, horizon);
	entry = add_entry(delivery, event);
	if (predecessor != NULL && predecessor->state != ENTRY_ACKNOWLEDGED)
		wait_for(delivery, entry, predecessor, event);
	else
		produce(delivery, entry, event->payload, event->payload_size);
	return DELIVERY_TAKEN;
}

static void
count_latency(Delivery *delivery, const Entry *entry)
{
	int64 microseconds = Max(entry->acknowledged_at - entry->committed_at, 1);
	int bucket = Min(pg_leftmost_one_pos64((uint64) microseconds), SHARED_LATENCY_BUCKETS - 1);

	if (entry->committed_at != 0)
		pg_atomic_fetch_add_u64(&delivery->channel->counters.latency[bucket], 1);
}

/* Follows a quicker one at once and slower ones step by step: one slow broker of many is none. */
static void
note_round_trip(Delivery *delivery, int64 microseconds)
{
	int64 step = delivery->round_trip_us / 16 + 100;

	delivery->round_trip_us = Min(Max(microseconds, 0), delivery->round_trip_us + step);
}

static void
acknowledge(Delivery *delivery, Entry *entry, TimestampTz now)
{
	Entry *successor = entry->successor;

	delivery->backoff_ms = 0;
	entry->state = ENTRY_ACKNOWLEDGED;
	entry->acknowledged_at = now;
	note_round_trip(delivery, entry->acknowledged_at - entry->produced_at);
	delivery->topic_grace_until =
		TimestampTzPlusMilliseconds(entry->acknowledged_at, TOPIC_GRACE_MS);
	entry->successor = NULL;
	clear_of_suspicion(delivery, entry->event_id);
	dlist_push_tail(&delivery->acknowledged, &entry->node);
	delivery->acknowledged_count++;
	count_latency(delivery, entry);
	if (successor != NULL)
	{
		char *payload = successor->payload;

		delivery->waiting_count--;
		successor->payload = NULL;
		produce(delivery, successor, payload, successor->payload_size);
		pfree(payload);
	}
}

void
delivery_poll(Delivery *delivery)
{
	TimestampTz now;

	kafka_poll(delivery->kafka);
	now = GetCurrentTimestamp();
	if (kafka_is_down(delivery->kafka))
		delivery->topic_grace_until = TimestampTzPlusMilliseconds(now, TOPIC_GRACE_MS);
	while (!dlist_is_empty(&delivery->reports))
	{
		Entry *entry = dlist_container(Entry, ticket.node, dlist_pop_head_node(&delivery->reports));

		delivery->in_flight_count--;
		if (entry->ticket.verdict == VERDICT_DELIVERED)
			acknowledge(delivery, entry, now);
		else
			not_delivered(delivery, entry, entry->ticket.verdict, entry->ticket.error);
	}
}

int
delivery_acknowledged(const Delivery *delivery, SentMark *marks, int max)
{
	dlist_iter iterator;
	int count = 0;

	dlist_foreach(iterator, unconstify(dlist_head *, &delivery->acknowledged))
	{
		const Entry *entry;

		if (count == max)
			break;
		entry = dlist_container(Entry, node, iterator.cur);
		marks[count++] = (SentMark){.event_id = entry->event_id, .place = entry->place};
	}
	return count;
}

int
delivery_acknowledged_count(const Delivery *delivery)
{
	return delivery->acknowledged_count;
}

TimestampTz
delivery_acknowledged_since(const Delivery *delivery)
{
	if (delivery->acknowledged_count == 0)
		return 0;
	return dlist_container(Entry, node,
						   dlist_head_node(unconstify(dlist_head *, &delivery->acknowledged)))
		->acknowledged_at;
}

void
delivery_marked(Delivery *delivery, int count)
{
	for (int i = 0; i < count; i++)
	{
		Entry *entry = dlist_container(Entry, node, dlist_pop_head_node(&delivery->acknowledged));

		Assert(entry->state == ENTRY_ACKNOWLEDGED);
		forget(delivery, entry);
	}
	delivery->acknowledged_count -= count;
}

bool
delivery_take_failure(Delivery *delivery, DeliveryFailure *failure)
{
	FailureNode *node;

	if (dlist_is_empty(&delivery->failures))
		return false;
	node = dlist_container(FailureNode, node, dlist_pop_head_node(&delivery->failures));
	*failure = node->failure;
	pfree(node);
	return true;
}

int64
delivery_round_trip(const Delivery *delivery)
{
	return delivery->round_trip_us;
}

bool
delivery_is_backing_off(const Delivery *delivery)
{
	return delivery->backoff_ms > 0 || kafka_is_down(delivery->kafka);
}

int
delivery_in_flight(const Delivery *delivery)
{
	return delivery->in_flight_count;
}

int
delivery_waiting(const Delivery *delivery)
{
	return delivery->waiting_count;
}

int
delivery_count(const Delivery *delivery)
{
	return (int) hash_get_num_entries(delivery->entries);
}

int64
delivery_lowest(const Delivery *delivery)
{
	HASH_SEQ_STATUS scan;
	Entry *entry;
	int64 lowest = PG_INT64_MAX;

	hash_seq_init(&scan, delivery->entries);
	while ((entry = hash_seq_search(&scan)) != NULL)
		lowest = Min(lowest, entry->event_id);
	return lowest;
}
