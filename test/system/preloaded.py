"""Libraries of peers/ that a server is started with (LD_PRELOAD), so that its machine seems to be another one."""

import subprocess
from pathlib import Path

PEERS = Path(__file__).resolve().parent / "peers"


def build(name, directory):
    """Compile peers/NAME.c into a directory that the servers' user can read; the path of the library."""
    target = directory / f"{name}.so"
    command = ["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
    subprocess.run([*command, "-o", str(target), str(PEERS / f"{name}.c")], check=True)
    target.chmod(0o755)
    return target
