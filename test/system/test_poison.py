"""Events that Kafka refuses for a fault of their own: counted, given up, dead letters, sent again on request."""

import os
import random
import subprocess
import uuid

import ledger
import pgserver
import pytest
from load import Load, add_instruments, broken_promises, cancel, place, ready_count, stats, wait_all_sent
from soak import sized
from stack import wait_until

SETTINGS = {
    "order_service.retry_interval": "1s",
    "order_service.dlq_after": "0",
    "order_service.dlq_interval": "1s",
    "order_service.kafka_options": "topic.metadata.propagation.max.ms=1000 topic.metadata.refresh.interval.ms=1000",
}
# As long as a symbol may be. An event of it is larger by 29 bytes than one of load.SYMBOLS.
LONG = "L" * 32

SEED = int(os.environ.get("SEED", "4"))
CRASHES = sized(4, 40)
ORDERS_BETWEEN_MAX = 400


def batch_bytes(record):
    """About the size of a batch of this record alone: 61 bytes in front of it, and some 8 of lengths and times."""
    headers = sum(len(name) + len(value) + 2 for name, value in record.headers)
    return 61 + 8 + len(record.key) + len(record.value) + headers


@pytest.fixture(scope="module")
def batch_bytes_max(make_shared_postgres, kafka, read_topic):
    """A limit that an event of load.SYMBOLS keeps alone, with any order id below 10,000, and one of LONG does not."""
    topic = kafka.create_topic(f"sample.{uuid.uuid4().hex[:8]}", 1)
    server = make_shared_postgres(kafka=kafka, topic=topic)
    with server.connect() as connection:
        add_instruments(connection)
        place(connection, "sample")
        wait_all_sent(connection)
    server.stop()
    return batch_bytes(read_topic(topic)[0]) + 16


@pytest.fixture
def small_topic(kafka, batch_bytes_max):
    return kafka.create_topic(f"poison.{uuid.uuid4().hex[:8]}", 3, {"max.message.bytes": str(batch_bytes_max)})


@pytest.fixture
def make_server(make_postgres, kafka, small_topic):
    """make_server(dlq_topic, events=None, **settings): a cluster that publishes to a topic, by default the small one."""

    def make(dlq_topic, events=None, **settings):
        values = {**SETTINGS, "order_service.dlq_topic": dlq_topic, **settings}
        server = make_postgres(settings=values, kafka=kafka, topic=events or small_topic)
        with server.connect() as connection:
            add_instruments(connection)
            connection.execute(
                "INSERT INTO order_service.instrument (symbol, currency, tick, price_floor, price_ceiling)"
                " VALUES (%s, 'EUR', 10000, 5000000, 20000000)",
                [LONG],
            )
            wait_until(lambda: stats(connection)["state"] == "STREAMING", 60, "publisher at work")
        return server

    return make


def place_poison(connection):
    query = "SELECT order_id FROM order_service.place_order(1, %s, %s, 'BUY', 'LIMIT', 10, 10000000)"
    return connection.execute(query, [uuid.uuid4().hex, LONG]).fetchone()[0]


def event(connection, order_id, version=1):
    """(status, retry_count) of an event."""
    query = "SELECT status, retry_count FROM order_service.outbox_detail WHERE order_id = %s AND order_version = %s"
    return connection.execute(query, [order_id, version]).fetchone()


def wait_for_event(connection, order_id, wanted, seconds=30):
    wait_until(lambda: event(connection, order_id) == wanted, seconds, f"event of order {order_id} {wanted}")


def raise_limit(kafka, topic):
    from confluent_kafka.admin import ConfigResource

    admin = kafka.admin()
    resource = ConfigResource("topic", topic, set_config={"max.message.bytes": "1000000"})
    for future in admin.alter_configs([resource]).values():
        future.result(30)


def crash(server):
    """Everything of a cluster dies at once; then it is started again."""
    server.kill9()
    server.start()


