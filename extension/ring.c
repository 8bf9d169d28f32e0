/*
 * ring.c
 *		A bounded queue of byte records in shared memory: many producers, one consumer.
 *
 * DESIGN	Two positions count bytes since the beginning and never go back; a position modulo the
 *			capacity is an offset into the data. They do not wrap: 2^64 bytes are 58 years at 10
 *			GB/s. So an old position can never be taken for a new one (no ABA), and "used" is a
 *			subtraction.
 *
 *			        read_position                            reserve_position
 *			              |                                         |
 *			    0 0 0 0 0 [header|bytes..pad] [  0   |bytes..] [header|bytes] 0 0 0 0 0
 *			     free      published           being written    published      free
 *
 *			A record is an 8-byte header, its bytes, and padding to a multiple of 8. All headers
 *			lie on multiples of 8 and so does the end of the data: a header is never split, the
 *			bytes may be, and are then copied in two parts.
 *
 *			A producer reserves by moving reserve_position (compare and swap), copies its bytes,
 *			and publishes by storing the header. All free space is zero, so a header that reads 0
 *			is not published yet. The consumer stops there even if later records are ready: order
 *			matters more than the moment, and the wait is as long as a memcpy. What it has taken it
 *			fills with zeroes, then frees by moving read_position.
 *
 *			The header also carries a check derived from its position and size, so that what is
 *			not the header of this place and lap is noticed, but for one chance in 2^32.
 *
 * THREADS	Why each access has its order:
 *			- header, store release / load acquire: who sees the header sees the bytes behind it.
 *			- read_position, store release / load acquire: a producer that sees space as free also
 *			  sees it zeroed and no longer read, so its writes cannot overtake the consumer's.
 *			- reserve_position, acquire and release: a producer that builds on another's
 *			  reservation also sees a read_position at least as new as the other saw. Hence "used"
 *			  is at most the capacity in every process, and any other value means corruption.
 *			- counters, relaxed: they order nothing.
 *
 * FAILURE	A process that dies between reserving and publishing would leave a record that hides
 *			all later ones for ever. In a backend this takes a SIGKILL, a crash or SIGQUIT: there
 *			is no CHECK_FOR_INTERRUPTS and no ereport here, and the handlers of all other signals
 *			only set flags. After such an end the postmaster re-creates the shared memory, and the
 *			ring starts empty. The same holds for a consumer that dies between zeroing and freeing.
 */
#include "ring.h"

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#define RING_MAGIC UINT64_C(0x6f726465725f7267)
#define RECORD_MAGIC UINT32_C(0x7265636f)
#define HEADER_BYTES ((uint32_t) sizeof(uint64_t))

/*
 * Positions of producers and consumer are on lines of their own, so that a push does not slow down
 * the consumer's next look and the other way round. 128 because x86 fetches lines of 64 in pairs,
 * and some ARM and POWER machines have lines of 128.
 */
struct Ring
{
	/* Written by ring_init() before anyone else can see the ring. */
	alignas(RING_ALIGNMENT) uint64_t magic; /* RING_MAGIC ^ capacity_bytes: vouches for both */
	uint64_t capacity_bytes;

	/* Written by producers. The counters ride on a line that a producer has to fetch anyway. */
	alignas(RING_ALIGNMENT) _Atomic uint64_t reserve_position;
	_Atomic uint64_t pushed;
	_Atomic uint64_t overflows;

	/* Written by the consumer. */
	alignas(RING_ALIGNMENT) _Atomic uint64_t read_position;

	/* capacity_bytes of records. Written by the producer that reserved them, then the consumer. */
	alignas(RING_ALIGNMENT) _Atomic uint64_t words[];
};

static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "a lock inside an atomic would be private to a process");
static_assert(sizeof(_Atomic uint64_t) == sizeof(uint64_t), "an atomic is a plain word");
static_assert(sizeof(Ring) % RING_ALIGNMENT == 0, "the data starts on a line of its own");
static_assert(RING_BYTES_MAX <= UINT32_MAX, "sizes of records fit into 32 bits");

static bool
capacity_valid(uint64_t capacity_bytes)
{
	return capacity_bytes >= RING_BYTES_MIN && capacity_bytes <= RING_BYTES_MAX &&
		   (capacity_bytes & (capacity_bytes - 1)) == 0;
}

/* Guards every access to the data, whose bounds come from the shared block itself. */
static bool
ring_sound(const Ring *ring)
{
	return ring->magic == (RING_MAGIC ^ ring->capacity_bytes);
}

