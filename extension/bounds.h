/*
 * bounds.h
 *		Every limit of the extension, with the arithmetic behind it (not limits.h: the C library has
 *		that).
 *
 * A limit has one name, one default and, where it is a setting, a range; settings.c reads them from
 * here and the error that is raised at a limit prints the same number.
 */
#ifndef BOUNDS_H
#define BOUNDS_H

/* An idempotency key: 1 to 128 printable ASCII characters, chosen by the client. */
#define KEY_LENGTH_MAX 128

/* A symbol: 1 to 32 characters of A-Z 0-9 . _ - ; the predecessor had 20. */
#define SYMBOL_LENGTH_MAX 32

/*
 * Places of instruments that a backend remembers, 12 bytes each, in sets: a market has some
 * thousand symbols, and more of them than a set has places cost each other looks into the index.
 */
#define INSTRUMENT_PLACES 4096
#define INSTRUMENT_PLACES_PER_SET 4

/* An ISO 4217 code. */
#define CURRENCY_LENGTH 3

/* The exchange's id of one execution report, the key that makes apply_execution() idempotent. */
#define EXECUTION_ID_LENGTH_MAX 128

/* Text that explains one refusal to a caller; longer text is cut. */
#define DETAIL_SIZE 256

/*
 * Items of one array call. One transaction holds the row locks of a whole batch, so it must stay
 * short.
 */
#define BATCH_ITEMS_MAX 4096

/*
 * Ids are (timeline - 1) << 44 | sequence: 2^44 orders last 55 years at 10,000/s, and the sign bit
 * and 19 bits of timeline remain.
 */
#define ID_SEQUENCE_BITS 44

/* Databases with a publisher in one cluster; each costs a background worker and a ring. */
#define DATABASES_MAX 16

/* One ring per database. An entry is ~200 bytes, so the default holds ~20,000 events. */
#define RING_KB_DEFAULT 4096
#define RING_KB_MIN 64
#define RING_KB_MAX (1024 * 1024)

/*
 * Events of one transaction that are collected for the ring, in bytes; a larger transaction is left
 * to the table. Bounds what a backend keeps in memory until its commit.
 */
#define COLLECT_BYTES_MAX (1024 * 1024)

/* An encoded OrderEvent: 15 fields, of which the strings are bounded by the limits above. */
#define EVENT_BYTES_MAX 512

/*
 * Events produced and not yet acknowledged. Bounds the worker's memory and what a crash publishes
 * twice.
 */
#define IN_FLIGHT_DEFAULT 10000
#define IN_FLIGHT_MIN 1
#define IN_FLIGHT_MAX 1000000

/*
 * Memory that the publisher's process keeps when records are gone, for the next ones, and by how
 * much it grows: some ten thousand records of 1.3 kB with headers and what librdkafka adds.
 */
#define PRODUCER_KEPT_BYTES (16 * 1024 * 1024)
#define PRODUCER_GROWTH_BYTES (1024 * 1024)

/* Rows marked SENT in one transaction, and how long an acknowledged event may wait for it. */
#define MARK_BATCH_DEFAULT 500
#define MARK_BATCH_MIN 1
#define MARK_BATCH_MAX 10000
#define FLUSH_INTERVAL_MS_DEFAULT 20
#define FLUSH_INTERVAL_MS_MIN 1
#define FLUSH_INTERVAL_MS_MAX 10000

/*
 * How long hints gather in the ring (gathering.h), so that the next records go together. At 50,000
 * orders/s the longest time is 12,500 of the 28,000 hints that the ring has room for by default.
 * The part of a processor is where a request begins to carry many records before the processors are
 * all taken; test/bench/README.md has what others give.
 */
#define GATHER_WORK 25
#define GATHER_WORK_MS_MAX 20
#define GATHER_ROUND_TRIPS 4
#define GATHER_MS_MIN 10
#define GATHER_MS_MAX 250

/* Rows the catch-up reads at a time. */
#define CATCH_UP_ROWS 1000

