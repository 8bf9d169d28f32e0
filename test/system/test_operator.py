"""The operator's commands, `orderctl outbox` and `orderctl dlq`, on a real server and broker, as a role that has been
granted what they need and nothing else."""

import json
import os
import re
import signal
import subprocess
import threading
import uuid
from collections import namedtuple

import pytest
from host import program
from load import add_instruments, cancel, place, stats, wait_all_sent
from stack import wait_until

System = namedtuple("System", "server topic dlq_topic")
Said = namedtuple("Said", "status out err")

# An attempt is made once; dead letters are not looked for unless a test asks for it.
SETTINGS = {
    "order_service.event_format": "json",
    "order_service.max_attempts": "1",
    "order_service.dlq_after": "0",
    "order_service.dlq_interval": "1h",
}
OK, FAILED, USAGE, FORBIDDEN, NOT_FOUND, UNAVAILABLE = 0, 1, 2, 13, 14, 19
SECONDS_MAX = 60
# What orderctl keeps of the events it has shown while a transaction stays open (orderctl_window.h).
WINDOW_MAX = 20000


@pytest.fixture(scope="module")
def system(make_shared_postgres, kafka):
    topic = kafka.create_topic(f"operator.{uuid.uuid4().hex[:8]}", 3)
    dlq_topic = kafka.create_topic(f"operator-dlq.{uuid.uuid4().hex[:8]}", 1)
    settings = {**SETTINGS, "order_service.dlq_topic": dlq_topic}
    server = make_shared_postgres(settings=settings, kafka=kafka, topic=topic)
    with server.connect() as connection:
        add_instruments(connection)
        connection.execute("CREATE ROLE operator LOGIN")
        connection.execute("CREATE ROLE visitor LOGIN")
        connection.execute("SELECT order_service.grant_operator('operator')")
    return System(server, topic, dlq_topic)


@pytest.fixture
def connection(system):
    """To the database; before and after each test nothing is parked, and everything is sent."""
    with system.server.connect() as connection:
        wait_for_state(connection, "STREAMING")
        yield connection
        system.server.configure(order_service__publishing=None)
        wait_all_sent(connection)


