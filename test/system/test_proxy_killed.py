"""A proxy killed between any two steps of its requests: what it left is finished or undone by another within 10 s.

Shows 2 of the issue on crashes and unknown outcomes. One proxy for each place, all on one database and all killed (the
asan build has places where a test can end it by SIGKILL, see proxy/base/fault_point.h), and one that lives on: it is
asked again, with the same keys, for everything that was sent.
"""

import random
import threading
import time
import uuid
from collections import Counter

import ledger
import pytest
import wire
from load import SYMBOLS
from soak import sized
from stack import wait_until

# What the promise is: finished or undone, counted from the death.
UNDO_SECONDS_MAX = 10
KILL_SECONDS_MAX = 60

# Where a proxy dies: the step, and of what.
PLACE_POINTS = [
    "read/client",
    "sent/receive_orders",
    "answered/receive_orders",
    "sent/account",
    "answered/account",
    "sent/settle_orders",
    "answered/settle_orders",
    "sent/client",
]
CANCEL_POINTS = ["sent/cancel_orders", "answered/cancel_orders"]
RESOLVER_POINTS = ["answered/claim_unsettled", "sent/record_hold", "answered/record_hold"]
REQUESTS = 60
DEBTS = 10
# Under way at a time: some requests are at different steps, and some have been answered at the time of the death.
WINDOW = 3
# At which of its visits to the place a proxy dies: after the frames that open its connection to Account.
VISITS = range(8, 16)
ROUNDS = sized(1, 12)
SEED = 6

UNSETTLED = "SELECT count(*) FROM order_service.orders WHERE status = 0 OR hold = 2"
OWED = "SELECT count(*) FROM order_service.orders WHERE hold = 3 AND code = 200"


@pytest.fixture(scope="module")
def survivor(make_shared_whole, kafka):
    """The system with the proxy that is not killed."""
    topic = kafka.create_topic(f"killed.{uuid.uuid4().hex[:8]}", ledger.PARTITIONS)
    return make_shared_whole(kafka=kafka, topic=topic)


class Victim:
    """A proxy that dies at a place, and a client of it; `answers` are those that it heard: {key: (code, order id)}."""

    def __init__(self, make_whole, survivor, point, visit):
        self.point = f"{point}:{visit}"
        wrapper = ("env", f"ORDER_PROXY_FAULT={self.point}")
        self.whole = make_whole(survivor.postgres, survivor.account, variant="asan", wrapper=wrapper)
        self.account = survivor.new_account()
        self.requests = {}  # key: (method, request)
        self.answers = {}
        self.died = None
        self._client = self.whole.client(self.account)
        self._thread = threading.Thread(target=self._talk, daemon=True)

    def ask(self, method, request):
        self.requests[request.idempotency_key] = (method, request)

    def start(self):
        self._thread.start()

    def _talk(self):
        """Send everything, WINDOW at a time; read until the connection ends."""
        keys = {}
        try:
            for key, (method, request) in self.requests.items():
                keys[self._client.send(method, request.SerializeToString())] = key
                if len(keys) - len(self.answers) == WINDOW:
                    self._take(keys, self._client.receive())
            while True:
                self._take(keys, self._client.receive())
        except (ConnectionError, AssertionError):
            pass
        self.died = time.monotonic()

    def _take(self, keys, frame):
        if frame is None:
            raise ConnectionResetError
        answer = wire.message("ErrorMessage" if frame.flags & wire.ERROR else "OrderResponse").FromString(frame.payload)
        self.answers[keys[frame.correlation]] = (answer.code, getattr(answer, "order_id", 0))

    def wait_dead(self):
        wait_until(lambda: not self.whole.proxy.is_running, KILL_SECONDS_MAX, f"death at {self.point}")
        if self._thread.ident is not None:
            self._thread.join(wire.ANSWER_SECONDS_MAX)
        self._client.close()


def start_all(victims):
    for victim in victims:
        victim.start()
    for victim in victims:
        victim.wait_dead()


def repeat(survivor, victim):
    """Ask the survivor everything again until it is decided: {key: (code, order id, replayed)}."""
    found = {}
    with survivor.client(victim.account) as client:

        def is_decided():
            for key in victim.requests.keys() - found.keys():
                method, request = victim.requests[key]
                try:
                    answer = client.call(method, request, "OrderResponse")
                except wire.Refused as error:
                    # Still RECEIVED, by the proxy that died.
                    assert error.reason == "IN_PROGRESS", error
                    continue
                found[key] = (answer.code, answer.order_id, answer.replayed)
            return len(found) == len(victim.requests)

        wait_until(is_decided, UNDO_SECONDS_MAX, f"outcome of all requests of {victim.point}")
    return found


