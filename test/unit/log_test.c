/*
 * log_test.c
 *		The lines of the log, as they arrive on standard error.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bounds.h"
#include "base/clock.h"
#include "base/log.h"

#define DEADLINE_US (20 * CLOCK_SECOND)

static int saved_stderr = -1;
static int captured = -1;
static char lines[1024 * 1024];

/* Standard error goes to a pipe that does not block. */
static void
capture(void)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
	saved_stderr = dup(STDERR_FILENO);
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	captured = ends[0];
}

/* Ends it; what was written since is in |lines|. */
static void
release(void)
{
	size_t size = 0;
	ssize_t got;

	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	while ((got = read(captured, lines + size, sizeof(lines) - 1 - size)) > 0)
		size += (size_t) got;
	lines[size] = '\0';
	close(captured);
}

static int
count_lines(void)
{
	int count = 0;

	for (const char *next = lines; (next = strchr(next, '\n')) != NULL; next++)
		count++;
	return count;
}

/* Waits for a second of which nothing is used up: the bound counts by seconds of this clock. */
static void
await_new_second(void)
{
	int64_t second = clock_now_us() / CLOCK_SECOND;
	int64_t until_us = clock_now_us() + DEADLINE_US;

	while (clock_now_us() / CLOCK_SECOND == second && clock_now_us() < until_us)
		;
}

static void
a_line_has_time_level_event_and_fields(void **state)
{
	int year, month, day, hour, minute, second, millisecond, size = 0;

	(void) state;
	log_configure(LOG_INFO, LOG_FORMAT_TEXT);
	capture();
	log_event(LOG_WARNING, "endpoint lost", LOG_TEXT("peer", "127.0.0.1:9000"),
			  LOG_NUMBER("calls", -3));
	release();
	assert_int_equal(sscanf(lines, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &year, &month, &day, &hour,
							&minute, &second, &millisecond, &size),
					 7);
	assert_int_equal(size, strlen("2026-11-25T14:03:04.123Z"));
	assert_string_equal(lines + size, " WARNING endpoint lost peer=127.0.0.1:9000 calls=-3\n");
}

static void
an_event_needs_no_fields(void **state)
{
	(void) state;
	capture();
	log_event(LOG_ERROR, "stopped");
	release();
	assert_non_null(strstr(lines, "Z ERROR stopped\n"));
}

static void
values_with_blanks_or_control_characters_are_quoted(void **state)
{
	(void) state;
	capture();
	log_event(LOG_INFO, "event", LOG_TEXT("a", "two words"), LOG_TEXT("b", ""),
			  LOG_TEXT("c", "a\"b\\c"), LOG_TEXT("d", "one\ntwo\x1B[31m\x7F"), LOG_TEXT("e", "k=v"),
			  LOG_TEXT("f", "gr\xC3\xBC\xC3\x9F"), LOG_TEXT("g", "\xFF\xC3"));
	release();
	assert_non_null(strstr(lines, " a=\"two words\" b=\"\" c=\"a\\\"b\\\\c\""
								  " d=\"one\\ntwo\\u001b[31m\\u007f\" e=\"k=v\""
								  " f=\"gr\xC3\xBC\xC3\x9F\" g=\"\\u00ff\\u00c3\"\n"));
	assert_int_equal(count_lines(), 1);
}

static void
json_is_one_object_per_line(void **state)
{
	char *time_end;

	(void) state;
	log_configure(LOG_INFO, LOG_FORMAT_JSON);
	capture();
	log_event(LOG_INFO, "ready", LOG_TEXT("listen", "a b\t\"c\""), LOG_NUMBER("pid", INT64_MIN));
	release();
	log_configure(LOG_INFO, LOG_FORMAT_TEXT);
	assert_memory_equal(lines, "{\"time\":\"2", 10);
	time_end = strchr(lines, ',');
	assert_string_equal(time_end, ",\"level\":\"info\",\"event\":\"ready\","
								  "\"listen\":\"a b\\u0009\\\"c\\\"\","
								  "\"pid\":-9223372036854775808}\n");
}

