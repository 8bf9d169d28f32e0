"""The Account client against gRPC's own servers in two languages: every end of a call is a business code.

Shows 4 of the issue. The peers (peers/) keep nothing; the account id of a request says what they do:

10000 + c   a reply with result code c
20000 + s   headers, then status s without a message
21000 + s   status s as trailers only
30000       a reply of 1 MiB                30001   of 1 MiB and a byte
30002       headers, then the process ends, if the correlation id is DEADLY; else SUCCESS
30003       no answer
30004       two messages                30005   headers of 20,000 bytes
"""

import pytest
import wire
from ends import ACCEPTED, DOUBTFUL, UNTOUCHED, new_correlation, place, refused
from peer import LANGUAGES, Peer
from stack import wait_until
from whole import BREAKER_OFF

RESULTS = {
    0: ("SUCCESS", ACCEPTED),
    1: ("INSUFFICIENT_FUNDS", refused(402, "INSUFFICIENT_FUNDS")),
    2: ("ACCOUNT_NOT_FOUND", refused(404, "ACCOUNT_NOT_FOUND")),
    3: ("INTERNAL_ERROR", DOUBTFUL),
    4: ("INVALID_REQUEST", refused(400, "ACCOUNT_REFUSED")),
    5: ("ACCOUNT_SUSPENDED", refused(403, "ACCOUNT_SUSPENDED")),
    6: ("DUPLICATE_REQUEST", ACCEPTED),
    7: ("INVALID_AMOUNT", refused(400, "ACCOUNT_REFUSED")),
    8: ("INSUFFICIENT_POSITION", refused(402, "INSUFFICIENT_POSITION")),
    9: ("POSITION_NOT_FOUND", refused(402, "INSUFFICIENT_POSITION")),
    10: ("NOT_IMPLEMENTED", UNTOUCHED),
    11: ("one that the contract has not", DOUBTFUL),
    99: ("another one", DOUBTFUL),
}

# A status by which the server says that it turned the call away, and those that leave open what was done.
STATUSES = {
    0: ("OK without a message", DOUBTFUL),
    1: ("CANCELLED", DOUBTFUL),
    2: ("UNKNOWN", DOUBTFUL),
    3: ("INVALID_ARGUMENT", UNTOUCHED),
    4: ("DEADLINE_EXCEEDED", DOUBTFUL),
    5: ("NOT_FOUND", UNTOUCHED),
    6: ("ALREADY_EXISTS", DOUBTFUL),
    7: ("PERMISSION_DENIED", UNTOUCHED),
    8: ("RESOURCE_EXHAUSTED", DOUBTFUL),
    9: ("FAILED_PRECONDITION", UNTOUCHED),
    10: ("ABORTED", DOUBTFUL),
    11: ("OUT_OF_RANGE", UNTOUCHED),
    12: ("UNIMPLEMENTED", UNTOUCHED),
    13: ("INTERNAL", DOUBTFUL),
    14: ("UNAVAILABLE", DOUBTFUL),
    15: ("DATA_LOSS", DOUBTFUL),
    16: ("UNAUTHENTICATED", UNTOUCHED),
}

CASES = {10000 + code: case for code, case in RESULTS.items()}
CASES.update({20000 + status: (f"{name} behind headers", end) for status, (name, end) in STATUSES.items()})
CASES.update({21000 + status: (f"{name} as trailers", end) for status, (name, end) in STATUSES.items()})
CASES.update(
    {
        30000: ("a reply of 1 MiB", ACCEPTED),
        30001: ("a reply of 1 MiB and a byte", DOUBTFUL),
        30003: ("no answer", DOUBTFUL),
        30004: ("two messages", DOUBTFUL),
        30005: ("headers of 20,000 bytes", DOUBTFUL),
    }
)

# A peer that has just started or restarted may be slower than the usual 50 ms; the tests are about how a call ends, and
# most calls fail: so every one may be repeated.
PATIENT = {"account.attempt_timeout": "500ms", "account.overall_timeout": "1s", "account.retry_budget_percent": 100}
PATIENT = {**PATIENT, **BREAKER_OFF}

# The correlation id of a call that ends the peer.
DEADLY = 0xDEAD00000000


@pytest.fixture(scope="module", params=LANGUAGES)
def peer(request, scratch):
    with Peer(scratch / f"peer-{request.param}", request.param) as peer:
        yield peer


