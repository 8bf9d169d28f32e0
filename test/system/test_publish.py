"""From an order in SQL to its record in Kafka: form, order, partition, and a publisher that finds its way."""

import time
import uuid
from collections import namedtuple
from urllib.parse import quote

import ledger
import psycopg
import pytest
from load import PRICE, add_instruments, cancel, place, ready_count, stats, wait_all_sent
from stack import free_port, wait_until

System = namedtuple("System", "server topic")

# What Kafka's own test of murmur2 expects (UtilsTest.testMurmur2), as signed 32-bit numbers.
MURMUR2_VECTORS = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}
# A name that has to be quoted in order_service.databases.
ODD = "Odd, Name"
# An idle publisher wakes up to save its low-water mark, and for what little librdkafka has to tell.
IDLE_WAKE_UPS_MAX = 20


@pytest.fixture(scope="module")
def system(make_shared_postgres, kafka):
    """Four publishers; the extension is not in `late` yet, and no publisher looks at `unnamed`."""
    topic = kafka.create_topic(f"publish.{uuid.uuid4().hex[:8]}", ledger.PARTITIONS)
    settings = {"order_service.databases": f'orders, second, late, "{ODD}"'}
    server = make_shared_postgres(settings=settings, kafka=kafka, topic=topic)
    server.create_database("late", extension=False)
    for database in ("second", "unnamed", ODD):
        server.create_database(database)
    for database in ("orders", "second", "unnamed", ODD):
        with server.connect(database) as connection:
            add_instruments(connection)
    return System(server, topic)


@pytest.fixture
def connection(system):
    """To `orders`, whose publisher has nothing left to do."""
    with system.server.connect() as connection:
        wait_for_state(connection, "STREAMING")
        wait_all_sent(connection)
        yield connection


@pytest.fixture
def configure(system):
    """The server's configure(); what a test changes is changed back after it, also when it fails."""
    settings = dict(system.server.settings)
    yield system.server.configure
    system.server.settings = settings
    system.server.configure()


@pytest.fixture
def records_of(system, read_topic):
    """records_of(order_ids, database="orders"): what the topic has of these orders, in partition order."""

    def select(order_ids, database="orders"):
        keys = {str(order_id) for order_id in order_ids}
        source = quote(database, safe="")
        found = read_topic(system.topic)
        return [record for record in found if record.key in keys and record.header("ce_source") == source]

    return select


def wait_for_state(connection, state, database="orders"):
    wait_until(lambda: stats(connection, database)["state"] == state, 60, f"publisher of {database} {state}")


def new_key():
    return uuid.uuid4().hex


def test_an_order_becomes_one_record_that_says_what_the_order_says(connection, records_of):
    order_id = connection.execute(
        "SELECT order_id FROM order_service.place_order(77, %s, 'BBB', 'SELL', 'LIMIT', 123, 10010000, 'GTC')",
        [new_key()],
    ).fetchone()[0]
    created_at = connection.execute(
        "SELECT floor(extract(epoch FROM created_at) * 1000)::bigint FROM order_service.orders WHERE order_id = %s",
        [order_id],
    ).fetchone()[0]
    wait_all_sent(connection)
    (record,) = records_of([order_id])
    assert record.key == str(order_id)
    assert [(name, value.decode()) for name, value in record.headers] == [
        ("id", f"{order_id}.1"),
        ("type", "ORDER_ACCEPTED"),
        ("ce_specversion", "1.0"),
        ("ce_id", f"{order_id}.1"),
        ("ce_source", "orders"),
        ("ce_type", "ORDER_ACCEPTED"),
        ("content-type", "application/protobuf"),
    ]
    expected = ledger.messages().OrderEvent(
        order_id=order_id,
        account_id=77,
        symbol="BBB",
        side="SELL",
        order_type="LIMIT",
        quantity=123,
        price_micro_units=10010000,
        time_in_force="GTC",
        status="ACCEPTED",
        created_at_millis=created_at,
        event_type="ORDER_ACCEPTED",
        order_version=1,
    )
    assert ledger.decode(record.value) == expected
    print(f"\n{record.headers}\n{expected}")


