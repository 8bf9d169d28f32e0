"""Installing, configuring, dumping and restoring, as an administrator does it with PostgreSQL's own tools."""

import os
import re
import subprocess

import ledger
import pgserver
import psycopg
import pytest
from load import add_instruments, cancel, place, ready_count, stats, wait_all_sent
from stack import SandboxError, wait_until

# Everything that pg_dump has to keep; identity and watermark belong to one database and are not dumped.
TABLES = ("instrument", "orders", "idempotency_key", "outbox", "execution", "hold_debt", "session")
SEQUENCES = ("order_id_seq", "event_id_seq")
DATABASES_MAX = 16


@pytest.fixture(scope="module")
def plain(make_shared_postgres):
    """A server that does not preload the library, without the extension."""
    return make_shared_postgres(preload=False, extension=False)


@pytest.fixture(scope="module")
def preloaded(make_shared_postgres, kafka):
    """A server with a publisher, for questions about settings."""
    return make_shared_postgres(kafka=kafka)


def run_program(server, name, *arguments, dbname="orders", text=None):
    """Run a client program of PostgreSQL against a server; its output."""
    program = pgserver.private(pgserver.pg_config("bindir")) / name
    environment = {**os.environ, **server.environment(dbname)}
    return subprocess.run(
        [str(program), *arguments], env=environment, input=text, stdout=subprocess.PIPE, check=True
    ).stdout


def contents(connection):
    """Every row of every table, and where the sequences stand."""
    found = {}
    for table in TABLES:
        query = f"SELECT t::text FROM order_service.{table} t ORDER BY 1"
        found[table] = [row for (row,) in connection.execute(query)]
    for sequence in SEQUENCES:
        found[sequence] = connection.execute(f"SELECT last_value, is_called FROM order_service.{sequence}").fetchone()
    return found


def fill(connection):
    """Some of everything: each table has rows, and orders are in several states."""
    add_instruments(connection)
    order_ids = [place(connection, f"fill-{number}") for number in range(30)]
    for order_id in order_ids[:10]:
        cancel(connection, order_id)
    for number, order_id in enumerate(order_ids[:5]):
        connection.execute("SELECT order_service.apply_execution(%s, %s, 'CANCELED')", [f"ex-{number}", order_id])
    connection.execute(
        "SELECT order_service.settle_orders(array_agg(order_id), array_agg(26::smallint), array_agg(2::smallint))"
        " FROM order_service.receive_orders(ARRAY[1, 1], ARRAY['r1', 'r2'], ARRAY['AAA', 'AAA'],"
        " ARRAY[1, 2]::smallint[], ARRAY[1, 1]::smallint[], ARRAY[5, 5], ARRAY[10000000, 10000000],"
        " ARRAY[0, 0]::smallint[])"
    )
    connection.execute("SELECT order_service.open_session(1)")
    return order_ids


def test_without_preloading_a_notice_says_that_nothing_is_published(plain):
    notices = []
    plain.create_database("noticed", extension=False)
    with plain.connect("noticed") as connection:
        connection.add_notice_handler(lambda notice: notices.append(f"{notice.severity}: {notice.message_primary}"))
        connection.execute("CREATE EXTENSION order_service")
        print(f"\n{notices}")
        text = "order_service is not in shared_preload_libraries: orders are recorded but not published"
        assert any(notice.endswith(text) for notice in notices)
        assert connection.execute("SELECT order_service.preloaded()").fetchone() == (False,)


def test_without_preloading_orders_are_recorded_and_wait(plain):
    plain.create_database("waiting")
    with plain.connect("waiting") as connection:
        order_ids = fill(connection)
        assert connection.execute("SELECT count(*) FROM order_service.stats").fetchone() == (0,)
        states = connection.execute("SELECT DISTINCT status FROM order_service.outbox_detail").fetchall()
        assert states == [("READY",)]
        assert ready_count(connection) == 47
        assert connection.execute("SELECT ready FROM order_service.outbox_lag").fetchone() == (47,)
        found = connection.execute("SELECT order_id FROM order_service.list_orders(1)").fetchall()
        assert [order_id for (order_id,) in found[:30]] == order_ids
    assert not plain.backend_pids("order_service%")


