"""What every sandbox server needs from this machine: a place, a user, a port, and an end.

DESIGN
  Servers refuse to run as root, so for root they run as an unprivileged user, started through setpriv.
  A server "belongs" to its directory: it is started with that directory (or its data directory) as working directory,
  and so are its children. Asking /proc who works there finds them all, also after an unclean end of the program that
  started them, and can never hit a process of somebody else who got the same process id.
FAILURE
  If this program dies, however it dies, the kernel signals the servers it started (PR_SET_PDEATHSIG), unless they
  were started to stay (`tied=False`, which is what `make up` does).
"""

import atexit
import collections
import fcntl
import json
import os
import pwd
import queue
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUN = ROOT / ".run"

POLL_SECONDS = 0.02
START_SECONDS_MAX = 90
# Of the ports, so that test programs that run at once do not take each other's.
PORT_LANES = 4
STOP_SECONDS_MAX = 60


class SandboxError(Exception):
    """Something about the sandbox itself is wrong; the text says what and, where known, what to do."""


def wait_until(predicate, seconds, what):
    """Poll until predicate() is true and return its value; TimeoutError naming `what` if that takes too long."""
    deadline = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise TimeoutError(f"{what}: not within {seconds} s (last value: {value!r})")
        time.sleep(POLL_SECONDS)


# --- user and place -------------------------------------------------------------------------------------------------


def server_user():
    """The unprivileged user that runs the servers when we are root; None when we are not root and run them ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise SandboxError("running as root, and there is no user 'postgres' to run the servers as: run `make deps`")


def setpriv_prefix(death_signal=None):
    """The words before a command that make it run as the server user and, if wanted, end together with us."""
    words = ["setpriv"]
    user = server_user()
    if user is not None:
        words += [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    if death_signal is not None:
        words += ["--pdeathsig", death_signal]
    return words + ["--"] if len(words) > 1 else []


def can_server_user_enter(directory):
    """Whether the servers' user can reach a directory; asked by trying, since ACLs and mounts have a say too."""
    command = setpriv_prefix() + ["test", "-x", str(directory)]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


def _make_run_directory():
    RUN.mkdir(exist_ok=True)
    if not os.access(RUN, os.W_OK):
        raise SandboxError(f"{RUN} belongs to another user, probably root: remove it as that user")
    if os.geteuid() == 0:
        RUN.chmod(0o755)


def home():
    """Where everything lives that a server reads or writes.

    That is .run in the checkout, unless the servers' user cannot go there (a checkout below /root, say): then it is a
    directory under /var/tmp, remembered in .run/home.
    """
    _make_run_directory()
    if server_user() is None or can_server_user_enter(RUN):
        return RUN
    note = RUN / "home"
    if note.exists():
        directory = Path(note.read_text().strip())
        # Only a directory of our own is trusted: /var/tmp is open to everybody.
        if directory.is_dir() and not directory.is_symlink() and directory.stat().st_uid == os.geteuid():
            return directory
    directory = Path(tempfile.mkdtemp(prefix="order_service.", dir="/var/tmp"))
    directory.chmod(0o755)
    note.write_text(f"{directory}\n")
    return directory


@contextmanager
def exclusive(name):
    """Of the programs that do the thing of this name in this checkout, one at a time. Who dies makes room.

    What is made meanwhile can be read by the servers' user.
    """
    with usual_umask(), open(home() / f"{name}.lock", "a", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def usual_umask():
    """Files made meanwhile can be read by the servers' user, whatever umask the caller lives with."""
    mask = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(mask)


def give_to_server(path):
    """Make the servers' user the owner of a file or directory."""
    user = server_user()
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)


def make_server_directory(directory):
    """Create a directory that the servers' user owns."""
    with usual_umask():
        directory.mkdir(parents=True)
    give_to_server(directory)


def write_server_file(path, text):
    """Write a file that the servers' user owns."""
    with usual_umask():
        path.write_text(text)
    give_to_server(path)


def program(name, variant="gcc"):
    """A program of build/programs-VARIANT, copied to where the servers' user can run it; the path of the copy."""
    built = ROOT / "build" / f"programs-{variant}" / name
    if not built.exists():
        raise SandboxError(f"{built.relative_to(ROOT)} does not exist: run `make build`")
    copy = home() / "bin" / variant / name
    if not copy.exists() or copy.stat().st_mtime_ns != built.stat().st_mtime_ns:
        # Renamed into place: a copy that runs now is left alone, and no half of one is ever started.
        fresh = copy.with_name(f"{name}.{os.getpid()}")
        with usual_umask():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(built, fresh)
        fresh.chmod(0o755)
        fresh.rename(copy)
    return copy


