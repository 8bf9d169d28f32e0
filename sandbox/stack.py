#!/usr/bin/python3
"""The sandbox: real servers for the demo, for `make up` and for the tests, on free ports, as an unprivileged user.

Library:   import stack    (with sandbox/ on sys.path)
Command:   /usr/bin/python3 sandbox/stack.py --help

One module per kind of server does the work; this one puts them together.
"""

import argparse
import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import broker
import host
import pgserver
from broker import Kafka
from host import SandboxError, Scratch, exit_on_signals, free_port, wait_until
from pgserver import Postgres

__all__ = ["Kafka", "Postgres", "SandboxError", "Scratch", "exit_on_signals", "free_port", "wait_until"]

TOPICS = ("order.events", "order.events.dlq")
ENV_FILE = host.RUN / "env"


# --- the long-running sandbox of `make up` --------------------------------------------------------------------------


@contextmanager
def up_lock():
    """Two `make up` at once take turns."""
    host.home()
    with open(host.RUN / "up.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def up_servers():
    """The servers of `make up`, in the order they are started; running or not."""
    directory = host.home() / "up"
    kafka = Kafka(directory / "kafka", tied=False)
    return kafka, Postgres(directory / "postgres", tied=False)


def write_env(kafka, postgres):
    """Shell assignments, exported, so that `. .run/env; psql` just works."""
    variables = {**postgres.environment(), "KAFKA_BOOTSTRAP": kafka.bootstrap}
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
    fresh = ENV_FILE.with_suffix(".new")
    fresh.write_text("".join(lines))
    fresh.rename(ENV_FILE)


def up():
    """Start what does not run yet. A sandbox of which only a part survived is started afresh."""
    with up_lock():
        kafka, postgres = up_servers()
        if not (kafka.is_running and postgres.is_running):
            take_down()
            kafka, postgres = up_servers()
            try:
                start_up(kafka, postgres)
            except BaseException:
                take_down()
                raise
        write_env(kafka, postgres)
    show_status()
    print(f"addresses for the shell: . {os.path.relpath(ENV_FILE)}")
    return 0


def start_up(kafka, postgres):
    """Start the servers from nothing and make the topics, the database and the extension."""
    require_extension()
    kafka.start()
    for topic in TOPICS:
        kafka.create_topic(topic)
    postgres.brokers = kafka.bootstrap
    postgres.start()
    postgres.create_database()


def take_down():
    """Stop the servers and discard their data."""
    ENV_FILE.unlink(missing_ok=True)
    kafka, postgres = up_servers()
    # PostgreSQL first: its publisher can deliver what it holds while the broker is still there.
    for server in (postgres, kafka):
        if server.is_running:
            server.stop()
        server.remove()
    shutil.rmtree(host.home() / "up", ignore_errors=True)


def down():
    with up_lock():
        take_down()
    return 0


def show_status():
    """One line per server; 0 if all run, 3 otherwise (as init scripts do)."""
    kafka, postgres = up_servers()
    result = 0
    for name, server in (("kafka", kafka), ("postgres", postgres)):
        if server.is_running:
            print(f"{name}: running on 127.0.0.1:{server.port}, log {server.log_path}")
        else:
            print(f"{name}: stopped")
            result = 3
    return result


def clean():
    """Take everything down and remove what the sandbox keeps, the downloaded jars too."""
    if not host.RUN.exists():
        return 0
    down()
    home = host.home()
    for directory in {home, host.RUN}:
        shutil.rmtree(directory)
    return 0


# --- helpers of the Makefile ----------------------------------------------------------------------------------------


def require_extension():
    pgserver.ensure_prefix()
    if not pgserver.has_extension():
        raise SandboxError("the extension is not in the private PostgreSQL: run `make build`")


def with_postgres(command, settings):
    """Run a command while a fresh private cluster is up, told where by PGHOST, PGPORT and PGUSER; its exit status.

    No Kafka and no publisher: what runs here is about SQL, and must not depend on a worker's pace.
    """
    require_extension()
    defaults = {"order_service.databases": "", "order_service.kafka_brokers": ""}
    settings = dict(setting.split("=", 1) for setting in settings)
    with Scratch("sql") as directory, Postgres(directory / "postgres", settings={**defaults, **settings}) as postgres:
        postgres.create_database(extension=False)
        bindir = pgserver.private(pgserver.pg_config("bindir"))
        environment = {**os.environ, **postgres.environment(), "PATH": f"{bindir}:{os.environ['PATH']}"}
        status = subprocess.run(command, env=environment, check=False).returncode
        crash = "was terminated by signal"
        if crash in postgres.log_text():
            # A test that did not look at the lost connection must not hide it.
            print(f"a server process crashed:\n{postgres.log_tail(100)}", file=sys.stderr)
            status = status or 1
    return status


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start PostgreSQL and Kafka and leave them running; writes .run/env")
    commands.add_parser("down", help="stop what `up` started and discard its data")
    commands.add_parser("status", help="say what runs")
    commands.add_parser("clean", help="down, and remove everything the sandbox keeps")
    commands.add_parser("prefix", help="make the private PostgreSQL and print its root, for DESTDIR=")
    commands.add_parser("fetch-kafka", help="fetch the broker's jars, if they are not there")
    run = commands.add_parser("with-postgres", help="run a command while a fresh private cluster is up")
    run.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a server setting")
    run.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    exit_on_signals()
    if arguments.command == "with-postgres":
        words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
        return with_postgres(words, arguments.set)
    if arguments.command == "prefix":
        print(pgserver.ensure_prefix())
        return 0
    if arguments.command == "fetch-kafka":
        broker.fetch()
        return 0
    return {"up": up, "down": down, "status": show_status, "clean": clean}[arguments.command]()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (SandboxError, TimeoutError) as error:
        sys.exit(f"sandbox: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
