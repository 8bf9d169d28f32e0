"""The defects of the service that this one replaces (research of its sources), each as a test that would show it.

Shows 1 of the issue on crashes and unknown outcomes. At the end: the ledger check over all that happened.
"""

import uuid

import ledger
import pytest
import wire
from forgetful_account import ForgetfulAccount
from load import PRICE, TICK
from stack import wait_until

# A debt is looked for every second, and its payment may fail a few times with growing pauses.
DEBT_SECONDS_MAX = 30
LOCK = 6006


@pytest.fixture(scope="module")
def whole(make_shared_whole, kafka):
    topic = kafka.create_topic(f"predecessor.{uuid.uuid4().hex[:8]}", ledger.PARTITIONS)
    return make_shared_whole(kafka=kafka, topic=topic, variant="asan")


@pytest.fixture(scope="module", autouse=True)
def ledger_check(whole, read_topic):
    """After the tests: everything that they did adds up."""
    yield
    found = whole.differences(read_topic)
    assert not found, ledger.show(found)
    count = whole.postgres.execute("SELECT count(*) FROM order_service.orders")[0][0]
    print(f"\n{count} orders, ledger check: 0 differences")


@pytest.fixture
def account(whole):
    return whole.new_account()


@pytest.fixture
def client(whole, account):
    with whole.client(account) as client:
        yield client


def refusal(call, **fields):
    """(code, reason, text) of a request that must be answered by an ERROR frame."""
    with pytest.raises(wire.Refused) as caught:
        call(**fields)
    return caught.value.code, caught.value.reason, caught.value.text


def outcome(answer):
    return wire.status_name(answer.status), answer.code, answer.reason


def held(whole, account_id):
    """What Account holds for an account, all together."""
    return sum(amount for owner, _, amount in whole.holds().values() if owner == account_id)


def execute(whole, order_id, kind, quantity=0, price=PRICE):
    """Tell a report of the exchange."""
    query = "SELECT order_service.apply_execution(%s, %s, %s, %s, %s)"
    whole.postgres.execute(query, [wire.new_key(), order_id, kind, quantity, price if quantity else 0])


def wait_for_hold(whole, order_id, *expected):
    wait_until(lambda: whole.order(order_id)["hold"] in expected, DEBT_SECONDS_MAX, f"hold {expected}")


def test_a_refused_orders_key_answers_its_refusal_again_and_never_in_progress(whole):
    account = whole.new_account(cash=1)
    with whole.client(account) as client, whole.client(account) as other:
        key = wire.new_key()
        first = client.place(idempotency_key=key)
        assert (outcome(first), first.replayed) == (("REJECTED", 402, "INSUFFICIENT_FUNDS"), False)
        # Nor does it become an order when there is money.
        whole.enrich(account, 10**12, {})
        for asking in (client, other, client):
            again = asking.place(idempotency_key=key)
            assert (again.order_id, outcome(again), again.replayed) == (first.order_id, outcome(first), True)
    assert whole.order_count(account) == 1


def test_a_reserve_that_timed_out_leaves_no_hold(whole, client, account):
    """It was carried out, and its answer never came: neither the first one's nor that of the retry."""
    hang = {"kind": "hang", "when": "after", "method": "ReserveCash", "account_id": account, "times": 2}
    whole.account.faults([hang])
    key = wire.new_key()
    answer = client.place(idempotency_key=key)
    assert outcome(answer) == ("REJECTED", 503, "ACCOUNT_OUTCOME_UNKNOWN")
    assert whole.account.fault_list()[0]["hits"] == 2
    wait_for_hold(whole, answer.order_id, "RELEASE_DUE", "NONE")
    assert held(whole, account) == 0
    again = client.place(idempotency_key=key)
    assert (again.order_id, outcome(again), again.replayed) == (answer.order_id, outcome(answer), True)


def test_a_release_that_fails_is_tried_until_it_is_done(whole, client, account):
    release = {"method": "ReleaseCash", "account_id": account}
    fault = {"kind": "status", "status": "INTERNAL", "times": 2}
    whole.account.faults([{**fault, **release}])
    order_id = client.place().order_id
    client.cancel(order_id)
    execute(whole, order_id, "CANCELED")
    wait_for_hold(whole, order_id, "NONE")
    assert held(whole, account) == 0
    assert whole.account.fault_list()[0]["hits"] == 2


def test_the_same_key_on_another_account_is_another_order(whole, client, account):
    other_account = whole.new_account()
    key = wire.new_key()
    with whole.client(other_account) as other:
        mine, theirs = client.place(idempotency_key=key), other.place(idempotency_key=key)
        assert mine.order_id != theirs.order_id and not theirs.replayed
        assert other.get(idempotency_key=key).order_id == theirs.order_id
    assert client.get(idempotency_key=key).order_id == mine.order_id
    assert held(whole, account) == held(whole, other_account) == 10 * PRICE


