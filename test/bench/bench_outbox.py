#!/usr/bin/python3
"""`make bench-outbox`: the way of events to Kafka, by the publisher and by a plain relay, on private servers.

Both run once per round, one after the other and every other round in the opposite order, so that ratios are of one
time and one machine. There is no pass or fail. See README.md beside this file.
"""

import argparse
import datetime
import sys
import time
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent
ROOT = DIRECTORY.parents[1]
sys.path.insert(0, str(ROOT / "sandbox"))

import machine  # noqa: E402 (what these import is found only through the line above)
import relay  # noqa: E402
import report  # noqa: E402
import stack  # noqa: E402
import warmth  # noqa: E402
from bench import commit  # noqa: E402
from servers import Servers  # noqa: E402

EVENTS = 1_000_000
RATES = (1000, 5000)
WARM_UP_RECORDS = 200_000
SECONDS = 20
ROUNDS = 2
# Commit times are what latencies begin with; both ways are used for longer than a bench without vacuum would bear.
SETTINGS = {"track_commit_timestamp": "on", "autovacuum": "on", "autovacuum_naptime": "5s"}
WAYS = ("publisher", "relay")


class Bench:
    def __init__(self, servers, arguments):
        self.servers = servers
        self.arguments = arguments
        self.samples = report.Samples()
        self._round = 0

    def record(self, series, function, *arguments):
        begin = time.monotonic()
        result = function(self.servers, *arguments)
        self.samples.add(series, self._round, result)
        text = ", ".join(f"{name} {value:,.1f}" for name, value in result.items())
        print(f"  round {self._round}: {series}: {text} ({time.monotonic() - begin:.1f} s)", file=sys.stderr, flush=True)

    def run_round(self, number):
        self._round = number
        ways = WAYS if number % 2 else WAYS[::-1]
        self.servers.restart(has_publisher=True)
        count = relay.make_backlog(self.servers, self.arguments.events)
        drains = {"publisher": relay.drain_by_publisher, "relay": relay.drain_by_relay}
        for way in ways:
            self.record(f"drain {way}", drains[way], count)
        runs = {"publisher": relay.run_publisher, "relay": relay.run_relay}
        for rate in RATES:
            for way in ways:
                self.record(f"{rate} {way}", runs[way], rate, self.arguments.seconds)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--events", type=int, default=EVENTS, help="of the backlog (%(default)s)")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of each run at a rate (%(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each run is made (%(default)s)")
    arguments = parser.parse_args()
    if min(arguments.events // 500, arguments.seconds, arguments.rounds) < 1:
        parser.error("there are at least 500 events, 1 second and 1 round")
    return arguments


def main():
    arguments = parse_arguments()
    stack.exit_on_signals()
    stack.require_extension()
    date = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    head = {"date": date, "commit": commit(), "machine": machine.description(), **vars(arguments)}
    with stack.Scratch("bench-outbox") as directory, Servers(directory, SETTINGS).running() as servers:
        warmth.warm_up(servers.kafka, min(arguments.events, WARM_UP_RECORDS))
        bench = Bench(servers, arguments)
        for number in range(1, arguments.rounds + 1):
            bench.run_round(number)
    print(f"commit {head['commit']}, {date}, {arguments.rounds} rounds, rates for {arguments.seconds} s\n")
    print(report.relay_tables(bench.samples, RATES))
    print(report.noise_text(bench.samples, machine.PROCESSORS))
    is_whole = arguments.events >= EVENTS and arguments.seconds >= SECONDS and arguments.rounds >= ROUNDS
    name = datetime.date.today().isoformat() + ("-outbox" if is_whole else "-outbox-partial")
    path = DIRECTORY / "results" / f"{name}.json"
    report.write(path, head, bench.samples)
    print(f"written to {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (stack.SandboxError, TimeoutError) as error:
        sys.exit(f"bench-outbox: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
