/*
 * ring_test.c
 *		The ring: every result, every limit, every offset.
 *
 * DESIGN	ring.c is included, not linked: Ring is opaque, and some tests damage it or stop a
 *			producer half-way, which takes a look inside. (Its object in the archive of the pure
 *			modules is then not needed, so nothing is defined twice.) The address sanitizer watches
 *			both ends of each block. RING_TEST_SEED repeats the random tests with the number they
 *			printed.
 */
#include "../../extension/ring.c" /* first: it must need nothing that is included below */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define CAPACITY RING_BYTES_MIN
#define RECORD_MAX ((uint32_t) CAPACITY - HEADER_BYTES)
#define LENGTH_OF(array) (sizeof(array) / sizeof((array)[0]))

static unsigned char out[CAPACITY];

static unsigned int
random_seed(void)
{
	const char *text = getenv("RING_TEST_SEED");
	unsigned int seed = text != NULL ? (unsigned int) strtoul(text, NULL, 10)
									 : (unsigned int) time(NULL) ^ (unsigned int) getpid();

	print_message("RING_TEST_SEED=%u\n", seed);
	return seed;
}

static Ring *
ring_new(uint64_t capacity_bytes)
{
	size_t size = ring_footprint(capacity_bytes);
	Ring *ring = aligned_alloc(RING_ALIGNMENT, size);

	assert_non_null(ring);
	memset(ring, 0xa5, size); /* ring_init() must not depend on what was there */
	ring_init(ring, capacity_bytes);
	return ring;
}

static int
setup(void **state)
{
	*state = ring_new(CAPACITY);
	return 0;
}

static int
teardown(void **state)
{
	free(*state);
	return 0;
}

/* The bytes of a record, all different from those of its neighbours. */
static void
fill(unsigned char *bytes, uint32_t size, uint32_t number)
{
	for (uint32_t i = 0; i < size; i++)
		bytes[i] = (unsigned char) (number * 31 + i * 7 + 1);
}

static RingResult
push_size(Ring *ring, uint32_t size, uint32_t number)
{
	unsigned char bytes[CAPACITY];

	assert_in_range(size, 0, sizeof(bytes));
	fill(bytes, size, number);
	return ring_push(ring, bytes, size / 3, bytes + size / 3, size - size / 3);
}

static void
expect_pop(Ring *ring, uint32_t size, uint32_t number)
{
	unsigned char expected[CAPACITY];
	uint32_t record_size = UINT32_MAX;

	fill(expected, size, number);
	assert_int_equal(ring_pop(ring, out, sizeof(out), &record_size), RING_OK);
	assert_int_equal(record_size, size);
	assert_memory_equal(out, expected, size);
}

static void
expect_empty(Ring *ring)
{
	uint32_t record_size = 77;

	assert_int_equal(ring_pop(ring, out, sizeof(out), &record_size), RING_EMPTY);
	assert_int_equal(ring_peek(ring, out, sizeof(out), &record_size), RING_EMPTY);
	assert_int_equal(record_size, 77);
}

static void
expect_corrupt(Ring *ring)
{
	uint32_t record_size = 77;
	uint64_t read = ring->read_position;

	assert_int_equal(ring_pop(ring, out, sizeof(out), &record_size), RING_CORRUPT);
	assert_int_equal(ring_peek(ring, out, sizeof(out), &record_size), RING_CORRUPT);
	assert_int_equal(record_size, 77);
	assert_int_equal(ring->read_position, read);
}

/* Makes a ring whose positions are at |position|, as if that many bytes had gone through it. */
static void
advance_to(Ring *ring, uint64_t position)
{
	ring_init(ring, ring->capacity_bytes);
	ring->reserve_position = position;
	ring->read_position = position;
}

static void
footprint_is_header_and_data(void **state)
{
	(void) state;
	assert_int_equal(ring_footprint(RING_BYTES_MIN), sizeof(Ring) + RING_BYTES_MIN);
	assert_int_equal(ring_footprint(RING_BYTES_MAX), sizeof(Ring) + RING_BYTES_MAX);
	assert_int_equal(ring_footprint(CAPACITY) % RING_ALIGNMENT, 0);
}

