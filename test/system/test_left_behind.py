"""A leader hangs, its standby is promoted, and it comes back: it takes itself for the leader, but accepts no order.

Shows 4 of the issue on crashes and unknown outcomes. Nobody tells the old leader, and HAProxy is told by both that they
lead, so that only the proxy itself can keep away from the one on the earlier timeline.
"""

import time

import pytest
from bulk import Bench, open_accounts
from cluster import (
    STEP_SECONDS_MAX,
    abandoned_count,
    check_answers,
    end_of_changes,
    timeline,
    wait_all_writers_on_leader,
)
from prober import Prober
from soak import sized
from stack import wait_until

CHANGES = sized(1, 10)
RATE = 500
CONNECTIONS = 16
# So many that the load goes on well after the old leader is back.
ORDERS_PER_CHANGE = 7500
REQUESTS_BETWEEN = 500
# A call is in doubt for 2 s before another leader is looked for; HAProxy needs as long to leave one that hangs.
OUTAGE_SECONDS_MAX = 20
RUN_SECONDS_MAX = 600

ORDERS = "SELECT count(*) FROM order_service.orders"
IDS = "SELECT order_id FROM order_service.orders"
# Connections are replaced all the time, so that the proxy meets whoever answers. Account has more time than it needs.
SETTINGS = {"database.lifetime": "1s", "account.attempt_timeout": "400ms", "account.overall_timeout": "800ms"}


def more_orders(cluster, count, seconds):
    """Wait until the leader has so many orders more."""
    goal = cluster.leader.execute(ORDERS)[0][0] + count
    wait_until(lambda: cluster.leader.execute(ORDERS)[0][0] >= goal, seconds, f"{count} more orders")


def ids(server):
    return {order_id for (order_id,) in server.execute(IDS)}


def only_there(old, leader):
    """Orders that the old leader shows and the new one has not; and those that waited for its standby for ever.

    The latter come to light at a restart, which nobody must notice: it waits for no standby, and publishes nothing.
    """
    shown = ids(old) - ids(leader)
    old.stop("immediate")
    old.settings.update({"synchronous_standby_names": "", "order_service.publishing": "off"})
    old.start()
    return shown, ids(old) - ids(leader)


def hang_and_replace(cluster, bench):
    """Under load the leader hangs and the standby is promoted; (the old leader, seconds until the first new order)."""
    bench.start()
    more_orders(cluster, REQUESTS_BETWEEN, STEP_SECONDS_MAX)
    assert bench.is_running
    old = cluster.leader
    frozen = time.monotonic()
    old.freeze()
    cluster.promote()
    more_orders(cluster, 1, OUTAGE_SECONDS_MAX)
    return old, time.monotonic() - frozen


@pytest.fixture
def cluster(make_cluster, make_postgres, kafka, topic):
    return make_cluster(make_postgres(kafka=kafka, topic=topic))


@pytest.mark.soak
def test_a_leader_that_was_replaced_while_it_hung_accepts_no_order(make_whole, cluster, topic, read_topic, tmp_path):
    whole = make_whole(postgres=cluster.leader, topic=topic, variant="asan", settings={**cluster.settings, **SETTINGS})
    sessions = open_accounts(whole)
    prober = Prober(whole)
    prober.start()
    logs, hidden = [], set()
    print()
    for number in range(CHANGES):
        cluster.add_standby()
        directory = tmp_path / str(number)
        directory.mkdir()
        bench = Bench(whole, sessions, directory, ORDERS_PER_CHANGE, CONNECTIONS, rate=RATE)
        old, seconds = hang_and_replace(cluster, bench)
        old.thaw()
        assert old.execute("SELECT pg_is_in_recovery()") == [(False,)]
        more_orders(cluster, REQUESTS_BETWEEN, STEP_SECONDS_MAX)
        bench.join(RUN_SECONDS_MAX)
        logs.append(bench.log)
        wait_all_writers_on_leader(cluster, whole.proxy, old)
        waiting = abandoned_count(old)
        shown, recorded = only_there(old, cluster.leader)
        assert not shown, f"the old leader shows {shown}"
        hidden |= recorded
        old.kill9()
        print(
            f"change {number + 1}: first new order after {seconds:.1f} s;"
            f" on the old leader {waiting} commits wait for ever, with {len(recorded)} orders that nobody else has"
        )
    log = end_of_changes(cluster, whole, prober, logs)
    print(
        f"{len(log)} answers, codes {log.codes()}; {CHANGES} leaders left behind;"
        f" longest time without an order accepted: {prober.longest:.1f} s; timeline {timeline(cluster.leader)}"
    )
    answered = {order_id for order_id, code, _ in log.placed.values() if code == 200}
    assert not answered & hidden, f"answered, and only on an old leader: {answered & hidden}"
    check_answers(log, whole, read_topic)


def test_a_proxy_that_starts_while_two_servers_lead_ends_at_the_later_one(make_whole, cluster):
    whole = make_whole(postgres=cluster.leader, settings=cluster.settings)
    session = whole.open_session(whole.new_account())
    cluster.add_standby()
    whole.proxy.stop()
    old = cluster.leader
    old.freeze()
    cluster.promote()
    old.thaw()
    whole.proxy.start()
    begun = time.monotonic()
    with whole.client() as client:
        client.login(session)
        order_id = client.place().order_id
    print(f"\nthe first order was accepted after {time.monotonic() - begun:.1f} s")
    assert order_id in ids(cluster.leader) - ids(old)
    wait_all_writers_on_leader(cluster, whole.proxy, old)
