"""The publisher against a plain relay (relay.c): a backlog drained by each, and each at a fixed rate of orders.

Both send the same rows, written by the same function, to the same broker. The relay works on a server without a
publisher, or on a copy of the table, and has the index on unsent rows that it needs.
"""

import subprocess
import threading
import time
from pathlib import Path

import batches
import machine
import outbox
import single
import stack
from confluent_kafka import Consumer, TopicPartition
from servers import tied

BATCH = 500
# A short pause costs the relay processor time while it is idle, a long one costs it latency.
POLL_MS = 5
CONNECTIONS = 4
# Not counted: until then plans, connections and topics are new to both.
WARM_UP_SECONDS = 2
# So many orders share a commit at a rate that the machine cannot do with a commit each.
SINGLES_PER_SECOND_MAX = 1000
QUANTILES = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}
DRAIN_SECONDS_MAX = 1800
READ_SECONDS_MAX = 120
MEMORY_SAMPLE_SECONDS = 0.1

# The index of a relay, and of nobody else: it changes with every mark.
INDEX = "CREATE INDEX relay_ready ON {0}.outbox (event_id) WHERE status = 0"
# It marks by UPDATE, whose new row should find room on its page.
ROOM = "ALTER TABLE {0}.outbox SET (fillfactor = 50)"
COPY = "INSERT INTO bench.outbox SELECT * FROM order_service.outbox ORDER BY event_id"
COMMITS = "SELECT order_id, extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000 FROM order_service.orders"
BACKEND = "SELECT pid FROM pg_stat_activity WHERE application_name = 'relay'"


class Memory(threading.Thread):
    """The most that processes had in memory of their own, together, while this ran; shared buffers are nobody's own."""

    def __init__(self, pids):
        super().__init__(daemon=True)
        self._pids = pids
        self._ending = threading.Event()
        self.peak_mb = 0.0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_exc):
        self._ending.set()
        self.join()

    def run(self):
        while not self._ending.wait(MEMORY_SAMPLE_SECONDS):
            self.peak_mb = max(self.peak_mb, sum(machine.own_memory_mb(pid) for pid in self._pids))


class Relay:
    """A running relay. Its time is that of the program and of its backend."""

    def __init__(self, servers, schema, topic, poll_ms):
        self._servers = servers
        program = Path(__file__).resolve().parents[2] / "build" / "bench-gcc" / "relay"
        command = [str(program), servers.dsn, f"{schema}.outbox", servers.kafka.bootstrap, topic, str(BATCH)]
        self._process = subprocess.Popen(tied([*command, str(poll_ms)]))

    def __enter__(self):
        stack.wait_until(lambda: self._servers.value(BACKEND) or self.has_ended(), 30, "relay connected")
        self.pids = [self._process.pid, self._servers.value(BACKEND)]
        return self

    def __exit__(self, *_exc):
        self._process.kill()
        self._process.wait()

    def has_ended(self):
        status = self._process.poll()
        if status:
            raise stack.SandboxError(f"the relay ended with status {status}")
        return status == 0


def quantiles(values):
    values = sorted(values)
    return {name: values[min(int(len(values) * share), len(values) - 1)] for name, share in QUANTILES.items()}


def cpu(pids):
    return sum(machine.cpu_seconds(pid) for pid in pids)


# --- a backlog ------------------------------------------------------------------------------------------------------


def make_backlog(servers, count):
    """Orders placed while nothing is published, and a copy of their events for the relay; their number."""
    servers.reset()
    servers.set_publishing(False)
    count = batches.place(servers, count)
    servers.connection.execute("DROP INDEX IF EXISTS bench.relay_ready")
    servers.connection.execute(ROOM.format("bench"))
    servers.connection.execute(COPY)
    servers.connection.execute(INDEX.format("bench"))
    servers.connection.execute("VACUUM ANALYZE bench.outbox")
    servers.connection.execute("VACUUM ANALYZE order_service.outbox")
    return count


def drain_by_publisher(servers, count):
    sent = servers.sent()
    pids = [servers.value("SELECT pid FROM order_service.stats")]
    with Memory(pids) as memory:
        before, used, begin = servers.usage(), cpu(pids), time.monotonic()
        servers.set_publishing(True)
        stack.wait_until(lambda: servers.sent() >= sent + count, DRAIN_SECONDS_MAX, "backlog drained by the publisher")
        elapsed = time.monotonic() - begin
    outbox.check_sent(servers)
    return result(servers, before, cpu(pids) - used, elapsed, memory, count)


