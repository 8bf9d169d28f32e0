"""Eight connections place 50,000 orders: nothing is lost, doubled or out of order. Shows 5 of the issue."""

import time

import ledger
from load import Load, add_instruments, broken_promises, stats, wait_all_sent
from stack import wait_until

ORDERS = 50_000
CONNECTIONS = 8
SHOWN = ("from_ring", "from_table", "catch_ups", "ring_overflows", "latency_p50_ms", "latency_p99_ms")


def test_every_order_of_a_busy_system_reaches_kafka_once_and_in_order(postgres, topic, read_topic):
    with postgres.connect() as connection:
        add_instruments(connection)
        wait_until(lambda: stats(connection)["state"] == "STREAMING", 60, "publisher at work")
        with Load(postgres, CONNECTIONS, ORDERS // CONNECTIONS) as load:
            load.join()
        begin = time.monotonic()
        wait_all_sent(connection, 120)
        lag = time.monotonic() - begin
        records = read_topic(topic)
        found = ledger.differences(connection, records)
        found += broken_promises(connection, load.acknowledged())
        orders, keys, events = connection.execute(
            "SELECT (SELECT count(*) FROM order_service.orders),"
            " (SELECT count(DISTINCT (account_id, key)) FROM order_service.idempotency_key WHERE command = 1),"
            " (SELECT count(*) FROM order_service.outbox)"
        ).fetchone()
        first, repeated = ledger.without_duplicates(records)
        figures = stats(connection)
    print(f"\n{load.counts()}")
    print(
        f"{orders} orders in {load.seconds:.1f} s ({orders / load.seconds:.0f}/s), {keys} keys, {events} events,"
        f" {len(first)} in Kafka, {repeated} duplicates; the last was there {lag:.2f} s after the last order"
    )
    print({name: figures[name] for name in SHOWN})
    assert not found, ledger.show(found)
    assert orders == keys == load.order_count >= ORDERS
    assert len(first) == events
    assert repeated == 0
