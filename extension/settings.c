/*
 * settings.c
 *		The settings order_service.*.
 *
 * DESIGN	One definition each, with the defaults and ranges of bounds.h. The prefix is
 *			reserved, so that a misspelt setting is reported.
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "utils/guc.h"

#include "bounds.h"
#include "settings.h"

char *settings_databases = "";
int settings_ring_kb = 0;
bool settings_publishing = true;
char *settings_kafka_brokers = NULL;
char *settings_kafka_options = NULL;
char *settings_topic = NULL;
int settings_event_format = SETTINGS_FORMAT_PROTOBUF;
int settings_event_key = SETTINGS_KEY_ORDER_ID;
int settings_event_headers = SETTINGS_HEADERS_CLOUDEVENTS;
int settings_in_flight_max = IN_FLIGHT_DEFAULT;
int settings_mark_batch = MARK_BATCH_DEFAULT;
int settings_flush_interval_ms = FLUSH_INTERVAL_MS_DEFAULT;
int settings_safety_pass_s = SAFETY_PASS_S_DEFAULT;
int settings_retry_interval_s = RETRY_INTERVAL_S_DEFAULT;
int settings_outbox_retention_s = OUTBOX_RETENTION_S_DEFAULT;
int settings_max_attempts = MAX_ATTEMPTS_DEFAULT;
char *settings_dlq_topic = NULL;
int settings_dlq_after_s = DLQ_AFTER_S_DEFAULT;
int settings_dlq_interval_s = DLQ_INTERVAL_S_DEFAULT;
int settings_idempotency_retention_s = KEY_RETENTION_S_DEFAULT;
int settings_received_timeout_ms = RECEIVED_TIMEOUT_MS_DEFAULT;

static const struct config_enum_entry formats[] = {
	{"protobuf", SETTINGS_FORMAT_PROTOBUF, false},
	{"json", SETTINGS_FORMAT_JSON, false},
	{NULL, 0, false},
};

static const struct config_enum_entry keys[] = {
	{"order_id", SETTINGS_KEY_ORDER_ID, false},
	{"account_id", SETTINGS_KEY_ACCOUNT_ID, false},
	{NULL, 0, false},
};

static const struct config_enum_entry headers[] = {
	{"none", SETTINGS_HEADERS_NONE, false},
	{"basic", SETTINGS_HEADERS_BASIC, false},
	{"cloudevents", SETTINGS_HEADERS_CLOUDEVENTS, false},
	{NULL, 0, false},
};

static void
define_text(const char *name, const char *description, char **variable, const char *default_value,
			GucContext context)
{
	DefineCustomStringVariable(name, description, NULL, variable, default_value, context,
							   GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
}

static void
define_number(const char *name, const char *description, int *variable, int default_value,
			  int minimum, int maximum, GucContext context, int unit)
{
	DefineCustomIntVariable(name, description, NULL, variable, default_value, minimum, maximum,
							context, unit, NULL, NULL, NULL);
}

static void
define_choice(const char *name, const char *description, int *variable, int default_value,
			  const struct config_enum_entry *choices)
{
	DefineCustomEnumVariable(name, description, NULL, variable, default_value, choices, PGC_SIGHUP,
							 GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
}

static void
define_for_server_start(void)
{
	/* Elsewhere they have no effect, but must be known, or each session would complain of them. */
	GucContext context = process_shared_preload_libraries_in_progress ? PGC_POSTMASTER : PGC_SIGHUP;

	define_text("order_service.databases", "Databases with a publisher, separated by commas.",
				&settings_databases, "", context);
	define_number("order_service.ring_size",
				  "Size of the ring between the backends and the publisher of a database.",
				  &settings_ring_kb, RING_KB_DEFAULT, RING_KB_MIN, RING_KB_MAX, context,
				  GUC_UNIT_KB);
}

