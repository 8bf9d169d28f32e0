"""The machine: who used its processors, by kind of process, from /proc before and after; what its memory is used for.

Processes that end meanwhile are not lost: what a backend used moves to its postmaster's account of dead children.
"""

import os
import time
from contextlib import contextmanager
from pathlib import Path

from host import SandboxError

TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
PROCESSORS = os.cpu_count()
MEMORY_MB = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20

VM = Path("/proc/sys/vm")
HUGE_PAGE_MB = 2

# Titles of PostgreSQL's children, after "postgres: ". Everything else is a backend of a client.
KINDS = {
    "order_service publisher": "publisher",
    "walwriter": "walwriter",
    "checkpointer": "checkpointer",
    "background writer": "other servers",
    "logical replication launcher": "other servers",
    "autovacuum": "other servers",
    "startup": "other servers",
}


def _stat(pid):
    """The fields of /proc/<pid>/stat after the name, or None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def cpu_seconds(pid, with_dead_children=False):
    """User and system time of a process, all threads; 0 when it is gone."""
    fields = _stat(pid)
    if fields is None:
        return 0.0
    last = 15 if with_dead_children else 13
    return sum(int(field) for field in fields[11:last]) * TICK_SECONDS


def precise_cpu_seconds(pid):
    """The same without the rounding to clock ticks, for a process none of whose threads ends meanwhile."""
    nanoseconds = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
            nanoseconds += int(file.read().split()[0])
    return nanoseconds / 1e9


def memory_mb(pid, kind):
    """Memory of a process, of a kind in /proc/<pid>/status such as VmRSS, all that is resident; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            return next((int(line.split()[1]) / 1024 for line in file if line.startswith(f"{kind}:")), 0.0)
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def own_memory_mb(pid):
    """Memory of a process that is neither a file's nor shared; 0 when it is gone."""
    return memory_mb(pid, "RssAnon")


def _children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def _kind(pid):
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            title = file.read().removeprefix("postgres: ")
    except (FileNotFoundError, ProcessLookupError):
        return "backends"
    return next((kind for start, kind in KINDS.items() if title.startswith(start)), "backends")


def _busy_seconds():
    """What all processors did together, for whomever; time stolen by the hypervisor included."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _wait, irq, softirq, steal = (int(word) for word in file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) * TICK_SECONDS


def snapshot(postmaster, programs, ignored=()):
    """{kind: CPU seconds so far}; `programs` are {kind: pids} beside PostgreSQL, `ignored` backends that only watch."""
    seconds = {"time": time.monotonic(), "machine": _busy_seconds(), "self": time.process_time()}
    seconds["backends"] = cpu_seconds(postmaster, True) - cpu_seconds(postmaster)
    seconds["other servers"] = cpu_seconds(postmaster)
    seconds.update({kind: sum(cpu_seconds(pid) for pid in pids) for kind, pids in programs.items()})
    for pid in _children(postmaster):
        kind = "watching" if pid in ignored else _kind(pid)
        seconds[kind] = seconds.get(kind, 0.0) + cpu_seconds(pid)
    return seconds


def difference(before, after, client_seconds):
    """CPU seconds by kind between two snapshots, and `others`: how many cores strangers had on average."""
    used = {kind: max(after[kind] - before.get(kind, 0.0), 0.0) for kind in after}
    elapsed, machine = used.pop("time"), used.pop("machine")
    used["client"] = client_seconds
    others = (machine - sum(used.values())) / elapsed
    for kind in ("self", "watching"):
        used.pop(kind, None)
    return used, max(others, 0.0)


def has_backends(postmaster, ignored=()):
    """Whether a client backend is left, or one that ended and was not counted yet by its postmaster."""
    return any(pid not in ignored and _kind(pid) == "backends" for pid in _children(postmaster))


class QuietWatch:
    """Tells whether all programs together used less than so many cores during the last second."""

    def __init__(self, cores):
        self._cores = cores
        self._start, self._busy = time.monotonic(), _busy_seconds()

    def __call__(self):
        now = time.monotonic()
        if now - self._start < 1:
            return False
        busy = _busy_seconds()
        is_quiet = (busy - self._busy) / (now - self._start) < self._cores
        self._start, self._busy = now, busy
        return is_quiet


def forget_files(directory):
    """Have the kernel drop what it has cached of the files in a directory, which nobody is writing."""
    for path in directory.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def description():
    """What the figures were measured on."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return {"processors": PROCESSORS, "model": models[0] if models else "?", "memory_gb": round(MEMORY_MB / 1024, 1)}


def _reserve(count):
    """Have so many huge pages in all."""
    # What files have cached lies everywhere, and there are not enough small ones side by side.
    os.sync()
    (VM / "drop_caches").write_text("3")
    (VM / "compact_memory").write_text("1")
    (VM / "nr_hugepages").write_text(str(count))
    found = int((VM / "nr_hugepages").read_text())
    if found < count:
        raise SandboxError(f"there are {found} huge pages, not {count}")


@contextmanager
def huge_pages(megabytes):
    """So much memory in huge pages, beside those that there are, for as long as it is needed. Needs root."""
    if os.geteuid() != 0:
        raise SandboxError("huge pages are reserved by root")
    before = int((VM / "nr_hugepages").read_text())
    try:
        _reserve(before + -(-megabytes // HUGE_PAGE_MB))
        yield
    finally:
        (VM / "nr_hugepages").write_text(str(before))
