"""Private PostgreSQL: a relocated copy of the installed server, and clusters that run from it.

DESIGN
  PostgreSQL finds its libraries and its share directory relative to where its binary really is. So a copy of the
  installation under a prefix, in the same relative layout, is an installation of its own: the extension is installed
  there with DESTDIR, without root and without touching the system's.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from host import (
    SandboxError,
    Server,
    free_port,
    give_to_server,
    home,
    make_server_directory,
    run_tool,
    send_signal,
    server_environment,
    usual_umask,
    wait_until,
    write_server_file,
)

PG_CONFIG = os.environ.get("PG_CONFIG") or "/usr/lib/postgresql/15/bin/pg_config"
EXTENSION = "order_service"
DATABASE = "orders"
START_ATTEMPTS = 5

# sockaddr_un holds 108 bytes; the socket's own name is ".s.PGSQL.65535", and the lock file beside it is not bound.
SOCKET_DIRECTORY_LENGTH_MAX = 107 - len("/.s.PGSQL.65535")

STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

# Everybody who can reach the loopback of this machine may connect: a sandbox holds nothing worth a password.
HBA = """\
local all all trust
host all all 127.0.0.1/32 trust
local replication all trust
host replication all 127.0.0.1/32 trust
"""


def pg_config(name, binary=PG_CONFIG):
    """What a pg_config says, that of the PostgreSQL in use unless told otherwise; e.g. pg_config("bindir")."""
    try:
        output = subprocess.run([binary, f"--{name}"], stdout=subprocess.PIPE, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise SandboxError(f"could not run {binary}: {error}; run `make deps`") from None
    return output.strip()


def is_ours():
    """Whether the PostgreSQL itself lies among the sandbox's files: then it is what would otherwise be a copy."""
    return Path(PG_CONFIG).is_relative_to(home())


def prefix():
    """The root below which the private copy lies, which may not exist yet; an installation of ours is where it is."""
    return Path("/") if is_ours() else home() / "pg"


def private(path):
    """Where a file of the installation is in the private copy."""
    return prefix() / str(path).lstrip("/")


def _fingerprint(directories):
    """Changes whenever a package upgrade changes what we copied: names, sizes and times of all files."""
    digest = hashlib.sha256()
    for directory in directories:
        for path in sorted(Path(directory).rglob("*")):
            status = path.lstat()
            digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def ensure_prefix():
    """Make the private copy, if there is none or the installed PostgreSQL has changed; returns its path."""
    target = prefix()
    if is_ours():
        return target
    directories = [pg_config("bindir"), pg_config("pkglibdir"), pg_config("sharedir")]
    stamp = target / "stamp"
    fingerprint = _fingerprint(directories)
    if stamp.exists() and stamp.read_text() == fingerprint:
        return target
    fresh = target.with_name("pg.new")
    shutil.rmtree(fresh, ignore_errors=True)
    with usual_umask():
        # A copy of the extension that somebody installed into the system must not shine through.
        ignore = shutil.ignore_patterns(f"{EXTENSION}*", "bitcode", "pgxs", "man")
        for directory in directories:
            shutil.copytree(directory, fresh / directory.lstrip("/"), ignore=ignore, dirs_exist_ok=True)
        (fresh / "stamp").write_text(fingerprint)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    return target


def has_extension():
    """Whether `make` has installed the extension into the private copy."""
    return (private(pg_config("sharedir")) / "extension" / f"{EXTENSION}.control").exists()


