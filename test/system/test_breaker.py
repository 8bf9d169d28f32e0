"""An Account service in trouble costs the orders that need it, and nothing else. Shows 2 and 3 of the issue.

Amplification: calls that Account sees, of resolvers too, for each order. Isolation: what needs no Account goes on.
"""

import json
import statistics
import subprocess
import threading
import time
from collections import Counter

import pytest
import wire
from host import program
from pace import Pace, percentile
from soak import sized
from stack import wait_until
from test_proxy_load import Memory
from whole import BREAKER_OFF, CASH, CURRENCY

RATE = 250
SECONDS = sized(2, 30)
AMPLIFICATION_MAX = 1.10
# The circuit breaker's rest, and the time in which everything works again without help.
REST_SECONDS = sized(1, 30)
RECOVERY_SECONDS_MAX = REST_SECONDS + 1
FLAP_SECONDS = 0.3

HANG = [{"kind": "hang"}]
FAULTS = {
    "20 % errors": [{"kind": "status", "status": "UNAVAILABLE", "percent": 20}],
    "50 % errors, some after the deed": [
        {"kind": "status", "status": "UNAVAILABLE", "percent": 25},
        {"kind": "status", "status": "UNAVAILABLE", "percent": 33, "when": "after"},
    ],
    "100 % errors": [{"kind": "status", "status": "UNAVAILABLE"}],
    "slow": [{"kind": "delay", "delay_ms": 60, "percent": 50}],
    "hanging": HANG,
    "flapping": HANG,
}
BREAKERS = {
    "breaker": {"account.breaker_open_time": "200ms"},
    "no breaker": BREAKER_OFF,
}
# An attempt that Account answers late because the machine has other things to do is no fault of Account's.
PATIENT = {"account.attempt_timeout": "2s", "account.overall_timeout": "4s"}


def seen(account):
    """All calls that have reached Account."""
    return sum(account.totals()["seen"].values())


def orders():
    """Payloads of new orders."""
    return lambda: wire.place_request().SerializeToString()


class Flapping(threading.Thread):
    """Account hangs and is well, by turns, until stop(). It is well at the end."""

    def __init__(self, account):
        super().__init__(daemon=True)
        self.account = account
        self._stopping = threading.Event()

    def run(self):
        is_ill = False
        while not self._stopping.wait(FLAP_SECONDS):
            is_ill = not is_ill
            self.account.faults(HANG if is_ill else [])
        self.account.clear_faults()

    def stop(self):
        self._stopping.set()
        self.join()


def place_for(whole, seconds):
    """Orders at a steady rate for so long; their answers."""
    with whole.client(whole.new_account()) as client, Pace(client, wire.PLACE, orders(), RATE) as pace:
        wait_until(lambda: len(pace.answers) >= seconds * RATE, 60 + seconds, "answers to all orders")
    return pace


@pytest.mark.soak
@pytest.mark.parametrize("breaker", BREAKERS)
@pytest.mark.parametrize("mix", FAULTS)
def test_an_account_in_trouble_sees_hardly_more_calls_than_orders(make_whole, mix, breaker):
    whole = make_whole(settings=BREAKERS[breaker])
    before = seen(whole.account)
    flapping = Flapping(whole.account)
    if mix == "flapping":
        flapping.start()
    else:
        whole.account.faults(FAULTS[mix])
    pace = place_for(whole, SECONDS)
    calls = seen(whole.account) - before
    if mix == "flapping":
        flapping.stop()
    recorded = sum(not answer.is_error for answer in pace.answers)
    metrics = whole.proxy.metrics()
    print(
        f"\n{mix}, {breaker}: {len(pace.answers)} orders, {recorded} recorded, {calls} calls:"
        f" {calls / len(pace.answers):.3f} for each order, {calls / recorded:.3f} for each that was recorded;"
        f" opened {metrics_sum(metrics, 'ft_circuitbreaker_opened_total'):.0f} times,"
        f" {metrics['account_retries_total']:.0f} retries, {metrics['account_retries_unpaid_total']:.0f} more not paid,"
        f" {metrics['account_debts_unpaid_total']:.0f} calls for debts not made; {pace.codes()}"
    )
    assert recorded >= 50
    assert calls / len(pace.answers) <= AMPLIFICATION_MAX
    # Orders that a breaker kept from Account do not hide what happens to the others. The budget has a floor, which
    # few orders do not earn, and an attempt that is repeated for free, after a lost connection, is none of these.
    assert calls <= recorded + max(0.10 * recorded, 3 * (1 + SECONDS / 10))
    opened = metrics_sum(metrics, "ft_circuitbreaker_opened_total")
    assert opened == 0 if breaker == "no breaker" else opened > 0


