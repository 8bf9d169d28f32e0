"""The outbox forgets what Kafka has had for long enough, nothing else, and gives its room back.

The last test is Shows 9 of the issue: 2,000,000 events in its long form (SOAK=1).
"""

import threading
import time
import uuid
from collections import namedtuple

import ledger
import pytest
from load import Load, add_instruments, broken_promises, cancel, place, stats, wait_all_sent
from soak import sized
from stack import wait_until

System = namedtuple("System", "server topic")

READY, SENT, FAILED, DLQ = 0, 1, 2, 3
# More than one step looks at.
MANY = 2000
CRASHES = 3

EVENTS = sized(100_000, 2_000_000)
BATCH = 500
RETENTION_SECONDS = 2
# At this pace go the orders whose events are there in the end, when sizes are compared with what they need.
PAUSE_SECONDS = 0.5
# Rows that autovacuum, which looks once a second, has not got to are two or three times those within the retention.
NEED_FACTOR_MAX = 4
PAGE_BYTES = 8192
SIZES = """\
SELECT pg_relation_size('order_service.outbox'), pg_relation_size('order_service.outbox_pkey'),
       (SELECT leaf_pages + internal_pages FROM pgstatindex('order_service.outbox_pkey')),
       (SELECT count(*) FROM order_service.outbox), s.n_dead_tup, s.autovacuum_count
FROM pg_stat_all_tables s WHERE s.relid = 'order_service.outbox'::regclass"""
Sizes = namedtuple("Sizes", "table index index_pages rows dead vacuums")


@pytest.fixture(scope="module")
def system(make_shared_postgres, kafka):
    """A database that keeps events until a test says otherwise."""
    topic = kafka.create_topic(f"retention.{uuid.uuid4().hex[:8]}", ledger.PARTITIONS)
    settings = {"order_service.outbox_retention": "-1", "autovacuum_naptime": "1s"}
    server = make_shared_postgres(settings=settings, kafka=kafka, topic=topic)
    with server.connect() as connection:
        add_instruments(connection)
    return System(server, topic)


@pytest.fixture
def connection(system):
    """To a database whose publisher has nothing left to do, and whose outbox is empty."""
    with system.server.connect() as connection:
        wait_until(lambda: stats(connection)["state"] == "STREAMING", 60, "publisher at work")
        wait_all_sent(connection)
        connection.execute("DELETE FROM order_service.outbox")
        yield connection
        connection.execute("UPDATE order_service.outbox SET status = 1, next_attempt_at = NULL WHERE status <> 1")


@pytest.fixture
def retain(system):
    """retain(value): set order_service.outbox_retention; afterwards everything is kept again."""
    yield lambda value: system.server.configure(order_service__outbox_retention=value)
    system.server.configure(order_service__outbox_retention="-1")


def place_many(connection, count=MANY):
    connection.execute(
        "SELECT count(*) FROM generate_series(1, %s) i,"
        " order_service.place_order(1, %s || i, 'AAA', 'BUY', 'LIMIT', 1, 10000000)",
        [count, f"{uuid.uuid4().hex}-"],
    )


def place_one(connection, account=1):
    return place(connection, uuid.uuid4().hex, account=account)


def events(connection):
    """{order id: status} of all events, the newest of each order."""
    return dict(connection.execute("SELECT order_id, status FROM order_service.outbox ORDER BY event_id"))


def last_event_id(connection):
    return connection.execute("SELECT last_value FROM order_service.event_id_seq").fetchone()[0]


def set_status(connection, order_id, status):
    connection.execute("UPDATE order_service.outbox SET status = %s WHERE order_id = %s", [status, order_id])


def wait_events(connection, expected, seconds=30):
    wait_until(lambda: events(connection) == expected, seconds, f"outbox with nothing but {expected}")


def end_publisher(connection):
    """End the publisher; the next one is there within the time that is promised."""
    pid = stats(connection)["pid"]
    connection.execute("SELECT pg_terminate_backend(%s)", [pid])
    wait_until(lambda: stats(connection)["pid"] not in (None, pid), 5, "a new publisher")


