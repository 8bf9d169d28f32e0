"""What becomes of an event is what becomes of its transaction. Shows 7 of the issue."""

import uuid
from collections import namedtuple

import ledger
import pytest
from load import add_instruments, cancel, place, stats, wait_all_sent
from stack import wait_until

System = namedtuple("System", "server topic")

# A letter places an order of that name, any other word is SQL; then the orders that must be there.
SAVEPOINTS = {
    "a savepoint that is rolled back": ("a; SAVEPOINT s; b; ROLLBACK TO s; c", "ac"),
    "a savepoint that is released": ("a; SAVEPOINT s; b; RELEASE s; c", "abc"),
    "a savepoint rolled back twice": ("SAVEPOINT s; a; ROLLBACK TO s; b; ROLLBACK TO s; c", "c"),
    "an event of the savepoint only": ("SAVEPOINT s; a; ROLLBACK TO s", ""),
    "a nested savepoint rolled back": ("SAVEPOINT s; a; SAVEPOINT t; b; ROLLBACK TO t; c; RELEASE s; d", "acd"),
    "the outer one rolled back": ("a; SAVEPOINT s; b; SAVEPOINT t; c; ROLLBACK TO s; d", "ad"),
    "a released one within a rolled back one": (
        "a; SAVEPOINT s; b; SAVEPOINT t; c; RELEASE t; d; ROLLBACK TO s; e",
        "ae",
    ),
    "a released one between two levels": (
        "a; SAVEPOINT s; SAVEPOINT t; b; RELEASE t; c; SAVEPOINT u; d; ROLLBACK TO u; e; RELEASE s; f",
        "abcef",
    ),
    "a rolled back one after a released one": ("SAVEPOINT s; a; RELEASE s; SAVEPOINT s; b; ROLLBACK TO s; c", "ac"),
    "the same name again": ("SAVEPOINT s; a; SAVEPOINT s; b; ROLLBACK TO s; RELEASE s; c; ROLLBACK TO s; d", "d"),
    "an error in between": ("a; SAVEPOINT s; b; SELECT 1 / 0; ROLLBACK TO s; c", "ac"),
    "all of it rolled back": ("a; SAVEPOINT s; b; RELEASE s; c; ROLLBACK", ""),
    "a first level that is only a frame": ("SAVEPOINT s; SAVEPOINT t; a; RELEASE s; b", "ab"),
}


@pytest.fixture(scope="module")
def system(make_shared_postgres, kafka):
    topic = kafka.create_topic(f"transactions.{uuid.uuid4().hex[:8]}", ledger.PARTITIONS)
    server = make_shared_postgres(kafka=kafka, topic=topic)
    with server.connect() as connection:
        add_instruments(connection)
        wait_until(lambda: stats(connection)["state"] == "STREAMING", 60, "publisher at work")
    return System(server, topic)


@pytest.fixture
def connection(system):
    with system.server.connect() as connection:
        yield connection


@pytest.fixture
def configure(system):
    """The server's configure(); what a test changes is changed back after it, also when it fails."""
    settings = dict(system.server.settings)
    yield system.server.configure
    system.server.settings = settings
    system.server.configure()


@pytest.fixture
def published(system, read_topic):
    """published(connection): the ids of all records in the topic, once all that is committed now is there."""

    def read(connection):
        wait_all_sent(connection)
        return [record.header("id") for record in read_topic(system.topic)]

    return read


@pytest.fixture
def check_ledger(system, read_topic):
    """check_ledger(): everything in the topic is committed, and the other way round; no event is there twice."""

    def check(duplicates_allowed=False):
        with system.server.connect() as connection:
            wait_all_sent(connection)
            records = read_topic(system.topic)
            found = ledger.differences(connection, records)
        assert not found, ledger.show(found)
        _, repeated = ledger.without_duplicates(records)
        assert duplicates_allowed or repeated == 0
        return repeated

    return check