static void
positions_of_producer_and_consumer_share_no_line(void **state)
{
	(void) state;
	assert_true(offsetof(Ring, reserve_position) / RING_ALIGNMENT !=
				offsetof(Ring, read_position) / RING_ALIGNMENT);
	assert_true(offsetof(Ring, overflows) / RING_ALIGNMENT !=
				offsetof(Ring, read_position) / RING_ALIGNMENT);
	assert_true(offsetof(Ring, read_position) / RING_ALIGNMENT !=
				offsetof(Ring, words) / RING_ALIGNMENT);
	assert_true(offsetof(Ring, capacity_bytes) / RING_ALIGNMENT !=
				offsetof(Ring, reserve_position) / RING_ALIGNMENT);
}

static void
new_ring_is_empty(void **state)
{
	Ring *ring = *state;

	expect_empty(ring);
	assert_int_equal(ring_used(ring), 0);
	assert_int_equal(ring_pushed(ring), 0);
	assert_int_equal(ring_overflows(ring), 0);
	assert_int_equal(ring_record_max(ring), RECORD_MAX);
}

static void
record_is_head_followed_by_body(void **state)
{
	Ring *ring = *state;
	uint32_t size;

	assert_int_equal(ring_push(ring, "head", 4, "the body", 8), RING_OK);
	assert_int_equal(ring_push(ring, "head", 4, NULL, 0), RING_OK);
	assert_int_equal(ring_push(ring, NULL, 0, "body", 4), RING_OK);
	assert_int_equal(ring_push(ring, NULL, 0, NULL, 0), RING_OK);
	assert_int_equal(ring_used(ring), 24 + 16 + 16 + 8);
	assert_int_equal(ring_pushed(ring), 4);

	assert_int_equal(ring_pop(ring, out, sizeof(out), &size), RING_OK);
	assert_int_equal(size, 12);
	assert_memory_equal(out, "headthe body", 12);
	assert_int_equal(ring_pop(ring, out, sizeof(out), &size), RING_OK);
	assert_int_equal(size, 4);
	assert_memory_equal(out, "head", 4);
	assert_int_equal(ring_pop(ring, out, sizeof(out), &size), RING_OK);
	assert_int_equal(size, 4);
	assert_memory_equal(out, "body", 4);
	assert_int_equal(ring_pop(ring, NULL, 0, &size), RING_OK);
	assert_int_equal(size, 0);
	expect_empty(ring);
	assert_int_equal(ring_used(ring), 0);
	assert_int_equal(ring_pushed(ring), 4);
}

static void
peek_shows_the_first_bytes_and_takes_nothing(void **state)
{
	Ring *ring = *state;
	uint32_t size = 0;

	advance_to(ring, CAPACITY - 16); /* the record's bytes go round the end */
	assert_int_equal(ring_push(ring, "0123456789", 10, "abcdef", 6), RING_OK);

	assert_int_equal(ring_peek(ring, NULL, 0, &size), RING_OK);
	assert_int_equal(size, 16);
	memset(out, '-', sizeof(out));
	assert_int_equal(ring_peek(ring, out, 12, &size), RING_OK);
	assert_int_equal(size, 16);
	assert_memory_equal(out, "0123456789ab----", 16);
	assert_int_equal(ring_peek(ring, out, sizeof(out), &size), RING_OK);
	assert_memory_equal(out, "0123456789abcdef----", 20);
	assert_int_equal(ring_used(ring), 24);
	assert_int_equal(ring_pop(ring, out, sizeof(out), &size), RING_OK);
	expect_empty(ring);
}

static void
pop_into_a_small_buffer_keeps_the_record(void **state)
{
	Ring *ring = *state;
	uint32_t size = 0;

	assert_int_equal(push_size(ring, 100, 1), RING_OK);
	memset(out, '-', sizeof(out));
	assert_int_equal(ring_pop(ring, out, 99, &size), RING_TOO_BIG);
	assert_int_equal(size, 100);
	assert_int_equal(out[0], '-');
	assert_int_equal(ring_pop(ring, NULL, 0, &size), RING_TOO_BIG);
	expect_pop(ring, 100, 1);
}