/*
 * Stretches of event ids whose fate is open (gaps.h): one per running transaction in normal times.
 */
#define GAPS_MAX 16384

/* Back-off while nothing is delivered, and the worker's sleep while the extension is absent. */
#define BACKOFF_MS_MIN 100
#define BACKOFF_MS_MAX 30000
#define ABSENT_SLEEP_MS 1000

/*
 * Events in flight and none acknowledged for this long: Kafka is away, whatever the connection
 * says.
 */
#define STALL_MS 5000

/* Between two attempts at an event that failed by its own fault. */
#define RETRY_INTERVAL_S_DEFAULT 60

/* Attempts before it is FAILED; the column counts them as smallint. */
#define MAX_ATTEMPTS_DEFAULT 3
#define MAX_ATTEMPTS_MAX 1000

/*
 * A topic that is refused this soon after it took events, or after an outage, may well be there: a
 * broker that has just started knows nothing yet. Until then nothing counts.
 */
#define TOPIC_GRACE_MS 30000

/* Events that become FAILED are told of in the log at most this often. */
#define WARNING_INTERVAL_MS 10000

/* Dead letters: from which age on, how often they are looked for, rows of one look. */
#define DLQ_AFTER_S_DEFAULT 3600
#define DLQ_INTERVAL_S_DEFAULT 300
#define DLQ_INTERVAL_S_MAX 86400
#define DEAD_LETTER_ROWS 100

/* Parked orders released by one statement. */
#define PARKED_BATCH 1000

/* How often the table is asked for what no hint told of. */
#define SAFETY_PASS_S_DEFAULT 300
#define SAFETY_PASS_S_MIN 1
#define SAFETY_PASS_S_MAX 86400

/* How long gaps in the event ids may wait before the table is asked about them. */
#define GAP_CHECK_MS 200

/* How often the low-water mark is written; each write leaves a dead row version behind. */
#define WATERMARK_INTERVAL_MS 5000

/*
 * How long events stay in the outbox after Kafka acknowledged them; -1: for ever. A day of 1,000
 * events/s is 86 million rows, 35 GB.
 */
#define OUTBOX_RETENTION_S_DEFAULT (24 * 3600)
#define OUTBOX_RETENTION_S_MIN (-1)

/*
 * Rows that retention looks at in one step, which holds everything else up for 1 to 5 ms; and how
 * much longer than the step the pause after it is.
 */
#define RETENTION_STEP_ROWS 500
#define RETENTION_PAUSE_FACTOR 4

/*
 * Ids that it looks at in one step. Under a held snapshot each may stand for a dead row, 0.3 us; so
 * the stride doubles while steps are shorter than this, and is halved when they are longer.
 */
#define RETENTION_STEP_US 3000
#define RETENTION_STRIDE_MIN 5000
#define RETENTION_STRIDE_MAX 100000

/*
 * While no row is old it looks again when one becomes so, but not more often and not more rarely
 * than this. Within the retention it goes so often back to rows that it had to leave.
 */
#define RETENTION_CHECK_MS 1000
#define RETENTION_REVISITS 8
#define RETENTION_REVISIT_MS_MAX (3600 * 1000)

/* How long a shutdown waits for what was produced. */
#define DRAIN_MS_MAX 3000

/* How long a transaction of a publisher may last that was told to end: it may wait for a lock. */
#define TRANSACTION_GRACE_MS 1000

/*
 * How long a publisher stays out of a database that somebody wanted for himself, and did not say
 * that he is done. Longer than PostgreSQL waits for it to leave (5 s).
 */
#define AWAY_MS_MAX 10000

/* How long a key protects its command: a week survives a long weekend. */
#define KEY_RETENTION_S_DEFAULT (7 * 24 * 3600)
#define KEY_RETENTION_S_MIN 1

/*
 * An order still RECEIVED after this was abandoned by its proxy: the request's own limit is far
 * below it.
 */
#define RECEIVED_TIMEOUT_MS_DEFAULT 5000
#define RECEIVED_TIMEOUT_MS_MIN 100

#endif /* BOUNDS_H */
