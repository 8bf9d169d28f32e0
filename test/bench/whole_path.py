"""The whole path: order-bench, the proxy, Account, PostgreSQL with its publisher, and Kafka, all on this machine.

Every run has a new Account and a new proxy, with their defaults, and ends with the ledger check: what clients were
answered, what the tables have, what Account holds and what is in Kafka must be the same.
"""

import json
import os
import subprocess
import time
from contextlib import contextmanager
from functools import partial

import host
import ledger_check
import machine
import proxy as proxies
import single
import stack
from servers import DRAIN_SECONDS_MAX, costs, tied

CONNECTIONS = 64
# Of each connection at a time; the larger one finds the maximum.
IN_FLIGHT = (1, 8)
RATES = (1000, 5000, 10_000)
# Longer than a closed loop, in its seconds: the tail needs samples.
OPEN_LOOP_FACTOR = 3
# Until then connections, plans and caches are new; not in the latencies and rates, but in the costs.
WARM_UP_SECONDS = 1
# And before that a load that no new system is too slow for, in nobody's figures: 64 orders at a time.
FIRST_SECONDS = 0.2
SYMBOLS = 100
# What a client of the order path cannot spend in any run.
CASH = {"EUR": 10**16}
READY_SECONDS_MAX = 30
SETTLED_SECONDS_MAX = 30
# That order-bench may take beside its own time: to connect, and to wait for late answers.
LOAD_SECONDS_MORE = 90

IDLE_CONNECTIONS = 10_000
IDLE_SECONDS = 5
CONNECT_SECONDS_MAX = 60

OPEN_SESSIONS = "SELECT order_service.open_session(n, '1 day') FROM generate_series(1, %s) AS n"
NOT_SENT = "SELECT count(*) FROM order_service.outbox WHERE status <> 1 AND event_id > %s"
PUBLISHER = "SELECT pid FROM order_service.stats"


class Front:
    """Account and a proxy before the servers; `sessions` is the file of the clients' sessions."""

    def __init__(self, directory, servers):
        self.account = stack.Account(directory / "account")
        self.proxy = stack.Proxy(directory / "proxy", servers.postgres, self.account, servers.proxy_settings)
        self.sessions = directory / "sessions"

    @property
    def proxy_pid(self):
        return self.proxy.processes()[0]


@contextmanager
def front_before(servers):
    """Both, running and part of the costs, with as many rich accounts as there are connections."""
    front = Front(servers.directory / "whole", servers)
    proxies.create_role(servers.postgres)
    with front.account:
        front.account.create_all({"account_id": n, "cash": CASH} for n in range(1, CONNECTIONS + 1))
        sessions = servers.connection.execute(OPEN_SESSIONS, [CONNECTIONS]).fetchall()
        front.sessions.write_text("".join(f"{session}\n" for (session,) in sessions))
        with front.proxy:
            stack.wait_until(front.proxy.ready, READY_SECONDS_MAX, "a proxy with a database")
            servers.programs = {"proxy": front.proxy, "account": front.account}
            try:
                yield front
            finally:
                servers.programs = {}


# --- the load -------------------------------------------------------------------------------------------------------


class Load:
    """A run of order-bench. `report` is what it wrote, `cpu` its time, both after wait()."""

    def __init__(self, front, connections, seconds, words):
        directory = front.sessions.parent
        self._json = directory / "bench.json"
        self._output = directory / "bench.out"
        self._json.unlink(missing_ok=True)
        command = [str(host.program("order-bench")), "--server", front.proxy.address, "--sessions", str(front.sessions)]
        command += ["--connections", str(connections), "--duration", str(seconds), "--warm-up", str(WARM_UP_SECONDS)]
        command += ["--symbols", ",".join(f"BENCH-{n}" for n in range(1, SYMBOLS + 1)), "--quantity", "10"]
        command += ["--price", "100.00", "--json", str(self._json), *words]
        with open(self._output, "wb") as output:
            self._process = subprocess.Popen(tied(command), stdout=output, stderr=subprocess.STDOUT)
        self._seconds = seconds
        self.report = None
        self.cpu = 0.0

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()

    def has_ended(self):
        """Whether it has; its time goes with it, so this is how its end is noticed."""
        if self._process.returncode is None:
            pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
            if pid != 0:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                self.cpu = usage.ru_utime + usage.ru_stime
        return self._process.returncode is not None

    def wait(self):
        """Wait for its end. That it says 1, for what was not sent or answered in time, is a figure like others."""
        stack.wait_until(self.has_ended, self._seconds + LOAD_SECONDS_MORE, "end of order-bench")
        if self._process.returncode not in (0, 1) or not self._json.exists():
            raise stack.SandboxError(f"order-bench failed:\n{self._output.read_text()}")
        self.report = json.loads(self._json.read_text())

    @property
    def answered(self):
        """All orders it has an answer for, those of the warm-up too."""
        return self.report["requests"]["place"]["answered"] + self.report["warm_up_answered"]


