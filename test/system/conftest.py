"""Fixtures of the system tests: real PostgreSQL and Kafka from sandbox/stack.py, one topic per test.

kafka           the broker of the session; whatever a test does to it, the next test finds it running
topic           a fresh topic with three partitions, named after the test
make_postgres   function: a started cluster of the test's own, with the database `orders` and the extension
make_shared_postgres   the same, for the whole test module
postgres        make_postgres() with the defaults
make_whole      function: a whole system of the test's own (whole.Whole): PostgreSQL, Account and a proxy
make_shared_whole      the same, for the whole test module
make_account    function: a started Account stand-in of the test's own
make_cluster    function: a leader with what a synchronous standby and a proxy need (cluster.Cluster); a test that uses
                it runs once for each way in which a proxy finds the leader
read_topic      function: all records of a topic up to its current end
wait_until      function: poll a condition; also `from stack import wait_until`
When a test fails, the last lines of the servers' logs are in its report.
"""

import os
import re
import sys
import uuid
from collections import namedtuple
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "sandbox"))

import cluster  # noqa: E402 (found only through the line above)
import stack  # noqa: E402
from proxy import create_role  # noqa: E402
from soak import IS_SOAK, sized  # noqa: E402

READ_SECONDS_MAX = sized(30, 300)
TEST_SECONDS_MAX = sized(300, 3600)
LOG_LINES = 40
# The build of the proxy, for tests that do not choose one: gcc, clang or asan.
VARIANT = os.environ.get("PROXY_VARIANT", "gcc")

# headers: a list of (name, bytes) in the record's order; header(name) is the first of that name, decoded.
Record = namedtuple("Record", "partition offset key value headers timestamp_ms")
Record.header = lambda self, name: next((value.decode() for key, value in self.headers if key == name), None)

_servers = {}


def pytest_configure(config):
    config.addinivalue_line("markers", "soak: has a long form, which SOAK=1 asks for")
    # Without this, SIGTERM (a CI job's time limit) would end us before the fixtures can clean up.
    stack.exit_on_signals()


def pytest_collection_modifyitems(config, items):
    """A test that hangs must fail by itself: a CI job that is killed leaves no report.

    The files that take longest go first, so that none of them runs alone at the end: those with long forms.
    """
    if IS_SOAK:
        short = [item for item in items if item.get_closest_marker("soak") is None]
        config.hook.pytest_deselected(items=short)
        items[:] = [item for item in items if item not in short]
    long_files = {item.path for item in items if item.get_closest_marker("soak") is not None}
    items.sort(key=lambda item: item.path not in long_files)
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS_MAX))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for name, server in _servers.items():
            report.sections.append((f"last lines of the log of {name}", server.log_tail(LOG_LINES)))


@pytest.fixture(scope="session")
def scratch():
    """The directory of this session."""
    stack.require_extension()
    with stack.Scratch("system") as directory:
        yield directory


@pytest.fixture(scope="session")
def kafka(scratch):
    """The broker: .bootstrap, .create_topic(), .stop(), .start(), .kill9(), .freeze(), .thaw()."""
    with stack.Kafka(scratch / "kafka") as broker:
        _servers["kafka"] = broker
        yield broker
        del _servers["kafka"]


@pytest.fixture(autouse=True)
def kafka_after_test():
    """Repair the broker after a test that froze, stopped or killed it."""
    yield
    broker = _servers.get("kafka")
    if broker is not None:
        broker.thaw()
        if not broker.is_running:
            broker.start()


@pytest.fixture
def topic(kafka, request):
    """The name of a topic that only this test uses."""
    readable = re.sub(r"[^A-Za-z0-9]+", "_", request.node.name)[:80].strip("_")
    return kafka.create_topic(f"{readable}.{uuid.uuid4().hex[:8]}", partitions=3)


def _postgres_factory(scratch, name):
    """A context-free factory and the function that removes what it made."""
    made = []

    def make(preload=True, settings=None, kafka=None, topic=None, start=True, extension=True):
        """Make a cluster.

        preload    load the extension at server start; without it there is no worker
        kafka      the broker the publisher is told (none: it has no address)
        topic      the topic it publishes to (none: the extension's default)
        settings   more configuration parameters
        start      start it and create the database `orders`, and in it, unless extension=False, the extension
        """
        values = dict(settings or {})
        if topic is not None:
            values["order_service.topic"] = topic
        label = f"{name}-{len(made) + 1}"
        brokers = kafka.bootstrap if kafka is not None else ""
        server = stack.Postgres(scratch / f"{label}-{uuid.uuid4().hex[:8]}", preload, values, brokers)
        made.append((label, server))
        _servers[label] = server
        if start:
            server.start()
            server.create_database(extension=extension)
        return server

    def remove_all():
        for label, server in made:
            server.remove()
            _servers.pop(label, None)

    return make, remove_all


@pytest.fixture
def make_postgres(scratch):
    """make_postgres(preload=True, settings=None, kafka=None, topic=None, start=True, extension=True) -> Postgres"""
    make, remove_all = _postgres_factory(scratch, "postgres")
    yield make
    remove_all()


@pytest.fixture(scope="module")
def make_shared_postgres(scratch):
    """As make_postgres; what it makes lives until the end of the test module."""
    make, remove_all = _postgres_factory(scratch, "shared-postgres")
    yield make
    remove_all()


@pytest.fixture
def postgres(make_postgres, kafka, topic):
    """A cluster of this test's own that publishes to this test's topic."""
    return make_postgres(kafka=kafka, topic=topic)