def test_the_same_key_with_another_body_is_refused(whole, client, account):
    key = wire.new_key()
    order_id = client.place(idempotency_key=key).order_id
    for field, value in {"symbol": "BBB", "side": "SELL", "quantity": 11, "price": PRICE + TICK}.items():
        code, reason, text = refusal(client.place, idempotency_key=key, **{field: value})
        assert (code, reason) == (422, "KEY_REUSED")
        assert field in text and str(order_id) in text
    assert whole.order_count(account) == 1
    assert held(whole, account) == 10 * PRICE


def test_a_cancel_never_replays_a_place_nor_a_place_a_cancel(whole, client):
    place_key, cancel_key = wire.new_key(), wire.new_key()
    order_id = client.place(idempotency_key=place_key).order_id
    found = refusal(client.cancel, order_id=order_id, idempotency_key=place_key)
    assert found[:2] == (422, "KEY_REUSED") and "command" in found[2]
    assert wire.status_name(client.get(order_id=order_id).status) == "ACCEPTED"
    assert client.cancel(order_id, idempotency_key=cancel_key).code == 200
    found = refusal(client.place, idempotency_key=cancel_key)
    assert found[:2] == (422, "KEY_REUSED") and "command" in found[2]


def test_a_cancel_frees_nothing_before_the_exchange_confirms(whole, client, account):
    order_id = client.place().order_id
    execute(whole, order_id, "NEW")
    assert outcome(client.cancel(order_id)) == ("CANCEL_REQUESTED", 200, "")
    # Another debt is paid meanwhile, so the resolver has looked and left this hold alone.
    other_id = client.place(quantity=1).order_id
    execute(whole, other_id, "EXPIRED")
    wait_for_hold(whole, other_id, "NONE")
    assert held(whole, account) == 10 * PRICE
    # The fill that raced with the cancel is still paid for.
    execute(whole, order_id, "TRADE", 4)
    assert held(whole, account) == 10 * PRICE
    execute(whole, order_id, "CANCELED")
    wait_for_hold(whole, order_id, "NONE")
    assert held(whole, account) == 0


def test_a_fill_below_the_limit_frees_the_rest_of_the_hold(whole, client, account):
    order_id = client.place().order_id
    execute(whole, order_id, "TRADE", 6, PRICE - TICK)
    assert whole.order(order_id)["hold"] == "HELD" and held(whole, account) == 10 * PRICE
    execute(whole, order_id, "TRADE", 4, PRICE - TICK)
    wait_for_hold(whole, order_id, "NONE")
    assert held(whole, account) == 0
    assert wire.status_name(client.get(order_id=order_id).status) == "FILLED"


@pytest.fixture
def commits_wait(whole):
    """A function that has every commit of a change of an order wait, all its work done, until this is called again."""
    statements = [
        "CREATE FUNCTION public.wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$"
        f" BEGIN PERFORM pg_advisory_xact_lock({LOCK}); RETURN NULL; END $$",
        "CREATE CONSTRAINT TRIGGER wait_at_commit AFTER UPDATE ON order_service.orders"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.wait_at_commit()",
    ]
    for statement in statements:
        whole.postgres.execute(statement)
    with whole.postgres.connect() as connection:
        connection.execute(f"SELECT pg_advisory_lock({LOCK})")
        yield lambda: connection.execute(f"SELECT pg_advisory_unlock({LOCK})")
    whole.postgres.execute("DROP FUNCTION public.wait_at_commit() CASCADE")


def is_at_commit(whole):
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
    return whole.postgres.execute(query, [LOCK])[0][0] > 0


def test_no_answer_comes_before_the_commit(whole, client, account, commits_wait):
    key = wire.new_key()
    client.send(wire.PLACE, wire.place_request(idempotency_key=key).SerializeToString())
    wait_until(lambda: is_at_commit(whole), 10, "settlement at its commit")
    assert held(whole, account) == 10 * PRICE
    with pytest.raises(TimeoutError):
        client.receive(seconds=0.5)
    with whole.client(account) as other:
        assert wire.status_name(other.get(idempotency_key=key).status) == "RECEIVED"
        assert refusal(other.place, idempotency_key=key)[:2] == (409, "IN_PROGRESS")
    commits_wait()
    answer = wire.decode(client.receive(), "OrderResponse")
    assert (outcome(answer), answer.replayed) == (("ACCEPTED", 200, ""), False)
    assert whole.order(answer.order_id)["status"] == "ACCEPTED"


def test_a_late_reserve_after_a_release_leaves_no_hold(make_whole):
    """Account lets it hold, as the predecessor's did: that is what the second release is for."""
    service = ForgetfulAccount()
    try:
        whole = make_whole(account=service, settings={"resolver.second_release": "2s"}, variant="asan")
        account = whole.new_account()
        # The request's two attempts.
        service.hold_back(2)
        with whole.client(account) as client:
            answer = client.place()
        assert outcome(answer) == ("REJECTED", 503, "ACCOUNT_OUTCOME_UNKNOWN")
        wait_for_hold(whole, answer.order_id, "NONE")
        calls = ["ReserveCash", "ReleaseCash", "ReserveCash", "ReserveCash", "ReleaseCash"]
        reserve_id = whole.order(answer.order_id)["reserve_id"]
        assert service.calls == [(method, reserve_id) for method in calls]
        assert held(whole, account) == 0
        assert not whole.differences()
    finally:
        service.close()
