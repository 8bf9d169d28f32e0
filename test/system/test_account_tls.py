"""TLS to Account: gRPC's own servers in two languages, with right and wrong certificates. Shows 9 of the issue.

Each language meets one build of the proxy. What no gRPC server does (silence, an end in the middle, no ALPN), and
certificates of which only the client has an opinion, come from sockets of this file.
"""

import re
import socket
import ssl
import threading
from collections import namedtuple
from contextlib import contextmanager

import pytest
import wire
from certificates import Authority
from host import free_port, make_server_directory, write_server_file
from peer import Peer
from stack import wait_until
from test_account_results import ACCEPTED, DEADLY, DOUBTFUL, UNTOUCHED, place

# An attempt (ENDPOINT_CONNECT_MS_MAX) with the pause after a failure, which grows to some seconds while a test runs.
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
def pair(request, make_shared_whole, scratch, authority, good, make_files):
    """A proxy that trusts the authority, and a server that shows a certificate of it; both are left so."""
    language, variant = request.param
    files = make_files(language, authority.pem)
    settings = {**PATIENT, "account.tls": "on", "account.tls_ca": files.ca}
    with Peer(scratch / f"tls-peer-{language}", language, good) as peer:
        whole = make_shared_whole(account=peer, settings=settings, variant=variant)
        wait_ready(whole)
        yield whole, peer
        assert place(whole, 10000)[0] == ACCEPTED


def failures(whole, cause):
    return whole.proxy.metrics()[f'grpc_client_tls_failures_total{{cause="{cause}"}}']


def restart(peer, tls):
    """The server with other certificates, on its port."""
    peer.stop()
    peer.tls = tls
    peer.start()


def wait_ready(whole):
    wait_until(lambda: whole.proxy.metrics()[READY] > 0, ATTEMPT_SECONDS_MAX, "an endpoint that is ready")


def refusals(whole, port, words):
    """How many lines about a failed attempt at an address say this."""
    pattern = rf"WARNING endpoint cannot be connected to endpoint=127\.0\.0\.1:{port} (.*)"
    return sum(words in text for text in re.findall(pattern, whole.proxy.log_text()))


@contextmanager
def refused(whole, port, cause, words):
    """Until an attempt at an address has failed for this cause; orders are refused meanwhile, and each is one line."""
    counted = failures(whole, cause) if whole.proxy.is_running else 0
    logged = refusals(whole, port, words)
    yield
    wait_until(lambda: failures(whole, cause) > counted, ATTEMPT_SECONDS_MAX, f"a failure of cause {cause}")
    assert place(whole, 10000)[0] == UNTOUCHED
    assert whole.proxy.metrics()[READY] == 0
    # Looked at in between, since attempts go on.
    first = failures(whole, cause) - counted
    lines = refusals(whole, port, words) - logged
    assert first <= lines <= failures(whole, cause) - counted


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


def test_a_server_that_dies_leaves_the_outcome_unknown_and_is_called_again(pair):
    whole, peer = pair
    assert place(whole, 30002, "BUY", DEADLY)[0] == DOUBTFUL
    wait_until(lambda: not peer.is_running, 10, "end of the peer")
    peer.start()
    wait_ready(whole)
    assert place(whole, 10000)[0] == ACCEPTED


# What the server shows, the counter's cause, and words of the line in the log.
WRONG = {
    "unknown authority": ("untrusted", "the server's certificate is refused: unable to get local issuer certificate"),
    "no TLS": ("plaintext", "the server does not speak TLS"),
    "wants a certificate": ("refused", "it asks for a certificate, and tls_certificate is not set"),
}


def wrong_tls(case, authority, good):
    return {
        "unknown authority": lambda: Authority("stranger").issue("localhost"),
        "no TLS": lambda: (),
        "wants a certificate": lambda: (*good, authority.pem),
    }[case]()


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_certificate_is_refused_and_a_right_one_ends_that(pair, case, authority, good):
    whole, peer = pair
    cause, words = WRONG[case]
    # With a new proxy nothing waits for a pause that has grown.
    whole.proxy.stop()
    restart(peer, wrong_tls(case, authority, good))
    with refused(whole, peer.port, cause, words):
        whole.proxy.start()
    restart(peer, good)
    wait_ready(whole)
    for _ in range(5):
        assert place(whole, 10000)[0] == ACCEPTED


def test_a_certificate_of_ours_is_shown_and_taken_again_when_it_is_replaced(
    pair, make_shared_whole, authority, good, make_files
):
    """The rotation of a certificate: no signal, no restart; and in the middle of it, when only half is there."""
    shared, peer = pair
    restart(peer, (*good, authority.pem))
    files = make_files(f"mutual-{peer.language}", authority.pem, *Authority("stranger").issue())
    names = {f"account.tls_{kind}": path for kind, path in files._asdict().items()}
    settings = {**PATIENT, "account.tls": "on", **names}
    whole = make_shared_whole(shared.postgres, peer, settings=settings, variant=shared.proxy.variant)
    with refused(whole, peer.port, "refused", "it asks for a certificate, and was shown tls_certificate"):
        pass

    certificate, key = authority.issue()
    write_server_file(files.certificate, certificate)
    half = "TLS files cannot be read again, what was read before stays"
    wait_until(lambda: half in whole.proxy.log_text(), ATTEMPT_SECONDS_MAX, "a word about half a rotation")
    assert "key values mismatch" in whole.proxy.log_text()
    assert whole.proxy.metrics()["grpc_client_tls_files_refused_total"] == 1
    write_server_file(files.key, key)
    wait_ready(whole)
    assert place(whole, 10000)[0] == ACCEPTED
    assert whole.proxy.metrics()["grpc_client_tls_files_refused_total"] == 1

    restart(peer, good)
    wait_ready(shared)


