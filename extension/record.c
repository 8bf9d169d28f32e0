/*
 * record.c
 *		The Kafka record of an event.
 *
 * DESIGN	The outbox has every event as protobuf, so JSON is made here, when the record is handed
 *			to the producer: a command pays nothing for it, and what counts is the settings of that
 *			moment, whenever the event was written. For protobuf with its usual key the payload is
 *			not even looked at.
 *
 *			The key decides the partition, and events are ordered within a partition only. All
 *			events of an order have the order's account, so either key keeps an order together.
 *
 * FAILURE	A payload that is not an event cannot be sent as JSON. It is this event's own fault: the
 *			row stays, others go on.
 */
#include "postgres.h"

#include "event.h"
#include "event_json.h"
#include "record.h"
#include "rules.h"
#include "settings.h"

#define NOT_AN_EVENT "the payload is not an OrderEvent"

void
record_add_header(EventRecord *record, const char *name, const char *value)
{
	int count = record->record.header_count;

	Assert(count < RECORD_HEADERS_MAX);
	record->headers[count] = (KafkaHeader){.name = name, .value = value};
	record->record.header_count++;
}

/*
 * CloudEvents wants a URI reference, and its libraries refuse anything else: what is not an
 * unreserved character of RFC 3986 is percent-encoded.
 */
static void
set_source(EventRecord *result, const char *database)
{
	static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
									 "0123456789-._~";
	char *end = result->source;

	for (int i = 0; database[i] != '\0' && i < NAMEDATALEN - 1; i++)
	{
		if (strchr(unreserved, database[i]) != NULL)
			*end++ = database[i];
		else
			end += sprintf(end, "%%%02X", (unsigned char) database[i]);
	}
	*end = '\0';
}

static void
add_headers(EventRecord *result, const char *database, const RecordEvent *event)
{
	const char *type = rules_event_type_name(event->event_type);

	if (settings_event_headers == SETTINGS_HEADERS_NONE)
		return;
	snprintf(result->id, sizeof(result->id), INT64_FORMAT ".%d", event->order_id,
			 event->order_version);
	record_add_header(result, "id", result->id);
	record_add_header(result, "type", type);
	if (settings_event_headers == SETTINGS_HEADERS_CLOUDEVENTS)
	{
		set_source(result, database);
		record_add_header(result, "ce_specversion", "1.0");
		record_add_header(result, "ce_id", result->id);
		record_add_header(result, "ce_source", result->source);
		record_add_header(result, "ce_type", type);
	}
	record_add_header(result, "content-type",
					  settings_event_format == SETTINGS_FORMAT_JSON ? "application/json"
																	: "application/protobuf");
}

bool
record_set(EventRecord *result, const char *topic, const char *database, const RecordEvent *event,
		   const char **error)
{
	bool is_json = settings_event_format == SETTINGS_FORMAT_JSON;
	bool is_by_account = settings_event_key == SETTINGS_KEY_ACCOUNT_ID;
	Event decoded;
	EventTexts texts;

	if ((is_json || is_by_account) &&
		!event_decode((const uint8_t *) event->payload, event->payload_size, &decoded, &texts))
	{
		*error = NOT_AN_EVENT;
		return false;
	}
	pg_lltoa(is_by_account ? decoded.account_id : event->order_id, result->key);
	result->json.data = NULL;
	result->record = (KafkaRecord){.topic = topic,
								   .key = result->key,
								   .payload = event->payload,
								   .payload_size = event->payload_size,
								   .headers = result->headers};
	if (is_json)
	{
		initStringInfo(&result->json);
		event_json_append(&result->json, &decoded);
		result->record.payload = result->json.data;
		result->record.payload_size = result->json.len;
	}
	add_headers(result, database, event);
	return true;
}

void
record_release(EventRecord *record)
{
	if (record->json.data != NULL)
		pfree(record->json.data);
	record->json.data = NULL;
}