def drain_by_relay(servers, count):
    topic = new_topic(servers)
    before, begin = servers.usage(), time.monotonic()
    with Relay(servers, "bench", topic, poll_ms=0) as relay, Memory(relay.pids) as memory:
        program, used = relay.pids[0], 0.0

        def has_ended():
            # Asked while it runs: its time goes with it.
            nonlocal used
            used = max(used, machine.cpu_seconds(program))
            return relay.has_ended()

        stack.wait_until(has_ended, DRAIN_SECONDS_MAX, "backlog drained by the relay")
        elapsed = time.monotonic() - begin
    servers.wait_disconnected()
    used += servers.usage()["cpu"]["backends"] - before["cpu"]["backends"]
    left = servers.value("SELECT count(*) FROM bench.outbox WHERE status <> 1")
    if left:
        raise stack.SandboxError(f"the relay left {left} events")
    return result(servers, before, used, elapsed, memory, count)


def result(servers, before, used, elapsed, memory, count):
    after = servers.usage()
    _, others = machine.difference(before["cpu"], after["cpu"], used)
    return {
        "events_per_s": count / elapsed,
        "cpu_us": used * 1e6 / count,
        "cores": used / elapsed,
        "memory_mb": memory.peak_mb,
        "wal_bytes": (after["wal"] - before["wal"]) / count,
        "others_cores": others,
    }


# --- a rate ---------------------------------------------------------------------------------------------------------


def new_topic(servers):
    """A topic of this run, whose records have the time at which the broker appended them."""
    name = f"bench.{time.monotonic_ns()}"
    return servers.kafka.create_topic(name, config={"message.timestamp.type": "LogAppendTime"})


def place_at(servers, rate, seconds):
    """Place orders for so long, and for the warm-up before; (their number, begin of what counts as Unix time, ms)."""
    per_transaction = max(rate // SINGLES_PER_SECOND_MAX, 1)
    begin = time.time()
    orders, *_ = single.pgbench(
        servers,
        "order_service",
        CONNECTIONS,
        seconds + WARM_UP_SECONDS,
        rate=rate,
        per_transaction=per_transaction,
    )
    return orders, (begin + WARM_UP_SECONDS) * 1000


def run_publisher(servers, rate, seconds):
    topic = new_topic(servers)
    servers.postgres.settings["order_service.topic"] = topic
    servers.restart(has_publisher=True)
    servers.reset()
    pids = [servers.value("SELECT pid FROM order_service.stats")]
    with Memory(pids) as memory:
        before, used, begin = servers.usage(), cpu(pids), time.monotonic()
        orders, counted_from = place_at(servers, rate, seconds)
        servers.wait_sent(orders)
        elapsed = time.monotonic() - begin
    found = result(servers, before, cpu(pids) - used, elapsed, memory, orders)
    outbox.check_sent(servers)
    return {**found, **latencies(servers, topic, orders, counted_from)}


def run_relay(servers, rate, seconds):
    topic = new_topic(servers)
    servers.restart(has_publisher=False)
    servers.reset()
    servers.connection.execute(ROOM.format("order_service"))
    servers.connection.execute(INDEX.format("order_service"))
    try:
        with Relay(servers, "order_service", topic, POLL_MS) as relay, Memory(relay.pids) as memory:
            before, used, begin = servers.usage(), cpu(relay.pids), time.monotonic()
            orders, counted_from = place_at(servers, rate, seconds)
            stack.wait_until(lambda: servers.value(outbox.NOT_SENT) == 0, DRAIN_SECONDS_MAX, "all sent by the relay")
            elapsed = time.monotonic() - begin
            found = result(servers, before, cpu(relay.pids) - used, elapsed, memory, orders)
    finally:
        servers.connection.execute("DROP INDEX order_service.relay_ready")
        servers.connection.execute("ALTER TABLE order_service.outbox RESET (fillfactor)")
    return {**found, **latencies(servers, topic, orders, counted_from)}


def latencies(servers, topic, orders, counted_from):
    """From the moment when a transaction began to commit until the broker appended its event, by whole milliseconds."""
    appended = read_times(servers, topic)
    if len(appended) != orders:
        raise stack.SandboxError(f"{orders} orders, but {len(appended)} of them have a record")
    commits = ((order_id, float(time_ms)) for order_id, time_ms in servers.connection.execute(COMMITS))
    values = [appended[order_id] - time_ms for order_id, time_ms in commits if time_ms >= counted_from]
    return quantiles(values)


def read_times(servers, topic):
    """{order id: time of its record in ms} of a whole topic."""
    offsets = servers.kafka.offsets(topic)
    consumer = Consumer({"bootstrap.servers": servers.kafka.bootstrap, "group.id": topic, "log_level": 0})
    times, left = {}, sum(end - first for first, end in offsets.values())
    try:
        consumer.assign([TopicPartition(topic, number, first) for number, (first, _) in offsets.items()])

        def is_at_end():
            nonlocal left
            for message in consumer.consume(10_000, timeout=0.1):
                if message.error():
                    raise stack.SandboxError(f"reading {topic}: {message.error()}")
                times[int(message.key())] = message.timestamp()[1]
                left -= 1
            return left <= 0

        stack.wait_until(is_at_end, READ_SECONDS_MAX, f"end of topic {topic}")
    finally:
        consumer.close()
    return times
