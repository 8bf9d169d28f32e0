"""Every method through the whole path: client, proxy, PostgreSQL, Account, Kafka.

Every test runs against the usual build and against the one with the sanitizers (Shows 8); at the end of each, the
ledger check over all that happened.
"""

import uuid

import ledger
import pytest
import wire
from load import PRICE, SYMBOLS, TICK
from stack import wait_until

CEILING = PRICE * 2
UNKNOWN_ORDER_ID = 2**62
# What one connection may have under way (CONNECTION_IN_FLIGHT_DEFAULT).
IN_FLIGHT_MAX = 1024


@pytest.fixture(scope="module")
def servers(make_shared_whole, kafka):
    topic = kafka.create_topic(f"orders.{uuid.uuid4().hex[:8]}", ledger.PARTITIONS)
    return make_shared_whole(kafka=kafka, topic=topic)


@pytest.fixture(scope="module", params=["gcc", "asan"])
def whole(request, make_shared_whole, servers):
    if request.param == servers.proxy.variant:
        return servers
    return make_shared_whole(servers.postgres, servers.account, topic=servers.topic, variant=request.param)


@pytest.fixture(scope="module", autouse=True)
def ledger_check(whole, read_topic):
    """After the tests of a build: everything that they did adds up."""
    yield
    found = whole.differences(read_topic)
    assert not found, ledger.show(found)


@pytest.fixture
def account(whole):
    return whole.new_account()


@pytest.fixture
def client(whole, account):
    """A connection that is logged in."""
    with whole.client(account) as client:
        yield client


def refusal(call, **fields):
    """(code, reason) of a request that must be answered by an ERROR frame."""
    with pytest.raises(wire.Refused) as caught:
        call(**fields)
    assert caught.value.text
    return caught.value.code, caught.value.reason


def outcome(answer):
    """What an OrderResponse says in short."""
    return wire.status_name(answer.status), answer.code, answer.reason


def holds_of(whole, account_id):
    """[(item, amount)] of what Account holds for an account."""
    return sorted((item, amount) for owner, item, amount in whole.holds().values() if owner == account_id)


# --- sessions -------------------------------------------------------------------------------------------------------


def test_a_login_serves_all_further_requests_of_its_connection_and_no_other(whole, account):
    session = whole.open_session(account, "1 hour")
    with whole.client() as client, whole.client() as other:
        answer = client.login(session)
        assert answer.account_id == account
        expires = whole.postgres.execute(
            "SELECT floor(extract(epoch FROM expires_at) * 1000)::bigint FROM order_service.find_sessions(%s)", [[session]]
        )[0][0]
        assert abs(answer.expires_at - expires) <= 1
        assert outcome(client.place()) == ("ACCEPTED", 200, "")
        assert refusal(other.place) == (401, "NO_SESSION")


def test_a_session_may_come_with_each_request(whole, account, client):
    session = whole.open_session(account)
    with whole.client() as other:
        order_id = other.place(session_id=session).order_id
        assert other.get(session_id=session, order_id=order_id).account_id == account
        assert other.list(session_id=session).orders[0].order_id == order_id
        assert other.cancel(order_id, session_id=session).code == 200
        assert refusal(other.get, order_id=order_id) == (401, "NO_SESSION")


def test_the_session_of_a_request_counts_for_that_request_only(whole, client, account):
    guest = whole.new_account()
    session = whole.open_session(guest)
    order_id = client.place(session_id=session).order_id
    assert whole.order(order_id)["account_id"] == guest
    assert whole.order(client.place().order_id)["account_id"] == account


@pytest.mark.parametrize("session", ["no such session", "0" * 64, "x" * 256, "y" * 257, "z" * 100_000])
def test_a_session_that_does_not_exist_is_refused(whole, client, session):
    with whole.client() as other:
        assert refusal(other.login, session_id=session) == (401, "NO_SESSION")
        assert refusal(other.place, session_id=session) == (401, "NO_SESSION")
        other.ping()
    assert refusal(client.place, session_id=session) == (401, "NO_SESSION")
    assert client.place().code == 200


