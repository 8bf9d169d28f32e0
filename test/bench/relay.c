/*
 * relay.c
 *		What the publisher is compared with: a plain relay, SELECT ... FOR UPDATE SKIP LOCKED.
 *
 *		relay CONNINFO TABLE BROKERS TOPIC BATCH POLL_MS
 *
 * Publishes the rows of TABLE (laid out as order_service.outbox) whose status is 0, and sets it to
 * 1, until SIGTERM, or with POLL_MS 0 until there is nothing left. Anything that goes wrong ends
 * it, with a line on stderr and exit code 1.
 *
 * DESIGN	As good as a relay of this kind can plainly be: C, prepared statements in binary, an
 *			idempotent producer, batches, one transaction each in which rows are locked, all
 *			produced, all acknowledged and all marked; no wait for the disk at its commit. It sends
 *			the same records as the publisher, and needs an index on what is not sent yet. It asks
 *			again at once after a batch, and after POLL_MS when there was nothing.
 */
#include <inttypes.h>
#include <libpq-fe.h>
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BINARY 1
#define FLUSH_MS 30000
#define SQL_SIZE 512
#define TEXT_SIZE 32
#define ERROR_SIZE 256
/* Of bigint[], as the server reads it: dimensions, flags, type, length, lower bound; elements. */
#define ARRAY_HEAD_SIZE 20
#define ARRAY_ELEMENT_SIZE 12
#define INT8_OID 20
#define INT8_ARRAY_OID 1016

typedef struct Relay
{
	PGconn *database;
	rd_kafka_t *kafka;
	const char *topic;
	const char *source; /* name of the database, for a header */
	int batch;
	int poll_ms;
	char *marks; /* ids of a batch as a binary array */
} Relay;

/* What is to be read of a row, by column. */
enum Column
{
	COLUMN_EVENT_ID,
	COLUMN_ORDER_ID,
	COLUMN_VERSION,
	COLUMN_TYPE,
	COLUMN_PAYLOAD,
};

static volatile sig_atomic_t is_ending = 0;
static int failed_count = 0;

static void
on_terminate(int number)
{
	(void) number;
	is_ending = 1;
}

static _Noreturn void
give_up(const char *what, const char *why)
{
	fprintf(stderr, "relay: %s: %s\n", what, why);
	exit(1);
}

static void
on_delivery(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *opaque)
{
	(void) kafka;
	(void) opaque;
	if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
		failed_count++;
}

static rd_kafka_t *
open_producer(const char *brokers)
{
	/* Those of the publisher, but for linger.ms: a batch is flushed at once here. */
	const char *const properties[][2] = {
		{"bootstrap.servers", brokers},
		{"enable.idempotence", "true"},
		{"acks", "all"},
		{"partitioner", "murmur2_random"},
		{"socket.nagle.disable", "true"},
		{"linger.ms", "2"},
		{"queue.buffering.max.messages", "1000001"},
	};
	rd_kafka_conf_t *settings = rd_kafka_conf_new();
	rd_kafka_t *kafka;
	char error[ERROR_SIZE];

	for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++)
	{
		if (rd_kafka_conf_set(settings, properties[i][0], properties[i][1], error, sizeof(error)) !=
			RD_KAFKA_CONF_OK)
			give_up(properties[i][0], error);
	}
	rd_kafka_conf_set_dr_msg_cb(settings, on_delivery);
	kafka = rd_kafka_new(RD_KAFKA_PRODUCER, settings, error, sizeof(error));
	if (kafka == NULL)
		give_up("could not create a producer", error);
	return kafka;
}

static void
expect(PGconn *database, PGresult *result, ExecStatusType status, const char *what)
{
	if (PQresultStatus(result) != status)
		give_up(what, PQerrorMessage(database));
}

static void
run(PGconn *database, const char *sql)
{
	PGresult *result = PQexec(database, sql);

	expect(database, result, PGRES_COMMAND_OK, sql);
	PQclear(result);
}

static void
prepare(PGconn *database, const char *name, const char *format, const char *table, Oid type)
{
	char sql[SQL_SIZE];
	PGresult *result;

	if (snprintf(sql, sizeof(sql), format, table) >= (int) sizeof(sql))
		give_up(table, "name is too long");
	result = PQprepare(database, name, sql, 1, &type);
	expect(database, result, PGRES_COMMAND_OK, sql);
	PQclear(result);
}

static PGconn *
connect_database(const char *conninfo, const char *table)
{
	PGconn *database = PQconnectdb(conninfo);

	if (PQstatus(database) != CONNECTION_OK)
		give_up("could not connect", PQerrorMessage(database));
	run(database, "SET application_name = 'relay'");
	/* What is lost in a crash is a mark, as with the publisher. */
	run(database, "SET synchronous_commit = off");
	/* A plan from the time when the table was empty must not stay. */
	run(database, "SET enable_seqscan = off");
	prepare(database, "fetch",
			"SELECT event_id, order_id, order_version, event_type, payload FROM %s"
			" WHERE status = 0 ORDER BY event_id LIMIT $1 FOR UPDATE SKIP LOCKED",
			table, INT8_OID);
	prepare(database, "mark",
			"UPDATE %s SET status = 1, sent_at = clock_timestamp() WHERE event_id = ANY ($1)",
			table, INT8_ARRAY_OID);
	return database;
}

/* An integer of |size| bytes in network order. */
static int64_t
integer(const char *bytes, int size)
{
	uint64_t value = 0;

	for (int i = 0; i < size; i++)
		value = value << 8 | (unsigned char) bytes[i];
	return size == 2 ? (int16_t) value : size == 4 ? (int32_t) value : (int64_t) value;
}