static void
ring_takes_exactly_its_capacity(void **state)
{
	Ring *ring = *state;
	uint32_t count = CAPACITY / 64;

	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(push_size(ring, 64 - HEADER_BYTES, i), RING_OK);
	assert_int_equal(ring_used(ring), CAPACITY);
	assert_int_equal(ring_push(ring, NULL, 0, NULL, 0), RING_FULL);

	/* One out, one in; and not a byte more. */
	expect_pop(ring, 64 - HEADER_BYTES, 0);
	assert_int_equal(push_size(ring, 64 - HEADER_BYTES + 1, 0), RING_FULL);
	assert_int_equal(push_size(ring, 64 - HEADER_BYTES, count), RING_OK);
	assert_int_equal(ring_push(ring, NULL, 0, NULL, 0), RING_FULL);
	for (uint32_t i = 1; i <= count; i++)
		expect_pop(ring, 64 - HEADER_BYTES, i);
	expect_empty(ring);
}

static void
largest_record_fits_and_a_larger_one_does_not(void **state)
{
	Ring *ring = *state;

	for (uint32_t number = 0; number < 3; number++)
	{
		assert_int_equal(push_size(ring, RECORD_MAX, number), RING_OK);
		assert_int_equal(ring_used(ring), CAPACITY);
		expect_pop(ring, RECORD_MAX, number);
		assert_int_equal(push_size(ring, RECORD_MAX + 1, number), RING_TOO_BIG);
		assert_int_equal(push_size(ring, 1, number), RING_OK); /* moves the next round along */
		assert_int_equal(push_size(ring, RECORD_MAX, number), RING_FULL);
		expect_pop(ring, 1, number);
		expect_empty(ring);
	}
}

static void
sizes_that_overflow_are_too_big(void **state)
{
	Ring *ring = *state;

	assert_int_equal(ring_push(ring, out, UINT32_MAX, out, UINT32_MAX), RING_TOO_BIG);
	assert_int_equal(ring_push(ring, out, UINT32_MAX, out, 1), RING_TOO_BIG);
	assert_int_equal(ring_push(ring, out, 1, out, UINT32_MAX), RING_TOO_BIG);
	assert_int_equal(ring_push(ring, out, RECORD_MAX, out, 1), RING_TOO_BIG);
	assert_int_equal(ring_overflows(ring), 4);
	expect_empty(ring);
}

static void
overflows_are_counted_and_cost_no_space(void **state)
{
	Ring *ring = *state;

	assert_int_equal(push_size(ring, RECORD_MAX - 100, 1), RING_OK);
	for (int i = 0; i < 10; i++)
		assert_int_equal(push_size(ring, 200, 2), RING_FULL);
	assert_int_equal(push_size(ring, RECORD_MAX + 1, 3), RING_TOO_BIG);
	assert_int_equal(ring_overflows(ring), 11);
	assert_int_equal(ring_pushed(ring), 1);
	assert_int_equal(push_size(ring, 80, 4), RING_OK);
	expect_pop(ring, RECORD_MAX - 100, 1);
	expect_pop(ring, 80, 4);
	expect_empty(ring);
}

/* Every offset a record can start at, sizes around each step of the padding, and the largest. */
static void
records_survive_the_wrap_at_each_offset(void **state)
{
	static const uint32_t sizes[] = {0, 1, 7, 8, 9, 15, 16, 17, 300, RECORD_MAX - 1, RECORD_MAX};
	Ring *ring = *state;

	for (uint64_t offset = 0; offset < CAPACITY; offset += HEADER_BYTES)
	{
		for (size_t i = 0; i < LENGTH_OF(sizes); i++)
		{
			advance_to(ring, CAPACITY + offset);
			assert_int_equal(push_size(ring, sizes[i], (uint32_t) offset), RING_OK);
			expect_pop(ring, sizes[i], (uint32_t) offset);
			expect_empty(ring);
			for (size_t word = 0; word < CAPACITY / sizeof(uint64_t); word++)
				assert_true(ring->words[word] == 0);
		}
	}
}

