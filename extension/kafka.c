/*
 * kafka.c
 *		A producer of Kafka records.
 *
 * DESIGN	message.timeout.ms is 0: a record never expires here. While the brokers are away
 *			librdkafka keeps what it has and sends it in order when they return; an expiry would let
 *			a later record of the same order overtake an earlier one, and would count an outage as
 *			the record's own failure.
 *
 *			A producer is not closed. librdkafka's destroy waits for its threads, in bad moments for
 *			minutes, and the records it holds are in the outbox anyway. So after a fatal error, or
 *			for new brokers, the process ends and the next one starts from the table. It ends by
 *			_exit(): handlers of other libraries (OpenSSL's) must not take away what running threads
 *			still use.
 *
 *			A lane is a librdkafka producer of its own, as a broker's answer is about a batch and
 *			only the producer's settings say what is in one. That for KAFKA_ALONE is opened when
 *			the first record needs it.
 *
 * THREADS	librdkafka's own threads block all signals and never call back: log lines go to the main
 *			queue (log.queue), and every callback runs within kafka_poll() on the caller's thread.
 */
#include "postgres.h"

#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <malloc.h>
#include <unistd.h>

#include "bounds.h"
#include "kafka.h"

#define ERROR_SIZE 256
#define LOG_LINES_MAX 16
#define POLL_EVENTS_MAX 100000
/* How long kafka_push() may wait for librdkafka's thread to get a processor. */
#define PUSH_MS 1

typedef struct LogLine
{
	int level; /* of syslog */
	char text[ERROR_SIZE];
} LogLine;

struct Kafka
{
	rd_kafka_t *lanes[KAFKA_LANES]; /* NULL while not opened */
	const char *brokers;
	const char *options;
	/* Of the pipe that librdkafka writes to when a queue of it is no longer empty. */
	int read_end;
	int write_end;
	bool has_unpushed; /* records were handed over since the last kafka_push() */
	bool is_down;
	bool is_fatal;
	char error[ERROR_SIZE];
	int log_count;
	LogLine log[LOG_LINES_MAX]; /* collected within a poll, written after it */
};

/* What no setting may change: the guarantees of the outbox rest on these. */
static const char *const fixed_properties[][2] = {
	{"enable.idempotence", "true"},    {"acks", "all"},
	{"message.timeout.ms", "0"},       {"log.queue", "true"},
	{"partitioner", "murmur2_random"}, {"statistics.interval.ms", "1000"},
};

/* What order_service.kafka_options may override. */
static const char *const default_properties[][2] = {
	{"client.id", "order_service"},
	/*
	 * What belongs together comes together (gathering.h), and kafka_push() has it sent: so this is
	 * longer than it takes to hand over what has gathered, else its first part goes alone.
	 */
	{"linger.ms", "3"},
	/* 2.0.2 leaves Nagle's algorithm on, which delays small batches by tens of milliseconds. */
	{"socket.nagle.disable", "true"},
	{"socket.keepalive.enable", "true"},
	{"reconnect.backoff.ms", "100"},
	{"reconnect.backoff.max.ms", "2000"},
};

/* With several in flight, the broker would refuse what follows a refused one for its number. */
static const char *const alone_properties[][2] = {
	{"batch.num.messages", "1"},
	{"max.in.flight.requests.per.connection", "1"},
	{"linger.ms", "0"},
	{"statistics.interval.ms", "0"},
};

/* Within librdkafka's frames: links the ticket into a list, nothing that can fail. */
static void
on_delivery(rd_kafka_t *handle, const rd_kafka_message_t *message, void *opaque)
{
	Kafka *kafka = opaque;
	KafkaTicket *ticket = message->_private;

	(void) handle;
	ticket->verdict = verdict_of(message->err);
	ticket->error = ticket->verdict == VERDICT_DELIVERED ? NULL : rd_kafka_err2str(message->err);
	if (ticket->verdict == VERDICT_DELIVERED)
		kafka->is_down = false;
	dlist_push_tail(ticket->reports, &ticket->node);
}