def new_key():
    return uuid.uuid4().hex


def run_script(connection, script):
    """Run the steps in one transaction; {letter: order id} of all that were placed, kept or not."""
    orders = {}
    connection.execute("BEGIN")
    for step in script.split("; "):
        if len(step) == 1:
            orders[step] = place(connection, new_key())
        elif "/ 0" in step:
            with pytest.raises(Exception, match="division by zero"):
                connection.execute(step)
        else:
            connection.execute(step)
    if not script.endswith("ROLLBACK"):
        connection.execute("COMMIT")
    return orders


@pytest.mark.parametrize("case", SAVEPOINTS)
def test_savepoints_leave_exactly_the_events_that_are_kept(system, connection, published, case):
    script, kept = SAVEPOINTS[case]
    orders = run_script(connection, script)
    marker = place(connection, new_key())
    found = published(connection)
    kept_ids = {f"{orders[letter]}.1" for letter in kept} | {f"{marker}.1"}
    assert {name for name in found if int(name.split(".")[0]) in [*orders.values(), marker]} == kept_ids
    assert len(found) == len(set(found))


def test_seventy_savepoints_of_which_every_other_one_is_kept(connection, published):
    """More than the server keeps of a transaction's subtransactions in shared memory (64)."""
    kept = []
    connection.execute("BEGIN")
    for number in range(70):
        connection.execute("SAVEPOINT s")
        order_id = place(connection, new_key())
        if number % 2:
            connection.execute("ROLLBACK TO s")
        else:
            kept.append(f"{order_id}.1")
        connection.execute("RELEASE s")
    connection.execute("COMMIT")
    found = [name for name in published(connection) if int(name.split(".")[0]) >= int(kept[0].split(".")[0])]
    assert sorted(found) == sorted(kept)


def test_a_rollback_leaves_no_event(connection, published, check_ledger):
    with connection.transaction(force_rollback=True):
        lost = [place(connection, new_key()) for _ in range(10)]
    kept = place(connection, new_key())
    found = published(connection)
    assert f"{kept}.1" in found
    assert not {f"{order_id}.1" for order_id in lost} & set(found)
    check_ledger()


def test_a_cancel_that_rolls_back_leaves_its_version_to_the_next(connection, published, check_ledger):
    order_id = place(connection, new_key())
    with connection.transaction(force_rollback=True):
        cancel(connection, order_id)
    connection.execute("BEGIN")
    connection.execute("SAVEPOINT s")
    cancel(connection, order_id)
    connection.execute("ROLLBACK TO s")
    connection.execute("SELECT order_service.apply_execution(%s, %s, 'NEW')", [new_key(), order_id])
    connection.execute("COMMIT")
    cancel(connection, order_id)
    found = published(connection)
    assert [name for name in found if name.startswith(f"{order_id}.")] == [f"{order_id}.{n}" for n in (1, 2, 3)]
    check_ledger()


def prepare(connection):
    """Prepare a transaction that places one order and cancels another; its name and the ids of both orders."""
    name = new_key()
    earlier = place(connection, new_key())
    connection.execute("BEGIN")
    order_id = place(connection, new_key())
    cancel(connection, earlier)
    connection.execute(f"PREPARE TRANSACTION '{name}'")
    return name, order_id, earlier


def restart_server(server, how):
    """Restart it in order, or as after a crash, or (None) not at all."""
    if how == "crash":
        server.kill9()
        server.start()
    elif how == "shutdown":
        server.restart()


