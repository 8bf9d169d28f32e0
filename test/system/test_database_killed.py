"""PostgreSQL killed and started again under load: what was acknowledged is there, and every request is answered.

Shows 3 of the issue on crashes and unknown outcomes. Sometimes only the postmaster is killed, whose children end by
themselves, sometimes all at once.
"""

import os
import random
import signal
import subprocess
import time

import ledger
import pytest
import wire
from bulk import NO_ORDER, Bench, open_accounts
from host import program
from prober import Prober
from soak import sized
from stack import wait_until

KILLS = sized(2, 20)
# Some are refused while it is away.
ORDERS_PER_KILL = 2500
RATE = 500
CONNECTIONS = 16
RUN_SECONDS_MAX = 600
# What the issue allows for the last hold.
HOLD_SECONDS_MAX = 120
SEED = 20
UNKNOWN_OUTCOME = 504
# Requests run out of time soon. Account has more than it needs: its breaker is not what is tested.
SETTINGS = {"listen.request_timeout": "1s", "account.attempt_timeout": "400ms", "account.overall_timeout": "800ms"}
# orderctl asks the proxy for each key; of many unknown outcomes, the rest are asked for on one connection.
ORDERCTL_MAX = sized(20, 500)

ORDERS = "SELECT count(*) FROM order_service.orders"
UNSETTLED = "SELECT count(*) FROM order_service.orders WHERE status = 0 OR hold = 2"


def kill(postgres, everything):
    """SIGKILL to the postmaster, or to every process; both end with nothing running."""
    if everything:
        postgres.kill9()
    else:
        os.kill(postgres.pid, signal.SIGKILL)
        wait_until(lambda: not postgres.is_running, 60, "end of the postmaster's children")


def outcome_by_orderctl(whole, session, key):
    """What `orderctl get --key` says: (exit status, output)."""
    command = [str(program("orderctl")), "--server", whole.proxy.address, "get", "--key", key]
    environment = {**os.environ, "ORDER_SESSION": session}
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return result.returncode, result.stdout


def check_unknown_outcomes(whole, keys):
    """Of each key, the table and its owner's question agree on what became of it; how many were recorded."""
    query = (
        "SELECT k.key, k.account_id, k.order_id FROM order_service.idempotency_key k WHERE k.key = ANY(%s)"
        " ORDER BY k.account_id"
    )
    recorded = {key: (account, order_id) for key, account, order_id in whole.postgres.execute(query, [keys])}
    stranger = whole.new_account()
    sessions = {account: whole.open_session(account) for account in {stranger, *(a for a, _ in recorded.values())}}
    with whole.client() as client:
        for number, key in enumerate(keys):
            account, order_id = recorded.get(key, (stranger, NO_ORDER))
            try:
                found = client.get(idempotency_key=key, session_id=sessions[account]).order_id
            except wire.Refused as error:
                assert error.code == 404, error
                found = NO_ORDER
            assert found == order_id
            if number < ORDERCTL_MAX:
                status, output = outcome_by_orderctl(whole, sessions[account], key)
                assert (status == 0) == (order_id != NO_ORDER), output
                assert (str(order_id) if order_id != NO_ORDER else "UNKNOWN_ORDER") in output
    return len(recorded)


@pytest.mark.soak
def test_postgresql_killed_under_load_loses_nothing_that_was_acknowledged(
    make_whole, kafka, topic, read_topic, tmp_path
):
    rng = random.Random(SEED)
    whole = make_whole(kafka=kafka, topic=topic, variant="asan", settings=SETTINGS)
    orders = (KILLS + 1) * ORDERS_PER_KILL
    bench = Bench(whole, open_accounts(whole), tmp_path, orders, CONNECTIONS, rate=RATE)
    prober = Prober(whole)
    prober.start()
    bench.start()
    for number in range(KILLS):
        goal = whole.postgres.execute(ORDERS)[0][0] + rng.randrange(ORDERS_PER_KILL // 3)
        wait_until(lambda goal=goal: whole.postgres.execute(ORDERS)[0][0] >= goal, 60, f"orders before kill {number + 1}")
        assert bench.is_running
        refusals = prober.refusal_count()
        kill(whole.postgres, everything=number % 2 == 0)
        # Away for so long that requests run out of time.
        wait_until(lambda refusals=refusals: prober.refusal_count() > refusals, 60, "a request that ran out of time")
        whole.postgres.start()
    bench.join(RUN_SECONDS_MAX)
    prober.stop()
    ended = time.monotonic()
    wait_until(lambda: whole.postgres.execute(UNSETTLED) == [(0,)], HOLD_SECONDS_MAX, "end of all doubts")
    settled = time.monotonic() - ended

    log = bench.log
    log.placed.update(prober.answers)
    unknown = [key for key, (_, code, _) in {**log.placed, **log.canceled}.items() if code == UNKNOWN_OUTCOME]
    recorded = check_unknown_outcomes(whole, unknown)
    print(
        f"\nseed {SEED}: {KILLS} kills; {len(log)} answers, codes {log.codes()};"
        f" longest time without an order accepted: {prober.longest:.1f} s; 504: {len(unknown)}, {recorded} recorded;"
        f" all settled {settled:.1f} s after the load"
    )
    for code in log.codes():
        assert code == 200 or 400 <= code < 500 or code in (503, UNKNOWN_OUTCOME)
    with whole.postgres.connect() as connection:
        found = log.broken_promises(connection)
    found += whole.differences(read_topic)
    assert not found, ledger.show(found)
