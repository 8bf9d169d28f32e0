"""The Account client against a server that breaks off, refuses and goes away: gRPC's negative tests of HTTP/2 and more.

Shows 8 of the issue (doc/negative-http2-interop-test-descriptions.md of gRPC). Every one ends with a business code, and
with as many calls as the rules say. Retries have no budget here: a second call is one that costs nothing, because the
first was certainly not processed.
"""

import pytest
import wire
from ends import ACCEPTED, DOUBTFUL, UNTOUCHED, new_correlation, place
from h2.settings import SettingCodes
from http2_server import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    INTERNAL_ERROR,
    NO_ERROR,
    REFUSED_STREAM,
    STREAM_ID_MAX,
    SUCCESS,
    Conversation,
    Http2Server,
    padded,
)
from stack import wait_until
from whole import BREAKER_OFF
from whole import BREAKER_OFF

# The tests are about how a call ends, not about how fast.
PATIENT = {
    "account.attempt_timeout": "2s",
    "account.overall_timeout": "4s",
    "account.retry_budget_percent": 0,
    **BREAKER_OFF,
}
PATIENT = {**PATIENT, **BREAKER_OFF}
ACCOUNT_ID = 10000
PINGS = 10
STREAMS = 15
# A message of gRPC's large_unary.
LARGE_BYTES = 314_159


@pytest.fixture(scope="module")
def server():
    server = Http2Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def whole(make_shared_whole, server):
    """With the build that has the sanitizers: most of this is what a server of ours never does."""
    return make_shared_whole(account=server, settings=PATIENT, variant="asan")


def resets(code, header=False, size=0):
    """The deed that resets a stream, behind the headers, behind part of the message."""

    def deed(conversation, stream):
        if header:
            conversation.headers(stream)
            conversation.data(stream, SUCCESS[:size])
        conversation.reset(stream, code)

    return deed


def before(stream):
    """The id of a client's stream before this one; 0 for none."""
    return max(0, stream - 2)


def refuses_by_goaway(conversation, stream):
    """Leave, and say that this stream was not looked at."""
    conversation.goaway(before(stream))
    conversation.close()


def refuses_in_two_steps(conversation, stream):
    conversation.goaway(STREAM_ID_MAX)
    conversation.ping()
    conversation.goaway(before(stream))
    conversation.close()


def answers_and_leaves(conversation, stream):
    conversation.goaway(STREAM_ID_MAX)
    conversation.answer(stream)
    conversation.goaway(stream)


def leaves_with_error(conversation, stream):
    """Leave in trouble, with a stream that was looked at."""
    conversation.goaway(stream, INTERNAL_ERROR, b"out of order")
    conversation.close()


def leaves_with_rising_id(conversation, stream):
    """Say first that the stream was not looked at, then that it was: a mistake."""
    conversation.goaway(before(stream))
    conversation.goaway(stream)
    conversation.close()


def closes(conversation, stream):
    conversation.close()


def sends(data, header=True):
    """The deed that sends what HTTP/2 does not know."""

    def deed(conversation, stream):
        if header:
            conversation.headers(stream)
        conversation.send(data(stream) if callable(data) else data)

    return deed


def frame(kind, flags, stream, content):
    return len(content).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + content


# (deeds of the first call and the further ones, how the order ends, calls)
CASES = {
    "rst after header": ([resets(NO_ERROR, header=True)], DOUBTFUL, 1),
    "rst during data": ([resets(NO_ERROR, header=True, size=3)], DOUBTFUL, 1),
    "rst after data": ([resets(NO_ERROR, header=True, size=5)], DOUBTFUL, 1),
    "rst INTERNAL_ERROR": ([resets(INTERNAL_ERROR)], DOUBTFUL, 1),
    "rst CANCEL": ([resets(CANCEL)], DOUBTFUL, 1),
    "rst ENHANCE_YOUR_CALM": ([resets(ENHANCE_YOUR_CALM)], DOUBTFUL, 1),
    "rst REFUSED_STREAM": ([resets(REFUSED_STREAM), Conversation.answer], ACCEPTED, 2),
    "rst REFUSED_STREAM again and again": ([resets(REFUSED_STREAM)], UNTOUCHED, 2),
    "goaway, answered": ([answers_and_leaves], ACCEPTED, 1),
    "goaway below the stream": ([refuses_by_goaway, Conversation.answer], ACCEPTED, 2),
    "goaway below the stream in two steps": ([refuses_in_two_steps, Conversation.answer], ACCEPTED, 2),
    "goaway below the stream again and again": ([refuses_by_goaway], UNTOUCHED, 2),
    "goaway with an error": ([leaves_with_error], DOUBTFUL, 1),
    "goaway with a rising id": ([leaves_with_rising_id, Conversation.answer], ACCEPTED, 2),
    "the connection is closed": ([closes], DOUBTFUL, 1),
    "what is not HTTP/2": ([sends(b"HTTP/1.1 400 Bad Request\r\n\r\n", header=False)], DOUBTFUL, 1),
    "DATA without headers": ([sends(lambda stream: frame(0, 1, stream, SUCCESS), header=False)], DOUBTFUL, 1),
    "a header block that cannot be read": ([sends(lambda stream: frame(1, 5, stream, b"\xff" * 8))], DOUBTFUL, 1),
    "a push": ([sends(lambda stream: frame(5, 4, stream, bytes([0, 0, 0, 2, 0x82])))], DOUBTFUL, 1),
    "a window of more than 2 GiB": ([sends(lambda stream: frame(8, 0, stream, b"\x7f\xff\xff\xff"))], DOUBTFUL, 1),
    "a frame longer than allowed": ([sends(b"\xff\xff\xff\0\0\0\0\0\1")], DOUBTFUL, 1),
    "frames of an unknown type": ([lambda c, stream: (c.send(frame(99, 0, 0, b"?")), c.answer(stream))], ACCEPTED, 1),
}


