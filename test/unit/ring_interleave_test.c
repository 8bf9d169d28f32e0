/*
 * ring_interleave_test.c
 *		The ring, one call at a time, with other processes acting between any two of its steps.
 *
 * DESIGN	Threads meet the rare interleavings by luck; here they are enumerated. ring.c is
 *			included with its atomic accesses replaced by functions that first let "the others"
 *			act. For the first STEPS accesses of one call under test, every combination of the
 *			actions below is tried, from every start, for every size. What the memory order of an
 *			access has to be cannot be seen this way: that is the thread sanitizer's part, see
 *			ring_thread_test.c.
 */
#include <stdatomic.h>
#include <stdint.h>

static void others_act(void);

static uint64_t
hooked_load(const _Atomic uint64_t *object, memory_order order)
{
	others_act();
	return atomic_load_explicit(object, order);
}

static void
hooked_store(_Atomic uint64_t *object, uint64_t value, memory_order order)
{
	others_act();
	atomic_store_explicit(object, value, order);
}

static _Bool
hooked_exchange(_Atomic uint64_t *object, uint64_t *expected, uint64_t value, memory_order success,
				memory_order failure)
{
	others_act();
	return atomic_compare_exchange_strong_explicit(object, expected, value, success, failure);
}

#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_compare_exchange_weak_explicit
#define atomic_load_explicit hooked_load
#define atomic_store_explicit hooked_store
#define atomic_compare_exchange_weak_explicit hooked_exchange

#include "../../extension/ring.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define CAPACITY RING_BYTES_MIN
#define RECORD_SIZE 1000 /* of the others; four of them fit */
#define STEPS 5

typedef enum Action
{
	ACT_NOTHING,
	ACT_PUSH,
	ACT_POP,
	ACT_FILL,
	ACT_DRAIN,
	ACT_LAP,   /* drain and fill, twice: a full ring whose every byte is new */
	ACT_STALL, /* reserve and write, but do not publish yet; publish the next time */
	ACTION_COUNT
} Action;

/* The world around the call under test. */
static struct
{
	Ring *ring;
	const Action *actions; /* of each step */
	int step;
	bool is_acting;     /* the others' own accesses are not steps */
	bool may_pop;       /* not while the call under test is the consumer */
	uint64_t used_most; /* during the call */
	uint32_t next_push; /* the others' records carry numbers 0, 1, 2, ... */
	uint32_t next_pop;
	int own_popped;          /* records of the call under test that came out */
	size_t stalled_word;     /* where the stalled record's header belongs, */
	uint64_t stalled_header; /* and what; 0 when none is stalled */
} world;

#define OWN_NUMBER UINT32_MAX

/* A record is its number, repeated; its size is a multiple of 4. */
static RingResult
push_number(uint32_t number, uint32_t size)
{
	uint32_t numbers[CAPACITY / 4]; /* not static: the others push in the middle of a push */

	for (uint32_t i = 0; i < size / 4; i++)
		numbers[i] = number;
	return ring_push(world.ring, numbers, size / 8 * 4, numbers + size / 8, size - size / 8 * 4);
}

static void
check_popped(const uint32_t *numbers, uint32_t size)
{
	assert_in_range(size, 4, ring_record_max(world.ring));
	for (uint32_t i = 1; i < size / 4; i++)
		assert_int_equal(numbers[i], numbers[0]);
	if (numbers[0] == OWN_NUMBER)
		world.own_popped++;
	else
		assert_int_equal(numbers[0], world.next_pop++);
}

static RingResult
pop_one(void)
{
	uint32_t numbers[CAPACITY / 4];
	uint32_t size = 0;
	RingResult result = ring_pop(world.ring, numbers, sizeof(numbers), &size);

	if (result == RING_OK)
		check_popped(numbers, size);
	else
		assert_int_equal(result, RING_EMPTY);
	return result;
}

static RingResult
push_one(void)
{
	RingResult result = push_number(world.next_push, RECORD_SIZE);

	if (result == RING_OK)
		world.next_push++;
	else
		assert_int_equal(result, RING_FULL);
	return result;
}

static void
stall_or_resume(void)
{
	Ring *ring = world.ring;
	size_t word = word_index(ring, ring->reserve_position);

	if (world.stalled_header != 0)
	{
		ring->words[world.stalled_word] = world.stalled_header;
		world.stalled_header = 0;
	}
	else if (push_one() == RING_OK)
	{
		world.stalled_word = word;
		world.stalled_header = ring->words[word];
		ring->words[word] = 0;
	}
}

static void
drain(void)
{
	while (world.may_pop && pop_one() == RING_OK)
		continue;
}

