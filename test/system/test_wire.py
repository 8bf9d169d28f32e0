"""The client protocol, spoken by a client that shares no code with ours. Shows 2 of the issue.

Every test runs against the usual build and against the one with the sanitizers (Shows 8).
"""

import random
import socket
import struct

import pytest
import wire
from stack import wait_until

# proto/WIRE.md: REQ ORDER place, correlation id 0x0102030405060708, 37 bytes of payload.
GOLDEN = bytes.fromhex("010102000100000008070605040302010000000025000000")
GOLDEN_CORRELATION = 0x0102030405060708
GOLDEN_LENGTH = 37
LAST_CORRELATION = 2**64 - 1

# A header that is not understood, as what differs from a good one, and the code that answers it.
BROKEN_HEADERS = [
    ({"version": 0}, wire.BAD_VERSION),
    ({"version": 2}, wire.BAD_VERSION),
    ({"version": 255}, wire.BAD_VERSION),
    ({"frame_type": 0}, wire.BAD_FRAME),
    ({"frame_type": wire.RESPONSE}, wire.BAD_FRAME),
    ({"frame_type": wire.STREAM}, wire.BAD_FRAME),
    ({"frame_type": wire.EVENT}, wire.BAD_FRAME),
    ({"frame_type": 5}, wire.BAD_FRAME),
    ({"frame_type": 255}, wire.BAD_FRAME),
    ({"flags": 0x0001}, wire.BAD_FRAME),
    ({"flags": 0x0002}, wire.BAD_FRAME),
    ({"flags": 0x8000}, wire.BAD_FRAME),
    ({"sequence": 1}, wire.BAD_FRAME),
    ({"sequence": 2**32 - 1}, wire.BAD_FRAME),
    ({"length": wire.PAYLOAD_MAX + 1}, wire.BAD_LENGTH),
    ({"length": 2**31}, wire.BAD_LENGTH),
    ({"length": 2**32 - 1}, wire.BAD_LENGTH),
    # In the order version, length, rest.
    ({"version": 3, "length": 2**32 - 1, "frame_type": 9, "flags": 6, "sequence": 1}, wire.BAD_VERSION),
    ({"length": 2**32 - 1, "frame_type": 9, "flags": 6, "sequence": 1}, wire.BAD_LENGTH),
    ({"frame_type": 9, "flags": 6, "sequence": 1}, wire.BAD_FRAME),
]
METHODS = [wire.PING, wire.LOGIN, wire.LOGOUT, wire.PLACE, wire.CANCEL, wire.GET, wire.LIST]
UNKNOWN_METHODS = [(0, 0), (0, 2), (1, 0), (1, 3), (2, 0), (2, 5), (3, 1), (2, 65535), (65535, 1), (65535, 65535)]


@pytest.fixture(scope="module")
def servers(make_shared_whole):
    """A whole system; the proxies of the other builds stand before the same cluster and Account."""
    return make_shared_whole()


@pytest.fixture(scope="module", params=["gcc", "asan"])
def whole(request, make_shared_whole, servers):
    if request.param == servers.proxy.variant:
        return servers
    return make_shared_whole(servers.postgres, servers.account, variant=request.param)


@pytest.fixture
def account(whole):
    return whole.new_account()


@pytest.fixture
def client(whole, account):
    """A connection that is logged in."""
    with whole.client(account) as client:
        yield client


@pytest.fixture
def barrier(whole):
    """barrier(): returns when the proxy has read what was sent to it before, on any connection."""
    with whole.client() as other:

        def pass_by():
            # The first answer may come from the turn in which the bytes arrived, the second cannot.
            other.ping()
            other.ping()

        yield pass_by


def golden_request():
    request = wire.place_request(idempotency_key=wire.new_key()[: GOLDEN_LENGTH - 18])
    payload = request.SerializeToString()
    assert len(payload) == GOLDEN_LENGTH
    return payload


# --- what is understood ---------------------------------------------------------------------------------------------