static void
put(char *bytes, uint64_t value, int size)
{
	for (int i = size - 1; i >= 0; i--, value >>= 8)
		bytes[i] = (char) (value & 0xff);
}

static int64_t
value(const PGresult *rows, int row, enum Column column)
{
	return integer(PQgetvalue(rows, row, column), PQgetlength(rows, row, column));
}

static PGresult *
fetch(const Relay *relay)
{
	char limit[8];
	const char *values[1] = {limit};
	const int lengths[1] = {sizeof(limit)};
	const int formats[1] = {BINARY};
	PGresult *rows;

	put(limit, (uint64_t) relay->batch, sizeof(limit));
	rows = PQexecPrepared(relay->database, "fetch", 1, values, lengths, formats, BINARY);
	expect(relay->database, rows, PGRES_TUPLES_OK, "fetch");
	return rows;
}

static void
mark(const Relay *relay, const PGresult *rows)
{
	int count = PQntuples(rows);
	const char *values[1] = {relay->marks};
	const int lengths[1] = {ARRAY_HEAD_SIZE + ARRAY_ELEMENT_SIZE * count};
	const int formats[1] = {BINARY};
	char *element = relay->marks + ARRAY_HEAD_SIZE;
	PGresult *result;

	put(relay->marks, 1, 4);
	put(relay->marks + 4, 0, 4);
	put(relay->marks + 8, INT8_OID, 4);
	put(relay->marks + 12, (uint64_t) count, 4);
	put(relay->marks + 16, 1, 4);
	for (int i = 0; i < count; i++, element += ARRAY_ELEMENT_SIZE)
	{
		put(element, 8, 4);
		memcpy(element + 4, PQgetvalue(rows, i, COLUMN_EVENT_ID), 8);
	}
	result = PQexecPrepared(relay->database, "mark", 1, values, lengths, formats, BINARY);
	expect(relay->database, result, PGRES_COMMAND_OK, "mark");
	PQclear(result);
}

static void
produce(const Relay *relay, const PGresult *rows, int row)
{
	char key[TEXT_SIZE];
	char id[2 * TEXT_SIZE];
	char type[TEXT_SIZE];
	const char *const headers[][2] = {
		{"id", id},
		{"type", type},
		{"ce_specversion", "1.0"},
		{"ce_id", id},
		{"ce_source", relay->source},
		{"ce_type", type},
		{"content-type", "application/x-protobuf"},
	};
	rd_kafka_headers_t *list = rd_kafka_headers_new(sizeof(headers) / sizeof(headers[0]));
	rd_kafka_resp_err_t error;

	snprintf(key, sizeof(key), "%" PRId64, value(rows, row, COLUMN_ORDER_ID));
	snprintf(id, sizeof(id), "%s.%" PRId64, key, value(rows, row, COLUMN_VERSION));
	snprintf(type, sizeof(type), "ORDER_EVENT_%" PRId64, value(rows, row, COLUMN_TYPE));
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
		(void) rd_kafka_header_add(list, headers[i][0], -1, headers[i][1], -1);
	error = rd_kafka_producev(relay->kafka, RD_KAFKA_V_TOPIC(relay->topic),
							  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
							  RD_KAFKA_V_KEY(key, strlen(key)),
							  RD_KAFKA_V_VALUE(PQgetvalue(rows, row, COLUMN_PAYLOAD),
											   (size_t) PQgetlength(rows, row, COLUMN_PAYLOAD)),
							  RD_KAFKA_V_HEADERS(list), RD_KAFKA_V_END);
	if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
		give_up("produce", rd_kafka_err2str(error));
}

/* One transaction; false when there was nothing to publish. */
static bool
turn(const Relay *relay)
{
	PGresult *rows;
	int count;

	run(relay->database, "BEGIN");
	rows = fetch(relay);
	count = PQntuples(rows);
	for (int i = 0; i < count; i++)
		produce(relay, rows, i);
	if (count > 0)
	{
		if (rd_kafka_flush(relay->kafka, FLUSH_MS) != RD_KAFKA_RESP_ERR_NO_ERROR ||
			failed_count > 0)
			give_up("flush", "not everything was acknowledged");
		mark(relay, rows);
	}
	PQclear(rows);
	run(relay->database, "COMMIT");
	return count > 0;
}

int
main(int argc, char **argv)
{
	Relay relay;
	struct sigaction action = {.sa_handler = on_terminate};

	if (argc != 7)
		give_up("usage", "relay CONNINFO TABLE BROKERS TOPIC BATCH POLL_MS");
	relay.database = connect_database(argv[1], argv[2]);
	relay.source = PQdb(relay.database);
	relay.kafka = open_producer(argv[3]);
	relay.topic = argv[4];
	relay.batch = atoi(argv[5]);
	relay.poll_ms = atoi(argv[6]);
	if (relay.batch <= 0 || relay.poll_ms < 0)
		give_up("usage", "BATCH is positive, POLL_MS is not negative");
	relay.marks = malloc(ARRAY_HEAD_SIZE + ARRAY_ELEMENT_SIZE * (size_t) relay.batch);
	if (relay.marks == NULL)
		give_up("marks", "out of memory");
	sigaction(SIGTERM, &action, NULL);
	while (!is_ending)
	{
		if (turn(&relay))
			continue;
		if (relay.poll_ms == 0)
			break;
		(void) rd_kafka_poll(relay.kafka, relay.poll_ms);
	}
	PQfinish(relay.database);
	rd_kafka_destroy(relay.kafka);
	free(relay.marks);
	return 0;
}
