/*
 * account_bounds.h
 *		Every limit of the Account stand-in.
 */
#ifndef ACCOUNT_BOUNDS_H
#define ACCOUNT_BOUNDS_H

/* Texts of a request and of the admin interface, without the terminator. */
#define ACCOUNT_RESERVE_ID_BYTES_MAX 128
#define ACCOUNT_ORDER_ID_BYTES_MAX 64
#define ACCOUNT_ITEM_BYTES_MAX 32 /* a currency or a symbol */

/*
 * A reservation takes about 150 bytes and is never forgotten, so 4 GiB are some 28 million of
 * them. At the limit calls are answered with INTERNAL_ERROR.
 */
#define ACCOUNT_DATABASE_BYTES_MAX (INT64_C(4) * 1024 * 1024 * 1024)

/*
 * Calls that are not answered yet: those of a turn and those that a fault delays. Above it calls
 * end with RESOURCE_EXHAUSTED. 65,536 at about 1 KB are 64 MB.
 */
#define ACCOUNT_CALLS_DEFAULT 65536
#define ACCOUNT_CALLS_MIN 1
#define ACCOUNT_CALLS_MAX 1000000

/* Admin requests: 16 MiB hold 100,000 accounts of 160 bytes each. */
#define ACCOUNT_ADMIN_HEADER_BYTES_MAX 8192
#define ACCOUNT_ADMIN_BODY_BYTES_MAX (16 * 1024 * 1024)
#define ACCOUNT_ADMIN_IDLE_SECONDS 60
#define ACCOUNT_ADMIN_ACCOUNTS_MAX 100000

/* Reservations in one answer to GET /holds: about 150 MB of JSON; the rest is on the next page. */
#define ACCOUNT_HOLDS_MAX 1000000

#define ACCOUNT_FAULTS_MAX 64
#define ACCOUNT_FAULT_DELAY_MS_MAX 600000
#define ACCOUNT_FAULT_TIMES_MAX INT64_C(1000000000)

/* How long SIGTERM waits for the calls under way, and how often it looks. */
#define ACCOUNT_DRAIN_MS_MAX 5000
#define ACCOUNT_DRAIN_LOOK_MS 20

/* Instances over one ledger in one process. */
#define ACCOUNT_INSTANCES_MAX 4

#endif /* ACCOUNT_BOUNDS_H */
