"""A leader and its synchronous standby, and the two ways in which a proxy finds them: a list of hosts, and HAProxy.

The fixture make_cluster makes one; a test that uses it runs once for each way.
"""

import ledger
from balancer import HAProxy, RoleService
from bulk import merged
from pgserver import DATABASE
from proxy import ROLE
from stack import free_port, wait_until

HOST_LIST, HAPROXY = WAYS = ("host list", "HAProxy")
# What the proxy's connections are called in pg_stat_activity.
WRITER, READER = "order-writer", "order-reader"
STEP_SECONDS_MAX = 60

STREAMING = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync'"
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
# On a leader without its standby a commit waits for ever, also when its client has left.
ABANDONED = f"{CONNECTIONS} AND wait_event = 'SyncRep'"
UNSETTLED = "SELECT count(*) FROM order_service.orders WHERE status = 0 OR hold = 2"
WAL_FILE = "SELECT pg_walfile_name(pg_current_wal_lsn())"


class Cluster:
    """Two servers on two ports that they take turns on. way: HOST_LIST or HAPROXY."""

    def __init__(self, leader, scratch, way):
        self.leader = leader
        self.standby = None
        self.ports = [leader.port, free_port()]
        self._scratch = scratch
        self._made = []
        self._roles = []
        self._balancer = None
        if way == HAPROXY:
            self._roles = [RoleService(port) for port in self.ports]
            servers = [(port, role.port) for port, role in zip(self.ports, self._roles)]
            self._balancer = HAProxy(scratch / f"{leader.directory.name}-haproxy", servers)
            self._balancer.start()

    @property
    def settings(self):
        """The proxy's: where it finds the writer and the readers."""
        common = f"user={ROLE} dbname={DATABASE}"
        if self._balancer is not None:
            writer = f"host=127.0.0.1 port={self._balancer.writer_port}"
            reader = f"host=127.0.0.1 port={self._balancer.reader_port}"
        else:
            hosts = f"host={','.join(['127.0.0.1'] * len(self.ports))} port={','.join(map(str, self.ports))}"
            writer, reader = f"{hosts} target_session_attrs=read-write", f"{hosts} target_session_attrs=standby"
        return {
            "database.writer": f"{writer} {common} application_name={WRITER}",
            "database.reader": f"{reader} {common} application_name={READER}",
        }

    def add_standby(self):
        """A new standby on the port that the leader has not; from now on every commit waits for it."""
        directory = self._scratch / f"{self.leader.directory.name}-{len(self._made)}"
        self.standby = self.leader.standby(directory)
        self._made.append(self.standby)
        self.standby.port = next(port for port in self.ports if port != self.leader.port)
        self.standby.start()
        self.leader.configure(synchronous_standby_names="*")
        wait_until(lambda: self.leader.execute(STREAMING) == [(1,)], STEP_SECONDS_MAX, "a synchronous standby")

    def promote(self):
        """The standby is the leader, whatever the leader does."""
        self.leader, self.standby = self.standby, None
        assert self.leader.execute("SELECT pg_promote()") == [(True,)]

    def change(self):
        """Kill the leader and promote its standby."""
        self.leader.kill9()
        self.promote()

    def remove(self):
        if self._balancer is not None:
            self._balancer.remove()
        for role in self._roles:
            role.stop()
        for server in self._made:
            server.remove()


def connection_count(server, name):
    """How many connections of that application name a server has."""
    return server.execute(CONNECTIONS, [name])[0][0]


def timeline(leader):
    """The number that a promotion counts up."""
    return int(leader.execute(WAL_FILE)[0][0][:8], 16)


def writer_count(proxy):
    """How many connections to the writer a proxy says that it has."""
    metrics = proxy.metrics()
    return sum(int(metrics[f'pg_connections{{pool="writer",state="{state}"}}']) for state in ("idle", "busy"))


def abandoned_count(old):
    """How many commits of the writer wait on a leader that was left behind."""
    return old.execute(ABANDONED, [WRITER])[0][0]


def wait_all_writers_on_leader(cluster, proxy, other=None):
    """And none on the other server (the standby, unless one is given): who looks for the leader does not stay there."""
    other = other or cluster.standby

    def is_so():
        count = connection_count(cluster.leader, WRITER)
        count_there = connection_count(other, WRITER) - abandoned_count(other)
        return count > 0 and (count, count_there) == (writer_count(proxy), 0)

    wait_until(is_so, STEP_SECONDS_MAX, "all connections of the writer on the leader")


def end_of_changes(cluster, whole, prober, logs):
    """After the last change: the prober stops, all doubts end, the writers are on the leader. All answers, as one log."""
    whole.postgres = cluster.leader
    cluster.add_standby()
    prober.stop()
    wait_until(lambda: cluster.leader.execute(UNSETTLED) == [(0,)], STEP_SECONDS_MAX, "end of all doubts")
    wait_all_writers_on_leader(cluster, whole.proxy)
    log = merged(logs)
    log.placed.update(prober.answers)
    return log


def check_answers(log, whole, read_topic):
    """Only codes that promise nothing false, and every answer kept: by the tables, Account and Kafka."""
    assert all(code == 200 or 400 <= code < 500 or code in (503, 504) for code in log.codes())
    with whole.postgres.connect() as connection:
        found = log.broken_promises(connection)
    found += whole.differences(read_topic)
    assert not found, ledger.show(found)
