"""Eight connections at full speed: nothing is lost, doubled or out of order, whether the ring can take it or not."""

import time
from contextlib import ExitStack

import ledger
import pytest
from load import Flood, Load, add_instruments, broken_promises, stats, wait_all_sent
from soak import sized
from stack import wait_until

ORDERS = sized(50_000, 200_000)
ORDERS_OVERFLOWING = sized(2_000, 40_000)
CONNECTIONS = 8
# Orders of one commit: some fit easily, two at once of the next do not, the last never do.
FLOODS = (100, 400, 1000)
SHOWN = ("from_ring", "from_table", "catch_ups", "ring_overflows", "latency_p50_ms", "latency_p99_ms")

COUNTS = (
    "SELECT (SELECT count(*) FROM order_service.orders),"
    " (SELECT count(DISTINCT (account_id, key)) FROM order_service.idempotency_key WHERE command = 1),"
    " (SELECT count(*) FROM order_service.outbox)"
)


def prepare(server):
    with server.connect() as connection:
        add_instruments(connection)
        wait_until(lambda: stats(connection)["state"] == "STREAMING", 60, "publisher at work")


def check(server, load, records):
    """The full check; prints the figures and returns what stats has and how many orders there are."""
    with server.connect() as connection:
        found = ledger.differences(connection, records)
        found += broken_promises(connection, load.acknowledged())
        orders, keys, events = connection.execute(COUNTS).fetchone()
        figures = stats(connection)
    first, repeated = ledger.without_duplicates(records)
    print(f"\n{load.counts()}")
    print(f"{orders} orders, {keys} keys, {events} events, {len(first)} in Kafka, {repeated} duplicates")
    print({name: figures[name] for name in SHOWN})
    assert not found, ledger.show(found)
    assert orders == keys
    assert len(first) == events
    assert repeated == 0
    assert sum(figures["latency_buckets"]) == figures["from_ring"]
    return figures, orders


@pytest.mark.soak
def test_every_order_of_a_busy_system_reaches_kafka_once_and_in_order(postgres, topic, read_topic):
    prepare(postgres)
    with Load(postgres, CONNECTIONS, ORDERS // CONNECTIONS) as load:
        load.join(sized(240, 2400))
    begin = time.monotonic()
    with postgres.connect() as connection:
        wait_all_sent(connection, 120)
    lag = time.monotonic() - begin
    _, orders = check(postgres, load, read_topic(topic))
    print(f"{orders / load.seconds:.0f} orders/s; the last was in Kafka {lag:.2f} s after the last answer")
    assert orders == load.order_count >= ORDERS


@pytest.mark.soak
def test_what_a_ring_of_64_kilobytes_cannot_take_goes_by_the_table_in_order(make_postgres, kafka, topic, read_topic):
    server = make_postgres(settings={"order_service.ring_size": "64kB"}, kafka=kafka, topic=topic)
    prepare(server)
    with ExitStack() as floods, Load(server, CONNECTIONS, ORDERS_OVERFLOWING // CONNECTIONS) as load:
        for items in FLOODS:
            floods.enter_context(Flood(server, items, account=9000 + items))
        load.join(sized(240, 2400))
    with server.connect() as connection:
        wait_all_sent(connection, 120)
    figures, orders = check(server, load, read_topic(topic))
    ring, table = figures["from_ring"], figures["from_table"]
    print(f"{orders} orders in {load.seconds:.1f} s; by the ring {ring / (ring + table):.0%}, the rest by the table")
    assert figures["ring_overflows"] > 0 and ring > 0 and table > 0
    assert ring + table == figures["sent"]
