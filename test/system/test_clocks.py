"""Clocks that differ and a clock that is set back: no time limit, lease or expiry goes wrong.

Shows 6 of the issue on crashes and unknown outcomes. A server is started with a library that changes its wall clock
(peers/other_clock.c). All time limits of the proxy are counted on the monotonic clock, all ages by the database's.
"""

import time
from datetime import datetime

import ledger
import preloaded
import pytest
import wire
from load import PRICE
from stack import wait_until

APART = 600
# The time limit of a RECEIVED order, a lease, and what the resolver needs.
UNDO_SECONDS_MAX = 15

UNSETTLED = "SELECT count(*) FROM order_service.orders WHERE status = 0 OR hold = 2"
OWED = "SELECT count(*) FROM order_service.orders WHERE hold = 3 AND code = 200"


@pytest.fixture(scope="module")
def library(scratch):
    return preloaded.build("other_clock", scratch)


def set_clock(path, seconds):
    path.write_text(str(seconds))
    path.chmod(0o644)


def words(library, path):
    return ("env", f"LD_PRELOAD={library}", f"OTHER_CLOCK={path}")


@pytest.mark.parametrize("ahead", [APART, -APART], ids=["ahead", "behind"])
def test_a_proxy_whose_clock_differs_from_the_databases_works_as_any_other(
    make_whole, kafka, topic, read_topic, library, scratch, ahead
):
    path = scratch / f"clock-of-proxy-{ahead}"
    set_clock(path, ahead)
    whole = make_whole(kafka=kafka, topic=topic, variant="gcc", wrapper=words(library, path))
    account = whole.new_account()
    with whole.client(account) as client:
        answer = client.place()
        assert answer.code == 200
        # The order has the database's time, the log the proxy's.
        assert abs(client.get(order_id=answer.order_id).created_at / 1000 - time.time()) < APART / 2
        logged = datetime.fromisoformat(whole.proxy.log_tail(1).split()[0].replace("Z", "+00:00"))
        assert abs(logged.timestamp() - time.time() - ahead) < APART / 2
        assert client.login(whole.open_session(account, "1 hour")).account_id == account
        # A debt is paid at its time, not ten minutes later, and a session ends at its.
        hang = {"kind": "hang", "when": "after", "method": "ReserveCash", "account_id": account, "times": 2}
        whole.account.faults([hang])
        assert client.place().reason == "ACCOUNT_OUTCOME_UNKNOWN"
        assert client.cancel(answer.order_id).code == 200
    report = "SELECT order_service.apply_execution(%s, %s, 'CANCELED')"
    whole.postgres.execute(report, [wire.new_key(), answer.order_id])
    for query in (UNSETTLED, OWED):
        wait_until(lambda query=query: whole.postgres.execute(query) == [(0,)], UNDO_SECONDS_MAX, "end of all debts")
    found = whole.differences(read_topic)
    assert not found, ledger.show(found)


def test_a_database_whose_clock_is_set_back_leaves_nothing_waiting(
    make_whole, make_postgres, kafka, topic, read_topic, library, scratch
):
    path = scratch / "clock-of-database"
    set_clock(path, APART)
    postgres = make_postgres(kafka=kafka, topic=topic, start=False)
    postgres.variables = {"LD_PRELOAD": str(library), "OTHER_CLOCK": str(path)}
    postgres.start()
    postgres.create_database()
    whole = make_whole(postgres=postgres, topic=topic, variant="gcc")
    account = whole.new_account()
    with whole.client(account) as client:
        ended = [client.place().order_id for _ in range(5)]
        # What a proxy that died leaves: debts that it had leased, and an order that it had received.
        whole.proxy.freeze()
        report = "SELECT order_service.apply_execution('end-' || id, id, 'EXPIRED') FROM unnest(%s::bigint[]) AS id"
        postgres.execute(report, [ended])
        assert postgres.execute("SELECT count(*) FROM order_service.claim_unsettled(100, '7 s')") == [(5,)]
        receive = "SELECT order_id FROM order_service.receive_orders(%s, '{left}', '{AAA}', '{1}', '{1}', '{10}', %s, '{0}')"
        (left,) = postgres.execute(receive, [[account], [PRICE]])[0]
        before = postgres.execute("SELECT clock_timestamp()")[0][0]
        set_clock(path, 0)
        assert postgres.execute("SELECT clock_timestamp()")[0][0] < before
        whole.proxy.thaw()
        for query in (UNSETTLED, OWED):
            wait_until(lambda query=query: postgres.execute(query) == [(0,)], UNDO_SECONDS_MAX, "end of all debts")
        assert whole.order(left)["reason"] == "EXPIRED_BEFORE_ACCEPTANCE"
        answer = client.place()
        assert answer.code == 200
        assert client.cancel(answer.order_id).code == 200
    found = whole.differences(read_topic)
    assert not found, ledger.show(found)
