/*
 * bytes_test.c
 *		The growable buffer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"

static void
numbers_are_written_big_endian_and_read_back(void **state)
{
	static const uint8_t wanted[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
									 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0xFF};
	Bytes bytes;

	(void) state;
	bytes_init(&bytes);
	bytes_append_u8(&bytes, 0x01);
	bytes_append_u16(&bytes, 0x0203);
	bytes_append_u32(&bytes, 0x04050607);
	bytes_append_u64(&bytes, UINT64_C(0x08090A0B0C0D0EFF));
	assert_int_equal(bytes.size, sizeof(wanted));
	assert_memory_equal(bytes.data, wanted, sizeof(wanted));
	assert_int_equal(bytes_u16(bytes.data + 1), 0x0203);
	assert_int_equal(bytes_u32(bytes.data + 3), 0x04050607);
	assert_int_equal(bytes_u64(bytes.data + 7), UINT64_C(0x08090A0B0C0D0EFF));
	bytes_free(&bytes);
}

static void
the_highest_bits_survive(void **state)
{
	static const uint8_t ones[8] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};

	(void) state;
	assert_int_equal(bytes_u16(ones), UINT16_MAX);
	assert_int_equal(bytes_u32(ones), UINT32_MAX);
	assert_true(bytes_u64(ones) == UINT64_MAX);
}

static void
a_buffer_grows_and_keeps_its_content(void **state)
{
	Bytes bytes = {0};

	(void) state;
	for (int i = 0; i < 100000; i++)
		bytes_append_u8(&bytes, (uint8_t) i);
	assert_int_equal(bytes.size, 100000);
	for (int i = 0; i < 100000; i++)
		assert_int_equal(bytes.data[i], (uint8_t) i);
	bytes_free(&bytes);
	assert_null(bytes.data);
	assert_int_equal(bytes.size + bytes.capacity, 0);
}

static void
clearing_keeps_the_memory(void **state)
{
	Bytes bytes = {0};
	uint8_t *data;

	(void) state;
	bytes_append(&bytes, "some text", 9);
	data = bytes.data;
	bytes_clear(&bytes);
	assert_int_equal(bytes.size, 0);
	bytes_append(&bytes, "other", 5);
	assert_ptr_equal(bytes.data, data);
	bytes_free(&bytes);
}

static void
nothing_can_be_appended(void **state)
{
	Bytes bytes = {0};

	(void) state;
	bytes_append(&bytes, NULL, 0);
	bytes_append(&bytes, "", 0);
	assert_int_equal(bytes.size, 0);
	bytes_free(&bytes);
}

static void
reserved_room_is_counted_by_the_caller(void **state)
{
	Bytes bytes = {0};
	uint8_t *room;

	(void) state;
	bytes_append(&bytes, "ab", 2);
	room = bytes_reserve(&bytes, 1000);
	assert_ptr_equal(room, bytes.data + 2);
	memset(room, 'x', 1000);
	assert_int_equal(bytes.size, 2);
	bytes.size += 1000;
	bytes_append(&bytes, "yz", 2);
	assert_memory_equal(bytes.data, "abxx", 4);
	assert_memory_equal(bytes.data + 1001, "xyz", 3);
	bytes_free(&bytes);
}

static void
a_number_can_be_written_over(void **state)
{
	Bytes bytes = {0};

	(void) state;
	bytes_append_u8(&bytes, 'a');
	bytes_append_u32(&bytes, 0);
	bytes_append_u8(&bytes, 'z');
	bytes_set_u32(&bytes, 1, 0x01020304);
	assert_memory_equal(bytes.data, "a\x01\x02\x03\x04z", 6);
	bytes_free(&bytes);
}

static void
texts_are_copied(void **state)
{
	char *copy = bytes_copy_text("text");

	(void) state;
	assert_string_equal(copy, "text");
	copy = bytes_resize(copy, 10000);
	assert_string_equal(copy, "text");
	free(copy);
	copy = bytes_new_zeroed(3, 4);
	assert_memory_equal(copy, "\0\0\0\0\0\0\0\0\0\0\0\0", 12);
	free(copy);
	free(bytes_new(0));
}

/* More than there is can be asked for only in a process of its own. */
static void
memory_that_cannot_be_had_ends_the_process(void **state)
{
	pid_t child;
	int status;

	(void) state;
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
	{
		Bytes bytes = {0};

		close(STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		bytes_append_u8(&bytes, 1);
		bytes_reserve(&bytes, SIZE_MAX - 8);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_written_big_endian_and_read_back),
		cmocka_unit_test(the_highest_bits_survive),
		cmocka_unit_test(a_buffer_grows_and_keeps_its_content),
		cmocka_unit_test(clearing_keeps_the_memory),
		cmocka_unit_test(nothing_can_be_appended),
		cmocka_unit_test(reserved_room_is_counted_by_the_caller),
		cmocka_unit_test(a_number_can_be_written_over),
		cmocka_unit_test(texts_are_copied),
		cmocka_unit_test(memory_that_cannot_be_had_ends_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
