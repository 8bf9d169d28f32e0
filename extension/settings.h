/*
 * settings.h
 *		The settings order_service.*, as the server last read them.
 */
#ifndef SETTINGS_H
#define SETTINGS_H

#include "postgres.h"

/* What a record of an event looks like. */
typedef enum SettingsFormat
{
	SETTINGS_FORMAT_PROTOBUF,
	SETTINGS_FORMAT_JSON,
} SettingsFormat;

typedef enum SettingsKey
{
	SETTINGS_KEY_ORDER_ID,
	SETTINGS_KEY_ACCOUNT_ID,
} SettingsKey;

typedef enum SettingsHeaders
{
	SETTINGS_HEADERS_NONE,
	SETTINGS_HEADERS_BASIC, /* id, type, content-type */
	SETTINGS_HEADERS_CLOUDEVENTS,
} SettingsHeaders;

/* Set at server start only; "" and 0 where the library was not preloaded. */
extern char *settings_databases; /* comma-separated list */
extern int settings_ring_kb;

/* Read by the publisher; a reload changes them. */
extern bool settings_publishing;
extern char *settings_kafka_brokers;
extern char *settings_kafka_options; /* "name=value ..." for librdkafka */
extern char *settings_topic;
extern int settings_event_format;  /* SettingsFormat */
extern int settings_event_key;     /* SettingsKey */
extern int settings_event_headers; /* SettingsHeaders */
extern int settings_in_flight_max;
extern int settings_mark_batch;
extern int settings_flush_interval_ms;
extern int settings_safety_pass_s;
extern int settings_retry_interval_s;
extern int settings_outbox_retention_s; /* -1: for ever */
extern int settings_max_attempts;
extern char *settings_dlq_topic; /* "": dead letters are not published */
extern int settings_dlq_after_s;
extern int settings_dlq_interval_s;

/* Read by the functions. */
extern int settings_idempotency_retention_s;
extern int settings_received_timeout_ms;

/* Defines the settings; to be called once, from _PG_init(). */
extern void settings_define(void);

#endif /* SETTINGS_H */
