"""The records in Kafka and the holds at Account: reading them, and comparing them with the tables of the orders.

The decoder is generated from proto/order_event.proto when it is needed, as any consumer of the topic would do it.
"""

import importlib.util
import subprocess
from collections import defaultdict, namedtuple

from confluent_kafka import Consumer, TopicPartition
from google.protobuf.message import DecodeError

from host import ROOT, SandboxError, wait_until
from pgserver import DATABASE

CONTRACT = ROOT / "proto" / "order_event.proto"
# Debian's own, which fits Debian's python3-protobuf; another one in PATH may generate what that cannot load.
PROTOC = "/usr/bin/protoc"
READ_SECONDS_MAX = 30

# headers: {name: text}; event: {field: value} of the decoded value, enums by name; value: the bytes.
Record = namedtuple("Record", "topic partition offset key headers value event")

# A row of the outbox, codes by name.
Row = namedtuple("Row", "order_id order_version event_type status payload")

OUTBOX = """\
SELECT order_id, order_version, order_service.event_type_name(event_type),
       order_service.outbox_status_name(status), payload
FROM order_service.outbox ORDER BY event_id"""

# What an order asked Account for, micro-units of a currency or units of an instrument, and what became of that.
Reserved = namedtuple("Reserved", "order_id account_id status hold reserve_id asset amount")

RESERVED = """\
SELECT order_id, account_id, status, hold, reserve_id, CASE side WHEN 'BUY' THEN currency ELSE symbol END,
       reserve_amount
FROM order_service.order_detail ORDER BY order_id"""

# The same at Account.
Hold = namedtuple("Hold", "reserve_id account_id asset amount")

# What the rows have in common with the messages, under the names of the message's fields.
ORDERS = """\
SELECT order_id, account_id, symbol, side, order_type, quantity, price AS price_micro_units, time_in_force, status,
       reserve_id, floor(extract(epoch FROM created_at) * 1000)::bigint AS created_at_millis, order_version,
       filled_quantity, reason
FROM order_service.order_detail ORDER BY order_id"""


# --- reading --------------------------------------------------------------------------------------------------------


def load_message(directory):
    """The class OrderEvent, generated into a directory of the caller's."""
    command = [PROTOC, f"--proto_path={CONTRACT.parent}", f"--python_out={directory}", CONTRACT.name]
    try:
        subprocess.run(command, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SandboxError(f"could not generate the decoder: {error}; run `make deps`") from None
    path = directory / f"{CONTRACT.stem}_pb2.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.OrderEvent


def decode(message_class, value):
    """The fields of an encoded message in the order of their numbers, those with default values too."""
    message = message_class.FromString(value)
    fields = {}
    for field in sorted(message.DESCRIPTOR.fields, key=lambda field: field.number):
        content = getattr(message, field.name)
        if field.enum_type is not None and content in field.enum_type.values_by_number:
            content = field.enum_type.values_by_number[content].name
        fields[field.name] = content
    return fields


def read_all(kafka, topic, message_class):
    """Every record of a topic up to the end it has now, by partition and offset."""
    ends = kafka.offsets(topic)
    count = sum(end - first for first, end in ends.values())
    # Partitions are assigned, not subscribed to: no group has to be formed, and nothing is committed.
    options = {"group.id": "demo", "enable.auto.commit": False, "log_level": 0}
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, **options})
    consumer.assign([TopicPartition(topic, partition, first) for partition, (first, _) in ends.items()])
    messages = []

    def has_all():
        # An error is about the connection, which the client mends by itself; if it does not, the deadline ends this.
        messages.extend(message for message in consumer.consume(100, timeout=0.1) if message.error() is None)
        return len(messages) >= count

    try:
        wait_until(has_all, READ_SECONDS_MAX, f"reading {count} records of topic {topic}")
    finally:
        consumer.close()
    messages.sort(key=lambda message: (message.partition(), message.offset()))
    return [_record(message, message_class) for message in messages]


