"""What a record in Kafka looks like: both formats, the key, the headers, and consumers that were written for the
predecessor. Everything is decoded by code that shares nothing with ours: Python's json, and what protoc makes."""

import importlib
import json
import subprocess
import sys
import uuid
from collections import defaultdict, namedtuple

import contracts
import ledger
import pytest
from load import PRICE, add_instruments, cancel, place, ready_count, stats, wait_all_sent
from psycopg.rows import dict_row
from stack import wait_until

System = namedtuple("System", "server topic")

BASIC = ["id", "type", "content-type"]
# How the predecessor's consumers see an event: the fields that its message had, by their numbers.
PREDECESSOR = """
syntax = "proto3";
package predecessor;
enum Side { UNKNOWN = 0; BUY = 1; SELL = 2; }
enum Kind { MARKET = 0; LIMIT = 1; }
enum Time { DAY = 0; GTC = 1; IOC = 2; FOK = 3; }
enum Status { RECEIVED = 0; ACCEPTED = 1; SENT = 2; PARTIALLY_FILLED = 3; FILLED = 4; CANCEL_REQUESTED = 5;
              CANCELED = 6; REJECTED = 7; }
message OrderCreatedEvent {
  int64 order_id = 1;
  int64 account_id = 2;
  string symbol = 3;
  Side side = 4;
  Kind order_type = 5;
  int64 quantity = 6;
  int64 price_micro_units = 7;
  Time time_in_force = 8;
  Status status = 9;
  string reserve_id = 10;
  int64 created_at_millis = 11;
}
"""
ORDER_QUERY = """
SELECT order_id, account_id, symbol, side, order_type, quantity, price, time_in_force,
       coalesce(reserve_id, '') AS reserve_id, floor(extract(epoch FROM created_at) * 1000)::bigint AS created_at_millis
FROM order_service.order_detail WHERE order_id = %s"""
EVENTS_QUERY = """
SELECT event_type, order_version FROM order_service.outbox_detail WHERE order_id = %s ORDER BY order_version"""


@pytest.fixture(scope="module")
def system(make_shared_postgres, kafka):
    topic = kafka.create_topic(f"record.{uuid.uuid4().hex[:8]}", ledger.PARTITIONS)
    server = make_shared_postgres(settings={"order_service.retry_interval": "5s"}, kafka=kafka, topic=topic)
    with server.connect() as connection:
        add_instruments(connection)
    return System(server, topic)


@pytest.fixture
def connection(system):
    with system.server.connect() as connection:
        yield connection


@pytest.fixture
def configure(system, connection):
    """configure(**settings): change them, and see that the publisher has read them; changed back after the test."""
    settings = dict(system.server.settings)

    def change(**changes):
        system.server.configure(order_service__publishing="off", **changes)
        wait_for_state(connection, "PAUSED")
        system.server.configure(order_service__publishing=None)
        wait_for_state(connection, "STREAMING")

    yield change
    system.server.settings = settings
    system.server.configure()


@pytest.fixture
def read_records(system, connection, read_topic):
    """read_records(): {order id: its records, in the order of the partition}, when all events are sent."""

    def read():
        wait_all_sent(connection)
        found = defaultdict(list)
        for record in read_topic(system.topic):
            found[int(record.header("id").split(".")[0])].append(record)
        return found

    return read


@pytest.fixture(scope="module")
def created_event(tmp_path_factory):
    """The predecessor's message, as protoc makes it from the predecessor's fields."""
    directory = tmp_path_factory.mktemp("predecessor")
    (directory / "predecessor.proto").write_text(PREDECESSOR)
    command = [contracts.PROTOC, f"--proto_path={directory}", f"--python_out={directory}", "predecessor.proto"]
    subprocess.run(command, check=True)
    sys.path.insert(0, str(directory))
    try:
        return importlib.import_module("predecessor_pb2").OrderCreatedEvent
    finally:
        sys.path.remove(str(directory))


def wait_for_state(connection, state):
    wait_until(lambda: stats(connection)["state"] == state, 60, f"publisher {state}")


# --- the states of an order, and what an event must say of them ---