def cancel_frame(correlation, session):
    """A request to cancel an order that does not exist."""
    fields = {"order_id": UNKNOWN_ORDER_ID, "session_id": session, "idempotency_key": wire.new_key()}
    return wire.frame(wire.CANCEL, wire.message("CancelOrderRequest")(**fields).SerializeToString(), correlation)


@pytest.mark.parametrize("session_count", [1, IN_FLIGHT_MAX])
def test_all_that_waits_for_sessions_is_looked_up_in_few_calls(whole, account, session_count):
    """As when the sessions of a busy gateway are no longer believed: one lookup a call would take seconds."""

    def lookups():
        metrics = whole.proxy.metrics()
        return [metrics[f'store_batch_items_{part}{{kind="find_session"}}'] for part in ("count", "sum")]

    query = "SELECT order_service.open_session(%s) FROM generate_series(1, %s)"
    sessions = [session for (session,) in whole.postgres.execute(query, [account, session_count])]
    calls_before, items_before = lookups()
    with whole.client() as client:
        client.send_bytes(b"".join(cancel_frame(i, sessions[i % session_count]) for i in range(IN_FLIGHT_MAX)))
        answers = client.receive_all(IN_FLIGHT_MAX)
    assert {answer.correlation for answer in answers} == set(range(IN_FLIGHT_MAX))
    assert {wire.error_of(answer).reason for answer in answers} == {"UNKNOWN_ORDER"}
    calls, items = lookups()
    assert items - items_before >= session_count
    assert calls - calls_before <= IN_FLIGHT_MAX / 16


def test_a_logout_ends_the_session(whole, account):
    session = whole.open_session(account)
    with whole.client() as client, whole.client() as other:
        client.login(session)
        client.logout()
        assert refusal(client.place) == (401, "NO_SESSION")
        assert refusal(client.login, session_id=session) == (401, "NO_SESSION")
        assert refusal(other.login, session_id=session) == (401, "NO_SESSION")
        client.login(whole.open_session(account))
        assert client.place().code == 200


def test_a_session_ends_with_its_time(whole, account):
    session = whole.open_session(account, "1 second")

    def is_over():
        with whole.client() as client:
            try:
                client.list(session_id=session)
            except wire.Refused as error:
                assert (error.code, error.reason) == (401, "NO_SESSION")
                return True
        return False

    assert not is_over()
    wait_until(is_over, 60, "end of the session")


# --- placing --------------------------------------------------------------------------------------------------------

# What is asked for, and what Account has to hold for it.
ORDERS = {
    "limit buy": ({"side": "BUY", "quantity": 7, "price": PRICE + TICK}, ("EUR", 7 * (PRICE + TICK))),
    "market buy": ({"side": "BUY", "order_type": "MARKET", "price": 0, "quantity": 3}, ("EUR", 3 * CEILING)),
    "limit sell": ({"side": "SELL", "quantity": 9}, ("AAA", 9)),
    "market sell": ({"side": "SELL", "order_type": "MARKET", "price": 0, "quantity": 4}, ("AAA", 4)),
    "good till canceled": ({"time_in_force": "GTC"}, ("EUR", 10 * PRICE)),
    "immediate or cancel": ({"time_in_force": "IOC"}, ("EUR", 10 * PRICE)),
    "fill or kill": ({"time_in_force": "FOK"}, ("EUR", 10 * PRICE)),
    "a key of one character": ({"idempotency_key": "k"}, ("EUR", 10 * PRICE)),
    "a key of 128": ({"idempotency_key": "~" * 128}, ("EUR", 10 * PRICE)),
}


@pytest.mark.parametrize("case", ORDERS)
def test_an_order_is_accepted_held_and_recorded_as_it_was_asked_for(whole, client, account, case):
    fields, hold = ORDERS[case]
    request = wire.place_request(**fields)
    answer = client.call(wire.PLACE, request, "OrderResponse")
    assert outcome(answer) == ("ACCEPTED", 200, "")
    assert (answer.replayed, answer.filled_quantity) == (False, 0)
    order = client.get(order_id=answer.order_id)
    for field in ("symbol", "side", "order_type", "quantity", "price", "time_in_force"):
        assert getattr(order, field) == getattr(request, field), field
    assert (order.order_id, order.account_id) == (answer.order_id, account)
    assert (wire.status_name(order.status), order.filled_quantity, order.reason) == ("ACCEPTED", 0, "")
    assert 0 < order.created_at <= order.updated_at <= answer.timestamp + 1
    assert client.get(idempotency_key=request.idempotency_key) == order
    assert holds_of(whole, account) == [hold]
    assert whole.order(answer.order_id)["hold"] == "HELD"


