/*
 * shared.c
 *		Shared memory of the extension.
 *
 * DESIGN	Everything is sized and laid out before the first child starts, from
 *			order_service.databases and order_service.ring_size, and never moves. No pointer in it
 *			leaves the segment, and no descriptor or library handle is kept in it: after a crash
 *			another process would take them for its own.
 *
 * LOCKING	None but the spinlock around the error text. The ring has its own rules (ring.h); the
 *			rest are atomics.
 *
 * FAILURE	After a crash the server creates the segment anew: the rings are empty and the
 *			publishers start by reading the table.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/varlena.h"

#include "bounds.h"
#include "compat.h"
#include "settings.h"
#include "shared.h"

typedef struct Shared
{
	int channel_count;
	Channel channels[FLEXIBLE_ARRAY_MEMBER];
} Shared;

static Shared *shared = NULL;
static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

/* Two publishers of one database would each publish every event. */
static void
refuse_repeated(List *names)
{
	for (int i = 0; i < list_length(names); i++)
	{
		for (int j = 0; j < i; j++)
		{
			if (strcmp(list_nth(names, i), list_nth(names, j)) == 0)
				ereport(FATAL, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
								errmsg("database \"%s\" is repeated in \"%s\"",
									   (char *) list_nth(names, i), "order_service.databases")));
		}
	}
}

/* The names in order_service.databases, freshly allocated; FATAL when the list is not valid. */
static List *
database_names(void)
{
	List *names;

	if (!SplitGUCList(pstrdup(settings_databases), ',', &names))
		ereport(FATAL,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid list syntax in parameter \"%s\"", "order_service.databases")));
	if (list_length(names) > DATABASES_MAX)
		ereport(FATAL, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("too many databases in \"%s\": %d", "order_service.databases",
							   list_length(names)),
						errdetail("At most %d are possible.", DATABASES_MAX)));
	refuse_repeated(names);
	return names;
}

/* The largest power of two that is not above the setting: what the ring can use. */
uint64
shared_ring_bytes(void)
{
	uint64 capacity = (uint64) RING_KB_MIN * 1024;

	while (capacity * 2 <= (uint64) settings_ring_kb * 1024)
		capacity *= 2;
	return capacity;
}

static Size
channels_size(int count)
{
	return MAXALIGN(offsetof(Shared, channels) + sizeof(Channel) * (Size) count);
}

static Size
rings_size(int count)
{
	return (Size) count * CACHELINEALIGN(ring_footprint(shared_ring_bytes())) + PG_CACHE_LINE_SIZE;
}

static void
request_memory(void)
{
	int count;

	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	count = list_length(database_names());
	RequestAddinShmemSpace(channels_size(count));
	RequestAddinShmemSpace(rings_size(count));
}

static void
init_counters(PublisherCounters *counters)
{
	pg_atomic_uint64 *first = (pg_atomic_uint64 *) counters;

	StaticAssertStmt(sizeof(PublisherCounters) % sizeof(pg_atomic_uint64) == 0,
					 "PublisherCounters holds nothing but counters");
	for (Size i = 0; i < sizeof(PublisherCounters) / sizeof(pg_atomic_uint64); i++)
		pg_atomic_init_u64(&first[i], 0);
}

static void
init_channel(Channel *channel, const char *database, Ring *ring)
{
	memset(channel, 0, sizeof(Channel));
	strlcpy(channel->database, database, NAMEDATALEN);
	pg_atomic_init_u32(&channel->database_id, InvalidOid);
	pg_atomic_init_u32(&channel->process, SHARED_NO_PROCESS);
	pg_atomic_init_u32(&channel->pid, 0);
	pg_atomic_init_u32(&channel->state, PUBLISHER_STOPPED);
	pg_atomic_init_u32(&channel->is_woken, 0);
	pg_atomic_init_u32(&channel->must_catch_up, 0);
	pg_atomic_init_u32(&channel->is_connecting, 0);
	pg_atomic_init_u64(&channel->wanted_until, 0);
	init_counters(&channel->counters);
	SpinLockInit(&channel->error_lock);
	channel->ring = ring;
	ring_init(ring, shared_ring_bytes());
}

static void
create_memory(void)
{
	List *names;
	ListCell *cell;
	char *rings;
	bool is_found;
	bool is_rings_found;
	int i = 0;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();
	names = database_names();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("order_service", channels_size(list_length(names)), &is_found);
	rings = ShmemInitStruct("order_service rings", rings_size(list_length(names)), &is_rings_found);
	if (!is_found)
	{
		rings = (char *) CACHELINEALIGN(rings);
		shared->channel_count = list_length(names);
		foreach(cell, names)
		{
			init_channel(&shared->channels[i], lfirst(cell), (Ring *) rings);
			rings += CACHELINEALIGN(ring_footprint(shared_ring_bytes()));
			i++;
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

void
shared_request(void)
{
	Assert(process_shared_preload_libraries_in_progress);
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_memory;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = create_memory;
}

int
shared_configured_count(void)
{
	return list_length(database_names());
}

bool
shared_is_preloaded(void)
{
	return shared != NULL;
}

int
shared_channel_count(void)
{
	return shared != NULL ? shared->channel_count : 0;
}

Channel *
shared_channel(int number)
{
	Assert(number >= 0 && number < shared_channel_count());
	return &shared->channels[number];
}

Channel *
shared_own_channel(void)
{
	for (int i = 0; i < shared_channel_count(); i++)
	{
		Channel *channel = &shared->channels[i];

		if (pg_atomic_read_u32(&channel->database_id) == MyDatabaseId)
			return channel;
	}
	return NULL;
}

void
shared_wake(Channel *channel)
{
	uint32 process;

	/* An exchange is a full barrier: what was written before it is seen by who sees the flag. */
	if (pg_atomic_exchange_u32(&channel->is_woken, 1) != 0)
		return;
	process = pg_atomic_read_u32(&channel->process);
	if (process != SHARED_NO_PROCESS)
		SetLatch(compat_proc_latch(process));
}

void
shared_request_catch_up(Channel *channel)
{
	pg_atomic_write_u32(&channel->must_catch_up, 1);
	shared_wake(channel);
}

void
shared_set_error(Channel *channel, const char *error)
{
	SpinLockAcquire(&channel->error_lock);
	strlcpy(channel->error, error, SHARED_ERROR_SIZE);
	SpinLockRelease(&channel->error_lock);
}

void
shared_get_error(Channel *channel, char *buffer)
{
	SpinLockAcquire(&channel->error_lock);
	strlcpy(buffer, channel->error, SHARED_ERROR_SIZE);
	SpinLockRelease(&channel->error_lock);
}