/* The space of a record of |record_size| bytes: header, bytes and padding. */
static uint32_t
record_span(uint32_t record_size)
{
	assert(record_size <= RING_BYTES_MAX - HEADER_BYTES);
	return (HEADER_BYTES + record_size + 7) & ~UINT32_C(7);
}

/* What is stored to publish a record. Any changed bit of it is noticed by header_size(). */
static uint64_t
header_make(uint64_t position, uint32_t record_size)
{
	uint32_t size = HEADER_BYTES + record_size;
	uint32_t check = RECORD_MAGIC ^ (uint32_t) (position / HEADER_BYTES) ^ size;

	return (uint64_t) check << 32 | size;
}

/* The record's size out of the header at |position|; false when that is not a header. */
static bool
header_size(uint64_t header, uint64_t position, uint32_t *record_size)
{
	uint32_t size = (uint32_t) header;

	if (size < HEADER_BYTES || size > RING_BYTES_MAX)
		return false;
	if (header != header_make(position, size - HEADER_BYTES))
		return false;
	*record_size = size - HEADER_BYTES;
	return true;
}

/* The index into words[] for |position|. */
static size_t
word_index(const Ring *ring, uint64_t position)
{
	assert(position % HEADER_BYTES == 0);
	return (size_t) ((position & (ring->capacity_bytes - 1)) / HEADER_BYTES);
}

/* A range of positions as one or two pieces of memory: the second starts at offset 0. */
typedef struct Range
{
	size_t offset;
	size_t first_size;
	size_t second_size;
} Range;

static Range
range_of(const Ring *ring, uint64_t position, uint32_t size)
{
	Range range;
	size_t until_end;

	assert(size <= ring->capacity_bytes);
	range.offset = (size_t) (position & (ring->capacity_bytes - 1));
	until_end = (size_t) ring->capacity_bytes - range.offset;
	range.first_size = size < until_end ? size : until_end;
	range.second_size = size - range.first_size;
	return range;
}

static void
copy_in(Ring *ring, uint64_t position, const void *source, uint32_t size)
{
	Range range = range_of(ring, position, size);
	const unsigned char *from = source;
	unsigned char *data = (void *) ring->words;

	if (size == 0)
		return; /* memcpy must not be given NULL, whatever the size */
	memcpy(data + range.offset, from, range.first_size);
	memcpy(data, from + range.first_size, range.second_size);
}

static void
copy_out(const Ring *ring, uint64_t position, void *target, uint32_t size)
{
	Range range = range_of(ring, position, size);
	const unsigned char *data = (const void *) ring->words;
	unsigned char *to = target;

	if (size == 0)
		return;
	memcpy(to, data + range.offset, range.first_size);
	memcpy(to + range.first_size, data, range.second_size);
}

static void
clear(Ring *ring, uint64_t position, uint32_t size)
{
	Range range = range_of(ring, position, size);
	unsigned char *data = (void *) ring->words;

	memset(data + range.offset, 0, range.first_size);
	memset(data, 0, range.second_size);
}

size_t
ring_footprint(uint64_t capacity_bytes)
{
	assert(capacity_valid(capacity_bytes));
	return sizeof(Ring) + (size_t) capacity_bytes;
}

void
ring_init(Ring *ring, uint64_t capacity_bytes)
{
	assert(capacity_valid(capacity_bytes));
	assert((uintptr_t) ring % RING_ALIGNMENT == 0);

	/* Zero is the start of both positions and of the counters, and the mark of free space. */
	memset(ring, 0, ring_footprint(capacity_bytes));
	ring->capacity_bytes = capacity_bytes;
	ring->magic = RING_MAGIC ^ capacity_bytes;
}

uint32_t
ring_record_max(const Ring *ring)
{
	return (uint32_t) ring->capacity_bytes - HEADER_BYTES;
}

/*
 * Takes |span| bytes for one producer: RING_OK and their |position|, RING_FULL or RING_CORRUPT.
 *
 * reserve_position is read before read_position. The other way round, a producer that was
 * suspended in between would see a full ring where none is. This way it may find that the consumer
 * has passed the reserve_position it saw; that one is out of date then, and the next cannot be,
 * because whoever sees a read_position also sees all reservations before it.
 */
static RingResult
reserve(Ring *ring, uint32_t span, uint64_t *position)
{
	uint64_t reserved = atomic_load_explicit(&ring->reserve_position, memory_order_acquire);

	for (;;)
	{
		uint64_t read = atomic_load_explicit(&ring->read_position, memory_order_acquire);

		if (read > reserved)
		{
			reserved = atomic_load_explicit(&ring->reserve_position, memory_order_acquire);
			if (read > reserved)
				return RING_CORRUPT;
			continue; /* |read| is the older one now */
		}
		if (reserved % HEADER_BYTES != 0 || reserved - read > ring->capacity_bytes)
			return RING_CORRUPT;
		if (span > ring->capacity_bytes - (reserved - read))
			return RING_FULL;

		/* Fails when another producer was first, and then sets |reserved| to what it left. */
		if (atomic_compare_exchange_weak_explicit(&ring->reserve_position, &reserved,
												  reserved + span, memory_order_acq_rel,
												  memory_order_acquire))
		{
			*position = reserved;
			return RING_OK;
		}
	}
}

