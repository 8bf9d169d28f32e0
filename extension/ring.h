/*
 * ring.h
 *		A bounded queue of byte records in one block of shared memory: many producers, one consumer.
 *
 * Pure: C11 and <stdatomic.h> only. The block holds no pointer, so processes may map it at
 * different addresses. A record is any sequence of 0 to ring_record_max() bytes; the ring knows
 * nothing about its content. Records come out whole, once, and in the order in which their space
 * was reserved; in particular, the records of one producer keep their order.
 *
 * THREADS	Any number of processes or threads may call ring_push() at the same time. At most one
 *			may be the consumer, who calls ring_peek() and ring_pop(): the caller sees to that. The
 *			counters may be read by anyone.
 * FAILURE	Nothing here allocates, waits, raises an error or aborts. What is found damaged in the
 *			shared block is reported as RING_CORRUPT and left as it is; see ring.c for what happens
 *			when a process dies inside a call.
 */
#ifndef RING_H
#define RING_H

#include <stddef.h>
#include <stdint.h>

/* The data part, in bytes: a page; and so much that the size of any record fits into 32 bits. */
#define RING_BYTES_MIN UINT64_C(4096)
#define RING_BYTES_MAX (UINT64_C(1) << 30)

/* The block must start at a multiple of this. PostgreSQL's shared memory allocator sees to it. */
#define RING_ALIGNMENT 128

typedef enum RingResult
{
	RING_OK = 0,
	RING_EMPTY,   /* no record to take: none pushed, or the oldest is still being written */
	RING_FULL,    /* not pushed: no room for it at the moment */
	RING_TOO_BIG, /* not pushed: larger than ring_record_max(); not popped: than the buffer */
	RING_CORRUPT, /* someone else has written into the block; nothing was done */
} RingResult;

typedef struct Ring Ring;

/*
 * The size of the whole block for |capacity_bytes| of data, which must be a power of two from
 * RING_BYTES_MIN to RING_BYTES_MAX (asserted). Each record takes 8 bytes more than its size,
 * rounded up to a multiple of 8.
 */
extern size_t ring_footprint(uint64_t capacity_bytes);

/*
 * Makes an empty ring of the |ring_footprint(capacity_bytes)| bytes at |ring|, whatever they
 * contain. |ring| must be aligned to RING_ALIGNMENT (asserted). Nobody else may use the block
 * before this returns.
 */
extern void ring_init(Ring *ring, uint64_t capacity_bytes);

/* The size in bytes of the largest record that fits into the ring while it is empty. */
extern uint32_t ring_record_max(const Ring *ring);

/*
 * Appends one record, |head_size| bytes from |head| followed by |body_size| bytes from |body|. A
 * pointer may be NULL where its size is 0. RING_OK; RING_FULL or RING_TOO_BIG, which count an
 * overflow; or RING_CORRUPT. Lock-free: it tries again only when another process got ahead.
 */
extern RingResult ring_push(Ring *ring, const void *head, uint32_t head_size, const void *body,
							uint32_t body_size);

/*
 * Looks at the oldest record and leaves it in the ring: sets |record_size| and copies the first
 * bytes, as many as the record and |buffer_size| allow, into |buffer| (NULL where |buffer_size| is
 * 0, to ask for the size alone). RING_OK; RING_EMPTY or RING_CORRUPT, which set nothing. Consumer
 * only.
 */
extern RingResult ring_peek(const Ring *ring, void *buffer, uint32_t buffer_size,
							uint32_t *record_size);

/*
 * Takes the oldest record out: copies it into |buffer| and sets |record_size|. RING_OK;
 * RING_TOO_BIG when it is larger than |buffer_size|, which sets |record_size| and leaves the
 * record in the ring; RING_EMPTY or RING_CORRUPT, which set nothing. Consumer only.
 */
extern RingResult ring_pop(Ring *ring, void *buffer, uint32_t buffer_size, uint32_t *record_size);

/*
 * Bytes of the ring that are taken, 0 to its capacity. More than 0 does not promise a record yet: a
 * reservation counts before its record is written. Exact for the consumer while nobody pushes.
 */
extern uint64_t ring_used(const Ring *ring);

/* Records pushed since ring_init(); each was or will be popped. */
extern uint64_t ring_pushed(const Ring *ring);

/* Calls of ring_push() since ring_init() that answered RING_FULL or RING_TOO_BIG. */
extern uint64_t ring_overflows(const Ring *ring);

#endif /* RING_H */
