/*
 * endpoint_set.c
 *		All endpoints of a gRPC service.
 *
 * DESIGN	An endpoint belongs to the name that it was found behind. An address that is behind two
 *			names is two endpoints: the operator asked for both.
 *
 *			Numbers are used again when an endpoint is gone, so they stay small.
 *
 * LIMITS	ENDPOINTS_MAX names, and endpoints with those that finish their last calls.
 *
 * FAILURE	A name that cannot be resolved any more keeps the addresses that were known.
 */
#include "net/endpoint_set.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/bytes.h"
#include "base/log.h"
#include "net/channel_metrics.h"
#include "net/target.h"

struct EndpointSet
{
	Loop *loop;
	EndpointPolicy policy;
	void (*on_change)(void *context);
	void *context;
	Target *targets[ENDPOINTS_MAX];
	int target_count;
	Endpoint *endpoints[ENDPOINTS_MAX]; /* by number; NULL: free */
	Target *owners[ENDPOINTS_MAX];      /* whose address the endpoint is */
	int number_count;                   /* numbers from here on were never used */
	int next;                           /* round robin: the number to begin with */
};

/* Names and addresses -------------------------------------------------------------------------- */

static void
on_change(void *context)
{
	EndpointSet *set = context;

	set->on_change(set->context);
}

static void
on_trouble(void *context, int number)
{
	EndpointSet *set = context;

	target_refresh(set->owners[number]);
}

static const EndpointHandler endpoint_handler = {
	.on_change = on_change,
	.on_trouble = on_trouble,
};

/* The first free number, or -1. */
static int
free_number(EndpointSet *set)
{
	for (int i = 0; i < ENDPOINTS_MAX; i++)
	{
		if (set->endpoints[i] == NULL)
		{
			if (i == set->number_count)
				set->number_count++;
			return i;
		}
	}
	return -1;
}

static void
add_endpoint(EndpointSet *set, Target *target, const DnsAddress *address)
{
	int number = free_number(set);
	EndpointOptions options = {.address = *address,
							   .number = number,
							   .policy = set->policy,
							   .host = target_host(target),
							   .handler = &endpoint_handler,
							   .context = set};

	if (number == -1)
	{
		metrics_count(&channel_metrics.endpoints_refused);
		log_event(LOG_WARNING, "too many endpoints", LOG_TEXT("name", target_name(target)),
				  LOG_NUMBER("limit", ENDPOINTS_MAX));
		return;
	}
	set->owners[number] = target;
	set->endpoints[number] = endpoint_new(set->loop, &options);
}

static bool
is_address_of(const Endpoint *endpoint, const DnsAddress *address)
{
	char name[ADDRESS_TEXT_SIZE];

	dns_format((const struct sockaddr *) &address->address, name, sizeof(name));
	return strcmp(name, endpoint_name(endpoint)) == 0;
}

/* Endpoints whose address is gone are retired; new addresses become endpoints. */
static void
on_addresses(void *context, Target *target, const DnsAddress *addresses, int count,
			 const char *error)
{
	EndpointSet *set = context;
	bool is_known[DNS_ADDRESSES_MAX] = {false};

	assert(count <= DNS_ADDRESSES_MAX);
	set->on_change(set->context);
	if (error != NULL)
		return;
	for (int i = 0; i < set->number_count; i++)
	{
		Endpoint *endpoint = set->endpoints[i];
		bool is_listed = false;

		if (endpoint == NULL || set->owners[i] != target || endpoint_is_retired(endpoint))
			continue;
		for (int j = 0; j < count; j++)
		{
			if (is_address_of(endpoint, &addresses[j]))
				is_listed = is_known[j] = true;
		}
		if (!is_listed)
		{
			log_event(LOG_INFO, "endpoint is gone", LOG_TEXT("endpoint", endpoint_name(endpoint)));
			endpoint_retire(endpoint);
		}
	}
	for (int j = 0; j < count; j++)
	{
		if (!is_known[j])
			add_endpoint(set, target, &addresses[j]);
	}
}

/* False, with a line in the log, when the list cannot be understood. */
static bool
add_targets(EndpointSet *set, Dns *dns, const char *list)
{
	char item[ADDRESS_TEXT_SIZE];

	while (address_next(&list, item))
	{
		Target *target = NULL;

		if (set->target_count < ENDPOINTS_MAX)
			target = target_new(set->loop, dns, item, on_addresses, set);
		if (target == NULL)
		{
			log_event(LOG_ERROR, "endpoint is not host:port, or there are too many",
					  LOG_TEXT("endpoint", item));
			return false;
		}
		set->targets[set->target_count++] = target;
	}
	return set->target_count > 0;
}