class Impostor:
    """A socket in the place of Account that does to each client what `behave` says, in a thread of its own."""

    def __init__(self, behave):
        self.behave = behave
        self.port = free_port()
        self.clients = []
        self._socket = socket.create_server(("127.0.0.1", self.port))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def address(self):
        return f"localhost:{self.port}"

    def _serve(self):
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            client.settimeout(10)
            try:
                self.behave(client)
            except OSError:
                client.close()
            # Kept, so that it stays open.
            self.clients.append(client)

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for client in self.clients:
            client.close()
        self._thread.join()


def silence(_client):
    pass


def half_a_hello(client):
    """The beginning of a ServerHello in TLS 1.2."""
    client.recv(4096)
    client.sendall(b"\x16\x03\x03\x00\x7a\x02\x00")


def end(client):
    client.recv(4096)
    client.close()


def secure(protocols=("h2",), old=False):
    """A function of files and certificate that is a server's TLS; what is agreed on is not spoken behind it."""

    def make(files, certificate):
        for path, content in zip((files.certificate, files.key), certificate):
            write_server_file(path, content)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        if protocols:
            context.set_alpn_protocols(protocols)
        if old:
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        return lambda client: context.wrap_socket(client, server_side=True)

    return make


GOOD = {"names": ["localhost"]}
IMPOSTORS = {
    "never answers": (lambda *_: silence, GOOD, "late", "the TLS handshake was not done in time"),
    "stops in mid-handshake": (lambda *_: half_a_hello, GOOD, "late", "the TLS handshake was not done in time"),
    "ends in mid-handshake": (lambda *_: end, GOOD, "interrupted", "within the TLS handshake"),
    "knows no ALPN": (secure(protocols=()), GOOD, "no_http2", "does not agree on HTTP/2"),
    "wants another protocol": (secure(protocols=["http/1.1"]), GOOD, "no_http2", "does not agree on HTTP/2"),
    "speaks TLS 1.1": (secure(old=True), GOOD, "broken", "protocol"),
    "has expired": (secure(), {**GOOD, "days": (-30, -1)}, "expired", "certificate has expired"),
    "is not valid yet": (secure(), {**GOOD, "days": (1, 30)}, "expired", "certificate is not yet valid"),
    "names another": (secure(), {"names": ["other.example"]}, "other_name", "and names DNS:other.example"),
    "names the address": (secure(), {"names": ["127.0.0.1"]}, "other_name", "and names IP Address:127.0.0.1"),
    "names nobody": (secure(), {"names": []}, "other_name", "and names nobody"),
}


@pytest.fixture(scope="module")
def impostor_whole(make_shared_whole, authority, good, make_files):
    files = make_files("impostor", authority.pem, *good)
    settings = {**PATIENT, "account.tls": "on", "account.tls_ca": files.ca}
    impostor = Impostor(silence)
    whole = make_shared_whole(account=impostor, settings=settings, variant="asan")
    yield whole, impostor, files
    impostor.close()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("case", IMPOSTORS)
def test_a_server_that_is_none_costs_an_attempt_and_nothing_else(impostor_whole, authority, case):
    whole, impostor, files = impostor_whole
    make, certificate, cause, words = IMPOSTORS[case]
    whole.proxy.stop()
    impostor.behave = make(files, authority.issue(*certificate["names"], days=certificate.get("days", (-1, 30))))
    with refused(whole, impostor.port, cause, words):
        whole.proxy.start()
        # What has nothing to do with Account goes on.
        with whole.client() as client:
            client.ping()


def test_the_name_to_check_is_that_of_the_endpoint_or_the_one_that_is_set(
    impostor_whole, make_whole, scratch, authority, make_files
):
    files = make_files("names", authority.pem)
    settings = {**PATIENT, "account.tls": "on", "account.tls_ca": files.ca}
    with Peer(scratch / "named-peer", "python", authority.issue("127.0.0.1", "account.example")) as peer:
        settings["account.endpoints"] = f"127.0.0.1:{peer.port}"
        check_names(make_whole(impostor_whole[0].postgres, peer, settings=settings), peer)


def check_names(whole, peer):
    wait_ready(whole)
    assert place(whole, 10000)[0] == ACCEPTED
    for name, cause in (("account.example", None), ("other.example", "other_name")):
        whole.proxy.settings["account.tls_server_name"] = name
        whole.proxy.restart()
        whole.wait_ready()
        if cause is None:
            wait_ready(whole)
            assert place(whole, 10000)[0] == ACCEPTED
        else:
            with refused(whole, peer.port, cause, "it is to name other.example"):
                pass
