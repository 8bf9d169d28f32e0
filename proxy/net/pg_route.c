/*
 * pg_route.c
 *		The addresses at which the servers of a target may be, one after the other.
 */
#include "net/pg_route.h"

#include <assert.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

void
pg_route_init(PgRoute *route, Dns *dns, const PgTarget *target, int first_host,
			  PgRouteCallback found, void *context)
{
	*route = (PgRoute){
		.dns = dns,
		.target = target,
		.found = found,
		.context = context,
		.first_host = first_host,
		.tried_count = -1,
	};
}

static const PgHost *
host_of(const PgRoute *route)
{
	return pg_target_host(route->target, route->host);
}

/* Whether the host is a name, with addresses that were looked up. */
static bool
has_name(const PgHost *host)
{
	return !host->is_local && host->address == NULL;
}

static void
name_peer(PgRoute *route)
{
	const PgHost *host = host_of(route);
	const DnsAddress *address = &route->addresses[route->address];

	if (host->is_local)
		snprintf(route->peer, sizeof(route->peer), "%s", host->name != NULL ? host->name : "local");
	else if (has_name(host))
		dns_format((const struct sockaddr *) &address->address, route->peer, sizeof(route->peer));
	else
		snprintf(route->peer, sizeof(route->peer), "%s:%d", host->address, host->port);
}

static void
resolved(void *context, const DnsAddress *addresses, int count, const char *error)
{
	PgRoute *route = context;

	route->query = NULL;
	if (error == NULL)
	{
		assert(count > 0 && count <= DNS_ADDRESSES_MAX);
		memcpy(route->addresses, addresses, sizeof(addresses[0]) * (size_t) count);
		route->address_count = count;
		name_peer(route);
	}
	route->found(route->context, error);
}

PgRouteStep
pg_route_next(PgRoute *route)
{
	int host_count = pg_target_host_count(route->target);
	const PgHost *host;

	assert(route->query == NULL);
	assert(route->tried_count < host_count);
	if (++route->address < route->address_count)
	{
		name_peer(route);
		return PG_ROUTE_THERE;
	}
	if (++route->tried_count == host_count)
		return PG_ROUTE_END;
	route->host = (route->first_host + route->tried_count) % host_count;
	route->address = 0;
	host = host_of(route);
	if (!has_name(host))
	{
		route->address_count = 1;
		name_peer(route);
		return PG_ROUTE_THERE;
	}
	route->address_count = 0;
	snprintf(route->peer, sizeof(route->peer), "%s:%d", host->name, host->port);
	route->query = dns_resolve(route->dns, host->name, host->port, resolved, route);
	return PG_ROUTE_ASKING;
}

void
pg_route_cancel(PgRoute *route)
{
	if (route->query != NULL)
		dns_cancel(route->query);
	route->query = NULL;
}

PGconn *
pg_route_connect(const PgRoute *route, const char **error)
{
	const DnsAddress *address = &route->addresses[route->address];
	char numeric[NI_MAXHOST];
	bool is_named = has_name(host_of(route));
	PGconn *pg;

	*error = NULL;
	if (is_named && getnameinfo((const struct sockaddr *) &address->address, address->size, numeric,
								sizeof(numeric), NULL, 0, NI_NUMERICHOST) != 0)
	{
		*error = "address cannot be written as text";
		return NULL;
	}
	pg = pg_target_connect(route->target, route->host, is_named ? numeric : NULL);
	if (pg == NULL)
		*error = "out of memory";
	return pg;
}

const char *
pg_route_peer(const PgRoute *route)
{
	return route->peer;
}

int
pg_route_host(const PgRoute *route)
{
	return route->host;
}
