"""How an order ends about which Account has decided, or not: what proxy/order/account_message.c promises."""

import itertools

import wire

ACCEPTED = ("ACCEPTED", 200, "", "HELD")
# Certainly nothing is held; or something may be.
UNTOUCHED = ("REJECTED", 503, "ACCOUNT_UNAVAILABLE", "NONE")
DOUBTFUL = ("REJECTED", 503, "ACCOUNT_OUTCOME_UNKNOWN", "UNKNOWN")

# Correlation ids of clients, which are no order ids: those are the resolver's.
_correlations = itertools.count(1 << 32)


def refused(code, reason):
    """The end of an order that Account refused."""
    return ("REJECTED", code, reason, "NONE")


def new_correlation():
    """An id by which a peer finds a call of this test, and of no other."""
    return next(_correlations)


def place(whole, account_id, side="BUY", correlation=None, **fields):
    """An order for an account; what became of it (status, code, reason, hold), and its row."""
    payload = wire.place_request(side=side, **fields).SerializeToString()
    with whole.client(account_id) as client:
        frame = client.ask(wire.PLACE, payload, correlation or new_correlation())
    answer = wire.decode(frame, "OrderResponse")
    row = whole.order(answer.order_id)
    return (wire.status_name(answer.status), answer.code, answer.reason, row["hold"]), row
