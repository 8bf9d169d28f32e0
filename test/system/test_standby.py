"""A streaming standby keeps quiet until it is promoted, and then goes on where the primary was. Shows 6 of the issue."""

import time
import uuid
from collections import Counter

import ledger
import pytest
from load import Load, add_instruments, broken_promises, place, stats, wait_all_sent
from soak import sized
from stack import wait_until

RATE = 500
CLIENTS = 8
ORDERS = sized(1_500, 60_000)
TAKE_OVER_SECONDS_MAX = 5
# What may be sent again: small, so that more than it would be noticed.
IN_FLIGHT_MAX = 200


@pytest.fixture
def primary(make_postgres, kafka, topic):
    server = make_postgres(settings={"order_service.in_flight_max": IN_FLIGHT_MAX}, kafka=kafka, topic=topic)
    with server.connect() as connection:
        add_instruments(connection)
        wait_until(lambda: stats(connection)["state"] == "STREAMING", 60, "publisher at work")
    return server


@pytest.fixture
def standby(primary, scratch):
    """A started standby, which every commit on the primary waits for: it has all that was acknowledged."""
    server = primary.standby(scratch / f"standby-{uuid.uuid4().hex[:8]}")
    server.start()
    primary.configure(synchronous_standby_names="*")
    query = "SELECT sync_state FROM pg_stat_replication"
    wait_until(lambda: primary.execute(query) == [("sync",)], 30, "a synchronous standby")
    yield server
    server.remove()


class Service:
    """The address that clients know; whose it is may change."""

    def __init__(self, server):
        self.server = server

    def connect(self, **options):
        return self.server.connect(**options)


def sent_on(server):
    query = "SELECT order_id || '.' || order_version FROM order_service.outbox WHERE status = 1"
    return {name for (name,) in server.execute(query)}


def test_the_publisher_of_a_standby_is_not_there_until_promotion(primary, standby, topic, read_topic):
    with primary.connect() as connection:
        order_ids = [place(connection, f"before-{number}") for number in range(50)]
        wait_all_sent(connection)
    names = {f"{order_id}.1" for order_id in order_ids}
    # Marks are committed asynchronously: the standby may learn of the last of them a little later.
    wait_until(lambda: sent_on(standby) == names, 30, "marks on the standby")
    with standby.connect() as connection:
        row = stats(connection)
        lag = connection.execute("SELECT ready FROM order_service.outbox_lag").fetchone()
    assert (row["state"], row["pid"], row["sent"]) == ("STOPPED", None, 0)
    assert standby.backend_pids("order_service%") == []
    assert lag == (0,)
    records = read_topic(topic)
    assert sorted(record.header("id") for record in records) == sorted(names)


@pytest.mark.soak
def test_a_promoted_standby_goes_on_publishing_and_repeats_nothing_that_it_knows_as_sent(
    primary, standby, topic, read_topic
):
    service = Service(primary)
    with Load(service, CLIENTS, rate=RATE) as load:
        load.wait_for_more(ORDERS, sized(60, 600))
        primary.kill9()
        query = "SELECT pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()"
        wait_until(lambda: standby.execute(query) == [(True,)], 30, "replay of all that was received")
        sent_before = sent_on(standby)
        begin = time.monotonic()
        assert standby.execute("SELECT pg_promote()") == [(True,)]
        with standby.connect() as connection:
            at_work = ("STREAMING", "CATCHING_UP")
            wait_until(lambda: stats(connection)["state"] in at_work, TAKE_OVER_SECONDS_MAX, "a publisher")
        taken_over = time.monotonic() - begin
        service.server = standby
        load.wait_for_more(ORDERS, sized(60, 600))
    with standby.connect() as connection:
        wait_all_sent(connection)
        records = read_topic(topic)
        found = ledger.differences(connection, records) + broken_promises(connection, load.acknowledged())
    names = [record.header("id") for record in records]
    repeated = {name for name, count in Counter(names).items() if count > 1}
    print(
        f"\n{load.counts()}\n{len(sent_before)} events were known as sent; promoted and at work in {taken_over:.1f} s;"
        f" {len(names)} records, {len(repeated)} events sent again"
    )
    assert not found, ledger.show(found)
    assert sent_before and not repeated & sent_before
    assert len(repeated) <= IN_FLIGHT_MAX
