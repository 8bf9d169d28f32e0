/*
 * setting.c
 *		One setting of the configuration.
 */
#include "base/setting.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"

typedef struct Unit
{
	const char *name;
	int64_t size;
} Unit;

/* Of the smallest first; the first is what fields have. */
static const Unit duration_units[] = {
	{"us", 1}, {"ms", CLOCK_MS}, {"s", CLOCK_SECOND}, {"min", 60 * CLOCK_SECOND}};
static const Unit size_units[] = {{"", 1}, {"KiB", 1024}, {"MiB", 1024 * 1024}};
static const Unit number_units[] = {{"", 1}};

static const char *const level_names[] = {
	[LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARNING] = "warning", [LOG_ERROR] = "error"};
static const char *const format_names[] = {[LOG_FORMAT_TEXT] = "text", [LOG_FORMAT_JSON] = "json"};
static const char *const switch_names[] = {[false] = "off", [true] = "on"};

#define LENGTH(array) ((int) (sizeof(array) / sizeof((array)[0])))

static bool
is_text(const Setting *setting)
{
	return setting->type <= SETTING_ENDPOINTS;
}

/* Whether the value is one of a few words. */
static bool
is_word(const Setting *setting)
{
	return setting->type >= SETTING_LEVEL;
}

static char **
text_field(const Setting *setting, const void *config)
{
	return (char **) ((char *) config + setting->offset);
}

static int64_t
get_number(const Setting *setting, const void *config)
{
	const char *field = (const char *) config + setting->offset;

	switch (setting->type)
	{
		case SETTING_NUMBER:
			return *(const int *) field;
		case SETTING_LEVEL:
			return *(const LogLevel *) field;
		case SETTING_FORMAT:
			return *(const LogFormat *) field;
		case SETTING_SWITCH:
			return *(const bool *) field;
		default:
			return *(const int64_t *) field;
	}
}

static void
set_number(const Setting *setting, void *config, int64_t number)
{
	char *field = (char *) config + setting->offset;

	switch (setting->type)
	{
		case SETTING_NUMBER:
			*(int *) field = (int) number;
			break;
		case SETTING_LEVEL:
			*(LogLevel *) field = (LogLevel) number;
			break;
		case SETTING_FORMAT:
			*(LogFormat *) field = (LogFormat) number;
			break;
		case SETTING_SWITCH:
			*(bool *) field = number != 0;
			break;
		default:
			*(int64_t *) field = number;
	}
}

static const Unit *
units_of(SettingType type, int *count)
{
	switch (type)
	{
		case SETTING_DURATION:
		case SETTING_CHOICE:
			*count = LENGTH(duration_units);
			return duration_units;
		case SETTING_SIZE:
			*count = LENGTH(size_units);
			return size_units;
		default:
			*count = LENGTH(number_units);
			return number_units;
	}
}

static const char *const *
names_of(SettingType type, int *count)
{
	switch (type)
	{
		case SETTING_LEVEL:
			*count = LENGTH(level_names);
			return level_names;
		case SETTING_FORMAT:
			*count = LENGTH(format_names);
			return format_names;
		default:
			*count = LENGTH(switch_names);
			return switch_names;
	}
}

/* What a SETTING_CHOICE can be besides a duration. */
static bool
parse_choice(const char *text, int64_t *number)
{
	if (strcmp(text, "off") == 0)
		*number = SETTING_OFF;
	else if (strcmp(text, "auto") == 0)
		*number = SETTING_AUTO;
	else
		return false;
	return true;
}

/* A whole number and a unit; a zero needs no unit. */
static bool
parse_number(const Setting *setting, const char *text, int64_t *number)
{
	int unit_count;
	const Unit *units = units_of(setting->type, &unit_count);
	char *end;

	if (setting->type == SETTING_CHOICE && parse_choice(text, number))
		return true;
	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*number = strtoll(text, &end, 10);
	if (errno != 0)
		return false;
	while (*end == ' ')
		end++;
	if (*number == 0 && *end == '\0')
		return setting->minimum == 0;
	for (int i = 0; i < unit_count; i++)
	{
		if (strcmp(end, units[i].name) != 0)
			continue;
		if (*number > INT64_MAX / units[i].size)
			return false;
		*number *= units[i].size;
		return *number >= setting->minimum && *number <= setting->maximum;
	}
	return false;
}

static bool
parse_name(const Setting *setting, const char *text, int64_t *number)
{
	int count;
	const char *const *names = names_of(setting->type, &count);

	for (*number = 0; *number < count; ++*number)
	{
		if (strcmp(names[*number], text) == 0)
			return true;
	}
	return false;
}

static bool
is_address(const char *text, int least_port)
{
	char host[ADDRESS_HOST_SIZE];
	int port;

	return address_split(text, host, sizeof(host), &port) && port >= least_port;
}

