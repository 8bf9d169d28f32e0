"""A server of HTTP/2 in the place of Account, on python3-h2, which can do everything that an official server does not.

What it does with a call is a deed: a function of (Conversation, stream id), registered for the call's correlation id.
Every other call, such as those of the resolver, is answered with SUCCESS.
"""

import socket
import threading
from collections import defaultdict, namedtuple

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, PingAckReceived, RequestReceived, StreamEnded
from h2.exceptions import ProtocolError
from h2.settings import Settings
from hyperframe.frame import GoAwayFrame, RstStreamFrame

NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 0, 2, 7, 8, 11
STREAM_ID_MAX = 2**31 - 1
HEADERS = [(":status", "200"), ("content-type", "application/grpc")]
TRAILERS = [("grpc-status", "0")]
# A CommonReply that says SUCCESS, which is 0: no field at all, behind the prefix of a message.
SUCCESS = bytes(5)
READ_BYTES = 65536

Call = namedtuple("Call", "correlation connection stream")


def padded(size):
    """SUCCESS in a message of `size` bytes: a field 1000 that no version of the contract has, its length in 3 bytes."""
    content = size - 5
    length = bytes([content & 0x7F | 0x80, content >> 7 & 0x7F | 0x80, content >> 14])
    return b"\0" + size.to_bytes(4, "big") + b"\xc2\x3e" + length + bytes(content)


class Conversation:
    """One connection. Frames that would be wrong to send are sent past the library, which would refuse to."""

    def __init__(self, server, connection, number):
        self.server = server
        self.socket = connection
        self.number = number
        self.is_over = False
        self.pings_answered = 0
        self.correlations = {}
        self.http2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.http2.local_settings = Settings(client=False, initial_values=server.settings)

    def serve(self):
        """Until the client leaves, or the conversation is over."""
        with self.socket:
            self.http2.initiate_connection()
            self.flush()
            try:
                while not self.is_over and (data := self.socket.recv(READ_BYTES)):
                    for event in self.http2.receive_data(data):
                        self._take(event)
                    self.flush()
            except (OSError, ProtocolError):
                pass

    def _take(self, event):
        if isinstance(event, RequestReceived):
            self.correlations[event.stream_id] = dict(event.headers).get("x-correlation-id")
            self.server.open_most = max(self.server.open_most, self.http2.open_inbound_streams)
        elif isinstance(event, DataReceived):
            self.http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, PingAckReceived):
            self.pings_answered += 1
        elif isinstance(event, StreamEnded):
            self.server.serve(self, event.stream_id, self.correlations.pop(event.stream_id))

    # --- what a deed is made of ---

    def flush(self):
        data = self.http2.data_to_send()
        if data and not self.is_over:
            self.socket.sendall(data)

    def send(self, data):
        """Any bytes, in their turn."""
        self.flush()
        self.socket.sendall(data)

    def headers(self, stream):
        self.http2.send_headers(stream, HEADERS)

    def data(self, stream, data):
        while data:
            self.http2.send_data(stream, data[: self.http2.max_outbound_frame_size])
            data = data[self.http2.max_outbound_frame_size :]

    def trailers(self, stream, trailers=TRAILERS):
        self.http2.send_headers(stream, trailers, end_stream=True)

    def answer(self, stream, message=SUCCESS):
        self.headers(stream)
        self.data(stream, message)
        self.trailers(stream)

    def reset(self, stream, code):
        self.send(RstStreamFrame(stream, error_code=code).serialize())

    def goaway(self, last, code=NO_ERROR, text=b""):
        self.send(GoAwayFrame(0, last_stream_id=last, error_code=code, additional_data=text).serialize())

    def ping(self):
        self.http2.ping(b"question")

    def close(self):
        self.flush()
        self.is_over = True


class Http2Server:
    """The server, from construction to close(). `settings` are those it begins every connection with."""

    def __init__(self, settings=None):
        self.settings = settings or {}
        self.calls = []
        self.conversations = []
        # The most streams that were open at a time.
        self.open_most = 0
        self._deeds = defaultdict(list)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self):
        return self._listener.getsockname()[1]

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def close(self):
        """End everything at once."""
        for server_socket in [self._listener] + [conversation.socket for conversation in self.conversations]:
            try:
                server_socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            server_socket.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            conversation = Conversation(self, connection, len(self.conversations))
            self.conversations.append(conversation)
            threading.Thread(target=conversation.serve, daemon=True).start()

    def expect(self, correlation, *deeds):
        """What to do with the calls of a correlation id, one by one; the last deed is for all further ones, too."""
        self._deeds[f"{correlation:016x}"] = list(deeds)

    def calls_of(self, correlation):
        return [call for call in self.calls if call.correlation == f"{correlation:016x}"]

    def serve(self, conversation, stream, correlation):
        with self._lock:
            self.calls.append(Call(correlation, conversation.number, stream))
            deeds = self._deeds.get(correlation, [Conversation.answer])
            deed = deeds.pop(0) if len(deeds) > 1 else deeds[0]
        deed(conversation, stream)
