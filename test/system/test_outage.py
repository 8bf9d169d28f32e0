"""Kafka is away, stopped or frozen, while orders come in: events are late, and nothing else.

Shows 1 of the outbox issue. The long form is out for three minutes.
"""

import time

import ledger
import pytest
from load import Load, add_instruments, broken_promises, stats, wait_all_sent
from soak import sized
from stack import wait_until

RATE = 500
CLIENTS = 8
OUTAGE_SECONDS = sized(6, 180)
# How late the orders of one second may be, on a machine that has other things to do.
LATE_SECONDS_MAX = 15
# So low that even a short outage exceeds both together: a hint with its event takes more than 64 bytes of the ring.
SETTINGS = {"order_service.in_flight_max": 1000, "order_service.ring_size": "64kB"}
HELD_IN_MEMORY_MAX = 1000 + 64 * 1024 // 64
CATCH_UPS_MAX = 10

LAG = """
SELECT clock_timestamp(), l.ready, extract(epoch FROM clock_timestamp() - l.oldest)::float,
       (SELECT count(*) FROM order_service.outbox WHERE created_at > %(down_since)s),
       (SELECT count(*) FROM order_service.outbox WHERE created_at > %(begin)s),
       (SELECT count(*) FROM order_service.outbox WHERE retry_count > 0 OR status > 1)
FROM order_service.outbox_lag l"""

OUTAGES = {"stopped": ("stop", "start"), "frozen": ("freeze", "thaw")}


@pytest.fixture
def server(make_postgres, kafka, topic):
    """A cluster with a publisher at work and something to trade in."""
    server = make_postgres(settings=SETTINGS, kafka=kafka, topic=topic)
    with server.connect() as connection:
        add_instruments(connection)
        wait_until(lambda: stats(connection)["state"] == "STREAMING", 60, "publisher at work")
    return server


def processor_seconds(pid):
    """The processor time that a process has used."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


class Watch:
    """What the database says of the lag, held against what the outage must have made of it."""

    def __init__(self, connection):
        self.connection = connection
        self.begin = connection.execute("SELECT clock_timestamp()").fetchone()[0]
        self.before = connection.execute("SELECT ready FROM order_service.outbox_lag").fetchone()[0]
        self.largest = 0
        self.oldest = 0.0

    def check(self, down_since):
        """Every event of a transaction that began in the outage is waiting; since then nothing can be older.

        Kafka takes its time to stop: the outage began somewhere between the begin of the watch and |down_since|.
        """
        moments = {"begin": self.begin, "down_since": down_since}
        now, ready, age, created, created_since_begin, failed = self.connection.execute(LAG, moments).fetchone()
        out = (now - down_since).total_seconds()
        # What was under way when Kafka went: produced and not marked, or committed by a transaction begun before.
        open_at_begin = self.before + SETTINGS["order_service.in_flight_max"]
        assert created <= ready <= created_since_begin + open_at_begin, (created, ready, created_since_begin)
        assert created == 0 or out - LATE_SECONDS_MAX <= age <= out + LATE_SECONDS_MAX, (age, out)
        assert failed == 0
        self.largest, self.oldest = max(self.largest, ready), max(self.oldest, age or 0)


@pytest.mark.soak
@pytest.mark.parametrize("how", OUTAGES)
def test_an_outage_of_kafka_makes_events_late_and_loses_none(server, kafka, topic, read_topic, how):
    go, come_back = (getattr(kafka, name) for name in OUTAGES[how])
    with server.connect() as connection, Load(server, CLIENTS, rate=RATE) as load:
        load.wait_for_more(RATE, LATE_SECONDS_MAX)
        before = stats(connection)
        watch = Watch(connection)
        go()
        down_since = connection.execute("SELECT clock_timestamp()").fetchone()[0]
        used, begin, accepted = processor_seconds(before["pid"]), time.monotonic(), load.order_count
        while time.monotonic() < begin + OUTAGE_SECONDS:
            load.wait_for_more(RATE, LATE_SECONDS_MAX)
            watch.check(down_since)
        seconds = time.monotonic() - begin
        wait_until(lambda: stats(connection)["state"] == "BACKING_OFF", 30, "an outage that is noticed")
        during = stats(connection)
        accepted = load.order_count - accepted
        used = processor_seconds(before["pid"]) - used if during["pid"] == before["pid"] else None
        come_back()
        begin = time.monotonic()
        load.wait_for_more(2 * RATE, 2 * LATE_SECONDS_MAX)
        wait_until(lambda: ready(connection) < RATE, 120, "backlog gone")
        caught_up = time.monotonic() - begin
    with server.connect() as connection:
        wait_all_sent(connection)
        after = stats(connection)
        lag = connection.execute("SELECT ready, oldest_age FROM order_service.outbox_lag").fetchone()
        records = read_topic(topic)
        found = ledger.differences(connection, records) + broken_promises(connection, load.acknowledged())
    first, repeated = ledger.without_duplicates(records)
    catch_ups = during["catch_ups"] - before["catch_ups"]
    print(
        f"\n{how} for {seconds:.0f} s: {accepted} orders accepted meanwhile, the slowest answer took {load.slowest:.2f} s;"
        f" at most {watch.largest} events waited, the oldest {watch.oldest:.0f} s"
        f"\nthe publisher used {used} s of a processor and looked into the table {catch_ups} times;"
        f" {caught_up:.1f} s after the return all was sent"
        f"\n{len(first)} events in Kafka and {repeated} duplicates; last error: {after['last_error']}"
    )
    assert not found, ledger.show(found)
    assert lag == (0, None)
    assert watch.largest >= accepted / 2
    assert after["failed"] == 0 and after["outages"] > before["outages"]
    assert watch.largest > HELD_IN_MEMORY_MAX, "the outage was too short to show anything"
    assert catch_ups <= CATCH_UPS_MAX


def ready(connection):
    return connection.execute("SELECT ready FROM order_service.outbox_lag").fetchone()[0]


def test_an_idle_publisher_notices_by_itself_that_kafka_is_back(server, kafka):
    with server.connect() as connection:
        before = stats(connection)
        kafka.kill9()
        wait_until(lambda: stats(connection)["state"] == "BACKING_OFF", 30, "an outage that is noticed")
        kafka.start()
        wait_until(lambda: stats(connection)["state"] == "STREAMING", 30, "a return that is noticed")
        after = stats(connection)
    assert (after["pid"], after["sent"], after["outages"]) == (before["pid"], before["sent"], before["outages"] + 1)