def _whole_factory(scratch, make_postgres):
    """A context-free factory of whole systems and the function that ends what it made."""
    made = []

    def start(label, server):
        made.append((label, server))
        _servers[label] = server
        server.start()
        return server

    def make_account():
        """Start an Account stand-in with an empty ledger."""
        label = f"account-{len(made) + 1}"
        return start(label, stack.Account(scratch / f"{label}-{uuid.uuid4().hex[:8]}"))

    def make(postgres=None, account=None, kafka=None, topic=None, settings=None, variant=VARIANT, wrapper=(), home=None):
        """Make a proxy, and the servers behind it that are not given.

        kafka, topic    where a new cluster publishes to (none: nowhere)
        settings        the proxy's: {"section.name": value}
        variant, wrapper    which build of it (PROXY_VARIANT in the environment says which is usual), and words
                            before its command
        home            its address, and the words before a command that run it there, if it lives elsewhere
        """
        from whole import Whole

        postgres = postgres or make_postgres(kafka=kafka, topic=topic)
        create_role(postgres)
        account = account or make_account()
        label = f"proxy-{variant}-{len(made) + 1}"
        directory = scratch / f"{label}-{uuid.uuid4().hex[:8]}"
        proxy = stack.Proxy(directory, postgres, account, settings=settings, variant=variant, wrapper=wrapper)
        if home is not None:
            proxy.host, proxy.before = home
        return Whole(postgres, account, start(label, proxy), topic)

    def end_all():
        """End in order, the last one first, so that every proxy can show that it ends well."""
        complaints = []
        for label, server in reversed(made):
            server.thaw()
            if isinstance(server, stack.Proxy) and server.is_running:
                complaints += [f"{label}: {text}" for text in end_proxy(server)]
            server.remove()
            _servers.pop(label, None)
        assert not complaints, "\n".join(complaints)

    return make, make_account, end_all


def end_proxy(proxy):
    """Stop a proxy by SIGTERM; what is wrong with its end, as a list of texts, with the sanitizers' reports."""
    status = proxy.stop()
    found = [] if status == 0 else [f"exit status {status}\n{proxy.log_tail()}"]
    log = proxy.log_text()
    for sign in ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:"):
        if sign in log:
            found.append(log[log.index(sign) :][:4000])
    return found


@pytest.fixture
def whole_factory(scratch, make_postgres):
    make, make_account, end_all = _whole_factory(scratch, make_postgres)
    yield make, make_account
    end_all()


@pytest.fixture
def make_whole(whole_factory):
    """make_whole(postgres=None, account=None, kafka=None, topic=None, settings=None, variant=VARIANT, wrapper=(), home=None)"""
    return whole_factory[0]


@pytest.fixture
def make_account(whole_factory):
    """make_account() -> Account, started"""
    return whole_factory[1]


@pytest.fixture(params=cluster.WAYS)
def make_cluster(request, scratch):
    """make_cluster(leader) -> Cluster"""
    made = []

    def make(leader):
        made.append(cluster.Cluster(leader, scratch, request.param))
        return made[-1]

    yield make
    for one in made:
        one.remove()


@pytest.fixture(scope="module")
def make_shared_whole(scratch, make_shared_postgres):
    """As make_whole; what it makes lives until the end of the test module."""
    make, _, end_all = _whole_factory(scratch, make_shared_postgres)
    yield make
    end_all()


@pytest.fixture(scope="session")
def read_topic(kafka):
    """read_topic(topic) -> [Record]: everything up to the end the topic has now, by partition and offset."""
    from confluent_kafka import Consumer, TopicPartition

    def read(topic):
        consumer = Consumer(
            {
                "bootstrap.servers": kafka.bootstrap,
                # No group takes part: partitions are assigned by hand, and nothing is committed.
                "group.id": f"read-{uuid.uuid4().hex}",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": False,
                "log_level": 0,
                # Lost connections are repaired by the client itself; what cannot be read shows as a late end.
                "error_cb": lambda error: None,
            }
        )
        try:
            return _read_to_end(consumer, topic, kafka.offsets(topic), TopicPartition)
        finally:
            consumer.close()

    return read


def _read_to_end(consumer, topic, offsets, topic_partition):
    ends = {number: end for number, (first, end) in offsets.items() if end > first}
    starts = [topic_partition(topic, number, offsets[number][0]) for number in ends]
    consumer.assign(starts)
    records, positions = [], {}

    def is_at_end():
        for message in consumer.consume(1000, timeout=0.05):
            if message.error():
                raise AssertionError(f"reading {topic}: {message.error()}")
            if message.offset() < ends[message.partition()]:
                records.append(_record(message))
        # The position counts, not the last record: a transaction marker takes an offset and is never delivered.
        positions.update((p.partition, p.offset) for p in consumer.position(starts))
        return all(positions[number] >= end for number, end in ends.items())

    if starts:
        stack.wait_until(is_at_end, READ_SECONDS_MAX, f"end of topic {topic}")
    return sorted(records, key=lambda record: (record.partition, record.offset))


def _record(message):
    key = message.key().decode() if message.key() is not None else None
    headers = message.headers() or []
    return Record(message.partition(), message.offset(), key, message.value(), headers, message.timestamp()[1])


@pytest.fixture
def wait_until():
    """wait_until(predicate, seconds, what): the predicate's value once it is true; TimeoutError if it never is."""
    return stack.wait_until
