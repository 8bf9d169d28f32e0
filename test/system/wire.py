"""A client of the wire protocol that shares no code with the product: plain sockets, struct, and protoc's messages.

Client      a connection: frames as bytes, frames as Frame, and the methods of WIRE.md as Python methods
Refused     raised by a method that was answered by an ERROR frame
message     the classes of client.proto: message("PlaceOrderRequest")(symbol="AAA")
"""

import itertools
import select
import socket
import struct
import time
import uuid
from collections import namedtuple

import contracts

VERSION = 1
REQUEST, RESPONSE, STREAM, EVENT = 1, 2, 3, 4
CONTROL, AUTH, ORDER = 0, 1, 2
PING = (CONTROL, 1)
LOGIN, LOGOUT = (AUTH, 1), (AUTH, 2)
PLACE, CANCEL, GET, LIST = (ORDER, 1), (ORDER, 2), (ORDER, 3), (ORDER, 4)
ERROR = 0x0001
BAD_FRAME, BAD_VERSION, BAD_LENGTH = 1001, 1002, 1003
PAYLOAD_MAX = 1_048_576

ANSWER_SECONDS_MAX = 20

# version, frameType, serviceId, methodId, flags, correlationId, seqNo, payloadLen
HEADER = struct.Struct("<BBHHHQII")

Frame = namedtuple("Frame", "version type service method flags correlation sequence payload")


def message(name):
    """A class of client.proto."""
    return getattr(contracts.module("client"), name)


def header(method, length, correlation=1, version=VERSION, frame_type=REQUEST, flags=0, sequence=0):
    """The 24 bytes of a header; method is a pair (service, method)."""
    return HEADER.pack(version, frame_type, *method, flags, correlation, sequence, length)


def frame(method, payload=b"", correlation=1):
    """The bytes of a request."""
    return header(method, len(payload), correlation) + payload


def padded(payload, size):
    """A message made exactly `size` bytes long by a field that no version of the contract has: 1000, bytes."""
    tag = b"\xc2\x3e"
    for length_bytes in range(1, 5):
        content = size - len(payload) - len(tag) - length_bytes
        length = _varint(content)
        if len(length) == length_bytes:
            return payload + tag + length + bytes(content)
    raise ValueError(f"no room to pad {len(payload)} bytes to {size}")


def _varint(number):
    result = bytearray()
    while number > 0x7F:
        result.append(number & 0x7F | 0x80)
        number >>= 7
    result.append(number)
    return bytes(result)


def new_key():
    return uuid.uuid4().hex


class Refused(Exception):
    """The answer was an ERROR frame."""

    def __init__(self, error):
        super().__init__(f"{error.code} {error.reason}: {error.message}")
        self.code = error.code
        self.reason = error.reason
        self.text = error.message


