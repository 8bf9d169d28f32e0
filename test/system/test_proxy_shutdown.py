"""SIGTERM under load: what was read is answered, what was accepted is kept, and the end comes in time.

Shows 6 of the issue.
"""

import http.client
import os
import signal
import socket
import threading
import time
import uuid

import ledger
import pytest
import wire
from stack import wait_until

CLIENTS = 16
IN_FLIGHT = 32
GRACE_SECONDS = 10
# The end of the process, and what a loaded machine needs beyond the grace.
END_SECONDS_MAX = GRACE_SECONDS + 5
ORDERS_BEFORE = 2000


class Sender(threading.Thread):
    """Keeps IN_FLIGHT orders under way on one connection until the connection ends."""

    def __init__(self, whole, account):
        super().__init__(daemon=True)
        self.client = whole.client(account)
        self.account = account
        self.sent = {}  # correlation id -> key
        self.answers = {}  # correlation id -> Frame
        self.error = None

    def run(self):
        try:
            while self._step():
                pass
        except BaseException as error:  # shown by the test
            self.error = error
        finally:
            self.client.close()

    def _step(self):
        try:
            while len(self.sent) - len(self.answers) < IN_FLIGHT:
                request = wire.place_request(quantity=1)
                correlation = len(self.sent) + 1
                self.sent[correlation] = request.idempotency_key
                self.client.send(wire.PLACE, request.SerializeToString(), correlation)
        except (BrokenPipeError, ConnectionResetError):
            # No more can be sent; what is on its way to us still counts.
            return self._receive_rest()
        return self._receive()

    def _receive(self):
        answer = self.client.receive()
        if answer is None:
            return False
        assert answer.correlation in self.sent and answer.correlation not in self.answers, answer
        self.answers[answer.correlation] = answer
        return True

    def _receive_rest(self):
        while self._receive():
            pass
        return False

    def accepted(self):
        """{key: order id} of what was answered with an order."""
        found = {}
        for correlation, answer in self.answers.items():
            if not answer.flags & wire.ERROR:
                found[self.sent[correlation]] = wire.decode(answer, "OrderResponse").order_id
        return found

    def refusals(self):
        """The reasons of the ERROR frames."""
        return [wire.error_of(answer).reason for answer in self.answers.values() if answer.flags & wire.ERROR]


@pytest.fixture
def whole(make_whole, kafka, topic):
    return make_whole(kafka=kafka, topic=topic, settings={"shutdown.grace": f"{GRACE_SECONDS}s"})


def start_senders(whole, orders):
    """Clients at work, once they have placed so many orders in all."""
    senders = [Sender(whole, whole.new_account()) for _ in range(CLIENTS)]
    for sender in senders:
        sender.start()
    wait_until(lambda: sum(len(sender.answers) for sender in senders) >= orders, 60, f"{orders} orders")
    return senders


def join(senders):
    for sender in senders:
        sender.join(END_SECONDS_MAX)
        assert not sender.is_alive()
        if sender.error is not None:
            raise AssertionError("a client failed") from sender.error


def terminate(proxy):
    """Send SIGTERM; when that was."""
    begin = time.monotonic()
    for pid in proxy.processes():
        os.kill(pid, signal.SIGTERM)
    return begin


def kept_promises(whole, senders):
    """Every order of the table was answered, with its id; none is left unsettled."""
    found = []
    query = (
        "SELECT k.account_id, k.key, o.order_id, o.status FROM order_service.idempotency_key k"
        " JOIN order_service.orders o USING (order_id)"
    )
    rows = {(account, key): (order_id, status) for account, key, order_id, status in whole.postgres.execute(query)}
    told = {(sender.account, key): order_id for sender in senders for key, order_id in sender.accepted().items()}
    for name, (order_id, status) in rows.items():
        if status == 0:
            found.append(f"order {order_id} is left RECEIVED")
        if told.get(name) != order_id:
            found.append(f"order {order_id} was recorded, and its client was told {told.get(name)}")
    found += [f"client was told of order {told[name]}, which is not there" for name in told.keys() - rows.keys()]
    return found


def test_sigterm_under_load_answers_what_was_read_and_loses_nothing(whole, read_topic):
    senders = start_senders(whole, ORDERS_BEFORE)
    process = whole.proxy._process
    begin = terminate(whole.proxy)
    join(senders)
    wait_until(lambda: not whole.proxy.is_running, END_SECONDS_MAX, "end of the proxy")
    seconds = time.monotonic() - begin
    status = process.wait()
    reasons = {reason for sender in senders for reason in sender.refusals()}
    found = kept_promises(whole, senders) + whole.differences(read_topic)
    orders = sum(len(sender.accepted()) for sender in senders)
    unanswered = sum(len(sender.sent) - len(sender.answers) for sender in senders)
    refused = sum(len(sender.refusals()) for sender in senders)
    print(
        f"\n{orders} orders, ended {seconds:.2f} s after SIGTERM with {status};"
        f" {refused} refused, {unanswered} sent but never read"
    )
    assert not found, ledger.show(found)
    assert status == 0
    assert reasons <= {"SHUTTING_DOWN"}
    assert seconds < END_SECONDS_MAX


