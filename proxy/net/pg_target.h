/*
 * pg_target.h
 *		A libpq connection string, taken apart, so that its hosts can be tried one at a time.
 *
 * DESIGN	libpq would look names up while the event loop stands still, and with several hosts it
 *			would wait for one that is silent for as long as the kernel does. So it is only ever
 *			given one host, with its address.
 */
#ifndef PG_TARGET_H
#define PG_TARGET_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct PgTarget PgTarget;

typedef struct PgHost
{
	const char *name;    /* NULL: none was given */
	const char *address; /* numeric, as given (hostaddr); NULL: the name must be resolved */
	int port;
	bool is_local; /* a Unix socket in the directory |name|, NULL: the usual one */
} PgHost;

/*
 * Takes a connection string (or URI) apart. Host and port come from it, else from PGHOST,
 * PGHOSTADDR and PGPORT, as libpq has it. NULL when it cannot be understood: then |error| says why,
 * without a value from the string.
 */
extern PgTarget *pg_target_new(const char *conninfo, char *error, size_t error_size);

/* No connection may use it any more; NULL is harmless. */
extern void pg_target_free(PgTarget *target);

/* At least 1, at most PG_HOSTS_MAX. */
extern int pg_target_host_count(const PgTarget *target);

/* One of them; lives as long as the target. */
extern const PgHost *pg_target_host(const PgTarget *target, int index);

/*
 * Begins to connect to a host (PQconnectStartParams). |address| is the numeric address found for
 * its name; NULL where nothing is to be resolved. The caller ends the result with PQfinish(); NULL
 * without memory.
 */
extern PGconn *pg_target_connect(const PgTarget *target, int index, const char *address);

#endif /* PG_TARGET_H */