def pg_tool(server, name, *arguments, text=None):
    """Run a client program of PostgreSQL against the cluster; its output."""
    program = pgserver.private(pgserver.pg_config("bindir")) / name
    environment = {**os.environ, **server.environment()}
    return subprocess.run(
        [str(program), *arguments], env=environment, input=text, stdout=subprocess.PIPE, check=True
    ).stdout


def ids_of(records, order_id):
    return [record.header("id") for record in records if record.key == str(order_id)]


@pytest.mark.soak
@pytest.mark.timeout(sized(300, 900))
def test_a_poison_event_is_given_up_and_becomes_a_dead_letter_and_requeue_sends_all(
    make_server, kafka, small_topic, topic, read_topic
):
    interval, age = sized(1, 60), sized(4, 300)
    settings = {"order_service.retry_interval": f"{interval}s", "order_service.dlq_after": "1h"}
    server = make_server(topic, **settings)
    with server.connect() as connection:
        poison = place_poison(connection)
        cancel(connection, poison)
        others = [place(connection, f"other-{number}") for number in range(100)]
        wait_for_event(connection, poison, ("FAILED", 3), 2 * interval + 30)
        failed_after = connection.execute("SELECT failed_at - created_at FROM order_service.dlq").fetchone()[0]
        assert failed_after.total_seconds() >= 2 * interval
        late = place(connection, "late")
        query = "SELECT count(*) FROM order_service.outbox WHERE status <> 1 AND order_id <> %s"
        wait_until(lambda: connection.execute(query, [poison]).fetchone()[0] == 0, 30, "the other orders")
        row = "SELECT order_id, order_version, event_type, status, attempts, waiting FROM order_service.dlq"
        assert connection.execute(row).fetchone() == (poison, 1, "ORDER_ACCEPTED", "FAILED", 3, 1)
        assert kafka.offsets(topic) == dict.fromkeys(range(3), (0, 0))
        server.configure(order_service__dlq_after=f"{age}s")
        wait_for_event(connection, poison, ("DLQ", 3), age + 30)
        dead_after = connection.execute("SELECT age FROM order_service.dlq").fetchone()[0]
        assert dead_after.total_seconds() >= age
        (letter,) = read_topic(topic)
        assert letter.key == str(poison) and letter.header("id") == f"{poison}.1"
        assert letter.header("dlq_original_topic") == small_topic
        assert letter.header("dlq_original_key") == str(poison)
        assert "too large" in letter.header("dlq_error").lower()
        assert letter.header("dlq_attempts") == "3"
        assert letter.header("dlq_failed_at").endswith("Z")
        assert ledger.decode(letter.value).symbol == LONG
        figures = stats(connection)
        assert (figures["failed"], figures["dlq"], figures["parked"]) == (1, 1, 1)
        # Nothing waits for it: the low-water mark has passed the events, and no gap is kept.
        last = connection.execute("SELECT max(event_id) FROM order_service.outbox").fetchone()[0]
        wait_until(lambda: stats(connection)["low_water"] == last + 1, 30, "low-water mark at the end")
        assert event(connection, poison, 2) == ("READY", 0)
        records = read_topic(small_topic)
        assert ids_of(records, poison) == []
        assert {record.key for record in records} == {str(order_id) for order_id in [*others, late]}

        raise_limit(kafka, small_topic)
        assert connection.execute("SELECT order_service.requeue(p_event_id => 1)").fetchone() == (1,)
        wait_all_sent(connection)
        assert ids_of(read_topic(small_topic), poison) == [f"{poison}.1", f"{poison}.2"]
        assert connection.execute("SELECT count(*) FROM order_service.parked_order").fetchone() == (0,)
    print(f"\nFAILED after {failed_after}, in the dead letter topic after {dead_after}")