def test_a_repeated_request_gets_the_recorded_answer_and_does_nothing(whole, client, account):
    request = wire.place_request()
    first = client.call(wire.PLACE, request, "OrderResponse")
    session = whole.open_session(account)
    with whole.client(account) as other:
        for asking in (client, other):
            again = asking.call(wire.PLACE, request, "OrderResponse")
            assert (again.order_id, outcome(again), again.replayed) == (first.order_id, outcome(first), True)
    # The session is not part of the request.
    request.session_id = session
    assert client.call(wire.PLACE, request, "OrderResponse").replayed
    assert whole.order_count(account) == 1
    assert len(holds_of(whole, account)) == 1


def test_the_same_request_sent_many_times_at_once_places_one_order(whole, client, account):
    payload = wire.place_request().SerializeToString()
    client.send_bytes(b"".join(wire.frame(wire.PLACE, payload, number) for number in range(50)))
    accepted = set()
    for answer in client.receive_all(50):
        if answer.flags & wire.ERROR:
            error = wire.error_of(answer)
            assert (error.code, error.reason) == (409, "IN_PROGRESS")
        else:
            answer = wire.decode(answer, "OrderResponse")
            assert answer.code == 200
            accepted.add(answer.order_id)
    assert len(accepted) == 1
    assert whole.order_count(account) == len(holds_of(whole, account)) == 1


CHANGES = {
    "symbol": {"symbol": "BBB"},
    "side": {"side": "SELL"},
    "order_type": {"order_type": "MARKET", "price": 0},
    "quantity": {"quantity": 11},
    "price": {"price": PRICE + TICK},
    "time_in_force": {"time_in_force": "GTC"},
}


@pytest.mark.parametrize("field", CHANGES)
def test_a_key_used_again_for_another_order_is_refused_and_says_why(whole, client, account, field):
    key = wire.new_key()
    order_id = client.place(idempotency_key=key).order_id
    with pytest.raises(wire.Refused) as caught:
        client.place(idempotency_key=key, **CHANGES[field])
    assert (caught.value.code, caught.value.reason) == (422, "KEY_REUSED")
    assert field in caught.value.text and str(order_id) in caught.value.text
    assert refusal(client.cancel, order_id=order_id, idempotency_key=key) == (422, "KEY_REUSED")
    assert whole.order_count(account) == len(holds_of(whole, account)) == 1


def test_the_same_key_of_two_accounts_is_two_keys(whole, client, account):
    other = whole.new_account()
    key = wire.new_key()
    with whole.client(other) as neighbour:
        ids = {client.place(idempotency_key=key).order_id, neighbour.place(idempotency_key=key, quantity=3).order_id}
    assert len(ids) == 2
    assert whole.order_count(account) == whole.order_count(other) == 1


# What Account refuses: the account's cash and positions, the order, and how it ends.
REJECTIONS = {
    "no funds": (dict(cash=10 * PRICE - 1), {}, 402, "INSUFFICIENT_FUNDS"),
    "no position": (dict(AAA=9), {"side": "SELL"}, 402, "INSUFFICIENT_POSITION"),
    "never had one": (dict(BBB=9), {"side": "SELL"}, 402, "INSUFFICIENT_POSITION"),
    "market buy": (dict(cash=10 * PRICE), {"order_type": "MARKET", "price": 0}, 402, "INSUFFICIENT_FUNDS"),
}


