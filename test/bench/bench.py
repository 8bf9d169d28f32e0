#!/usr/bin/python3
"""`make bench`: what an order costs in SQL and on its way to Kafka, on private servers that are removed at the end.

All series run once per round, ours and what it is compared with one after the other, so that ratios are of one time
and one machine. There is no pass or fail. See README.md beside this file.
"""

import argparse
import datetime
import hashlib
import subprocess
import sys
import time
from contextlib import ExitStack, nullcontext
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent
ROOT = DIRECTORY.parents[1]
sys.path.insert(0, str(ROOT / "sandbox"))

import batches  # noqa: E402 (what these import is found only through the line above)
import growth  # noqa: E402
import machine  # noqa: E402
import outbox  # noqa: E402
import report  # noqa: E402
import single  # noqa: E402
import stack  # noqa: E402
import warmth  # noqa: E402
import whole_path  # noqa: E402
from pgserver import pg_config, private  # noqa: E402
from servers import Servers  # noqa: E402

CONNECTIONS = (1, 8, 32)
SIZES = (1, 16, 64, 256)
BATCH_CONNECTIONS = (1, 2)
RATES = (500, 2000)
COPY_ROWS = 100_000
BACKLOG = 200_000
LOOP_TRANSACTIONS = 4
WARM_UP_ORDERS = 50_000
# Of the whole path, in the seconds of a run: Java goes on compiling when the requests are of another kind.
WARM_UP_FACTOR = 10
ROUNDS_MIN = 3
# With --patience: a run during which other programs used more is made again.
OTHERS_CORES_MAX = 0.25

COST_NAMES = {
    "plpgsql 1": "plpgsql, 1 connection",
    "ours 1": "place_order, 1",
    "plpgsql 32": "plpgsql, 32",
    "ours 32": "place_order, 32",
    "publisher 32": "place_order, 32, publisher on",
    "place 64 x1": "place_orders, 64",
    "place 256 x1": "place_orders, 256",
    "call 1 x1": "receive and settle, 1",
    "call 64 x1": "receive and settle, 64",
    "call 256 x1": "receive and settle, 256",
    "copy x1": "COPY",
    "drain": "drain",
    **{f"open {rate}": f"place_order at {rate}/s, publisher on" for rate in RATES},
    **{f"whole 64x{count}": f"whole path, 64 x {count}" for count in whole_path.IN_FLIGHT},
    **{f"unpublished 64x{count}": f"whole path, 64 x {count}, no publisher" for count in whole_path.IN_FLIGHT},
    **{f"whole {rate}/s": f"whole path at {rate}/s" for rate in whole_path.RATES},
    **{f"{prefix} {name}": f"{prefix}: {name}" for name in growth.runs(0) for prefix in ("empty", "grown")},
}
PARTS = "abcde"


