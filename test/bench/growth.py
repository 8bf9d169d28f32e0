"""Whether an order costs more when there are many already: a second server whose tables are full, beside the first.

The same run is made on both, one after the other. Both publish to the same Kafka; the one that waits costs nothing.
"""

import shutil
import sys
import threading
import time
from contextlib import contextmanager

import batches
import machine
import single
import stack
import whole_path
from servers import Servers

# Bytes on disk per order: rows, indexes, and the WAL that comes with them at first.
BYTES_PER_ORDER = 2500
CHUNK = 500_000
# The first change of a page after a checkpoint writes the whole page to the WAL. A checkpoint comes every few minutes,
# so in operation that is spread over millions of orders; here so many orders go before what is measured.
WARM_UP_ORDERS = 400_000
# Of each of the two servers: what PostgreSQL's manual advises, room for the indexes of ten million orders; and no
# checkpoint in between.
SHARED_BUFFERS_MB = machine.MEMORY_MB // 4
SETTINGS = {"shared_buffers": f"{SHARED_BUFFERS_MB}MB", "max_wal_size": "16GB"}
# What a server shares beside its buffers, their descriptors above all.
SHARED_MB_PER_BUFFERS_MB, SHARED_MB = 0.05, 200
CONNECTIONS = 32
BATCH_SIZE = 64

# What the rows are like: account, key and payload as the benchmark's own orders have them, in all states finished.
ROWS = {
    "orders": """
INSERT INTO order_service.orders (order_id, account_id, quantity, price, reserve_amount, last_event_id, created_at,
    updated_at, order_version, code, side, order_type, time_in_force, status, hold, currency, symbol, reserve_id)
SELECT n, 1 + abs(hashint8(n)::bigint) % 100000, 10, 100000000, 1000000000, n, now(),
    now(), 1, 200, 1, 1, 0, 1, 1, 'EUR', 'BENCH-' || (n % 1000 + 1), 'existing0000-' || n
FROM generate_series({first}, {last}) AS n""",
    "outbox": """
INSERT INTO order_service.outbox (event_id, previous_event_id, order_id, account_id, created_at, sent_at,
    order_version, event_type, status, payload)
SELECT n, 0, n, 1 + abs(hashint8(n)::bigint) % 100000, now(), now(), 1, 1, 1, decode(repeat('08', 80), 'hex')
FROM generate_series({first}, {last}) AS n""",
    "idempotency_key": """
INSERT INTO order_service.idempotency_key (account_id, order_id, created_at, command, key)
SELECT 1 + abs(hashint8(n)::bigint) % 100000, n, now(), 1, gen_random_uuid()::text
FROM generate_series({first}, {last}) AS n""",
}
# Each with its indexes, side by side: the keys take as long as the other two.
LANES = (("orders", "outbox"), ("idempotency_key",))
# What was handed out, and below which nothing is left to do.
AFTERWARDS = """
SELECT setval('order_service.order_id_seq', {last}), setval('order_service.event_id_seq', {last});
UPDATE order_service.watermark SET value = {last} + 1, candidate = {last} + 1;
"""


class Lane(threading.Thread):
    """Fills some tables, in small transactions."""

    def __init__(self, servers, tables, count):
        super().__init__(daemon=True)
        self._servers, self._tables, self._count = servers, tables, count
        self.error = None

    def run(self):
        try:
            with self._servers.postgres.connect(options="-c synchronous_commit=off") as connection:
                for first in range(1, self._count + 1, CHUNK):
                    last = min(first + CHUNK - 1, self._count)
                    for table in self._tables:
                        connection.execute(ROWS[table].format(first=first, last=last))
        except Exception as error:  # raised where it is joined
            self.error = error


def fill(servers, count):
    """Put so many existing orders into empty tables, as they would be after a night: vacuumed, and all on disk."""
    servers.restart(has_publisher=False)
    servers.reset()
    lanes = [Lane(servers, tables, count) for tables in LANES]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
        if lane.error is not None:
            raise stack.SandboxError(f"the tables could not be filled: {lane.error}") from lane.error
    for statement in AFTERWARDS.format(last=count).strip().splitlines():
        servers.connection.execute(statement)
    servers.connection.execute("VACUUM (ANALYZE) order_service.orders, order_service.idempotency_key")
    servers.connection.execute("VACUUM (ANALYZE) order_service.outbox")
    servers.connection.execute("CHECKPOINT")
    servers.keeps_rows = True
    servers.restart(has_publisher=True)
    warm_up(servers)


def warm_up(servers):
    """Before what is measured beside existing orders."""
    servers.reset()
    batches.place(servers, WARM_UP_ORDERS)


def run_started(servers, size, seconds):
    """Array calls on a server that was just started, of whose tables nothing is in memory."""
    servers.connection.close()
    servers.postgres.stop()
    machine.forget_files(servers.postgres.data)
    servers.postgres.start()
    servers.connect()
    servers.wait_quiet()
    try:
        return batches.run(servers, size, 1, seconds)
    finally:
        if servers.keeps_rows:
            warm_up(servers)


def huge_pages():
    """Those for the buffers of both servers: a context."""
    each = SHARED_BUFFERS_MB * (1 + SHARED_MB_PER_BUFFERS_MB) + SHARED_MB
    return machine.huge_pages(int(2 * each))


@contextmanager
def grown(servers, count):
    """A second server with so many orders, for as long as it is needed."""
    begin, free = time.monotonic(), shutil.disk_usage(servers.directory).free
    if free < count * BYTES_PER_ORDER:
        raise stack.SandboxError(f"{count} orders need {count * BYTES_PER_ORDER / 1e9:.0f} GB, {free / 1e9:.0f} are free")
    with Servers(servers.directory / "grown", servers.settings, servers.kafka).running() as other:
        other.proxy_settings = servers.proxy_settings
        fill(other, count)
        size = other.value("SELECT pg_size_pretty(pg_database_size(current_database()))")
        text = f"  {count:,} existing orders, {size}, made in {time.monotonic() - begin:.0f} s"
        print(text, file=sys.stderr, flush=True)
        yield other


def runs(seconds):
    """What is compared: {name: (function, arguments)}, all with a publisher."""
    return {
        f"ours {CONNECTIONS}": (single.run, ["order_service", CONNECTIONS, seconds]),
        f"call {BATCH_SIZE} x1": (batches.run, [BATCH_SIZE, 1, seconds]),
        f"call {BATCH_SIZE} x1, rising keys": (batches.run, [BATCH_SIZE, 1, seconds, False, True]),
        "whole 64x8": (whole_path.run_closed, [8, seconds]),
        f"call {BATCH_SIZE} x1, just started": (run_started, [BATCH_SIZE, seconds]),
    }
