"""The other half of the ledger check: what Account holds must be what the orders say it holds.

differences(connection, holds)    what is held without need, not held, or held with another amount; [] if all is well

A hold is known by its reserve_id. HELD must be there with the amount of the order, NONE must not be there, UNKNOWN may
be. RELEASE_DUE is there until the resolver has paid it; where the placement was refused, it has been released once
already, and waits for the second time.
"""

from collections import namedtuple

NONE, HELD, UNKNOWN, RELEASE_DUE = range(4)
RECEIVED = 0
LIVE = (1, 2, 3, 5)
BUY = 1
OK = 200

Order = namedtuple(
    "Order", "order_id account_id side order_type quantity price ceiling symbol currency status code hold reserve_id"
)

QUERY = """
SELECT o.order_id, o.account_id, o.side, o.order_type, o.quantity, o.price, i.price_ceiling, o.symbol,
       i.currency, o.status, o.code, o.hold, coalesce(o.reserve_id, '')
FROM order_service.orders o JOIN order_service.instrument i USING (symbol) ORDER BY o.order_id"""


def amount_of(order):
    """What the contract says is reserved: micro-units of cash for a BUY, units for a SELL."""
    if order.side != BUY:
        return order.quantity
    return order.quantity * (order.ceiling if order.order_type == 0 else order.price)


def differences(connection, holds):
    """`holds`: {reserve_id: (account id, symbol or currency, amount)}, as Account tells of what it holds now."""
    orders = [Order(*row) for row in connection.execute(QUERY)]
    found, known = [], set()
    for order in orders:
        known.add(order.reserve_id)
        found += _check(order, holds.get(order.reserve_id))
    found += [f"hold {reserve_id} of no order: {holds[reserve_id]}" for reserve_id in holds.keys() - known]
    return found


def _check(order, hold):
    name = f"order {order.order_id} (status {order.status}, hold {order.hold})"
    if order.status == RECEIVED:
        return [f"{name}: left unsettled"]
    is_released = order.hold == NONE or (order.hold == RELEASE_DUE and order.code != OK)
    if is_released and hold is not None:
        return [f"{name}: Account still holds {hold}"]
    if order.hold == HELD and hold is None:
        return [f"{name}: Account holds nothing"]
    if order.hold == HELD and order.status not in LIVE:
        return [f"{name}: held for an order that has ended"]
    if hold is not None:
        expected = (order.account_id, order.currency if order.side == BUY else order.symbol, amount_of(order))
        if tuple(hold) != expected:
            return [f"{name}: Account holds {tuple(hold)}, not {expected}"]
    return []