static void
positions_go_on_past_32_bits(void **state)
{
	static const uint64_t starts[] = {
		UINT64_C(1) << 32,              /* bytes */
		UINT64_C(1) << 35,              /* words: where the check in the header starts over */
		UINT64_MAX - 100 * CAPACITY + 1 /* the far end, a long time away */
	};
	Ring *ring = *state;

	for (size_t i = 0; i < LENGTH_OF(starts); i++)
	{
		advance_to(ring, starts[i] - 2 * CAPACITY);
		for (uint32_t number = 0; number < 100; number++)
		{
			assert_int_equal(push_size(ring, 200, number), RING_OK);
			assert_int_equal(push_size(ring, 333, number + 1), RING_OK);
			expect_pop(ring, 200, number);
			expect_pop(ring, 333, number + 1);
		}
		expect_empty(ring);
	}
}

static void
unpublished_record_hides_later_ones(void **state)
{
	Ring *ring = *state;
	uint64_t header;

	/* A producer that was stopped before its last step: all is there but the header. */
	assert_int_equal(push_size(ring, 50, 1), RING_OK);
	header = ring->words[0];
	ring->words[0] = 0;
	assert_int_equal(push_size(ring, 60, 2), RING_OK);

	expect_empty(ring);
	assert_int_equal(ring_used(ring), 64 + 72);

	ring->words[0] = header;
	expect_pop(ring, 50, 1);
	expect_pop(ring, 60, 2);
	expect_empty(ring);
}

static void
any_changed_bit_of_a_header_is_reported(void **state)
{
	Ring *ring = *state;
	uint64_t header;

	assert_int_equal(push_size(ring, 100, 1), RING_OK);
	assert_int_equal(push_size(ring, 100, 2), RING_OK);
	header = ring->words[0];
	for (int bit = 0; bit < 64; bit++)
	{
		ring->words[0] = header ^ UINT64_C(1) << bit;
		expect_corrupt(ring);
	}
	ring->words[0] = header;
	expect_pop(ring, 100, 1);
}

static void
header_of_another_place_is_reported(void **state)
{
	Ring *ring = *state;

	/* A lap earlier; and well-formed, but reaching beyond what was reserved. */
	advance_to(ring, 2 * CAPACITY);
	assert_int_equal(push_size(ring, 100, 1), RING_OK);
	ring->words[0] = header_make(CAPACITY, 100);
	expect_corrupt(ring);
	ring->words[0] = header_make(2 * CAPACITY, 105);
	expect_corrupt(ring);
	ring->words[0] = header_make(2 * CAPACITY, UINT32_MAX - HEADER_BYTES);
	expect_corrupt(ring);
	ring->words[0] = header_make(2 * CAPACITY, 100);
	expect_pop(ring, 100, 1);
}

static void
damaged_constants_are_reported(void **state)
{
	Ring *ring = *state;

	assert_int_equal(push_size(ring, 100, 1), RING_OK);
	ring->magic ^= 1;
	expect_corrupt(ring);
	assert_int_equal(push_size(ring, 100, 2), RING_CORRUPT);
	ring->magic ^= 1;
	ring->capacity_bytes *= 2;
	expect_corrupt(ring);
	assert_int_equal(push_size(ring, 100, 2), RING_CORRUPT);
	ring->capacity_bytes /= 2;
	expect_pop(ring, 100, 1);
	assert_int_equal(ring_overflows(ring), 0);
}

