"""Ids of a batch are taken in one step of their sequence, on its page: none twice, whoever dies, and not past the end.

Shows that the WAL tells what a step of any size took, also when a checkpoint has made what it told before worthless.
"""

import threading

import faults
import psycopg
import pytest
from load import OK, add_instruments, place_all

SEQUENCES = ("order_id_seq", "event_id_seq")
LAST = 2**44 - 1
# As many values more than were taken does the WAL have after a crash, at most.
LOGGED_AHEAD = 32
# Steps from one crash to the next: within what is logged ahead, to its edge, and beyond it.
STEPS = ((1,), (1, 31, 1), (64, 32), (64, 33), (64, 1, 30), (1, 64, 2), (100, 100))
THREADS, CALLS, SIZE = 4, 1000, 2


@pytest.fixture
def server(make_postgres):
    server = make_postgres(settings={"order_service.databases": "", "autovacuum": "off"})
    with server.connect() as connection:
        add_instruments(connection)
    return server


def place(connection, name, count):
    """The ids of a batch of new orders, and of their events."""
    rows = place_all(connection, [(1, f"{name}-{n:03}") for n in range(count)])
    assert [row[1] for row in rows] == [OK] * count
    orders = sorted(row[0] for row in rows)
    query = "SELECT event_id FROM order_service.outbox WHERE order_id = ANY(%s) ORDER BY event_id"
    return orders, [row[0] for row in connection.execute(query, [orders])]


def set_sequences(connection, value):
    for name in SEQUENCES:
        connection.execute("SELECT setval(%s::text::regclass, %s)", [f"order_service.{name}", value])


def test_batch_takes_the_next_ids(server):
    with server.connect() as connection:
        for name, count in (("a", 64), ("b", 1), ("c", 500)):
            before = connection.execute("SELECT last_value FROM order_service.order_id_seq").fetchone()[0]
            before -= name == "a"  # which nobody has taken yet
            orders, events = place(connection, name, count)
            assert orders == events == list(range(before + 1, before + 1 + count))
        assert connection.execute("SELECT nextval('order_service.order_id_seq')").fetchone()[0] == 566
        assert place(connection, "d", 2) == ([567, 568], [566, 567])


def test_sessions_take_different_ids(server):
    """Also beside one that calls nextval()."""
    taken, errors = [], []

    def place_batches(client):
        try:
            with server.connect() as connection:
                for call in range(CALLS):
                    rows = place_all(connection, [(1, f"{client}-{call}-{n}") for n in range(SIZE)])
                    orders = sorted(row[0] for row in rows)
                    # One step: nothing of others in between.
                    assert orders[-1] - orders[0] == SIZE - 1
                    taken.extend(orders)
        except Exception as error:  # told below
            errors.append(error)

    threads = [threading.Thread(target=place_batches, args=(client,)) for client in range(THREADS)]
    for thread in threads:
        thread.start()
    with server.connect() as connection:
        while any(thread.is_alive() for thread in threads):
            taken.append(connection.execute("SELECT nextval('order_service.order_id_seq')").fetchone()[0])
    assert not errors
    assert len(set(taken)) == len(taken) >= THREADS * CALLS * SIZE


@pytest.mark.parametrize("has_checkpoint", [False, True])
def test_crash_skips_ids_and_repeats_none(server, has_checkpoint):
    last = [0, 0]
    for number, steps in enumerate(STEPS):
        with server.connect() as connection:
            for step, size in enumerate(steps):
                taken = place(connection, f"{number}-{step}", size)
                for i, ids in enumerate(taken):
                    skipped = ids[0] - last[i] - 1
                    assert 0 <= skipped <= (LOGGED_AHEAD if step == 0 else 0)
                    last[i] = ids[-1]
                if has_checkpoint and step == 0:
                    # What the WAL said of this step is older than where recovery will begin.
                    connection.execute("CHECKPOINT")
        faults.kill_postmaster(server)
        server.start()


def test_batch_that_has_no_room_places_nothing(server):
    """The limit: 2^44 - 1 of each timeline, ID_SEQUENCE_BITS."""
    with server.connect() as connection:
        set_sequences(connection, LAST - 3)
        with pytest.raises(psycopg.errors.SequenceGeneratorLimitExceeded, match="ids of order_service are exhausted"):
            place(connection, "too-many", 4)
        assert connection.execute("SELECT count(*) FROM order_service.orders").fetchone()[0] == 0
        assert place(connection, "all", 3) == ([LAST - 2, LAST - 1, LAST], [LAST - 2, LAST - 1, LAST])
        with pytest.raises(psycopg.errors.SequenceGeneratorLimitExceeded):
            place(connection, "one-more", 1)


def test_read_only_transaction_takes_none(server):
    with server.connect() as connection:
        connection.execute("SET default_transaction_read_only = on")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            place(connection, "read-only", 2)
        connection.execute("SET default_transaction_read_only = off")
        assert place(connection, "writing", 2) == ([1, 2], [1, 2])


@pytest.mark.parametrize("name", SEQUENCES)
def test_what_is_no_sequence_is_not_written_to(server, name):
    with server.connect() as connection:
        connection.execute(f"ALTER EXTENSION order_service DROP SEQUENCE order_service.{name}")
        connection.execute(f"ALTER SEQUENCE order_service.{name} RENAME TO former_sequence")
        connection.execute(f"CREATE TABLE order_service.{name} (last_value bigint)")
        with pytest.raises(psycopg.errors.WrongObjectType, match=f'"{name}" is not a sequence'):
            place(connection, "table", 1)