def _record(message, message_class):
    place = (message.topic(), message.partition(), message.offset())
    # Whatever is there is shown: a check finds what is wrong with it.
    headers = {name: (content or b"").decode(errors="replace") for name, content in message.headers() or []}
    key, value = message.key() or b"", message.value() or b""
    try:
        event = decode(message_class, value)
    except DecodeError as error:
        raise SandboxError(f"the value at {place} is no {message_class.DESCRIPTOR.full_name}: {error}") from None
    return Record(*place, key.decode(errors="replace"), headers, value, event)


def read_outbox(connection):
    """Every row of the outbox."""
    return [Row(*row) for row in connection.execute(OUTBOX)]


def read_orders(connection):
    """{order id: {field of the message: what the table says}}"""
    cursor = connection.execute(ORDERS)
    names = [column.name for column in cursor.description]
    return {row[0]: dict(zip(names, row)) for row in cursor}


def read_reserved(connection):
    """What each order asked Account for. Read this before the holds: a debt paid meanwhile is no difference."""
    return [Reserved(*row) for row in connection.execute(RESERVED)]


def read_holds(account):
    """Every reservation that Account keeps."""
    return [
        Hold(hold["reserve_id"], hold["account_id"], hold["currency"] or hold["symbol"], hold["amount"])
        for hold in account.hold_list()
    ]


def by_order(records):
    """{order id: its records, in the order in which the broker has them}"""
    orders = defaultdict(list)
    for record in records:
        orders[record.event["order_id"]].append(record)
    return dict(sorted(orders.items()))


# --- comparing ------------------------------------------------------------------------------------------------------
#
# Every check takes the rows of the outbox, the records, and the orders as {order id: {field of the message: value}},
# and yields one text per difference.


def _identity(record):
    return record.event["order_id"], record.event["order_version"]


def _place(record):
    return f"record at {record.topic}/{record.partition}, offset {record.offset}"


def _every_row_sent(rows, _records, _orders):
    for row in rows:
        if row.status != "SENT":
            yield f"event {row.order_id}.{row.order_version} is {row.status}, not SENT"


def _every_row_has_one_record(rows, records, _orders):
    identities = [_identity(record) for record in records]
    for row in rows:
        count = identities.count((row.order_id, row.order_version))
        if count != 1:
            yield f"event {row.order_id}.{row.order_version} has {count} records, not 1"


def _every_record_has_a_row(rows, records, _orders):
    known = {(row.order_id, row.order_version) for row in rows}
    for record in records:
        if _identity(record) not in known:
            yield f"{_place(record)} tells of an event that the outbox does not have"


def _values_are_the_payloads(rows, records, _orders):
    payloads = {(row.order_id, row.order_version): row.payload for row in rows}
    for record in records:
        payload = payloads.get(_identity(record))
        if payload is not None and payload != record.value:
            yield f"{_place(record)}: {len(record.value)} bytes that are not the {len(payload)} of the payload"


def _labels_fit(rows, records, _orders):
    types = {(row.order_id, row.order_version): row.event_type for row in rows}
    for record in records:
        if _identity(record) not in types:
            continue
        order_id, version = _identity(record)
        found = {"key": record.key, "event_type": record.event["event_type"], **record.headers}
        for name, value in _labels(order_id, version, types[order_id, version]).items():
            if found.get(name) != value:
                yield f"{_place(record)}: {name} is {found.get(name)!r}, not {value!r}"


def _labels(order_id, version, event_type):
    """What the record of an event must bear: its key, the field that the headers repeat, and the headers."""
    name = f"{order_id}.{version}"
    headers = {"id": name, "ce_id": name, "type": event_type, "ce_type": event_type}
    headers.update({"ce_specversion": "1.0", "ce_source": DATABASE, "content-type": "application/protobuf"})
    return {"key": str(order_id), "event_type": event_type, **headers}


