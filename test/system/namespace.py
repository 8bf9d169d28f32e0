"""Networks of a test's own: network namespaces of Linux, for root and for everybody else.

run_inside(path)    run the tests of a file again, in a network of their own
is_inside()         whether this is that run
Away                in there: a second network, behind a wire that can be cut
"""

import os
import subprocess
import sys
from pathlib import Path

from stack import wait_until

VARIABLE = "TEST_INSIDE_NAMESPACE"
NEAR, FAR = "10.9.8.1", "10.9.8.2"
NOBODY = "02:00:00:00:00:01"
RUN_SECONDS_MAX = 240
# Others than root become able to make networks in a user namespace, and stay themselves in it.
AS_USER = ["--user", "--map-current-user", "--keep-caps"]
ALONE = ["unshare", "--net", *(AS_USER if os.geteuid() != 0 else [])]


def is_inside():
    return VARIABLE in os.environ


def run_inside(path):
    """The tests of a file, which asks is_inside() to know which; their output, if they pass."""
    command = [*ALONE, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-s", str(path)]
    result = subprocess.run(
        command,
        env={**os.environ, VARIABLE: "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=RUN_SECONDS_MAX,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def ip(*words, before=()):
    subprocess.run([*before, "ip", *words], check=True)


class Away:
    """The network on the other side of a wire. We are NEAR, who lives there is FAR."""

    def __init__(self):
        ip("link", "set", "lo", "up")
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self._namespace = Path(f"/proc/{self._holder.pid}/ns/net")
        own = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(self._namespace) != own, 10, "a network namespace")
        ip("link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(self._holder.pid))
        ip("address", "add", f"{NEAR}/24", "dev", "near")
        ip("address", "add", f"{FAR}/24", "dev", "far", before=self.before)
        ip("link", "set", "lo", "up", before=self.before)
        ip("link", "set", "near", "up")
        ip("link", "set", "far", "up", before=self.before)
        self.join()

    @property
    def before(self):
        """The words before a command that run it there."""
        return ("nsenter", f"--net={self._namespace}", "--")

    def join(self):
        """From now on packets go through."""
        self._address_packets(self._hardware_address("far", self.before), self._hardware_address("near"))

    def cut(self):
        """From now on every packet is lost on the wire, and neither side is told: nobody has these addresses."""
        self._address_packets(NOBODY, NOBODY)

    def _address_packets(self, to_far, to_near):
        ip("neighbour", "replace", FAR, "lladdr", to_far, "dev", "near", "nud", "permanent")
        ip("neighbour", "replace", NEAR, "lladdr", to_near, "dev", "far", "nud", "permanent", before=self.before)

    def _hardware_address(self, device, before=()):
        words = [*before, "ip", "-brief", "link", "show", "dev", device]
        return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout.split()[2]

    def close(self):
        self._holder.kill()
        self._holder.wait()