RingResult
ring_push(Ring *ring, const void *head, uint32_t head_size, const void *body, uint32_t body_size)
{
	RingResult result = RING_TOO_BIG;
	uint64_t position = 0;
	uint32_t record_max;

	assert(head != NULL || head_size == 0);
	assert(body != NULL || body_size == 0);
	if (!ring_sound(ring))
		return RING_CORRUPT;

	record_max = ring_record_max(ring);
	if (head_size <= record_max && body_size <= record_max - head_size)
		result = reserve(ring, record_span(head_size + body_size), &position);
	if (result == RING_FULL || result == RING_TOO_BIG)
		atomic_fetch_add_explicit(&ring->overflows, 1, memory_order_relaxed);
	if (result != RING_OK)
		return result;

	copy_in(ring, position + HEADER_BYTES, head, head_size);
	copy_in(ring, position + HEADER_BYTES + head_size, body, body_size);
	atomic_fetch_add_explicit(&ring->pushed, 1, memory_order_relaxed);
	atomic_store_explicit(&ring->words[word_index(ring, position)],
						  header_make(position, head_size + body_size), memory_order_release);
	return RING_OK;
}

/*
 * Finds the oldest record: RING_OK, where it starts and its size; or RING_EMPTY or RING_CORRUPT.
 *
 * The header is read before reserve_position: the acquire on a published header makes its
 * reservation visible, so a record that reaches beyond reserve_position is damaged.
 */
static RingResult
oldest(const Ring *ring, uint64_t *position, uint32_t *record_size)
{
	uint64_t read;
	uint64_t header;
	uint64_t used;
	uint32_t size;

	if (!ring_sound(ring))
		return RING_CORRUPT;
	read = atomic_load_explicit(&ring->read_position, memory_order_relaxed);
	if (read % HEADER_BYTES != 0)
		return RING_CORRUPT;

	header = atomic_load_explicit(&ring->words[word_index(ring, read)], memory_order_acquire);
	used = atomic_load_explicit(&ring->reserve_position, memory_order_relaxed) - read;
	if (used > ring->capacity_bytes)
		return RING_CORRUPT;
	if (header == 0)
		return RING_EMPTY;
	if (!header_size(header, read, &size) || record_span(size) > used)
		return RING_CORRUPT;

	*position = read;
	*record_size = size;
	return RING_OK;
}

RingResult
ring_peek(const Ring *ring, void *buffer, uint32_t buffer_size, uint32_t *record_size)
{
	uint64_t position;
	RingResult result = oldest(ring, &position, record_size);

	assert(buffer != NULL || buffer_size == 0);
	if (result != RING_OK)
		return result;
	copy_out(ring, position + HEADER_BYTES, buffer,
			 *record_size < buffer_size ? *record_size : buffer_size);
	return RING_OK;
}

RingResult
ring_pop(Ring *ring, void *buffer, uint32_t buffer_size, uint32_t *record_size)
{
	uint64_t position;
	uint32_t span;
	RingResult result = oldest(ring, &position, record_size);

	assert(buffer != NULL || buffer_size == 0);
	if (result != RING_OK)
		return result;
	if (*record_size > buffer_size)
		return RING_TOO_BIG;

	copy_out(ring, position + HEADER_BYTES, buffer, *record_size);
	span = record_span(*record_size);
	clear(ring, position, span);
	atomic_store_explicit(&ring->read_position, position + span, memory_order_release);
	return RING_OK;
}

uint64_t
ring_used(const Ring *ring)
{
	/* In this order, so that the consumer's progress in between cannot make the result negative. */
	uint64_t read = atomic_load_explicit(&ring->read_position, memory_order_acquire);
	uint64_t used = atomic_load_explicit(&ring->reserve_position, memory_order_relaxed) - read;

	return used < ring->capacity_bytes ? used : ring->capacity_bytes;
}

uint64_t
ring_pushed(const Ring *ring)
{
	return atomic_load_explicit(&ring->pushed, memory_order_relaxed);
}

uint64_t
ring_overflows(const Ring *ring)
{
	return atomic_load_explicit(&ring->overflows, memory_order_relaxed);
}
