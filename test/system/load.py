"""Clients that place orders: single calls, array batches, repeated keys, cancels; they survive a server that crashes.

A client repeats a request whose answer it lost, with the same key, until it has an answer. What was answered is in
`acknowledged`, so a test can ask the database whether every promise was kept.
"""

import random
import threading
import time
import uuid
from collections import namedtuple

import psycopg
from stack import wait_until

SYMBOLS = ("AAA", "BBB", "CCC", "DDD")
PRICE = 10_000_000
TICK = 10_000
RECONNECT_SECONDS_MAX = 90
BATCH_ITEMS = 64

SIDES = {1: "BUY", 2: "SELL"}
TYPES = {0: "MARKET", 1: "LIMIT"}
TIMES_IN_FORCE = {0: "DAY", 1: "GTC", 2: "IOC", 3: "FOK"}
OK = 200
REASON_INSUFFICIENT_FUNDS = 20
HELD, NO_HOLD = 1, 0

PLACE = "SELECT order_id, code, replayed FROM order_service.place_order(%s, %s, %s, %s, %s, %s, %s, %s)"
CANCEL = "SELECT order_id, code, replayed FROM order_service.cancel_order(%s, %s, %s)"
ORDERS = (
    "%s::bigint[], %s::text[], %s::text[], %s::smallint[], %s::smallint[], %s::bigint[], %s::bigint[], %s::smallint[]"
)
PLACE_ALL = f"SELECT order_id, code, replayed FROM order_service.place_orders({ORDERS}) ORDER BY item"
RECEIVE = f"SELECT code, order_id, status, replayed FROM order_service.receive_orders({ORDERS}) ORDER BY item"
SETTLE = (
    "SELECT code, order_id, status FROM order_service.settle_orders(%s::bigint[], %s::smallint[], %s::smallint[])"
    " ORDER BY item"
)

# As the wire has it: codes, not names.
Request = namedtuple("Request", "account key symbol side type quantity price time_in_force")


