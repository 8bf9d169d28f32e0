"""The publisher as a guest of the server: it is never in the way, least of all when Kafka is down. Shows 7 of the issue.

No broker listens where this server is told, and events wait; the long form has 100,000 of them.
"""

import time
import uuid
from collections import namedtuple

import ledger
import psycopg
import pytest
from load import add_instruments, place, ready_count, stats, wait_all_sent
from soak import sized
from stack import free_port, wait_until

System = namedtuple("System", "server topic")

WAITING = sized(12_000, 100_000)
FILL_ITEMS = 1000
DROP_SECONDS_MAX = 2
STOP_SECONDS_MAX = 5
RESTART_SECONDS_MAX = 5
# Of databases that are not there when the server starts.
LATER = "later"
SECOND = "second"

pytestmark = pytest.mark.soak

ACTIVITY = "SELECT datname, state, query, wait_event_type FROM pg_stat_activity WHERE pid = %s"


@pytest.fixture(scope="module")
def system(make_shared_postgres, kafka):
    """Events wait in `orders`, more than can be in flight; `second` has a publisher too, and `later` would have."""
    topic = kafka.create_topic(f"manners.{uuid.uuid4().hex[:8]}", ledger.PARTITIONS)
    settings = {
        "order_service.databases": f"orders, {SECOND}, {LATER}",
        "order_service.kafka_brokers": f"127.0.0.1:{free_port()}",
        "order_service.flush_interval": "10s",
    }
    server = make_shared_postgres(settings=settings, topic=topic)
    server.create_database(SECOND)
    fill(server, "orders", WAITING)
    fill(server, SECOND, FILL_ITEMS)
    return System(server, topic)


@pytest.fixture
def server(system):
    """The server, with both publishers waiting for Kafka."""
    for database in ("orders", SECOND):
        wait_for_state(system.server, "BACKING_OFF", database)
    return system.server


@pytest.fixture
def configure(system):
    """The server's configure(); what a test changes is changed back after it, also when it fails."""
    settings = dict(system.server.settings)
    yield system.server.configure
    system.server.settings = settings
    system.server.configure()


