/*
 * log.c
 *		One line per event on standard error, as text or JSON.
 *
 * DESIGN	A line is put together in memory and written by one write(), so that lines of several
 *			processes on one pipe do not mix.
 *
 * LIMITS	LOG_LINES_PER_SECOND_MAX lines a second; the first line of a later second says how many
 *			were dropped. LOG_VALUE_BYTES_MAX bytes of a value.
 *
 * FAILURE	A line that cannot be written is lost: there is nobody to tell.
 */
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bounds.h"
#include "base/bytes.h"
#include "base/clock.h"

static LogLevel least_level = LOG_INFO;
static LogFormat format = LOG_FORMAT_TEXT;

/* The second of the monotonic clock that is being counted. */
static int64_t second = -1;
static int64_t lines_in_second = 0;
static int64_t lines_dropped = 0;

static const char *const text_names[] = {"DEBUG", "INFO", "WARNING", "ERROR"};
static const char *const json_names[] = {"debug", "info", "warning", "error"};

static void
append_text(Bytes *line, const char *text)
{
	bytes_append(line, text, strlen(text));
}

/* Bytes of the UTF-8 character at |text|; 0 when there is none. */
static size_t
utf8_size(const uint8_t *text)
{
	size_t size = text[0] < 0x80   ? 1
				  : text[0] < 0xC2 ? 0
				  : text[0] < 0xE0 ? 2
				  : text[0] < 0xF0 ? 3
								   : 4;

	if (text[0] > 0xF4)
		return 0;
	for (size_t i = 1; i < size; i++)
	{
		if ((text[i] & 0xC0) != 0x80)
			return 0;
	}
	/* Longer than need be, a half of a surrogate pair, or beyond the last character. */
	if ((text[0] == 0xE0 && text[1] < 0xA0) || (text[0] == 0xED && text[1] >= 0xA0) ||
		(text[0] == 0xF0 && text[1] < 0x90) || (text[0] == 0xF4 && text[1] >= 0x90))
		return 0;
	return size;
}

/* In quotes, escaped as JSON wants it. Bytes that are not UTF-8 become characters of Latin 1. */
static void
append_quoted(Bytes *line, const char *text)
{
	const uint8_t *next = (const uint8_t *) text;
	const uint8_t *begin = next;

	bytes_append_u8(line, '"');
	while (*next != '\0')
	{
		size_t size = utf8_size(next);
		char escape[8];

		if ((size_t) (next - begin) + size > LOG_VALUE_BYTES_MAX)
		{
			append_text(line, "...");
			break;
		}
		if (*next == '"' || *next == '\\')
			snprintf(escape, sizeof(escape), "\\%c", *next);
		else if (*next == '\n')
			snprintf(escape, sizeof(escape), "\\n");
		else if (*next < 0x20 || *next == 0x7F || size == 0)
			snprintf(escape, sizeof(escape), "\\u%04x", *next);
		else
		{
			bytes_append(line, next, size);
			next += size;
			continue;
		}
		append_text(line, escape);
		next++;
	}
	bytes_append_u8(line, '"');
}

/* Whether a value can stand in a text line without quotes. */
static bool
is_plain(const char *text)
{
	size_t size = 0;

	for (; text[size] != '\0'; size++)
	{
		uint8_t byte = (uint8_t) text[size];

		if (byte <= ' ' || byte >= 0x7F || byte == '"' || byte == '\\' || byte == '=')
			return false;
		if (size == LOG_VALUE_BYTES_MAX)
			return false;
	}
	return size > 0;
}

static void
append_number(Bytes *line, int64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, number);
	append_text(line, text);
}

static void
append_time(Bytes *line)
{
	int64_t now = clock_wall_us();
	time_t seconds = (time_t) (now / CLOCK_SECOND);
	struct tm parts;
	char text[40];
	size_t size;

	gmtime_r(&seconds, &parts);
	size = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
	snprintf(text + size, sizeof(text) - size, ".%03dZ", (int) (now % CLOCK_SECOND / CLOCK_MS));
	append_text(line, text);
}

static void
append_as_text(Bytes *line, LogLevel level, const char *event, const LogField *fields)
{
	append_time(line);
	bytes_append_u8(line, ' ');
	append_text(line, text_names[level]);
	bytes_append_u8(line, ' ');
	append_text(line, event);
	for (const LogField *field = fields; field->name != NULL; field++)
	{
		bytes_append_u8(line, ' ');
		append_text(line, field->name);
		bytes_append_u8(line, '=');
		if (field->text == NULL)
			append_number(line, field->number);
		else if (is_plain(field->text))
			append_text(line, field->text);
		else
			append_quoted(line, field->text);
	}
}

static void
append_as_json(Bytes *line, LogLevel level, const char *event, const LogField *fields)
{
	append_text(line, "{\"time\":\"");
	append_time(line);
	append_text(line, "\",\"level\":\"");
	append_text(line, json_names[level]);
	append_text(line, "\",\"event\":");
	append_quoted(line, event);
	for (const LogField *field = fields; field->name != NULL; field++)
	{
		bytes_append_u8(line, ',');
		append_quoted(line, field->name);
		bytes_append_u8(line, ':');
		if (field->text == NULL)
			append_number(line, field->number);
		else
			append_quoted(line, field->text);
	}
	bytes_append_u8(line, '}');
}

static void
write_line(LogLevel level, const char *event, const LogField *fields)
{
	Bytes line = {0};
	ssize_t written;

	if (format == LOG_FORMAT_JSON)
		append_as_json(&line, level, event, fields);
	else
		append_as_text(&line, level, event, fields);
	bytes_append_u8(&line, '\n');
	written = write(STDERR_FILENO, line.data, line.size);
	(void) written;
	bytes_free(&line);
}

/* Whether the second has room for one more line. */
static bool
take_line(void)
{
	int64_t now = clock_now_us() / CLOCK_SECOND;

	if (now != second)
	{
		int64_t dropped = lines_dropped;

		second = now;
		lines_in_second = 0;
		lines_dropped = 0;
		if (dropped > 0)
		{
			lines_in_second++;
			write_line(LOG_WARNING, "log lines were dropped",
					   (const LogField[]){LOG_NUMBER("lines", dropped), {.name = NULL}});
		}
	}
	if (lines_in_second >= LOG_LINES_PER_SECOND_MAX)
	{
		lines_dropped++;
		return false;
	}
	lines_in_second++;
	return true;
}

bool
log_is_on(LogLevel level)
{
	return level >= least_level;
}

void
log_configure(LogLevel level, LogFormat new_format)
{
	least_level = level;
	format = new_format;
}

void
log_write(LogLevel level, const char *event, const LogField *fields)
{
	if (log_is_on(level) && take_line())
		write_line(level, event, fields);
}