static void
impossible_positions_are_reported(void **state)
{
	static const struct
	{
		uint64_t reserve_position;
		uint64_t read_position;
	} cases[] = {
		{64, 128},              /* read what was never reserved */
		{CAPACITY + 8, 0},      /* reserved more than there is */
		{UINT64_MAX - 7, 4096}, /* the same, far away */
		{100, 96},              /* not at a header */
		{96, 92},
	};
	Ring *ring = *state;

	for (size_t i = 0; i < LENGTH_OF(cases); i++)
	{
		uint64_t reserve_position = cases[i].reserve_position;

		ring->reserve_position = reserve_position;
		ring->read_position = cases[i].read_position;
		if (reserve_position % 8 == 0)
			expect_corrupt(ring);
		if (cases[i].read_position % 8 == 0)
		{
			assert_int_equal(push_size(ring, 10, 1), RING_CORRUPT);
			assert_int_equal(ring->reserve_position, reserve_position);
		}
		assert_in_range(ring_used(ring), 0, CAPACITY);
	}
}

/* A million pushes and pops against the plainest queue there is. */
static void
ring_behaves_like_a_queue(void **state)
{
	uint32_t sizes[CAPACITY / HEADER_BYTES];
	Ring *ring = *state;
	uint32_t first = 0;
	uint32_t next = 0;
	uint64_t used = 0;
	uint64_t overflows = 0;

	srandom(random_seed());
	for (int turn = 0; turn < 1000000; turn++)
	{
		uint32_t size = (uint32_t) random() % (random() % 16 == 0 ? RECORD_MAX : 200);

		if (random() % 2 == 0)
		{
			bool fits = record_span(size) <= CAPACITY - used;

			assert_int_equal(push_size(ring, size, next), fits ? RING_OK : RING_FULL);
			overflows += !fits;
			if (fits)
			{
				used += record_span(size);
				sizes[next++ % LENGTH_OF(sizes)] = size;
			}
		}
		else if (first == next)
			expect_empty(ring);
		else
		{
			size = sizes[first % LENGTH_OF(sizes)];
			expect_pop(ring, size, first++);
			used -= record_span(size);
		}
		assert_int_equal(ring_used(ring), used);
	}
	assert_int_equal(ring_pushed(ring), next);
	assert_int_equal(ring_overflows(ring), overflows);
}

/* Two processes need not see the block at the same address. */
static void
ring_does_not_depend_on_its_address(void **state)
{
	size_t size = ring_footprint(CAPACITY);
	FILE *file = tmpfile();
	Ring *here;
	Ring *there;

	(void) state;
	assert_non_null(file);
	assert_int_equal(ftruncate(fileno(file), (off_t) size), 0);
	here = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
	there = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
	assert_ptr_not_equal(here, MAP_FAILED);
	assert_ptr_not_equal(there, MAP_FAILED);
	assert_ptr_not_equal(here, there);

	ring_init(here, CAPACITY);
	for (uint32_t number = 0; number < 100; number++)
	{
		assert_int_equal(push_size(here, 1000, number), RING_OK);
		expect_pop(there, 1000, number);
	}
	assert_int_equal(munmap(here, size), 0);
	assert_int_equal(munmap(there, size), 0);
	assert_int_equal(fclose(file), 0);
}

#define RING_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(footprint_is_header_and_data),
		cmocka_unit_test(positions_of_producer_and_consumer_share_no_line),
		cmocka_unit_test(ring_does_not_depend_on_its_address),
		RING_TEST(new_ring_is_empty),
		RING_TEST(record_is_head_followed_by_body),
		RING_TEST(peek_shows_the_first_bytes_and_takes_nothing),
		RING_TEST(pop_into_a_small_buffer_keeps_the_record),
		RING_TEST(ring_takes_exactly_its_capacity),
		RING_TEST(largest_record_fits_and_a_larger_one_does_not),
		RING_TEST(sizes_that_overflow_are_too_big),
		RING_TEST(overflows_are_counted_and_cost_no_space),
		RING_TEST(records_survive_the_wrap_at_each_offset),
		RING_TEST(positions_go_on_past_32_bits),
		RING_TEST(unpublished_record_hides_later_ones),
		RING_TEST(any_changed_bit_of_a_header_is_reported),
		RING_TEST(header_of_another_place_is_reported),
		RING_TEST(damaged_constants_are_reported),
		RING_TEST(impossible_positions_are_reported),
		RING_TEST(ring_behaves_like_a_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