def metrics_sum(metrics, name):
    """The sum over all labels."""
    return sum(value for key, value in metrics.items() if key.partition("{")[0] == name)


def test_a_healthy_account_sees_exactly_one_call_for_each_order(make_whole):
    whole = make_whole(settings=PATIENT)
    pace = place_for(whole, SECONDS)
    calls = seen(whole.account)
    print(f"\nhealthy: {len(pace.answers)} orders, {calls} calls")
    assert pace.codes() == {(200, ""): len(pace.answers)}
    assert calls == len(pace.answers)


# --- isolation ---


class Probe:
    """What needs no Account, asked for one after the other: pings, queries, cancels; times by kind."""

    def __init__(self, whole):
        self.account = whole.new_account()
        self.client = whole.client(self.account)
        self.open = []

    def place(self, count):
        """Orders to cancel, while Account is well."""
        while len(self.open) < count:
            answer = self.client.place()
            if answer.code == 200:
                self.open.append(answer.order_id)

    def measure(self, count):
        """{kind: [seconds]} of so many of each."""
        times = {"ping": [], "query": [], "cancel": []}
        for _ in range(count):
            order_id = self.open.pop()
            for kind, ask in (
                ("ping", self.client.ping),
                ("query", lambda order_id=order_id: self.client.get(order_id=order_id)),
                ("cancel", lambda order_id=order_id: self.client.cancel(order_id)),
            ):
                begin = time.monotonic()
                ask()
                times[kind].append(time.monotonic() - begin)
        return times


ROUNDS = sized(4, 20)
PROBES = sized(100, 400)
P99_RATIO_MAX = 2
# What the scheduler of a shared machine does to the slowest of a hundred, whatever Account does.
P99_SECONDS_FLOOR = 0.020
GROWTH_BYTES_MAX = 4 * 1024 * 1024


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("breaker", BREAKERS)
def test_a_hanging_account_slows_nothing_that_does_not_need_it(make_whole, breaker):
    """Healthy and hanging by turns, under a steady load of orders; the median over the turns of each one's p99."""
    settings = BREAKER_OFF if breaker == "no breaker" else {"account.breaker_open_time": "60min"}
    whole = make_whole(settings=settings)
    (pid,) = whole.proxy.processes()
    memory = Memory(pid)
    probe = Probe(whole)
    p99s = {"healthy": {}, "hanging": {}}
    placed = {"healthy": [], "hanging": []}
    for number in range(ROUNDS + 1):
        for state in ("healthy", "hanging"):
            whole.account.clear_faults()
            whole.proxy.ask("/breaker/reset", "POST")
            probe.place(PROBES)
            if state == "hanging":
                whole.account.faults(HANG)
            with whole.client(whole.new_account()) as client, Pace(client, wire.PLACE, orders(), RATE) as pace:
                wait_until(lambda pace=pace: len(pace.answers) >= 60, 30, "orders answered")
                times = probe.measure(PROBES)
            # The first round makes what there is to make: connections, plans, memory.
            if number == 0:
                continue
            placed[state] += pace.answers
            for kind, seconds in times.items():
                p99s[state].setdefault(kind, []).append(percentile(seconds, 99))
        if number == 0:
            memory.start()
    memory.stop()
    slower = {}
    for kind, healthy in p99s["healthy"].items():
        well, ill = statistics.median(healthy), statistics.median(p99s["hanging"][kind])
        slower[kind] = ill / max(well, P99_SECONDS_FLOOR)
        print(f"\n{breaker}, {kind}: p99 {well * 1000:.2f} ms healthy, {ill * 1000:.2f} ms hanging: {ill / well:.2f}")
    waited = [answer.seconds for answer in placed["hanging"] if answer.reason != "ACCOUNT_RESTING"]
    refused = [answer.seconds for answer in placed["hanging"] if answer.reason == "ACCOUNT_RESTING"]
    codes = Counter((answer.code, answer.reason) for answer in placed["hanging"])
    first, second = memory.halves()
    print(f"orders meanwhile: {dict(codes)}")
    print(f"503 from Account's silence: median {ms(waited)}, p99 {percentile(waited, 99) * 1000:.1f} ms")
    print(f"memory at most {first / 2**20:.2f} MiB in the first half, {second / 2**20:.2f} MiB in the second")
    assert {code for code, _ in codes} == {503}
    assert all(ratio <= P99_RATIO_MAX for ratio in slower.values()), slower
    assert statistics.median(waited) <= 0.100
    assert second <= first + GROWTH_BYTES_MAX
    if breaker == "breaker":
        print(f"503 behind the open breaker: median {ms(refused)}, p99 {percentile(refused, 99) * 1000:.1f} ms")
        assert statistics.median(refused) <= 0.005


