/*
 * event_json.h
 *		The JSON form of an event, for consumers that read no protobuf.
 */
#ifndef EVENT_JSON_H
#define EVENT_JSON_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "event.h"

/*
 * Appends an event that was decoded to |buffer|, as one JSON object of ASCII characters. The keys
 * are the names of the fields of OrderEvent, except that price_micro_units is `price`; all of them
 * are there, always in the same order. Codes are names, numbers are whole and exact, order_id is a
 * text; a text without a value is "".
 */
extern void event_json_append(StringInfo buffer, const Event *event);

#endif /* EVENT_JSON_H */