static void
on_error(rd_kafka_t *handle, int error, const char *reason, void *opaque)
{
	Kafka *kafka = opaque;

	/* The other lane is idle most of the time, and its brokers may well hang up on it. */
	if (error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
		kafka->is_down |= handle == kafka->lanes[KAFKA_TOGETHER];
	else if (error == RD_KAFKA_RESP_ERR__FATAL)
	{
		kafka->is_fatal = true;
		(void) rd_kafka_fatal_error(handle, kafka->error, sizeof(kafka->error));
		return;
	}
	strlcpy(kafka->error, reason, sizeof(kafka->error));
}

/*
 * Nothing else tells that a broker is back while there is nothing to deliver. The text is JSON, and
 * these words are in it for a broker that answers, and for nothing else.
 */
static int
on_statistics(rd_kafka_t *handle, char *json, size_t size, void *opaque)
{
	Kafka *kafka = opaque;

	(void) handle;
	(void) size;
	if (kafka->is_down && strstr(json, "\"state\":\"UP\"") != NULL)
		kafka->is_down = false;
	return 0;
}

static void
on_log(const rd_kafka_t *handle, int level, const char *facility, const char *text)
{
	Kafka *kafka = rd_kafka_opaque(handle);

	if (kafka->log_count == LOG_LINES_MAX)
		return;
	kafka->log[kafka->log_count].level = level;
	snprintf(kafka->log[kafka->log_count].text, ERROR_SIZE, "%s: %s", facility, text);
	kafka->log_count++;
}

static void
set_property(rd_kafka_conf_t *properties, const char *name, const char *value)
{
	char error[ERROR_SIZE];

	if (rd_kafka_conf_set(properties, name, value, error, sizeof(error)) != RD_KAFKA_CONF_OK)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("could not set Kafka property \"%s\": %s", name, error)));
}

static void
set_options(rd_kafka_conf_t *properties, const char *options)
{
	char *copy = pstrdup(options);
	char *rest = copy;
	char *option;

	while ((option = strsep(&rest, " ")) != NULL)
	{
		char *value = strchr(option, '=');

		if (option[0] == '\0')
			continue;
		if (value == NULL)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("Kafka option \"%s\" has no value", option)));
		*value++ = '\0';
		set_property(properties, option, value);
	}
	pfree(copy);
}

static void
set_properties(rd_kafka_conf_t *properties, const char *const (*list)[2], int count)
{
	for (int i = 0; i < count; i++)
		set_property(properties, list[i][0], list[i][1]);
}

static rd_kafka_conf_t *
make_properties(Kafka *kafka, KafkaLane lane)
{
	rd_kafka_conf_t *properties = rd_kafka_conf_new();
	char queue_max[16];

	set_properties(properties, default_properties, lengthof(default_properties));
	set_property(properties, "bootstrap.servers", kafka->brokers);
	set_options(properties, kafka->options);
	set_properties(properties, fixed_properties, lengthof(fixed_properties));
	if (lane == KAFKA_ALONE)
		set_properties(properties, alone_properties, lengthof(alone_properties));
	/* The caller bounds what is in flight; the queue must never be the narrower one. */
	snprintf(queue_max, sizeof(queue_max), "%d", IN_FLIGHT_MAX + 1);
	set_property(properties, "queue.buffering.max.messages", queue_max);
	rd_kafka_conf_set_opaque(properties, kafka);
	rd_kafka_conf_set_dr_msg_cb(properties, on_delivery);
	rd_kafka_conf_set_error_cb(properties, on_error);
	rd_kafka_conf_set_stats_cb(properties, on_statistics);
	rd_kafka_conf_set_log_cb(properties, on_log);
	return properties;
}

static void
open_lane(Kafka *kafka, KafkaLane lane)
{
	char error[ERROR_SIZE];
	rd_kafka_conf_t *properties = make_properties(kafka, lane);
	rd_kafka_t *handle = rd_kafka_new(RD_KAFKA_PRODUCER, properties, error, sizeof(error));
	rd_kafka_queue_t *queue;

	if (handle == NULL)
		ereport(ERROR, (errcode(ERRCODE_CONFIG_FILE_ERROR),
						errmsg("could not create a Kafka producer: %s", error)));
	kafka->lanes[lane] = handle;
	/* NULL is the main queue, the one that kafka_poll() serves. */
	(void) rd_kafka_set_log_queue(handle, NULL);
	/* Tells through a pipe that there is something to poll, so that a latch can be waited on. */
	queue = rd_kafka_queue_get_main(handle);
	rd_kafka_queue_io_event_enable(queue, kafka->write_end, "k", 1);
	rd_kafka_queue_destroy(queue);
}

/*
 * A record is a dozen blocks of memory, and hundreds are made and freed at a time: the C library
 * would give their pages back to the kernel each time, to ask for them a moment later.
 */