def load_figures(report):
    """Accepted orders per second, latencies in milliseconds, answers by code, and what got no answer."""
    place = report["requests"]["place"]
    latency = {name: value / 1000 for name, value in place["latency_us"].items()}
    return {
        "orders_per_s": place["codes"].get("200", 0) / report["seconds"],
        "p50_ms": latency["p50"],
        "p99_ms": latency["p99"],
        "p999_ms": latency["p99.9"],
        "max_ms": latency["max"],
        "codes": place["codes"],
        "unanswered": report["unanswered"] + report["unsent"],
    }


# --- runs -----------------------------------------------------------------------------------------------------------


def run(servers, words, seconds):
    """One run of order-bench, with the costs until all its events are in Kafka, and the ledger check."""
    servers.reset()
    ends = ledger_check.ends(servers) if servers.has_publisher else None
    with front_before(servers) as front:
        with Load(front, CONNECTIONS, FIRST_SECONDS, ["--closed"]) as first:
            first.wait()
        before = servers.usage()
        with Load(front, CONNECTIONS, seconds, words) as load:
            load.wait()
        result = load_figures(load.report)
        if servers.has_publisher:
            result.update(wait_sent(servers))
        stack.wait_until(
            lambda: front.proxy.metrics()["requests_in_flight"] == 0, SETTLED_SECONDS_MAX, "a proxy with nothing to do"
        )
        result.update(costs(before, servers.usage(), load.cpu, load.answered))
        found = ledger_check.differences(servers, front.account, ends, [first, load])
    result["differences"] = len(found)
    result["first_differences"] = found[:5]
    return result


def wait_sent(servers):
    """How many events were not marked as sent when the load ended, and how long it took until none was left."""
    _, last_event_id = servers.last_ids
    begin = time.monotonic()
    behind = servers.value(NOT_SENT, [last_event_id])
    stack.wait_until(lambda: servers.value(NOT_SENT, [last_event_id]) == 0, DRAIN_SECONDS_MAX, "all events sent")
    return {"behind": behind, "sent_after_ms": (time.monotonic() - begin) * 1000}


def run_closed(servers, in_flight, seconds):
    return run(servers, ["--closed", "--in-flight", str(in_flight)], seconds)


def run_open(servers, rate, seconds):
    return run(servers, ["--rate", str(rate)], OPEN_LOOP_FACTOR * seconds)


def run_baseline(servers, connections, seconds):
    """What the maximum is compared with: the plpgsql function, at the same time."""
    return single.run(servers, "bench", connections, seconds)


def run_idle(servers):
    """Per cent of a core that proxy and publisher use while there is nothing to do, and the proxy's memory."""
    servers.reset()
    with front_before(servers) as front:
        servers.wait_quiet()
        pids = {"proxy": front.proxy_pid, "publisher": servers.value(PUBLISHER)}
        usage, begin = servers.usage(), time.monotonic()
        before = {name: machine.precise_cpu_seconds(pid) for name, pid in pids.items()}
        stack.wait_until(lambda: time.monotonic() >= begin + IDLE_SECONDS, 2 * IDLE_SECONDS, "the end of a rest")
        elapsed = time.monotonic() - begin
        used = {name: machine.precise_cpu_seconds(pid) - before[name] for name, pid in pids.items()}
        # No order to divide by: only what strangers had is of interest.
        others = costs(usage, servers.usage(), 0.0, 1)["others_cores"]
        memory = machine.memory_mb(front.proxy_pid, "VmRSS")
    shares = {f"{name}_percent": 100 * seconds / elapsed for name, seconds in used.items()}
    return {**shares, "proxy_mb": memory, "others_cores": others}


def _memory_connected(front):
    """The proxy's resident MB once all connections are there."""
    is_connected = front.proxy.metrics()["client_connections"] >= IDLE_CONNECTIONS
    return machine.memory_mb(front.proxy_pid, "VmRSS") if is_connected else None


def run_connections(servers):
    """The proxy's memory with 10,000 connections that are logged in, a few orders on each of them."""
    servers.reset()
    with front_before(servers) as front:
        before = servers.usage()
        with Load(front, IDLE_CONNECTIONS, 2, ["--rate", "1000"]) as load:
            connected = stack.wait_until(partial(_memory_connected, front), CONNECT_SECONDS_MAX, "10,000 connections")
            load.wait()
        peak = machine.memory_mb(front.proxy_pid, "VmHWM")
        result = costs(before, servers.usage(), load.cpu, load.answered)
    return {"proxy_mb": connected, "peak_mb": peak, "codes": load.report["requests"]["place"]["codes"], **result}
