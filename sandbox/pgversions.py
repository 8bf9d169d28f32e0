"""Other major versions of PostgreSQL than the one that is installed, out of Python packages that pip fetches.

DESIGN
  A package has a whole installation that runs from wherever it lies, headers and PGXS included. It lies among the
  sandbox's own files, so the extension is installed into it as it is; see pgserver.prefix().

  pgTAP is SQL alone: that of the installed PostgreSQL serves the others.

LIMITS
  The packages are those for x86-64.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from host import ROOT, SandboxError, exclusive, home
from pgserver import pg_config

REQUIREMENTS = ROOT / "sandbox" / "postgresql" / "requirements.txt"
# What the packages were made for, whatever Python asks: no code of theirs is run.
PLATFORM = ["--platform", "manylinux_2_28_x86_64", "--implementation", "cp", "--python-version", "3.11"]
TEST_EXTENSION = "pgtap"


def fetch():
    """The pg_config of each, by version; fetched if they are not there, which alone needs the network."""
    target = home() / "postgresql"
    requirements = target / REQUIREMENTS.name
    with exclusive("postgresql"):
        if not requirements.exists() or requirements.read_bytes() != REQUIREMENTS.read_bytes():
            _fetch_to(target)
    return sorted(_binaries(target), key=_version)


def _binaries(directory):
    return list(directory.glob("*/pginstall/bin/pg_config"))


def _fetch_to(target):
    # Renamed when complete, so that an interrupted download is never taken for a finished one.
    with tempfile.TemporaryDirectory(dir=target.parent) as directory:
        fresh = Path(directory) / "postgresql"
        print("fetching other versions of PostgreSQL", file=sys.stderr, flush=True)
        command = ["/usr/bin/python3", "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
        command += ["--require-hashes", "--no-compile", "--root-user-action", "ignore", *PLATFORM]
        command += ["--target", str(fresh), "--requirement", str(REQUIREMENTS)]
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if result.returncode != 0:
            raise SandboxError(f"pip could not fetch what {REQUIREMENTS} names:\n{result.stdout}")
        if len(_binaries(fresh)) != REQUIREMENTS.read_text().count("=="):
            raise SandboxError(f"not every package of {REQUIREMENTS} has a pg_config")
        for binary in _binaries(fresh):
            _add_test_extension(Path(pg_config("sharedir", binary)))
        shutil.copyfile(REQUIREMENTS, fresh / REQUIREMENTS.name)
        fresh.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)


def _add_test_extension(share):
    files = list((Path(pg_config("sharedir")) / "extension").glob(f"{TEST_EXTENSION}*"))
    if not files:
        raise SandboxError(f"there is no {TEST_EXTENSION}; run `make deps`")
    for path in files:
        shutil.copy(path, share / "extension")


def _version(binary):
    return int(pg_config("version", binary).split()[1].split(".")[0])