@pytest.mark.parametrize(
    "session, restart", [("same", None), ("another", None), ("another", "shutdown"), ("another", "crash")]
)
def test_a_prepared_transaction_is_published_when_it_is_committed_and_not_before(
    system, published, check_ledger, session, restart
):
    server = system.server
    first = server.connect()
    name, order_id, earlier = prepare(first)
    later = [place(first, new_key()) for _ in range(5)]
    early = published(first)
    assert {f"{number}.1" for number in [earlier, *later]} <= set(early)
    assert not {f"{order_id}.1", f"{earlier}.2"} & set(early)
    restart_server(server, restart)
    with server.connect() as other:
        later = place(other, new_key())
        assert not {f"{order_id}.1", f"{earlier}.2"} & set(published(other))
        (first if session == "same" else other).execute(f"COMMIT PREPARED '{name}'")
        found = published(other)
        assert f"{later}.1" in found
        assert found.count(f"{order_id}.1") == found.count(f"{earlier}.2") == 1
    first.close()
    repeated = check_ledger(duplicates_allowed=restart == "crash")
    print(f"\n{repeated} duplicates")


def test_a_prepared_transaction_that_is_rolled_back_leaves_no_event(system, connection, published, check_ledger):
    name, order_id, earlier = prepare(connection)
    with system.server.connect() as other:
        other.execute(f"ROLLBACK PREPARED '{name}'")
        later = place(other, new_key())
        found = published(other)
        assert f"{later}.1" in found
        assert not {f"{order_id}.1", f"{earlier}.2"} & set(found)
    cancel(connection, earlier)
    assert f"{earlier}.2" in published(connection)
    check_ledger(duplicates_allowed=True)


def test_events_of_asynchronous_commits_arrive(system, published, check_ledger):
    with system.server.connect(options="-c synchronous_commit=off") as connection:
        order_ids = [place(connection, new_key()) for _ in range(300)]
        found = published(connection)
    assert {f"{order_id}.1" for order_id in order_ids} <= set(found)
    check_ledger(duplicates_allowed=True)


def test_an_open_transaction_with_an_old_event_id_holds_up_nobody(
    system, connection, configure, published, check_ledger
):
    """Later ids are published at once; the old one when its transaction commits, long after its gap was looked up."""
    held = [place(connection, new_key()) for _ in range(3)]
    watermark = "SELECT value FROM order_service.watermark WHERE name = 'outbox'"
    configure(order_service__safety_pass="1s")
    with system.server.connect() as slow:
        slow.execute("BEGIN")
        new = place(slow, new_key())
        for order_id in held:
            cancel(slow, order_id)
        old_id = slow.execute(
            "SELECT event_id FROM order_service.outbox WHERE order_id = %s AND order_version = 1", [new]
        ).fetchone()[0]
        later = [place(connection, new_key()) for _ in range(10)]
        found = published(connection)
        assert {f"{order_id}.1" for order_id in later + held} <= set(found)
        # Several looks at the gaps and one save of the mark later it is still open.
        wait_until(lambda: connection.execute(watermark).fetchone()[0] == old_id, 30, "mark at the open id")
        later += [place(connection, new_key()) for _ in range(10)]
        found = published(connection)
        assert f"{later[-1]}.1" in found
        assert not {f"{new}.1"} | {f"{order_id}.2" for order_id in held} <= set(found)
        slow.execute("COMMIT")
    found = published(connection)
    assert f"{new}.1" in found
    for order_id in held:
        assert [name for name in found if name.startswith(f"{order_id}.")] == [f"{order_id}.1", f"{order_id}.2"]
    wait_until(lambda: connection.execute(watermark).fetchone()[0] > old_id + 20, 30, "mark at the end")
    check_ledger(duplicates_allowed=True)


def test_a_terminated_backend_leaves_what_it_committed_and_no_more(system, published, check_ledger):
    connection = system.server.connect()
    committed = [place(connection, new_key()) for _ in range(20)]
    connection.execute("BEGIN")
    lost = place(connection, new_key())
    with system.server.connect() as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [connection.info.backend_pid])
        later = place(other, new_key())
        found = published(other)
        assert {f"{order_id}.1" for order_id in [*committed, later]} <= set(found)
        assert f"{lost}.1" not in found
    connection.close()
    check_ledger(duplicates_allowed=True)
