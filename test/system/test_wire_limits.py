"""Every limit of the proxy towards its clients: what is said when it is hit, and that nobody else feels it.

Shows 2 of the issue: 10,000 idle connections, and a client that never reads.
"""

import resource
import select
import socket
import time

import pytest
import wire
from stack import wait_until

IDLE_CONNECTIONS = 10_000
# Descriptors for what else we have open.
SPARE_FILES = 500
READ_NOTHING_SECONDS_MAX = 60
SESSION_TRUST_SECONDS = 10
KIB = 1024

LIMITS = {
    "listen.connections_max": 40,
    "listen.connection_in_flight_max": 8,
    "listen.in_flight_max": 20,
    "listen.output_bytes_max": "64KiB",
    "listen.frame_timeout": "500ms",
}


@pytest.fixture(scope="module")
def servers(make_shared_whole):
    """A whole system with the default limits."""
    return make_shared_whole()


@pytest.fixture(scope="module")
def narrow(make_shared_whole, servers):
    """The same behind a proxy with the smallest limits."""
    return make_shared_whole(servers.postgres, servers.account, settings=LIMITS)


@pytest.fixture
def locked(narrow):
    """While it lasts, nobody can place an order: places wait in the database. Called, it ends that."""
    with narrow.postgres.connect(autocommit=False) as connection:
        connection.execute("LOCK TABLE order_service.instrument IN ACCESS EXCLUSIVE MODE")
        yield connection.rollback


def send_places(client, count, first=1):
    for number in range(first, first + count):
        client.send(wire.PLACE, wire.place_request().SerializeToString(), number)


def counted(whole, name):
    """The sum of a counter over its labels."""
    return sum(value for key, value in whole.proxy.metrics().items() if key.split("{")[0] == name)


def disconnects(whole, reason):
    """How many connections the proxy has closed for a reason."""
    return whole.proxy.metrics()[f'client_disconnects_total{{reason="{reason}"}}']


def memory_of(whole):
    """Resident bytes of the proxy."""
    (pid,) = whole.proxy.processes()
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * KIB for line in file if line.startswith("VmRSS:"))


