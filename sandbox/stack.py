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
from collections import namedtuple
from contextlib import contextmanager

import broker
import host
import pgserver
import pgversions
import proxy
from account import Account
from broker import Kafka
from host import SandboxError, Scratch, exit_on_signals, free_port, wait_until
from pgserver import Postgres
from proxy import Proxy

__all__ = [
    "Account",
    "Kafka",
    "Postgres",
    "Proxy",
    "SandboxError",
    "Scratch",
    "exit_on_signals",
    "free_port",
    "wait_until",
]

TOPICS = ("order.events", "order.events.dlq")
ENV_FILE = host.RUN / "env"
READY_SECONDS_MAX = 60

# Whom the demo and `make up` trade for, with what Account has of it: micro-units of money, units of instruments.
ACCOUNT_ID = 1001
CASH = {"USD": 10_000_000_000, "EUR": 5_000_000_000}
POSITIONS = {"ACME": 100, "BOLT": 500}

# Money in micro-units, too: ACME trades between 50.00 and 150.00 USD, in steps of 0.01.
INSTRUMENTS = """\
INSERT INTO order_service.instrument (symbol, currency, tick, lot, price_floor, price_ceiling)
VALUES ('ACME', 'USD', 10000, 1, 50000000, 150000000), ('BOLT', 'EUR', 500000, 10, 20000000, 40000000)
RETURNING symbol, currency, tick, lot, price_floor, price_ceiling, halted;"""
SESSION = f"SELECT order_service.open_session({ACCOUNT_ID}) AS session;"

# In the order in which they start; they stop the other way round.
Servers = namedtuple("Servers", "kafka postgres account proxy")


# --- the long-running sandbox of `make up` --------------------------------------------------------------------------


@contextmanager
def up_lock():
    """Two `make up` at once take turns."""
    host.home()
    with open(host.RUN / "up.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_servers(directory, tied=True):
    """All servers of the system, none of them started, or as an earlier program left them in this directory."""
    kafka, postgres = Kafka(directory / "kafka", tied=tied), Postgres(directory / "postgres", tied=tied)
    account = Account(directory / "account", tied=tied)
    return Servers(kafka, postgres, account, Proxy(directory / "proxy", postgres, account, tied=tied))


def up_servers():
    """The servers of `make up`, running or not."""
    return make_servers(host.home() / "up", tied=False)


def client_variables(servers, session):
    """The environment in which orderctl finds the proxy and speaks for a session."""
    variables = {"ORDER_PROXY": servers.proxy.address, "ORDER_PROXY_ADMIN": servers.proxy.admin_address}
    return {**variables, "ORDER_SESSION": session}


def write_env(servers):
    """Shell assignments, exported, so that `. .run/env; psql` just works, and orderctl."""
    [(session,)] = servers.postgres.execute(SESSION)
    variables = {
        **servers.postgres.environment(),
        **client_variables(servers, session),
        "KAFKA_BOOTSTRAP": servers.kafka.bootstrap,
        "ACCOUNT": servers.account.address,
        "ACCOUNT_ADMIN": servers.account.admin_address,
    }
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
    lines.append(f'export PATH={shlex.quote(str(host.program("orderctl").parent))}:"$PATH"\n')
    fresh = ENV_FILE.with_suffix(".new")
    fresh.write_text("".join(lines))
    fresh.rename(ENV_FILE)


def up():
    """Start what does not run yet. A sandbox of which only a part survived is started afresh."""
    with up_lock():
        servers = up_servers()
        if not all(server.is_running for server in servers):
            take_down()
            servers = up_servers()
            try:
                start_up(servers)
            except BaseException:
                take_down()
                raise
        write_env(servers)
    show_status()
    print(f"addresses for the shell: . {os.path.relpath(ENV_FILE)}")
    return 0


def start_up(servers):
    """Start the servers from nothing, with everything in them that an order needs."""
    require_extension()
    servers.kafka.start()
    for topic in TOPICS:
        servers.kafka.create_topic(topic)
    servers.postgres.brokers = servers.kafka.bootstrap
    servers.postgres.start()
    servers.postgres.create_database()
    servers.postgres.execute(INSTRUMENTS)
    proxy.create_role(servers.postgres)
    servers.account.start()
    servers.account.create(ACCOUNT_ID, CASH, POSITIONS)
    servers.proxy.start()
    wait_until(servers.proxy.ready, READY_SECONDS_MAX, "order-proxy's first connection to PostgreSQL")


def take_down():
    """Stop the servers and discard their data."""
    ENV_FILE.unlink(missing_ok=True)
    # So PostgreSQL stops before Kafka: its publisher can deliver what it holds while the broker is still there.
    for server in reversed(up_servers()):
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
    result = 0
    for name, server in up_servers()._asdict().items():
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
        raise SandboxError("the extension is not in the private PostgreSQL: run `make private`")


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
    commands.add_parser("up", help="start all servers and leave them running; writes .run/env")
    commands.add_parser("down", help="stop what `up` started and discard its data")
    commands.add_parser("status", help="say what runs")
    commands.add_parser("clean", help="down, and remove everything the sandbox keeps")
    commands.add_parser("prefix", help="make the private PostgreSQL and print its root, for DESTDIR=")
    commands.add_parser("fetch-kafka", help="fetch the broker's jars, if they are not there")
    commands.add_parser("fetch-postgres", help="fetch other versions of PostgreSQL, and print the pg_config of each")
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
    if arguments.command == "fetch-postgres":
        print(*pgversions.fetch(), sep="\n")
        return 0
    return {"up": up, "down": down, "status": show_status, "clean": clean}[arguments.command]()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (SandboxError, TimeoutError) as error:
        sys.exit(f"sandbox: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