static bool
are_endpoints(const Setting *setting, const char *text)
{
	char item[ADDRESS_TEXT_SIZE];
	int count;

	for (count = 0; address_next(&text, item); count++)
	{
		if (!is_address(item, 1))
			return false;
	}
	return count >= setting->minimum && count <= setting->maximum;
}

static bool
is_allowed_text(const Setting *setting, const char *text)
{
	int64_t size = (int64_t) strlen(text);

	switch (setting->type)
	{
		case SETTING_ADDRESS:
			return is_address(text, 0);
		case SETTING_ENDPOINTS:
			return are_endpoints(setting, text);
		default:
			return size >= setting->minimum && size <= setting->maximum;
	}
}

static void
set_text(const Setting *setting, void *config, const char *text)
{
	char **field = text_field(setting, config);
	char *old = *field;

	*field = bytes_copy_text(text);
	free(old);
}

void
setting_set_default(const Setting *setting, void *config)
{
	if (is_text(setting))
	{
		assert(is_allowed_text(setting, setting->text));
		set_text(setting, config, setting->text);
	}
	else
		set_number(setting, config, setting->number);
}

bool
setting_set(const Setting *setting, void *config, const char *text)
{
	int64_t number;

	if (is_text(setting))
	{
		if (!is_allowed_text(setting, text))
			return false;
		set_text(setting, config, text);
		return true;
	}
	if (is_word(setting))
	{
		if (!parse_name(setting, text, &number))
			return false;
	}
	else if (!parse_number(setting, text, &number))
		return false;
	set_number(setting, config, number);
	return true;
}

void
setting_free(const Setting *setting, void *config)
{
	if (is_text(setting))
	{
		free(*text_field(setting, config));
		*text_field(setting, config) = NULL;
	}
}

bool
setting_is_equal(const Setting *setting, const void *one, const void *other)
{
	if (is_text(setting))
		return strcmp(*text_field(setting, one), *text_field(setting, other)) == 0;
	return get_number(setting, one) == get_number(setting, other);
}

void
setting_copy(const Setting *setting, void *config, const void *from)
{
	if (is_text(setting))
		set_text(setting, config, *text_field(setting, from));
	else
		set_number(setting, config, get_number(setting, from));
}

/* In the largest unit of which it is a whole number. */
static void
write_number(SettingType type, int64_t number, FILE *out)
{
	int i;
	const Unit *units = units_of(type, &i);

	for (i--; i > 0 && (number == 0 || number % units[i].size != 0); i--)
		;
	fprintf(out, "%" PRId64, number / units[i].size);
	if (units[i].name[0] != '\0')
		fprintf(out, " %s", units[i].name);
}

void
setting_write(const Setting *setting, const void *config, FILE *out)
{
	int count;

	if (is_text(setting))
		fputs(*text_field(setting, config), out);
	else if (is_word(setting))
		fputs(names_of(setting->type, &count)[get_number(setting, config)], out);
	else if (setting->type == SETTING_CHOICE && get_number(setting, config) <= SETTING_AUTO)
		fputs(get_number(setting, config) == SETTING_OFF ? "off" : "auto", out);
	else
		write_number(setting->type, get_number(setting, config), out);
}

static void
write_range(const Setting *setting, const char *what, const char *units, FILE *out)
{
	fprintf(out, "%s from ", what);
	write_number(setting->type, setting->minimum, out);
	fputs(" to ", out);
	write_number(setting->type, setting->maximum, out);
	fputs(units, out);
}

void
setting_write_allowed(const Setting *setting, FILE *out)
{
	switch (setting->type)
	{
		case SETTING_TEXT:
			fprintf(out, "text of %" PRId64 " to %" PRId64 " bytes", setting->minimum,
					setting->maximum);
			break;
		case SETTING_ADDRESS:
			fputs("host:port or [IPv6 address]:port", out);
			break;
		case SETTING_ENDPOINTS:
			fprintf(out,
					"%" PRId64 " to %" PRId64
					" of host:port or [IPv6 address]:port, with commas between them",
					setting->minimum, setting->maximum);
			break;
		case SETTING_NUMBER:
			write_range(setting, "a whole number", "", out);
			break;
		case SETTING_DURATION:
			write_range(setting, "a duration", ", in us, ms, s or min", out);
			break;
		case SETTING_CHOICE:
			write_range(setting, "off, auto, or a duration", ", in us, ms, s or min", out);
			break;
		case SETTING_SIZE:
			write_range(setting, "a size", ", in bytes, KiB or MiB", out);
			break;
		case SETTING_LEVEL:
			fputs("debug, info, warning or error", out);
			break;
		case SETTING_FORMAT:
			fputs("text or json", out);
			break;
		case SETTING_SWITCH:
			fputs("on or off", out);
			break;
	}
}