def test_sent_events_go_when_they_are_old_and_orders_and_keys_stay(connection, retain):
    place_many(connection)
    wait_all_sent(connection)
    before = stats(connection)["removed"]
    counts = "SELECT (SELECT count(*) FROM order_service.orders), (SELECT count(*) FROM order_service.idempotency_key)"
    kept = connection.execute(counts).fetchone()
    connection.execute("UPDATE order_service.outbox SET created_at = now() - interval '1 hour'")
    connection.execute(
        "UPDATE order_service.outbox SET sent_at = now() - interval '59 minutes'"
        " WHERE event_id % 2 = 0"
    )
    retain("30min")
    wait_until(lambda: len(events(connection)) == MANY / 2, 30, "the older half gone")
    assert connection.execute("SELECT count(*) FROM order_service.outbox WHERE event_id % 2 = 0").fetchone()[0] == 0
    retain("0")
    wait_events(connection, {})
    assert stats(connection)["removed"] - before == MANY
    assert connection.execute(counts).fetchone() == kept


def test_nothing_goes_that_is_not_sent(connection, retain):
    """A failed event and a dead letter are the operator's; one that waits is not on the log yet."""
    order_ids = [place_one(connection) for _ in range(4)]
    wait_all_sent(connection)
    failed, dead, waiting, sent = order_ids
    set_status(connection, failed, FAILED)
    set_status(connection, dead, DLQ)
    set_status(connection, waiting, READY)
    connection.execute(
        "UPDATE order_service.outbox SET created_at = now() - interval '1 year', sent_at = now() - interval '1 year'"
    )
    place_many(connection)
    before = stats(connection)["removed"]
    retain("0")
    expected = {failed: FAILED, dead: DLQ, waiting: READY}
    wait_events(connection, expected)
    assert stats(connection)["removed"] - before == MANY + 1
    # Another visit, and a new process, come to the same result.
    end_publisher(connection)
    later = place_one(connection)
    wait_until(lambda: later not in events(connection), 30, "the next event sent and gone")
    assert {key: value for key, value in events(connection).items() if key != waiting} == {failed: FAILED, dead: DLQ}


def test_an_event_that_was_left_behind_goes_when_it_is_sent_in_the_end(connection, retain):
    failed = place_one(connection)
    wait_all_sent(connection)
    set_status(connection, failed, FAILED)
    place_many(connection)
    retain("0")
    wait_events(connection, {failed: FAILED})
    set_status(connection, failed, SENT)
    wait_events(connection, {})


def test_an_event_that_commits_late_is_published_and_goes(system, connection, retain, read_topic):
    """Its id lies below others that were removed before it could be seen."""
    before = stats(connection)["removed"]
    retain("0")
    with system.server.connect(autocommit=False) as other:
        late = place_one(other)
        place_many(connection)
        wait_until(lambda: stats(connection)["removed"] == before + MANY, 30, "the others gone")
        other.commit()
    keys = {str(late)}
    wait_until(lambda: keys <= {record.key for record in read_topic(system.topic)}, 30, "the late one published")
    wait_events(connection, {})


def test_without_a_retention_events_go_while_others_come(system, connection, retain):
    """No row is too young then: one that is not sent yet is passed, and has to be visited again."""
    retain("0")
    with Placing(system.server, 10**9, 0.01):
        begin = last_event_id(connection)
        wait_until(lambda: last_event_id(connection) > begin + 10 * MANY, 60, "many events")
        passed = last_event_id(connection)
        query = "SELECT count(*) FROM order_service.outbox WHERE event_id < %s"
        wait_until(lambda: connection.execute(query, [passed]).fetchone()[0] == 0, 30, "the ones so far gone")
    wait_events(connection, {})


def test_holes_in_the_ids_are_passed_however_wide_they_are(connection, retain):
    """By rows of later transactions that rolled back, and between timelines; also downwards, after a restore."""
    place_one(connection)
    connection.execute("SELECT setval('order_service.event_id_seq', last_value + 3000000) FROM order_service.event_id_seq")
    place_one(connection)
    wait_all_sent(connection)
    connection.execute(
        "INSERT INTO order_service.outbox (event_id, previous_event_id, order_id, account_id, created_at, sent_at,"
        " order_version, event_type, status, payload)"
        " SELECT (timeline << 44) + 7, 0, timeline, 1, now(), now(), 1, 1, 1, 'x'"
        " FROM unnest('{2,3,200000}'::bigint[]) timeline"
    )
    retain("0")
    wait_events(connection, {})
    place_many(connection)
    wait_events(connection, {})


