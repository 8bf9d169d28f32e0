"""The private servers under measurement, and what the parts of the benchmark do to them between two runs."""

from contextlib import ExitStack, contextmanager
from pathlib import Path

import machine
import stack
from pgserver import pg_config, private

DIRECTORY = Path(__file__).resolve().parent
SETTINGS = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "min_wal_size": "2GB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": 60,
    # Both would hit one run of a few seconds and spare the next. A checkpoint is made before each run instead.
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
}
TABLES = "{0}.orders, {0}.idempotency_key, {0}.outbox"
WAL_SEGMENTS_AHEAD = 100
QUIET_SECONDS_MAX = 60
DRAIN_SECONDS_MAX = 120

COUNTS = """\
SELECT (SELECT count(*) FROM {0}.orders WHERE status = 1 AND order_id > {1}),
       (SELECT count(*) FROM {0}.idempotency_key WHERE order_id > {1}),
       (SELECT count(*) FROM {0}.outbox WHERE event_id > {2})"""
LAST_IDS = "SELECT (SELECT last_value FROM {0}.order_id_seq), (SELECT last_value FROM {0}.event_id_seq)"
QUIET = """\
SELECT state = 'STREAMING' AND ring_used = 0 AND in_flight = 0 AND waiting = 0 AND gaps = 0
FROM order_service.stats WHERE database = current_database()"""
WAL = """\
SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn, coalesce((to_jsonb(w) ->> 'wal_sync')::bigint, 0)
FROM pg_stat_wal w"""


