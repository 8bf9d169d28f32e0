"""The Account stand-in for its own tests: gRPC's own client for it, and the fixtures that both test files import."""

import itertools
import os
import uuid

import contracts
import grpc
import pytest
from account import Account

SERVICE = "/account.order.v1.AccountOrderService/"
CALL_SECONDS_MAX = 20

# Which build is tested: "asan" finds more.
VARIANT = os.environ.get("ACCOUNT_VARIANT", "gcc")

_account_ids = itertools.count(1)


def new_account_id():
    """The id of an account that no test has."""
    return next(_account_ids)


class Client:
    """One channel to a service; every call gives the name of its ResultCode, or raises grpc.RpcError."""

    def __init__(self, address):
        # A channel of its own: without the option all to the same address share one connection.
        self.channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.channel.close()

    def method(self, name):
        """The call as gRPC's client makes it, from and to bytes."""
        return self.channel.unary_unary(SERVICE + name)

    def begin(self, name, seconds=CALL_SECONDS_MAX, **fields):
        """Start a call; result_of() waits for its answer."""
        request = getattr(contracts.module("account"), f"{name}Request")(**fields)
        return self.method(name).future(request.SerializeToString(), timeout=seconds, wait_for_ready=True)

    def call(self, name, **fields):
        return result_of(self.begin(name, **fields))

    def reserve_cash(self, account_id, amount, reserve_id, currency="USD", order_id="77", **options):
        fields = {"account_id": account_id, "amount_micro_units": amount, "currency": currency}
        return self.call("ReserveCash", reserve_id=reserve_id, order_id=order_id, **fields, **options)

    def release_cash(self, account_id, reserve_id, **options):
        return self.call("ReleaseCash", account_id=account_id, reserve_id=reserve_id, **options)

    def reserve_position(self, account_id, quantity, reserve_id, symbol="ACME", order_id="77", **options):
        fields = {"account_id": account_id, "quantity": quantity, "symbol": symbol}
        return self.call("ReservePosition", reserve_id=reserve_id, order_id=order_id, **fields, **options)

    def release_position(self, account_id, reserve_id, **options):
        return self.call("ReleasePosition", account_id=account_id, reserve_id=reserve_id, **options)


def result_of(call):
    """The name of the ResultCode that a call ended with."""
    messages = contracts.module("account")
    return messages.ResultCode.Name(messages.CommonReply.FromString(call.result()).code)


def status_of(function, *arguments, **fields):
    """The name of the gRPC status that a call fails with."""
    with pytest.raises(grpc.RpcError) as caught:
        function(*arguments, **fields)
    return caught.value.code().name


def cash_of(service, account_id, currency="USD"):
    """(available, reserved) of an account."""
    balance = service.account(account_id)["cash"][currency]
    return balance["available"], balance["reserved"]


@pytest.fixture
def make_service(scratch):
    """make_service(**options of Account) -> Account, started."""
    made = []

    def make(**options):
        service = Account(scratch / f"account-{uuid.uuid4().hex[:8]}", variant=VARIANT, **options)
        made.append(service)
        service.start()
        return service

    yield make
    try:
        for service in made:
            assert not service.is_running or service.stop() == 0, service.log_tail()
    finally:
        for service in made:
            service.remove()


@pytest.fixture(scope="module")
def shared_service(scratch):
    service = Account(scratch / f"account-{uuid.uuid4().hex[:8]}", variant=VARIANT)
    service.start()
    yield service
    assert service.stop() == 0, service.log_tail()
    service.remove()


@pytest.fixture
def service(shared_service):
    """A service that the tests of this module share, without faults."""
    yield shared_service
    shared_service.clear_faults()


@pytest.fixture
def client(service):
    with Client(service.address) as client:
        yield client


@pytest.fixture
def account(service):
    """The id of an account of this test's own, with 1000 micro-units of USD and 10 of ACME."""
    number = new_account_id()
    service.create(number, cash=1000, positions={"ACME": 10})
    return number
