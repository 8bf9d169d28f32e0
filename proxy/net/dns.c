/*
 * dns.c
 *		Names to addresses, without blocking, on evdns.
 *
 * DESIGN	Every result, also one that is known at once, reaches its owner from a task of the loop.
 *
 *			evdns calls back after a cancelled request, too. So a query that was given up, or whose
 *			time is up, lives on without an owner until evdns has let go of it.
 *
 * LIMITS	DNS_TIMEOUT_MS a query, DNS_ADDRESSES_MAX addresses of it.
 *
 * FAILURE	A name server that is silent is asked again, or the next one is, every
 *			SERVER_TIMEOUT_SECONDS.
 */
#include "net/dns.h"

#include <assert.h>
#include <event2/dns.h>
#include <event2/util.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

/* In the form that evdns takes options. One question is asked SERVER_ATTEMPTS times. */
#define SERVER_TIMEOUT_SECONDS "1"
#define SERVER_ATTEMPTS "4"

/* How long the answer of one family waits for the other. */
#define FAMILY_SKEW_SECONDS "0.5"

struct Dns
{
	Loop *loop;
	struct evdns_base *base;
	int64_t refresh_us;
	int query_count; /* with those that have no owner any more */
};

struct DnsQuery
{
	Dns *dns;
	DnsCallback callback; /* NULL: nobody waits for it any more */
	void *context;
	struct evdns_getaddrinfo_request *request; /* NULL: evdns has let go of the query */
	LoopTask answer;
	LoopEvent timer;
	const char *error;
	DnsAddress addresses[DNS_ADDRESSES_MAX];
	int address_count;
};

static MetricsCounter queries_total;
static MetricsCounter failures_total;

Dns *
dns_new(Loop *loop)
{
	const DnsOptions options = {.resolv_conf = "/etc/resolv.conf",
								.refresh_us = DNS_REFRESH_MS_DEFAULT * CLOCK_MS};

	return dns_new_from(loop, &options);
}