def _versions_count_up(_rows, records, _orders):
    for order_id, its_records in by_order(records).items():
        versions = [record.event["order_version"] for record in its_records]
        if versions != list(range(1, len(versions) + 1)):
            yield f"order {order_id}: versions {versions}, in the order of the topic"
        partitions = {record.partition for record in its_records}
        if len(partitions) != 1:
            yield f"order {order_id}: records in the partitions {sorted(partitions)}"


def _newest_records_agree(_rows, records, orders):
    lives = by_order(records)
    for order_id, row in orders.items():
        if order_id not in lives:
            yield f"order {order_id} has no record"
            continue
        newest = lives[order_id][-1].event
        for name, value in row.items():
            # The message has no NULL: a text that is not there is empty.
            if newest[name] != ("" if value is None else value):
                yield f"order {order_id}: {name} is {value!r} in order_detail, {newest[name]!r} in its newest record"


CHECKS = {
    "every row of the outbox is marked SENT": _every_row_sent,
    "every row has exactly one record": _every_row_has_one_record,
    "no record is without a row": _every_record_has_a_row,
    "the value of a record is the payload of its row, byte for byte": _values_are_the_payloads,
    "key and headers tell of the same order, version and event": _labels_fit,
    "the versions of an order are 1, 2, 3 ... without a gap, rising, in one partition": _versions_count_up,
    "the newest record of an order says what its row in order_detail says": _newest_records_agree,
}


# --- comparing with Account -----------------------------------------------------------------------------------------
#
# Every check takes the orders and the holds, and yields one text per difference. An order that ended, or of which the
# answer was lost, owes a release (RELEASE_DUE, UNKNOWN): until a resolver has paid, Account may hold it or not.

LIVE = ("ACCEPTED", "SENT", "PARTIALLY_FILLED", "CANCEL_REQUESTED")
OWES = ("RELEASE_DUE", "UNKNOWN")


def _holds_by_right(order):
    return order.status in LIVE and order.hold == "HELD"


def _live_orders_hold(orders, holds):
    for order in orders:
        if order.status not in LIVE or order.reserve_id is None:
            continue
        if order.hold != "HELD":
            yield f"order {order.order_id} is {order.status}, but its hold is {order.hold}"
        found = [hold for hold in holds if hold.reserve_id == order.reserve_id]
        if found != [Hold(order.reserve_id, order.account_id, order.asset, order.amount)]:
            yield f"order {order.order_id} reserved {order.amount} {order.asset}; Account holds {found}"


def _holds_have_orders(orders, holds):
    known = {order.reserve_id: order for order in orders}
    for hold in holds:
        order = known.get(hold.reserve_id)
        if order is None:
            yield f"{hold} is of no order"
        elif not (_holds_by_right(order) or order.hold in OWES):
            yield f"{hold} is of order {order.order_id}, which is {order.status} with hold {order.hold}"


def _refused_orders_hold_nothing(orders, holds):
    held = {hold.reserve_id for hold in holds}
    for order in orders:
        if order.status == "REJECTED" and order.hold == "NONE" and order.reserve_id in held:
            yield f"order {order.order_id} was refused, and Account holds {order.amount} {order.asset} for it"


def _sums_agree(orders, holds):
    sums = defaultdict(lambda: [0, 0, 0])
    for order in orders:
        if _holds_by_right(order) or order.hold in OWES:
            sums[order.account_id, order.asset][1 if order.hold in OWES else 0] += order.amount
    for hold in holds:
        sums[hold.account_id, hold.asset][2] += hold.amount
    for (account_id, asset), (held, owed, at_account) in sums.items():
        if not held <= at_account <= held + owed:
            wanted = f"{held}" if owed == 0 else f"{held} to {held + owed}"
            yield f"account {account_id}: Account holds {at_account} {asset}, the orders {wanted}"


ACCOUNT_CHECKS = {
    "every live order that reserved has exactly one hold at Account, of the amount it reserved": _live_orders_hold,
    "no hold at Account is without a live order, or one that still owes its release": _holds_have_orders,
    "an order refused for funds or position holds nothing": _refused_orders_hold_nothing,
    "the sums agree, for every currency and instrument (what is owed may be held or not)": _sums_agree,
}