def ms(seconds):
    return f"{statistics.median(seconds) * 1000:.2f} ms"


@pytest.fixture
def resting(make_whole):
    """A whole system behind an open breaker, Account hanging; and a client of it.

    Attempts may take a while: a probe that the machine keeps waiting should not open the breaker again.
    """
    whole = make_whole(
        settings={
            "account.attempt_timeout": "500ms",
            "account.overall_timeout": "1s",
            "account.breaker_open_time": f"{REST_SECONDS}s",
        }
    )
    whole.account.faults(HANG)
    with whole.client(whole.new_account()) as client:
        open_breaker(whole, client)
        yield whole, client


def open_breaker(whole, client, at_a_time=60):
    """Place orders until the breaker is open."""

    def is_open():
        for _ in range(at_a_time):
            client.send(wire.PLACE, wire.place_request().SerializeToString())
        client.receive_all(at_a_time)
        return status(whole)["account_breaker"] == "open"

    wait_until(is_open, 30, "an open breaker")


def status(whole):
    return json.loads(whole.proxy.ask("/status")[1])


def code_of(client):
    """The code of a new order."""
    try:
        return client.place().code
    except wire.Refused as error:
        assert error.reason == "ACCOUNT_RESTING"
        return error.code


@pytest.mark.soak
def test_orders_are_taken_again_soon_after_account_is_back_without_help(resting):
    whole, client = resting
    opened = time.monotonic()
    whole.account.clear_faults()
    wait_until(lambda: code_of(client) == 200, RECOVERY_SECONDS_MAX, "orders again")
    print(f"\nrest of {REST_SECONDS} s: orders again after {time.monotonic() - opened:.2f} s")
    assert status(whole)["account_breaker"] == "closed"
    # The orders whose calls hung left doubts, which are paid now.
    doubts = "SELECT count(*) FROM order_service.orders WHERE hold = 2"
    wait_until(lambda: whole.postgres.execute(doubts) == [(0,)], 60, "end of all doubts")
    found = whole.differences()
    assert not found, found


def test_an_order_that_a_resting_account_refuses_is_not_recorded_and_its_key_stays_unused(make_whole):
    whole = make_whole(settings={"account.breaker_open_time": "60min"})
    whole.account.faults(HANG)
    account = whole.new_account()
    with whole.client(account) as client:
        open_breaker(whole, client)
        whole.account.clear_faults()
        before = whole.order_count(account)
        key = wire.new_key()
        with pytest.raises(wire.Refused) as refused:
            client.place(idempotency_key=key)
        assert (refused.value.code, refused.value.reason) == (503, "ACCOUNT_RESTING")
        assert whole.order_count(account) == before
        assert status(whole)["account_breaker"] == "open"
        assert whole.proxy.ask("/breaker/reset", "GET")[0] == 405
        assert whole.proxy.ask("/metrics", "POST")[0] == 405
        assert code_of(client) == 503
        assert whole.proxy.ask("/breaker/reset", "POST") == (200, "closed\n")
        answer = client.place(idempotency_key=key)
        assert (answer.code, answer.replayed) == (200, False)


CROWD = 120


