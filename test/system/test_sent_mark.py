"""The mark of a sent event: in place where only the row learns of it, by an UPDATE where something else must."""

import uuid

import pytest
from load import add_instruments, place, stats, wait_all_sent
from stack import wait_until

PLACES = "SELECT event_id, ctid::text FROM order_service.outbox ORDER BY event_id"
LATER = "SELECT count(*) FROM order_service.outbox WHERE sent_at BETWEEN created_at AND clock_timestamp() AND status = 1"
LOOKS_FOR_CHANGES = "SELECT count(*) FROM pg_logical_slot_peek_changes('watcher', NULL, NULL) WHERE data ~ %s"


def make(make_postgres, kafka, topic, **settings):
    server = make_postgres(kafka=kafka, topic=topic, settings=settings)
    with server.connect() as connection:
        add_instruments(connection)
    return server


def place_some(connection, count):
    return [place(connection, uuid.uuid4().hex) for _ in range(count)]


def hold_back(server, connection):
    server.configure(order_service__publishing="off")
    wait_until(lambda: stats(connection)["state"] == "PAUSED", 60, "publisher paused")


def publish(server, connection):
    server.configure(order_service__publishing="on")
    wait_all_sent(connection)


def updates(connection):
    """Rows of the outbox that were updated. The server must have been stopped: each process tells its counts at its end."""
    return connection.execute(
        "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relid = 'order_service.outbox'::regclass"
    ).fetchone()[0]


def test_a_mark_leaves_the_row_where_it_is(make_postgres, kafka, topic):
    server = make(make_postgres, kafka, topic)
    with server.connect() as connection:
        hold_back(server, connection)
        place_some(connection, 200)
        before = connection.execute(PLACES).fetchall()
        publish(server, connection)
        assert connection.execute(PLACES).fetchall() == before
        assert connection.execute(LATER).fetchone() == (200,)
    server.stop()
    server.start()
    with server.connect() as connection:
        assert updates(connection) == 0


@pytest.mark.parametrize(
    "addition",
    [
        "CREATE INDEX mine ON order_service.outbox (status)",
        "CREATE INDEX mine ON order_service.outbox (order_id) WHERE status = 0",
        "ALTER TABLE order_service.outbox ADD CONSTRAINT mine CHECK (status < 9)",
        "CREATE TRIGGER mine BEFORE UPDATE ON order_service.outbox FOR EACH ROW"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    ],
    ids=["index", "partial_index", "check", "trigger"],
)
def test_what_a_user_has_added_to_the_table_learns_of_the_mark(make_postgres, kafka, topic, addition):
    server = make(make_postgres, kafka, topic)
    with server.connect() as connection:
        connection.execute(addition)
        place_some(connection, 50)
        wait_all_sent(connection)
        assert connection.execute(LATER).fetchone() == (50,)
        connection.execute("SET enable_seqscan = off")
        by_status = "SELECT count(*) FROM order_service.outbox WHERE status = %s AND order_id > 0"
        assert connection.execute(by_status, [1]).fetchone() == (50,)
        assert connection.execute(by_status, [0]).fetchone() == (0,)
    server.stop()
    server.start()
    with server.connect() as connection:
        assert updates(connection) == 50


def test_a_subscriber_learns_of_the_mark(make_postgres, kafka, topic):
    server = make(make_postgres, kafka, topic, wal_level="logical")
    with server.connect() as connection:
        connection.execute("SELECT pg_create_logical_replication_slot('watcher', 'test_decoding')")
        place_some(connection, 20)
        wait_all_sent(connection)
        # The publisher's transactions are decoded when they are on disk.
        place_some(connection, 1)
        told = r"outbox: UPDATE: .* status\[smallint\]:1 "
        wait_until(lambda: connection.execute(LOOKS_FOR_CHANGES, [told]).fetchone()[0] >= 20, 60, "20 decoded marks")


def test_rows_that_have_moved_are_found_by_their_ids(make_postgres, kafka, topic, read_topic):
    """A table that is rewritten gives rows places that other rows had, or that are not there any more."""
    server = make(make_postgres, kafka, topic)
    with server.connect() as connection:
        place_some(connection, 300)
        wait_all_sent(connection)
        hold_back(server, connection)
        place_some(connection, 300)
        before = stats(connection)["from_ring"]
        connection.execute("DELETE FROM order_service.outbox WHERE status = 1 AND event_id % 3 > 0")
        connection.execute("VACUUM FULL order_service.outbox")
        publish(server, connection)
        assert stats(connection)["from_ring"] - before == 300
        assert connection.execute(LATER).fetchone() == (400,)
    assert len(read_topic(topic)) == 600


def test_a_mark_that_is_on_disk_outlives_a_crash(make_postgres, kafka, topic, read_topic):
    server = make(make_postgres, kafka, topic)
    sent = "SELECT event_id, sent_at FROM order_service.outbox WHERE status = 1 ORDER BY event_id"
    with server.connect() as connection:
        connection.execute("CHECKPOINT")
        place_some(connection, 100)
        wait_all_sent(connection)
        before = connection.execute(sent).fetchall()
        # A commit that waits for the disk takes all marks before it along.
        connection.execute("SELECT pg_logical_emit_message(true, 'test', '')")
    server.kill9()
    server.start()
    with server.connect() as connection:
        wait_until(lambda: stats(connection)["state"] == "STREAMING", 60, "publisher at work")
        assert connection.execute(sent).fetchall() == before
        assert len(before) == 100
    assert len(read_topic(topic)) == 100