def received(connection, symbol="CCC", quantity=7):
    """An order as order-proxy receives it; its id."""
    query = (
        "SELECT order_id FROM order_service.receive_orders("
        "ARRAY[31], ARRAY[%s], ARRAY[%s], '{2}', '{1}', ARRAY[%s::bigint], ARRAY[%s::bigint], '{1}')"
    )
    return connection.execute(query, [uuid.uuid4().hex, symbol, quantity, PRICE]).fetchone()[0]


def settle(connection, order_id, reason=0, hold=1):
    query = "SELECT code FROM order_service.settle_orders(ARRAY[%s::bigint], ARRAY[%s::smallint], ARRAY[%s::smallint])"
    connection.execute(query, [order_id, reason, hold])


def execute(connection, order_id, kind, quantity=0):
    query = "SELECT order_service.apply_execution(%s, %s, %s, %s, %s)"
    connection.execute(query, [uuid.uuid4().hex, order_id, kind, quantity, PRICE if quantity else 0])


def filled(connection):
    order_id = received(connection)
    settle(connection, order_id)
    execute(connection, order_id, "NEW")
    execute(connection, order_id, "TRADE", 3)
    cancel(connection, order_id, 31)
    execute(connection, order_id, "CANCEL_REJECTED")
    execute(connection, order_id, "TRADE", 4)
    changes = [("ACCEPTED", 0, ""), ("SENT", 0, ""), ("PARTIALLY_FILLED", 3, ""), ("CANCEL_REQUESTED", 3, "")]
    return order_id, changes + [("PARTIALLY_FILLED", 3, ""), ("FILLED", 7, "")]


def canceled(connection):
    order_id = place(connection, uuid.uuid4().hex)
    cancel(connection, order_id)
    execute(connection, order_id, "CANCELED")
    return order_id, [("ACCEPTED", 0, ""), ("CANCEL_REQUESTED", 0, ""), ("CANCELED", 0, "")]


def expired(connection):
    order_id = place(connection, uuid.uuid4().hex, side="SELL")
    execute(connection, order_id, "EXPIRED")
    return order_id, [("ACCEPTED", 0, ""), ("CANCELED", 0, "EXCHANGE_EXPIRED")]


def refused(connection):
    order_id = received(connection)
    settle(connection, order_id, reason=21, hold=0)
    return order_id, [("REJECTED", 0, "INSUFFICIENT_POSITION")]


def rejected(connection):
    order_id = place(connection, uuid.uuid4().hex)
    execute(connection, order_id, "REJECTED")
    return order_id, [("ACCEPTED", 0, ""), ("REJECTED", 0, "EXCHANGE_REJECTED")]


def market(connection):
    query = "SELECT order_id FROM order_service.place_order(9, %s, 'DDD', 'BUY', 'MARKET', 5, 0, 'IOC')"
    return connection.execute(query, [uuid.uuid4().hex]).fetchone()[0], [("ACCEPTED", 0, "")]


def huge(connection):
    """Numbers that a reader would round if they went through floating point."""
    connection.execute(
        "INSERT INTO order_service.instrument (symbol, currency, tick, price_floor, price_ceiling)"
        " VALUES ('HUGE', 'KRW', 1, 1, 9223372036854775807) ON CONFLICT DO NOTHING"
    )
    query = (
        "SELECT order_id FROM order_service.place_order(9223372036854775807, %s, 'HUGE', 'SELL', 'LIMIT', 1,"
        " 9007199254740993, 'FOK')"
    )
    return connection.execute(query, [uuid.uuid4().hex]).fetchone()[0], [("ACCEPTED", 0, "")]


SCENARIOS = (filled, canceled, expired, refused, rejected, market, huge)


def expected_events(connection, order_id, changes):
    """What the events of an order must say, as dictionaries with the names of OrderEvent's fields."""
    with connection.cursor(row_factory=dict_row) as cursor:
        terms = cursor.execute(ORDER_QUERY, [order_id]).fetchone()
        events = cursor.execute(EVENTS_QUERY, [order_id]).fetchall()
    assert len(events) == len(changes)
    terms["price_micro_units"] = terms.pop("price")
    return [
        {**terms, **event, "status": status, "filled_quantity": quantity, "reason": reason}
        for event, (status, quantity, reason) in zip(events, changes)
    ]


def refuse(text):
    raise AssertionError(f"{text} is not a whole number")


