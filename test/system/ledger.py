"""The ledger check: what Kafka has must be exactly what the database has committed.

An independent reading of the contract: nothing here uses code of the extension. The messages are decoded with
classes that protoc makes from proto/order_event.proto, partitions are computed as Kafka's Java client does.

differences(connection, records)   what is missing, extra, out of order or not like its row; [] if all is well
show(differences)                  the same as one text for an assertion
"""

from collections import Counter, defaultdict, namedtuple

import contracts

PARTITIONS = 3
SHOWN_MAX = 20
SENT = 1

HEADERS = ("id", "type", "ce_specversion", "ce_id", "ce_source", "ce_type", "content-type")

# The status an event may report: a cancel that is pending stays so; CANCEL_REJECTED reports the one before the request.
STATUS_AFTER = {
    "ORDER_ACCEPTED": {"ACCEPTED"},
    "ORDER_REJECTED": {"REJECTED"},
    "ORDER_CANCEL_REQUESTED": {"CANCEL_REQUESTED"},
    "ORDER_SENT": {"SENT", "CANCEL_REQUESTED"},
    "ORDER_PARTIALLY_FILLED": {"PARTIALLY_FILLED", "CANCEL_REQUESTED"},
    "ORDER_FILLED": {"FILLED"},
    "ORDER_CANCELED": {"CANCELED"},
    "ORDER_CANCEL_REJECTED": {"ACCEPTED", "SENT", "PARTIALLY_FILLED"},
}

Order = namedtuple(
    "Order",
    "order_id account_id symbol side order_type quantity price time_in_force status filled_quantity reason"
    " reserve_id created_at_ms order_version last_event_id",
)
Event = namedtuple(
    "Event", "event_id previous_event_id order_id account_id order_version event_type status payload type_name"
)

ORDERS_QUERY = """
SELECT order_id, account_id, symbol, side, order_type, quantity, price, time_in_force, status, filled_quantity,
       CASE WHEN reason <> 0 THEN order_service.reason_name(reason) ELSE '' END, coalesce(reserve_id, ''),
       floor(extract(epoch FROM created_at) * 1000)::bigint, order_version, last_event_id
FROM order_service.orders ORDER BY order_id"""

EVENTS_QUERY = """
SELECT event_id, previous_event_id, order_id, account_id, order_version, event_type, status, payload,
       order_service.event_type_name(event_type)
FROM order_service.outbox ORDER BY order_id, order_version"""


def messages():
    """The module with OrderEvent."""
    return contracts.module("order_event")


def decode(value):
    """The OrderEvent in a record's value."""
    return messages().OrderEvent.FromString(value)


def murmur2(data):
    """org.apache.kafka.common.utils.Utils.murmur2, on unsigned 32-bit numbers."""
    mask, multiplier = 0xFFFFFFFF, 0x5BD1E995
    result = 0x9747B28C ^ len(data)
    whole = len(data) - len(data) % 4
    for position in range(0, whole, 4):
        word = int.from_bytes(data[position : position + 4], "little") * multiplier & mask
        word = (word ^ word >> 24) * multiplier & mask
        result = result * multiplier & mask ^ word
    if whole < len(data):
        result = (result ^ int.from_bytes(data[whole:], "little")) * multiplier & mask
    result = (result ^ result >> 13) * multiplier & mask
    return result ^ result >> 15