def test_the_golden_vector_is_what_a_request_and_its_answer_look_like(client):
    payload = golden_request()
    assert wire.frame(wire.PLACE, payload, GOLDEN_CORRELATION) == GOLDEN + payload
    client.send_bytes(GOLDEN + payload)
    data = bytearray()
    while len(data) < 24:
        data += client.socket.recv(24 - len(data))
    assert data[:20] == bytes.fromhex("0102020001000000080706050403020100000000")
    (length,) = struct.unpack("<I", data[20:])
    data = bytearray()
    while len(data) < length:
        data += client.socket.recv(length - len(data))
    answer = wire.message("OrderResponse").FromString(bytes(data))
    assert (answer.code, wire.status_name(answer.status)) == (200, "ACCEPTED")


@pytest.mark.parametrize("correlation", [0, 1, 2**63, LAST_CORRELATION])
def test_the_correlation_id_comes_back_whatever_it_is(client, correlation):
    for method in (wire.PING, wire.PLACE, wire.LIST, (2, 77)):
        answer = client.ask(method, b"", correlation)
        assert answer.correlation == correlation


def test_requests_of_the_same_correlation_id_are_each_answered(client):
    for _ in range(10):
        client.send(wire.PING, correlation=5)
    assert [answer.correlation for answer in client.receive_all(10)] == [5] * 10


def test_many_requests_sent_at_once_are_each_answered_once(client):
    requests = {number: METHODS[number % len(METHODS)] for number in range(1, 701)}
    place = wire.place_request().SerializeToString()
    frames = [
        wire.frame(method, place if method == wire.PLACE else b"", number)
        for number, method in requests.items()
        if method != wire.LOGOUT
    ]
    client.send_bytes(b"".join(frames))
    answers = client.receive_all(len(frames))
    assert len({answer.correlation for answer in answers}) == len(frames)
    for answer in answers:
        wire.check_answer(answer, requests[answer.correlation], answer.correlation)


def test_an_answer_does_not_wait_for_that_of_an_earlier_request(whole, client):
    """The place waits for a lock that the test holds; whatever does not need the database overtakes it."""
    with whole.postgres.connect(autocommit=False) as connection:
        connection.execute("LOCK TABLE order_service.instrument IN ACCESS EXCLUSIVE MODE")
        slow = client.send(wire.PLACE, wire.place_request().SerializeToString())
        fast = [client.send(wire.PING) for _ in range(3)]
        orders = client.send(wire.LIST)
        answers = client.receive_all(4)
        connection.rollback()
    assert {answer.correlation for answer in answers} == {*fast, orders}
    answer = client.receive()
    wire.check_answer(answer, wire.PLACE, slow)
    assert wire.decode(answer, "OrderResponse").code == 200


# --- how it is cut --------------------------------------------------------------------------------------------------


def test_a_frame_cut_at_any_byte_is_understood(client, barrier):
    payload = golden_request()
    data = wire.frame(wire.PLACE, payload, 7) + wire.frame(wire.PING, b"", 8)
    replayed = []
    for cut in range(1, len(data)):
        client.send_bytes(data[:cut])
        barrier()
        client.send_bytes(data[cut:])
        answers = {answer.correlation: answer for answer in client.receive_all(2)}
        wire.check_answer(answers[8], wire.PING, 8)
        answer = wire.decode(answers[7], "OrderResponse")
        assert answer.code == 200
        replayed.append(answer.replayed)
    assert replayed == [False] + [True] * (len(data) - 2)


def test_frames_sent_byte_by_byte_are_understood(client, barrier):
    payload = golden_request()
    for position, byte in enumerate(wire.frame(wire.PLACE, payload, 7) + wire.frame(wire.PING, b"", 8)):
        client.send_bytes(bytes([byte]))
        if position % 10 == 0:
            barrier()
    assert {answer.correlation for answer in client.receive_all(2)} == {7, 8}


@pytest.mark.parametrize("size", [1, 23, 24, 25, 60])
def test_a_client_that_goes_in_the_middle_of_a_frame_harms_nobody(whole, account, client, barrier, size):
    before = whole.order_count(account)
    for _ in range(20):
        with whole.client() as other:
            other.send_bytes((GOLDEN + golden_request())[:size])
            barrier()
    client.ping()
    assert whole.order_count(account) == before
    wait_until(lambda: whole.proxy.is_alive(), 10, "a proxy that lives")