def test_under_a_held_snapshot_the_way_back_is_taken_in_short_steps(system, connection, retain):
    """Something was left behind, below many dead rows: the publisher must not read them all at once."""
    failed = place_one(connection)
    wait_all_sent(connection)
    set_status(connection, failed, FAILED)
    with system.server.connect(autocommit=False) as other:
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT 1")
        connection.execute(
            "INSERT INTO order_service.outbox (event_id, previous_event_id, order_id, account_id, created_at,"
            " sent_at, order_version, event_type, status, payload)"
            " SELECT nextval('order_service.event_id_seq'), 0, i, 1, now(), now(), 1, 1, 1, 'x'"
            " FROM generate_series(1, 200000) i"
        )
        connection.execute("DELETE FROM order_service.outbox WHERE payload = 'x'")
        place_many(connection)
        before = stats(connection)["removed"]
        retain("0")
        wait_events(connection, {failed: FAILED})
        assert stats(connection)["removed"] == before + MANY
        # Revisited while the dead rows are there: what was left behind goes.
        set_status(connection, failed, SENT)
        wait_events(connection, {})


def test_a_locked_row_holds_up_neither_the_others_nor_publishing(system, connection, retain):
    locked = place_one(connection)
    wait_all_sent(connection)
    with system.server.connect(autocommit=False) as other:
        other.execute("SELECT FROM order_service.outbox WHERE order_id = %s FOR UPDATE", [locked])
        retain("0")
        place_many(connection)
        wait_events(connection, {locked: SENT})
    wait_events(connection, {})


def test_the_next_event_of_an_order_is_published_though_the_one_before_it_is_gone(
    system, connection, retain, read_topic
):
    """Also by a publisher that starts after the removal, and knows of the first event from nowhere."""
    retain("0")
    order_ids = [place_one(connection, account=7) for _ in range(20)]
    wait_events(connection, {})
    for order_id in order_ids[:10]:
        cancel(connection, order_id, account=7)
    end_publisher(connection)
    for order_id in order_ids[10:]:
        cancel(connection, order_id, account=7)
    wait_events(connection, {})
    found = [record.header("id") for record in read_topic(system.topic) if record.key in map(str, order_ids)]
    assert [name for name in found if name.endswith(".2")]
    assert sorted(set(found)) == sorted(f"{order_id}.{version}" for order_id in order_ids for version in (1, 2))


def test_under_a_held_snapshot_events_go_on_being_published_and_removed(system, connection, retain):
    with system.server.connect(autocommit=False) as other:
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        place_many(connection)
        wait_all_sent(connection)
        query = "SELECT count(*) FROM order_service.outbox"
        assert other.execute(query).fetchone()[0] == MANY
        before = stats(connection)
        retain("0")
        place_many(connection)
        wait_events(connection, {})
        change = {name: stats(connection)[name] - before[name] for name in ("sent", "removed")}
        assert change == {"sent": MANY, "removed": 2 * MANY}
        # What the snapshot shows does not change.
        assert other.execute(query).fetchone()[0] == MANY


def test_a_shutdown_does_not_wait_for_old_events_to_go(system, connection, retain):
    """There is always another step; the process ends between two of them."""
    connection.execute(
        "INSERT INTO order_service.outbox (event_id, previous_event_id, order_id, account_id, created_at,"
        " sent_at, order_version, event_type, status, payload)"
        " SELECT nextval('order_service.event_id_seq'), 0, i, 1, now(), now(), 1, 1, 1, 'x'"
        " FROM generate_series(1, 500000) i"
    )
    before = stats(connection)["removed"]
    retain("0")
    wait_until(lambda: stats(connection)["removed"] > before, 30, "removal under way")
    end_publisher(connection)
    assert len(events(connection)) > 0
    wait_events(connection, {}, 60)


