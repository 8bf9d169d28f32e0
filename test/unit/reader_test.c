/*
 * reader_test.c
 *		Frames out of a stream of bytes, however it is cut.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "front/reader.h"

#define STREAM_SIZE 512

/* Requests of these payload lengths, one behind the other; the correlation id is the place. */
static const uint32_t lengths[] = {0, 1, 0, 23, 24, 25, 100, 0};

#define FRAME_COUNT (sizeof(lengths) / sizeof(lengths[0]))

static size_t
put_frame(uint8_t *stream, uint64_t id, uint32_t length)
{
	FrameHeader header = {.type = FRAME_REQUEST,
						  .service = SERVICE_ORDER,
						  .method = ORDER_PLACE,
						  .correlation_id = id,
						  .payload_length = length};

	frame_encode(&header, stream);
	memset(stream + FRAME_HEADER_SIZE, (int) id + 1, length);
	return FRAME_HEADER_SIZE + length;
}

static size_t
put_all(uint8_t stream[STREAM_SIZE])
{
	size_t size = 0;

	for (size_t i = 0; i < FRAME_COUNT; i++)
		size += put_frame(stream + size, i, lengths[i]);
	assert_true(size <= STREAM_SIZE);
	return size;
}

/*
 * Gives the reader |size| bytes, in memory of their own so that the sanitizer sees a byte read too
 * many, and checks the frames that come, from the one numbered |next| on. Returns the next number.
 */
static size_t
feed(Reader *reader, const uint8_t *bytes, size_t size, size_t next)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);
	const uint8_t *data = copy;
	ReaderFrame frame;

	memcpy(copy, bytes, size);
	while (reader_next(reader, &data, &size, &frame) == READER_HAS_FRAME)
	{
		assert_true(next < FRAME_COUNT);
		assert_int_equal(frame.error, FRAME_OK);
		assert_true(frame.header.correlation_id == next);
		assert_int_equal(frame.header.payload_length, lengths[next]);
		for (uint32_t i = 0; i < lengths[next]; i++)
			assert_int_equal(frame.payload[i], next + 1);
		next++;
	}
	assert_int_equal(size, 0);
	free(copy);
	return next;
}

static void
gives_all_frames_of_a_stream_in_one_piece(void **state)
{
	uint8_t stream[STREAM_SIZE];
	size_t size = put_all(stream);
	Reader reader;

	(void) state;
	reader_init(&reader);
	assert_int_equal(feed(&reader, stream, size, 0), FRAME_COUNT);
	assert_true(reader_is_empty(&reader));
	assert_null(reader.payload);
	reader_free(&reader);
}

static void
gives_the_same_frames_cut_at_any_two_places(void **state)
{
	uint8_t stream[STREAM_SIZE];
	size_t size = put_all(stream);

	(void) state;
	for (size_t first = 0; first <= size; first++)
	{
		for (size_t second = first; second <= size; second++)
		{
			Reader reader;
			size_t next;

			reader_init(&reader);
			next = feed(&reader, stream, first, 0);
			next = feed(&reader, stream + first, second - first, next);
			next = feed(&reader, stream + second, size - second, next);
			assert_int_equal(next, FRAME_COUNT);
			assert_true(reader_is_empty(&reader));
			reader_free(&reader);
		}
	}
}

static void
gives_the_same_frames_byte_by_byte(void **state)
{
	uint8_t stream[STREAM_SIZE];
	size_t size = put_all(stream);
	size_t next = 0;
	Reader reader;

	(void) state;
	reader_init(&reader);
	for (size_t i = 0; i < size; i++)
		next = feed(&reader, stream + i, 1, next);
	assert_int_equal(next, FRAME_COUNT);
	reader_free(&reader);
}