EndpointSet *
endpoint_set_new(Loop *loop, Dns *dns, const char *names, const EndpointPolicy *policy,
				 void (*on_endpoint_change)(void *context), void *context)
{
	EndpointSet *set = bytes_new_zeroed(1, sizeof(EndpointSet));

	set->loop = loop;
	set->policy = *policy;
	set->on_change = on_endpoint_change;
	set->context = context;
	/* Proxies that start together do not all begin with the same server. */
	set->next = (int) arc4random_uniform(ENDPOINTS_MAX);
	if (!add_targets(set, dns, names))
	{
		endpoint_set_free(set);
		return NULL;
	}
	return set;
}

void
endpoint_set_free(EndpointSet *set)
{
	for (int i = 0; i < set->number_count; i++)
	{
		if (set->endpoints[i] != NULL)
			endpoint_free(set->endpoints[i]);
	}
	for (int i = 0; i < set->target_count; i++)
		target_free(set->targets[i]);
	free(set);
}

/* Choices -------------------------------------------------------------------------------------- */

/* How gladly an endpoint is taken: 0 is best. */
static int
reluctance(const EndpointSet *set, int number, int avoid)
{
	return 2 * endpoint_is_doubted(set->endpoints[number]) + (number == avoid);
}

int
endpoint_set_choose(EndpointSet *set, int avoid)
{
	int chosen = -1;

	for (int i = 0; i < set->number_count; i++)
	{
		int number = (set->next + i) % set->number_count;
		const Endpoint *endpoint = set->endpoints[number];

		if (endpoint == NULL || !endpoint_can_request(endpoint))
			continue;
		if (chosen == -1 || reluctance(set, number, avoid) < reluctance(set, chosen, avoid))
			chosen = number;
		if (reluctance(set, chosen, avoid) == 0)
			break;
	}
	if (chosen != -1)
		set->next = chosen + 1;
	return chosen;
}

bool
endpoint_set_has_other(const EndpointSet *set, int avoid)
{
	for (int i = 0; i < set->number_count; i++)
	{
		const Endpoint *endpoint = set->endpoints[i];

		if (i != avoid && endpoint != NULL && endpoint_can_request(endpoint) &&
			!endpoint_is_doubted(endpoint))
			return true;
	}
	return false;
}

Endpoint *
endpoint_set_endpoint(EndpointSet *set, int number)
{
	assert(number >= 0 && number < set->number_count);
	assert(set->endpoints[number] != NULL);
	return set->endpoints[number];
}

const char *
endpoint_set_name(const EndpointSet *set, int number)
{
	assert(number >= 0 && number < set->number_count);
	return target_name(set->owners[number]);
}

static bool
has_endpoint(const EndpointSet *set, const Target *target)
{
	for (int i = 0; i < set->number_count; i++)
	{
		if (set->endpoints[i] != NULL && set->owners[i] == target &&
			!endpoint_is_retired(set->endpoints[i]))
			return true;
	}
	return false;
}

bool
endpoint_set_is_hopeful(const EndpointSet *set)
{
	for (int i = 0; i < set->number_count; i++)
	{
		if (set->endpoints[i] != NULL && endpoint_state(set->endpoints[i]) != ENDPOINT_FAILED)
			return true;
	}
	for (int i = 0; i < set->target_count; i++)
	{
		if (target_is_hopeful(set->targets[i]) && !has_endpoint(set, set->targets[i]))
			return true;
	}
	return false;
}

void
endpoint_set_sweep(EndpointSet *set)
{
	for (int i = 0; i < set->number_count; i++)
	{
		if (set->endpoints[i] != NULL && endpoint_is_gone(set->endpoints[i]))
		{
			endpoint_free(set->endpoints[i]);
			set->endpoints[i] = NULL;
			set->owners[i] = NULL;
		}
	}
}

int
endpoint_set_ready_count(const EndpointSet *set)
{
	int count = 0;

	for (int i = 0; i < set->number_count; i++)
		count += set->endpoints[i] != NULL && endpoint_state(set->endpoints[i]) == ENDPOINT_READY;
	return count;
}

int
endpoint_set_count(const EndpointSet *set)
{
	int count = 0;

	for (int i = 0; i < set->number_count; i++)
		count += set->endpoints[i] != NULL && !endpoint_is_retired(set->endpoints[i]);
	return count;
}