def test_retention_leaves_a_parked_order_alone_until_it_was_sent(make_server, kafka, small_topic, topic, read_topic):
    server = make_server(topic, **{"order_service.outbox_retention": "0"})
    with server.connect() as connection:
        poison = place_poison(connection)
        cancel(connection, poison)
        others = [place(connection, f"other-{number}") for number in range(100)]
        rows = "SELECT order_id, order_version, status FROM order_service.outbox_detail ORDER BY event_id"
        parked = [(poison, 1, "DLQ"), (poison, 2, "READY")]
        wait_until(lambda: connection.execute(rows).fetchall() == parked, 30, "nothing left but the parked order")
        assert stats(connection)["removed"] == len(others)
        raise_limit(kafka, small_topic)
        connection.execute("SELECT order_service.requeue(p_event_id => 1)")
        wait_until(lambda: connection.execute(rows).fetchall() == [], 30, "an empty outbox")
        records = read_topic(small_topic)
        assert ids_of(records, poison) == [f"{poison}.1", f"{poison}.2"]
        assert len(records) == len(others) + 2


def test_a_limit_smaller_than_a_batch_slows_events_down_and_counts_nothing(make_server, kafka, topic, read_topic):
    # Room for two or three events: nearly every batch of a load is refused, and no event of it is to blame.
    narrow = kafka.create_topic(f"narrow.{uuid.uuid4().hex[:8]}", 3, {"max.message.bytes": "700"})
    server = make_server(topic, events=narrow)
    with server.connect() as connection:
        with Load(server, count=8, quota=100) as load:
            load.join()
        wait_all_sent(connection, 120)
        figures = stats(connection)
        tried = connection.execute("SELECT max(retry_count) FROM order_service.outbox").fetchone()
        records = read_topic(narrow)
        found = ledger.differences(connection, records) + broken_promises(connection, load.acknowledged())
    print(f"\n{len(records)} records, {figures['refused']} refusals in company")
    assert not found, ledger.show(found)
    assert figures["refused"] > 0
    assert (figures["failed"], figures["parked"], *tried) == (0, 0, 0)


def test_an_outage_between_two_attempts_counts_nothing_and_a_crash_in_it_keeps_the_count(
    make_server, kafka, small_topic, topic
):
    server = make_server(topic, **{"order_service.dlq_after": "1h", "order_service.retry_interval": "5s"})
    with server.connect() as connection:
        poison = place_poison(connection)
        wait_for_event(connection, poison, ("READY", 1))
        kafka.stop()
        wait_until(lambda: stats(connection)["state"] == "BACKING_OFF", 60, "outage noticed")
        assert event(connection, poison) == ("READY", 1)
        innocent = place(connection, "innocent")
        assert event(connection, innocent) == ("READY", 0)
    server.kill9()
    server.start()
    kafka.start()
    with server.connect() as connection:
        wait_for_event(connection, innocent, ("SENT", 0), 60)
        wait_for_event(connection, poison, ("FAILED", 3), 60)


