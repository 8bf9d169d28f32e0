/*
 * orderctl_format.c
 *		Names and times as orderctl prints them.
 */
#include "orderctl_format.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

void
orderctl_format_time(int64_t time_ms, char text[ORDERCTL_TIME_SIZE])
{
	int64_t milliseconds = (time_ms % 1000 + 1000) % 1000;
	time_t seconds = (time_t) ((time_ms - milliseconds) / 1000);
	struct tm parts;
	size_t length;

	text[0] = '\0';
	if (time_ms == 0 || gmtime_r(&seconds, &parts) == NULL)
		return;
	length = strftime(text, ORDERCTL_TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &parts);
	snprintf(text + length, ORDERCTL_TIME_SIZE - length, ".%03" PRId64 "Z", milliseconds);
}

static const char *
name_of(const ProtobufCEnumDescriptor *names, int number)
{
	const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(names, number);

	return value != NULL ? value->name : "UNKNOWN";
}

const char *
orderctl_format_side(int side)
{
	return name_of(&order_service__v1__side__descriptor, side);
}

const char *
orderctl_format_order_type(int order_type)
{
	return name_of(&order_service__v1__order_type__descriptor, order_type);
}

const char *
orderctl_format_time_in_force(int time_in_force)
{
	return name_of(&order_service__v1__time_in_force__descriptor, time_in_force);
}

const char *
orderctl_format_status(int status)
{
	return name_of(&order_service__v1__order_status__descriptor, status);
}