@pytest.mark.parametrize("case", CASES)
def test_a_server_that_breaks_off_costs_its_own_call_and_no_more(whole, server, case):
    deeds, end, calls = CASES[case]
    correlation = new_correlation()
    server.expect(correlation, *deeds)
    assert place(whole, ACCOUNT_ID, correlation=correlation)[0] == end
    assert len(server.calls_of(correlation)) == calls
    # Whatever it was, the next order finds a connection.
    assert place(whole, ACCOUNT_ID)[0] == ACCEPTED


def test_after_goaway_the_next_call_goes_over_another_connection(whole, server):
    leaving, next_one = new_correlation(), new_correlation()
    server.expect(leaving, answers_and_leaves)
    assert place(whole, ACCOUNT_ID, correlation=leaving)[0] == ACCEPTED
    assert place(whole, ACCOUNT_ID, correlation=next_one)[0] == ACCEPTED
    (first,), (second,) = server.calls_of(leaving), server.calls_of(next_one)
    assert second.connection > first.connection


def test_a_call_that_is_not_refused_survives_its_connections_goaway(whole, server):
    """Two calls on one connection: the server serves the first, and has not looked at the second."""
    served, not_served = new_correlation(), new_correlation()
    waiting = []

    def serves_the_first_only(conversation, stream):
        conversation.goaway(waiting[0])
        conversation.answer(waiting[0])

    server.expect(served, lambda conversation, stream: waiting.append(stream))
    server.expect(not_served, serves_the_first_only, Conversation.answer)
    with whole.client(ACCOUNT_ID) as client:
        client.send(wire.PLACE, wire.place_request().SerializeToString(), served)
        wait_until(lambda: waiting, 10, "the first call")
        client.send(wire.PLACE, wire.place_request().SerializeToString(), not_served)
        answers = [wire.decode(answer, "OrderResponse") for answer in client.receive_all(2)]
    assert [answer.code for answer in answers] == [200, 200]
    assert (len(server.calls_of(served)), len(server.calls_of(not_served))) == (1, 2)


def test_every_ping_of_the_server_is_answered(whole, server):
    conversations = []

    def pings_and_answers(conversation, stream):
        conversations.append(conversation)
        conversation.pings_answered = 0
        for _ in range(PINGS // 2):
            conversation.ping()
        conversation.answer(stream)
        for _ in range(PINGS - PINGS // 2):
            conversation.ping()

    correlation = new_correlation()
    server.expect(correlation, pings_and_answers)
    assert place(whole, ACCOUNT_ID, correlation=correlation)[0] == ACCEPTED
    wait_until(lambda: conversations[0].pings_answered == PINGS, 10, "answers to all PINGs")


def test_calls_above_the_servers_limit_of_streams_wait_their_turn(make_whole):
    server = Http2Server(settings={SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    try:
        whole = make_whole(account=server, settings=PATIENT, variant="asan")
        with whole.client(ACCOUNT_ID) as client:
            for correlation in range(STREAMS):
                server.expect(correlation + 1, lambda c, stream: c.answer(stream, padded(LARGE_BYTES)))
                client.send(wire.PLACE, wire.place_request().SerializeToString(), correlation + 1)
            codes = [wire.decode(answer, "OrderResponse").code for answer in client.receive_all(STREAMS)]
        assert codes == [200] * STREAMS
        assert (len(server.calls), server.open_most) == (STREAMS, 1)
    finally:
        server.close()