def test_a_crash_at_each_step_leaves_a_parked_order_parked_or_sends_it_in_order(
    make_server, kafka, small_topic, topic, read_topic
):
    server = make_server(topic, **{"order_service.dlq_after": "1h"})
    with server.connect() as connection:
        poison = place_poison(connection)
        wait_for_event(connection, poison, ("FAILED", 3))
        cancel(connection, poison)
        before = place(connection, "before")
        wait_for_event(connection, before, ("SENT", 0))

    # Parked: it stays so, with what waits, and a start does not look for it again.
    crash(server)
    with server.connect() as connection:
        after = place(connection, "after")
        wait_for_event(connection, after, ("SENT", 0))
        wait_until(lambda: stats(connection)["parked"] == 1, 10, "the parked order known again")
        assert event(connection, poison) == ("FAILED", 3) and event(connection, poison, 2) == ("READY", 0)
        last = connection.execute("SELECT max(event_id) FROM order_service.outbox").fetchone()[0]
        wait_until(lambda: stats(connection)["low_water"] == last + 1, 30, "low-water mark at the end")
        assert ids_of(read_topic(small_topic), poison) == []

        # Requeued, and nobody has taken it up.
        server.configure(order_service__publishing="off")
        wait_until(lambda: stats(connection)["state"] == "PAUSED", 30, "publisher paused")
        raise_limit(kafka, small_topic)
        assert connection.execute("SELECT order_service.requeue(p_event_id => 1)").fetchone() == (1,)
        assert connection.execute("SELECT is_requeued FROM order_service.parked_order").fetchall() == [(True,)]
    crash(server)
    kafka.freeze()
    server.configure(order_service__publishing="on")
    with server.connect() as connection:
        # Taken up, and in the producer's hands: no row stands for it any more, but the low-water mark is back.
        query = "SELECT count(*), (SELECT value FROM order_service.watermark WHERE name = 'outbox')"
        query += " FROM order_service.parked_order"
        wait_until(lambda: connection.execute(query).fetchone() == (0, 1), 30, "the order taken up")
        assert event(connection, poison) == ("READY", 0)
    crash(server)
    kafka.thaw()
    with server.connect() as connection:
        wait_all_sent(connection)
        records = read_topic(small_topic)
        ids = list(dict.fromkeys(ids_of(records, poison)))
        assert ids == [f"{poison}.1", f"{poison}.2"]
        assert {record.key for record in records} == {str(order_id) for order_id in (poison, before, after)}


@pytest.mark.soak
@pytest.mark.timeout(sized(300, 1800))
def test_crashes_and_requeues_at_random_times_among_poison_lose_nothing_and_keep_the_order(
    make_server, kafka, small_topic, topic, read_topic
):
    """Some events of the load are too large, and nearly every batch is; in the end the limit is raised."""
    dice = random.Random(SEED)
    # The first refusal parks an order, or there would be few between two crashes.
    server = make_server(topic, **{"order_service.dlq_after": "1h", "order_service.max_attempts": "1"})
    with Load(server, count=4, rate=200) as load:
        for number in range(CRASHES):
            with server.connect() as connection:
                for _ in range(dice.randint(1, 5)):
                    cancel(connection, place_poison(connection))
                load.wait_for_more(dice.randint(1, ORDERS_BETWEEN_MAX), 60)
                requeued = connection.execute("SELECT order_service.requeue_matching()").fetchone()[0]
                load.wait_for_more(dice.randint(1, 20), 60)
                parked = connection.execute("SELECT count(*) FROM order_service.parked_order").fetchone()[0]
            crash(server)
            print(f"\ncrash {number + 1}: {load.order_count} orders, {requeued} requeued, {parked} parked", end="")
    raise_limit(kafka, small_topic)
    with server.connect() as connection:

        def all_sent():
            connection.execute("SELECT order_service.requeue_matching()")
            return ready_count(connection) == 0

        wait_until(all_sent, 120, "all events sent")
        wait_until(lambda: stats(connection)["parked"] == 0, 30, "no order parked")
        records = read_topic(small_topic)
        found = ledger.differences(connection, records) + broken_promises(connection, load.acknowledged())
    first, repeated = ledger.without_duplicates(records)
    print(f"\nseed {SEED}: {len(first)} events and {repeated} duplicates")
    assert not found, ledger.show(found)


def test_a_dead_letter_acknowledged_and_not_marked_is_sent_again_after_a_crash(make_server, topic, read_topic):
    server = make_server(topic, **{"order_service.dlq_after": "2s"})
    holder = server.connect(autocommit=False)
    with server.connect() as connection:
        poison = place_poison(connection)
        wait_for_event(connection, poison, ("FAILED", 3))
        # A requeue() that does not end keeps the row from being marked, and must keep the publisher from nothing.
        assert holder.execute("SELECT order_service.requeue(1)").fetchone() == (1,)
        wait_until(lambda: len(read_topic(topic)) >= 1, 30, "dead letter in its topic")
        other = place(connection, "other")
        wait_for_event(connection, other, ("SENT", 0))
        assert event(connection, poison) == ("FAILED", 3)
    crash(server)
    holder.close()
    with server.connect() as connection:
        wait_for_event(connection, poison, ("DLQ", 3), 60)
    letters = read_topic(topic)
    assert len(letters) >= 2
    assert {letter.header("id") for letter in letters} == {f"{poison}.1"}


