"""Two proxies at one order: the row decides what it becomes, and what either of them holds for it is released.

A client whose request runs at one proxy may repeat it at another one. A proxy that has lost its connection to the
database finds that other one's order in progress under its key, and takes it for its own.
"""

from contextlib import contextmanager

import ledger
import pytest
import wire
from proxy import ROLE
from stack import free_port, wait_until

PATIENT = {"listen.request_timeout": "60s", "account.attempt_timeout": "30s", "account.overall_timeout": "60s"}
STEP_SECONDS_MAX = 30
# A proxy that does not reach Account may have put the debt off a few times before.
RELEASE_SECONDS_MAX = 90
# How long Account thinks about an answer, for a test to step in.
THINKS_MS = 10_000

WAITING = "SELECT pid FROM pg_stat_activity WHERE usename = %s AND wait_event_type = 'Lock'"
STATE = "SELECT order_service.status_name(status), order_service.hold_name(hold) FROM order_service.orders"
REFUSAL = (503, "ACCOUNT_UNAVAILABLE")


@pytest.fixture
def postgres(make_postgres):
    """No resolver gives an order up while a proxy is frozen."""
    return make_postgres(settings={"order_service.received_timeout": "10min"})


@pytest.fixture
def whole(postgres, make_whole):
    """A proxy that reaches Account."""
    return make_whole(postgres, settings=PATIENT)


@pytest.fixture
def lonely(whole, make_whole):
    """A second one that does not, and refuses its orders for certain."""
    nowhere = {**PATIENT, "account.endpoints": f"127.0.0.1:{free_port()}"}
    return make_whole(whole.postgres, whole.account, settings=nowhere)


@contextmanager
def locked(postgres, table):
    with postgres.connect(autocommit=False) as blocker:
        blocker.execute(f"LOCK TABLE order_service.{table} IN ACCESS EXCLUSIVE MODE")
        yield


def wait_in_lock(postgres):
    """Until a backend of a proxy waits for a lock of the test; its process id."""
    return wait_until(lambda: postgres.execute(WAITING, [ROLE]), STEP_SECONDS_MAX, "a backend that waits")[0][0]


def lose(whole, client, request):
    """A proxy that has sent an order, was frozen, and will find its connection lost and nothing recorded."""
    with locked(whole.postgres, "idempotency_key"):
        client.send(wire.PLACE, request)
        pid = wait_in_lock(whole.postgres)
        whole.proxy.freeze()
        whole.postgres.execute("SELECT pg_terminate_backend(%s)", [pid])


def wait_state(postgres, *expected):
    wait_until(lambda: postgres.execute(STATE)[0] in expected, STEP_SECONDS_MAX, f"an order that is {expected}")


def outcome(client):
    answer = wire.decode(client.receive(STEP_SECONDS_MAX), "OrderResponse")
    return answer.code, answer.reason


def check_released(whole, lonely):
    # Its resolver would lease the debt, too, only to put it off for longer each time.
    lonely.proxy.stop()
    wait_until(lambda: not whole.holds(), RELEASE_SECONDS_MAX, "no hold left")
    wait_state(whole.postgres, ("REJECTED", "RELEASE_DUE"), ("REJECTED", "NONE"))
    found = whole.differences()
    assert not found, ledger.show(found)


def test_what_a_proxy_holds_for_an_order_that_another_one_refused_first_is_released(whole, lonely):
    request = wire.place_request(quantity=1).SerializeToString()
    account = whole.new_account()
    with whole.client(account) as client, lonely.client(account) as lonely_client:
        lose(whole, client, request)
        # The second one records the order, refuses it, and may not tell before the first one has a hold.
        with locked(whole.postgres, "outbox"):
            lonely_client.send(wire.PLACE, request)
            wait_in_lock(whole.postgres)
            whole.proxy.thaw()
            wait_until(whole.holds, STEP_SECONDS_MAX, "a hold at Account")
        assert outcome(lonely_client) == outcome(client) == REFUSAL
    check_released(whole, lonely)


def test_what_a_killed_proxy_held_for_an_order_that_another_one_refused_is_released(whole, lonely):
    request = wire.place_request(quantity=1).SerializeToString()
    account = whole.new_account()
    whole.account.faults([{"kind": "delay", "delay_ms": THINKS_MS, "when": "after", "method": "ReserveCash"}])
    with whole.client(account) as client, lonely.client(account) as lonely_client:
        lose(lonely, lonely_client, request)
        client.send(wire.PLACE, request)
        wait_until(whole.holds, STEP_SECONDS_MAX, "a hold at Account")
        whole.proxy.kill9()
        assert whole.postgres.execute(STATE) == [("RECEIVED", "NONE")]
        lonely.proxy.thaw()
        assert outcome(lonely_client) == REFUSAL
    whole.account.clear_faults()
    whole.proxy.start()
    check_released(whole, lonely)