def fill(server, database, orders):
    with server.connect(database) as connection:
        add_instruments(connection)
        for _ in range(orders // FILL_ITEMS):
            connection.execute(
                "SELECT count(*) FROM generate_series(1, %s) i,"
                " order_service.place_order(1, %s || i, 'AAA', 'BUY', 'LIMIT', 1, 10000000)",
                [FILL_ITEMS, f"{uuid.uuid4().hex}-"],
            )


def wait_for_state(server, state, database="orders", seconds=60):
    with server.connect(SECOND if database != SECOND else "orders") as connection:
        wait_until(
            lambda: stats(connection, database)["state"] == state, seconds, f"publisher of {database} {state}"
        )


def wait_for_activity(connection, database, text):
    query = "SELECT a.query FROM order_service.stats s JOIN pg_stat_activity a USING (pid) WHERE s.database = %s"
    wait_until(lambda: connection.execute(query, [database]).fetchone() == (text,), 30, f"{text} in {database}")


def publisher_pid(server, database="orders"):
    with server.connect(SECOND if database != SECOND else "orders") as connection:
        return stats(connection, database)["pid"]


def test_pg_stat_activity_says_what_a_publisher_waits_for(server):
    (row,) = server.execute(ACTIVITY, [publisher_pid(server)])
    assert row == ("orders", "idle", "Kafka does not answer", "Extension")
    wait_for_state(server, "ABSENT", LATER)
    (row,) = server.execute(ACTIVITY, [publisher_pid(server, LATER)])
    assert row == (None, "idle", "database absent or wanted by others", "Extension")


def test_another_database_is_dropped_at_once(server):
    server.execute("CREATE DATABASE other", dbname="postgres")
    with server.connect("postgres", options=f"-c statement_timeout={DROP_SECONDS_MAX}s") as connection:
        # What the server itself has to write is none of the publisher's business.
        connection.execute("CHECKPOINT")
        begin = time.monotonic()
        connection.execute("DROP DATABASE other")
        print(f"\ndropped in {time.monotonic() - begin:.2f} s, while {WAITING} events wait")


def test_a_terminated_publisher_is_back_within_five_seconds(server):
    with server.connect() as connection:
        before = stats(connection)["pid"]
        begin = time.monotonic()
        connection.execute("SELECT pg_terminate_backend(%s)", [before])
        wait_until(lambda: stats(connection)["pid"] not in (None, before), RESTART_SECONDS_MAX, "a new publisher")
        print(f"\nback in {time.monotonic() - begin:.2f} s")


def stop_fast(server):
    """Shut down within the promise, and start again."""
    server.execute("CHECKPOINT")
    begin = time.monotonic()
    server.begin_stop("fast")
    wait_until(lambda: not server.processes(), STOP_SECONDS_MAX, "fast shutdown")
    print(f"\nshut down in {time.monotonic() - begin:.2f} s")
    server.stop()
    server.start()


def test_a_fast_shutdown_does_not_wait_for_kafka(server):
    stop_fast(server)
    assert server.execute("SELECT count(*) FROM order_service.outbox WHERE status = 0") >= [(WAITING,)]


@pytest.fixture
def locked(server):
    """A prepared transaction has locked the outbox, and a publisher that has just started waits for it."""
    with server.connect() as connection:
        connection.execute("BEGIN")
        connection.execute("LOCK TABLE order_service.outbox IN ACCESS EXCLUSIVE MODE")
        connection.execute("PREPARE TRANSACTION 'locked'")
        before = stats(connection)["pid"]
        connection.execute("SELECT pg_terminate_backend(%s)", [before])
        wait_until(lambda: stats(connection)["pid"] not in (None, before), 30, "a new publisher")
        query = "SELECT count(*) FROM pg_locks WHERE pid = %s AND NOT granted"
        pid = stats(connection)["pid"]
        wait_until(lambda: connection.execute(query, [pid]).fetchone() == (1,), 30, "wait for the lock")
    yield
    server.execute("ROLLBACK PREPARED 'locked'")


def test_a_publisher_that_waits_for_a_lock_is_terminated_at_once(server, locked):
    with server.connect() as connection:
        before = stats(connection)["pid"]
        connection.execute("SELECT pg_terminate_backend(%s)", [before])
        wait_until(lambda: stats(connection)["pid"] not in (None, before), RESTART_SECONDS_MAX, "a new publisher")


def test_a_fast_shutdown_does_not_wait_for_a_lock_that_nobody_will_release(server, locked):
    stop_fast(server)


def test_a_database_that_does_not_exist_is_waited_for_quietly(server):
    wait_for_state(server, "ABSENT", LATER)
    with server.connect() as connection:
        before = stats(connection, LATER)
        log_start, begin = len(server.log_text()), time.monotonic()
        # Longer than a process that ends takes to be started anew, twice.
        wait_until(lambda: time.monotonic() >= begin + 5, 10, "five seconds")
        assert stats(connection, LATER)["pid"] == before["pid"]
        assert LATER not in server.log_text()[log_start:]
        try:
            # Neither is a schema of that name that somebody else made, and an empty database, what it waits for.
            server.create_database(LATER, extension=False)
            server.execute("CREATE SCHEMA order_service CREATE TABLE outbox (event_id text)", dbname=LATER)
            wait_for_activity(connection, LATER, "extension absent")
            pid = stats(connection, LATER)["pid"]
            server.execute("DROP SCHEMA order_service CASCADE", dbname=LATER)
            server.create_database(LATER)
            wait_for_state(server, "BACKING_OFF", LATER)
            assert stats(connection, LATER)["pid"] == pid
        finally:
            connection.execute(f"DROP DATABASE {LATER}")
        wait_for_state(server, "ABSENT", LATER)


def test_a_published_database_is_dropped_renamed_and_copied_without_force(server):
    """Each wants a database without sessions; the publisher makes room and comes back by itself."""
    server.create_database(LATER)
    fill(server, LATER, FILL_ITEMS)
    wait_for_state(server, "BACKING_OFF", LATER)
    with server.connect("postgres") as connection:
        connection.execute(f"ALTER DATABASE {LATER} RENAME TO renamed")
        connection.execute(f"ALTER DATABASE renamed RENAME TO {LATER}")
        wait_for_state(server, "BACKING_OFF", LATER)
        connection.execute(f"CREATE DATABASE copy TEMPLATE {LATER}")
        wait_for_state(server, "BACKING_OFF", LATER)
        connection.execute(f"ALTER DATABASE {LATER} SET TABLESPACE pg_default")
        wait_for_state(server, "BACKING_OFF", LATER)
        with server.connect(LATER) as inside:
            assert ready_count(inside) == FILL_ITEMS
        connection.execute(f"DROP DATABASE {LATER}")
        connection.execute("DROP DATABASE copy")
    wait_for_state(server, "ABSENT", LATER)


def test_who_may_not_drop_a_database_does_not_send_its_publisher_away(server):
    server.execute("DROP ROLE IF EXISTS stranger")
    server.execute("CREATE ROLE stranger LOGIN")
    before = publisher_pid(server, SECOND)
    with server.connect(user="stranger") as connection:
        for statement in (f"DROP DATABASE {SECOND}", f"ALTER DATABASE {SECOND} RENAME TO mine"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
    begin = time.monotonic()
    # Longer than it takes to leave and to come back.
    wait_until(lambda: time.monotonic() >= begin + 3, 10, "three seconds")
    assert publisher_pid(server, SECOND) == before


def test_a_reload_leads_what_waits_to_the_brokers_and_the_topic_that_are_named_now(
    server, configure, kafka, topic, system, read_topic
):
    fill(server, "orders", FILL_ITEMS)
    waiting = server.execute("SELECT count(*) FROM order_service.outbox WHERE status = 0")[0][0]
    begin = time.monotonic()
    configure(order_service__topic=topic, order_service__kafka_brokers=kafka.bootstrap)
    with server.connect() as connection:
        wait_all_sent(connection, 120)
        seconds = time.monotonic() - begin
        records = [record for record in read_topic(topic) if record.header("ce_source") == "orders"]
        failed = connection.execute("SELECT count(*) FROM order_service.outbox WHERE retry_count > 0").fetchone()
    print(f"\n{waiting} events waited; {seconds:.1f} s after the reload all were sent")
    assert len(records) == len({record.header("id") for record in records}) == waiting
    assert failed == (0,)
    assert read_topic(system.topic) == []


def test_events_of_a_dropped_extension_are_never_published(server, configure, kafka, topic, read_topic):
    """They were in flight when Kafka went; what is created anew begins with the same ids."""
    fill(server, SECOND, FILL_ITEMS)
    with server.connect(SECOND, options="-c statement_timeout=30s") as connection:
        wait_until(lambda: stats(connection, SECOND)["in_flight"] >= FILL_ITEMS, 30, "events in flight")
        before = stats(connection, SECOND)
        connection.execute("DROP EXTENSION order_service")
        connection.execute("CREATE EXTENSION order_service")
        add_instruments(connection)
        wait_until(lambda: stats(connection, SECOND)["pid"] not in (None, before["pid"]), 30, "a new publisher")
        order_id = place(connection, "anew", account=2)
    configure(order_service__topic=topic, order_service__kafka_brokers=kafka.bootstrap)
    with server.connect(SECOND) as connection:
        wait_all_sent(connection)
    records = [record for record in read_topic(topic) if record.header("ce_source") == SECOND]
    assert [record.header("id") for record in records] == [f"{order_id}.1"]