def test_the_death_of_one_instance_opens_no_breaker_however_many_calls_it_had(make_whole, make_account):
    """The breaker as it is by default; half of the crowd is under way at the instance that dies."""
    first, second = make_account(), make_account()
    endpoints = f"{first.address}, {second.address}"
    whole = make_whole(
        account=first, settings={**PATIENT, "account.endpoints": endpoints, "account.retry_budget_percent": 100}
    )
    wait_until(lambda: whole.proxy.metrics()["grpc_client_endpoints_ready"] == 2, 30, "both endpoints ready")
    account = whole.new_account()
    second.create(account, cash={CURRENCY: CASH})
    with whole.client(account) as client:
        client.place()
        first.freeze()
        for _ in range(CROWD):
            client.send(wire.PLACE, wire.place_request().SerializeToString())
        wait_until(lambda: status(whole)["account_calls_running"] >= CROWD // 3, 10, "calls of the frozen instance")
        first.kill9()
        codes = Counter(wire.decode(frame, "OrderResponse").code for frame in client.receive_all(CROWD))
    metrics = whole.proxy.metrics()
    print(f"\n{dict(codes)}, {metrics['account_retries_total']:.0f} calls repeated")
    assert codes == {200: CROWD}
    assert metrics["account_retries_total"] >= CROWD // 3
    assert metrics["circuit_breaker_state"] == 0
    assert metrics_sum(metrics, "ft_circuitbreaker_opened_total") == 0


def test_operators_see_the_breaker_in_metrics_in_status_and_in_orderctl(make_whole):
    whole = make_whole(settings={"account.breaker_open_time": "60min"})
    whole.account.faults(HANG)
    with whole.client(whole.new_account()) as client:
        open_breaker(whole, client)
        assert code_of(client) == 503
    metrics = whole.proxy.metrics()
    label = 'method="account.order.v1.AccountOrderService"'
    assert metrics["circuit_breaker_state"] == 1
    assert metrics[f'ft_circuitbreaker_state_current{{{label},state="open"}}'] == 1
    assert metrics[f"ft_circuitbreaker_opened_total{{{label}}}"] == 1
    assert metrics[f'ft_circuitbreaker_calls_total{{{label},circuitBreakerResult="failure"}}'] >= 50
    assert metrics[f'ft_timeout_calls_total{{{label},timedOut="true"}}'] >= 50
    assert metrics[f'ft_invocations_total{{{label},result="exceptionThrown",fallback="notDefined"}}'] >= 50
    assert metrics[f"ft_bulkhead_executionsRunning{{{label}}}"] == 0
    assert metrics["retry_budget_remaining"] >= 0
    command = [str(program("orderctl")), "--admin", whole.proxy.admin_address, "status"]
    shown = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    lines = dict(line.split(None, 1) for line in shown.splitlines() if len(line.split()) > 1)
    assert lines["account_breaker"] == "open"
    assert lines["account_breaker_opened"] == "1"
    assert "account_retry_budget" in lines and "account_calls_running" in lines
    assert "circuit breaker of account from=closed to=open" in whole.proxy.log_text()


def test_a_crowd_at_account_is_refused_at_once_and_the_limit_is_counted(make_whole):
    # Whoever waits gives up before those that hang do.
    settings = {"account.attempt_timeout": "4s", "account.overall_timeout": "4s"}
    settings.update({"account.calls_max": 2, "account.calls_waiting_max": 3})
    whole = make_whole(settings=settings)
    account = whole.new_account()
    with whole.client(account) as client:
        assert client.place().code == 200
        whole.account.faults(HANG)
        for _ in range(2):
            client.send(wire.PLACE, wire.place_request().SerializeToString())
        wait_until(lambda: status(whole)["account_calls_running"] == 2, 10, "places that are taken")
        for _ in range(3):
            client.send(wire.PLACE, wire.place_request().SerializeToString())
        wait_until(lambda: status(whole)["account_calls_waiting"] == 3, 10, "orders that wait")
        before = whole.order_count(account)
        with whole.client(account) as other, pytest.raises(wire.Refused) as refused:
            other.place()
        assert (refused.value.code, refused.value.reason) == (503, "ACCOUNT_BUSY")
        assert whole.order_count(account) == before
        # Those that wait hold nothing at Account; of the two that hang nobody knows.
        answers = [wire.decode(frame, "OrderResponse") for frame in client.receive_all(5)]
        assert Counter(answer.reason for answer in answers) == {
            "ACCOUNT_UNAVAILABLE": 3,
            "ACCOUNT_OUTCOME_UNKNOWN": 2,
        }
    metrics = whole.proxy.metrics()
    assert metrics["account_waiting_refused_total"] >= 1
    assert metrics["account_waiting_expired_total"] == 3
    whole.account.clear_faults()