@pytest.fixture(scope="module")
def whole(make_shared_whole, peer):
    whole = make_shared_whole(account=peer, settings=PATIENT)
    wait_until(lambda: answers(whole), 30, "a peer that answers")
    return whole


def answers(whole):
    return place(whole, 10000)[0] == ACCEPTED


@pytest.mark.parametrize("side", ["BUY", "SELL"])
@pytest.mark.parametrize("account_id", CASES, ids=lambda number: f"{number} {CASES[number][0]}")
def test_every_end_of_a_call_is_a_business_code(whole, account_id, side):
    assert place(whole, account_id, side)[0] == CASES[account_id][1]


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_a_server_that_stops_in_mid_stream_leaves_the_outcome_unknown_and_is_called_again(whole, peer, side):
    end, row = place(whole, 30002, side, DEADLY)
    assert end == DOUBTFUL
    wait_until(lambda: not peer.is_running, 10, "end of the peer")
    assert place(whole, 10000, side)[0] == UNTOUCHED
    peer.start()
    wait_until(lambda: answers(whole), 30, "a peer that answers again")
    # What may have been held is reserved again, until the answer is certain, and released.
    wait_until(lambda: whole.order(row["order_id"])["hold"] == "RELEASE_DUE", 30, "release of a doubtful hold")
    methods = [call["method"] for call in peer.calls() if call["message"].reserve_id == row["reserve_id"]]
    release = {"BUY": "ReleaseCash", "SELL": "ReleasePosition"}[side]
    assert methods[-2:] == [release.replace("Release", "Reserve"), release]


def test_a_reservation_tells_account_what_is_to_be_held(whole, peer):
    with whole.client(10000) as client:
        client.send(wire.PLACE, wire.place_request(quantity=7).SerializeToString(), 0x0123456789ABCDEF)
        buy = wire.decode(client.receive(), "OrderResponse").order_id
        client.send(wire.PLACE, wire.place_request(quantity=9, side="SELL").SerializeToString(), 77)
        sell = wire.decode(client.receive(), "OrderResponse").order_id
    calls = {call["message"].order_id: call for call in peer.calls() if call["method"].startswith("Reserve")}
    bought, sold = calls[str(buy)], calls[str(sell)]
    row = whole.order(buy)
    assert bought["method"] == "ReserveCash"
    message = bought["message"]
    assert (message.account_id, message.amount_micro_units, message.currency) == (10000, 70_000_000, "EUR")
    assert message.reserve_id == row["reserve_id"]
    assert sold["method"] == "ReservePosition"
    message = sold["message"]
    assert (message.account_id, message.symbol, message.quantity) == (10000, "AAA", 9)
    assert message.reserve_id == whole.order(sell)["reserve_id"] != row["reserve_id"]
    assert (bought["correlation"], sold["correlation"]) == ("0123456789abcdef", f"{77:016x}")
    for call in (bought, sold):
        assert 0 < call["seconds"] <= 0.5


ATTEMPTS = {21014: 2, 20014: 2, 21013: 1, 21012: 1, 10001: 1, 10003: 1}


@pytest.mark.parametrize("account_id", ATTEMPTS)
def test_what_may_be_repeated_is_tried_once_more_under_the_same_id(whole, peer, account_id):
    correlation = new_correlation()
    # The tests before may have spent all; what is left for orders, no debt takes.
    wait_until(lambda: whole.proxy.metrics()["retry_budget_remaining"] >= 1, 30, "a budget for the retry")
    _, row = place(whole, account_id, correlation=correlation)
    calls = [call for call in peer.calls() if call["correlation"] == f"{correlation:016x}"]
    assert [call["message"].reserve_id for call in calls] == [row["reserve_id"]] * ATTEMPTS[account_id]


@pytest.mark.parametrize("side, method", [("BUY", "ReleaseCash"), ("SELL", "ReleasePosition")])
def test_what_is_no_longer_needed_is_released(whole, peer, side, method):
    _, row = place(whole, 10000, side)
    whole.postgres.execute(
        "SELECT order_service.apply_execution(%s, %s, 'CANCELED')", [wire.new_key(), row["order_id"]]
    )
    wait_until(lambda: whole.order(row["order_id"])["hold"] == "NONE", 60, "release of the hold")
    calls = [call for call in peer.calls() if call["message"].reserve_id == row["reserve_id"]]
    assert calls[-1]["method"] == method
    assert calls[-1]["message"].account_id == 10000
