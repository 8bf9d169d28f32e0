"""Orders at full speed while what the proxy depends on fails: no promise is broken, and every debt is paid.

Account loses calls before and after it has acted on them, the database loses connections in the middle of batches or
crashes. At the end: the ledger check, with every order settled and no hold left of which nobody knows.
"""

import ledger
import pytest
from bulk import Bench, open_accounts
from stack import wait_until
from whole import BREAKER_OFF

ORDERS = 20_000
# Of these, every tenth leaves a debt, and a proxy pays some sixty a second.
ORDERS_FAULTY = 5000
CONNECTIONS = 32
RUN_SECONDS_MAX = 120
# A debt may have to wait for its second and third turn.
DEBT_SECONDS_MAX = 60
KILLS = 3

# What Account does wrong, in percent of the calls that nothing above has hit.
FAULTS = [
    {"kind": "status", "status": "UNAVAILABLE", "percent": 3},
    {"kind": "status", "status": "UNAVAILABLE", "percent": 3, "when": "after"},
    {"kind": "status", "status": "INTERNAL", "percent": 2, "when": "after"},
    {"kind": "result", "result": "INTERNAL_ERROR", "percent": 1, "when": "after"},
    {"kind": "result", "result": "ACCOUNT_SUSPENDED", "percent": 1},
    {"kind": "reset", "percent": 1, "when": "after"},
    {"kind": "delay", "delay_ms": 70, "percent": 1, "when": "after"},
    {"kind": "hang", "percent": 1},
    {"kind": "hang", "percent": 1, "when": "after"},
    {"kind": "drop", "percent": 0.1, "when": "after"},
]


@pytest.fixture
def whole(make_whole, kafka, topic):
    """With the build that has the sanitizers: what is done only when something fails is done here.

    A breaker would keep the orders from the faults.
    """
    return make_whole(kafka=kafka, topic=topic, variant="asan", settings=BREAKER_OFF)


def wait_for_debts(whole):
    """Until every order is settled and no hold is in doubt; releases may still be due."""
    open_query = "SELECT count(*) FROM order_service.orders WHERE status = 0 OR hold = 2"
    wait_until(lambda: whole.postgres.execute(open_query) == [(0,)], DEBT_SECONDS_MAX, "end of all doubts")


def check(whole, bench, read_topic):
    """Print what happened; the full check."""
    with whole.postgres.connect() as connection:
        found = bench.log.broken_promises(connection)
        holds = connection.execute(
            "SELECT order_service.hold_name(hold), count(*) FROM order_service.orders GROUP BY hold ORDER BY hold"
        ).fetchall()
    found += whole.differences(read_topic)
    print(f"\n{len(bench.log)} answers; codes {bench.log.codes()}; holds {dict(holds)}")
    assert not found, ledger.show(found)


def test_an_account_service_that_loses_calls_leaves_no_hold_behind(whole, read_topic, tmp_path):
    bench = Bench(whole, open_accounts(whole), tmp_path, ORDERS_FAULTY, CONNECTIONS)
    whole.account.faults(FAULTS)
    bench.start()
    bench.join(RUN_SECONDS_MAX)
    hits = [(fault["kind"], fault["hits"]) for fault in whole.account.fault_list()]
    whole.account.clear_faults()
    wait_for_debts(whole)
    print(f"\nfaults: {hits}")
    check(whole, bench, read_topic)
    assert bench.log.codes().keys() <= {200, 402, 403, 409, 503}
    assert bench.log.codes()[503] > 0


def terminate_backends(whole):
    query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'order_proxy'"
    assert whole.postgres.execute(query)[0][0] > 0


def crash(whole):
    whole.postgres.kill9()
    whole.postgres.start()


def restart_account(whole):
    whole.account.kill9()
    whole.account.start()


@pytest.mark.parametrize("attack", [terminate_backends, crash, restart_account], ids=lambda attack: attack.__name__)
def test_a_server_that_dies_under_load_takes_no_order_with_it(whole, read_topic, tmp_path, attack):
    bench = Bench(whole, open_accounts(whole), tmp_path, ORDERS, CONNECTIONS)
    orders = "SELECT count(*) FROM order_service.orders"
    bench.start()
    attacks = 0
    for number in range(1, KILLS + 1):
        goal = number * ORDERS // (KILLS + 2)
        wait_until(lambda: whole.postgres.execute(orders)[0][0] >= goal or not bench.is_running, 60, f"{goal} orders")
        if bench.is_running:
            attack(whole)
            attacks += 1
    bench.join(RUN_SECONDS_MAX)
    wait_for_debts(whole)
    check(whole, bench, read_topic)
    print(f"attacked {attacks} times")
    assert attacks > 0
