"""The checker itself: a ledger that finds nothing wrong must be one that would have found it."""

import ledger
import pytest
from load import add_instruments, broken_promises, cancel, place, wait_all_sent


@pytest.fixture(scope="module")
def orders(make_shared_postgres, kafka):
    """(server, topic) with five orders, all canceled, and with that ten records."""
    topic = kafka.create_topic("ledger", ledger.PARTITIONS)
    server = make_shared_postgres(kafka=kafka, topic=topic)
    with server.connect() as connection:
        add_instruments(connection)
        for number in range(5):
            cancel(connection, place(connection, f"key-{number}"))
        wait_all_sent(connection)
    return server, topic


@pytest.fixture
def connection(orders):
    """In a transaction that is rolled back: what a test spoils is whole again for the next."""
    with orders[0].connect() as connection, connection.transaction(force_rollback=True):
        yield connection


@pytest.fixture
def records(orders, read_topic):
    return read_topic(orders[1])


def with_header(record, name, value):
    return record._replace(headers=[(key, value if key == name else old) for key, old in record.headers])


def test_a_complete_ledger_has_no_differences(connection, records):
    assert len(records) == 10
    assert ledger.differences(connection, records) == []
    assert ledger.without_duplicates(records) == (records, 0)


def test_a_missing_record_is_found(connection, records):
    found = ledger.differences(connection, records[:-1])
    assert found == [f"missing: event {records[-1].header('id')} is not in Kafka"]


def test_an_exact_repeat_is_counted_and_no_difference(connection, records):
    again = records + [records[3]]
    assert ledger.differences(connection, again) == []
    assert ledger.without_duplicates(again) == (records, 1)


def test_a_repeat_that_differs_is_found(connection, records):
    again = records + [records[3]._replace(value=records[4].value)]
    assert ledger.differences(connection, again) == [f"repeat: record {records[3].header('id')} differs from its first"]


def test_a_record_of_nothing_committed_is_found(connection, records):
    connection.execute("DELETE FROM order_service.outbox WHERE order_id = 3 AND order_version = 2")
    connection.execute(
        "UPDATE order_service.orders SET order_version = 1, status = 1, last_event_id = 5 WHERE order_id = 3"
    )
    assert ledger.differences(connection, records) == ["extra: record 3.2 has no event"]


def test_records_of_an_order_in_the_wrong_order_are_found(connection, records):
    names = [record.header("id") for record in records]
    first, second = names.index("2.1"), names.index("2.2")
    records[first], records[second] = records[second], records[first]
    assert ledger.differences(connection, records) == [
        "out of order: 2.2 came as number 1 of its order",
        "out of order: 2.1 came as number 2 of its order",
    ]


def test_a_record_in_the_wrong_partition_is_found(connection, records):
    records[0] = records[0]._replace(partition=(records[0].partition + 1) % ledger.PARTITIONS)
    found = ledger.differences(connection, records)
    assert any("not " + str(ledger.partition_of(records[0].key)) in line for line in found)
    assert any("another partition" in line for line in found)


@pytest.mark.parametrize("header", ["type", "ce_id", "ce_type", "ce_specversion", "content-type"])
def test_a_wrong_header_is_found(connection, records, header):
    records[0] = with_header(records[0], header, b"other")
    assert any(f"{header} " in line and "other" in line for line in ledger.differences(connection, records))


@pytest.mark.parametrize(
    "change",
    ["quantity = 11", "side = 2", "symbol = 'BBB'", "status = 6", "filled_quantity = 1", "account_id = 9", "price = 1"],
)
def test_a_payload_that_is_not_like_its_order_is_found(connection, records, change):
    connection.execute(f"UPDATE order_service.orders SET {change} WHERE order_id = 4")
    found = ledger.differences(connection, records)
    assert found and all(line.startswith(("payload of 4.", "table: event")) for line in found)


def test_tables_that_contradict_themselves_are_found(connection, records):
    connection.execute("UPDATE order_service.orders SET order_version = 3 WHERE order_id = 1")
    connection.execute("UPDATE order_service.orders SET last_event_id = 99 WHERE order_id = 2")
    connection.execute("UPDATE order_service.outbox SET status = 0 WHERE order_id = 3 AND order_version = 1")
    connection.execute("UPDATE order_service.outbox SET previous_event_id = 0 WHERE order_id = 4")
    connection.execute("DELETE FROM order_service.orders WHERE order_id = 5")
    found = [line for line in ledger.differences(connection, records) if line.startswith("table: ")]
    assert len(found) == 5


def test_broken_promises_are_found(connection):
    assert broken_promises(connection, {}) == []
    assert len(broken_promises(connection, {(1, "never-placed"): (1, None)})) == 1
    connection.execute("UPDATE order_service.idempotency_key SET order_id = 1 WHERE key = 'key-1'")
    found = broken_promises(connection, {})
    assert len(found) == 2