def test_a_dump_contains_the_data_of_every_table(plain):
    plain.create_database("dumped")
    with plain.connect("dumped") as connection:
        fill(connection)
        before = contents(connection)
    text = run_program(plain, "pg_dump", dbname="dumped").decode()
    for table in TABLES:
        block = re.search(rf"^COPY order_service\.{table} \(.*?\) FROM stdin;\n(.*?)^\\\.$", text, re.M | re.S)
        assert block, f"no data of {table}"
        assert len(block[1].splitlines()) == len(before[table]) > 0
    for sequence in SEQUENCES:
        assert f"SELECT pg_catalog.setval('order_service.{sequence}', {before[sequence][0]}, true);" in text
    for table in ("identity", "watermark"):
        assert f"COPY order_service.{table} " not in text


def test_a_restored_database_has_every_row_and_goes_on_with_new_ids(plain):
    plain.create_database("source")
    with plain.connect("source") as connection:
        fill(connection)
        before = contents(connection)
        identity = connection.execute("SELECT reserve_prefix FROM order_service.identity").fetchone()
    dump = run_program(plain, "pg_dump", "--format=custom", dbname="source")
    plain.create_database("restored", extension=False)
    run_program(plain, "pg_restore", "--exit-on-error", "--dbname=restored", text=dump)
    with plain.connect("restored") as connection:
        after = contents(connection)
        assert {name: len(rows) for name, rows in after.items()} == {name: len(rows) for name, rows in before.items()}
        assert after == before
        new = place(connection, "after-restore")
        assert new == before["order_id_seq"][0] + 1
        event = connection.execute("SELECT max(event_id) FROM order_service.outbox").fetchone()[0]
        assert event == before["event_id_seq"][0] + 1
        assert place(connection, "fill-0") == 1
        assert connection.execute("SELECT reserve_prefix FROM order_service.identity").fetchone() != identity
        assert connection.execute("SELECT count(*) FROM order_service.identity").fetchone() == (1,)
    print(f"\n{ {name: len(rows) for name, rows in before.items()} }")


def test_a_plain_dump_is_restored_by_psql(plain):
    """The plain format: what people read, keep and feed to psql."""
    plain.create_database("by_hand")
    with plain.connect("by_hand") as connection:
        fill(connection)
        before = contents(connection)
    text = run_program(plain, "pg_dump", dbname="by_hand")
    plain.create_database("by_psql", extension=False)
    run_program(plain, "psql", "--quiet", "--no-psqlrc", "-v", "ON_ERROR_STOP=1", dbname="by_psql", text=text)
    with plain.connect("by_psql") as connection:
        assert contents(connection) == before


@pytest.mark.parametrize("named", ["before the restore", "after the restore"])
def test_events_still_ready_are_published_after_a_restore(make_postgres, kafka, topic, read_topic, plain, named):
    """The source never had a publisher; the target has one, waiting for the extension or started later."""
    source = "unpublished_" + named.split()[0]
    plain.create_database(source)
    with plain.connect(source) as connection:
        fill(connection)
    dump = run_program(plain, "pg_dump", "--format=custom", dbname=source)
    databases = "orders" if named == "before the restore" else ""
    server = make_postgres(kafka=kafka, topic=topic, settings={"order_service.databases": databases}, extension=False)
    run_program(server, "pg_restore", "--exit-on-error", "--dbname=orders", text=dump)
    if named == "after the restore":
        server.settings["order_service.databases"] = "orders"
        server.restart()
    with server.connect() as connection:
        later = place(connection, "after-restore")
        wait_all_sent(connection, 60)
        records = read_topic(topic)
        found = ledger.differences(connection, records)
    assert not found, ledger.show(found)
    assert len(records) == 48
    assert f"{later}.1" in {record.header("id") for record in records}


def test_only_a_superuser_installs_it(plain):
    plain.execute("CREATE ROLE owner LOGIN", dbname="postgres")
    plain.execute('CREATE DATABASE owned OWNER "owner"', dbname="postgres")
    with plain.connect("owned", user="owner") as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as caught:
            connection.execute("CREATE EXTENSION order_service")
    print(f"\n{caught.value.diag.message_primary}. {caught.value.diag.message_hint}")
    assert caught.value.diag.message_primary == 'permission denied to create extension "order_service"'
    assert "superuser" in caught.value.diag.message_hint


