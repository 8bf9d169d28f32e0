"""The links to PostgreSQL and to Account are slow: answers come 200 ms late, or in pieces of a few bytes.

Shows 5 of the issue on crashes and unknown outcomes; test_network.py has the rest of it.
"""

import time
from contextlib import ExitStack

import pytest
import wire
from pgserver import DATABASE
from proxy import ROLE
from relay import HOST, Relay
from soak import sized
from stack import wait_until
from watch import Watch
from whole import BREAKER_OFF

pytestmark = pytest.mark.soak

ORDERS = sized(20, 500)
RATE = 20
STEP_SECONDS_MAX = sized(120, 1200)
RECOVERY_SECONDS_MAX = 20
# The proxy's own promise, with a settlement and a call of Account that began in the last moment, on a shared machine.
ANSWER_SECONDS_MAX = 5 + 3
DELAY_SECONDS = 0.2
# A few kilobytes a second, so for few orders: each needs some hundred bytes, either way.
PIECE = (16, 0.001)
RATE_IN_PIECES = 5

# Where Account is not what is slow, it has more time than it needs.
PATIENT = {"account.attempt_timeout": "400ms", "account.overall_timeout": "800ms", **BREAKER_OFF}
BRISK = {"account.breaker_open_time": "1s"}
# Account leaves 200 ms of a request's time; a request that came so much later has more than that left.
ACCOUNT_DELAY_MS = 1800
SLOW_ACCOUNT = {
    "listen.request_timeout": "2s",
    "account.attempt_timeout": "1900ms",
    "account.overall_timeout": "1900ms",
}
LATER_SECONDS = 0.4
ACCEPTED = 1

LATE_HOLDS = "SELECT reserve_id FROM order_service.orders WHERE hold = 2"


@pytest.fixture
def postgres(make_postgres, kafka, topic):
    return make_postgres(kafka=kafka, topic=topic)


@pytest.fixture
def database_relay(postgres):
    with Relay(postgres.port) as relay:
        yield relay


@pytest.fixture
def account(make_account):
    return make_account()


@pytest.fixture
def account_relay(account):
    with Relay(account.port) as relay:
        yield relay


@pytest.fixture
def make_slow(make_whole, postgres, account, database_relay, account_relay, topic):
    """make_slow(settings) -> Whole: a system with a relay on either link."""

    def make(settings):
        writer = f"host={HOST} port={database_relay.port} user={ROLE} dbname={DATABASE}"
        links = {"database.writer": writer, "account.endpoints": f"{HOST}:{account_relay.port}"}
        return make_whole(postgres, account, topic=topic, variant="asan", settings={**links, **settings})

    return make


@pytest.fixture
def make_watch(make_slow, tmp_path):
    """make_watch(settings, rate) -> Watch that has begun, on such a system."""
    watches = ExitStack()

    def make(settings, rate=RATE):
        print()
        return watches.enter_context(Watch(make_slow(settings), tmp_path, rate))

    with watches:
        yield make


def test_a_database_that_answers_late_costs_time_and_no_order(make_watch, database_relay, read_topic):
    watch = make_watch(PATIENT)
    connections = database_relay.connection_count
    database_relay.delay = DELAY_SECONDS
    watch.wait_for_acceptance(STEP_SECONDS_MAX, ORDERS)
    # An order needs two calls.
    assert watch.slowest_answer > 2 * DELAY_SECONDS
    database_relay.calm()
    watch.wait_for_acceptance(RECOVERY_SECONDS_MAX)
    codes = watch.finish(read_topic, ANSWER_SECONDS_MAX)
    assert codes[200] > ORDERS
    # More may be opened, none is given up.
    assert database_relay.connection_count <= connections + 3


def test_an_account_service_that_answers_late_leaves_no_hold(make_watch, postgres, account, account_relay, read_topic):
    """What it reserved for an order is certain only when the order is refused already."""
    watch = make_watch(BRISK)
    account_relay.delay = DELAY_SECONDS

    def late_holds():
        return {reserve_id for (reserve_id,) in postgres.execute(LATE_HOLDS)} & account.holds().keys()

    watch.wait_for_refusal(ORDERS)
    late = wait_until(late_holds, STEP_SECONDS_MAX, "a hold of an order that was refused")
    account_relay.calm()
    back = watch.wait_for_acceptance(RECOVERY_SECONDS_MAX)
    print(f"{len(late)} late holds; accepted {back:.1f} s after the end of the delay")
    codes = watch.finish(read_topic, ANSWER_SECONDS_MAX)
    assert codes[503] > 0
    # The ledger check allows a hold that is owed; here each of them is gone.
    assert not late & account.holds().keys()


@pytest.mark.parametrize("link", ["database", "account"])
def test_frames_that_come_in_small_pieces_are_put_together(make_watch, database_relay, account_relay, read_topic, link):
    watch = make_watch(PATIENT, RATE_IN_PIECES)
    relay = {"database": database_relay, "account": account_relay}[link]
    relay.trickle = PIECE
    watch.wait_for_acceptance(STEP_SECONDS_MAX, ORDERS)
    relay.calm()
    watch.wait_for_acceptance(RECOVERY_SECONDS_MAX)
    codes = watch.finish(read_topic, ANSWER_SECONDS_MAX)
    assert codes[200] > ORDERS


def test_an_order_that_cannot_be_settled_is_answered_in_time_and_settled_later(make_slow, database_relay, account):
    """Also when Account needs most of the time. A request that comes later, and must wait as long, is the clock."""
    whole = make_slow(SLOW_ACCOUNT)
    account_id = whole.new_account()
    key = wire.new_key()
    with whole.client(account_id) as client:
        account.faults([{"kind": "delay", "delay_ms": ACCOUNT_DELAY_MS, "when": "after"}])
        placed = client.send(wire.PLACE, wire.place_request(idempotency_key=key).SerializeToString())
        wait_until(lambda: whole.order_count(account_id) == 1, STEP_SECONDS_MAX, "an order that was received")
        database_relay.is_frozen = True
        begin = time.monotonic()
        wait_until(lambda: time.monotonic() - begin > LATER_SECONDS, STEP_SECONDS_MAX, "a while")
        asked = client.send(wire.GET, wire.message("GetOrderRequest")(idempotency_key=key).SerializeToString())
        answers = client.receive_all(2)
        assert [answer.correlation for answer in answers] == [placed, asked]
        assert [wire.error_of(answer).code for answer in answers] == [504, 503]
        database_relay.calm()
        account.clear_faults()
        wait_until(lambda: client.get(idempotency_key=key).status == ACCEPTED, STEP_SECONDS_MAX, "a late settlement")
    assert whole.differences() == []