class Bench:
    def __init__(self, servers, arguments):
        self.servers = servers
        self.grown_servers = None
        self.existing = arguments.existing
        self.parts = set(arguments.only)
        self.seconds = arguments.seconds
        self.backlog = arguments.backlog
        self.patience = 0.0
        self.patience_per_round = arguments.patience / arguments.rounds
        self.samples = report.Samples()
        self.copy_files = None
        self._round = 0

    def record(self, series, function, *arguments, servers=None):
        begin = time.monotonic()
        result = self.best_of(function, [servers or self.servers, *arguments])
        self.samples.add(series, self._round, result)
        speed = result.get("events_per_s") or result.get("orders_per_s")
        text = f"{speed:,.0f}/s" if speed else f"{result['cpu_us_backend']:.1f} us" if "cpu_us_backend" in result else ""
        text = f"  round {self._round}: {series}: {text} ({time.monotonic() - begin:.1f} s)"
        print(text, file=sys.stderr, flush=True)

    def best_of(self, function, arguments):
        """One run; while there is patience left, again until other programs let it alone. The calmest one counts."""
        runs = []
        while True:
            self.wait_quiet()
            begin = time.monotonic()
            runs.append(function(*arguments))
            if len(runs) > 1:
                self.patience -= time.monotonic() - begin
            if self.patience <= 0 or runs[-1]["others_cores"] < OTHERS_CORES_MAX:
                return min(runs, key=lambda run: run["others_cores"])

    def wait_quiet(self):
        if self.patience <= 0:
            return
        begin = time.monotonic()
        try:
            stack.wait_until(machine.QuietWatch(OTHERS_CORES_MAX), self.patience, "a quiet machine")
        except TimeoutError:
            pass
        self.patience -= time.monotonic() - begin

    def prepare(self):
        """Warm up, and make the rows for COPY."""
        if self.existing or self.parts & {"a", "c", "d", "e"}:
            warmth.warm_up(self.servers.kafka, self.backlog)
            self.servers.reset()
            batches.place(self.servers, WARM_UP_ORDERS)
        if self.existing or "e" in self.parts:
            whole_path.run_closed(self.servers, whole_path.IN_FLIGHT[-1], WARM_UP_FACTOR * self.seconds)
        if "b" in self.parts:
            self.copy_files = batches.save_rows(self.servers, COPY_ROWS, BATCH_CONNECTIONS)

    def run_round(self, number):
        """Every other round in the opposite order, so that what grows slowly favours nobody."""
        self._round = number
        self.patience += self.patience_per_round
        blocks = [self.without_publisher, self.with_publisher, self.whole_path, self.with_existing]
        for block in blocks if number % 2 else reversed(blocks):
            block()

    def without_publisher(self):
        if not self.parts & {"a", "b", "d"}:
            return
        self.servers.restart(has_publisher=False)
        if "b" in self.parts:
            self.run_batches()
        if "d" in self.parts:
            for name, schema in self.both():
                self.record(f"loop {name}", single.run_loop, schema, LOOP_TRANSACTIONS)
        for count in self.single_connections():
            for name, schema in self.both():
                self.record(f"{name} {count}", single.run, schema, count, self.seconds)

    def with_publisher(self):
        if not self.parts & {"a", "c", "d"}:
            return
        self.servers.restart(has_publisher=True)
        for count in self.single_connections():
            self.record(f"publisher {count}", single.run, "order_service", count, self.seconds)
        if "c" in self.parts:
            self.record("drain", outbox.run_drain, self.backlog)
            for rate in RATES:
                self.record(f"open {rate}", outbox.run_open_loop, rate, self.seconds)

    def whole_path(self):
        if "e" not in self.parts:
            return
        blocks = [self.whole_unpublished, self.whole_published]
        for block in blocks if self._round % 2 else reversed(blocks):
            block()

    def whole_unpublished(self):
        self.servers.restart(has_publisher=False)
        self.record("baseline 32", whole_path.run_baseline, CONNECTIONS[-1], self.seconds)
        for count in whole_path.IN_FLIGHT:
            self.record(f"unpublished 64x{count}", whole_path.run_closed, count, self.seconds)

    def whole_published(self):
        self.servers.restart(has_publisher=True)
        for count in whole_path.IN_FLIGHT:
            self.record(f"whole 64x{count}", whole_path.run_closed, count, self.seconds)
        for rate in whole_path.RATES:
            self.record(f"whole {rate}/s", whole_path.run_open, rate, self.seconds)
        self.record("idle", whole_path.run_idle)
        self.record("connections", whole_path.run_connections)

    def with_existing(self):
        if self.grown_servers is None:
            return
        self.servers.restart(has_publisher=True)
        pair = [("empty", self.servers), ("grown", self.grown_servers)]
        for name, (function, arguments) in growth.runs(self.seconds).items():
            for prefix, servers in pair if self._round % 2 else reversed(pair):
                self.record(f"{prefix} {name}", function, *arguments, servers=servers)

    def both(self):
        pair = [("ours", "order_service"), ("plpgsql", "bench")]
        return pair if self._round % 2 else reversed(pair)

    def single_connections(self):
        if "a" in self.parts:
            return CONNECTIONS
        return CONNECTIONS[-1:] if "d" in self.parts else ()

    def run_batches(self):
        for connections in BATCH_CONNECTIONS:
            for size in SIZES:
                for name, is_placing in (("place", True), ("call", False)):
                    run = (batches.run, size, connections, self.seconds, is_placing)
                    self.record(f"{name} {size} x{connections}", *run)
            self.record(f"copy x{connections}", batches.run_copies, self.copy_files[connections])

    def text(self):
        parts = []
        if "a" in self.parts or "d" in self.parts:
            parts.append(report.single_table(self.samples, CONNECTIONS))
        if "b" in self.parts:
            parts.append(report.batch_table(self.samples, SIZES, BATCH_CONNECTIONS))
        if "c" in self.parts:
            parts.append(report.outbox_tables(self.samples, RATES))
        if "e" in self.parts:
            parts.append(report.whole_tables(self.samples, whole_path.IN_FLIGHT, whole_path.RATES))
            parts.append(report.proxy_table(self.samples))
        if self.existing:
            parts.append(report.growth_table(self.samples, growth.runs(self.seconds), self.existing))
        if self.existing or self.parts & {"d", "e"}:
            parts += [report.cost_table(self.samples, COST_NAMES), report.loop_table(self.samples)]
        parts.append(report.noise_text(self.samples, machine.PROCESSORS))
        return "\n".join(parts)