class Postgres(Server):
    """One private cluster. The directory holds data/ and server.log; it is created by start() if need be.

    preload: load the extension at server start (its worker and shared memory exist only then).
    brokers: the Kafka address the publisher is told, empty for none.
    settings: configuration parameters that replace or add to the defaults.
    variables: what its environment has besides the usual.
    """

    # SIGQUIT is PostgreSQL's immediate shutdown: as sure as SIGKILL, but the shared memory segment is removed.
    death_signal = "QUIT"

    def __init__(self, directory, preload=True, settings=None, brokers="", tied=True):
        super().__init__(directory, tied)
        self.data = self.directory / "data"
        self.port = self._load_state().get("port")
        self.preload = preload
        self.brokers = brokers
        self.settings = dict(settings or {})
        self.variables = {}
        self._socket_directory = None

    @property
    def work_directory(self):
        return self.data

    # --- life ---

    def init(self):
        """Create the cluster (user postgres, UTF-8, trust on the loopback) with an empty database `orders`."""
        ensure_prefix()
        make_server_directory(self.directory)
        # The lasting cost of initdb is the flush of its files, which a sandbox does not need.
        command = ["initdb", "--no-sync", "--no-instructions", "-A", "trust", "-U", "postgres", "-E", "UTF8"]
        self._tool(*command, "--locale=C.UTF-8", "-D", str(self.data))
        # Made before the first start: a publisher that finds no database ends, and is started again only seconds later.
        single = ["--single", "-D", str(self.data), "template1"]
        self._tool("postgres", *single, text=f'CREATE DATABASE "{DATABASE}"\n')
        write_server_file(self.data / "pg_hba.conf", HBA)
        main = self.data / "postgresql.conf"
        write_server_file(main, main.read_text() + "include = 'sandbox.conf'\n")

    def start(self):
        """Start it and return when it accepts connections. The port stays the same over restarts."""
        if not self.data.exists():
            self.init()
        for attempt in range(START_ATTEMPTS):
            # Another program may take the port between our look and the server's bind; only a first start may move.
            is_port_new = self.port is None
            self.port = self.port or free_port()
            self._write_settings()
            log_start = len(self.log_text())
            binary = private(pg_config("bindir")) / "postgres"
            self._spawn([str(binary), "-D", str(self.data)], server_environment(**self.variables))
            try:
                self._wait_ready(self._is_ready, "PostgreSQL")
                break
            except SandboxError:
                self._wait_gone()
                is_port_taken = "Address already in use" in self.log_text()[log_start:]
                if not (is_port_taken and is_port_new) or attempt == START_ATTEMPTS - 1:
                    raise
                self.port = None
        self._save_state(port=self.port)

    def stop(self, mode="fast"):
        """Shut down in order: smart, fast or immediate. Nothing happens if it does not run."""
        self.begin_stop(mode)
        self._wait_gone()

    def begin_stop(self, mode="fast"):
        """Ask it to shut down, and do not wait."""
        pid = self.pid
        if pid is not None:
            send_signal([pid], STOP_SIGNALS[mode])

    def restart(self, mode="fast"):
        self.stop(mode)
        self.start()

    def reload(self):
        """Re-read the configuration files."""
        send_signal([self.pid], signal.SIGHUP)

    def configure(self, **settings):
        """Change parameters (underscores twice for a dot: order_service__topic) and reload; None removes one."""
        for name, value in settings.items():
            name = name.replace("__", ".")
            if value is None:
                self.settings.pop(name, None)
            else:
                self.settings[name] = value
        self._write_settings()
        self.reload()

    def remove(self):
        # In order where that works, since a killed server leaves its System V shared memory behind. For one that a
        # test has killed the segment is removed here: nobody will start on this directory and reuse it.
        self.thaw()
        try:
            self.stop("immediate")
        except TimeoutError:
            pass
        lines = self._pid_file()
        super().remove()
        if len(lines) >= 7 and len(lines[6].split()) == 2:
            subprocess.run(["ipcrm", "-m", lines[6].split()[1]], stderr=subprocess.DEVNULL, check=False)
        if self._socket_directory is not None:
            shutil.rmtree(self._socket_directory, ignore_errors=True)
            self._socket_directory = None

    @property
    def pid(self):
        """The postmaster's process id, or None when it does not run."""
        lines = self._pid_file()
        pid = int(lines[0]) if lines else None
        return pid if pid in self.processes() else None

    def _pid_file(self):
        # A server that starts removes what another one left, perhaps while we look.
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _is_ready(self):
        # The eighth line is the server's own word on its state; the first tells a stale file from ours.
        lines = self._pid_file()
        return len(lines) >= 8 and int(lines[0]) == self._process.pid and lines[7].strip() in ("ready", "standby")

    # --- configuration ---

    @property
    def socket_directory(self):
        """Where the Unix socket is: the cluster's directory, or one in /tmp if that path is too long for a socket."""
        if len(str(self.directory)) <= SOCKET_DIRECTORY_LENGTH_MAX:
            return self.directory
        if self._socket_directory is None:
            self._socket_directory = Path(tempfile.mkdtemp(prefix="order_service.", dir="/tmp"))
            give_to_server(self._socket_directory)
        return self._socket_directory

    def _write_settings(self):
        values = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.socket_directory),
            "shared_preload_libraries": EXTENSION if self.preload else "",
            "max_prepared_transactions": 20,
            "log_line_prefix": "%m [%p] %b %q%u@%d ",
            f"{EXTENSION}.databases": DATABASE,
            f"{EXTENSION}.kafka_brokers": self.brokers,
            **self.settings,
        }
        lines = [f"{name} = '{str(value).replace(chr(39), chr(39) * 2)}'\n" for name, value in values.items()]
        write_server_file(self.data / "sandbox.conf", "".join(lines))

    def _tool(self, name, *arguments, text=""):
        return run_tool([str(private(pg_config("bindir")) / name), *arguments], self.directory, text)

    # --- use ---

    def environment(self, dbname=DATABASE):
        """The variables with which psql and every other libpq program finds it."""
        return {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "postgres", "PGDATABASE": dbname}

    @property
    def dsn(self):
        """libpq connection string to the database `orders`."""
        return f"host=127.0.0.1 port={self.port} user=postgres dbname={DATABASE}"

    def connect(self, dbname=DATABASE, autocommit=True, **options):
        """A psycopg connection as superuser; options are libpq's (user=..., options=...)."""
        import psycopg

        values = {"host": "127.0.0.1", "port": self.port, "user": "postgres", "connect_timeout": 10, **options}
        return psycopg.connect(dbname=dbname, autocommit=autocommit, **values)

    def execute(self, query, parameters=None, dbname=DATABASE):
        """Run one query on a connection of its own; the rows, or [] for a command that returns none."""
        with self.connect(dbname) as connection:
            cursor = connection.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []

    def create_database(self, name=DATABASE, extension=True):
        """Create a database, unless it exists, and the extension in it."""
        if not self.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name], dbname="postgres"):
            self.execute(f'CREATE DATABASE "{name}"', dbname="postgres")
        if extension:
            self.execute(f"CREATE EXTENSION IF NOT EXISTS {EXTENSION}", dbname=name)

    def backend_pids(self, backend_type="client backend"):
        """The process ids of the backends of a type (SQL LIKE pattern), our asking connection left out."""
        query = "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE %s AND pid <> pg_backend_pid()"
        return [pid for (pid,) in self.execute(query, [backend_type], dbname="postgres")]

    def standby(self, directory, settings=None):
        """A streaming standby made from this running server with pg_basebackup; not started yet."""
        other = Postgres(directory, self.preload, {**self.settings, **(settings or {})}, self.brokers, self.tied)
        make_server_directory(other.directory)
        source = f"host=127.0.0.1 port={self.port} user=postgres"
        options = ["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]
        self._tool("pg_basebackup", "-d", source, "-D", str(other.data), *options)
        return other

    def wait_for_log(self, text, seconds=30, start=0):
        """Wait until a text is in the log after the offset `start` (len(log_text()) at an earlier time)."""
        wait_until(lambda: text in self.log_text()[start:], seconds, f"log line with {text!r}")