def test_crashes_while_events_go_lose_none_of_them(make_postgres, kafka, topic, read_topic):
    """A removal must not outlive the acknowledgement that allowed it: every version of every order is in Kafka."""
    server = make_postgres(settings={"order_service.outbox_retention": "0"}, kafka=kafka, topic=topic)
    with server.connect() as connection:
        add_instruments(connection)
    with Load(server, count=4) as load:
        for _ in range(CRASHES):
            wait_until(lambda: server.execute("SELECT removed > 0 FROM order_service.stats") == [(True,)], 60, "removal")
            server.kill9()
            server.start()
    with server.connect() as connection:
        wait_events(connection, {})
        versions = "SELECT order_id, generate_series(1, order_version) FROM order_service.orders"
        committed = {f"{order_id}.{version}" for order_id, version in connection.execute(versions)}
        broken = broken_promises(connection, load.acknowledged())
    published = [record.header("id") for record in read_topic(topic)]
    print(f"\n{len(committed)} events, {len(published) - len(set(published))} of them published twice")
    assert set(published) == committed
    assert not broken, "\n".join(broken)


class Placing(threading.Thread):
    """Places orders, a batch in each transaction, until there are `count` of them, or until it is stopped."""

    def __init__(self, server, count, pause=0.0):
        super().__init__(daemon=True)
        self._server, self._count, self._pause = server, count, pause
        self._stopping = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self._stopping.set()
        self.join()

    def run(self):
        with self._server.connect() as connection:
            while self._count > 0 and not self._stopping.wait(self._pause):
                place_many(connection, BATCH)
                self._count -= BATCH


def sizes(connection):
    return Sizes(*connection.execute(SIZES).fetchone())


def watch(connection, placing, label, begin):
    """Print the sizes until the placing ends."""
    while placing.is_alive():
        placing.join(sized(1, 10))
        show(label, begin, sizes(connection))


def show(label, begin, now):
    print(
        f"{time.monotonic() - begin:6.0f} s {label:14} table {now.table / 1e6:6.1f} MB, index {now.index / 1e6:5.1f} MB"
        f" ({now.index_pages * PAGE_BYTES / 1e6:5.1f} in use), {now.rows:7} rows, {now.dead:7} dead,"
        f" {now.vacuums:3} vacuums"
    )


def needed_bytes(connection):
    """What the rows that are there take in a table of their own."""
    with connection.transaction(force_rollback=True):
        connection.execute("CREATE TEMP TABLE copy (LIKE order_service.outbox) WITH (fillfactor = 50)")
        connection.execute("INSERT INTO copy SELECT * FROM order_service.outbox")
        return connection.execute("SELECT pg_relation_size('copy')").fetchone()[0]


def is_back(connection):
    now, needed = sizes(connection), needed_bytes(connection)
    return now.table <= needed * NEED_FACTOR_MAX and now.index_pages * PAGE_BYTES <= needed


@pytest.mark.soak
@pytest.mark.timeout(sized(300, 3600))
def test_what_a_held_snapshot_made_grow_comes_back_to_what_the_retention_needs(make_postgres, kafka, topic):
    """Without VACUUM FULL, while orders go on being placed. The index keeps its file, and uses the pages again."""
    settings = {"order_service.outbox_retention": f"{RETENTION_SECONDS}s", "autovacuum_naptime": "1s"}
    server = make_postgres(settings=settings, kafka=kafka, topic=topic)
    begin = time.monotonic()
    print()
    with server.connect() as connection, server.connect(autocommit=False) as other:
        add_instruments(connection)
        connection.execute("CREATE EXTENSION pgstattuple")
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT 1")
        with Placing(server, EVENTS // 2) as placing:
            watch(connection, placing, "snapshot held", begin)
        wait_until(lambda: not events(connection), 60, "first half published and removed")
        show("snapshot held", begin, sizes(connection))
        other.commit()
        with Placing(server, EVENTS // 2) as placing:
            watch(connection, placing, "released", begin)
        with Placing(server, EVENTS, PAUSE_SECONDS):
            wait_until(lambda: stats(connection)["removed"] >= EVENTS, 120, "both halves removed")
            wait_until(lambda: is_back(connection), 60, "table as large as the retention needs")
            show(f"{needed_bytes(connection) / 1e6:.1f} MB needed", begin, sizes(connection))
        wait_until(lambda: sizes(connection).table == 0, 60, "an empty table, given back to the system")
        show("idle", begin, sizes(connection))
        assert stats(connection)["removed"] == stats(connection)["sent"] >= EVENTS
