"""The proxy's gRPC client against official servers in two languages: gRPC's interoperability tests for unary clients.

Shows 8 of the issue (doc/interop-test-descriptions.md of gRPC). The client is proxy/net/channel.c in a program that
calls any method (peers/grpc_call.c), because an order can neither be empty nor large. Custom metadata, which for us is
x-correlation-id, is in test_account_results.py, as is what becomes of an order.
"""

import subprocess
from collections import namedtuple

import contracts
import pytest
from host import program
from peer import LANGUAGES, InteropPeer

SERVICE = "/grpc.testing.TestService"
CALL_MS = 10_000
# What the official descriptions ask for.
REQUEST_BYTES, RESPONSE_BYTES = 271_828, 314_159
SPECIAL_MESSAGE = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"
LIMIT_BYTES = 1_048_576
STEP_SECONDS_MAX = 60

Result = namedtuple("Result", "status text reply")
messages = contracts.module("interop")


@pytest.fixture(scope="module", params=LANGUAGES)
def peer(request, scratch):
    with InteropPeer(scratch / f"interop-{request.param}", request.param) as peer:
        yield peer


def call(method, request=b"", timeout_ms=CALL_MS, give_up_ms=0):
    """A line of grpc-call."""
    content = request if isinstance(request, bytes) else request.SerializeToString()
    return f"{method} {timeout_ms} {give_up_ms} {content.hex() or '-'}\n"


def run(peer, *calls):
    """The Results of calls that follow each other over one channel, by the build with the sanitizers."""
    command = [str(program("grpc-call", "asan")), peer.address]
    result = subprocess.run(
        command, input="".join(calls).encode(), capture_output=True, timeout=STEP_SECONDS_MAX, check=False
    )
    assert (result.returncode, result.stderr) == (0, b""), result.stderr.decode()
    lines = [line.split() for line in result.stdout.decode().splitlines()]
    return [Result(status, *(bytes.fromhex(text.strip("-")) for text in texts)) for status, *texts in lines]


def unary(size=0, response_size=0, code=0, message=""):
    """A call of UnaryCall."""
    payload = messages.Payload(body=bytes(size)) if size else None
    status = messages.EchoStatus(code=code, message=message) if code else None
    request = messages.SimpleRequest(response_size=response_size, payload=payload, response_status=status)
    return call(f"{SERVICE}/UnaryCall", request)


def stream(*parameters, **options):
    """A call of FullDuplexCall with responses of (size, ms to wait before it)."""
    request = messages.StreamingOutputCallRequest()
    for size, wait_ms in parameters:
        request.response_parameters.add(size=size, interval_us=1000 * wait_ms)
    return call(f"{SERVICE}/FullDuplexCall", request, **options)


def test_empty_unary(peer):
    assert run(peer, call(f"{SERVICE}/EmptyCall")) == [Result("OK", b"OK", b"")]


def test_large_unary(peer):
    for result in run(peer, *[unary(REQUEST_BYTES, RESPONSE_BYTES)] * 3):
        assert result.status == "OK"
        assert messages.SimpleResponse.FromString(result.reply).payload.body == bytes(RESPONSE_BYTES)


def test_a_request_of_many_windows_comes_whole(peer):
    """Larger than what a server takes without an update of its window, many times."""
    (result,) = run(peer, unary(4_000_000, 1))
    assert result.status == "OK"


def test_status_code_and_message(peer):
    assert run(peer, unary(code=2, message="test status message")) == [Result("UNKNOWN", b"test status message", b"")]


def test_special_status_message(peer):
    assert run(peer, unary(code=2, message=SPECIAL_MESSAGE)) == [Result("UNKNOWN", SPECIAL_MESSAGE.encode(), b"")]


def test_unimplemented_method(peer):
    (result,) = run(peer, call(f"{SERVICE}/UnimplementedCall"))
    assert result.status == "UNIMPLEMENTED"


def test_unimplemented_service(peer):
    (result,) = run(peer, call("/grpc.testing.UnimplementedService/UnimplementedCall"))
    assert result.status == "UNIMPLEMENTED"


def test_cancel_after_begin(peer):
    """A call that is given up is not heard of, and the connection goes on."""
    given_up, next_one = run(peer, stream((1, CALL_MS), give_up_ms=200), call(f"{SERVICE}/EmptyCall"))
    assert (given_up.status, next_one.status) == ("GIVEN_UP", "OK")


def test_cancel_after_first_response(peer):
    given_up, next_one = run(peer, stream((31415, 0), (1, CALL_MS), give_up_ms=300), call(f"{SERVICE}/EmptyCall"))
    assert (given_up.status, next_one.status) == ("GIVEN_UP", "OK")


def test_timeout_on_sleeping_server(peer):
    timed_out, next_one = run(peer, stream((1, CALL_MS), timeout_ms=100), call(f"{SERVICE}/EmptyCall"))
    assert (timed_out.status, next_one.status) == ("DEADLINE_EXCEEDED", "OK")


def test_more_than_one_response_is_an_error(peer):
    two, next_one = run(peer, stream((10, 0), (10, 0)), call(f"{SERVICE}/EmptyCall"))
    assert (two.status, next_one.status) == ("INTERNAL", "OK")


def test_a_response_above_the_limit_is_refused(peer):
    """A payload of so many bytes is in a message that is a few bytes longer."""
    above, next_one = run(peer, unary(response_size=LIMIT_BYTES), unary(response_size=LIMIT_BYTES - 16))
    assert (above.status, next_one.status) == ("RESOURCE_EXHAUSTED", "OK")
