"""The service of gRPC's interoperability tests, as far as unary calls need it, on gRPC's own server for Python.

    /usr/bin/python3 interop_peer.py HOST:PORT

For Java there is the official one (io.grpc.testing.integration.TestServiceServer). interop_pb2 is what protoc makes of
interop.proto.
"""

import sys
import threading
from concurrent import futures

import grpc
import interop_pb2 as messages


def empty_call(_request, _context):
    return b""


def unary_call(request, context):
    status = request.response_status
    if status.code != 0:
        context.set_code(next(code for code in grpc.StatusCode if code.value[0] == status.code))
        context.set_details(status.message)
    return messages.SimpleResponse(payload=messages.Payload(body=bytes(request.response_size)))


def full_duplex_call(requests, context):
    """Every response in its time, unless the client has gone."""
    ended = threading.Event()
    context.add_callback(ended.set)
    for request in requests:
        for parameters in request.response_parameters:
            if ended.wait(parameters.interval_us / 1e6):
                return
            yield messages.StreamingOutputCallResponse(payload=messages.Payload(body=bytes(parameters.size)))


def handler(kind, method, request):
    return kind(method, request.FromString, lambda response: response.SerializeToString())


METHODS = {
    "EmptyCall": grpc.unary_unary_rpc_method_handler(empty_call),
    "UnaryCall": handler(grpc.unary_unary_rpc_method_handler, unary_call, messages.SimpleRequest),
    "FullDuplexCall": handler(
        grpc.stream_stream_rpc_method_handler, full_duplex_call, messages.StreamingOutputCallRequest
    ),
}


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("grpc.testing.TestService", METHODS)])
    if server.add_insecure_port(sys.argv[1]) == 0:
        sys.exit(f"cannot listen at {sys.argv[1]}")
    server.start()
    print("READY", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
