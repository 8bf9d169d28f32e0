"""The way through the table: what the ring could not take, what no hint told of, what rolled back."""

import time
import uuid
from collections import namedtuple

import ledger
import pytest
from load import add_instruments, place, ready_count, stats, wait_all_sent
from stack import wait_until

System = namedtuple("System", "server topic")

RING_BYTES = 64 * 1024
# The order of an event that was written past the functions; no sequence gets that far.
UNANNOUNCED = 2**62
COUNTERS = ("from_ring", "from_table", "catch_ups", "ring_overflows", "sent")


@pytest.fixture(scope="module")
def system(make_shared_postgres, kafka):
    """One database whose ring is as small as it can be: about 300 events."""
    topic = kafka.create_topic(f"catch-up.{uuid.uuid4().hex[:8]}", ledger.PARTITIONS)
    settings = {"order_service.ring_size": "64kB"}
    server = make_shared_postgres(settings=settings, kafka=kafka, topic=topic)
    with server.connect() as connection:
        add_instruments(connection)
    return System(server, topic)


@pytest.fixture
def connection(system):
    with system.server.connect() as connection:
        wait_until(lambda: stats(connection)["state"] == "STREAMING", 60, "publisher at work")
        wait_all_sent(connection, 30)
        yield connection


@pytest.fixture
def configure(system):
    """The server's configure(); what a test changes is changed back after it, also when it fails."""
    settings = dict(system.server.settings)
    yield system.server.configure
    system.server.settings = settings
    system.server.configure()


@pytest.fixture
def check_ledger(system, connection, read_topic):
    """check_ledger(): all that the server ever committed is in the topic, once and in order."""

    def check():
        records = read_topic(system.topic)
        found = ledger.differences(connection, records)
        assert not found, ledger.show(found)
        assert ledger.without_duplicates(records)[1] == 0
        return len(records)

    return check


def change_of(before, after):
    return {name: after[name] - before[name] for name in COUNTERS}


def change_when_sent(connection, before, count):
    """The change of the counters once all is sent and counted: a mark is counted when it is committed, so after it."""
    wait_all_sent(connection)
    wait_until(lambda: stats(connection)["sent"] - before["sent"] >= count, 30, f"{count} events counted")
    return change_of(before, stats(connection))


def test_what_does_not_fit_into_the_ring_is_published_from_the_table_in_order(connection, configure, check_ledger):
    before = stats(connection)
    assert before["ring_size"] == RING_BYTES
    configure(order_service__publishing="off")
    wait_until(lambda: stats(connection)["state"] == "PAUSED", 30, "pause")
    # Every tenth is canceled later: of those, one event was in the ring and one is in the table, or both are.
    connection.execute("""
        DO $$
        DECLARE ids bigint[];
        BEGIN
            FOR i IN 1..5000 LOOP
                ids[i] := (SELECT order_id
                           FROM order_service.place_order(1, 'flood-' || i, 'AAA', 'BUY', 'LIMIT', 1, 10000000));
                COMMIT;
            END LOOP;
            FOR i IN 1..500 LOOP
                PERFORM order_service.cancel_order(1, 'flood-cancel-' || i, ids[i * 10]);
                COMMIT;
            END LOOP;
        END
        $$""")
    full = stats(connection)
    assert RING_BYTES * 0.9 < full["ring_used"] <= RING_BYTES
    assert ready_count(connection) == 5500
    begin = time.monotonic()
    configure(order_service__publishing="on")
    change = change_when_sent(connection, before, 5500)
    seconds = time.monotonic() - begin
    records = check_ledger()
    print(f"\n5500 events in {seconds:.2f} s; {change}; {records} records in all")
    assert change["ring_overflows"] > 4000
    assert change["catch_ups"] >= 1
    assert change["from_ring"] + change["from_table"] == change["sent"] == 5500
    assert change["from_ring"] > 0 and change["from_table"] > 4000


def test_a_flood_while_publishing_is_published_once_and_in_order(connection, check_ledger):
    before = stats(connection)
    connection.execute("""
        DO $$
        BEGIN
            FOR i IN 1..100 LOOP
                PERFORM order_service.place_order(1, 'burst-' || i || '-' || j, 'AAA', 'BUY', 'LIMIT', 1, 10000000)
                FROM generate_series(1, 100) j;
                COMMIT;
            END LOOP;
        END
        $$""")
    change = change_when_sent(connection, before, 10_000)
    check_ledger()
    print(f"\n{change}")
    assert change["from_ring"] + change["from_table"] == change["sent"] == 10_000