def test_all_events_of_an_order_come_in_version_order_in_one_partition(connection, records_of):
    apply = "SELECT order_service.apply_execution(%s, %s, %s, %s, %s)"
    order_id = place(connection, new_key(), quantity=10)
    connection.execute(apply, [new_key(), order_id, "NEW", 0, 0])
    connection.execute(apply, [new_key(), order_id, "TRADE", 4, PRICE])
    cancel(connection, order_id)
    connection.execute(apply, [new_key(), order_id, "CANCEL_REJECTED", 0, 0])
    connection.execute(apply, [new_key(), order_id, "TRADE", 6, PRICE])
    wait_all_sent(connection)
    records = records_of([order_id])
    assert [record.header("type") for record in records] == [
        "ORDER_ACCEPTED",
        "ORDER_SENT",
        "ORDER_PARTIALLY_FILLED",
        "ORDER_CANCEL_REQUESTED",
        "ORDER_CANCEL_REJECTED",
        "ORDER_FILLED",
    ]
    assert [record.header("id") for record in records] == [f"{order_id}.{version}" for version in range(1, 7)]
    assert len({record.partition for record in records}) == 1
    assert [ledger.decode(record.value).filled_quantity for record in records] == [0, 0, 4, 4, 4, 10]


def test_events_of_one_transaction_and_of_a_quick_sequence_keep_their_order(connection, read_topic, system):
    """200 orders, each placed, sent to the exchange, canceled and confirmed as fast as it goes."""
    script = """
        DO $$
        DECLARE id bigint;
        BEGIN
            FOR i IN 1..200 LOOP
                id := (SELECT order_id
                       FROM order_service.place_order(5, 'quick-' || i, 'AAA', 'BUY', 'LIMIT', 1, 10000000));
                IF i % 2 = 0 THEN COMMIT; END IF;
                PERFORM order_service.apply_execution('quick-new-' || i, id, 'NEW');
                IF i % 3 = 0 THEN COMMIT; END IF;
                PERFORM order_service.cancel_order(5, 'quick-cancel-' || i, id);
                COMMIT;
                PERFORM order_service.apply_execution('quick-canceled-' || i, id, 'CANCELED');
                IF i % 5 = 0 THEN COMMIT; END IF;
            END LOOP;
        END
        $$"""
    connection.execute(script)
    wait_all_sent(connection)
    records = [record for record in read_topic(system.topic) if record.header("ce_source") == "orders"]
    found = ledger.differences(connection, records)
    assert not found, ledger.show(found)
    assert ledger.without_duplicates(records)[1] == 0


def test_records_are_partitioned_as_the_java_client_does(connection, records_of):
    assert {key: ledger.murmur2(key.encode()) for key in MURMUR2_VECTORS} == {
        key: value & 0xFFFFFFFF for key, value in MURMUR2_VECTORS.items()
    }
    order_ids = [place(connection, new_key()) for _ in range(100)]
    wait_all_sent(connection)
    found = {record.key: record.partition for record in records_of(order_ids)}
    assert found == {str(order_id): ledger.partition_of(str(order_id)) for order_id in order_ids}
    assert set(found.values()) == set(range(ledger.PARTITIONS))


def test_an_event_takes_the_fast_path_and_no_table_is_read(connection, records_of):
    before = stats(connection)
    order_ids = []
    for _ in range(50):
        order_ids.append(place(connection, new_key()))
        wait_all_sent(connection)
    after = stats(connection)
    change = {name: after[name] - before[name] for name in ("from_ring", "from_table", "catch_ups", "ring_overflows")}
    assert change == {"from_ring": 50, "from_table": 0, "catch_ups": 0, "ring_overflows": 0}
    assert len(records_of(order_ids)) == 50
    slowest = connection.execute(
        "SELECT max(sent_at - created_at) FROM order_service.outbox WHERE order_id = ANY (%s)", [order_ids]
    ).fetchone()[0]
    print(f"\nplaced to marked as sent: {slowest.total_seconds() * 1000:.0f} ms at most; {change}")


