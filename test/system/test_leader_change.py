"""The leader is killed and a synchronous standby promoted under load; the proxy finds it by libpq's list of hosts.

Shows 4 of the issue on crashes and unknown outcomes, the part without HAProxy.
"""

import time

import ledger
import pytest
from bulk import Bench, open_accounts
from pgserver import DATABASE
from prober import Prober
from proxy import ROLE
from soak import sized
from stack import free_port, wait_until

CHANGES = sized(2, 10)
RATE = 500
CONNECTIONS = 16
ORDERS_PER_CHANGE = 5000
# The promise: until the first new order after the change.
OUTAGE_SECONDS_MAX = 10
STEP_SECONDS_MAX = 60
RUN_SECONDS_MAX = 600
REQUESTS_BETWEEN = 500

ORDERS = "SELECT count(*) FROM order_service.orders"
UNSETTLED = "SELECT count(*) FROM order_service.orders WHERE status = 0 OR hold = 2"
STREAMING = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync'"


class Cluster:
    """A leader and its synchronous standby, on two ports that they take turns on."""

    def __init__(self, leader, scratch):
        self.leader = leader
        self.standby = None
        self.ports = [leader.port, free_port()]
        self._scratch = scratch
        self._made = []

    def add_standby(self):
        """A new standby on the port that the leader has not; from now on every commit waits for it."""
        directory = self._scratch / f"{self.leader.directory.name}-{len(self._made)}"
        self.standby = self.leader.standby(directory)
        self._made.append(self.standby)
        self.standby.port = next(port for port in self.ports if port != self.leader.port)
        self.standby.start()
        self.leader.configure(synchronous_standby_names="*")
        wait_until(lambda: self.leader.execute(STREAMING) == [(1,)], STEP_SECONDS_MAX, "a synchronous standby")

    def change(self):
        """Kill the leader and promote its standby."""
        self.leader.kill9()
        self.leader = self.standby
        assert self.leader.execute("SELECT pg_promote()") == [(True,)]

    def remove(self):
        for server in self._made:
            server.remove()


@pytest.fixture
def cluster(make_postgres, kafka, topic, scratch):
    leader = make_postgres(kafka=kafka, topic=topic)
    cluster = Cluster(leader, scratch)
    yield cluster
    cluster.remove()


@pytest.mark.soak
def test_a_leader_change_loses_no_acknowledged_order(make_whole, cluster, topic, read_topic, tmp_path):
    hosts, ports = ",".join(["127.0.0.1"] * 2), ",".join(str(port) for port in cluster.ports)
    writer = f"host={hosts} port={ports} user={ROLE} dbname={DATABASE} target_session_attrs=read-write"
    # Account has more time than it needs: its breaker is not what is tested.
    patient = {"account.attempt_timeout": "400ms", "account.overall_timeout": "800ms"}
    settings = {"database.writer": writer, **patient}
    whole = make_whole(postgres=cluster.leader, topic=topic, variant="asan", settings=settings)
    bench = Bench(whole, open_accounts(whole), tmp_path, CHANGES * ORDERS_PER_CHANGE, CONNECTIONS, rate=RATE)
    prober = Prober(whole)
    prober.start()
    bench.start()
    print()
    for number in range(CHANGES):
        cluster.add_standby()
        goal = cluster.leader.execute(ORDERS)[0][0] + REQUESTS_BETWEEN
        wait_until(lambda goal=goal: cluster.leader.execute(ORDERS)[0][0] >= goal, STEP_SECONDS_MAX, "orders")
        assert bench.is_running
        killed = time.monotonic()
        cluster.change()
        goal = cluster.leader.execute(ORDERS)[0][0]
        wait_until(
            lambda goal=goal: cluster.leader.execute(ORDERS)[0][0] > goal,
            OUTAGE_SECONDS_MAX - (time.monotonic() - killed),
            "a new order",
        )
        print(f"change {number + 1}: first new order {time.monotonic() - killed:.1f} s after the kill")
    whole.postgres = cluster.leader
    bench.join(RUN_SECONDS_MAX)
    prober.stop()
    wait_until(lambda: cluster.leader.execute(UNSETTLED) == [(0,)], STEP_SECONDS_MAX, "end of all doubts")
    log = bench.log
    log.placed.update(prober.answers)
    print(
        f"{len(log)} answers, codes {log.codes()}; longest time without an order accepted: {prober.longest:.1f} s;"
        f" {cluster.leader.execute('SELECT pg_walfile_name(pg_current_wal_lsn())')[0][0][:8]} is the timeline"
    )
    assert all(code == 200 or 400 <= code < 500 or code in (503, 504) for code in log.codes())
    with cluster.leader.connect() as connection:
        found = log.broken_promises(connection)
    found += whole.differences(read_topic)
    assert not found, ledger.show(found)