def commit():
    """What is measured, as git names it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    name = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    return name or "unknown"


def describe(arguments, servers):
    """What was measured, where and how."""
    library = private(pg_config("pkglibdir")) / "order_service.so"
    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "commit": commit(),
        "library_sha256": hashlib.sha256(library.read_bytes()).hexdigest(),
        "server": servers.value("SELECT version()"),
        "machine": machine.description(),
        "seconds": arguments.seconds,
        "rounds": arguments.rounds,
        "backlog": arguments.backlog,
        "patience": arguments.patience,
        "existing": arguments.existing,
        "huge_pages": arguments.huge_pages,
        "proxy_settings": servers.proxy_settings,
    }


def result_path(arguments):
    """The day's file is for whole runs; a part of one, or a short one, must not replace it."""
    is_whole = set(arguments.only) == set(PARTS) and arguments.backlog >= BACKLOG
    suffix = "" if is_whole else "-partial" if arguments.only else f"-existing-{arguments.existing}"
    name = datetime.date.today().isoformat() + (suffix if arguments.rounds >= ROUNDS_MIN else "-partial")
    return DIRECTORY / "results" / f"{name}.json"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=int, default=3, help="of each run (%(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS_MIN, help="how often each run is made (%(default)s)")
    parser.add_argument("--only", default=PARTS, help="parts, some of: a b c d e (all)")
    parser.add_argument(
        "--existing", type=int, default=0, help="compare with a second server that has so many orders already (none)"
    )
    parser.add_argument(
        "--huge-pages", action="store_true", help="with --existing: reserve huge pages for the buffers meanwhile (root)"
    )
    parser.add_argument(
        "--proxy", action="append", default=[], metavar="NAME=VALUE", help="of part e: a setting that is not its default"
    )
    parser.add_argument("--backlog", type=int, default=BACKLOG, help="events of the drain (%(default)s)")
    parser.add_argument(
        "--patience",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="on a shared machine: time to spend on waiting for quiet and on repeating disturbed runs (%(default)s)",
    )
    parser.add_argument("--profile", action="store_true", help="no table: where place_order spends its cycles (perf)")
    arguments = parser.parse_args()
    arguments.only = arguments.only.replace(",", "").replace(" ", "")
    if not set(arguments.only) <= set(PARTS) or arguments.seconds < 1 or arguments.rounds < 1:
        parser.error("parts are a, b, c, d, e; seconds and rounds are at least 1")
    if not arguments.only and not arguments.existing:
        parser.error("without parts there are existing orders to compare with")
    if arguments.huge_pages and not arguments.existing:
        parser.error("--huge-pages is for --existing")
    if not all("=" in setting for setting in arguments.proxy):
        parser.error("a setting of the proxy is NAME=VALUE, such as account.attempt_timeout=1s")
    return arguments


def main():
    arguments = parse_arguments()
    stack.exit_on_signals()
    stack.require_extension()
    settings = growth.SETTINGS if arguments.existing else {}
    with ExitStack() as ends:
        if arguments.huge_pages:
            ends.enter_context(growth.huge_pages())
            settings = {**settings, "huge_pages": "on"}
        directory = ends.enter_context(stack.Scratch("bench"))
        servers = ends.enter_context(Servers(directory, settings).running())
        servers.proxy_settings = dict(setting.split("=", 1) for setting in arguments.proxy)
        head = describe(arguments, servers)
        if arguments.profile:
            import profiling

            print(profiling.run(servers))
            return 0
        bench = Bench(servers, arguments)
        bench.prepare()
        with growth.grown(servers, arguments.existing) if arguments.existing else nullcontext() as grown:
            bench.grown_servers = grown
            for number in range(1, arguments.rounds + 1):
                bench.run_round(number)
        print(f"commit {head['commit']}, {head['date']}, {arguments.rounds} rounds of {arguments.seconds} s\n")
        if arguments.huge_pages:
            print("The buffers are in huge pages\n")
        if arguments.proxy:
            print(f"The proxy's settings are not its defaults: {', '.join(arguments.proxy)}\n")
        print(bench.text())
        path = result_path(arguments)
        report.write(path, head, bench.samples)
        print(f"written to {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (stack.SandboxError, TimeoutError) as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