def no_key_twice(pairs):
    assert len(dict(pairs)) == len(pairs), pairs
    return dict(pairs)


def read_json(record):
    """The record's JSON, as a dictionary with the names of OrderEvent's fields."""
    text = record.value.decode("ascii")
    event = json.loads(text, parse_float=refuse, parse_constant=refuse, object_pairs_hook=no_key_twice)
    assert isinstance(event["order_id"], str)
    event["order_id"] = int(event["order_id"])
    event["price_micro_units"] = event.pop("price")
    return event


def read_protobuf(record):
    """The same from protobuf."""
    message = ledger.decode(record.value)
    assert message.SerializeToString() == record.value
    result = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        result[field.name] = field.enum_type.values_by_number[value].name if field.enum_type else value
    return result


READERS = {"protobuf": read_protobuf, "json": read_json}


def check(connection, records, order_id, changes, reader, content_type):
    expected = expected_events(connection, order_id, changes)
    assert [reader(record) for record in records] == expected
    assert [record.header("content-type") for record in records] == [content_type] * len(expected)
    assert [record.header("type") for record in records] == [event["event_type"] for event in expected]


# --- the tests ---


@pytest.mark.parametrize("form", ["protobuf", "json"])
def test_every_event_says_what_its_order_says_in_both_formats(connection, configure, read_records, form):
    configure(order_service__event_format=form)
    orders = [scenario(connection) for scenario in SCENARIOS]
    records = read_records()
    for order_id, changes in orders:
        check(connection, records[order_id], order_id, changes, READERS[form], f"application/{form}")
    statuses = {status for _, changes in orders for status, _, _ in changes}
    assert statuses == set(contracts.module("order_event").OrderStatus.keys()) - {"RECEIVED"}
    print(f"\n{records[orders[-1][0]][0].value}")


def test_a_change_of_format_counts_for_rows_that_wait_and_not_for_what_was_sent(
    system, connection, configure, read_records
):
    before, changes_before = canceled(connection)
    wait_all_sent(connection)
    system.server.configure(order_service__publishing="off")
    wait_for_state(connection, "PAUSED")
    waiting, changes = filled(connection)
    assert ready_count(connection) == len(changes)
    # Changed while they wait: from here on they are JSON.
    configure(order_service__event_format="json")
    records = read_records()
    check(connection, records[waiting], waiting, changes, read_json, "application/json")
    check(connection, records[before], before, changes_before, read_protobuf, "application/protobuf")


def test_an_order_may_have_events_of_both_formats_told_apart_by_their_content_type(
    connection, configure, read_records
):
    configure(order_service__event_format="json")
    order_id = place(connection, uuid.uuid4().hex)
    wait_all_sent(connection)
    configure(order_service__event_format="protobuf")
    execute(connection, order_id, "EXPIRED")
    first, second = read_records()[order_id]
    assert [r.header("content-type") for r in (first, second)] == ["application/json", "application/protobuf"]
    assert [first.header("id"), second.header("id")] == [f"{order_id}.1", f"{order_id}.2"]
    expected = expected_events(connection, order_id, [("ACCEPTED", 0, ""), ("CANCELED", 0, "EXCHANGE_EXPIRED")])
    assert [read_json(first), read_protobuf(second)] == expected


def test_a_consumer_of_the_predecessors_message_reads_every_event(connection, read_records, created_event):
    orders = [scenario(connection) for scenario in SCENARIOS]
    records = read_records()
    known = [field.name for field in created_event.DESCRIPTOR.fields]
    assert len(known) == 11
    for order_id, changes in orders:
        events = expected_events(connection, order_id, changes)
        assert len(records[order_id]) == len(events)
        for record, expected in zip(records[order_id], events):
            seen = created_event.FromString(record.value)
            # It sees what it knows, and the rest does not disturb it.
            seen.DiscardUnknownFields()
            assert seen == created_event(**{name: expected[name] for name in known})


def test_a_consumer_of_the_predecessors_json_finds_its_keys_and_types(connection, configure, read_records):
    configure(order_service__event_format="json")
    order_id, changes = expired(connection)
    records = read_records()[order_id]
    assert len(records) == len(changes)
    for record in records:
        event = json.loads(record.value)
        assert {name: event[name] for name in ("order_id", "account_id", "symbol", "side", "quantity", "price")} == {
            "order_id": str(order_id),
            "account_id": 1,
            "symbol": "AAA",
            "side": "SELL",
            "quantity": 10,
            "price": PRICE,
        }


