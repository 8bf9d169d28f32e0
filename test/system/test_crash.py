"""Crashes under load: what was acknowledged is there, and Kafka has what is committed and nothing else.

Shows 6 of the issue. Each case kills three times, while clients place orders, repeat what they lost the answer to,
and go on. Two of the eight clients commit asynchronously: nothing is promised to them, so they show the other side,
that Kafka never has an event that the database lost.
"""

import os
import signal

import ledger
import pytest
from load import Load, add_instruments, broken_promises, stats, wait_all_sent
from stack import wait_until

KILLS = 3
CLIENTS, ASYNC_CLIENTS = 8, 2
ORDERS_BETWEEN = 4500


@pytest.fixture
def server(postgres):
    """A cluster of the test's own, with a publisher at work and something to trade in."""
    with postgres.connect() as connection:
        add_instruments(connection)
        wait_until(lambda: stats(connection)["state"] == "STREAMING", 60, "publisher at work")
    return postgres


def kill_publisher(server):
    (pid,) = server.backend_pids("order_service publisher")
    os.kill(pid, signal.SIGKILL)


def kill_backend(server):
    os.kill(server.backend_pids()[0], signal.SIGKILL)


def kill_postmaster(server):
    """The others have to notice and end by themselves: no new server can start before."""
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not server.processes(), 30, "end of the orphans")
    server.kill9()
    server.start()


def terminate_publisher(server):
    """No crash: it may finish what it has in hand before it goes."""
    (pid,) = server.backend_pids("order_service publisher")
    server.execute("SELECT pg_terminate_backend(%s)", [pid])
    wait_until(lambda: server.backend_pids("order_service publisher") not in ([], [pid]), 30, "a new publisher")


VICTIMS = {"the publisher": kill_publisher, "a backend": kill_backend, "the postmaster": kill_postmaster}


def recovery_count(server):
    """How often the server has recovered from a crash, by itself or at its start."""
    log = server.log_text()
    by_itself = log.count("all server processes terminated; reinitializing")
    # Recovery after a reinitialization writes this line too.
    return max(log.count("database system was not properly shut down"), by_itself)


def run_load(server, attack, async_count):
    """Let the clients work, attacked three times at even distances; the load, ended."""
    with Load(server, CLIENTS, async_count=async_count) as load:

        def wait_for_more():
            goal = load.order_count + ORDERS_BETWEEN
            wait_until(lambda: load.has_failed or load.order_count >= goal, 120, f"{ORDERS_BETWEEN} more orders")

        for _ in range(KILLS):
            wait_for_more()
            attack(server)
        wait_for_more()
    return load


def check(server, load, records):
    """The full check; prints the figures and returns the number of duplicates."""
    with server.connect() as connection:
        found = ledger.differences(connection, records)
        found += broken_promises(connection, load.acknowledged())
        lost = len(broken_promises(connection, load.acknowledged(is_durable=False)))
        orders = connection.execute("SELECT count(*) FROM order_service.orders").fetchone()[0]
    first, repeated = ledger.without_duplicates(records)
    print(
        f"\n{KILLS} times in {load.seconds:.1f} s of load: {load.counts()}"
        f"\n{orders} orders, {len(first)} events in Kafka and {repeated} duplicates of them;"
        f" {lost} asynchronous commits were lost, together with their events"
    )
    assert not found, ledger.show(found)
    return repeated


@pytest.mark.parametrize("victim", VICTIMS)
def test_nothing_is_lost_or_invented_when_one_kills(server, topic, read_topic, victim):
    load = run_load(server, VICTIMS[victim], ASYNC_CLIENTS)
    with server.connect() as connection:
        wait_all_sent(connection)
    check(server, load, read_topic(topic))
    assert recovery_count(server) == KILLS
    assert load.counts()["reconnects"] >= KILLS


def test_a_publisher_terminated_under_load_loses_and_repeats_nothing(server, topic, read_topic):
    load = run_load(server, terminate_publisher, 0)
    with server.connect() as connection:
        wait_all_sent(connection)
    assert check(server, load, read_topic(topic)) == 0
    assert recovery_count(server) == load.counts()["reconnects"] == 0


def test_kafka_never_has_an_order_that_a_crash_took_back(make_postgres, kafka, topic, read_topic):
    """All clients commit asynchronously, and the server alone would write such commits to disk only seconds later."""
    settings = {"wal_writer_delay": "10s", "wal_writer_flush_after": 0, "wal_buffers": "64MB"}
    server = make_postgres(settings=settings, kafka=kafka, topic=topic)
    with server.connect() as connection:
        add_instruments(connection)
        wait_until(lambda: stats(connection)["state"] == "STREAMING", 60, "publisher at work")
    load = run_load(server, kill_postmaster, CLIENTS)
    with server.connect() as connection:
        wait_all_sent(connection)
    check(server, load, read_topic(topic))
    assert recovery_count(server) == KILLS