def test_a_reset_connection_harms_nobody(whole, client, barrier):
    for _ in range(20):
        other = whole.client()
        other.send_bytes(wire.frame(wire.PING) * 100)
        # A close with this option and unread answers resets the connection.
        other.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        other.close()
    barrier()
    client.ping()


# --- what is not understood -----------------------------------------------------------------------------------------


def name_of(value):
    return " ".join(f"{name} {number}" for name, number in value.items()) if isinstance(value, dict) else str(value)


def expect_end(client, correlation, code):
    """The answer to a broken frame, and then the end of the connection."""
    answer = client.receive()
    assert answer is not None, "closed without a word"
    error = wire.error_of(answer)
    assert (answer.version, answer.type, answer.correlation) == (wire.VERSION, wire.RESPONSE, correlation)
    assert error.code == code, error
    assert error.message
    assert client.is_closed_by_server()


@pytest.mark.parametrize("change, code", BROKEN_HEADERS, ids=name_of)
def test_a_broken_frame_gets_its_code_and_then_the_connection_closes(whole, change, code):
    fields = {"length": 0, "correlation": GOLDEN_CORRELATION, **change}
    with whole.client() as client:
        client.send_bytes(wire.frame(wire.PING, b"", 1) + wire.header(wire.PING, **fields))
        wire.check_answer(client.receive(), wire.PING, 1)
        expect_end(client, GOLDEN_CORRELATION, code)


def test_what_follows_a_broken_frame_is_not_carried_out(whole, account):
    session = whole.open_session(account)
    place = wire.frame(wire.PLACE, wire.place_request(session_id=session).SerializeToString(), 2)
    with whole.client() as client:
        client.send_bytes(wire.header(wire.PING, 0, 1, flags=2) + place)
        expect_end(client, 1, wire.BAD_FRAME)
    assert whole.order_count(account) == 0


def expected_code(version, frame_type, flags, sequence, length):
    """WIRE.md in four lines; None for a frame that is understood."""
    if version != 1:
        return wire.BAD_VERSION
    if length > wire.PAYLOAD_MAX:
        return wire.BAD_LENGTH
    return None if (frame_type, flags, sequence) == (wire.REQUEST, 0, 0) else wire.BAD_FRAME


def test_random_headers_get_the_code_that_the_contract_says(whole):
    generator = random.Random(3)
    found = []
    for number in range(300):
        version = generator.choice([1, 1, 1, 1, generator.randrange(256)])
        frame_type = generator.choice([1, 1, 1, generator.randrange(256)])
        flags = generator.choice([0, 0, 0, 1 << generator.randrange(16), generator.randrange(65536)])
        sequence = generator.choice([0, 0, 0, generator.randrange(2**32)])
        length = generator.choice([0, 0, generator.randrange(1000), 2**20, 2**20 + 1, generator.randrange(2**32)])
        method = (generator.randrange(65536), generator.randrange(65536))
        correlation = generator.randrange(2**64)
        code = expected_code(version, frame_type, flags, sequence, length)
        with whole.client() as client:
            client.send_bytes(wire.header(method, length, correlation, version, frame_type, flags, sequence))
            if code is not None:
                expect_end(client, correlation, code)
            else:
                client.send_bytes(bytes(length))
                error = wire.error_of(client.receive())
                assert (error.code, error.reason) == (404, "UNKNOWN_METHOD"), (number, method)
                client.ping()
        found.append(code)
    # The dice are the same every time: each kind came up often.
    assert all(found.count(code) > 30 for code in (None, wire.BAD_FRAME, wire.BAD_VERSION, wire.BAD_LENGTH))


@pytest.mark.parametrize("method", UNKNOWN_METHODS, ids=str)
def test_an_unknown_method_is_refused_and_the_connection_stays(client, method):
    for payload in (b"", b"anything"):
        error = wire.error_of(client.ask(method, payload))
        assert (error.code, error.reason) == (404, "UNKNOWN_METHOD")
    client.ping()