static void
define_for_publisher(void)
{
	DefineCustomBoolVariable("order_service.publishing",
							 "Publishes events; off pauses the publisher.", NULL,
							 &settings_publishing, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	define_text("order_service.kafka_brokers", "Kafka brokers to start from, host:port,...",
				&settings_kafka_brokers, "localhost:9092", PGC_SIGHUP);
	/* May hold a password, so it is hidden from ordinary users. */
	DefineCustomStringVariable("order_service.kafka_options",
							   "More librdkafka properties, as name=value separated by spaces.",
							   NULL, &settings_kafka_options, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	define_number("order_service.in_flight_max",
				  "Events produced and not yet acknowledged, at most.", &settings_in_flight_max,
				  IN_FLIGHT_DEFAULT, IN_FLIGHT_MIN, IN_FLIGHT_MAX, PGC_SIGHUP, 0);
	define_number("order_service.mark_batch", "Events marked as sent in one transaction, at most.",
				  &settings_mark_batch, MARK_BATCH_DEFAULT, MARK_BATCH_MIN, MARK_BATCH_MAX,
				  PGC_SIGHUP, 0);
	define_number("order_service.flush_interval",
				  "How long an acknowledged event may wait to be marked as sent.",
				  &settings_flush_interval_ms, FLUSH_INTERVAL_MS_DEFAULT, FLUSH_INTERVAL_MS_MIN,
				  FLUSH_INTERVAL_MS_MAX, PGC_SIGHUP, GUC_UNIT_MS);
	define_number("order_service.safety_pass",
				  "How often the outbox is searched for events that no hint told of.",
				  &settings_safety_pass_s, SAFETY_PASS_S_DEFAULT, SAFETY_PASS_S_MIN,
				  SAFETY_PASS_S_MAX, PGC_SIGHUP, GUC_UNIT_S);
	define_number("order_service.outbox_retention",
				  "How long an event stays in the outbox after it was sent; -1 keeps all.",
				  &settings_outbox_retention_s, OUTBOX_RETENTION_S_DEFAULT, OUTBOX_RETENTION_S_MIN,
				  INT_MAX, PGC_SIGHUP, GUC_UNIT_S);
}

static void
define_for_failures(void)
{
	define_number("order_service.retry_interval",
				  "Time between attempts at an event that failed by its own fault.",
				  &settings_retry_interval_s, RETRY_INTERVAL_S_DEFAULT, 1, SAFETY_PASS_S_MAX,
				  PGC_SIGHUP, GUC_UNIT_S);
	define_number("order_service.max_attempts",
				  "Attempts at an event that fails by its own fault before it is FAILED.",
				  &settings_max_attempts, MAX_ATTEMPTS_DEFAULT, 1, MAX_ATTEMPTS_MAX, PGC_SIGHUP, 0);
	define_text("order_service.dlq_topic",
				"Topic that FAILED events are published to; empty for none.", &settings_dlq_topic,
				"order.events.dlq", PGC_SIGHUP);
	define_number("order_service.dlq_after",
				  "Age at which a FAILED event is published to the dead letter topic.",
				  &settings_dlq_after_s, DLQ_AFTER_S_DEFAULT, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_S);
	define_number("order_service.dlq_interval",
				  "How often FAILED events of that age are looked for.", &settings_dlq_interval_s,
				  DLQ_INTERVAL_S_DEFAULT, 1, DLQ_INTERVAL_S_MAX, PGC_SIGHUP, GUC_UNIT_S);
}

/* What a record looks like counts when it is produced, not when its event was written. */
static void
define_for_records(void)
{
	define_text("order_service.topic", "Topic of the events.", &settings_topic, "order.events",
				PGC_SIGHUP);
	define_choice("order_service.event_format", "Form of the events in Kafka: protobuf or json.",
				  &settings_event_format, SETTINGS_FORMAT_PROTOBUF, formats);
	define_choice("order_service.event_key",
				  "Key of the records, which decides their partition: order_id or account_id.",
				  &settings_event_key, SETTINGS_KEY_ORDER_ID, keys);
	define_choice("order_service.event_headers",
				  "Headers of the records: none, basic (id, type, content-type) or cloudevents.",
				  &settings_event_headers, SETTINGS_HEADERS_CLOUDEVENTS, headers);
}

void
settings_define(void)
{
	define_for_server_start();
	define_for_publisher();
	define_for_records();
	define_for_failures();
	define_number("order_service.idempotency_retention",
				  "How long an idempotency key stays in use.", &settings_idempotency_retention_s,
				  KEY_RETENTION_S_DEFAULT, KEY_RETENTION_S_MIN, INT_MAX, PGC_SUSET, GUC_UNIT_S);
	define_number("order_service.received_timeout",
				  "Age at which an order left RECEIVED is given up by claim_unsettled().",
				  &settings_received_timeout_ms, RECEIVED_TIMEOUT_MS_DEFAULT,
				  RECEIVED_TIMEOUT_MS_MIN, INT_MAX, PGC_SUSET, GUC_UNIT_MS);
	MarkGUCPrefixReserved("order_service");
}