class Servers:
    """PostgreSQL and Kafka, running. `connection` is ours alone; what its backend uses is not counted.

    settings: of PostgreSQL, which precede SETTINGS.
    kafka: a broker that runs already, of somebody else; None for one of our own.
    programs: {kind: server} of what else runs for a while, and takes part in the costs.
    proxy_settings: {"section.name": value} for the proxies before it, which otherwise have their defaults.
    keeps_rows: reset() empties nothing; what was there before it is not counted.
    """

    def __init__(self, directory, settings=None, kafka=None):
        self.directory = directory
        self.kafka = kafka or stack.Kafka(directory / "kafka")
        self._has_own_kafka = kafka is None
        self.settings = settings or {}
        self.postgres = stack.Postgres(directory / "postgres", settings={**SETTINGS, **self.settings})
        self.connection = None
        self.has_publisher = True
        self.programs = {}
        self.proxy_settings = {}
        self.keeps_rows = False
        self.last_ids = (0, 0)

    @contextmanager
    def running(self):
        with ExitStack() as ends:
            if self._has_own_kafka:
                ends.enter_context(self.kafka)
                for topic in stack.TOPICS:
                    self.kafka.create_topic(topic)
            self.postgres.brokers = self.kafka.bootstrap
            ends.enter_context(self.postgres)
            self.postgres.create_database()
            self.connect()
            self.connection.execute((DIRECTORY / "baseline.sql").read_text())
            self._make_wal_ahead()
            yield self

    def connect(self):
        self.connection = self.postgres.connect()

    def restart(self, has_publisher):
        """Start PostgreSQL again: counters and histogram begin at zero. Without a publisher there are no hints."""
        self.connection.close()
        self.has_publisher = has_publisher
        self.postgres.settings["order_service.databases"] = "orders" if has_publisher else ""
        self.postgres.settings.pop("order_service.publishing", None)
        self.postgres.restart()
        self.connect()
        if has_publisher:
            self.wait_quiet()

    def _make_wal_ahead(self):
        """A server that has run for a while recycles its segments; a new one would make them during the first runs."""
        for _ in range(WAL_SEGMENTS_AHEAD):
            self.connection.execute("SELECT pg_logical_emit_message(false, 'bench', ''), pg_switch_wal()")
        self.connection.execute("CHECKPOINT")

    # --- between runs ---

    def reset(self):
        """Empty tables and nothing left to write, so that every run begins alike."""
        if self.has_publisher:
            self.wait_quiet()
        if self.keeps_rows:
            self.last_ids = self.connection.execute(LAST_IDS.format("order_service")).fetchone()
            return
        for schema in ("order_service", "bench"):
            self.connection.execute(f"TRUNCATE {TABLES.format(schema)}")
        # A debt of an order that is gone would be tried for ever.
        self.connection.execute("TRUNCATE order_service.hold_debt")
        self.connection.execute("CHECKPOINT")

    def set_publishing(self, is_on):
        self.postgres.configure(order_service__publishing="on" if is_on else "off")
        if is_on:
            return
        query = "SELECT state = 'PAUSED' FROM order_service.stats"
        stack.wait_until(lambda: self.value(query), QUIET_SECONDS_MAX, "publisher that pauses")

    def wait_quiet(self):
        """Wait until the publisher runs and has nothing in hand."""
        stack.wait_until(lambda: self.value(QUIET), QUIET_SECONDS_MAX, "publisher with nothing to do")

    def sent(self):
        """Events acknowledged and marked since the server started."""
        return self.value("SELECT sent FROM order_service.stats")

    def wait_sent(self, count):
        stack.wait_until(lambda: self.sent() >= count, DRAIN_SECONDS_MAX, f"{count} events sent")

    # --- looking ---

    def value(self, query, parameters=None):
        row = self.connection.execute(query, parameters).fetchone()
        return row[0] if row is not None else None

    def check_counts(self, schema, count):
        """Every run must have done what its figure says, in all three tables."""
        counts = self.connection.execute(COUNTS.format(schema, *self.last_ids)).fetchone()
        if counts != (count, count, count):
            raise stack.SandboxError(f"{count} orders reported, but {schema} has orders, keys, events: {counts}")

    def wait_disconnected(self):
        """Wait until the backends of a client that ended are gone, and what they used is in their parent's account."""
        ours = [self.connection.info.backend_pid]
        postmaster = self.postgres.pid
        stack.wait_until(lambda: not machine.has_backends(postmaster, ours), QUIET_SECONDS_MAX, "end of the backends")

    def usage(self):
        """CPU by process, and the WAL: position and fsyncs."""
        wal, fsyncs = self.connection.execute(WAL).fetchone()
        programs = {kind: server.processes() for kind, server in {"kafka": self.kafka, **self.programs}.items()}
        cpu = machine.snapshot(self.postgres.pid, programs, [self.connection.info.backend_pid])
        return {"cpu": cpu, "wal": int(wal), "fsyncs": fsyncs}

    def client_environment(self):
        """For libpq programs: over the Unix socket, which costs least."""
        return {**self.postgres.environment(), "PGHOST": str(self.postgres.socket_directory)}

    @property
    def dsn(self):
        environment = self.client_environment()
        names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGDATABASE": "dbname"}
        return " ".join(f"{names[name]}={value}" for name, value in environment.items())


def tied(command):
    """The command, killed by the kernel when this program dies."""
    return ["setpriv", "--pdeathsig", "KILL", "--", *command]


def program(name):
    """A client program of the private installation."""
    return str(private(pg_config("bindir")) / name)


def costs(before, after, client_seconds, orders):
    """Per order: CPU microseconds by process, WAL bytes, fsyncs; and what strangers used meanwhile, in cores."""
    cpu, others = machine.difference(before["cpu"], after["cpu"], client_seconds)
    per_order = {kind: seconds * 1e6 / orders for kind, seconds in cpu.items()}
    return {
        "orders": orders,
        "cpu_us": per_order,
        "cpu_us_all": sum(per_order.values()),
        "wal_bytes": (after["wal"] - before["wal"]) / orders,
        "fsyncs": (after["fsyncs"] - before["fsyncs"]) / orders,
        "others_cores": others,
        "seconds": after["cpu"]["time"] - before["cpu"]["time"],
    }