def add_instruments(connection):
    """The instruments that all tests trade in."""
    connection.cursor().executemany(
        "INSERT INTO order_service.instrument (symbol, currency, tick, price_floor, price_ceiling)"
        " VALUES (%s, 'EUR', %s, %s, %s) ON CONFLICT DO NOTHING",
        [(symbol, TICK, PRICE // 2, PRICE * 2) for symbol in SYMBOLS],
    )


def place(connection, key, account=1, side="BUY", quantity=10, price=PRICE):
    """Place one LIMIT order by the single call; its id."""
    row = connection.execute(PLACE, [account, key, SYMBOLS[0], side, "LIMIT", quantity, price, "DAY"]).fetchone()
    return row[0]


def place_all(connection, requests):
    """One call of place_orders() for (account, key) each, LIMIT DAY orders; its rows (order id, code, replayed)."""
    count = len(requests)
    columns = [[account for account, _ in requests], [key for _, key in requests]]
    columns += [[SYMBOLS[0]] * count, [1] * count, [1] * count, [10] * count, [PRICE] * count, [0] * count]
    return connection.execute(PLACE_ALL, columns).fetchall()


def cancel(connection, order_id, account=1):
    """Ask for an order to be canceled; the key says which."""
    connection.execute(CANCEL, [account, f"cancel-{order_id}", order_id])


def ready_count(connection):
    """How many events are not known to be in Kafka."""
    return connection.execute("SELECT count(*) FROM order_service.outbox WHERE status <> 1").fetchone()[0]


def wait_all_sent(connection, seconds=60):
    """Wait until every committed event is marked as sent."""
    wait_until(lambda: ready_count(connection) == 0, seconds, "all events sent")


def stats(connection, database="orders"):
    """The publisher's row of order_service.stats, as a dictionary."""
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        return cursor.execute("SELECT * FROM order_service.stats WHERE database = %s", [database]).fetchone()


class Client(threading.Thread):
    """One connection and what its user does. Runs until `quota` orders are placed, or until stop() is called.

    is_durable = False commits asynchronously: a crash may then lose what was acknowledged, so nothing is promised.
    rate: orders per second; None for as fast as it goes. What it was late with, it catches up within a second.
    """

    def __init__(self, server, number, quota=None, is_durable=True, rate=None):
        super().__init__(name=f"client {number}", daemon=True)
        self.server = server
        self.number = number
        self.quota = quota
        self.is_durable = is_durable
        self.rate = rate
        self.slowest = 0.0  # seconds that an answer took, repetitions included
        self.random = random.Random(number)
        self.acknowledged = {}  # (account, key) -> (order id, Request)
        self.placed = []  # accepted orders that may be canceled or repeated
        self.counts = {"single": 0, "batched": 0, "repeated": 0, "canceled": 0, "rejected": 0, "reconnects": 0}
        self.error = None
        self._stopping = threading.Event()
        self._connection = None

    def stop(self):
        self._stopping.set()

    @property
    def order_count(self):
        return self.counts["single"] + self.counts["batched"]

    def run(self):
        due = time.monotonic()
        try:
            while not self._stopping.is_set() and (self.quota is None or self.order_count < self.quota):
                before = self.order_count
                self._step()
                if self.rate is not None:
                    due = max(due + (self.order_count - before) / self.rate, time.monotonic() - 1)
                    self._stopping.wait(max(0, due - time.monotonic()))
        except BaseException as error:  # shown by the test, which looks at it when it joins
            self.error = error
        finally:
            if self._connection is not None:
                self._connection.close()

    def _step(self):
        """Of 100 steps: 2 batches, about 5 repeats and 5 cancels (for one order each), else single orders."""
        dice = self.random.random()
        if dice < 0.02 and self.is_durable:
            self._place_batch()
        elif dice < 0.07 and self.placed:
            self._repeat()
        elif dice < 0.12 and self.placed:
            self._cancel()
        else:
            self._place_single()

    # --- what it asks for ---

    def _new_request(self):
        is_limit = self.random.random() < 0.9
        return Request(
            account=self.number * 100 + self.random.randint(1, 20),
            key=f"client-{self.number}-{uuid.uuid4().hex}",
            symbol=self.random.choice(SYMBOLS),
            side=self.random.choice((1, 2)),
            type=1 if is_limit else 0,
            quantity=self.random.randint(1, 1000),
            price=PRICE + TICK * self.random.randint(-100, 100) if is_limit else 0,
            time_in_force=self.random.choice((0, 1)),
        )

    def _place(self, request):
        parameters = [
            request.account,
            request.key,
            request.symbol,
            SIDES[request.side],
            TYPES[request.type],
            request.quantity,
            request.price,
            TIMES_IN_FORCE[request.time_in_force],
        ]
        return self._ask(PLACE, parameters)[0]

    def _place_single(self):
        request = self._new_request()
        order_id, code, _ = self._place(request)
        assert code == OK, (request, code)
        self._remember(request, order_id)
        self.placed.append((order_id, request))
        self.counts["single"] += 1

    def _repeat(self):
        order_id, request = self.random.choice(self.placed)
        again, code, replayed = self._place(request)
        assert code == OK, (request, code)
        assert not self.is_durable or (again == order_id and replayed), (request, order_id, again, replayed)
        self.counts["repeated"] += 1

    def _cancel(self):
        order_id, request = self.placed.pop(self.random.randrange(len(self.placed)))
        try:
            self._ask(CANCEL, [request.account, f"cancel-{order_id}", order_id])
        except psycopg.Error as error:
            # An order committed asynchronously may be gone after a crash, and its id with another account.
            if self.is_durable or error.sqlstate not in ("OS403", "OS404"):
                raise
        self.counts["canceled"] += 1

    def _place_batch(self):
        requests = [self._new_request() for _ in range(BATCH_ITEMS - 3)]
        # Repeats within a batch: of an item of its own, and of older orders.
        asked = requests + [requests[0]] + [request for _, request in self.placed[-2:]]
        received = self._ask(RECEIVE, [list(column) for column in zip(*asked)])
        assert {row[0] for row in received} <= {OK, 409}, received
        new = list(zip(requests, received))
        reasons = [REASON_INSUFFICIENT_FUNDS if self.random.random() < 0.1 else 0 for _ in new]
        holds = [NO_HOLD if reason else HELD for reason in reasons]
        settled = self._ask(SETTLE, [[row[1] for _, row in new], reasons, holds])
        for (request, row), reason, (_, order_id, status) in zip(new, reasons, settled):
            assert order_id == row[1] and status == (7 if reason else 1), (request, row, reason, status)
            self._remember(request, order_id)
            if not reason:
                self.placed.append((order_id, request))
        self.counts["batched"] += len(new)
        self.counts["rejected"] += sum(reason != 0 for reason in reasons)
        self.counts["repeated"] += len(asked) - len(new)

    def _remember(self, request, order_id):
        self.acknowledged[request.account, request.key] = (order_id, request)

    # --- how it asks ---

    def _ask(self, query, parameters):
        """The rows of a query; repeated on a new connection for as long as its answer is lost."""
        begin = time.monotonic()
        while True:
            try:
                if self._connection is None:
                    self._connection = wait_until(self._connect, RECONNECT_SECONDS_MAX, "connection")
                rows = self._connection.execute(query, parameters).fetchall()
                self.slowest = max(self.slowest, time.monotonic() - begin)
                return rows
            except psycopg.OperationalError:
                self._connection.close()
                self._connection = None
                self.counts["reconnects"] += 1

    def _connect(self):
        options = "" if self.is_durable else "-c synchronous_commit=off"
        try:
            return self.server.connect(options=options)
        except psycopg.OperationalError:
            return None


class Load:
    """Several clients at once.

    with Load(server, count=8) as load: ...   the clients run; at the end they are stopped and joined
    rate: orders per second of all of them together; None for as fast as it goes
    """

    def __init__(self, server, count=8, quota=None, async_count=0, rate=None):
        share = rate / count if rate is not None else None
        self.clients = [
            Client(server, number + 1, quota, is_durable=number >= async_count, rate=share) for number in range(count)
        ]
        self.seconds = 0.0
        self._begin = None

    def __enter__(self):
        self._begin = time.monotonic()
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, failure, *_exc):
        for client in self.clients:
            client.stop()
        try:
            self.join()
        except AssertionError:
            # What ended the block is the cause; a client that gave up because of it would only hide that.
            if failure is None:
                raise

    def join(self, seconds=240):
        """Wait for all clients to end; raises what a client died of."""
        deadline = time.monotonic() + seconds
        for client in self.clients:
            client.join(max(0, deadline - time.monotonic()))
            assert not client.is_alive(), f"{client.name} does not end"
        self.seconds = time.monotonic() - self._begin
        for client in self.clients:
            if client.error is not None:
                raise AssertionError(f"{client.name} failed") from client.error

    @property
    def has_failed(self):
        """Whether a client gave up: no use to wait for more orders."""
        return any(client.error is not None for client in self.clients)

    @property
    def slowest(self):
        """Seconds that the slowest answer took."""
        return max(client.slowest for client in self.clients)

    def wait_for_more(self, orders, seconds):
        """Wait until that many more orders are acknowledged, or a client gave up."""
        goal = self.order_count + orders
        wait_until(lambda: self.has_failed or self.order_count >= goal, seconds, f"{orders} more orders")

    @property
    def order_count(self):
        """Orders acknowledged so far."""
        return sum(client.order_count for client in self.clients)

    def counts(self):
        """What the clients did, in all."""
        return {name: sum(client.counts[name] for client in self.clients) for name in self.clients[0].counts}

    def acknowledged(self, is_durable=True):
        """(account, key) -> (order id, Request), of the clients that commit durably, or of the others."""
        return {
            name: promise
            for client in self.clients
            if client.is_durable == is_durable
            for name, promise in client.acknowledged.items()
        }


FLOOD = (
    "SELECT order_id FROM generate_series(1, %s) i,"
    " order_service.place_order(%s, %s || i, 'AAA', 'BUY', 'LIMIT', 1, 10000000)"
)
FLOOD_CANCEL = "SELECT order_service.cancel_order(%s, %s || 'cancel-' || id, id) FROM unnest(%s::bigint[]) id"


class Flood(threading.Thread):
    """Places orders faster than clients can: `items` in each transaction, and cancels all of them in the next one.

    with Flood(server, items=100) as flood: ...   it runs until the end; nothing is promised to it
    pause: seconds between two such pairs of transactions
    """

    def __init__(self, server, items, account=9999, is_durable=True, pause=0):
        super().__init__(name=f"flood {account}", daemon=True)
        self.server = server
        self.items = items
        self.account = account
        self.pause = pause
        self.order_count = 0
        self._options = "" if is_durable else "-c synchronous_commit=off"
        self._stopping = threading.Event()
        self._error = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_exc):
        self._stopping.set()
        self.join(60)
        assert not self.is_alive() and self._error is None, self._error

    def wait_for_more(self, orders, seconds):
        """Wait until that many more orders are acknowledged, or it gave up."""
        goal = self.order_count + orders
        wait_until(lambda: self._error or self.order_count >= goal, seconds, f"{orders} more orders")

    def run(self):
        while not self._stopping.is_set() and self._error is None:
            try:
                self._run_connected()
            except psycopg.OperationalError:
                # The server is down, or just came up: what was lost with it is not asked for again.
                self._stopping.wait(0.1)
            except BaseException as error:  # shown at the end
                self._error = error

    def _run_connected(self):
        with self.server.connect(options=self._options) as connection:
            while not self._stopping.is_set():
                key = f"flood-{uuid.uuid4().hex}-"
                rows = connection.execute(FLOOD, [self.items, self.account, key]).fetchall()
                self.order_count += len(rows)
                connection.execute(FLOOD_CANCEL, [self.account, key, [order_id for (order_id,) in rows]])
                self._stopping.wait(self.pause)


def broken_promises(connection, acknowledged):
    """Acknowledged orders that the database has not, has twice, or has otherwise; a list of texts."""
    query = (
        "SELECT k.account_id, k.key, o.order_id, o.symbol, o.side, o.order_type, o.quantity, o.price, o.time_in_force"
        " FROM order_service.idempotency_key k JOIN order_service.orders o USING (order_id)"
        " WHERE k.command = 1"
    )
    found, owners, rows = [], {}, {}
    for account, key, order_id, *terms in connection.execute(query):
        if order_id in owners:
            found.append(f"order {order_id} belongs to two keys: {owners[order_id]} and {key}")
        owners[order_id] = key
        rows[account, key] = (order_id, Request(account, key, *terms))
    for name, promise in acknowledged.items():
        if rows.get(name) != promise:
            found.append(f"acknowledged {promise}, the database has {rows.get(name)}")
    count = connection.execute("SELECT count(*) FROM order_service.orders").fetchone()[0]
    if count != len(owners):
        found.append(f"{count} orders, but {len(owners)} keys that placed one")
    return found