class Client:
    """One connection. `address` is host:port.

    receive_buffer limits what the system takes for a client that does not read.
    """

    def __init__(self, address, receive_buffer=None):
        host, _, port = address.rpartition(":")
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(ANSWER_SECONDS_MAX)
        self.socket.connect((host.strip("[]"), int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._input = bytearray()
        self._correlations = itertools.count(1)

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.close()

    def close(self):
        self.socket.close()

    # --- frames ---

    def send_bytes(self, data):
        self.socket.sendall(data)

    def send(self, method, payload=b"", correlation=None):
        """Send a request without waiting; its correlation id."""
        if correlation is None:
            correlation = next(self._correlations)
        self.send_bytes(frame(method, payload, correlation))
        return correlation

    def receive(self, seconds=ANSWER_SECONDS_MAX):
        """The next Frame; None when the server has closed the connection. TimeoutError when nothing comes."""
        deadline = time.monotonic() + seconds
        if not self._fill(HEADER.size, deadline):
            return None
        *fields, length = HEADER.unpack_from(self._input)
        assert length <= PAYLOAD_MAX, f"an answer of {length} bytes"
        assert self._fill(HEADER.size + length, deadline), "the server closed in the middle of a frame"
        payload = bytes(self._input[HEADER.size : HEADER.size + length])
        del self._input[: HEADER.size + length]
        return Frame(*fields, payload)

    def _fill(self, size, deadline):
        """Read until `size` bytes are there; False when the server closes (or resets) before the first of them."""
        while len(self._input) < size:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.socket.recv(max(65536, size - len(self._input)))
            except ConnectionResetError:
                data = b""
            if not data:
                assert not self._input, f"the server closed behind {len(self._input)} bytes of a frame"
                return False
            self._input += data
        return True

    def receive_all(self, count, seconds=ANSWER_SECONDS_MAX):
        """The next `count` frames, in the order of their arrival."""
        frames = [self.receive(seconds) for _ in range(count)]
        assert None not in frames, f"the server closed before {count} answers: {frames}"
        return frames

    def has_frame(self):
        """Whether receive() would return a frame without reading."""
        if len(self._input) < HEADER.size:
            return False
        return len(self._input) >= HEADER.size + HEADER.unpack_from(self._input)[-1]

    def is_closed_by_server(self, seconds=ANSWER_SECONDS_MAX):
        """Wait for the end of the connection; whatever else comes is an AssertionError."""
        found = self.receive(seconds)
        assert found is None, f"instead of the end of the connection: {found}"
        return True

    # --- methods ---

    def ask(self, method, payload=b"", correlation=None):
        """Send a request and wait for its answer, the only one under way; the Frame."""
        correlation = self.send(method, payload, correlation)
        answer = self.receive()
        assert answer is not None, "the server closed instead of answering"
        check_answer(answer, method, correlation)
        return answer

    def call(self, method, request, answer_name):
        """Ask with a message and return the decoded answer; Refused for an ERROR frame."""
        return decode(self.ask(method, request.SerializeToString()), answer_name)

    def ping(self):
        assert self.ask(PING).payload == b""

    def login(self, session_id):
        return self.call(LOGIN, message("LoginRequest")(session_id=session_id), "LoginResponse")

    def logout(self):
        answer = self.ask(LOGOUT)
        if answer.flags & ERROR:
            raise Refused(error_of(answer))
        assert answer.payload == b""

    def place(self, **fields):
        """An order for 10 AAA at 10.0, BUY LIMIT under a new key, unless the fields say otherwise."""
        return self.call(PLACE, place_request(**fields), "OrderResponse")

    def cancel(self, order_id, **fields):
        fields.setdefault("idempotency_key", new_key())
        return self.call(CANCEL, message("CancelOrderRequest")(order_id=order_id, **fields), "OrderResponse")

    def get(self, **fields):
        return self.call(GET, message("GetOrderRequest")(**fields), "Order")

    def list(self, **fields):
        return self.call(LIST, message("ListOrdersRequest")(**fields), "ListOrdersResponse")


def receive_any(clients, seconds=ANSWER_SECONDS_MAX):
    """The next frame of whichever connection has one first."""
    for client in clients:
        if client.has_frame():
            return client.receive()
    sockets = {client.socket: client for client in clients}
    ready, _, _ = select.select(sockets, [], [], seconds)
    assert ready, f"no answer on {len(clients)} connections within {seconds} s"
    return sockets[ready[0]].receive()


def place_request(**fields):
    """A PlaceOrderRequest as Client.place() sends it."""
    values = {"symbol": "AAA", "side": "BUY", "order_type": "LIMIT", "quantity": 10, "price": 10_000_000}
    values.update({"idempotency_key": new_key(), **fields})
    return message("PlaceOrderRequest")(**values)


def check_answer(answer, method, correlation):
    """Whether a frame is an answer to this request."""
    expected = (VERSION, RESPONSE, *method, correlation, 0)
    found = (answer.version, answer.type, answer.service, answer.method, answer.correlation, answer.sequence)
    assert found == expected, f"{answer} does not answer {expected}"
    assert answer.flags in (0, ERROR), f"flags {answer.flags:#06x}"


def error_of(answer):
    """The ErrorMessage of a frame with the ERROR flag."""
    assert answer.flags == ERROR, f"no error: {answer}"
    return message("ErrorMessage").FromString(answer.payload)


def decode(answer, name):
    """The message of an answer; Refused for an ERROR frame."""
    if answer.flags & ERROR:
        raise Refused(error_of(answer))
    return message(name).FromString(answer.payload)


def status_name(number):
    """An order status by its name."""
    return contracts.module("order_event").OrderStatus.Name(number)
