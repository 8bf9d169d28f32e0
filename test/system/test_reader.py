"""Reads go to a replica, fall back to the leader while there is none, and come back.

That an answer came from the replica is seen by its age: the replica does not replay, so it tells of an order as it was.
"""

import time

import pytest
from cluster import READER, STEP_SECONDS_MAX, connection_count
from stack import wait_until
from wire import new_key, status_name

# A read that the replica does not answer costs its time limit, and one more where several were under way.
READ_SECONDS_MAX = 5

PAUSED = "SELECT pg_get_wal_replay_pause_state() = 'paused'"
STATUS = "SELECT order_service.status_name(status) FROM order_service.orders WHERE order_id = %s"


@pytest.fixture
def cluster(make_cluster, make_postgres):
    return make_cluster(make_postgres())


@pytest.fixture
def whole(make_whole, cluster):
    """A proxy that reads from the replica, with a client's account."""
    whole = make_whole(postgres=cluster.leader, settings=cluster.settings)
    cluster.add_standby()
    return whole


class Replica:
    """The standby as the reader; its replay can be held."""

    def __init__(self, cluster):
        self.server = cluster.standby

    def wait_used(self):
        """Until the proxy is connected to it."""
        wait_until(lambda: connection_count(self.server, READER) > 0, STEP_SECONDS_MAX, "a reader on the replica")

    def hold(self):
        self.server.execute("SELECT pg_wal_replay_pause()")
        wait_until(lambda: self.server.execute(PAUSED) == [(True,)], STEP_SECONDS_MAX, "a pause of the replay")

    def wait_status(self, order_id, name):
        wait_until(lambda: self.server.execute(STATUS, [order_id]) == [(name,)], STEP_SECONDS_MAX, name)


def order_canceled_behind(client, replica):
    """An order that is ACCEPTED on the replica, which is held from now on, and CANCEL_REQUESTED on the leader."""
    order_id = client.place().order_id
    replica.wait_status(order_id, "ACCEPTED")
    replica.hold()
    assert client.cancel(order_id).code == 200
    return order_id


def read_statuses(client, order_id):
    """What get and list say of an order, as a set, and the seconds that the slower one took."""
    begun = time.monotonic()
    got = client.get(order_id=order_id)
    middle = time.monotonic()
    (listed,) = [order for order in client.list(after_order_id=order_id - 1).orders if order.order_id == order_id]
    seconds = max(middle - begun, time.monotonic() - middle)
    return {status_name(got.status), status_name(listed.status)}, seconds


def wait_read_from_replica(client, order_id):
    """An answer that the replica gives too late comes from the leader, so this may take more than one look."""
    wait_until(
        lambda: read_statuses(client, order_id)[0] == {"ACCEPTED"}, STEP_SECONDS_MAX, "answers from the replica"
    )


def test_reads_go_to_the_replica_and_to_the_leader_while_it_is_gone(whole, cluster):
    replica = Replica(cluster)
    replica.wait_used()
    with whole.client(whole.new_account()) as client:
        order_id = order_canceled_behind(client, replica)
        wait_read_from_replica(client, order_id)

        replica.server.kill9()
        statuses, seconds = read_statuses(client, order_id)
        print(f"\nthe first reads after the kill took up to {seconds:.3f} s")
        assert statuses == {"CANCEL_REQUESTED"} and seconds < READ_SECONDS_MAX

        replica.server.start()
        replica.wait_used()
        order_id = order_canceled_behind(client, replica)
        wait_read_from_replica(client, order_id)


def test_a_replica_that_hangs_costs_a_read_its_time_limit_and_no_answer(whole, cluster):
    replica = Replica(cluster)
    replica.wait_used()
    with whole.client(whole.new_account()) as client:
        order_id = order_canceled_behind(client, replica)
        replica.server.freeze()
        times = []
        for _ in range(20):
            statuses, seconds = read_statuses(client, order_id)
            assert statuses == {"CANCEL_REQUESTED"}
            times.append(seconds)
        replica.server.thaw()
        print(f"\nreads from a replica that hangs took up to {max(times):.3f} s, the last one {times[-1]:.3f} s")
        assert max(times) < READ_SECONDS_MAX
        replica.wait_used()
        wait_read_from_replica(client, order_id)


def test_an_order_that_was_just_placed_is_found_also_while_the_replica_lags(whole, cluster):
    replica = Replica(cluster)
    replica.wait_used()
    with whole.client(whole.new_account()) as client:
        replica.hold()
        key = new_key()
        order_id = client.place(idempotency_key=key).order_id
        assert replica.server.execute(STATUS, [order_id]) == []
        assert client.get(order_id=order_id).order_id == order_id
        assert client.get(idempotency_key=key).order_id == order_id


def test_orders_are_read_from_the_replica_while_the_leader_is_gone(whole, cluster):
    replica = Replica(cluster)
    replica.wait_used()
    account = whole.new_account()
    with whole.client(account) as client:
        order_id = client.place().order_id
        session = whole.open_session(account)
        replica.wait_status(order_id, "ACCEPTED")
        cluster.leader.kill9()
        assert read_statuses(client, order_id)[0] == {"ACCEPTED"}
    with whole.client() as client:
        client.login(session)
        assert read_statuses(client, order_id)[0] == {"ACCEPTED"}
