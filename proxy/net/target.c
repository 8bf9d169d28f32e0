/*
 * target.c
 *		A name of a gRPC service, and the addresses behind it.
 *
 * DESIGN	Addresses have no lifetime here (the resolver does not tell it): a name is asked for
 *			again when an address of it fails, and now and then without a reason, because servers
 *			that were added break no connection.
 *
 * FAILURE	A name that cannot be resolved is asked for again after a pause that grows.
 */
#include "net/target.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "resilience/backoff.h"

struct Target
{
	Loop *loop;
	Dns *dns;
	TargetCallback callback;
	void *context;
	char *name;
	char host[ADDRESS_HOST_SIZE];
	int port;
	DnsQuery *query; /* NULL: none is under way */
	LoopEvent timer; /* to ask again */
	Backoff backoff;
	int64_t asked_at_us;
	bool has_failed; /* the last query */
	bool is_urgent;  /* the timer is set for target_refresh() */
};

static void
on_resolved(void *context, const DnsAddress *addresses, int count, const char *error)
{
	Target *target = context;
	int64_t pause_us;

	target->query = NULL;
	target->has_failed = error != NULL;
	if (error != NULL)
	{
		pause_us = backoff_next(&target->backoff);
		log_event(LOG_WARNING, "service cannot be resolved", LOG_TEXT("name", target->name),
				  LOG_TEXT("reason", error), LOG_NUMBER("retry_ms", pause_us / CLOCK_MS));
	}
	else
	{
		backoff_reset(&target->backoff);
		pause_us = backoff_shift(TARGET_REFRESH_MS * CLOCK_MS);
	}
	loop_event_add(&target->timer, pause_us);
	target->callback(target->context, target, addresses, count, error);
}

static void
ask(Target *target)
{
	assert(target->query == NULL);
	target->is_urgent = false;
	target->asked_at_us = loop_now_us(target->loop);
	loop_event_remove(&target->timer);
	target->query = dns_resolve(target->dns, target->host, target->port, on_resolved, target);
}

static void
on_timer(void *context, short what)
{
	(void) what;
	ask(context);
}

Target *
target_new(Loop *loop, Dns *dns, const char *text, TargetCallback callback, void *context)
{
	Target *target = bytes_new_zeroed(1, sizeof(Target));

	if (!address_split(text, target->host, sizeof(target->host), &target->port) ||
		target->port == 0)
	{
		free(target);
		return NULL;
	}
	target->loop = loop;
	target->dns = dns;
	target->callback = callback;
	target->context = context;
	target->name = bytes_copy_text(text);
	target->backoff = (Backoff){.first_us = ENDPOINT_BACKOFF_MS_MIN * CLOCK_MS,
								.limit_us = TARGET_REFRESH_MS * CLOCK_MS};
	loop_event_init(&target->timer, loop, -1, 0, on_timer, target);
	ask(target);
	return target;
}

void
target_free(Target *target)
{
	if (target->query != NULL)
		dns_cancel(target->query);
	loop_event_remove(&target->timer);
	free(target->name);
	free(target);
}

void
target_refresh(Target *target)
{
	int64_t next_us = target->asked_at_us + TARGET_RESOLVE_MS_MIN * CLOCK_MS;
	int64_t pause_us = next_us - loop_now_us(target->loop);

	/* A failed query is repeated in any case. */
	if (target->query != NULL || target->has_failed || target->is_urgent)
		return;
	target->is_urgent = true;
	loop_event_add(&target->timer, pause_us > 0 ? pause_us : 0);
}

bool
target_is_hopeful(const Target *target)
{
	return target->query != NULL && !target->has_failed;
}

const char *
target_name(const Target *target)
{
	return target->name;
}

const char *
target_host(const Target *target)
{
	return target->host;
}
