"""An Account service that is not ours: gRPC's own server for Python (its C core), which does what it is asked for.

    /usr/bin/python3 account_peer.py HOST:PORT [CERTIFICATE KEY [CA]]

It keeps nothing: the account id of a request says how the call ends (the table is in test_account_results.py). Each
call is written to standard output as CALL and a JSON object: method, message (hexadecimal), correlation, seconds.
"""

import json
import os
import sys
import threading
from concurrent import futures
from pathlib import Path

import grpc

SERVICE = "account.order.v1.AccountOrderService"
METHODS = ("ReserveCash", "ReleaseCash", "ReservePosition", "ReleasePosition")

MIB = 1_048_576
# More than a client has to take.
HEADER_BYTES = 20_000
# The correlation id of a call that ends the process.
DEADLY = "0000dead00000000"
# How long after the headers the process ends, so that they are on their way.
EXIT_SECONDS = 0.01


def account_id_of(message):
    """Field 1, a varint; the fields come in the order of their numbers."""
    number, shift = 0, 0
    for byte in message[1:]:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number
    return 0


def reply(code):
    """A CommonReply: an empty message for SUCCESS, which is 0."""
    return bytes([0x08, code]) if code else b""


def padded_reply(size):
    """SUCCESS in `size` bytes: a field 1000 that no version of the contract has; the length takes three bytes."""
    content = size - 5
    length = bytes([content & 0x7F | 0x80, content >> 7 & 0x7F | 0x80, content >> 14])
    return b"\xc2\x3e" + length + bytes(content)


def answer(message, context, correlation):
    """The replies of a call, as a generator: only so can a server send none, or two."""
    account_id = account_id_of(message)
    if 10000 <= account_id < 10100:
        yield reply(account_id - 10000)
    elif 20000 <= account_id < 20100:
        context.send_initial_metadata((("x-peer", "headers first"),))
        end_with(context, account_id - 20000)
    elif 21000 <= account_id < 21100:
        end_with(context, account_id - 21000)
    elif account_id in (30000, 30001):
        yield padded_reply(MIB + account_id - 30000)
    elif account_id == 30002 and correlation != DEADLY:
        yield reply(0)
    elif account_id == 30002:
        context.send_initial_metadata((("x-peer", "and no more"),))
        threading.Timer(EXIT_SECONDS, os._exit, [0]).start()
        wait_for_end(context)
    elif account_id == 30003:
        wait_for_end(context)
    elif account_id == 30004:
        yield reply(0)
        yield reply(0)
    elif account_id == 30005:
        context.send_initial_metadata((("x-peer", "x" * HEADER_BYTES),))
        yield reply(0)
    else:
        end_with(context, 13)


def end_with(context, number):
    """End a call with a status by its number; with OK and no message for 0."""
    if number != 0:
        context.set_code(next(code for code in grpc.StatusCode if code.value[0] == number))
        context.set_details("as asked: 100 % \u00fcber")


def wait_for_end(context):
    """Until the client gives up, or this process ends."""
    ended = threading.Event()
    if context.add_callback(ended.set):
        ended.wait()


class Handler(grpc.GenericRpcHandler):
    """Takes and gives bytes: the contract's classes are not needed to find one field."""

    def service(self, details):
        package, _, method = details.method.lstrip("/").partition("/")
        if package != SERVICE or method not in METHODS:
            return None
        metadata = dict(details.invocation_metadata)

        def call(message, context):
            correlation = metadata.get("x-correlation-id")
            found = {"method": method, "message": message.hex(), "correlation": correlation}
            found["seconds"] = context.time_remaining()
            print(f"CALL {json.dumps(found)}", flush=True)
            return answer(message, context, correlation)

        return grpc.unary_stream_rpc_method_handler(call)


def credentials(certificate, key, authority=None):
    """TLS; with an authority, clients must show a certificate of it."""
    return grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=authority is not None)


def options():
    """The limits of connections that the environment asks for."""
    names = ("max_connection_idle_ms", "max_connection_age_ms")
    return [(f"grpc.{name}", int(os.environ[name.upper()])) for name in names if name.upper() in os.environ]


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), handlers=[Handler()], options=options())
    address, *files = sys.argv[1:]
    if not files:
        port = server.add_insecure_port(address)
    else:
        port = server.add_secure_port(address, credentials(*[Path(file).read_bytes() for file in files]))
    if port == 0:
        sys.exit(f"cannot listen at {address}")
    server.start()
    print("READY", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
