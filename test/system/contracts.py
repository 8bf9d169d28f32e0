"""The messages of proto/, as protoc makes them for Python: what any other program would have, and nothing of ours.

module("client")    the generated module client_pb2, with the classes of client.proto
"""

import functools
import importlib
import subprocess
import sys
import tempfile
from pathlib import Path

PROTO = Path(__file__).resolve().parents[2] / "proto"
NAMES = ("order_event", "client", "account")
# Debian's own, which fits Debian's python3-protobuf; another one in PATH may generate what that cannot load.
PROTOC = "/usr/bin/protoc"


@functools.lru_cache(maxsize=None)
def _modules():
    """All of them, made in a directory that does not outlive this call."""
    with tempfile.TemporaryDirectory() as directory:
        sources = [f"{name}.proto" for name in NAMES]
        subprocess.run([PROTOC, f"--proto_path={PROTO}", f"--python_out={directory}", *sources], check=True)
        sys.path.insert(0, directory)
        try:
            return {name: importlib.import_module(f"{name}_pb2") for name in NAMES}
        finally:
            sys.path.remove(directory)


def module(name):
    """The generated module of a contract, such as "order_event"."""
    return _modules()[name]