def test_ten_thousand_idle_connections_are_held_and_disturb_nobody(servers):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = IDLE_CONNECTIONS + SPARE_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.fail(f"this machine allows {hard} open files, the test needs {wanted}: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    clients = []
    try:
        before = memory_of(servers)
        with servers.client(servers.new_account()) as busy:
            for number in range(IDLE_CONNECTIONS):
                clients.append(wire.Client(servers.proxy.address))
                if number % 1000 == 0:
                    assert busy.place().code == 200
            # The last one is accepted when it is answered.
            clients[-1].ping()
            each = (memory_of(servers) - before) / IDLE_CONNECTIONS
            begin = time.monotonic()
            assert busy.place().code == 200
            seconds = time.monotonic() - begin
        for client in clients:
            client.send(wire.PING, correlation=7)
        for client in clients:
            wire.check_answer(client.receive(), wire.PING, 7)
    finally:
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print(f"\n{IDLE_CONNECTIONS} connections: {each:.0f} bytes each; an order among them {seconds * 1000:.1f} ms")
    with servers.client() as client:
        client.ping()


def send_without_reading(client, data, seconds):
    """Send data again and again until the server ends the connection; how many bytes it took."""
    client.socket.setblocking(False)
    deadline, sent, rest = time.monotonic() + seconds, 0, b""
    while time.monotonic() < deadline:
        # Nothing is read, so the end shows only when the socket has an error or takes no more.
        poll = select.poll()
        poll.register(client.socket, select.POLLOUT)
        ready = poll.poll(100)
        if any(what & (select.POLLERR | select.POLLHUP) for _, what in ready):
            return sent
        try:
            rest = rest or data
            count = client.socket.send(rest) if ready else 0
        except (BrokenPipeError, ConnectionResetError):
            return sent
        except BlockingIOError:
            continue
        rest = rest[count:]
        sent += count
    raise AssertionError(f"still connected after {sent} bytes of requests and {seconds} s")


def test_a_client_that_never_reads_is_cut_off_at_its_cap_and_nobody_else_notices(narrow):
    account = narrow.new_account()
    with narrow.client(account) as good, narrow.client(account, receive_buffer=4096) as bad:
        for _ in range(30):
            assert good.place(symbol="AAA").code == 200
        before = disconnects(narrow, "output limit")
        memory = memory_of(narrow)
        sent = send_without_reading(bad, wire.frame(wire.LIST) * 10, READ_NOTHING_SECONDS_MAX)
        assert disconnects(narrow, "output limit") == before + 1
        assert good.place().code == 200
        grown = memory_of(narrow) - memory
    print(f"\ncut off after {sent} bytes of requests; the proxy grew by {grown // KIB} KiB meanwhile")


def test_one_that_reads_gets_all_its_answers_however_many(narrow):
    """Far more than the cap and the buffers of the system in all; but it reads."""
    with narrow.client() as client:
        for _ in range(200):
            client.send_bytes(b"".join(wire.frame(wire.PING, b"", number) for number in range(1000)))
            assert [answer.correlation for answer in client.receive_all(1000)] == list(range(1000))


def test_one_request_too_many_on_a_connection_is_refused_at_once(narrow, locked):
    account = narrow.new_account()
    with narrow.client(account) as client, narrow.client(account) as other:
        send_places(client, 10)
        for answer in client.receive_all(2):
            error = wire.error_of(answer)
            assert (error.code, error.reason) == (429, "TOO_MANY_IN_FLIGHT")
            assert answer.correlation in (9, 10)
        send_places(other, 1)
        locked()
        answers = client.receive_all(8)
        assert sorted(answer.correlation for answer in answers) == list(range(1, 9))
        assert all(wire.decode(answer, "OrderResponse").code == 200 for answer in answers)
        assert wire.decode(other.receive(), "OrderResponse").code == 200
        assert client.place().code == 200
    assert narrow.order_count(account) == 10
    assert counted(narrow, "requests_refused_total") >= 2


def test_one_request_too_many_in_all_is_refused_at_once(narrow, locked):
    account = narrow.new_account()
    clients = [narrow.client(account) for _ in range(4)]
    try:
        for client in clients:
            send_places(client, 6)
        # 24 of which 20 fit: the last four come back, whoever sent them.
        for _ in range(4):
            error = wire.error_of(wire.receive_any(clients))
            assert (error.code, error.reason) == (503, "OVERLOADED")
        locked()
        for _ in range(20):
            assert wire.decode(wire.receive_any(clients), "OrderResponse").code == 200
    finally:
        for client in clients:
            client.close()
    assert narrow.order_count(account) == 20


def test_one_connection_too_many_is_turned_away_and_the_others_stay(narrow):
    clients = [narrow.client() for _ in range(40)]
    try:
        for client in clients:
            client.ping()
        with narrow.client() as extra:
            assert extra.is_closed_by_server()
        assert counted(narrow, "client_connections_refused_total") == 1
        for client in clients:
            client.ping()
        clients.pop().close()
        wait_until(lambda: is_served(narrow), 10, "room for one connection")
    finally:
        for client in clients:
            client.close()


def is_served(whole):
    try:
        with whole.client() as client:
            client.ping()
            return True
    except (AssertionError, OSError):
        return False


def is_cut_off(client):
    """Whether the server closes or resets the connection before it has got a whole frame."""
    try:
        return client.receive() is None
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("size", [1, 23, 24, 40])
def test_a_frame_that_is_never_completed_ends_its_connection(narrow, size):
    data = wire.frame(wire.PLACE, wire.place_request().SerializeToString())
    with narrow.client() as client, narrow.client() as idle:
        client.send_bytes(data[:size])
        assert is_cut_off(client)
        # Idling between two frames is nobody's business.
        idle.ping()


def test_a_request_that_takes_too_long_is_answered(make_whole, servers):
    """The database does not answer; the request's limit does."""
    whole = make_whole(servers.postgres, servers.account, settings={"listen.request_timeout": "300ms"})
    account = whole.new_account()
    with whole.client(account) as client:
        with whole.postgres.connect(autocommit=False) as connection:
            connection.execute("LOCK TABLE order_service.instrument IN ACCESS EXCLUSIVE MODE")
            key = wire.new_key()
            with pytest.raises(wire.Refused) as caught:
                client.place(idempotency_key=key)
            assert (caught.value.code, caught.value.reason) == (504, "OUTCOME_UNKNOWN")
            client.ping()
            connection.rollback()

        def answer():
            try:
                return client.place(idempotency_key=key)
            except wire.Refused as error:
                assert error.code in (409, 503, 504), error
                return None

        final = wait_until(answer, 20, "a definite answer")
        # It may have been given up meanwhile, as every order whose proxy lost sight of it.
        assert final.code in (200, 503)
    assert whole.order_count(account) == 1


def test_a_connection_believes_a_session_for_ten_seconds_at_most(servers):
    account = servers.new_account()
    with servers.client(account) as client:
        session = servers.open_session(account)
        client.login(session)
        assert servers.postgres.execute("SELECT order_service.close_session(%s)", [session]) == [(True,)]

        def is_over():
            try:
                client.list()
            except wire.Refused as error:
                assert (error.code, error.reason) == (401, "NO_SESSION")
                return True
            return False

        wait_until(is_over, SESSION_TRUST_SECONDS + 2, "end of the session")


def test_a_half_closed_connection_gets_the_answers_it_is_owed(servers):
    with servers.client(servers.new_account()) as client:
        send_places(client, 20)
        client.socket.shutdown(socket.SHUT_WR)
        assert len({answer.correlation for answer in client.receive_all(20)}) == 20
        assert client.is_closed_by_server()
