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
	int64_t due_us;  /* when the timer comes */
	bool has_failed; /* the last query */
};

static void
set_timer(Target *target, int64_t due_us)
{
	int64_t pause_us = due_us - loop_now_us(target->loop);

	target->due_us = due_us;
	loop_event_add(&target->timer, pause_us > 0 ? pause_us : 0);
}

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
		pause_us = backoff_shift(dns_refresh_us(target->dns));
	}
	set_timer(target, loop_now_us(target->loop) + pause_us);
	target->callback(target->context, target, addresses, count, error);
}

static void
ask(Target *target)
{
	assert(target->query == NULL);
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
	target->backoff =
		(Backoff){.first_us = ENDPOINT_BACKOFF_MS_MIN * CLOCK_MS, .limit_us = dns_refresh_us(dns)};
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
	int64_t due_us = target->asked_at_us + TARGET_RESOLVE_MS_MIN * CLOCK_MS;

	/* A failed query is repeated in any case. */
	if (target->query != NULL || target->has_failed || due_us >= target->due_us)
		return;
	set_timer(target, due_us);
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