def test_a_misspelt_setting_is_refused(preloaded):
    with preloaded.connect() as connection:
        with pytest.raises(psycopg.errors.InvalidName, match="invalid configuration parameter name"):
            connection.execute("SET order_service.xyz = 1")
        # ALTER SYSTEM knows only parameters that exist.
        with pytest.raises((psycopg.errors.UndefinedObject, psycopg.errors.InvalidName)):
            connection.execute("ALTER SYSTEM SET order_service.toppic = 'x'")


def test_a_misspelt_setting_in_the_file_is_reported_at_the_start(make_postgres):
    server = make_postgres(settings={"order_service.toppic": "x"}, extension=False)
    assert 'invalid configuration parameter name "order_service.toppic"' in server.log_text()


SETTINGS_OUT_OF_RANGE = {
    "in_flight_max": ("0", "1000001"),
    "mark_batch": ("0", "10001"),
    "flush_interval": ("0", "10001ms"),
    "safety_pass": ("0", "86401s"),
    "retry_interval": ("0", "86401s"),
    "max_attempts": ("0", "1001"),
    "dlq_after": ("-1",),
    "dlq_interval": ("0", "86401s"),
    "outbox_retention": ("-2",),
    "idempotency_retention": ("0", "-1"),
    "received_timeout": ("99ms", "-1"),
    "publishing": ("maybe",),
    "ring_size": ("63kB", "1048577kB"),
}


@pytest.mark.parametrize("name", SETTINGS_OUT_OF_RANGE)
def test_a_setting_out_of_range_is_refused(preloaded, name):
    with preloaded.connect() as connection:
        for value in SETTINGS_OUT_OF_RANGE[name]:
            with pytest.raises(psycopg.errors.InvalidParameterValue) as caught:
                connection.execute(f"ALTER SYSTEM SET order_service.{name} = '{value}'")
            assert f"order_service.{name}" in str(caught.value)


def test_a_setting_out_of_range_in_the_file_is_ignored_by_a_reload_and_reported(preloaded):
    start = len(preloaded.log_text())
    preloaded.configure(order_service__mark_batch="0")
    preloaded.wait_for_log("0 is outside the valid range for parameter", start=start)
    assert preloaded.execute("SHOW order_service.mark_batch") == [("500",)]
    preloaded.configure(order_service__mark_batch=None)


def test_a_setting_out_of_range_in_the_file_is_reported_at_the_start(make_postgres):
    """The server has read its file when the library tells of the range: it can only fall back to the default."""
    server = make_postgres(settings={"order_service.ring_size": "63kB"})
    # PostgreSQL 18 names the unit of the bounds, too.
    refusal = r'63 kB is outside the valid range for parameter "order_service\.ring_size" \(64( kB)? \.\. 1048576( kB)?\)'
    assert re.search(refusal, server.log_text())
    assert server.execute("SHOW order_service.ring_size") == [("4MB",)]


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            {"order_service.databases": ",".join(f"db{number}" for number in range(DATABASES_MAX + 1))},
            'too many databases in "order_service.databases": 17',
        ),
        ({"order_service.databases": "orders,second,orders"}, 'database "orders" is repeated'),
        ({"order_service.databases": "orders,,second"}, 'invalid list syntax in parameter "order_service.databases"'),
    ],
    ids=["seventeen databases", "a repeated name", "an empty name"],
)
def test_the_server_refuses_to_start_and_says_why(make_postgres, settings, message):
    server = make_postgres(settings=settings, start=False)
    with pytest.raises(SandboxError):
        server.start()
    lines = [line for line in server.log_text().splitlines() if "FATAL" in line or "DETAIL" in line]
    print("\n" + "\n".join(lines))
    assert message in server.log_text()
    assert not server.is_running


def test_sixteen_databases_have_sixteen_publishers(make_postgres):
    """All but one of them do not exist: their publishers end and are started again, without harm to the others."""
    names = ",".join(["orders"] + [f"absent{number}" for number in range(1, DATABASES_MAX)])
    settings = {"order_service.databases": names, "max_worker_processes": 24}
    server = make_postgres(settings=settings)
    with server.connect() as connection:
        wait_until(lambda: stats(connection)["state"] == "STREAMING", 30, "publisher at work")
        assert connection.execute("SELECT count(*) FROM order_service.stats").fetchone() == (DATABASES_MAX,)
