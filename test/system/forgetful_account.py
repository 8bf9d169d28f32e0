"""An Account service as the predecessor's was: it does not remember what it has released.

A Release of what is not held does nothing, and a Reserve that comes after it holds: for ever, unless it is released
once more. Reserves can be held back until after that. gRPC's own server for Python, in this process; its admin
interface are Python methods of the names that sandbox/account.py has.
"""

import threading
from concurrent import futures

import contracts
import grpc
from host import free_port

SERVICE = "account.order.v1.AccountOrderService"
METHODS = ("ReserveCash", "ReleaseCash", "ReservePosition", "ReleasePosition")
CALLS_MAX = 32


class ForgetfulAccount(grpc.GenericRpcHandler):
    """The server and its books. Everybody is rich; calls are lists of (method, reserve_id) in the order they acted."""

    def __init__(self):
        self.calls = []
        self._holds = {}
        self._lock = threading.Lock()
        self._held_back = 0
        self._has_released = threading.Event()
        self.port = free_port()
        self._server = grpc.server(futures.ThreadPoolExecutor(CALLS_MAX), handlers=[self])
        if self._server.add_insecure_port(self.address) == 0:
            raise OSError(f"cannot listen at {self.address}")
        self._server.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def close(self):
        self._has_released.set()
        self._server.stop(grace=None).wait()

    def create(self, account_id, cash=0, positions=None):
        """Nobody's means are limited here."""

    def hold_list(self):
        with self._lock:
            return list(self._holds.values())

    def hold_back(self, count):
        """The next so many Reserves arrive only behind the first Release."""
        self._held_back = count

    # --- the service ---

    def service(self, details):
        package, _, method = details.method.lstrip("/").partition("/")
        if package != SERVICE or method not in METHODS:
            return None
        messages = contracts.module("account")

        def call(request, _context):
            if method.startswith("Reserve") and self._is_held_back():
                self._has_released.wait()
            with self._lock:
                self._act(method, request)
            return messages.CommonReply()

        return grpc.unary_unary_rpc_method_handler(
            call,
            request_deserializer=getattr(messages, f"{method}Request").FromString,
            response_serializer=messages.CommonReply.SerializeToString,
        )

    def _is_held_back(self):
        with self._lock:
            self._held_back -= 1
            return self._held_back >= 0

    def _act(self, method, request):
        self.calls.append((method, request.reserve_id))
        if method.startswith("Release"):
            self._holds.pop(request.reserve_id, None)
            self._has_released.set()
            return
        is_cash = method == "ReserveCash"
        self._holds[request.reserve_id] = {
            "reserve_id": request.reserve_id,
            "account_id": request.account_id,
            "symbol": "" if is_cash else request.symbol,
            "currency": request.currency if is_cash else "",
            "amount": request.amount_micro_units if is_cash else request.quantity,
        }
