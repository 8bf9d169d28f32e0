/*
 * shared.h
 *		Shared memory: one channel per database in order_service.databases, from its backends to its
 *		publisher.
 */
#ifndef SHARED_H
#define SHARED_H

#include "postgres.h"

#include "port/atomics.h"
#include "storage/spin.h"

#include "ring.h"

#define SHARED_ERROR_SIZE 256
#define SHARED_LATENCY_BUCKETS 40
#define SHARED_NO_PROCESS PG_UINT32_MAX

/* What the publisher is doing, for people. */
typedef enum PublisherState
{
	PUBLISHER_STOPPED,
	PUBLISHER_ABSENT, /* the extension does not exist in the database */
	PUBLISHER_PAUSED, /* order_service.publishing is off */
	PUBLISHER_CATCHING_UP,
	PUBLISHER_STREAMING,
	PUBLISHER_BACKING_OFF, /* Kafka does not answer */
	PUBLISHER_DRAINING,
} PublisherState;

/*
 * Counters start at 0 with the server. Written by the publisher alone and read by anybody, without
 * a lock: each stands for itself.
 */
typedef struct PublisherCounters
{
	pg_atomic_uint64 from_ring;   /* events produced from a hint */
	pg_atomic_uint64 from_table;  /* events produced from the table */
	pg_atomic_uint64 sent;        /* events acknowledged and marked */
	pg_atomic_uint64 refused;     /* attempts refused for the event's own fault or its batch's */
	pg_atomic_uint64 failed;      /* events that became FAILED */
	pg_atomic_uint64 dlq;         /* events published to the dead letter topic */
	pg_atomic_uint64 dlq_refused; /* attempts that the dead letter topic refused */
	pg_atomic_uint64 catch_ups;   /* times the table was read because hints were missing */
	pg_atomic_uint64 outages;     /* times all brokers were lost */
	pg_atomic_uint64 fatal_errors;
	pg_atomic_uint64 removed;   /* events that retention removed */
	pg_atomic_uint64 in_flight; /* gauges: what the publisher holds now */
	pg_atomic_uint64 waiting;
	pg_atomic_uint64 gaps;
	pg_atomic_uint64 parked; /* orders that wait for requeue() */
	pg_atomic_uint64 low_water;
	/* Commit to acknowledgement, by the power of two of microseconds. */
	pg_atomic_uint64 latency[SHARED_LATENCY_BUCKETS];
} PublisherCounters;

typedef struct Channel
{
	char database[NAMEDATALEN];   /* written by the postmaster before any child starts */
	pg_atomic_uint32 database_id; /* InvalidOid until the publisher has connected */
	pg_atomic_uint32 process;     /* process number of the publisher, or SHARED_NO_PROCESS */
	pg_atomic_uint32 pid;         /* of the publisher, 0 while it does not run */
	pg_atomic_uint32 state;       /* PublisherState */
	pg_atomic_uint32
		is_woken; /* set by who sets the latch, cleared by the publisher before it looks */
	pg_atomic_uint32 must_catch_up; /* set by who knows of an event that has no hint */
	pg_atomic_uint32 is_connecting; /* left set by a publisher that could not connect */
	pg_atomic_uint64 wanted_until;  /* TimestampTz; somebody wants the database without sessions */
	PublisherCounters counters;
	slock_t error_lock; /* protects error */
	char error[SHARED_ERROR_SIZE];
	Ring *ring; /* within the same segment, which every process maps at one address */
} Channel;

/* Asks for the memory; to be called once while the libraries are preloaded. */
extern void shared_request(void);

/* Number of databases in order_service.databases; FATAL when the list is not valid or too long. */
extern int shared_configured_count(void);

/* Capacity of each ring. */
extern uint64 shared_ring_bytes(void);

/* Whether the library was preloaded, so that there is shared memory. */
extern bool shared_is_preloaded(void);

/* Number of channels; 0 when not preloaded. */
extern int shared_channel_count(void);

/* A channel by number, in the order of order_service.databases. */
extern Channel *shared_channel(int number);

/*
 * The channel of this backend's database; NULL when it has no publisher, or none that has connected
 * yet.
 */
extern Channel *shared_own_channel(void);

/*
 * Wakes the publisher unless somebody has. No allocation, no error: may be called after a commit.
 */
extern void shared_wake(Channel *channel);

/* Tells the publisher to read the table, and wakes it. Likewise. */
extern void shared_request_catch_up(Channel *channel);

/* Keeps the newest error of the publisher for the view; the text is cut to fit. */
extern void shared_set_error(Channel *channel, const char *error);

/* Copies that error into |buffer| of SHARED_ERROR_SIZE bytes. */
extern void shared_get_error(Channel *channel, char *buffer);

#endif /* SHARED_H */