@pytest.mark.parametrize("form", ["protobuf", "json"])
def test_with_the_account_as_key_an_account_has_one_partition_and_orders_keep_their_order(
    connection, configure, read_records, form
):
    configure(order_service__event_key="account_id", order_service__event_format=form)
    orders = [filled(connection) for _ in range(5)]
    others = [place(connection, uuid.uuid4().hex, account=account) for account in range(400, 430)]
    records = read_records()
    for order_id, changes in orders:
        own = records[order_id]
        assert {(record.key, record.partition) for record in own} == {("31", ledger.partition_of("31"))}
        assert [record.header("id") for record in own] == [f"{order_id}.{n}" for n in range(1, len(changes) + 1)]
        check(connection, own, order_id, changes, READERS[form], f"application/{form}")
    for account, order_id in zip(range(400, 430), others):
        (record,) = records[order_id]
        assert (record.key, record.partition) == (str(account), ledger.partition_of(str(account)))


def test_headers_are_none_basic_or_those_of_cloudevents(connection, configure, topic, read_topic):
    records = {}
    for headers in ("none", "basic", "cloudevents"):
        configure(order_service__event_headers=headers, order_service__topic=topic)
        order_id = place(connection, uuid.uuid4().hex)
        wait_all_sent(connection)
        (records[headers],) = [record for record in read_topic(topic) if record.key == str(order_id)]
    assert records["none"].headers == []
    order_id = records["basic"].key
    basic = [f"{order_id}.1", "ORDER_ACCEPTED", "application/protobuf"]
    assert records["basic"].headers == [(name, value.encode()) for name, value in zip(BASIC, basic)]
    record = records["cloudevents"]
    assert [name for name, _ in record.headers] == list(ledger.HEADERS)
    # The binding of CloudEvents to Kafka, binary mode: these attributes are required.
    attributes = {name: record.header(f"ce_{name}") for name in ("specversion", "id", "source", "type")}
    assert attributes == {
        "specversion": "1.0",
        "id": f"{record.key}.1",
        "source": "orders",
        "type": "ORDER_ACCEPTED",
    }


def test_a_payload_that_is_no_event_is_not_sent_as_json_and_holds_back_only_its_order(
    system, connection, configure, read_records, read_topic
):
    configure(order_service__event_format="json")
    system.server.configure(order_service__publishing="off")
    wait_for_state(connection, "PAUSED")
    broken, other = place(connection, uuid.uuid4().hex), place(connection, uuid.uuid4().hex)
    cancel(connection, broken)
    swap = (
        "UPDATE order_service.outbox b SET payload = %s FROM order_service.outbox old"
        " WHERE b.order_id = %s AND b.order_version = 1 AND old.event_id = b.event_id RETURNING old.payload"
    )
    payload = connection.execute(swap, [b"not an event", broken]).fetchone()[0]
    # What waits in the ring is the event as it was: the next publisher has only the table.
    before = stats(connection)["pid"]
    connection.execute("SELECT pg_terminate_backend(%s)", [before])
    wait_until(lambda: stats(connection)["pid"] not in (None, before), 30, "a new publisher")
    system.server.configure(order_service__publishing=None)
    query = (
        "SELECT status, retry_count, last_error FROM order_service.outbox_detail WHERE order_id = %s"
        " ORDER BY order_version"
    )
    wait_until(lambda: connection.execute(query, [broken]).fetchone()[1] > 0, 60, "an attempt at the broken event")
    wait_until(lambda: connection.execute(query, [other]).fetchone()[0] == "SENT", 60, "the other order's event")
    first, second = connection.execute(query, [broken]).fetchall()
    assert first[2] == "the payload is not an OrderEvent"
    assert second == ("READY", 0, None)
    assert [record for record in read_topic(system.topic) if record.key == str(broken)] == []
    connection.execute(swap, [payload, broken])
    changes = [("ACCEPTED", 0, ""), ("CANCEL_REQUESTED", 0, "")]
    check(connection, read_records()[broken], broken, changes, read_json, "application/json")
