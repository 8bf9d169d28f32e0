/*
 * dead_letters.h
 *		Events that failed for good, published to a topic of their own for people to look at.
 */
#ifndef DEAD_LETTERS_H
#define DEAD_LETTERS_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "kafka.h"
#include "shared.h"

typedef struct DeadLetters DeadLetters;

/* Starts with a pass that is due, in the current memory context. All three stay the caller's. */
extern DeadLetters *dead_letters_new(Channel *channel, Oid outbox, Kafka *kafka);

/*
 * One step, when a pass is due or under way: acts on what the producer reported of the last event,
 * or sends the next. To be called outside a transaction, after kafka_poll(). Never waits. True when
 * there is more to do at once.
 */
extern bool dead_letters_turn(DeadLetters *letters, TimestampTz now);

/* When a pass is due; DT_NOEND while one is under way and waits for a report. */
extern TimestampTz dead_letters_next_due(const DeadLetters *letters);

/* Applies a changed order_service.dlq_interval. */
extern void dead_letters_reload(DeadLetters *letters);

#endif /* DEAD_LETTERS_H */