def test_a_restored_database_has_the_same_orders_parked(make_server, kafka, small_topic, topic, read_topic):
    server = make_server(topic, **{"order_service.dlq_after": "1h"})
    with server.connect() as connection:
        poison = place_poison(connection)
        cancel(connection, poison)
        wait_for_event(connection, poison, ("FAILED", 3))
    dump = pg_tool(server, "pg_dump", "--format=custom")
    server.execute("DROP DATABASE orders WITH (FORCE)", dbname="postgres")
    server.execute("CREATE DATABASE orders", dbname="postgres")
    pg_tool(server, "pg_restore", "--exit-on-error", "--dbname=orders", text=dump)
    with server.connect() as connection:
        place(connection, "after")
        query = "SELECT status, waiting FROM order_service.dlq"
        wait_until(lambda: connection.execute(query).fetchall() == [("FAILED", 1)], 60, "the order parked again")
        assert event(connection, poison, 2) == ("READY", 0)
        raise_limit(kafka, small_topic)
        assert connection.execute("SELECT order_service.requeue_matching()").fetchone() == (1,)
        wait_all_sent(connection)
        assert ids_of(read_topic(small_topic), poison) == [f"{poison}.1", f"{poison}.2"]


def test_a_missing_dead_letter_topic_leaves_the_event_failed_and_the_log_says_so(
    make_server, kafka, small_topic, read_topic
):
    missing = f"missing.{uuid.uuid4().hex[:8]}"
    server = make_server(small_topic)
    with server.connect() as connection:
        poison = place_poison(connection)
        wait_for_event(connection, poison, ("FAILED", 3))
        # The topic of the events is none for dead letters.
        server.wait_for_log(f'"{small_topic}" is the topic of the events as well as of dead letters')
        assert stats(connection)["dlq_refused"] == 0 and read_topic(small_topic) == []
        server.configure(order_service__dlq_topic=missing)
        server.wait_for_log(f'dead letter topic "{missing}" refused 1 event', 60)
        server.wait_for_log("What was refused stays FAILED")
        assert event(connection, poison) == ("FAILED", 3)
        figures = stats(connection)
        assert figures["dlq_refused"] > 0 and figures["dlq"] == 0
        other = place(connection, "other")
        wait_for_event(connection, other, ("SENT", 0))
        kafka.create_topic(missing, 1)
        wait_for_event(connection, poison, ("DLQ", 3), 90)
        assert [record.key for record in read_topic(missing)] == [str(poison)]


def test_a_dead_letter_topic_that_is_too_small_leaves_the_event_failed_and_takes_the_others(
    make_server, kafka, batch_bytes_max, read_topic
):
    # The headers of a dead letter make it larger by some 150 bytes, and by a symbol of 32 characters.
    limit = str(batch_bytes_max + 150)
    small = kafka.create_topic(f"small-dlq.{uuid.uuid4().hex[:8]}", 1, {"max.message.bytes": limit})
    server = make_server(small)
    with server.connect() as connection:
        poison = place_poison(connection)
        server.wait_for_log(f'dead letter topic "{small}" refused 1 event', 60)
        assert event(connection, poison) == ("FAILED", 3)
        assert stats(connection)["dlq"] == 0
        other = place(connection, "other")
        wait_for_event(connection, other, ("SENT", 0))
        assert connection.execute("SELECT failed, dlq, ready FROM order_service.outbox_lag").fetchone() == (1, 0, 0)
        raise_limit(kafka, small)
        wait_for_event(connection, poison, ("DLQ", 3))
        assert [record.key for record in read_topic(small)] == [str(poison)]