def test_every_request_sent_before_sigterm_is_answered(whole):
    """They wait in the database when the signal comes; all of them have been read."""
    account = whole.new_account()
    with whole.client(account) as client, whole.client() as idle:
        with whole.postgres.connect(autocommit=False) as connection:
            connection.execute("LOCK TABLE order_service.instrument IN ACCESS EXCLUSIVE MODE")
            for number in range(100):
                client.send(wire.PLACE, wire.place_request().SerializeToString(), number)
            wait_until(lambda: whole.proxy.metrics()["requests_in_flight"] >= 100, 20, "100 requests in flight")
            process = whole.proxy._process
            terminate(whole.proxy)
            # Not ready before it is gone; new clients are turned away, and old ones with nothing to wait for.
            wait_until(lambda: not whole.proxy.ready(), 10, "a proxy that says that it is not ready")
            assert whole.proxy.is_alive() and whole.proxy.ask("/readyz")[0] == 503
            assert idle.is_closed_by_server()
            wait_until(lambda: is_refused(whole), 10, "a closed port")
            late = client.send(wire.PLACE, wire.place_request().SerializeToString(), 1000)
            answer = client.receive()
            assert (answer.correlation, wire.error_of(answer).reason) == (late, "SHUTTING_DOWN")
            assert whole.proxy.is_running
            connection.rollback()
        answers = client.receive_all(100)
        assert {answer.correlation for answer in answers} == set(range(100))
        assert all(wire.decode(answer, "OrderResponse").code == 200 for answer in answers)
        assert client.is_closed_by_server()
    wait_until(lambda: not whole.proxy.is_running, END_SECONDS_MAX, "end of the proxy")
    assert process.wait() == 0
    found = whole.differences()
    assert not found, ledger.show(found)


def test_a_proxy_gives_notice_before_it_refuses_anything(make_whole):
    """A balancer sees 503 at /readyz first; until it has looked elsewhere, everything goes on."""
    whole = make_whole(settings={"shutdown.notice": "5s", "shutdown.grace": "5s"})
    account = whole.new_account()
    process = whole.proxy._process
    begin = terminate(whole.proxy)
    wait_until(lambda: not whole.proxy.ready(), 10, "a proxy that says that it is not ready")
    with whole.client(account) as client:
        assert client.place().code == 200
    assert time.monotonic() - begin < 5, "the machine was too slow to see the notice"
    wait_until(lambda: not whole.proxy.is_running, END_SECONDS_MAX, "end of the proxy")
    assert process.wait() == 0


def is_refused(whole):
    try:
        whole.client().close()
        return False
    except ConnectionRefusedError:
        return True


def test_an_end_that_takes_longer_than_the_grace_comes_all_the_same(make_whole):
    """The database never answers; what then becomes of the orders is for others to decide."""
    whole = make_whole(settings={"shutdown.grace": "1s"})
    with whole.client(whole.new_account()) as client:
        with whole.postgres.connect(autocommit=False) as connection:
            connection.execute("LOCK TABLE order_service.instrument IN ACCESS EXCLUSIVE MODE")
            client.send(wire.PLACE, wire.place_request().SerializeToString())
            wait_until(lambda: whole.proxy.metrics()["requests_in_flight"] >= 1, 20, "a request in flight")
            process = whole.proxy._process
            begin = terminate(whole.proxy)
            wait_until(lambda: not whole.proxy.is_running, 20, "end of the proxy")
            seconds = time.monotonic() - begin
            connection.rollback()
    print(f"\nended {seconds:.2f} s after SIGTERM")
    assert seconds >= 0.9
    # It says that something is left.
    assert process.wait() == 1


def test_open_connections_of_the_admin_interface_do_not_spoil_the_end(whole):
    """One that says nothing, one in the middle of a request, and one that is kept alive after its answer."""
    host, port = whole.proxy.host, whole.proxy.admin_port
    with socket.create_connection((host, port)), socket.create_connection((host, port)) as half:
        half.sendall(b"GET /healthz HT")
        kept = http.client.HTTPConnection(host, port, timeout=END_SECONDS_MAX)
        kept.request("GET", "/metrics")
        assert kept.getresponse().read()
        assert whole.proxy.stop() == 0
        kept.close()


def test_the_next_proxy_on_the_port_takes_over(whole):
    """A restart, as an operator does it: clients connect again and repeat what they have no answer to."""
    account = whole.new_account()
    key = f"over-{uuid.uuid4().hex}"
    with whole.client(account) as client:
        first = client.place(idempotency_key=key)
    assert whole.proxy.stop() == 0
    whole.proxy.start()
    whole.wait_ready()
    with whole.client(account) as client:
        again = client.place(idempotency_key=key)
    assert (again.order_id, again.replayed) == (first.order_id, True)


def test_a_proxy_that_is_killed_leaves_orders_that_the_next_one_finishes(whole, read_topic):
    """No shutdown at all: what was recorded and not settled is given up, and its hold released."""
    senders = start_senders(whole, ORDERS_BEFORE)
    whole.proxy.kill9()
    join(senders)
    whole.proxy.start()
    whole.wait_ready()
    left = "SELECT count(*) FROM order_service.orders WHERE status = 0"
    wait_until(lambda: whole.postgres.execute(left) == [(0,)], 60, "end of the orders left RECEIVED")
    told = {key: order_id for sender in senders for key, order_id in sender.accepted().items()}
    query = "SELECT key, order_id FROM order_service.idempotency_key"
    rows = dict(whole.postgres.execute(query))
    assert told.items() <= rows.items()
    given_up = len(rows) - len(told)
    found = whole.differences(read_topic)
    print(f"\n{len(told)} orders were answered, {given_up} more were recorded when the proxy was killed")
    assert not found, ledger.show(found)
    for sender in senders[:2]:
        with whole.client(sender.account) as client:
            for key, order_id in list(sender.accepted().items())[:5]:
                assert client.get(idempotency_key=key).order_id == order_id