def test_a_transaction_larger_than_the_ring_is_published(connection, check_ledger):
    before = stats(connection)
    begin = time.monotonic()
    count = connection.execute(
        "SELECT count(order_id) FROM generate_series(1, 20000) i,"
        " order_service.place_order(2, 'large-' || i, 'AAA', 'SELL', 'LIMIT', 1, 10000000)"
    ).fetchone()[0]
    assert count == 20_000
    placed = time.monotonic()
    change = change_when_sent(connection, before, 20_000)
    sent = time.monotonic()
    check_ledger()
    print(f"\nplaced in {placed - begin:.1f} s, published {sent - placed:.1f} s later; {change}")
    assert change["from_table"] == change["sent"] == 20_000
    assert change["catch_ups"] == 1


def last_event_id(connection):
    return connection.execute("SELECT last_value FROM order_service.event_id_seq").fetchone()[0]


def test_ids_that_rolled_back_do_not_stop_the_low_water_mark(connection, check_ledger):
    for number in range(50):
        with connection.transaction(force_rollback=number % 2 == 0):
            for item in range(3):
                place(connection, f"gap-{number}-{item}")
    # The newest ids rolled back too: nothing that is published lies above them.
    with connection.transaction(force_rollback=True):
        place(connection, "gap-last")
    place(connection, "gap-after")
    with connection.transaction(force_rollback=True):
        place(connection, "gap-above")
    wait_all_sent(connection)
    published = connection.execute("SELECT max(event_id) FROM order_service.outbox").fetchone()[0]
    assert last_event_id(connection) == published + 1
    query = "SELECT value FROM order_service.watermark WHERE name = 'outbox'"
    wait_until(lambda: connection.execute(query).fetchone()[0] > published, 30, "low-water mark at the end")
    figures = stats(connection)
    assert figures["low_water"] == published + 1
    assert figures["gaps"] == 0
    check_ledger()


@pytest.mark.parametrize(
    "in_flight_max, mark_batch, orders", [(1, 500, 50), (2, 1, 100), (100, 100, 3000), (500, 500, 3000)]
)
def test_the_smallest_limits_slow_it_down_but_never_stop_it(
    connection, configure, check_ledger, in_flight_max, mark_batch, orders
):
    configure(order_service__in_flight_max=in_flight_max, order_service__mark_batch=mark_batch)
    begin = time.monotonic()
    connection.execute(
        "SELECT count(c.order_id) FROM generate_series(1, %s) i,"
        " order_service.place_order(3, %s || i, 'AAA', 'SELL', 'LIMIT', 1, 10000000) p,"
        " order_service.cancel_order(3, %s || i, p.order_id) c",
        [orders, f"place-{in_flight_max}-", f"cancel-{in_flight_max}-"],
    )
    for number in range(10):
        place(connection, f"after-{in_flight_max}-{number}")
    wait_all_sent(connection, 20)
    print(f"\n{2 * orders + 10} events with in_flight_max {in_flight_max} in {time.monotonic() - begin:.2f} s")
    check_ledger()


@pytest.fixture
def unannounced(connection):
    """A committed event that no hint told of, as a restore or a backend killed at its commit would leave it."""
    place(connection, "known")
    wait_all_sent(connection)
    connection.execute(
        "INSERT INTO order_service.outbox (event_id, previous_event_id, order_id, account_id, created_at,"
        " order_version, event_type, payload)"
        " SELECT nextval('order_service.event_id_seq'), 0, %s, account_id, now(), 1, event_type, payload"
        " FROM order_service.outbox ORDER BY event_id DESC LIMIT 1",
        [UNANNOUNCED],
    )
    yield f"{UNANNOUNCED}.1"
    connection.execute("DELETE FROM order_service.outbox WHERE order_id = %s", [UNANNOUNCED])


def test_the_safety_pass_finds_an_event_that_no_hint_told_of(system, connection, configure, unannounced, read_topic):
    """Asking for it more often is also how an operator would ask for it now."""
    assert ready_count(connection) == 1
    before = stats(connection)
    configure(order_service__safety_pass="1s")
    wait_all_sent(connection, 15)
    assert change_of(before, stats(connection))["from_table"] == 1
    assert [record.header("id") for record in read_topic(system.topic)].count(unannounced) == 1
