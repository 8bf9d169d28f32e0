/*
 * pg_route.h
 *		The addresses at which the servers of a target may be, one after the other.
 *
 * DESIGN	Each host of the target once, from a given one on; of a name all addresses that it has.
 */
#ifndef PG_ROUTE_H
#define PG_ROUTE_H

#include <libpq-fe.h>

#include "base/bounds.h"
#include "net/dns.h"
#include "net/pg_target.h"

#define PG_ROUTE_PEER_SIZE 128

/* A name was looked up: the route stands at its first address, or |error| says why it has none. */
typedef void (*PgRouteCallback)(void *context, const char *error);

typedef enum PgRouteStep
{
	PG_ROUTE_THERE,  /* it stands at an address */
	PG_ROUTE_ASKING, /* a name is looked up: the callback comes, once */
	PG_ROUTE_END,    /* there is no further address */
} PgRouteStep;

/* To be read through the functions only. */
typedef struct PgRoute
{
	Dns *dns;
	const PgTarget *target;
	PgRouteCallback found;
	void *context;
	int first_host;
	int tried_count; /* hosts before this one */
	int host;
	int address;
	int address_count;
	DnsAddress addresses[DNS_ADDRESSES_MAX]; /* of a name */
	DnsQuery *query;                         /* NULL: none is under way */
	char peer[PG_ROUTE_PEER_SIZE];
} PgRoute;

/* Stands before the first address of |first_host|, counted on from the last host to the first. */
extern void pg_route_init(PgRoute *route, Dns *dns, const PgTarget *target, int first_host,
						  PgRouteCallback found, void *context);

/* Goes on to the next address. Not while a name is looked up, and not behind the end. */
extern PgRouteStep pg_route_next(PgRoute *route);

/* Takes back what is looked up, if anything: the callback does not come. */
extern void pg_route_cancel(PgRoute *route);

/*
 * Begins to connect to where it stands, see pg_target_connect(). NULL, with |*error| (static text),
 * when that cannot be.
 */
extern PGconn *pg_route_connect(const PgRoute *route, const char **error);

/* host:port of where it stands, or the name that is looked up; valid as long as the route. */
extern const char *pg_route_peer(const PgRoute *route);

/* Which host of the target that is. */
extern int pg_route_host(const PgRoute *route);

#endif /* PG_ROUTE_H */
