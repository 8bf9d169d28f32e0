"""Array calls: place_orders(), receive_orders() with settle_orders(), and COPY of the same rows as the limit.

The driver is a program of its own, driver.py.
"""

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import stack
from servers import costs, tied

PROGRAM = Path(__file__).resolve().parent / "driver.py"
# Prepared calls per second of the run, as orders; a driver that runs out of them ends early and says when.
ORDERS_PER_SECOND_MAX = 80_000
# About as many calls as one connection can make, however small they are.
CALLS_PER_SECOND_MAX = 6_000
COPY_TABLES = ("orders", "idempotency_key", "outbox")


class Driver:
    """One driver process."""

    def __init__(
        self, dsn, size=0, seconds=0.0, call_count=0, copy_files=None, is_placing=False, has_rising_keys=False
    ):
        options = json.dumps([dsn, size, seconds, call_count, copy_files, is_placing, has_rising_keys])
        command = tied([sys.executable, str(PROGRAM), options])
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self._process.kill()
        self._process.communicate()

    def expect(self):
        line = self._process.stdout.readline()
        if not line:
            raise stack.SandboxError("a driver of array calls ended early")
        return line

    def go(self):
        self._process.stdin.write("\n")
        self._process.stdin.flush()


def run_drivers(servers, options):
    """Start a driver per entry of `options`, let them run together; their reports and the usage around them."""
    with ExitStack() as drivers_end:
        drivers = [drivers_end.enter_context(Driver(servers.dsn, **entry)) for entry in options]
        for driver in drivers:
            driver.expect()
        before = servers.usage()
        for driver in drivers:
            driver.go()
        reports = [json.loads(driver.expect()) for driver in drivers]
        after = servers.usage()
    return reports, before, after


def _result(reports, before, after):
    orders = sum(report["orders"] for report in reports)
    cpu = sum(report["cpu"] for report in reports)
    elapsed = max(report["seconds"] for report in reports)
    return {
        "orders_per_s": sum(report["orders"] / report["seconds"] for report in reports),
        # Of the cores that the drivers could have had at most, one each.
        "driver_share": cpu / (elapsed * len(reports)),
        **costs(before, after, cpu, orders),
    }


def run(servers, size, connections, seconds, is_placing=False, has_rising_keys=False):
    """One run of array calls; with `is_placing`, of place_orders(), else of receive_orders() and settle_orders().

    Keys are random, or rise with the time, as those of our clients do.
    """
    servers.reset()
    count = int(max(min(ORDERS_PER_SECOND_MAX / size, CALLS_PER_SECOND_MAX) * seconds, 1))
    entry = {"size": size, "seconds": seconds, "call_count": count}
    entry.update(is_placing=is_placing, has_rising_keys=has_rising_keys)
    result = _result(*run_drivers(servers, [entry] * connections))
    servers.check_counts("order_service", result["orders"])
    return result


def place(servers, count, size=250, connections=2):
    """Place `count` orders as fast as possible; nothing is measured."""
    entry = {"size": size, "seconds": 3600.0, "call_count": count // size // connections}
    reports, *_ = run_drivers(servers, [entry] * connections)
    return sum(report["orders"] for report in reports)


def save_rows(servers, count, connections):
    """Place orders and write their rows to files, as COPY wants them: {connections: [{table: file}]}."""
    servers.reset()
    place(servers, count)
    files = {}
    for split in connections:
        files[split] = [{} for _ in range(split)]
        for table in COPY_TABLES:
            for part in range(split):
                # Written by the server itself, where it may write.
                path = servers.postgres.directory / f"{table}-{part + 1}-of-{split}.copy"
                query = f"SELECT * FROM order_service.{table} WHERE order_id % {split} = {part}"
                servers.connection.execute(f"COPY ({query}) TO '{path}' (FORMAT binary)")
                files[split][part][table] = str(path)
    return files


def run_copies(servers, files):
    """COPY of saved rows, one connection per entry of `files`."""
    servers.reset()
    result = _result(*run_drivers(servers, [{"copy_files": entry} for entry in files]))
    servers.check_counts("bench", result["orders"])
    return result
