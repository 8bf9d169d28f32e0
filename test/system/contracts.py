"""The messages of proto/, as protoc makes them for Python: what any other program would have, and nothing of ours.

module("client")    the generated module client_pb2, with the classes of client.proto
source("interop")   the text of a generated module, for a program that runs elsewhere

Besides the contracts there is peers/interop.proto, the messages of gRPC's interoperability tests.
"""

import functools
import importlib
import subprocess
import sys
import tempfile
from pathlib import Path

PROTO = Path(__file__).resolve().parents[2] / "proto"
PEERS = Path(__file__).resolve().parent / "peers"
NAMES = ("order_event", "client", "account", "interop")
# Debian's own, which fits Debian's python3-protobuf; another one in PATH may generate what that cannot load.
PROTOC = "/usr/bin/protoc"


@functools.lru_cache(maxsize=None)
def _made():
    """All of them, as {name: (module, text)}, made in a directory that does not outlive this call."""
    with tempfile.TemporaryDirectory() as directory:
        sources = [f"{name}.proto" for name in NAMES]
        paths = [f"--proto_path={path}" for path in (PROTO, PEERS)]
        subprocess.run([PROTOC, *paths, f"--python_out={directory}", *sources], check=True)
        sys.path.insert(0, directory)
        try:
            return {
                name: (importlib.import_module(f"{name}_pb2"), (Path(directory) / f"{name}_pb2.py").read_text())
                for name in NAMES
            }
        finally:
            sys.path.remove(directory)


def module(name):
    """The generated module of a contract, such as "order_event"."""
    return _made()[name][0]


def source(name):
    """The text of a generated module; its name has to be interop_pb2 for "interop"."""
    return _made()[name][1]