def wake_ups_in_a_second(pid):
    """How often the publisher's own thread (not librdkafka's) went to sleep."""

    def count():
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return int(next(line.split()[1] for line in file if line.startswith("voluntary_ctxt_switches")))

    begin, end = count(), time.monotonic() + 1
    wait_until(lambda: time.monotonic() >= end, 10, "a second")
    return count() - begin


def test_a_publisher_without_work_sleeps(connection, configure):
    pid = stats(connection)["pid"]
    idle = wake_ups_in_a_second(pid)
    with connection.transaction(force_rollback=True):
        place(connection, new_key())
    place(connection, new_key())
    wait_all_sent(connection)
    configure(order_service__publishing="off")
    wait_for_state(connection, "PAUSED")
    place(connection, new_key())
    paused = wake_ups_in_a_second(pid)
    print(f"\nwake-ups per second: {idle} idle, {paused} paused")
    assert max(idle, paused) <= IDLE_WAKE_UPS_MAX


def test_what_was_handed_over_does_not_linger(connection, configure):
    """The producer would wait a quarter of an hour for more, and is told that there is none."""
    before = stats(connection)
    configure(order_service__kafka_options="linger.ms=900000")

    def is_sent():
        # Each event sends all that were handed over before it: one whose moment was missed is no matter.
        place(connection, new_key())
        now = stats(connection)
        return now["pid"] not in (None, before["pid"]) and now["sent"] > before["sent"]

    wait_until(is_sent, 60, "event sent by a new publisher")


def test_publishing_off_pauses_and_on_resumes(system, connection, configure, records_of):
    configure(order_service__publishing="off")
    wait_for_state(connection, "PAUSED")
    with system.server.connect("second") as other:
        wait_for_state(other, "PAUSED", "second")
    order_ids = [place(connection, new_key()) for _ in range(20)]
    assert connection.execute("SELECT ready FROM order_service.outbox_lag").fetchone()[0] == 20
    assert records_of(order_ids) == []
    before = stats(connection)
    assert before["ring_used"] > 0
    configure(order_service__publishing="on")
    wait_all_sent(connection)
    assert len(records_of(order_ids)) == 20
    assert stats(connection)["from_ring"] - before["from_ring"] == 20
    assert connection.execute("SELECT ready FROM order_service.outbox_lag").fetchone()[0] == 0


def test_rows_become_sent_with_the_time_of_it(connection):
    order_ids = [place(connection, new_key()) for _ in range(10)]
    wait_all_sent(connection)
    rows = connection.execute(
        "SELECT d.status, d.retry_count, d.last_error, d.sent_at >= d.created_at, d.sent_at <= clock_timestamp()"
        " FROM order_service.outbox_detail d WHERE d.order_id = ANY (%s)",
        [order_ids],
    ).fetchall()
    assert rows == [("SENT", 0, None, True, True)] * 10


@pytest.mark.parametrize("has_trigger", [False, True])
def test_an_event_that_somebody_changes_is_marked_when_that_is_done(system, connection, configure, has_trigger):
    """Marking waits for the row like a statement, and the publisher goes on as it was."""
    configure(order_service__publishing="off")
    wait_for_state(connection, "PAUSED")
    order_ids = [place(connection, new_key()) for _ in range(3)]
    pid = stats(connection)["pid"]
    if has_trigger:
        connection.execute(
            "CREATE TRIGGER nothing BEFORE UPDATE ON order_service.outbox FOR EACH ROW"
            " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
        )
    try:
        with system.server.connect() as other, other.transaction():
            change = "UPDATE order_service.outbox SET last_error = 'changed' WHERE order_id = %s"
            other.execute(change, [order_ids[1]])
            configure(order_service__publishing="on")
            waiting = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
            wait_until(lambda: connection.execute(waiting, [pid]).fetchone()[0], 60, "publisher that waits for the row")
        wait_all_sent(connection)
    finally:
        connection.execute("DROP TRIGGER IF EXISTS nothing ON order_service.outbox")
    rows = connection.execute(
        "SELECT status, last_error FROM order_service.outbox WHERE order_id = ANY (%s) ORDER BY order_id", [order_ids]
    ).fetchall()
    assert rows == [(1, None), (1, "changed"), (1, None)]
    assert stats(connection)["pid"] == pid


