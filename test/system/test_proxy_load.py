"""Orders at full speed through the whole path, with repeated keys and cancels: nothing is lost, doubled or left.

The long form (soak.py) places 240,000. Both hold the event loop to its promise never to block: no turn works or blocks
for long. How long turns take with their waits for a processor is another matter on a machine that has other things to
do: there the proxy has the priority of deploy/systemd, where the user of the tests may give it, and the long form counts
those waits, too.
"""

import threading
import uuid

import ledger
import pytest
import service
import wire
from bulk import CANCEL_PERCENT, CONNECTIONS, REPEAT_PERCENT, Bench, open_accounts
from soak import IS_SOAK, sized
from stack import wait_until

ORDERS = sized(20_000, 240_000)
RUN_SECONDS_MAX = sized(120, 600)

# The promise.
TURN_SECONDS_MAX = 0.020
# What memory may grow by in the second half of the run: nothing, but for the noise of an allocator. The short run is
# over when the proxy has just reached its size.
GROWTH_BYTES_MAX = sized(8, 1) * 1024 * 1024
SAMPLE_SECONDS = 0.05


class Memory(threading.Thread):
    """Samples the resident bytes of a process until stop()."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.path = f"/proc/{pid}/status"
        self.samples = []
        self._stopping = threading.Event()

    def run(self):
        while not self._stopping.wait(SAMPLE_SECONDS):
            with open(self.path, encoding="ascii") as file:
                self.samples.append(next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS:")))

    def stop(self):
        self._stopping.set()
        self.join()

    def halves(self):
        """The largest sample of each half of the run."""
        middle = len(self.samples) // 2
        return max(self.samples[:middle]), max(self.samples[middle:])


# A shared machine may stop Account for longer than the usual 50 ms, which at full speed opens the circuit breaker: not
# what these tests are about.
PATIENT = {"account.attempt_timeout": "2s", "account.overall_timeout": "4s"}


@pytest.fixture
def whole(make_whole, make_postgres, make_account, kafka, topic):
    """Names are resolved and database connections replaced all the time."""
    postgres = make_postgres(kafka=kafka, topic=topic)
    account = make_account()
    settings = {
        "database.writer": f"host=localhost port={postgres.port} user=order_proxy dbname=orders",
        "database.lifetime": "1s",
        "account.endpoints": f"localhost:{account.port}",
        **PATIENT,
    }
    return make_whole(postgres, account, topic=topic, settings=settings)


def batches(metrics, kind):
    """(calls, items, {upper bound: calls}) of the histogram of batch sizes."""
    label = f'kind="{kind}"'
    buckets, below = {}, 0
    for name, value in metrics.items():
        if name.startswith("store_batch_items_bucket{") and label in name:
            bound = name.split('le="')[1].split('"')[0]
            buckets[bound], below = int(value - below), value
    count, total = (int(metrics[f"store_batch_items_{part}{{{label}}}"]) for part in ("count", "sum"))
    return count, total, buckets


@pytest.mark.soak
@pytest.mark.timeout(RUN_SECONDS_MAX + 300)
def test_every_order_at_full_speed_is_answered_recorded_held_and_published_once(whole, read_topic, tmp_path):
    bench = Bench(whole, open_accounts(whole), tmp_path, ORDERS)
    (pid,) = whole.proxy.processes()
    has_priority = service.prioritize(pid)
    memory = Memory(pid)
    memory.start()
    bench.start()
    bench.join(RUN_SECONDS_MAX)
    memory.stop()
    log = bench.log
    metrics = whole.proxy.metrics()
    wait_until(lambda: whole.proxy.metrics()["requests_in_flight"] == 0, 20, "nothing in flight")
    with whole.postgres.connect() as connection:
        found = log.broken_promises(connection)
    found += whole.differences(read_topic)
    first, second = memory.halves()
    longest, longest_own = metrics["loop_turn_longest_seconds"], metrics["loop_turn_longest_own_seconds"]
    calls, items, buckets = batches(metrics, "receive")
    print(f"\n{bench.output}")
    print(f"{len(log.placed)} orders, {len(log.repeated)} repeated, {len(log.canceled)} cancels; codes {log.codes()}")
    print(f"batches of receive: {calls} calls, {items / calls:.1f} orders each; by size: {buckets}")
    print(
        f"longest turn of the loop {longest_own * 1000:.1f} ms, {longest * 1000:.1f} ms with waits for a processor"
        f" ({'with' if has_priority else 'without'} the priority of the service),"
        f" with {connects(metrics):.0f} database connections made"
        f" and {metrics['dns_queries_total']:.0f} names resolved"
    )
    print(f"memory at most {first / 2**20:.1f} MiB in the first half, {second / 2**20:.1f} MiB in the second")
    assert not found, ledger.show(found)
    assert len(log) == ORDERS
    assert log.codes().keys() <= {200, 402}
    assert len(log.repeated) > ORDERS * REPEAT_PERCENT / 200 and len(log.canceled) > ORDERS * CANCEL_PERCENT / 200
    assert items / calls > 2, "orders were not gathered"
    # The sanitizers keep what was freed.
    assert second <= first + GROWTH_BYTES_MAX or whole.proxy.variant == "asan"
    assert longest_own < TURN_SECONDS_MAX
    assert longest < TURN_SECONDS_MAX or not (IS_SOAK and has_priority)
    assert not IS_SOAK or connects(metrics) > 8


def connects(metrics):
    return sum(value for name, value in metrics.items() if name.startswith("pg_connects_total"))


def test_one_key_asked_for_by_many_connections_at_once_is_one_order(whole):
    """The same request on 64 connections at the same time, again and again."""
    account = whole.new_account()
    clients = [whole.client(account) for _ in range(CONNECTIONS)]
    try:
        for number in range(20):
            payload = wire.place_request(idempotency_key=f"shared-{uuid.uuid4().hex}").SerializeToString()
            for client in clients:
                client.send(wire.PLACE, payload, number)
            answers = [client.receive() for client in clients]
            told = [wire.decode(answer, "OrderResponse") for answer in answers if not answer.flags & wire.ERROR]
            refused = {wire.error_of(answer).reason for answer in answers if answer.flags & wire.ERROR}
            assert refused <= {"IN_PROGRESS"}
            assert len({answer.order_id for answer in told}) == 1
            assert [answer.replayed for answer in told].count(False) == 1
    finally:
        for client in clients:
            client.close()
    assert whole.order_count(account) == 20


# In place of get_order(): one that does not end as long as somebody has the lock.
HANGING_READ = """
CREATE OR REPLACE FUNCTION order_service.get_order(p_account_id bigint, p_order_id bigint)
    RETURNS SETOF order_service.order_detail LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1);
    RETURN QUERY SELECT * FROM order_service.order_detail d WHERE d.order_id = p_order_id;
END
$$
"""
HANGING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def test_reads_that_hang_hold_up_no_order(whole):
    """However many requests that read are under way, and however long they take, orders are placed beside them."""
    account = whole.new_account()
    with whole.client(account) as reader, whole.client(account) as client, whole.postgres.connect() as connection:
        order_id = client.place().order_id
        connection.execute(HANGING_READ)
        connection.execute("SELECT pg_advisory_lock(1)")
        read = wire.message("GetOrderRequest")(order_id=order_id).SerializeToString()
        for _ in range(32):
            reader.send(wire.GET, read)
        wait_until(lambda: connection.execute(HANGING).fetchone()[0] > 0, 10, "reads that hang")
        assert [wire.status_name(client.place().status) for _ in range(20)] == 20 * ["ACCEPTED"]
        assert connection.execute(HANGING).fetchone()[0] > 0
        connection.execute("SELECT pg_advisory_unlock(1)")
        answers = [reader.receive() for _ in range(32)]
        assert {wire.decode(answer, "Order").order_id for answer in answers} == {order_id}