def check_outcomes(survivor, victim, outcomes):
    """Every answer that was heard is what the key stands for, and every key stands for one thing."""
    assert victim.answers, f"{victim.point}: nothing was answered before the death"
    for key, (code, order_id) in victim.answers.items():
        assert outcomes[key] == (code, order_id, True), f"{victim.point}: first answer {code}, then {outcomes[key]}"
    again = repeat(survivor, victim)
    assert again == {key: (code, order_id, True) for key, (code, order_id, _) in outcomes.items()}
    keys = "SELECT count(*) FROM order_service.idempotency_key WHERE account_id = %s AND key = ANY(%s)"
    assert survivor.postgres.execute(keys, [victim.account, list(victim.requests)]) == [(len(victim.requests),)]


def describe(victim, outcomes):
    unheard = {key: outcome for key, outcome in outcomes.items() if key not in victim.answers}
    undone = Counter(code for code, _, replayed in unheard.values() if replayed)
    print(
        f"{victim.point:26} {len(victim.requests)} requests: {len(victim.answers)} answered before;"
        f" then {dict(undone)} recorded, {sum(not replayed for *_, replayed in unheard.values())} carried out afresh"
    )


@pytest.mark.soak
def test_whatever_a_killed_proxy_left_is_finished_or_undone_and_its_keys_tell(survivor, make_whole, read_topic):
    rng = random.Random(SEED)
    print(f"\nseed {SEED}")
    for _ in range(ROUNDS):
        victims = [
            Victim(make_whole, survivor, point, rng.choice(VISITS)) for point in PLACE_POINTS + CANCEL_POINTS
        ]
        for victim, point in zip(victims, PLACE_POINTS + CANCEL_POINTS):
            for _ in range(REQUESTS):
                side = rng.choice(("BUY", "SELL"))
                if point in CANCEL_POINTS:
                    with survivor.client(victim.account) as client:
                        order_id = client.place().order_id
                    request = wire.message("CancelOrderRequest")(order_id=order_id, idempotency_key=wire.new_key())
                    victim.ask(wire.CANCEL, request)
                else:
                    victim.ask(wire.PLACE, wire.place_request(side=side, symbol=SYMBOLS[0]))
        start_all(victims)
        last_death = max(victim.died for victim in victims)
        outcomes = [repeat(survivor, victim) for victim in victims]
        left = UNDO_SECONDS_MAX - (time.monotonic() - last_death)
        wait_until(lambda: survivor.postgres.execute(UNSETTLED) == [(0,)], left, "end of all doubts")
        print(f"{len(victims)} proxies killed; all undone {time.monotonic() - last_death:.1f} s after the last death")
        for victim, outcome in zip(victims, outcomes):
            check_outcomes(survivor, victim, outcome)
            describe(victim, outcome)
    found = survivor.differences(read_topic)
    assert not found, ledger.show(found)


def test_debts_that_a_killed_proxy_had_taken_on_are_paid_by_another(survivor, make_whole, read_topic):
    for point in RESOLVER_POINTS:
        account = survivor.new_account()
        with survivor.client(account) as client:
            ids = [client.place().order_id for _ in range(DEBTS)]
        # Nobody else may take the debts on before it does.
        survivor.proxy.freeze()
        report = "SELECT order_service.apply_execution('end-' || id, id, 'EXPIRED') FROM unnest(%s::bigint[]) AS id"
        survivor.postgres.execute(report, [ids])
        victim = Victim(make_whole, survivor, point, 1)
        victim.wait_dead()
        died = time.monotonic()
        leased = survivor.postgres.execute("SELECT count(*) FROM order_service.hold_debt WHERE attempts > 0")[0][0]
        survivor.proxy.thaw()
        wait_until(lambda: survivor.postgres.execute(OWED) == [(0,)], UNDO_SECONDS_MAX, "end of all debts")
        print(f"{victim.point:26} {leased} debts leased; paid {time.monotonic() - died:.1f} s after the death")
    found = survivor.differences(read_topic)
    assert not found, ledger.show(found)