static void
owns_memory_only_while_a_payload_is_incomplete(void **state)
{
	uint8_t stream[STREAM_SIZE];
	size_t size = put_frame(stream, 0, 100);
	const uint8_t *data = stream;
	size_t given = FRAME_HEADER_SIZE - 1;
	ReaderFrame frame;
	Reader reader;

	(void) state;
	reader_init(&reader);
	assert_int_equal(reader_next(&reader, &data, &given, &frame), READER_NEEDS_MORE);
	assert_null(reader.payload);
	assert_false(reader_is_empty(&reader));
	given = 2;
	assert_int_equal(reader_next(&reader, &data, &given, &frame), READER_NEEDS_MORE);
	assert_non_null(reader.payload);
	given = size - FRAME_HEADER_SIZE - 1;
	assert_int_equal(reader_next(&reader, &data, &given, &frame), READER_HAS_FRAME);
	assert_ptr_equal(frame.payload, reader.payload);
	assert_true(reader_is_empty(&reader));
	given = 0;
	assert_int_equal(reader_next(&reader, &data, &given, &frame), READER_NEEDS_MORE);
	assert_null(reader.payload);
	reader_free(&reader);
}

static void
gives_the_largest_payload(void **state)
{
	uint8_t *stream = malloc(FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX);
	size_t size = put_frame(stream, 6, FRAME_PAYLOAD_MAX);
	ReaderFrame frame;
	Reader reader;

	(void) state;
	reader_init(&reader);
	for (size_t at = 0; at < size; at += 60000)
	{
		const uint8_t *data = stream + at;
		size_t rest = size - at < 60000 ? size - at : 60000;
		ReaderResult result = reader_next(&reader, &data, &rest, &frame);

		assert_int_equal(result, at + 60000 < size ? READER_NEEDS_MORE : READER_HAS_FRAME);
	}
	assert_memory_equal(frame.payload, stream + FRAME_HEADER_SIZE, FRAME_PAYLOAD_MAX);
	reader_free(&reader);
	free(stream);
}

/* What becomes of a request with one byte of its header changed. */
static FrameError
read_with(int offset, uint8_t byte)
{
	uint8_t stream[STREAM_SIZE];
	size_t size = put_frame(stream, 9, 10);
	const uint8_t *data = stream;
	ReaderFrame frame = {.error = FRAME_OK};
	Reader reader;

	stream[offset] = byte;
	reader_init(&reader);
	if (reader_next(&reader, &data, &size, &frame) == READER_IS_BROKEN)
	{
		assert_true(frame.header.correlation_id == 9);
		assert_int_equal(frame.header.service, SERVICE_ORDER);
		assert_null(reader.payload);
	}
	reader_free(&reader);
	return frame.error;
}

static void
refuses_a_broken_header_before_it_allocates_and_tells_whose_it_is(void **state)
{
	(void) state;
	assert_int_equal(read_with(0, 2), FRAME_ERROR_VERSION);
	assert_int_equal(read_with(23, 1), FRAME_ERROR_LENGTH);
	assert_int_equal(read_with(6, FRAME_FLAG_ERROR), FRAME_ERROR_DECODE);
	assert_int_equal(read_with(16, 1), FRAME_ERROR_DECODE);
}

static void
refuses_every_type_but_a_request(void **state)
{
	(void) state;
	for (int type = 0; type <= UINT8_MAX; type++)
		assert_int_equal(read_with(1, (uint8_t) type),
						 type == FRAME_REQUEST ? FRAME_OK : FRAME_ERROR_DECODE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_all_frames_of_a_stream_in_one_piece),
		cmocka_unit_test(gives_the_same_frames_cut_at_any_two_places),
		cmocka_unit_test(gives_the_same_frames_byte_by_byte),
		cmocka_unit_test(owns_memory_only_while_a_payload_is_incomplete),
		cmocka_unit_test(gives_the_largest_payload),
		cmocka_unit_test(refuses_a_broken_header_before_it_allocates_and_tells_whose_it_is),
		cmocka_unit_test(refuses_every_type_but_a_request),
	};

	return cmocka_run_group_tests_name("reader", tests, NULL, NULL);
}
