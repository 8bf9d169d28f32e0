"""Connections to Account without a call, against gRPC's own servers in two languages: the next order succeeds.

Shows 7 of the issue. SOAK=1 waits as long as the settings that are usual take; `make check` makes the proxy's keepalive
ten to fifteen times as fast, and the servers are at their default settings in both. No retry has a budget here: an
order that succeeds does so with its first call, or with one that was certainly not processed before.
"""

import time

import pytest
import soak
from ends import ACCEPTED, place
from peer import LANGUAGES, Peer
from stack import wait_until

KEEPALIVE_SECONDS = soak.sized(1, 15)
IDLE_SECONDS = soak.sized(2, 300)
# gRPC's servers close at the third or fourth PING.
PINGS_TOO_MANY = 5
PATIENT = {
    "account.attempt_timeout": "2s",
    "account.overall_timeout": "4s",
    "account.retry_budget_percent": 0,
    "account.keepalive_idle": f"{KEEPALIVE_SECONDS}s",
}
ACCOUNT_ID = 10000
READY_SECONDS_MAX = 30
LIMIT_MS = 500
GOAWAYS = 2

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]


@pytest.fixture(params=LANGUAGES)
def make(make_whole, scratch, request):
    """make(settings, **options of the peer) -> Whole before such a server, with a first order that was accepted."""
    peers = []

    def make_one(settings=None, **options):
        peer = Peer(scratch / f"{request.node.name}-peer", request.param, **options)
        peers.append(peer)
        peer.start()
        whole = make_whole(account=peer, settings={**PATIENT, **(settings or {})})
        wait_until(lambda: place(whole, ACCOUNT_ID)[0] == ACCEPTED, READY_SECONDS_MAX, "a peer that answers")
        return whole

    yield make_one
    for peer in peers:
        peer.remove()


def count(whole, name):
    return whole.proxy.metrics()[f"grpc_client_{name}"]


def test_the_order_after_a_long_silence_goes_over_the_same_connection_behind_a_ping(make):
    """The silence is what this is about: it can only be waited for."""
    whole = make()
    begin = time.monotonic()
    wait_until(lambda: time.monotonic() - begin > IDLE_SECONDS, IDLE_SECONDS + 1, "the end of the silence")
    assert count(whole, "pings_total") == 0
    assert place(whole, ACCOUNT_ID)[0] == ACCEPTED
    assert (count(whole, "pings_total"), count(whole, "connections_opened_total")) == (1, 1)
    assert count(whole, "goaways_received_total") == 0


def test_a_server_that_has_enough_of_pings_gets_half_as_many_and_the_next_order_succeeds(make):
    whole = make({"account.keepalive_without_calls": "on"})
    patience = KEEPALIVE_SECONDS * (PINGS_TOO_MANY + 1) + READY_SECONDS_MAX
    wait_until(lambda: count(whole, "too_many_pings_total") == 1, patience, "too_many_pings")
    assert count(whole, "pings_total") <= PINGS_TOO_MANY
    log = whole.proxy.log_text()
    assert "code=ENHANCE_YOUR_CALM text=too_many_pings" in log
    assert f"idle_ms={2 * KEEPALIVE_SECONDS * 1000}\n" in log
    wait_until(lambda: count(whole, "endpoints_ready") == 1, READY_SECONDS_MAX, "another connection")
    assert place(whole, ACCOUNT_ID)[0] == ACCEPTED


@pytest.mark.parametrize("limit", ["idle_ms_max", "age_ms_max"])
def test_orders_survive_a_server_that_keeps_no_connection_for_long(make, limit):
    """It leaves by GOAWAY, without a call and in the middle of calls."""
    whole = make(**{limit: LIMIT_MS})
    orders = 0

    def is_left():
        nonlocal orders
        if limit == "age_ms_max":
            orders += 1
            assert place(whole, ACCOUNT_ID)[0] == ACCEPTED
        return count(whole, "goaways_received_total") >= GOAWAYS

    wait_until(is_left, READY_SECONDS_MAX, f"{GOAWAYS} connections that were left")
    assert place(whole, ACCOUNT_ID)[0] == ACCEPTED
    print(f"\n{orders} orders")