def partition_of(key, partitions=PARTITIONS):
    """Where Kafka's default partitioner for Java puts a key."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def without_duplicates(records):
    """(the first record of each id, how many were left out), in the order of partition and offset."""
    seen, first = set(), []
    for record in records:
        name = record.header("id")
        if name not in seen:
            seen.add(name)
            first.append(record)
    return first, len(records) - len(first)


def show(found):
    """A text for people: how many differences there are, and the first of them."""
    lines = found[:SHOWN_MAX] + (["..."] if len(found) > SHOWN_MAX else [])
    return f"{len(found)} differences\n" + "\n".join(lines)


# A record as it is compared: its id, its headers as texts, its value decoded.
Entry = namedtuple("Entry", "name record headers message")


def differences(connection, records, partitions=PARTITIONS):
    """Compare the records, as read from partition and offset 0 on, with the tables; a list of texts.

    Repeated records are allowed (delivery is at least once) as long as each is the same as its first.
    """
    orders = {row[0]: Order(*row) for row in connection.execute(ORDERS_QUERY)}
    events = {}
    for row in connection.execute(EVENTS_QUERY):
        event = Event(*row)
        events[f"{event.order_id}.{event.order_version}"] = event
    found = check_tables(orders, events)
    published, repeats = {}, []
    for record in records:
        name = record.header("id")
        if name in published:
            repeats.append((name, record))
        else:
            headers = {key: value.decode() for key, value in record.headers}
            published[name] = Entry(name, record, headers, decode(record.value))
    found += [f"missing: event {name} is not in Kafka" for name in events if name not in published]
    found += [f"extra: record {name} has no event" for name in published if name not in events]
    found += check_repeats(repeats, published)
    found += check_order(published.values())
    for entry in published.values():
        found += check_record(entry, partitions)
        event = events.get(entry.name)
        if event is not None:
            found += check_content(entry, event, orders.get(event.order_id))
    return found


def check_tables(orders, events):
    """The database in itself: gapless versions, the chain of events, what the order says of its last event."""
    found = []
    by_order = defaultdict(list)
    for event in events.values():
        by_order[event.order_id].append(event)
    found += [f"table: events of order {order_id}, which does not exist" for order_id in by_order.keys() - orders]
    for order in orders.values():
        chain = by_order[order.order_id]
        versions = [event.order_version for event in chain]
        if versions != list(range(1, order.order_version + 1)):
            found.append(f"table: order {order.order_id} of version {order.order_version} has versions {versions}")
        ids = [0] + [event.event_id for event in chain]
        if ids != sorted(set(ids)) or [event.previous_event_id for event in chain] != ids[:-1]:
            found.append(f"table: the events of order {order.order_id} are not a chain: {ids}")
        if order.last_event_id != ids[-1]:
            found.append(f"table: order {order.order_id} names {order.last_event_id} as last event, not {ids[-1]}")
        found += [f"table: event {e.event_id} has status {e.status}" for e in chain if e.status != SENT]
        found += [f"table: event {e.event_id} has another account" for e in chain if e.account_id != order.account_id]
    return found


def check_repeats(repeats, published):
    """A repeated record says the same in the same partition."""
    found = []
    for name, record in repeats:
        first = published[name].record
        if (record.key, record.value, record.headers, record.partition) != (
            first.key,
            first.value,
            first.headers,
            first.partition,
        ):
            found.append(f"repeat: record {name} differs from its first")
    return found


def check_order(entries):
    """First occurrences: versions 1, 2, 3 ... of an order follow each other, all in one partition."""
    found = []
    expected = Counter()
    partitions = {}
    for entry in entries:
        order_id, _, version = entry.name.partition(".")
        expected[order_id] += 1
        if version != str(expected[order_id]):
            found.append(f"out of order: {entry.name} came as number {expected[order_id]} of its order")
        if partitions.setdefault(order_id, entry.record.partition) != entry.record.partition:
            found.append(f"out of order: {entry.name} is in another partition than those before it")
    return found


def check_record(entry, partitions):
    """What every record must be like, whatever it tells."""
    name, record, headers, message = entry
    found = []
    if name != f"{message.order_id}.{message.order_version}" or record.key != str(message.order_id):
        found.append(f"record {name}: key {record.key}, but it tells of {message.order_id}.{message.order_version}")
    if tuple(header for header, _ in record.headers) != HEADERS:
        found.append(f"record {name}: headers {[header for header, _ in record.headers]}")
    type_name = messages().OrderEventType.Name(message.event_type)
    values = {"ce_id": name, "type": type_name, "ce_type": type_name, "ce_specversion": "1.0"}
    values["content-type"] = "application/protobuf"
    found += [
        f"record {name}: header {header} is {headers.get(header)}, not {value}"
        for header, value in values.items()
        if headers.get(header) != value
    ]
    if record.partition != partition_of(record.key, partitions):
        found.append(f"record {name}: in partition {record.partition}, not {partition_of(record.key, partitions)}")
    return found


def check_content(entry, event, order):
    """The record against its outbox row, and against the order itself."""
    name, record, headers, message = entry
    found = []
    if record.value != event.payload:
        found.append(f"payload of {name} is not that of its row")
    if headers.get("type") != event.type_name:
        found.append(f"type of {name} is {headers.get('type')}, the row says {event.type_name}")
    if order is None:
        return found
    status = messages().OrderStatus.Name(message.status)
    if status not in STATUS_AFTER[event.type_name]:
        found.append(f"payload of {name}: {event.type_name} with status {status}")
    expected = {
        "account_id": order.account_id,
        "symbol": order.symbol,
        "side": order.side,
        "order_type": order.order_type,
        "quantity": order.quantity,
        "price_micro_units": order.price,
        "time_in_force": order.time_in_force,
        "reserve_id": order.reserve_id,
        "created_at_millis": order.created_at_ms,
    }
    if event.order_version == order.order_version:
        expected.update(status=order.status, filled_quantity=order.filled_quantity, reason=order.reason)
    for field, value in expected.items():
        if getattr(message, field) != value:
            found.append(f"payload of {name}: {field} is {getattr(message, field)!r}, the order has {value!r}")
    return found
