"""The service file of deploy/systemd: what it says, and the priority it gives to the proxy."""

import configparser
import os
import shlex

from host import ROOT

PATH = ROOT / "deploy" / "systemd" / "order-proxy.service"


def read(name):
    """A setting of its [Service]."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read_string(PATH.read_text(encoding="utf-8"))
    return unit["Service"][name]


def command():
    """The words of its ExecStart."""
    return shlex.split(read("ExecStart"))


def prioritize(pid):
    """Give a process the priority of the service. False where this user may not."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, int(read("Nice")))
        # Between sessions the kernel goes by the session's priority, where it groups processes by them.
        if os.path.exists(f"/proc/{pid}/autogroup"):
            with open(f"/proc/{pid}/autogroup", "w", encoding="ascii") as file:
                file.write(read("Nice"))
    except PermissionError:
        return False
    return True