class Scratch:
    """A directory for one run, removed at its end; what earlier runs left behind goes when the next one begins.

    A lock file tells the living from the dead: the kernel drops the lock with the process that held it.
    """

    def __init__(self, name):
        parent = home() / "tmp"
        # Another one must not sweep away what has no lock yet.
        with exclusive("tmp"):
            parent.mkdir(exist_ok=True)
            self._sweep(parent)
            self.path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
            self.path.chmod(0o755)
            self._lock = open(self.path / "lock", "w", encoding="ascii")
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    @staticmethod
    def _sweep(parent):
        for directory in parent.iterdir():
            try:
                with open(directory / "lock", "a", encoding="ascii") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    kill_in(directory)
                    shutil.rmtree(directory, ignore_errors=True)
            except (BlockingIOError, FileNotFoundError, NotADirectoryError):
                continue

    def __enter__(self):
        return self.path

    def __exit__(self, *_exc):
        self.remove()

    def remove(self):
        """Remove the directory, unless KEEP is set in the environment: then its logs stay to be read."""
        if os.environ.get("KEEP"):
            print(f"kept: {self.path}", file=sys.stderr)
        else:
            shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


# --- ports ----------------------------------------------------------------------------------------------------------


def _ephemeral_first():
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        return int(file.read().split()[0])


# What free_port() has handed out last: a server that is down for a while wants its port again.
_ports_given = collections.deque(maxlen=500)


def free_port():
    """A TCP port of 127.0.0.1 that nobody uses now, and that this program was not given lately.

    Taken from below the range the kernel gives to outgoing connections: a server that is restarted on its port must
    not find some client sitting there. (A client that keeps calling a dead port inside that range can even connect
    to itself.) Falls back to the kernel's choice where there is no room below. Test programs that run side by side
    have ports of their own.
    """
    # The system's generator, because tests that seed the usual one would all draw the same ports.
    draw = random.SystemRandom()
    lane = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PORT_LANES
    first, last = 20000, _ephemeral_first() - PORT_LANES
    candidates = []
    if last - first >= 1000:
        candidates = [draw.randint(first, last) // PORT_LANES * PORT_LANES + lane for _ in range(200)]
    for port in candidates + [0]:
        if port in _ports_given:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            port = probe.getsockname()[1]
            _ports_given.append(port)
            return port
    raise SandboxError("no free TCP port on 127.0.0.1")


# --- processes ------------------------------------------------------------------------------------------------------


def processes_in(directory):
    """The ids of all live processes whose working directory is `directory` or below it."""
    base = os.path.realpath(directory)
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            where = os.readlink(f"/proc/{entry}/cwd")
        except OSError:
            # Gone meanwhile, a zombie, or of another user: in no case one of ours.
            continue
        where = where.removesuffix(" (deleted)")
        if where == base or where.startswith(base + "/"):
            found.append(int(entry))
    return found


def send_signal(pids, signum):
    """Signal processes, of which any may be gone already."""
    for pid in pids:
        try:
            os.kill(pid, signum)
        except ProcessLookupError:
            continue


def kill_in(directory):
    """Kill whatever works in a directory of ours, and wait until it is gone."""

    def none_left():
        pids = processes_in(directory)
        send_signal(pids, signal.SIGKILL)
        return not pids

    wait_until(none_left, STOP_SECONDS_MAX, f"end of the processes in {directory}")


def exit_on_signals():
    """Turn SIGTERM and SIGHUP into SystemExit, so that context managers and atexit get their turn."""

    def leave(signum, _frame):
        raise SystemExit(128 + signum)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)


class _Spawner:
    """Starts processes from one thread that lives as long as the program.

    PR_SET_PDEATHSIG fires when the *thread* that forked ends. A server restarted from a helper thread of a test would
    otherwise die with that thread.
    """

    def __init__(self):
        self._jobs = queue.Queue()
        threading.Thread(target=self._serve, name="spawner", daemon=True).start()

    def _serve(self):
        while True:
            call, answer = self._jobs.get()
            try:
                answer.put((call(), None))
            except OSError as error:
                answer.put((None, error))

    def run(self, call):
        answer = queue.Queue()
        self._jobs.put((call, answer))
        process, error = answer.get()
        if error is not None:
            raise error
        return process


