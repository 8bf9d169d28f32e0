"""Networks of a test's own: network namespaces of Linux, for root and for everybody else.

run_inside(path)    run the tests of a file again, in a network of their own
is_inside()         whether this is that run
Away                in there: a second network
Wire                a way to it, which can be cut and made to lose packets
"""

import os
import subprocess
import sys
from pathlib import Path

from stack import wait_until

VARIABLE = "TEST_INSIDE_NAMESPACE"
# All wires; each has a network of 256 addresses.
NETWORKS = "10.9.0.0/16"
# That by nftables: it takes no lock that only root may take. Others than root have not its directory in their PATH.
IPTABLES = "/usr/sbin/iptables-nft"
NOBODY = "02:00:00:00:00:01"
RUN_SECONDS_MAX = 240
# Others than root become able to make networks in a user namespace, and stay themselves in it.
AS_USER = ["--user", "--map-current-user", "--keep-caps"]
ALONE = ["unshare", "--net", *(AS_USER if os.geteuid() != 0 else [])]
# The loopback of a new network is down.
WITH_LOOPBACK = ["sh", "-c", 'ip link set lo up && exec "$@"', "-"]


def is_inside():
    return VARIABLE in os.environ


def run_inside(path, seconds=RUN_SECONDS_MAX):
    """The tests of a file, which asks is_inside() to know which; their output, if they pass."""
    command = [*ALONE, *WITH_LOOPBACK, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-s", str(path)]
    result = subprocess.run(
        command,
        env={**os.environ, VARIABLE: "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def run(*words):
    """What a command says, which must end well."""
    return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout


class Wire:
    """Between two networks: a device at each end. `near` is our address on it, `far` that of the other network."""

    def __init__(self, number, holder_pid, before):
        self._loss = None
        self.near, self.far = f"10.9.{number}.1", f"10.9.{number}.2"
        # Of each end: the words before a command there, its device, who is at the other one.
        self._ends = [((), f"near{number}", self.far), (before, f"far{number}", self.near)]
        peer = ["type", "veth", "peer", "name", f"far{number}", "netns", str(holder_pid)]
        run("ip", "link", "add", f"near{number}", *peer)
        for (words, device, _), address in zip(self._ends, (self.near, self.far)):
            run(*words, "ip", "address", "add", f"{address}/24", "dev", device)
            run(*words, "ip", "link", "set", device, "up")
        self._hardware = [run(*words, "ip", "-brief", "link", "show", "dev", d).split()[2] for words, d, _ in self._ends]
        self.join()

    def join(self):
        """From now on packets go through."""
        self._address_packets(self._hardware[1], self._hardware[0])

    def cut(self):
        """From now on every packet is lost on the wire, and neither side is told: nobody has these addresses."""
        self._address_packets(NOBODY, NOBODY)

    def cut_to_far(self):
        """The same for packets to the far side; what that says still arrives."""
        self._address_packets(NOBODY, self._hardware[0])

    def _address_packets(self, *hardware_addresses):
        for (words, device, other), address in zip(self._ends, hardware_addresses):
            run(*words, "ip", "neighbour", "replace", other, "lladdr", address, "dev", device, "nud", "permanent")

    def lose(self, percent):
        """From now on, and for good, so many percent of the packets are lost, in either direction."""
        self._loss = ["-m", "statistic", "--mode", "random", "--probability", str(percent / 100), "--jump", "DROP"]
        for words, device, _ in self._ends:
            run(*words, IPTABLES, "--append", "INPUT", "--in-interface", device, *self._loss)

    def lost_count(self):
        """How many packets lose() has cost."""
        count = 0
        for words, device, _ in self._ends:
            rules = run(*words, IPTABLES, "--list", "INPUT", "--verbose", "--exact", "--numeric").splitlines()[2:]
            count += sum(int(rule.split()[0]) for rule in rules if device in rule.split())
        return count

    def remove(self):
        """With the rules of our end; the other one goes with its network."""
        _, device, _ = self._ends[0]
        if self._loss is not None:
            run(IPTABLES, "--delete", "INPUT", "--in-interface", device, *self._loss)
        run("ip", "link", "delete", device)


class Away:
    """Another network: its processes see nothing of ours but what comes over a wire."""

    def __init__(self):
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self._namespace = Path(f"/proc/{self._holder.pid}/ns/net")
        self._wires = []
        own = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(self._namespace) != own, 10, "a network namespace")
        run(*self.before, "ip", "link", "set", "lo", "up")

    @property
    def before(self):
        """The words before a command that run it there."""
        return ("nsenter", f"--net={self._namespace}", "--")

    def add_wire(self):
        """One more Wire from here to there."""
        self._wires.append(Wire(len(self._wires) + 1, self._holder.pid, self.before))
        return self._wires[-1]

    def close(self):
        for wire in self._wires:
            wire.remove()
        self._holder.kill()
        self._holder.wait()