@pytest.mark.parametrize("case", REJECTIONS)
def test_what_account_refuses_is_rejected_for_good(whole, case):
    means, fields, code, reason = REJECTIONS[case]
    account = whole.new_account(**means)
    with whole.client(account) as client:
        request = wire.place_request(**fields)
        first = client.call(wire.PLACE, request, "OrderResponse")
        assert (outcome(first), first.replayed) == (("REJECTED", code, reason), False)
        assert first.message
        whole.enrich(account, 10**12, {"AAA": 1000})
        again = client.call(wire.PLACE, request, "OrderResponse")
        assert (again.order_id, outcome(again), again.replayed) == (first.order_id, outcome(first), True)
        order = client.get(order_id=first.order_id)
        assert (wire.status_name(order.status), order.reason) == ("REJECTED", reason)
        assert whole.order(first.order_id)["hold"] == "NONE" and holds_of(whole, account) == []
        request.idempotency_key = wire.new_key()
        assert client.call(wire.PLACE, request, "OrderResponse").code == 200


def test_an_account_that_account_does_not_know_is_rejected(whole):
    with whole.client(7_000_000_001) as client:
        assert outcome(client.place()) == ("REJECTED", 404, "ACCOUNT_NOT_FOUND")
        assert outcome(client.place(side="SELL")) == ("REJECTED", 404, "ACCOUNT_NOT_FOUND")


def test_a_suspended_account_is_rejected(whole, account, client):
    whole.account.suspend(account)
    assert outcome(client.place()) == ("REJECTED", 403, "ACCOUNT_SUSPENDED")
    assert outcome(client.place(side="SELL")) == ("REJECTED", 403, "ACCOUNT_SUSPENDED")


