"""The builds and tools that see what goes wrong unnoticed. Shows 8 of the issue.

test_wire.py and test_orders.py run against the build with the address and undefined behaviour sanitizers too, and
test_proxy_faults.py against that one alone; PROXY_VARIANT=asan in the environment is for all others. Here are the proof
that this build would tell, what only an outage brings about, and a short run under valgrind.
"""

import os
import re
import signal
import subprocess

import ledger
import wire
from host import program
from stack import wait_until

VALGRIND_ERROR = 99
VALGRIND = ["valgrind", f"--error-exitcode={VALGRIND_ERROR}", "--leak-check=full", "--show-leak-kinds=all"]
VALGRIND += ["--errors-for-leak-kinds=definite,indirect,possible", "--track-origins=yes", "--quiet"]
# Under valgrind a turn takes what it takes.
PATIENT = {"account.attempt_timeout": "5s", "account.overall_timeout": "10s", "listen.request_timeout": "60s"}


def test_the_build_with_sanitizers_has_them():
    symbols = subprocess.run(
        ["nm", "-D", str(program("order-proxy", "asan"))], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    assert re.search(r"__asan_init|__asan_report", symbols)
    assert re.search(r"__ubsan_handle", symbols)


def some_of_everything(whole, orders=40):
    """Every method, orders that are refused, a broken frame, clients that vanish."""
    account, poor = whole.new_account(), whole.new_account(cash=1)
    with whole.client(account) as client:
        ids = [client.place(side=("BUY", "SELL")[number % 2]).order_id for number in range(orders)]
        payload = wire.place_request().SerializeToString()
        for number in range(orders):
            client.send(wire.PLACE, payload if number % 5 == 0 else wire.place_request().SerializeToString(), number)
        client.receive_all(orders)
        client.cancel(ids[0])
        assert len(client.list(limit=500).orders) >= orders
        assert client.get(order_id=ids[1]).order_id == ids[1]
        client.login(whole.open_session(poor))
        assert client.place().code == 402
        client.logout()
        client.send(wire.PLACE, wire.padded(payload, wire.PAYLOAD_MAX))
        wire.error_of(client.receive())
    with whole.client() as other:
        other.send_bytes(wire.header(wire.PING, 0, version=9))
        wire.error_of(other.receive())
    with whole.client(account) as vanishing:
        for _ in range(orders):
            vanishing.send(wire.PLACE, wire.place_request().SerializeToString())
    for path in ("/metrics", "/status", "/healthz", "/readyz", "/nowhere"):
        whole.proxy.ask(path)
    wait_until(lambda: whole.proxy.metrics()["requests_in_flight"] == 0, 60, "nothing in flight")


def outages(whole):
    """Account dies, hangs, and returns, behind a breaker that opens; the database dies in the middle of requests and returns."""
    account = whole.new_account()
    with whole.client(account) as client:
        whole.account.kill9()
        assert client.place().code == 503
        whole.account.start()
        wait_until(lambda: places(client), 60, "orders again")
        whole.account.freeze()
        for number in range(20):
            client.send(wire.PLACE, wire.place_request().SerializeToString(), number)
        client.receive_all(20)
        whole.account.thaw()
        wait_until(lambda: places(client), 60, "orders again")
        for number in range(20):
            client.send(wire.PLACE, wire.place_request().SerializeToString(), number)
        whole.postgres.kill9()
        client.receive_all(20)
        wait_until(lambda: not whole.proxy.ready(), 30, "a proxy that is not ready")
        whole.postgres.start()
        whole.wait_ready()
        assert wait_until(lambda: places(client), 60, "orders again")


def places(client):
    try:
        return client.place().code == 200
    except wire.Refused as error:
        assert error.code in (503, 504), error
        return False


def test_outages_under_the_sanitizers(make_whole, kafka, topic, read_topic):
    """The fixture stops the proxy and looks at its exit status and for reports."""
    whole = make_whole(kafka=kafka, topic=topic, variant="asan", settings={"account.breaker_open_time": "1s"})
    some_of_everything(whole)
    outages(whole)
    left = "SELECT count(*) FROM order_service.orders WHERE status = 0"
    wait_until(lambda: whole.postgres.execute(left) == [(0,)], 60, "end of the orders left RECEIVED")
    found = whole.differences(read_topic)
    assert not found, ledger.show(found)


def test_a_short_run_under_valgrind_has_no_error_and_no_leak(make_whole):
    whole = make_whole(settings=PATIENT, variant="gcc", wrapper=VALGRIND)
    process = whole.proxy._process
    some_of_everything(whole, orders=15)
    found = whole.differences()
    assert not found, ledger.show(found)
    for pid in whole.proxy.processes():
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not whole.proxy.is_running, 60, "end of the proxy")
    assert process.wait() == 0, whole.proxy.log_tail(100)