def test_each_named_database_has_a_publisher_and_no_other_database_publishes(system, connection, records_of):
    server = system.server
    with server.connect("second") as second, server.connect("unnamed") as unnamed, server.connect(ODD) as odd:
        wait_for_state(second, "STREAMING", "second")
        wait_for_state(odd, "STREAMING", ODD)
        in_odd = [place(odd, new_key(), account=4) for _ in range(5)]
        in_unnamed = [place(unnamed, new_key(), account=3) for _ in range(5)]
        in_second = [place(second, new_key(), account=2) for _ in range(5)]
        in_first = [place(connection, new_key(), account=1) for _ in range(5)]
        wait_all_sent(connection)
        wait_all_sent(second)
        wait_all_sent(odd)
        assert len(records_of(in_first)) == len(records_of(in_odd, ODD)) == 5
        assert [ledger.decode(r.value).account_id for r in records_of(in_second, "second")] == [2] * 5
        assert records_of(in_unnamed, "unnamed") == []
        assert ready_count(unnamed) == 5
    rows = connection.execute("SELECT database, pid FROM order_service.stats").fetchall()
    assert [row[0] for row in rows] == ["orders", "second", "late", ODD]
    assert sorted(pid for _, pid in rows) == sorted(server.backend_pids("order_service publisher"))


def test_an_extension_created_and_created_again_under_a_running_publisher_is_found(system, connection, records_of):
    """`late` has a publisher from the start, which has to wait for the extension, and then for the next one."""
    wait_for_state(connection, "ABSENT", "late")
    with system.server.connect("late", options="-c statement_timeout=30s") as late:
        late.execute("CREATE EXTENSION order_service")
        add_instruments(late)
        order_ids = [place(late, new_key(), account=1) for _ in range(5)]
        wait_all_sent(late)
        assert len(records_of(order_ids, "late")) == 5
        late.execute("DROP EXTENSION order_service")
        late.execute("CREATE EXTENSION order_service")
        add_instruments(late)
        order_ids = [place(late, new_key(), account=2) for _ in range(5)]
        wait_all_sent(late)
        records = records_of(order_ids, "late")
        # The ids begin anew, so the topic has records of the first extension under the same keys.
        assert [ledger.decode(record.value).account_id for record in records].count(2) == 5


def test_hints_of_a_dropped_extension_do_not_hold_up_the_next_one(system, connection, configure, records_of):
    """The ring still holds events that no longer exist: they must go, all of them, at once."""
    server = system.server
    server.execute("DROP EXTENSION IF EXISTS order_service", dbname="late")
    server.execute("CREATE EXTENSION order_service", dbname="late")
    with server.connect("late") as late:
        add_instruments(late)
        place(late, new_key(), account=3)
        wait_all_sent(late)
        configure(order_service__publishing="off")
        wait_for_state(connection, "PAUSED", "late")
        for _ in range(60):
            place(late, new_key(), account=3)
        late.execute("DROP EXTENSION order_service")
        late.execute("CREATE EXTENSION order_service")
        add_instruments(late)
        before = stats(late, "late")["pid"]
        late.execute("SELECT pg_terminate_backend(%s)", [before])
        wait_until(lambda: stats(late, "late")["pid"] not in (None, before), 30, "a new publisher")
        order_ids = [place(late, new_key(), account=4) for _ in range(5)]
        configure(order_service__publishing=None)
        wait_all_sent(late, 30)
        assert stats(late, "late")["ring_used"] == 0
        records = records_of(order_ids, "late")
        assert [ledger.decode(record.value).account_id for record in records].count(4) == 5
    wait_for_state(connection, "STREAMING")


