"""Crashes under load: what was acknowledged is there, and Kafka has what is committed and nothing else.

Shows 3 and 5 of the outbox issue. Clients place orders, repeat what they lost the answer to, and go on. Where two of
the eight commit asynchronously nothing is promised to them, so they show the other side, that Kafka never has an event
that the database lost. Whom is killed, and when, is drawn from a seed, SEED in the environment.
"""

import os
import random
import signal
from collections import Counter

import faults
import ledger
import pytest
from faults import pid_of
from load import Flood, Load, add_instruments, broken_promises, stats, wait_all_sent
from soak import sized
from stack import wait_until

SEED = int(os.environ.get("SEED", "4"))
KILLS = sized(6, 100)
CLIENTS, ASYNC_CLIENTS = 8, 2
RATE = 1000
# Orders from one kill to the next: from hardly any, while the publisher still starts, to seconds of work.
ORDERS_BETWEEN_MAX = 2000
TERMINATIONS, ORDERS_PER_TERMINATION = 3, 2000
ROUNDS, ORDERS_PER_ROUND, ORDERS_NOT_DURABLE = sized(2, 20), 600, 200


@pytest.fixture
def server(postgres):
    """A cluster of the test's own, with a publisher at work and something to trade in."""
    prepare(postgres)
    return postgres


def prepare(server):
    with server.connect() as connection:
        add_instruments(connection)
        wait_until(lambda: stats(connection)["state"] == "STREAMING", 60, "publisher at work")


# --- whom to kill ---


def kill_publisher(server, _kafka):
    faults.kill_process(server, faults.PUBLISHER)


def kill_backend(server, _kafka):
    faults.kill_process(server, faults.CLIENT_BACKEND)


def kill_postmaster(server, _kafka):
    faults.kill_postmaster(server)
    server.start()


def kill_broker(_server, kafka):
    kafka.kill9()
    kafka.start()


VICTIMS = {
    "publisher": kill_publisher,
    "backend": kill_backend,
    "postmaster": kill_postmaster,
    "broker": kill_broker,
}


def make_plan(seed, kills):
    """[(victim, orders to wait for before)]: each victim at least once, in any order."""
    draw = random.Random(seed)
    victims = list(VICTIMS) + draw.choices(list(VICTIMS), k=kills - len(VICTIMS))
    draw.shuffle(victims)
    return [(victim, int(ORDERS_BETWEEN_MAX ** draw.random())) for victim in victims]


def recovery_count(server):
    """How often the server has recovered from a crash, by itself or at its start."""
    log = server.log_text()
    by_itself = log.count("all server processes terminated; reinitializing")
    # Recovery after a reinitialization writes this line too.
    return max(log.count("database system was not properly shut down"), by_itself)


# --- what is left ---


def check(server, load, records, what):
    """The full check; prints the figures and returns the number of duplicates and of lost asynchronous commits."""
    with server.connect() as connection:
        found = ledger.differences(connection, records)
        found += broken_promises(connection, load.acknowledged())
        lost = len(broken_promises(connection, load.acknowledged(is_durable=False)))
        orders = connection.execute("SELECT count(*) FROM order_service.orders").fetchone()[0]
    first, repeated = ledger.without_duplicates(records)
    print(
        f"\n{what} in {load.seconds:.1f} s of load: {load.counts()}"
        f"\n{orders} orders, {len(first)} events in Kafka and {repeated} duplicates of them, each with the id of its"
        f" first; {lost} asynchronous commits were lost, together with their events"
    )
    assert not found, ledger.show(found)
    return repeated, lost


@pytest.mark.soak
def test_nothing_is_lost_or_invented_or_out_of_order_whoever_is_killed(server, kafka, topic, read_topic):
    plan = make_plan(SEED, KILLS)
    print(f"\nSEED={SEED}: {' '.join(f'{orders}:{victim}' for victim, orders in plan)}")
    with Load(server, CLIENTS, async_count=ASYNC_CLIENTS, rate=RATE) as load:
        for victim, orders in plan:
            load.wait_for_more(orders, 120)
            VICTIMS[victim](server, kafka)
        load.wait_for_more(ORDERS_BETWEEN_MAX, 120)
    with server.connect() as connection:
        wait_all_sent(connection, 120)
    check(server, load, read_topic(topic), f"{KILLS} kills")
    crashes = sum(victim != "broker" for victim, _ in plan)
    assert recovery_count(server) == crashes
    assert load.counts()["reconnects"] >= crashes


