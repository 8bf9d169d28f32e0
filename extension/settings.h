/*
 * settings.h
 *		The settings order_service.*, as the server last read them.
 */
#ifndef SETTINGS_H
#define SETTINGS_H

#include "postgres.h"

/* Set at server start only; "" and 0 where the library was not preloaded. */
extern char *settings_databases; /* comma-separated list */
extern int settings_ring_kb;

/* Read by the publisher; a reload changes them. */
extern bool settings_publishing;
extern char *settings_kafka_brokers;
extern char *settings_kafka_options; /* "name=value ..." for librdkafka */
extern char *settings_topic;
extern int settings_in_flight_max;
extern int settings_mark_batch;
extern int settings_flush_interval_ms;
extern int settings_safety_pass_s;
extern int settings_retry_interval_s;
extern int settings_outbox_retention_s; /* -1: for ever */

/* Read by the functions. */
extern int settings_idempotency_retention_s;
extern int settings_received_timeout_ms;

/* Defines the settings; to be called once, from _PG_init(). */
extern void settings_define(void);

#endif /* SETTINGS_H */
