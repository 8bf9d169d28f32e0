"""The leader is killed and a synchronous standby promoted under load; the proxy finds it by a list of hosts, or HAProxy.

Shows 4 of the issue on crashes and unknown outcomes.
"""

import time

import pytest
from bulk import Bench, open_accounts
from cluster import (
    STEP_SECONDS_MAX,
    WRITER,
    check_answers,
    connection_count,
    end_of_changes,
    timeline,
    wait_all_writers_on_leader,
    writer_count,
)
from pgserver import DATABASE
from prober import Prober
from proxy import ROLE
from soak import sized
from stack import wait_until

CHANGES = sized(2, 10)
RATE = 500
CONNECTIONS = 16
ORDERS_PER_CHANGE = 5000
# The promise: until the first new order after the change.
OUTAGE_SECONDS_MAX = 10
RUN_SECONDS_MAX = 600
REQUESTS_BETWEEN = 500

ORDERS = "SELECT count(*) FROM order_service.orders"
# Account has more time than it needs: its breaker is not what is tested.
PATIENT = {"account.attempt_timeout": "400ms", "account.overall_timeout": "800ms"}


@pytest.fixture
def cluster(make_cluster, make_postgres, kafka, topic):
    return make_cluster(make_postgres(kafka=kafka, topic=topic))


def change_under_load(cluster, whole, bench):
    """Start the load, kill the leader in it, and wait for the first new order; how long that took."""
    goal = cluster.leader.execute(ORDERS)[0][0] + REQUESTS_BETWEEN
    bench.start()
    wait_until(lambda: cluster.leader.execute(ORDERS)[0][0] >= goal, STEP_SECONDS_MAX, "orders")
    assert bench.is_running
    wait_all_writers_on_leader(cluster, whole.proxy)
    killed = time.monotonic()
    cluster.change()
    count = cluster.leader.execute(ORDERS)[0][0]
    left = OUTAGE_SECONDS_MAX - (time.monotonic() - killed)
    wait_until(lambda: cluster.leader.execute(ORDERS)[0][0] > count, left, "a new order")
    return time.monotonic() - killed


@pytest.mark.soak
def test_a_leader_change_loses_no_acknowledged_order(make_whole, cluster, topic, read_topic, tmp_path):
    whole = make_whole(postgres=cluster.leader, topic=topic, variant="asan", settings={**cluster.settings, **PATIENT})
    sessions = open_accounts(whole)
    prober = Prober(whole)
    prober.start()
    logs = []
    print()
    for number in range(CHANGES):
        cluster.add_standby()
        directory = tmp_path / str(number)
        directory.mkdir()
        bench = Bench(whole, sessions, directory, ORDERS_PER_CHANGE, CONNECTIONS, rate=RATE)
        seconds = change_under_load(cluster, whole, bench)
        print(f"change {number + 1}: first new order {seconds:.1f} s after the kill")
        bench.join(RUN_SECONDS_MAX)
        logs.append(bench.log)
    log = end_of_changes(cluster, whole, prober, logs)
    print(
        f"{len(log)} answers, codes {log.codes()}; {CHANGES} kills;"
        f" longest time without an order accepted: {prober.longest:.1f} s;"
        f" timeline {timeline(cluster.leader)}; all {writer_count(whole.proxy)} connections of the writer on the leader"
    )
    check_answers(log, whole, read_topic)


def test_a_leader_that_turns_read_only_keeps_no_connection_and_is_found_again(make_postgres, make_whole):
    postgres = make_postgres()
    writer = f"host=127.0.0.1 port={postgres.port} user={ROLE} dbname={DATABASE} application_name={WRITER}"
    settings = {"database.writer": writer, "listen.request_timeout": "1s", **PATIENT}
    whole = make_whole(postgres=postgres, settings=settings)
    prober = Prober(whole)
    prober.start()
    wait_until(lambda: postgres.execute(ORDERS)[0][0] > 0, STEP_SECONDS_MAX, "an order")
    assert connection_count(postgres, WRITER) > 0
    postgres.configure(default_transaction_read_only="on")
    wait_until(lambda: not whole.proxy.ready(), STEP_SECONDS_MAX, "a proxy that knows")
    wait_until(lambda: connection_count(postgres, WRITER) == 0, STEP_SECONDS_MAX, "no connection")
    wait_until(lambda: prober.refusal_count() > 0, STEP_SECONDS_MAX, "an order refused")
    postgres.configure(default_transaction_read_only=None)
    count = postgres.execute(ORDERS)[0][0]
    wait_until(lambda: postgres.execute(ORDERS)[0][0] > count, STEP_SECONDS_MAX, "a new order")
    prober.stop()
    refused = prober.refusal_count()
    print(f"\n{len(prober.answers)} orders, {refused} of them refused; longest {prober.longest:.1f} s without one accepted")
    assert {code for _, code, _ in prober.answers.values()} <= {200, 503, 504}