static void
keep_memory(void)
{
	(void) mallopt(M_TRIM_THRESHOLD, PRODUCER_KEPT_BYTES);
	/* It grows by itself only as long as nothing of this is set. */
	(void) mallopt(M_MMAP_THRESHOLD, PRODUCER_KEPT_BYTES);
	(void) mallopt(M_TOP_PAD, PRODUCER_GROWTH_BYTES);
}

Kafka *
kafka_open(const char *brokers, const char *options)
{
	Kafka *kafka = palloc0(sizeof(Kafka));
	int ends[2];

	/* librdkafka takes it, and waits for ever without a word. */
	if (brokers[0] == '\0')
		ereport(WARNING, (errmsg("no Kafka broker is named, so nothing is published")));
	if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) == -1)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not create a pipe: %m")));
	kafka->read_end = ends[0];
	kafka->write_end = ends[1];
	kafka->brokers = brokers;
	kafka->options = options;
	keep_memory();
	open_lane(kafka, KAFKA_TOGETHER);
	return kafka;
}

void
kafka_prepare(Kafka *kafka, const char *topic)
{
	/* The topic is known to the producer from now on; our reference to it is not needed. */
	rd_kafka_topic_t *handle = rd_kafka_topic_new(kafka->lanes[KAFKA_TOGETHER], topic, NULL);

	if (handle != NULL)
		rd_kafka_topic_destroy(handle);
}

static rd_kafka_headers_t *
make_headers(const KafkaRecord *record)
{
	rd_kafka_headers_t *headers = rd_kafka_headers_new(record->header_count);

	for (int i = 0; i < record->header_count; i++)
		(void) rd_kafka_header_add(headers, record->headers[i].name, -1, record->headers[i].value,
								   -1);
	return headers;
}

Verdict
kafka_produce(Kafka *kafka, const KafkaRecord *record, KafkaLane lane, KafkaTicket *ticket,
			  const char **error)
{
	rd_kafka_headers_t *headers;
	rd_kafka_resp_err_t result;

	Assert(ticket->reports != NULL);
	if (kafka->lanes[lane] == NULL)
		open_lane(kafka, lane);
	headers = make_headers(record);
	result = rd_kafka_producev(
		kafka->lanes[lane], RD_KAFKA_V_TOPIC(record->topic),
		RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(record->key, strlen(record->key)),
		RD_KAFKA_V_VALUE(unconstify(char *, record->payload), record->payload_size),
		RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(ticket), RD_KAFKA_V_END);
	if (result == RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		kafka->has_unpushed |= lane == KAFKA_TOGETHER;
		return VERDICT_DELIVERED;
	}
	/* Only on success do the headers belong to the library. */
	rd_kafka_headers_destroy(headers);
	*error = rd_kafka_err2str(result);
	return verdict_of(result);
}

void
kafka_push(Kafka *kafka)
{
	if (!kafka->has_unpushed)
		return;
	kafka->has_unpushed = false;
	/* While somebody flushes, nothing lingers; to have it all acknowledged takes longer. */
	(void) rd_kafka_flush(kafka->lanes[KAFKA_TOGETHER], PUSH_MS);
}

static void
write_log(Kafka *kafka)
{
	for (int i = 0; i < kafka->log_count; i++)
		ereport(kafka->log[i].level <= 4 ? LOG : DEBUG1,
				(errmsg("Kafka producer: %s", kafka->log[i].text)));
	kafka->log_count = 0;
}

static void
poll_lane(rd_kafka_t *handle)
{
	int events = 0;
	int served;

	do
	{
		served = rd_kafka_poll(handle, 0);
		events += served;
	} while (served > 0 && events < POLL_EVENTS_MAX);
}

void
kafka_poll(Kafka *kafka)
{
	char drained[64];

	/* Emptied first: what arrives while the queue is served writes to the pipe again. */
	while (read(kafka->read_end, drained, sizeof(drained)) == sizeof(drained))
		continue;
	for (int i = 0; i < KAFKA_LANES; i++)
	{
		if (kafka->lanes[i] != NULL)
			poll_lane(kafka->lanes[i]);
	}
	write_log(kafka);
}

int
kafka_descriptor(const Kafka *kafka)
{
	return kafka->read_end;
}

bool
kafka_is_down(const Kafka *kafka)
{
	return kafka->is_down;
}

bool
kafka_is_fatal(const Kafka *kafka)
{
	return kafka->is_fatal;
}

const char *
kafka_error(const Kafka *kafka)
{
	return kafka->error;
}
