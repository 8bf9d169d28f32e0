"""TLS to Account: gRPC's own servers in two languages, which show a certificate. Shows 9 of the issue.

Each language meets one build of the proxy.
"""

from collections import namedtuple

import pytest
import wire
from certificates import Authority
from host import make_server_directory, write_server_file
from peer import Peer
from stack import wait_until
from test_account_results import ACCEPTED, DOUBTFUL, place

# ENDPOINT_CONNECT_MS_MAX, with the pause after a failure, which grows to some seconds while a test runs.
ATTEMPT_SECONDS_MAX = 30
READY = "grpc_client_endpoints_ready"
PATIENT = {"account.attempt_timeout": "4s", "account.overall_timeout": "4s", "account.retries_max": 0}

Files = namedtuple("Files", "ca certificate key")


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def good(authority):
    """What the server should show."""
    return authority.issue("localhost")


@pytest.fixture(scope="module")
def make_files(scratch):
    """make_files(name, ca, certificate, key) -> Files: paths that the proxy can read."""

    def make(name, *contents):
        directory = scratch / f"files-{name}"
        make_server_directory(directory)
        files = Files(*[directory / f"{kind}.pem" for kind in Files._fields])
        for path, content in zip(files, contents):
            write_server_file(path, content)
        return files

    return make


@pytest.fixture(scope="module", params=[("python", "asan"), ("java", "gcc")], ids="-".join)
def pair(request, make_shared_whole, make_shared_postgres, scratch, authority, good, make_files):
    """A proxy that trusts the authority, and a server that shows a certificate of it; both are left so."""
    language, variant = request.param
    files = make_files(language, authority.pem)
    settings = {**PATIENT, "account.tls": "on", "account.tls_ca": files.ca}
    with Peer(scratch / f"tls-peer-{language}", language, good) as peer:
        whole = make_shared_whole(account=peer, settings=settings, variant=variant)
        wait_until(lambda: whole.proxy.metrics()[READY] > 0, ATTEMPT_SECONDS_MAX, "an endpoint that is ready")
        yield whole, peer
        assert place(whole, 10000)[0] == ACCEPTED


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_orders_are_reserved_over_tls(pair, side):
    whole, peer = pair
    end, row = place(whole, 10000, side)
    assert end == ACCEPTED
    calls = [call for call in peer.calls() if call["message"].reserve_id == row["reserve_id"]]
    assert [call["method"] for call in calls] == [{"BUY": "ReserveCash", "SELL": "ReservePosition"}[side]]


def test_large_replies_and_many_orders_at_once_pass(pair):
    whole, _ = pair
    assert place(whole, 30000)[0] == ACCEPTED
    assert place(whole, 30001)[0] == DOUBTFUL
    with whole.client(10000) as client:
        for number in range(300):
            client.send(wire.PLACE, wire.place_request().SerializeToString(), number)
        answers = [wire.decode(frame, "OrderResponse") for frame in client.receive_all(300)]
    assert {answer.code for answer in answers} == {200}