# Bytes that are no message: a field cut short, a group that never ends, wire type 7, a varint without an end, a text
# with a zero byte, one that is not UTF-8.
GARBAGE = [
    b"\xff",
    b"\x12\x05AB",
    b"\x12\xff\xff\xff\xff\x0f",
    b"\x0b",
    b"\x0f\x00",
    b"\x28" + b"\xff" * 11,
    b"\x12\x03A\x00B",
    b"\x42\x03A\x00B",
    b"\x12\x02\xc3\x28",
    b"\x42\x02\xff\xfe",
]


@pytest.mark.parametrize("payload", GARBAGE, ids=bytes.hex)
def test_a_payload_that_is_no_message_is_refused_and_the_connection_stays(client, account, whole, payload):
    error = wire.error_of(client.ask(wire.PLACE, payload))
    assert (error.code, error.reason) == (400, "PAYLOAD_INVALID")
    client.ping()
    assert whole.order_count(account) == 0


def test_random_payloads_are_answered_and_place_no_order(client, account, whole):
    generator = random.Random(4)
    for _ in range(500):
        payload = bytes(generator.randrange(256) for _ in range(generator.randrange(60)))
        method = generator.choice([wire.PLACE, wire.CANCEL, wire.GET, wire.LIST, wire.LOGIN])
        answer = client.ask(method, payload)
        if method != wire.LIST:
            assert wire.error_of(answer).code in (400, 401, 404), (method, payload)
    assert whole.order_count(account) == 0


def test_damaged_requests_place_at_most_what_they_say(client, account, whole):
    """One byte of a good request is changed: an ERROR frame, or an order that is as the payload says."""
    generator = random.Random(5)
    accepted = 0
    for _ in range(300):
        payload = bytearray(wire.place_request().SerializeToString())
        payload[generator.randrange(len(payload))] = generator.randrange(256)
        answer = client.ask(wire.PLACE, bytes(payload))
        if answer.flags & wire.ERROR:
            assert wire.error_of(answer).code in (400, 401, 404), bytes(payload)
            continue
        order = whole.order(wire.decode(answer, "OrderResponse").order_id)
        request = wire.message("PlaceOrderRequest").FromString(bytes(payload))
        assert (order["symbol"], order["quantity"], order["price"]) == (request.symbol, request.quantity, request.price)
        accepted += 1
    assert accepted > 0


# --- how large it may be --------------------------------------------------------------------------------------------


def test_an_empty_payload_is_a_request_without_fields(whole, client):
    client.ping()
    assert wire.error_of(client.ask(wire.PLACE)).code == 400
    with whole.client() as stranger:
        for method in (wire.PLACE, wire.CANCEL, wire.GET, wire.LIST, wire.LOGIN):
            error = wire.error_of(stranger.ask(method))
            assert (error.code, error.reason) == (401, "NO_SESSION"), method


def test_a_payload_of_one_mebibyte_is_carried_out(client, account, whole):
    request = wire.place_request()
    payload = wire.padded(request.SerializeToString(), wire.PAYLOAD_MAX)
    answer = wire.decode(client.ask(wire.PLACE, payload), "OrderResponse")
    assert (answer.code, whole.order_count(account)) == (200, 1)
    error = wire.error_of(client.ask(wire.PLACE, bytes(wire.PAYLOAD_MAX)))
    assert (error.code, error.reason) == (400, "PAYLOAD_INVALID")
    # Half a million empty fields that nobody knows: cheap to send, and to be cheap to read.
    answer = client.ask(wire.LIST, b"\x78\x00" * (wire.PAYLOAD_MAX // 2))
    assert not answer.flags & wire.ERROR or wire.error_of(answer).code == 400
    client.ping()


def test_a_payload_of_one_byte_more_ends_the_connection(whole, account, client):
    payload = wire.padded(wire.place_request().SerializeToString(), wire.PAYLOAD_MAX + 1)
    with whole.client(account) as other:
        try:
            other.send_bytes(wire.frame(wire.PLACE, payload, 9))
        except (BrokenPipeError, ConnectionResetError):
            pass  # It need not read what it will not take.
        expect_end(other, 9, wire.BAD_LENGTH)
    client.ping()
    assert whole.order_count(account) == 0
