/*
 * ring_thread_test.c
 *		The ring under several producers and a consumer at full speed.
 *
 * DESIGN	The smallest ring and records up to a sixth of it, so that it is full, empty and
 *			wrapping all the time. Meant for the thread sanitizer, which checks the memory orders;
 *			the plain build checks that nothing is lost, doubled, reordered within its producer, or
 *			damaged.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "ring.h"

#define CAPACITY RING_BYTES_MIN
#define PRODUCERS 4
#define RECORDS 50000 /* of each producer */
#define BODY_MAX 700
#define HANG_SECONDS 120

/* What each record says about itself; its body follows. */
typedef struct Head
{
	uint32_t producer;
	uint32_t number;
	uint32_t body_size;
	uint32_t checksum;
} Head;

typedef struct Producer
{
	pthread_t thread;
	Ring *ring;
	uint32_t index;
	uint64_t refused;
	bool failed; /* for the main thread: cmocka's asserts work only there */
} Producer;

/* FNV-1a over the head without the checksum, and the body. */
static uint32_t
checksum(const Head *head, const unsigned char *body)
{
	uint32_t hash = (2166136261u ^ head->producer) * 16777619u;

	hash = (hash ^ head->number) * 16777619u;
	for (uint32_t i = 0; i < head->body_size; i++)
		hash = (hash ^ body[i]) * 16777619u;
	return hash;
}

static void *
produce(void *argument)
{
	Producer *producer = argument;
	unsigned char body[BODY_MAX];
	uint32_t noise = producer->index;

	for (uint32_t number = 0; number < RECORDS && !producer->failed; number++)
	{
		Head head = {.producer = producer->index, .number = number};
		RingResult result;

		noise = noise * 1664525u + 1013904223u;
		head.body_size = (noise >> 8) % BODY_MAX;
		for (uint32_t i = 0; i < head.body_size; i++)
			body[i] = (unsigned char) ((noise >> 16) + i * 7);
		head.checksum = checksum(&head, body);

		result = ring_push(producer->ring, &head, sizeof(head), body, head.body_size);
		while (result == RING_FULL)
		{
			producer->refused++;
			sched_yield();
			result = ring_push(producer->ring, &head, sizeof(head), body, head.body_size);
		}
		producer->failed = result != RING_OK;
	}
	return NULL;
}

/* Pops one record, which must be the next of its producer, and intact. */
static void
consume(Ring *ring, uint32_t *next)
{
	unsigned char record[sizeof(Head) + BODY_MAX];
	Head head;
	uint32_t size = 0;
	RingResult result = ring_peek(ring, &head, sizeof(head), &size);

	while (result == RING_EMPTY)
	{
		sched_yield();
		result = ring_peek(ring, &head, sizeof(head), &size);
	}
	assert_int_equal(result, RING_OK);
	assert_int_equal(size, sizeof(head) + head.body_size);
	assert_int_equal(ring_pop(ring, record, sizeof(record), &size), RING_OK);
	assert_int_equal(size, sizeof(head) + head.body_size);
	assert_memory_equal(record, &head, sizeof(head));
	assert_in_range(head.producer, 0, PRODUCERS - 1);
	assert_int_equal(head.number, next[head.producer]++);
	assert_int_equal(head.checksum, checksum(&head, record + sizeof(head)));
	assert_in_range(ring_used(ring), 0, CAPACITY);
}

static void
threads_lose_nothing_and_keep_their_order(void **state)
{
	static Producer producers[PRODUCERS]; /* static: outlives a failed assert, as the threads do */
	uint32_t next[PRODUCERS] = {0};
	Ring *ring = aligned_alloc(RING_ALIGNMENT, ring_footprint(CAPACITY));
	uint64_t refused = 0;
	uint32_t size;

	(void) state;
	assert_non_null(ring);
	ring_init(ring, CAPACITY);
	for (uint32_t i = 0; i < PRODUCERS; i++)
	{
		producers[i] = (Producer){.ring = ring, .index = i};
		assert_int_equal(pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
	}
	for (int i = 0; i < PRODUCERS * RECORDS; i++)
		consume(ring, next);
	for (uint32_t i = 0; i < PRODUCERS; i++)
	{
		assert_int_equal(pthread_join(producers[i].thread, NULL), 0);
		assert_false(producers[i].failed);
		refused += producers[i].refused;
	}

	assert_int_equal(ring_peek(ring, NULL, 0, &size), RING_EMPTY);
	assert_int_equal(ring_used(ring), 0);
	assert_int_equal(ring_pushed(ring), PRODUCERS * RECORDS);
	assert_int_equal(ring_overflows(ring), refused);
	free(ring);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_lose_nothing_and_keep_their_order),
	};

	/* A lost record leaves the consumer waiting for ever: a hang is a failure, too. */
	(void) alarm(HANG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