@pytest.fixture
def orderctl(system):
    """orderctl(*words, role=, database=, environment=): run it to its end and say what it said."""
    environment = {**os.environ, **system.server.environment()}

    def run(*words, role="operator", **changes):
        command = [str(program("orderctl")), *words]
        values = {**environment, "PGUSER": role, **changes}
        done = subprocess.run(command, env=values, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
        return Said(done.returncode, done.stdout, done.stderr)

    run.environment = environment
    return run


@pytest.fixture
def follow(orderctl):
    """follow(*words): start `orderctl outbox tail` and read along; ended after the test."""
    started = []

    def start(*words):
        started.append(Tail(orderctl.environment, words))
        return started[-1]

    yield start
    for tail in started:
        tail.stop()


class Tail:
    """`orderctl outbox tail --json`: the events it has shown so far are in .events."""

    def __init__(self, environment, words):
        # Whoever runs the tests in the background may have had SIGINT ignored, and that is inherited.
        command = ["env", "--default-signal=INT", str(program("orderctl")), "outbox", "tail", "--json", *words]
        self.events = []
        self.process = subprocess.Popen(
            command, env={**environment, "PGUSER": "operator"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def ids(self):
        return [f"{event['order_id']}.{event['order_version']}" for event in list(self.events)]

    def wait(self):
        """Its exit status, once it has ended, and what it said to standard error."""
        status = self.process.wait(SECONDS_MAX)
        self._reader.join(SECONDS_MAX)
        return status, self.process.stderr.read()

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


def at(environment):
    """Where a server is, without the role to go there as."""
    return {name: value for name, value in environment.items() if name != "PGUSER"}


def wait_for_state(connection, state):
    wait_until(lambda: stats(connection)["state"] == state, 60, f"publisher {state}")


def pause(system, connection):
    system.server.configure(order_service__publishing="off")
    wait_for_state(connection, "PAUSED")


def new_order(connection, versions=1):
    order_id = place(connection, uuid.uuid4().hex)
    if versions > 1:
        cancel(connection, order_id)
    return order_id


def event_id(connection, order_id, version=1):
    query = "SELECT event_id FROM order_service.outbox WHERE order_id = %s AND order_version = %s"
    return connection.execute(query, [order_id, version]).fetchone()[0]


def set_payload(connection, order_id, payload):
    """Change the payload of an order's first event; what it was."""
    query = (
        "UPDATE order_service.outbox b SET payload = %s FROM order_service.outbox old"
        " WHERE b.order_id = %s AND b.order_version = 1 AND old.event_id = b.event_id RETURNING old.payload"
    )
    return connection.execute(query, [payload, order_id]).fetchone()[0]


def status_of(connection, order_id, version=1):
    query = "SELECT status FROM order_service.outbox_detail WHERE order_id = %s AND order_version = %s"
    return connection.execute(query, [order_id, version]).fetchone()[0]


def break_events(system, connection, order_ids):
    """Have Kafka's side refuse the first event of each of these orders; {order id: the payload it should have}."""
    payloads = {order_id: set_payload(connection, order_id, b"not an event") for order_id in order_ids}
    # What waits in the ring is the event as it was: the next publisher has only the table.
    before = stats(connection)["pid"]
    connection.execute("SELECT pg_terminate_backend(%s)", [before])
    wait_until(lambda: stats(connection)["pid"] not in (None, before), 30, "a new publisher")
    system.server.configure(order_service__publishing=None)
    for order_id in order_ids:
        wait_until(lambda order=order_id: status_of(connection, order) == "FAILED", 60, f"order {order_id} FAILED")
    return payloads


# --- list and show ---


def test_list_shows_what_is_not_sent_and_show_tells_all_of_an_event(system, connection, orderctl):
    sent = new_order(connection)
    wait_all_sent(connection)
    assert orderctl("outbox", "list") == Said(OK, "", "orderctl: no such events\n")
    pause(system, connection)
    order_id = new_order(connection, versions=2)
    said = orderctl("outbox", "list")
    lines = said.out.splitlines()
    assert (said.status, said.err, len(lines)) == (OK, "", 3)
    assert lines[0].split() == ["EVENT", "ID", "STATUS", "CREATED", "TYPE,", "ERROR"]
    for version, (line, kind) in enumerate(zip(lines[1:], ("ORDER_ACCEPTED", "ORDER_CANCEL_REQUESTED")), 1):
        event, name, status, created, what = line.split()
        assert (event, name) == (str(event_id(connection, order_id, version)), f"{order_id}.{version}")
        assert (status, what) == ("READY", kind)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", created)
    print(f"\n{said.out}")

    shown = json.loads(orderctl("outbox", "show", f"{order_id}.2", "--json").out)
    assert shown == json.loads(orderctl("outbox", "show", str(event_id(connection, order_id, 2)), "--json").out)
    payload = shown.pop("payload")
    query = (
        "SELECT floor(extract(epoch FROM created_at) * 1000)::bigint FROM order_service.outbox_detail"
        " WHERE order_id = %s AND order_version = 2"
    )
    created = connection.execute(query, [order_id]).fetchone()[0]
    assert shown.pop("created_at_millis") == created and shown.pop("created_at").endswith(f"{created % 1000:03}Z")
    assert shown == {
        "event_id": event_id(connection, order_id, 2),
        "order_id": order_id,
        "order_version": 2,
        "event_type": "ORDER_CANCEL_REQUESTED",
        "status": "READY",
        "attempts": 0,
        "error": "",
    }
    assert payload == connection.execute(
        "SELECT order_service.event_json(payload) FROM order_service.outbox WHERE order_id = %s AND order_version = 2",
        [order_id],
    ).fetchone()[0]
    said = orderctl("outbox", "show", f"{order_id}.1")
    assert said.status == OK
    assert f"\nid          {order_id}.1\n" in said.out and re.search(r"\nsymbol +AAA\n", said.out)
    # Of an order the sent events, too; and those alone that have a status.
    assert len(json.loads(orderctl("outbox", "list", "--order", str(sent), "--json").out)["events"]) == 1
    assert json.loads(orderctl("outbox", "list", "--order", str(sent), "--status", "ready", "--json").out) == {
        "events": [],
        "more": False,
    }
    everything = json.loads(orderctl("outbox", "list", "--status", "all", "--json").out)["events"]
    assert {event["status"] for event in everything} == {"SENT", "READY"}


def test_list_gives_pages_that_miss_and_repeat_nothing(system, connection, orderctl):
    pause(system, connection)
    for _ in range(7):
        new_order(connection)
    every = [row[0] for row in connection.execute(
        "SELECT event_id FROM order_service.outbox_detail WHERE status = 'READY' ORDER BY event_id"
    )]
    found, more, after = [], True, "0"
    while more:
        said = json.loads(orderctl("outbox", "list", "--limit", "3", "--after", after, "--json").out)
        assert len(said["events"]) == 3 or not said["more"]
        found += [event["event_id"] for event in said["events"]]
        more, after = said["more"], str(found[-1])
    assert found == every
    pages = orderctl("outbox", "list", "--limit", "2", "--all", "--json").out.splitlines()
    assert [event["event_id"] for page in pages for event in json.loads(page)["events"]] == every
    said = orderctl("outbox", "list", "--limit", "3")
    assert len(said.out.splitlines()) == 4
    assert said.err == f"orderctl: there are more: add --after {every[2]}, or --all\n"


def test_what_is_not_there_or_not_allowed_is_said_and_has_an_exit_code(system, connection, orderctl):
    order_id = new_order(connection)
    said = orderctl("outbox", "show", "999999")
    assert said == Said(NOT_FOUND, "refused: NOT_FOUND (404), there is no event 999999 in the outbox\n", "")
    assert orderctl("outbox", "show", f"{order_id}.2").status == NOT_FOUND
    assert orderctl("dlq", "show", f"{order_id}.1") == Said(
        NOT_FOUND, "refused: NOT_FOUND (404), the event is neither FAILED nor DLQ\n", ""
    )
    assert orderctl("dlq", "requeue", f"{order_id}.1").status == NOT_FOUND
    assert orderctl("dlq", "requeue", "--all") == Said(
        NOT_FOUND, "refused: NOT_FOUND (404), no such event is FAILED or DLQ\n", ""
    )
    asked = (["outbox", "list"], ["outbox", "show", "1"], ["outbox", "tail"], ["dlq", "list"], ["dlq", "requeue", "1"])
    for words in asked:
        said = orderctl(*words, role="visitor")
        assert said.status == FORBIDDEN and "FORBIDDEN (403), permission denied" in said.out
    said = orderctl("outbox", "list", "--database", "dbname=postgres", role="postgres")
    assert said.status == NOT_FOUND and "order_service" in said.out
    assert orderctl("dlq", "requeue").status == USAGE
    said = orderctl("outbox", "list", "--database", "port=1 host=127.0.0.1")
    assert said.status == FAILED and said.out == ""
    assert re.fullmatch("orderctl: connection to server at [^\n]*Connection refused; Is the server[^\n]*\n", said.err)
    assert json.loads(orderctl("outbox", "show", "999999", "--json").out)["code"] == 404


def test_the_connection_string_comes_before_the_environment(system, connection, orderctl):
    words = ["outbox", "list", "--json"]
    port = orderctl.environment["PGPORT"]
    for database in (f"port={port} dbname=orders", f"postgresql://operator@127.0.0.1:{port}/orders"):
        said = orderctl(*words, "--database", database, PGPORT="1", PGDATABASE="nowhere")
        assert (said.status, said.err) == (OK, "")
    assert orderctl(*words, PGPORT="1").status == FAILED


def test_a_server_that_does_not_answer_is_not_waited_for_longer_than_said(make_postgres, orderctl):
    server = make_postgres()
    with server.connect() as connection:
        (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone()
    server.freeze()
    environment = server.environment()
    for words in (["outbox", "list"], ["dlq", "requeue", "--all"]):
        said = orderctl(*words, "--timeout", "0.5", role="postgres", **environment)
        assert said == Said(FAILED, "", "orderctl: no answer from the database within 0.5 s\n"), pid
    server.thaw()


def test_a_query_that_waits_ends_with_the_time_limit(connection, orderctl):
    with connection.transaction():
        connection.execute("LOCK TABLE order_service.outbox")
        said = orderctl("outbox", "list", "--timeout", "0.5")
    # Either side may be the first to have enough.
    assert said.status in (FAILED, UNAVAILABLE), said
    assert "within 0.5 s" in said.err or "statement timeout" in said.out


def test_on_a_standby_events_can_be_shown_but_neither_followed_nor_requeued(system, connection, orderctl, scratch):
    order_id = new_order(connection)
    standby = system.server.standby(scratch / f"operator-standby-{uuid.uuid4().hex[:8]}")
    try:
        standby.start()
        environment = standby.environment()
        assert json.loads(orderctl("outbox", "show", f"{order_id}.1", "--json", **at(environment)).out)["status"] in (
            "READY",
            "SENT",
        )
        said = orderctl("outbox", "tail", **at(environment))
        assert said.status == UNAVAILABLE and "recovery is in progress" in said.out
        said = orderctl("dlq", "requeue", "--all", **at(environment))
        assert said.status == UNAVAILABLE and "read-only" in said.out
    finally:
        standby.remove()


# --- tail ---


def test_tail_shows_every_new_event_once_and_ends_after_the_count(connection, follow):
    old = new_order(connection)
    tail = follow("--count", "40")
    # It has begun when it shows something.
    orders = []
    wait_until(lambda: orders.append(new_order(connection)) or tail.events, 30, "the first event")
    while len(orders) < 60:
        orders.append(new_order(connection))
    status, said = tail.wait()
    assert (status, said) == (OK, "")
    shown = tail.ids()
    first = orders.index(tail.events[0]["order_id"])
    assert shown == [f"{order_id}.1" for order_id in orders[first : first + 40]]
    assert f"{old}.1" not in shown


def test_tail_shows_an_event_that_commits_late(system, connection, follow):
    with system.server.connect(autocommit=False) as slow:
        late = new_order(slow)
        tail = follow("--after", str(event_id(slow, late) - 1))
        early = [new_order(connection) for _ in range(3)]
        wait_until(lambda: len(tail.events) == 3, 30, "the events that are committed")
        assert tail.ids() == [f"{order_id}.1" for order_id in early]
        slow.commit()
    wait_until(lambda: len(tail.events) == 4, 30, "the late event")
    assert tail.ids()[3] == f"{late}.1"
    # One that rolls back is none, and does not hold up what follows.
    with system.server.connect(autocommit=False) as slow:
        gone = new_order(slow)
        after = new_order(connection)
        wait_until(lambda: len(tail.events) == 5, 30, "the event behind it")
        slow.rollback()
    last = new_order(connection)
    wait_until(lambda: len(tail.events) == 6, 30, "the last event")
    assert tail.ids()[4:] == [f"{after}.1", f"{last}.1"] and gone != after


def test_tail_of_an_order_shows_only_its_events(connection, follow):
    order_id = new_order(connection)
    tail = follow("--order", str(order_id), "--after", "0")
    wait_until(lambda: len(tail.events) == 1, 30, "the first event")
    other = new_order(connection, versions=2)
    cancel(connection, order_id)
    wait_until(lambda: len(tail.events) == 2, 30, "the second event")
    assert tail.ids() == [f"{order_id}.1", f"{order_id}.2"] and other != order_id


def test_tail_ends_with_a_signal_and_says_when_the_connection_is_lost(system, connection, follow):
    new_order(connection)
    tail = follow("--after", "0")
    wait_until(lambda: tail.events, 30, "an event")
    tail.process.send_signal(signal.SIGINT)
    assert tail.wait()[0] == -signal.SIGINT
    tail = follow("--after", "0")
    wait_until(lambda: tail.events, 30, "an event")
    connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'orderctl'")
    status, _ = tail.wait()
    assert status == FAILED
    said = tail.events[-1]["message"]
    assert re.search("terminating connection due to administrator command|server closed", said), said


def test_tail_says_so_when_a_transaction_stays_open_for_too_many_events(system, connection, follow):
    """Twice what the window holds: the rest of it is shown all the same, each event once."""
    count = 2 * WINDOW_MAX
    with system.server.connect(autocommit=False) as slow:
        late = new_order(slow)
        first = event_id(slow, late)
        tail = follow("--after", str(first), "--count", str(count))
        connection.execute(
            "INSERT INTO order_service.outbox (event_id, previous_event_id, order_id, account_id, created_at,"
            " order_version, event_type, status, payload, sent_at)"
            " SELECT nextval('order_service.event_id_seq'), 0, 1000000 + n, 1, now(), 1, 1, 1, 'x', now()"
            " FROM generate_series(1, %s) n",
            [count],
        )
        status, said = tail.wait()
        slow.rollback()
    assert status == OK
    assert [event["order_id"] for event in tail.events] == list(range(1000001, 1000001 + count))
    assert re.search(r"orderctl: a transaction stays open; what it commits below event \d+ is not shown\n", said)
    connection.execute("DELETE FROM order_service.outbox WHERE order_id > 1000000")


# --- events that are refused ---


def test_dlq_lists_what_was_refused_and_requeue_sends_it_and_what_waited(system, connection, orderctl, read_topic):
    pause(system, connection)
    first, second = new_order(connection, versions=2), new_order(connection)
    payloads = break_events(system, connection, [first, second])
    said = orderctl("dlq", "list")
    lines = said.out.splitlines()
    assert lines[0].split() == ["EVENT", "ID", "STATUS", "ATTEMPTS", "WAITING", "FAILED", "TYPE,", "ERROR"]
    assert len(lines) == 3
    assert re.match(
        rf" *{event_id(connection, first)}  {first}\.1 +FAILED +1 +1  \S+Z  ORDER_ACCEPTED  the payload is not an"
        " OrderEvent$",
        lines[1],
    ), lines[1]
    print(f"\n{said.out}")
    events = json.loads(orderctl("dlq", "list", "--error", "%not an OrderEvent", "--json").out)["events"]
    assert [(event["order_id"], event["waiting"]) for event in events] == [(first, 1), (second, 0)]
    assert json.loads(orderctl("dlq", "list", "--error", "too large", "--json").out)["events"] == []
    assert len(json.loads(orderctl("dlq", "list", "--order", str(second), "--json").out)["events"]) == 1

    shown = json.loads(orderctl("dlq", "show", f"{first}.1", "--json").out)
    assert (shown["status"], shown["payload"], shown["waiting"]) == ("FAILED", None, 1)
    assert "the payload is not an OrderEvent" in orderctl("outbox", "show", f"{first}.1").out
    said = orderctl("outbox", "show", f"{first}.2")
    assert f"\nwaits for   event {event_id(connection, first)}, {first}.1, which is FAILED\n" in said.out

    # Mended, both are put back: one by its name, and one by its error.
    for order_id, payload in payloads.items():
        set_payload(connection, order_id, payload)
    said = orderctl("outbox", "requeue", f"{first}.1")
    assert said == Said(OK, "requeued: 1 event; later ones of the same order follow\n", "")
    assert orderctl("dlq", "requeue", "--error", "%not an%", "--status", "failed", "--json").out == '{"requeued":1}\n'
    wait_all_sent(connection)
    names = [f"{first}.1", f"{first}.2", f"{second}.1"]
    found = [record.header("id") for record in read_topic(system.topic) if record.header("id") in names]
    assert sorted(found) == names
    assert found.index(names[0]) < found.index(names[1])
    assert orderctl("dlq", "list") == Said(OK, "", "orderctl: no such events\n")
    assert orderctl("dlq", "requeue", "--all").status == NOT_FOUND


def test_dlq_shows_what_is_in_the_dead_letter_topic(system, connection, orderctl, read_topic):
    pause(system, connection)
    order_id = new_order(connection)
    payload = break_events(system, connection, [order_id])[order_id]
    # As protobuf the payload is sent as it is, to that topic too.
    system.server.configure(order_service__event_format="protobuf", order_service__dlq_interval="1s")
    try:
        wait_until(lambda: status_of(connection, order_id) == "DLQ", 60, "the dead letter")
    finally:
        system.server.configure(order_service__event_format="json", order_service__dlq_interval="1h")
    assert [record.value for record in read_topic(system.dlq_topic)] == [b"not an event"]
    events = json.loads(orderctl("dlq", "list", "--status", "dlq", "--json").out)["events"]
    assert [event["order_id"] for event in events] == [order_id]
    assert json.loads(orderctl("dlq", "list", "--status", "failed", "--json").out)["events"] == []
    set_payload(connection, order_id, payload)
    assert orderctl("dlq", "requeue", str(events[0]["event_id"])).status == OK
    wait_all_sent(connection)