/* What is not UTF-8 would make the line no JSON: too long forms, surrogates, beyond the end. */
static void
broken_utf8_is_escaped_byte_by_byte(void **state)
{
	static const char *const broken[] = {"\xC0\xAF",         "\xE0\x80\xAF",    "\xED\xA0\x80",
										 "\xF4\x90\x80\x80", "\xF5\x80",        "\x80",
										 "\xE2\x82",         "\xF0\x8F\xBF\xBF"};

	(void) state;
	capture();
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		log_event(LOG_INFO, "event", LOG_TEXT("a", broken[i]));
	log_event(LOG_INFO, "event", LOG_TEXT("a", "\xE2\x82\xAC\xF0\x9F\x98\x80"));
	release();
	for (const char *next = lines; *next != '\0'; next++)
	{
		if ((unsigned char) *next >= 0x80)
		{
			assert_memory_equal(next, "\xE2\x82\xAC\xF0\x9F\x98\x80\"\n", 9);
			break;
		}
	}
	assert_int_equal(count_lines(), 9);
}

static void
levels_below_the_set_one_are_not_written(void **state)
{
	(void) state;
	log_configure(LOG_WARNING, LOG_FORMAT_TEXT);
	assert_false(log_is_on(LOG_INFO));
	assert_true(log_is_on(LOG_WARNING));
	capture();
	log_event(LOG_DEBUG, "one");
	log_event(LOG_INFO, "two");
	log_event(LOG_ERROR, "three");
	release();
	log_configure(LOG_INFO, LOG_FORMAT_TEXT);
	assert_int_equal(count_lines(), 1);
	assert_non_null(strstr(lines, " ERROR three\n"));
}

static void
a_long_value_is_cut(void **state)
{
	char value[2 * LOG_VALUE_BYTES_MAX];
	const char *begin;

	(void) state;
	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	capture();
	log_event(LOG_INFO, "event", LOG_TEXT("a", value), LOG_NUMBER("b", 1));
	release();
	begin = strstr(lines, " a=\"");
	assert_non_null(begin);
	assert_int_equal(strspn(begin + 4, "x"), LOG_VALUE_BYTES_MAX);
	assert_string_equal(begin + 4 + LOG_VALUE_BYTES_MAX, "...\" b=1\n");
}

static void
lines_above_the_limit_are_dropped_and_counted(void **state)
{
	int64_t begin_second;
	int written;

	(void) state;
	/* Once more if the machine was so slow that a second ended in between. */
	do
	{
		await_new_second();
		capture();
		begin_second = clock_now_us() / CLOCK_SECOND;
		for (int i = 0; i < LOG_LINES_PER_SECOND_MAX + 50; i++)
			log_event(LOG_INFO, "event", LOG_NUMBER("i", i));
		written = clock_now_us() / CLOCK_SECOND == begin_second;
		release();
	} while (!written);
	assert_int_equal(count_lines(), LOG_LINES_PER_SECOND_MAX);

	await_new_second();
	capture();
	log_event(LOG_INFO, "next");
	release();
	assert_non_null(strstr(lines, " WARNING log lines were dropped lines=50\n"));
	assert_non_null(strstr(lines, " INFO next\n"));
	assert_int_equal(count_lines(), 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_has_time_level_event_and_fields),
		cmocka_unit_test(an_event_needs_no_fields),
		cmocka_unit_test(values_with_blanks_or_control_characters_are_quoted),
		cmocka_unit_test(json_is_one_object_per_line),
		cmocka_unit_test(broken_utf8_is_escaped_byte_by_byte),
		cmocka_unit_test(levels_below_the_set_one_are_not_written),
		cmocka_unit_test(a_long_value_is_cut),
		cmocka_unit_test(lines_above_the_limit_are_dropped_and_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