def test_a_named_database_can_be_dropped_by_force_and_made_again(system, connection, records_of):
    server = system.server
    with server.connect("postgres", options="-c statement_timeout=30s") as other:
        begin = time.monotonic()
        other.execute("DROP DATABASE late WITH (FORCE)")
        print(f"\ndropped in {time.monotonic() - begin:.2f} s")
    server.create_database("late")
    with server.connect("late") as late:
        add_instruments(late)
        order_ids = [place(late, new_key(), account=5) for _ in range(5)]
        wait_all_sent(late)
    records = records_of(order_ids, "late")
    assert [ledger.decode(record.value).account_id for record in records].count(5) == 5
    assert stats(connection)["state"] == "STREAMING"


def test_a_terminated_publisher_comes_back_and_says_what_it_does(system, connection, records_of):
    before = stats(connection)["pid"]
    activity = "SELECT backend_type, datname, state, query FROM pg_stat_activity WHERE pid = %s"
    assert connection.execute(activity, [before]).fetchone() == (
        "order_service publisher",
        "orders",
        "idle",
        "streaming",
    )
    first = [place(connection, new_key()) for _ in range(100)]
    connection.execute("SELECT pg_terminate_backend(%s)", [before])
    wait_until(lambda: stats(connection)["pid"] not in (None, before), 30, "a new publisher")
    second = [place(connection, new_key()) for _ in range(5)]
    wait_all_sent(connection)
    names = {record.header("id") for record in records_of(first + second)}
    assert names == {f"{order_id}.1" for order_id in first + second}
    wait_for_state(connection, "STREAMING")
    assert connection.execute(activity, [stats(connection)["pid"]]).fetchone()[3] == "streaming"


def test_a_reloaded_topic_takes_effect(connection, configure, kafka, topic, records_of, read_topic):
    configure(order_service__topic=topic)
    order_ids = []

    def is_there():
        order_ids.append(place(connection, new_key()))
        wait_all_sent(connection)
        return kafka.offsets(topic) != dict.fromkeys(range(3), (0, 0))

    # The publisher reads the file when it gets to it; what is published until then goes to the old topic.
    wait_until(is_there, 30, "records in the new topic")
    order_ids += [place(connection, new_key()) for _ in range(10)]
    wait_all_sent(connection)
    new = {record.key for record in read_topic(topic)}
    old = {record.key for record in records_of(order_ids)}
    assert new | old == {str(order_id) for order_id in order_ids}
    assert new >= {str(order_id) for order_id in order_ids[-11:]}
    assert not new & old


def test_reloaded_brokers_take_effect_and_nothing_is_lost_meanwhile(connection, configure, kafka, records_of):
    before = stats(connection)
    configure(order_service__kafka_brokers=f"127.0.0.1:{free_port()}")
    wait_for_state(connection, "BACKING_OFF")
    order_ids = [place(connection, new_key()) for _ in range(20)]
    after = stats(connection)
    assert after["outages"] == before["outages"] + 1
    assert after["pid"] != before["pid"]
    assert after["last_error"]
    assert ready_count(connection) == 20
    configure(order_service__kafka_brokers=kafka.bootstrap)
    wait_all_sent(connection)
    names = [record.header("id") for record in records_of(order_ids)]
    assert sorted(names) == sorted(f"{order_id}.1" for order_id in order_ids)
    failed = "SELECT count(*) FROM order_service.outbox WHERE retry_count > 0"
    assert connection.execute(failed).fetchone()[0] == 0
    print(f"\nlast error: {after['last_error']}")


def test_a_low_ranking_user_sees_no_kafka_password(system):
    system.server.execute("DROP ROLE IF EXISTS curious")
    system.server.execute("CREATE ROLE curious LOGIN")
    with system.server.connect(user="curious") as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SHOW order_service.kafka_options")
        assert connection.execute("SHOW order_service.topic").fetchone()[0]
