"""How large the system tests are. SOAK=1 in the environment asks for the long forms; `make soak` sets it.

A test with two forms carries the marker `soak` and takes its numbers from sized(). With SOAK=1 only such tests run.
"""

import os

IS_SOAK = os.environ.get("SOAK", "0") not in ("", "0")


def sized(short, long):
    """The number of the form that runs: the short one in `make check`, the long one in `make soak`."""
    return long if IS_SOAK else short
