"""The checker of holds itself: one that finds nothing wrong must be one that would have found it."""

import account_ledger
import pytest
from load import PRICE, RECEIVE, SETTLE, add_instruments

# (side, order type, quantity, price, reason, hold) of the orders, all of account 1 in AAA.
ORDERS = [
    (1, 1, 7, PRICE, 0, 1),  # held cash
    (2, 1, 9, PRICE, 0, 1),  # held position
    (1, 0, 3, 0, 0, 1),  # MARKET: held cash at the ceiling
    (1, 1, 5, PRICE, 20, 0),  # refused
    (1, 1, 4, PRICE, 26, 2),  # nobody knows
]


@pytest.fixture(scope="module")
def server(make_shared_postgres):
    server = make_shared_postgres()
    with server.connect() as connection:
        add_instruments(connection)
        count = len(ORDERS)
        columns = [[1] * count, [f"key-{n}" for n in range(count)], ["AAA"] * count]
        columns += [[order[i] for order in ORDERS] for i in (0, 1, 2, 3)] + [[0] * count]
        received = connection.execute(RECEIVE, columns).fetchall()
        reasons, holds = [order[4] for order in ORDERS], [order[5] for order in ORDERS]
        connection.execute(SETTLE, [[row[1] for row in received], reasons, holds])
    return server


@pytest.fixture
def connection(server):
    """In a transaction that is rolled back: what a test spoils is whole again for the next."""
    with server.connect() as connection, connection.transaction(force_rollback=True):
        yield connection


@pytest.fixture
def ids(connection):
    """The reserve ids in the order of ORDERS."""
    return [row[0] for row in connection.execute("SELECT reserve_id FROM order_service.orders ORDER BY order_id")]


@pytest.fixture
def holds(ids):
    """What Account has if all is well."""
    return {ids[0]: (1, "EUR", 7 * PRICE), ids[1]: (1, "AAA", 9), ids[2]: (1, "EUR", 3 * 2 * PRICE)}


def test_holds_that_fit_their_orders_have_no_differences(connection, holds, ids):
    assert account_ledger.differences(connection, holds) == []
    holds[ids[4]] = (1, "EUR", 4 * PRICE)
    assert account_ledger.differences(connection, holds) == []


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_hold_that_is_missing_is_found(connection, holds, ids, number):
    del holds[ids[number]]
    (found,) = account_ledger.differences(connection, holds)
    assert f"order {number + 1} " in found and "holds nothing" in found


CHANGES = {
    "account": lambda account, item, amount: (account + 1, item, amount),
    "item": lambda account, item, amount: (account, "BBB", amount),
    "amount": lambda account, item, amount: (account, item, amount + 1),
}


@pytest.mark.parametrize("number", [0, 1, 2, 4])
@pytest.mark.parametrize("what", CHANGES)
def test_a_hold_of_another_account_item_or_amount_is_found(connection, holds, ids, number, what):
    holds[ids[4]] = (1, "EUR", 4 * PRICE)
    holds[ids[number]] = CHANGES[what](*holds[ids[number]])
    (found,) = account_ledger.differences(connection, holds)
    assert f"order {number + 1} " in found


def test_a_hold_of_a_refused_order_and_one_of_no_order_are_found(connection, holds, ids):
    holds[ids[3]] = (1, "EUR", 5 * PRICE)
    holds["nobody's"] = (1, "EUR", 1)
    found = account_ledger.differences(connection, holds)
    assert len(found) == 2 and "still holds" in found[0] and "of no order" in found[1]


def test_a_doubtful_hold_that_was_released_and_is_there_again_is_found(connection, holds, ids):
    connection.execute("UPDATE order_service.orders SET hold = 3 WHERE order_id = 5")
    assert account_ledger.differences(connection, holds) == []
    holds[ids[4]] = (1, "EUR", 4 * PRICE)
    (found,) = account_ledger.differences(connection, holds)
    assert "order 5 " in found and "still holds" in found


@pytest.mark.parametrize("change, text", [("status = 0", "left unsettled"), ("status = 7", "has ended")])
def test_orders_that_cannot_be_held_are_found(connection, holds, change, text):
    connection.execute(f"UPDATE order_service.orders SET {change} WHERE order_id = 1")
    (found,) = account_ledger.differences(connection, holds)
    assert text in found


def test_a_released_hold_is_due_until_it_is_gone(connection, holds, ids):
    connection.execute("SELECT order_service.apply_execution('ex', 1, 'CANCELED')")
    assert account_ledger.differences(connection, holds) == []
    del holds[ids[0]]
    assert account_ledger.differences(connection, holds) == []