BIG = 2**63 - 1
INVALID = [
    ({"symbol": ""}, 400, None),
    ({"symbol": "aaa"}, 400, "SYMBOL_INVALID"),
    ({"symbol": "A A"}, 400, "SYMBOL_INVALID"),
    ({"symbol": "A" * 33}, 400, "SYMBOL_INVALID"),
    ({"symbol": "A'); DROP TABLE"}, 400, "SYMBOL_INVALID"),
    ({"symbol": "A" * 32}, 404, "UNKNOWN_SYMBOL"),
    ({"side": "SIDE_UNKNOWN"}, 400, None),
    ({"side": 3}, 400, "SIDE_INVALID"),
    ({"side": -1}, 400, "SIDE_INVALID"),
    ({"order_type": 2}, 400, "ORDER_TYPE_INVALID"),
    ({"order_type": 2**31 - 1}, 400, "ORDER_TYPE_INVALID"),
    ({"order_type": 65537}, 400, "ORDER_TYPE_INVALID"),
    ({"time_in_force": 4}, 400, "TIME_IN_FORCE_INVALID"),
    ({"time_in_force": 65536}, 400, "TIME_IN_FORCE_INVALID"),
    ({"quantity": 0}, 400, None),
    ({"quantity": -1}, 400, "QUANTITY_INVALID"),
    ({"quantity": BIG}, 400, "AMOUNT_OVERFLOW"),
    ({"price": 0}, 400, "PRICE_INVALID"),
    ({"price": -TICK}, 400, "PRICE_INVALID"),
    ({"price": PRICE + 1}, 400, "PRICE_OFF_TICK"),
    ({"price": PRICE // 2 - TICK}, 400, "PRICE_OUTSIDE_LIMITS"),
    ({"price": CEILING + TICK}, 400, "PRICE_OUTSIDE_LIMITS"),
    ({"order_type": "MARKET"}, 400, "PRICE_INVALID"),
    ({"idempotency_key": ""}, 400, None),
    ({"idempotency_key": "k" * 129}, 400, "KEY_INVALID"),
    ({"idempotency_key": "tab\there"}, 400, "KEY_INVALID"),
    ({"idempotency_key": "k\u00f6y"}, 400, "KEY_INVALID"),
]


@pytest.mark.parametrize("fields, code, reason", INVALID, ids=lambda value: str(value)[:60])
def test_an_invalid_order_is_refused_and_leaves_its_key_unused(whole, client, account, fields, code, reason):
    key = wire.new_key()
    found = refusal(client.place, **{"idempotency_key": key, **fields})
    assert found[0] == code
    assert reason in (None, found[1])
    assert whole.order_count(account) == 0
    answer = client.place(idempotency_key=key)
    assert (answer.code, answer.replayed) == (200, False)


def test_a_halted_symbol_is_refused_until_it_trades_again(whole, client):
    halt = "UPDATE order_service.instrument SET halted = %s WHERE symbol = 'DDD'"
    key = wire.new_key()
    whole.postgres.execute(halt, [True])
    assert refusal(client.place, symbol="DDD", idempotency_key=key) == (409, "SYMBOL_HALTED")
    whole.postgres.execute(halt, [False])
    answer = client.place(symbol="DDD", idempotency_key=key)
    assert (answer.code, answer.replayed) == (200, False)


def test_an_invalid_order_among_good_ones_fails_alone(whole, client, account):
    """Sent at once, so that they share batches."""
    for number in range(100):
        fields = {"price": PRICE + 1} if number % 7 == 0 else {}
        client.send(wire.PLACE, wire.place_request(**fields).SerializeToString(), number)
    answers = {answer.correlation: answer for answer in client.receive_all(100)}
    for number in range(100):
        if number % 7 == 0:
            assert wire.error_of(answers[number]).reason == "PRICE_OFF_TICK"
        else:
            assert wire.decode(answers[number], "OrderResponse").code == 200
    assert whole.order_count(account) == 85


# --- canceling ------------------------------------------------------------------------------------------------------


def execute(whole, order_id, kind, quantity=0):
    """Tell a report of the exchange."""
    query = "SELECT order_service.apply_execution(%s, %s, %s, %s, %s)"
    whole.postgres.execute(query, [wire.new_key(), order_id, kind, quantity, PRICE if quantity else 0])


def test_a_cancel_is_requested_and_the_hold_stays_until_the_exchange_confirms(whole, client, account):
    order_id = client.place().order_id
    key = wire.new_key()
    first = client.cancel(order_id, idempotency_key=key)
    assert (outcome(first), first.replayed, first.order_id) == (("CANCEL_REQUESTED", 200, ""), False, order_id)
    again = client.cancel(order_id, idempotency_key=key)
    assert (outcome(again), again.replayed) == (outcome(first), True)
    assert len(holds_of(whole, account)) == 1 and whole.order(order_id)["hold"] == "HELD"
    execute(whole, order_id, "CANCELED")
    assert wire.status_name(client.get(order_id=order_id).status) == "CANCELED"
    assert client.get(idempotency_key=key).order_id == order_id
    wait_until(lambda: holds_of(whole, account) == [], 20, "release of the hold")


def test_a_fill_shows_and_a_filled_order_cannot_be_canceled(whole, client):
    order_id = client.place(quantity=10).order_id
    execute(whole, order_id, "NEW")
    execute(whole, order_id, "TRADE", 4)
    order = client.get(order_id=order_id)
    assert (wire.status_name(order.status), order.filled_quantity) == ("PARTIALLY_FILLED", 4)
    answer = client.cancel(order_id)
    assert (outcome(answer), answer.filled_quantity) == (("CANCEL_REQUESTED", 200, ""), 4)
    execute(whole, order_id, "TRADE", 6)
    assert wire.status_name(client.get(order_id=order_id).status) == "FILLED"
    key = wire.new_key()
    assert refusal(client.cancel, order_id=order_id, idempotency_key=key) == (409, "WRONG_STATE")


def test_a_rejected_order_cannot_be_canceled(whole):
    account = whole.new_account(cash=1)
    with whole.client(account) as client:
        order_id = client.place().order_id
        assert refusal(client.cancel, order_id=order_id) == (409, "WRONG_STATE")


def test_a_second_cancel_under_a_new_key_is_refused_or_the_same(whole, client):
    order_id = client.place().order_id
    assert client.cancel(order_id).code == 200
    assert refusal(client.cancel, order_id=order_id) == (409, "WRONG_STATE")


@pytest.mark.parametrize("order_id, code", [(2**62, 404), (BIG, 404), (0, 400), (-1, 400)])
def test_a_cancel_of_no_order_is_refused(client, order_id, code):
    assert refusal(client.cancel, order_id=order_id)[0] == code


@pytest.mark.parametrize("key", ["", "k" * 129, "tab\t"], ids=["none", "too long", "not printable"])
def test_a_cancel_without_a_good_key_is_refused(client, key):
    order_id = client.place().order_id
    assert refusal(client.cancel, order_id=order_id, idempotency_key=key)[0] == 400
    assert wire.status_name(client.get(order_id=order_id).status) == "ACCEPTED"


# --- reading --------------------------------------------------------------------------------------------------------


def test_orders_are_listed_page_by_page_in_the_order_of_their_ids(whole, client):
    placed = [client.place(symbol=SYMBOLS[number % 4], side="BUY").order_id for number in range(7)]
    found, after, pages = [], 0, 0
    while True:
        page = client.list(after_order_id=after, limit=3)
        found += [order.order_id for order in page.orders]
        pages += 1
        if not page.more:
            break
        after = found[-1]
    assert (found, pages) == (placed, 3)
    assert not client.list(limit=7).more
    assert [order.symbol for order in client.list().orders] == [SYMBOLS[number % 4] for number in range(7)]
    assert list(client.list(after_order_id=placed[-1]).orders) == []


def test_only_open_orders_are_listed_when_asked_for(whole, client):
    ids = [client.place().order_id for _ in range(5)]
    execute(whole, ids[0], "CANCELED")
    execute(whole, ids[1], "TRADE", 10)
    client.cancel(ids[2])
    execute(whole, ids[3], "TRADE", 1)
    assert [order.order_id for order in client.list(open_only=True).orders] == ids[2:]
    assert [order.order_id for order in client.list().orders] == ids


def test_a_page_has_a_hundred_orders_unless_asked_and_five_hundred_at_most(whole, client, account):
    whole.postgres.execute(
        "SELECT count(order_id) FROM generate_series(1, 501) i,"
        " order_service.place_order(%s, 'page-' || i, 'AAA', 'BUY', 'LIMIT', 1, 10000000)",
        [account],
    )
    for limit, expected in ((0, 100), (1, 1), (500, 500)):
        page = client.list(limit=limit)
        assert (len(page.orders), page.more) == (expected, True), limit
    first = client.list(limit=1).orders[0].order_id
    rest = client.list(after_order_id=first, limit=500)
    assert (len(rest.orders), rest.more) == (500, False)
    for limit in (501, 2**31 - 1, -1):
        assert refusal(client.list, limit=limit)[0] == 400


def test_a_get_names_an_order_by_its_id_or_its_key(client):
    key = wire.new_key()
    order_id = client.place(idempotency_key=key).order_id
    assert client.get(order_id=order_id) == client.get(idempotency_key=key)
    assert refusal(client.get)[0] == 400
    assert refusal(client.get, order_id=order_id, idempotency_key=key)[0] == 400
    assert refusal(client.get, order_id=2**62) == (404, "UNKNOWN_ORDER")
    assert refusal(client.get, order_id=-1)[0] in (400, 404)
    assert refusal(client.get, idempotency_key=wire.new_key()) == (404, "UNKNOWN_ORDER")
    assert refusal(client.get, idempotency_key="k" * 129)[0] in (400, 404)


def test_an_account_can_never_see_or_cancel_the_order_of_another(whole, client, account):
    """Neither by its id, nor by its key, nor by ids tried one after another, nor in a list."""
    key = wire.new_key()
    order_id = client.place(idempotency_key=key).order_id
    for _ in range(2):
        with whole.client(whole.new_account()) as other:
            assert refusal(other.get, order_id=order_id) == (403, "NOT_YOURS")
            assert refusal(other.get, idempotency_key=key) == (404, "UNKNOWN_ORDER")
            assert refusal(other.cancel, order_id=order_id) == (403, "NOT_YOURS")
            assert refusal(other.cancel, order_id=order_id, idempotency_key=key) == (403, "NOT_YOURS")
            assert list(other.list().orders) == list(other.list(after_order_id=order_id - 1).orders) == []
            for guess in range(max(1, order_id - 50), order_id + 50):
                for call in (other.get, other.cancel):
                    assert refusal(call, order_id=guess) in ((403, "NOT_YOURS"), (404, "UNKNOWN_ORDER"))
            # Somebody else's key does not get in the way of one's own.
            assert other.place(idempotency_key=key, quantity=1).replayed is False
    assert wire.status_name(client.get(order_id=order_id).status) == "ACCEPTED"
    assert whole.order_count(account) == 1