Dns *
dns_new_from(Loop *loop, const DnsOptions *options)
{
	Dns *dns = bytes_new_zeroed(1, sizeof(Dns));

	assert(options->refresh_us > 0);
	dns->loop = loop;
	dns->refresh_us = options->refresh_us;
	dns->base = evdns_base_new(loop_base(loop), EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	if (dns->base == NULL)
	{
		log_event(LOG_ERROR, "name resolution cannot be set up");
		abort();
	}

	/* Reads the hosts file, too. What the file says about these options is overridden below. */
	if (evdns_base_resolv_conf_parse(dns->base, DNS_OPTIONS_ALL, options->resolv_conf) != 0)
		log_event(LOG_WARNING, "no name server is configured, asking this machine",
				  LOG_TEXT("file", options->resolv_conf));
	evdns_base_set_option(dns->base, "timeout", SERVER_TIMEOUT_SECONDS);
	evdns_base_set_option(dns->base, "attempts", SERVER_ATTEMPTS);
	evdns_base_set_option(dns->base, "getaddrinfo-allow-skew", FAMILY_SKEW_SECONDS);

	metrics_counter_init(&queries_total, "dns_queries_total", NULL,
						 "Names that were asked for, numeric ones included.");
	metrics_counter_init(&failures_total, "dns_failures_total", NULL,
						 "Names for which no address was found.");
	return dns;
}

int64_t
dns_refresh_us(const Dns *dns)
{
	return dns->refresh_us;
}

void
dns_free(Dns *dns)
{
	/* Cancelled requests have their callbacks ready: evdns must not be freed under them. */
	while (dns->query_count > 0)
		loop_turn(dns->loop);
	evdns_base_free(dns->base, 0);
	free(dns);
}

/* Frees a query that neither its owner nor evdns knows any more. */
static void
release(DnsQuery *query)
{
	if (query->callback != NULL || query->request != NULL)
		return;
	assert(query->dns->query_count > 0);
	query->dns->query_count--;
	loop_event_remove(&query->timer);
	loop_task_cancel(&query->answer);
	free(query);
}

static void
run_callback(void *context)
{
	DnsQuery *query = context;
	DnsCallback callback = query->callback;

	query->callback = NULL;
	if (query->error != NULL)
		metrics_count(&failures_total);
	callback(query->context, query->addresses, query->address_count, query->error);
	release(query);
}

static void
finish(DnsQuery *query, const char *error)
{
	query->error = error;
	loop_event_remove(&query->timer);
	loop_defer(&query->answer);
}

static void
take_address(DnsQuery *query, const struct evutil_addrinfo *item)
{
	DnsAddress *address = &query->addresses[query->address_count];

	if (query->address_count == DNS_ADDRESSES_MAX)
		return;
	if ((item->ai_family != AF_INET && item->ai_family != AF_INET6) ||
		item->ai_addrlen > sizeof(address->address))
		return;
	for (int i = 0; i < query->address_count; i++)
	{
		if (query->addresses[i].size == item->ai_addrlen &&
			memcmp(&query->addresses[i].address, item->ai_addr, item->ai_addrlen) == 0)
			return;
	}
	memcpy(&address->address, item->ai_addr, item->ai_addrlen);
	address->size = (socklen_t) item->ai_addrlen;
	query->address_count++;
}

/* What evdns found; also called from within evdns_getaddrinfo(). */
static void
on_result(int result, struct evutil_addrinfo *list, void *context)
{
	DnsQuery *query = context;

	query->request = NULL;
	if (query->callback == NULL || query->answer.is_queued)
	{
		/* Given up or too late. */
		release(query);
	}
	else
	{
		for (struct evutil_addrinfo *item = list; item != NULL; item = item->ai_next)
			take_address(query, item);
		if (query->address_count > 0)
			finish(query, NULL);
		else
			finish(query, result != 0 ? evutil_gai_strerror(result) : "no address for this name");
	}
	if (list != NULL)
		evutil_freeaddrinfo(list);
}

static void
on_timeout(void *context, short what)
{
	DnsQuery *query = context;

	(void) what;
	finish(query, "name server did not answer in time");
	evdns_getaddrinfo_cancel(query->request);
}

DnsQuery *
dns_resolve(Dns *dns, const char *host, int port, DnsCallback callback, void *context)
{
	struct evutil_addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_protocol = IPPROTO_TCP,
		.ai_flags = EVUTIL_AI_NUMERICSERV,
	};
	DnsQuery *query = bytes_new_zeroed(1, sizeof(DnsQuery));
	struct evdns_getaddrinfo_request *request;
	char service[8];

	assert(port >= 0 && port <= 65535);
	query->dns = dns;
	query->callback = callback;
	query->context = context;
	loop_event_init(&query->timer, dns->loop, -1, 0, on_timeout, query);
	loop_task_init(&query->answer, dns->loop, run_callback, query);
	dns->query_count++;
	metrics_count(&queries_total);

	snprintf(service, sizeof(service), "%d", port);
	request = evdns_getaddrinfo(dns->base, host, service, &hints, on_result, query);
	if (request != NULL)
	{
		query->request = request;
		loop_event_add(&query->timer, DNS_TIMEOUT_MS * CLOCK_MS);
	}
	return query;
}

void
dns_cancel(DnsQuery *query)
{
	bool is_answered = query->answer.is_queued;

	query->callback = NULL;
	loop_event_remove(&query->timer);
	loop_task_cancel(&query->answer);
	if (query->request == NULL)
		release(query);
	else if (!is_answered)
		evdns_getaddrinfo_cancel(query->request);
}

void
dns_format(const struct sockaddr *address, char *text, size_t size)
{
	char host[NI_MAXHOST];
	char service[NI_MAXSERV];
	socklen_t address_size =
		address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

	if ((address->sa_family != AF_INET && address->sa_family != AF_INET6) ||
		getnameinfo(address, address_size, host, sizeof(host), service, sizeof(service),
					NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		snprintf(text, size, "unknown");
	else if (address->sa_family == AF_INET6)
		snprintf(text, size, "[%s]:%s", host, service);
	else
		snprintf(text, size, "%s:%s", host, service);
}
