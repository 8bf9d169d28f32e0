/*
 * event_fuzz.c
 *		An event as the publisher reads it from the outbox: what is accepted has names and printable
 *		texts only, and is exactly what is written for it.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "event.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_text(const char *text)
{
	assert(strlen(text) < EVENT_BYTES_MAX);
	for (; *text != '\0'; text++)
		assert(*text >= ' ' && *text <= '~');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t encoded[EVENT_BYTES_MAX];
	Event event;
	EventTexts texts;

	if (!event_decode(data, size, &event, &texts))
		return 0;
	check_text(event.symbol);
	check_text(event.reserve_id);
	assert(rules_side_name(event.side) != NULL);
	assert(rules_order_type_name(event.order_type) != NULL);
	assert(rules_time_in_force_name(event.time_in_force) != NULL);
	assert(rules_status_name(event.status) != NULL);
	assert(rules_event_type_name(event.event_type) != NULL);
	assert(reason_name(event.reason) != NULL);
	assert(event_encode(&event, encoded, sizeof(encoded)) == size);
	assert(memcmp(encoded, data, size) == 0);
	return 0;
}
