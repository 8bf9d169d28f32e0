"""Faults of running servers: who is killed or frozen, when and for how long, drawn from a seed before anything begins.

draw_strikes(seed, seconds, targets)   the plan: [Strike], by time
Striker                                the thread that strikes one target, and brings it back each time
postgres_faults(), server_faults()     {name of the fault: function of the seconds it lasts}

Strikes of different targets overlap; those of one target come one after another.
"""

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter, namedtuple

from host import send_signal
from stack import wait_until

# at: seconds after the begin; seconds: how long a frozen server stays frozen, or a killed one away.
Strike = namedtuple("Strike", "at target fault seconds")

CLIENT_BACKEND = "client backend"
PUBLISHER = "order_service publisher"

# Between two moments at which something fails, and how many targets fail at one moment.
INTERVAL_SECONDS = (0.5, 4.0)
TARGETS_AT_ONCE = {1: 55, 2: 25, 3: 15, 4: 5}
STAGGER_SECONDS_MAX = 0.5
FROZEN_SECONDS = (0.1, 4.0)
AWAY_SECONDS_MAX = 2.0
# A strike that is later than this finds its target still coming back from the last one, and is left out.
LATE_SECONDS_MAX = 1.0
RECOVERY_SECONDS_MAX = 60
PROCESS_SECONDS_MAX = 30


# --- the plan ---


class _Deck:
    """Draws every fault of a target once before any of them comes again."""

    def __init__(self, rng, faults):
        self._rng, self._faults, self._left = rng, list(faults), []

    def draw(self):
        if not self._left:
            self._left = self._rng.sample(self._faults, len(self._faults))
        return self._left.pop()


def draw_strikes(seed, seconds, targets):
    """targets: {name: (weight, names of its faults)}. At each of the first moments, one more target has its turn."""
    rng = random.Random(seed)
    decks = {name: _Deck(rng, faults) for name, (_, faults) in targets.items()}
    unstruck = rng.sample(list(targets), len(targets))
    strikes, at = [], 0.0
    while at < seconds:
        at += rng.uniform(*INTERVAL_SECONDS)
        [count] = rng.choices(list(TARGETS_AT_ONCE), list(TARGETS_AT_ONCE.values()))
        names = {*_sample(rng, targets, count), *unstruck[-1:]}
        del unstruck[-1:]
        for name in sorted(names):
            fault = decks[name].draw()
            lasts = _frozen_seconds(rng) if fault.startswith("freeze") else rng.uniform(0, AWAY_SECONDS_MAX)
            strikes.append(Strike(at + rng.uniform(0, STAGGER_SECONDS_MAX), name, fault, lasts))
    return sorted(strike for strike in strikes if strike.at < seconds)


def _sample(rng, targets, count):
    """Some targets, without repetition, by their weights."""
    left = {name: weight for name, (weight, _) in targets.items()}
    for _ in range(count):
        [name] = rng.choices(list(left), list(left.values()))
        del left[name]
        yield name


def _frozen_seconds(rng):
    """Short ones as often as long ones: what is late by a moment meets other code than what times out."""
    shortest, longest = FROZEN_SECONDS
    return shortest * (longest / shortest) ** rng.random()


class Striker(threading.Thread):
    """Strikes one target as planned until `ended` is set, and leaves it running. join() raises what went wrong."""

    def __init__(self, name, faults, strikes, ended):
        super().__init__(name=name, daemon=True)
        self.counts = Counter()
        self.error = None
        self._faults = faults
        self._strikes = strikes
        self._ended = ended

    def run(self):
        begin = time.monotonic()
        try:
            for strike in self._strikes:
                early = begin + strike.at - time.monotonic()
                if early < -LATE_SECONDS_MAX:
                    continue
                if self._ended.wait(max(0, early)):
                    break
                self._faults[strike.fault](strike.seconds)
                self.counts[strike.fault] += 1
        except BaseException as error:  # raised by join()
            self.error = error
            self._ended.set()

    def join(self, timeout=None):
        super().join(timeout)
        assert not self.is_alive(), f"{self.name} has not come back"
        if self.error is not None:
            raise AssertionError(f"could not strike {self.name}") from self.error


# --- any server ---


def server_faults(server, ended):
    """What can be done to a server as a whole. One that has ended by itself is a failure of the test."""

    def kill(seconds):
        assert server.is_running, f"{server.directory.name} had ended by itself:\n{server.log_tail()}"
        server.kill9()
        ended.wait(seconds)
        server.start()

    def freeze(seconds):
        assert server.is_running, f"{server.directory.name} had ended by itself:\n{server.log_tail()}"
        server.freeze()
        ended.wait(seconds)
        server.thaw()

    return {"kill": kill, "freeze": freeze}


# --- PostgreSQL ---


def pid_of(postgres, backend_type, rng=random):
    """The process id of a backend of a type, any one of them, once there is one."""
    return rng.choice(wait_until(lambda: postgres.backend_pids(backend_type), PROCESS_SECONDS_MAX, f"a {backend_type}"))


def kill_process(postgres, backend_type, rng=random):
    """A child that dies takes all others with it; returns when the server has started again."""
    log_start = len(postgres.log_text())

    def is_killed():
        try:
            os.kill(pid_of(postgres, backend_type, rng), signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    wait_until(is_killed, PROCESS_SECONDS_MAX, f"a {backend_type} to kill")
    postgres.wait_for_log("database system is ready to accept connections", RECOVERY_SECONDS_MAX, log_start)


def kill_postmaster(postgres):
    """The others have to notice and end by themselves: no new server can start before."""
    os.kill(postgres.pid, signal.SIGKILL)
    try:
        wait_until(lambda: not postgres.processes(), PROCESS_SECONDS_MAX, "end of the orphans")
    except TimeoutError as error:
        raise AssertionError(f"{error}\n{describe_processes(postgres.processes())}") from None
    postgres.kill9()


def describe_processes(pids):
    """What processes are and what they wait for, a line each."""
    words = ["ps", "-o", "pid=,stat=,wchan:24=,time=,args=", "-p", ",".join(map(str, pids))]
    return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False).stdout


def postgres_faults(postgres, ended, rng):
    """What can be done to PostgreSQL: to the server as a whole, and to single processes of it."""
    whole = server_faults(postgres, ended)

    def kill_only_postmaster(seconds):
        kill_postmaster(postgres)
        ended.wait(seconds)
        postgres.start()

    def freeze_process(backend_type, seconds):
        pid = pid_of(postgres, backend_type, rng)
        send_signal([pid], signal.SIGSTOP)
        ended.wait(seconds)
        send_signal([pid], signal.SIGCONT)

    def end_publisher(_seconds):
        postgres.execute("SELECT pg_terminate_backend(%s)", [pid_of(postgres, PUBLISHER)])

    return {
        "kill server": whole["kill"],
        "kill postmaster": kill_only_postmaster,
        "kill backend": lambda _seconds: kill_process(postgres, CLIENT_BACKEND, rng),
        "kill publisher": lambda _seconds: kill_process(postgres, PUBLISHER),
        "end publisher": end_publisher,
        "freeze server": whole["freeze"],
        "freeze backend": lambda seconds: freeze_process(CLIENT_BACKEND, seconds),
        "freeze publisher": lambda seconds: freeze_process(PUBLISHER, seconds),
    }
