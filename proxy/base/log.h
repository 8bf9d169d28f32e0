/*
 * log.h
 *		One line per event on standard error, as text or JSON.
 *
 *		log_event(LOG_WARNING, "endpoint lost", LOG_TEXT("peer", peer), LOG_NUMBER("calls", count));
 *
 * Never log a session id, an idempotency key or a payload.
 */
#ifndef LOG_H
#define LOG_H

#include <stdbool.h>
#include <stdint.h>

typedef enum LogLevel
{
	LOG_DEBUG,
	LOG_INFO,
	LOG_WARNING,
	LOG_ERROR,
} LogLevel;

typedef enum LogFormat
{
	LOG_FORMAT_TEXT,
	LOG_FORMAT_JSON,
} LogFormat;

typedef struct LogField
{
	const char *name;
	const char *text; /* NULL: the value is |number| */
	int64_t number;
} LogField;

#define LOG_TEXT(field, value) ((LogField){.name = (field), .text = (value)})
#define LOG_NUMBER(field, value) ((LogField){.name = (field), .number = (value)})

/* Writes a line: time, level, the event in plain words, the fields. Control characters are escaped;
 * lines above LOG_LINES_PER_SECOND_MAX are counted and dropped. Never fails. */
#define log_event(level, event, ...) \
	log_write((level), (event), (const LogField[]){__VA_ARGS__ __VA_OPT__(, ){.name = NULL}})

/* What log_event() does; a field without a name ends the list. */
extern void log_write(LogLevel level, const char *event, const LogField *fields);

/* What is written from now on; LOG_INFO and LOG_FORMAT_TEXT until it is called. */
extern void log_configure(LogLevel level, LogFormat format);

/* Whether a line of this level would be written: to spare the work of making one. */
extern bool log_is_on(LogLevel level);

#endif /* LOG_H */