def test_a_publisher_terminated_under_load_loses_and_repeats_nothing(server, topic, read_topic):
    """No crash: it may finish what it has in hand before it goes."""
    with Load(server, CLIENTS) as load:
        for _ in range(TERMINATIONS):
            load.wait_for_more(ORDERS_PER_TERMINATION, 120)
            pid = pid_of(server, faults.PUBLISHER)
            server.execute("SELECT pg_terminate_backend(%s)", [pid])
            wait_until(lambda: server.backend_pids(faults.PUBLISHER) not in ([], [pid]), 30, "a new publisher")
        load.wait_for_more(ORDERS_PER_TERMINATION, 120)
    with server.connect() as connection:
        wait_all_sent(connection)
    repeated, _ = check(server, load, read_topic(topic), f"{TERMINATIONS} terminations")
    assert repeated == 0
    assert recovery_count(server) == load.counts()["reconnects"] == 0


# --- commits that are not on disk ---

# Everything commits asynchronously, and nothing but the publisher writes a commit to disk: neither a vacuum's commit
# nor a buffer written to make room, and the WAL writer is frozen.
NOT_DURABLE = {
    "synchronous_commit": "off",
    "autovacuum": "off",
    "bgwriter_lru_maxpages": 0,
    "checkpoint_timeout": "1h",
    "wal_buffers": "64MB",
    "order_service.ring_size": "64kB",
}
ORDERS_LARGER_THAN_RING = 1000


def freeze(server, backend_type, wait_event):
    """Stop a process while it waits for something to do: elsewhere it might hold what everybody needs."""
    pid = pid_of(server, backend_type)

    def is_frozen_in_wait():
        os.kill(pid, signal.SIGSTOP)
        if server.execute("SELECT wait_event FROM pg_stat_activity WHERE pid = %s", [pid]) == [(wait_event,)]:
            return True
        os.kill(pid, signal.SIGCONT)
        return False

    wait_until(is_frozen_in_wait, 30, f"{backend_type} in {wait_event}")


def crash_repeatedly(server, work):
    """Crash while `work` goes on, every other time with the publisher frozen; what it published shortly before."""
    paths = Counter()
    for number in range(ROUNDS * 2):
        freeze(server, "walwriter", "WalWriterMain")
        work.wait_for_more(ORDERS_PER_ROUND, 120)
        with server.connect() as connection:
            figures = stats(connection)
        paths.update({name: figures[name] for name in ("from_ring", "from_table")})
        if number % 2:
            # For certain not durable: nobody is left who would have written these.
            freeze(server, faults.PUBLISHER, "Extension")
            work.wait_for_more(ORDERS_NOT_DURABLE, 120)
        server.kill9()
        server.start()
    return dict(paths)


@pytest.fixture
def not_durable(make_postgres, kafka, topic):
    server = make_postgres(settings=NOT_DURABLE, kafka=kafka, topic=topic)
    prepare(server)
    return server


@pytest.mark.soak
def test_kafka_never_has_an_order_that_a_crash_took_back(not_durable, topic, read_topic):
    server = not_durable
    with Load(server, CLIENTS, async_count=CLIENTS, rate=RATE) as load:
        paths = crash_repeatedly(server, load)
    with server.connect() as connection:
        wait_all_sent(connection)
    _, lost = check(server, load, read_topic(topic), f"{ROUNDS * 2} crashes, {paths} published shortly before,")
    assert recovery_count(server) == ROUNDS * 2
    assert paths["from_ring"] > 0
    assert lost >= ROUNDS * ORDERS_NOT_DURABLE / 2, "the crashes took too little back to show anything"


@pytest.mark.soak
def test_kafka_never_has_an_order_that_was_seen_in_the_table_before_a_crash_took_it_back(
    not_durable, topic, read_topic
):
    """Transactions larger than the ring are found in the table only, where they are seen before they are on disk."""
    server = not_durable
    with Flood(server, items=ORDERS_LARGER_THAN_RING, is_durable=False, pause=0.2) as flood:
        paths = crash_repeatedly(server, flood)
    with server.connect() as connection:
        wait_all_sent(connection)
        records = read_topic(topic)
        found = ledger.differences(connection, records)
        orders = connection.execute("SELECT count(*) FROM order_service.orders").fetchone()[0]
    print(
        f"\n{ROUNDS * 2} crashes, {paths} published shortly before; {flood.order_count} orders acknowledged, {orders} left;"
        f" {len(records)} records, {ledger.without_duplicates(records)[1]} of them duplicates"
    )
    assert not found, ledger.show(found)
    assert paths["from_ring"] == 0 < paths["from_table"]
    assert orders <= flood.order_count - ROUNDS * ORDERS_NOT_DURABLE, "the crashes took too little back to show anything"
