/*
 * session.c
 *		Sessions.
 *
 * DESIGN	One cache for all connections: a gateway carries many sessions over few connections,
 *			and a session that ends must end on all of them. Only what the database has confirmed
 *			gets in, so nobody can fill it, or choose what falls into one bucket.
 *
 *			All are believed equally long, so the order in which they came in is the order in which
 *			they go stale: one list is enough to know the oldest.
 */
#include "order/session.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/bounds.h"
#include "base/bytes.h"
#include "base/clock.h"

/* FNV-1a, 64 bits, by words instead of bytes. */
#define HASH_BEGIN UINT64_C(0xcbf29ce484222325)
#define HASH_FACTOR UINT64_C(0x100000001b3)

typedef struct Entry
{
	SLIST_ENTRY(Entry) in_bucket;
	TAILQ_ENTRY(Entry) in_order;
	int64_t account_id;
	int64_t checked_us;
	char id[]; /* terminated */
} Entry;

SLIST_HEAD(Bucket, Entry);

struct SessionCache
{
	int capacity;
	int count;
	size_t bucket_count; /* a power of two */
	struct Bucket *buckets;
	TAILQ_HEAD(EntryList, Entry) entries; /* by when they were checked, the oldest first */
};

struct Session
{
	int holders;
	char *login_id; /* NULL: none */
};

/* The cache ----------------------------------------------------------------------------------- */

SessionCache *
session_cache_new(int capacity)
{
	SessionCache *cache = bytes_new_zeroed(1, sizeof(SessionCache));

	assert(capacity > 0);
	cache->capacity = capacity;
	cache->bucket_count = 1;
	while (cache->bucket_count < (size_t) capacity)
		cache->bucket_count *= 2;
	cache->buckets = bytes_new_zeroed(cache->bucket_count, sizeof(struct Bucket));
	TAILQ_INIT(&cache->entries);
	return cache;
}

static struct Bucket *
bucket_of(const SessionCache *cache, const char *id)
{
	uint64_t hash = HASH_BEGIN;
	size_t left = strlen(id);
	uint64_t word;

	for (; left >= sizeof(word); left -= sizeof(word))
	{
		memcpy(&word, id, sizeof(word));
		id += sizeof(word);
		hash = (hash ^ word) * HASH_FACTOR;
	}
	word = 0;
	memcpy(&word, id, left);
	hash = (hash ^ word) * HASH_FACTOR;
	/* The upper bits: each of them depends on all of the words. */
	return &cache->buckets[hash >> 32 & (cache->bucket_count - 1)];
}

static Entry *
find(const SessionCache *cache, const char *id)
{
	Entry *entry;

	SLIST_FOREACH(entry, bucket_of(cache, id), in_bucket)
	{
		if (strcmp(entry->id, id) == 0)
			return entry;
	}
	return NULL;
}

static void
drop(SessionCache *cache, Entry *entry)
{
	SLIST_REMOVE(bucket_of(cache, entry->id), entry, Entry, in_bucket);
	TAILQ_REMOVE(&cache->entries, entry, in_order);
	cache->count--;
	free(entry);
}

void
session_cache_free(SessionCache *cache)
{
	while (!TAILQ_EMPTY(&cache->entries))
		drop(cache, TAILQ_FIRST(&cache->entries));
	free(cache->buckets);
	free(cache);
}

static bool
is_fresh(const Entry *entry, int64_t now_us)
{
	return now_us - entry->checked_us < SESSION_TRUST_MS * CLOCK_MS;
}

int64_t
session_cache_find(const SessionCache *cache, const char *id, int64_t now_us)
{
	const Entry *entry = find(cache, id);

	return entry != NULL && is_fresh(entry, now_us) ? entry->account_id : 0;
}

void
session_cache_remember(SessionCache *cache, const char *id, int64_t account_id, int64_t now_us)
{
	Entry *entry = find(cache, id);
	size_t size = strlen(id) + 1;

	assert(size > 1 && account_id > 0);
	if (entry != NULL)
		drop(cache, entry);
	if (cache->count == cache->capacity)
		drop(cache, TAILQ_FIRST(&cache->entries));
	entry = bytes_new(sizeof(Entry) + size);
	entry->account_id = account_id;
	entry->checked_us = now_us;
	memcpy(entry->id, id, size);
	SLIST_INSERT_HEAD(bucket_of(cache, id), entry, in_bucket);
	TAILQ_INSERT_TAIL(&cache->entries, entry, in_order);
	cache->count++;
}

void
session_cache_forget(SessionCache *cache, const char *id)
{
	Entry *entry = find(cache, id);

	if (entry != NULL)
		drop(cache, entry);
}

/* Connections --------------------------------------------------------------------------------- */

Session *
session_new(void)
{
	Session *session = bytes_new_zeroed(1, sizeof(Session));

	session->holders = 1;
	return session;
}

void
session_hold(Session *session)
{
	assert(session->holders > 0);
	session->holders++;
}

void
session_release(Session *session)
{
	assert(session->holders > 0);
	if (--session->holders > 0)
		return;
	free(session->login_id);
	free(session);
}

const char *
session_login_id(const Session *session)
{
	return session->login_id;
}

void
session_log_in(Session *session, const char *id)
{
	char *copy = bytes_copy_text(id);

	assert(id[0] != '\0');
	free(session->login_id);
	session->login_id = copy;
}

void
session_log_out(Session *session, const char *id)
{
	if (session->login_id == NULL || strcmp(session->login_id, id) != 0)
		return;
	free(session->login_id);
	session->login_id = NULL;
}