_spawner = None
_spawner_lock = threading.Lock()


def spawn(command, directory, log_path, death_signal, environment, before=()):
    """Start a server in its directory as the servers' user, output appended to log_path; returns the Popen.

    before: words that come first, while we are still ourselves.
    """
    global _spawner
    with _spawner_lock:
        if _spawner is None:
            _spawner = _Spawner()
    # Its own session: Ctrl-C in the terminal reaches us alone, and we stop the servers in order.
    with open(log_path, "ab") as log:
        return _spawner.run(
            lambda: subprocess.Popen(
                [*before, *setpriv_prefix(death_signal), *command],
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )


def server_environment(**more):
    """A small, predictable environment: none of the caller's PG* or JAVA* variables reaches a server."""
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "HOME": "/", **more}


def run_tool(command, directory, text=""):
    """Run a tool such as initdb to its end as the servers' user, `text` on its standard input.

    Its output is returned; if it fails, that is the error.
    """
    result = subprocess.run(
        setpriv_prefix() + command,
        cwd=directory,
        env=server_environment(),
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise SandboxError(f"{' '.join(command)} failed:\n{result.stdout}")
    return result.stdout


_live = set()


def _stop_all():
    for server in list(_live):
        server.kill9()


atexit.register(_stop_all)


class Server:
    """One server process with its children, in its own directory. Subclasses say how to start and stop it.

    A server that an earlier program left running is found again by giving the same directory.
    """

    # The signal a tied server gets when this program dies; a subclass may know a kinder one that is as sure.
    death_signal = "KILL"
    # Words before its command, for one that lives elsewhere, such as in another network namespace.
    before = ()

    def __init__(self, directory, tied=True):
        self.directory = Path(directory).resolve()
        self.log_path = self.directory / "server.log"
        self.tied = tied
        self._process = None

    @property
    def work_directory(self):
        """The working directory of the server's processes."""
        return self.directory

    def processes(self):
        """The ids of all its processes."""
        return processes_in(self.work_directory)

    @property
    def is_running(self):
        return bool(self.processes())

    def log_text(self):
        """The whole log so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self, lines=40):
        """The last lines of the log."""
        return "\n".join(self.log_text().splitlines()[-lines:])

    def _spawn(self, command, environment):
        signal_name = self.death_signal if self.tied else None
        self._process = spawn(command, self.work_directory, self.log_path, signal_name, environment, self.before)
        if self.tied:
            _live.add(self)

    def _wait_ready(self, is_ready, what):
        """Poll until ready; a server that exits instead is reported at once, with its last words."""

        def ready_or_dead():
            if self._process.poll() is not None:
                raise SandboxError(f"{what} ended at start (exit {self._process.returncode}):\n{self.log_tail()}")
            return is_ready()

        try:
            wait_until(ready_or_dead, START_SECONDS_MAX, f"start of {what}")
        except TimeoutError as error:
            self.kill9()
            raise SandboxError(f"{error}\n{self.log_tail()}") from None

    def _wait_gone(self):
        wait_until(lambda: not self.processes(), STOP_SECONDS_MAX, f"end of the server in {self.directory}")
        if self._process is not None:
            self._process.wait()
            self._process = None
        _live.discard(self)

    def kill9(self):
        """A crash: SIGKILL to every process. Returns when all are gone, so that it can be started again."""
        if self._process is not None and self._process.poll() is None:
            # The first process first, so that it cannot react to the death of the others.
            self._process.kill()
        if self.work_directory.exists():
            kill_in(self.work_directory)
        self._wait_gone()

    def freeze(self):
        """Stop every process where it stands (SIGSTOP): sockets stay open, nothing answers."""
        send_signal(self.processes(), signal.SIGSTOP)

    def thaw(self):
        """Undo freeze()."""
        send_signal(self.processes(), signal.SIGCONT)

    def remove(self):
        """Kill it if it runs and remove its directory."""
        self.kill9()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _save_state(self, **state):
        write_server_file(self.directory / "state.json", json.dumps(state))

    def _load_state(self):
        path = self.directory / "state.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_exc):
        self.remove()
