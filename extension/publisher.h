/*
 * publisher.h
 *		The background worker that publishes the outbox of one database to Kafka.
 */
#ifndef PUBLISHER_H
#define PUBLISHER_H

#include "postgres.h"

/*
 * Registers one worker per database in order_service.databases; to be called while libraries are
 * preloaded.
 */
extern void publisher_register(void);

/* Entry point of the worker; |channel_number| is the number of its channel (shared.h). */
extern PGDLLEXPORT void publisher_main(Datum channel_number);

#endif /* PUBLISHER_H */