static void
fill(void)
{
	while (push_one() == RING_OK)
		continue;
}

static void
act(Action action)
{
	switch (action)
	{
		case ACT_NOTHING:
			break;
		case ACT_PUSH:
			(void) push_one();
			break;
		case ACT_POP:
			if (world.may_pop)
				(void) pop_one();
			break;
		case ACT_FILL:
			fill();
			break;
		case ACT_DRAIN:
			drain();
			break;
		case ACT_LAP:
			drain();
			fill();
			drain();
			fill();
			break;
		case ACT_STALL:
			stall_or_resume();
			break;
		case ACTION_COUNT:
			assert_true(false);
	}
}

static void
note_used(void)
{
	uint64_t used = world.ring->reserve_position - world.ring->read_position;

	assert_in_range(used, 0, CAPACITY);
	if (used > world.used_most)
		world.used_most = used;
}

static void
others_act(void)
{
	if (world.is_acting || world.step >= STEPS)
		return;
	world.is_acting = true;
	act(world.actions[world.step++]);
	note_used();
	world.is_acting = false;
}

/* A ring that is not in its first lap and holds |count| records. */
static void
start(const Action *actions, int count)
{
	Ring *ring = world.ring;

	memset(&world, 0, sizeof(world));
	world.ring = ring;
	world.actions = actions;
	world.is_acting = true;
	world.may_pop = true;
	ring_init(ring, CAPACITY);
	act(ACT_LAP);
	act(ACT_DRAIN);
	for (int i = 0; i < count; i++)
		act(ACT_PUSH);
	note_used();
	world.is_acting = false;
}

/* Everything comes out, once, in order, and leaves the ring clean. */
static void
finish(int own_expected)
{
	world.is_acting = true;
	world.may_pop = true;
	if (world.stalled_header != 0)
		act(ACT_STALL);
	act(ACT_DRAIN);
	assert_int_equal(world.own_popped, own_expected);
	assert_int_equal(world.next_pop, world.next_push);
	assert_int_equal(ring_used(world.ring), 0);
	for (size_t word = 0; word < CAPACITY / sizeof(uint64_t); word++)
		assert_true(world.ring->words[word] == 0);
}

static void
try_push(const Action *actions, int count, uint32_t size)
{
	RingResult result;

	start(actions, count);
	result = push_number(OWN_NUMBER, size);
	if (result != RING_OK)
	{
		/* Refused only if at some moment there was no room. */
		assert_int_equal(result, RING_FULL);
		assert_true(record_span(size) > CAPACITY - world.used_most);
	}
	finish(result == RING_OK);
}

static void
try_pop(const Action *actions, int count)
{
	uint32_t numbers[RECORD_SIZE / 4];
	uint32_t size = 0;
	RingResult result;

	start(actions, count);
	world.may_pop = false;
	result = ring_peek(world.ring, numbers, sizeof(numbers), &size);
	assert_in_range(result, RING_OK, RING_EMPTY);
	result = ring_pop(world.ring, numbers, sizeof(numbers), &size);
	if (result == RING_OK)
		check_popped(numbers, size);
	else
		assert_int_equal(result, RING_EMPTY);
	if (count > 0)
		assert_int_equal(result, RING_OK);
	finish(0);
}

/* The next combination of actions; false after the last. */
static bool
advance(Action *actions)
{
	for (int i = 0; i < STEPS; i++)
	{
		if (++actions[i] < ACTION_COUNT)
			return true;
		actions[i] = ACT_NOTHING;
	}
	return false;
}

static void
push_is_right_whatever_others_do_in_between(void **state)
{
	static const uint32_t sizes[] = {4, RECORD_SIZE, CAPACITY - HEADER_BYTES};
	Action actions[STEPS] = {ACT_NOTHING};

	(void) state;
	do
	{
		for (int count = 0; count <= 4; count += 2)
		{
			for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
				try_push(actions, count, sizes[i]);
		}
	} while (advance(actions));
}

static void
pop_is_right_whatever_others_do_in_between(void **state)
{
	Action actions[STEPS] = {ACT_NOTHING};

	(void) state;
	do
	{
		for (int count = 0; count <= 4; count += 2)
			try_pop(actions, count);
	} while (advance(actions));
}

static int
setup(void **state)
{
	(void) state;
	world.ring = aligned_alloc(RING_ALIGNMENT, ring_footprint(CAPACITY));
	return world.ring == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	(void) state;
	free(world.ring);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(push_is_right_whatever_others_do_in_between),
		cmocka_unit_test(pop_is_right_whatever_others_do_in_between),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
