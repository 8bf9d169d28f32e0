"""The way from the commit to Kafka: how fast a backlog drains, and how long an event takes at a given rate."""

import time

import batches
import single
import stack
from servers import costs

# Enough for any of the rates, and few, since the first call of each pays for the plans of its backend.
OPEN_LOOP_CONNECTIONS = 4

STATS = "SELECT latency_p50_ms, latency_p99_ms, ring_overflows, from_table FROM order_service.stats"
# From the begin of the transaction to the moment when the acknowledgement was being recorded.
MARKED = """\
SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM sent_at - created_at) * 1000)
FROM order_service.outbox"""
NOT_SENT = "SELECT count(*) FROM order_service.outbox WHERE status <> 1"


def check_sent(servers):
    count = servers.value(NOT_SENT)
    if count:
        raise stack.SandboxError(f"{count} events are not marked as sent")


def run_drain(servers, backlog):
    """Events per second from the moment publishing is allowed until all are acknowledged and marked."""
    servers.reset()
    sent = servers.sent()
    servers.set_publishing(False)
    count = batches.place(servers, backlog)
    servers.connection.execute("CHECKPOINT")
    before = servers.usage()
    begin = time.monotonic()
    servers.set_publishing(True)
    servers.wait_sent(sent + count)
    elapsed = time.monotonic() - begin
    result = {"events_per_s": count / elapsed, **costs(before, servers.usage(), 0.0, count)}
    servers.check_counts("order_service", count)
    check_sent(servers)
    return result


def _quantile(values, share):
    return values[min(int(len(values) * share), len(values) - 1)]


def _client_latencies(directory):
    """p50 and p99 of what pgbench logged, in milliseconds from the moment a transaction was due."""
    values = []
    for path in directory.glob("latency.*"):
        values += [int(line.split()[2]) / 1000 for line in path.read_text().splitlines()]
        path.unlink()
    values.sort()
    return _quantile(values, 0.5), _quantile(values, 0.99)


def run_open_loop(servers, rate, seconds):
    """Latencies at a fixed rate, for twice the time, since p99 needs samples.

    The server is new, because its histogram counts from its start.
    """
    servers.restart(has_publisher=True)
    servers.reset()
    before = servers.usage()
    prefix = servers.directory / "latency"
    orders, speed, client = single.pgbench(
        servers, "order_service", OPEN_LOOP_CONNECTIONS, 2 * seconds, rate=rate, log_prefix=prefix
    )
    servers.wait_sent(orders)
    servers.wait_disconnected()
    result = {"orders_per_s": speed, **costs(before, servers.usage(), client, orders)}
    p50, p99, overflows, from_table = servers.connection.execute(STATS).fetchone()
    result.update(ack_p50_ms=p50, ack_p99_ms=p99, ring_overflows=overflows, from_table=from_table)
    result["marked_p50_ms"], result["marked_p99_ms"] = (float(value) for value in servers.value(MARKED))
    result["client_p50_ms"], result["client_p99_ms"] = _client_latencies(servers.directory)
    servers.check_counts("order_service", orders)
    check_sent(servers)
    return result
