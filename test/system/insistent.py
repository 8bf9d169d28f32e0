"""Clients that insist: they lose their proxy, go to the next one, and repeat each key until they know its one outcome.

Book        what all of them were answered, held against the tables by .broken_promises(connection)
Client      a thread that places, repeats and cancels orders through any of several proxies
Exchange    a thread that reports what becomes of orders: filled, expired, or canceled as was asked
"""

import queue
import random
import threading
import time
from collections import Counter

import psycopg
import wire
from bulk import NO_ORDER, Log
from load import PRICE, SYMBOLS
from stack import wait_until

OK, CONFLICT, UNAVAILABLE, UNKNOWN = 200, 409, 503, 504
# What may have become of an order whose cancel was accepted.
AFTER_CANCEL = ("CANCEL_REQUESTED", "CANCELED", "FILLED")
# What a client sends at once on a connection.
BURST_MAX = 8
QUANTITY_MAX = 20
# Longer than a proxy takes for its worst answer; a proxy that is silent for so long is left for another one.
PATIENCE_SECONDS = 2.0
DECIDED_SECONDS_MAX = 120
RECONNECT_SECONDS_MAX = 90
# Of a hundred: requests that repeat an earlier one or cancel an order, bursts that go to every proxy at once, refusals
# that a client leaves at that, and accepted orders that trade or expire.
REPEATED, CANCELED, AT_ALL, GIVEN_UP, EXECUTED = 5, 10, 5, 20, 10

WITHOUT_ONE_KEY = """
SELECT o.order_id, count(k.key) FROM order_service.orders o
LEFT JOIN order_service.idempotency_key k ON k.order_id = o.order_id AND k.command = 1
GROUP BY o.order_id HAVING count(k.key) <> 1"""
RECORDED = "SELECT key FROM order_service.idempotency_key WHERE key = ANY(%s)"


class Request:
    """What is asked under one key.

    unheard: attempts of which nobody knows whether they did it, or will.
    """

    def __init__(self, method, message, is_repeat=False):
        self.method = method
        self.message = message
        self.payload = message.SerializeToString()
        self.key = message.idempotency_key
        self.is_repeat = is_repeat
        self.is_decided = False
        self.unheard = 0
        self.refusal = None

    def repeat(self):
        return Request(self.method, self.message, is_repeat=True)


class Book:
    """What was answered. The first answer under a key is the one that counts; all others must say the same."""

    def __init__(self):
        self.log = Log()
        self.contradictions = []
        self.doubted = {}  # key: Request, of those that had an attempt without an answer
        self.counts = Counter()
        self.longest = 0.0  # seconds during which no new order was accepted
        self._accepted = time.monotonic()
        self._lock = threading.Lock()

    def count(self, name, number=1):
        with self._lock:
            self.counts[name] += number

    def note(self, request, order_id, code, is_replayed):
        """Write an answer down; whether it is the first one under its key."""
        answers = self.log.placed if request.method == wire.PLACE else self.log.canceled
        with self._lock:
            is_first = request.key not in answers
            first = answers.setdefault(request.key, (order_id, code, is_replayed))
            if first[:2] != (order_id, code):
                self.contradictions.append(f"key {request.key} was answered {first[:2]}, then {(order_id, code)}")
            if request.is_repeat and not is_replayed:
                self.contradictions.append(f"key {request.key} was answered {first[:2]}, then carried out once more")
            if is_first and request.method == wire.PLACE and code == OK:
                now = time.monotonic()
                self.longest = max(self.longest, now - self._accepted)
                self._accepted = now
            return is_first

    def note_doubt(self, request):
        with self._lock:
            self.doubted[request.key] = request

    def note_contradiction(self, text):
        with self._lock:
            self.contradictions.append(text)

    def broken_promises(self, connection):
        """Answers that the tables or other answers contradict, and orders that nobody asked for; a list of texts."""
        found = self.contradictions + self.log.broken_promises(connection, AFTER_CANCEL)
        rows = connection.execute(WITHOUT_ONE_KEY)
        found += [f"order {order_id} was placed under {keys} keys" for order_id, keys in rows]
        # Not in progress, as a 409 may also mean: these orders had ended.
        refused = [key for key, (_, code, _) in self.log.canceled.items() if code == CONFLICT]
        rows = connection.execute(RECORDED, [refused])
        return found + [f"cancel {key} was refused, and is recorded" for (key,) in rows]


class Client(threading.Thread):
    """Sends bursts at `rate` requests per second through the proxies at `addresses`, for any of the sessions."""

    def __init__(self, book, exchange, addresses, sessions, rate, seed):
        super().__init__(name=f"client {seed}", daemon=True)
        self.error = None
        self._book, self._exchange = book, exchange
        self._addresses, self._sessions = addresses, sessions
        self._connections = [None] * len(addresses)
        self._rate = rate
        self._random = random.Random(seed)
        self._current = self._random.randrange(len(addresses))
        self._answered, self._accepted = [], []
        self._stopping = threading.Event()

    def run(self):
        due = time.monotonic()
        try:
            while not self._stopping.is_set():
                burst = [self._draw() for _ in range(self._random.randint(1, BURST_MAX))]
                self.decide(burst)
                due = max(due + len(burst) / self._rate, time.monotonic() - 1)
                self._stopping.wait(max(0, due - time.monotonic()))
        except BaseException as error:  # raised by join()
            self.error = error
        finally:
            self.close()

    def close(self):
        """End its connections; it may go on with others."""
        for number in range(len(self._addresses)):
            self._disconnect(number)

    def stop(self):
        """Begin nothing new; what was begun goes on until it is decided."""
        self._stopping.set()

    def join(self, timeout=None):
        super().join(timeout)
        assert not self.is_alive(), f"{self.name} does not end"
        if self.error is not None:
            raise AssertionError(f"{self.name} failed") from self.error

    # --- what it asks for ---

    def _is_drawn(self, percent):
        return self._random.randrange(100) < percent

    def _draw(self):
        dice = self._random.randrange(100)
        if dice < REPEATED and self._answered:
            return self._random.choice(self._answered).repeat()
        if dice < REPEATED + CANCELED and self._accepted:
            order_id, session = self._accepted.pop(self._random.randrange(len(self._accepted)))
            fields = {"session_id": session, "order_id": order_id, "idempotency_key": wire.new_key()}
            return Request(wire.CANCEL, wire.message("CancelOrderRequest")(**fields))
        side, symbol = self._random.choice(("BUY", "SELL")), self._random.choice(SYMBOLS)
        quantity, session = self._random.randint(2, QUANTITY_MAX), self._random.choice(self._sessions)
        fields = {"session_id": session, "symbol": symbol, "side": side, "quantity": quantity, "price": PRICE}
        return Request(wire.PLACE, wire.place_request(**fields))

    # --- how it asks ---

    def decide(self, requests):
        """Ask until the outcome of every request is known."""
        deadline = time.monotonic() + DECIDED_SECONDS_MAX
        while requests:
            assert time.monotonic() < deadline, f"undecided: {requests[0].message}, refused {requests[0].refusal}"
            numbers = range(len(self._addresses)) if self._is_drawn(AT_ALL) else [self._current]
            waiting = {number: self._send(number, requests) for number in numbers}
            for number, sent in waiting.items():
                self._receive(number, sent)
            requests = [request for request in requests if not self._is_decided(request)]
            if requests:
                self._book.count("repeated until known", len(requests))
                time.sleep(0.05)

    def _is_decided(self, request):
        """By an answer; or by a refusal, when it can be relied on that nothing is, or will be, recorded."""
        if request.is_decided:
            return True
        if request.refusal is None:
            return False
        code, reason = request.refusal
        # The order has ended, and stays so: an attempt still under way will be refused, too.
        is_final = reason == "WRONG_STATE"
        if not is_final and request.unheard == 0 and self._is_drawn(GIVEN_UP):
            is_final = code == UNAVAILABLE
        if is_final and not request.is_repeat:
            self._book.note(request, NO_ORDER, code, False)
        return is_final

    def _connection(self, number):
        if self._connections[number] is None:
            self._connections[number] = wire.Client(self._addresses[number])
        return self._connections[number]

    def _disconnect(self, number):
        if self._connections[number] is not None:
            self._connections[number].close()
            self._connections[number] = None

    def _lose(self, number, sent):
        """No answer comes any more to these: another proxy is asked."""
        self._book.count("connections lost" if sent else "connections refused")
        self._disconnect(number)
        self._current = (number + 1) % len(self._addresses)
        for request in sent.values():
            self._book.note_doubt(request)

    def _send(self, number, requests):
        """{correlation id: request} of what was sent, empty when there was nobody."""
        sent = {}
        try:
            connection = self._connection(number)
            for correlation, request in enumerate(requests, start=1):
                sent[correlation] = request
                request.unheard += 1
                connection.send(request.method, request.payload, correlation)
        except OSError:
            self._lose(number, sent)
            return {}
        return sent

    def _receive(self, number, sent):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while sent:
            try:
                frame = self._connections[number].receive(max(0, deadline - time.monotonic()))
            except (OSError, AssertionError):
                # Silent for too long, or cut off in the middle of a frame.
                frame = None
            if frame is None:
                self._lose(number, sent)
                return
            request = sent.pop(frame.correlation)
            wire.check_answer(frame, request.method, frame.correlation)
            self._take(request, frame)

    def _take(self, request, frame):
        if frame.flags & wire.ERROR:
            self._take_refusal(request, wire.error_of(frame))
            return
        answer = wire.message("OrderResponse").FromString(frame.payload)
        request.is_decided = True
        is_first = self._book.note(request, answer.order_id, answer.code, answer.replayed)
        if not is_first:
            self._book.count("answered again")
            return
        self._answered.append(request)
        if answer.code == OK:
            self._go_on(request, answer.order_id)

    def _take_refusal(self, request, error):
        """An error frame promises that this attempt has recorded nothing, but for the two that say otherwise."""
        if error.code == UNKNOWN:
            self._book.count("504")
            self._book.note_doubt(request)
            return
        if error.reason == "IN_PROGRESS":
            if request.is_repeat:
                self._book.note_contradiction(f"key {request.key} was answered, and then in progress")
            return
        assert error.code == UNAVAILABLE or error.reason == "WRONG_STATE", f"{request.message} was answered {error}"
        self._book.count(f"refused {error.code} {error.reason}")
        request.unheard -= 1
        request.refusal = (error.code, error.reason)

    def _go_on(self, request, order_id):
        """What becomes of an order that was accepted, or is to be canceled."""
        if request.method == wire.CANCEL:
            self._exchange.report(order_id, ("CANCELED", 0))
            return
        self._accepted.append((order_id, request.message.session_id))
        if self._is_drawn(EXECUTED):
            part = request.message.quantity // 2
            ends = [("TRADE", part), ("TRADE", request.message.quantity - part)], [("NEW", 0), ("EXPIRED", 0)]
            self._exchange.report(order_id, *self._random.choice(ends))


class Exchange(threading.Thread):
    """Applies its reports in the database, each until it is known to be applied, however often the server fails."""

    APPLY = "SELECT FROM order_service.apply_execution(%s, %s, %s, %s, %s)"
    APPLIED = "SELECT count(*) FROM order_service.execution"

    def __init__(self, postgres):
        super().__init__(name="exchange", daemon=True)
        self.counts = Counter()
        self.error = None
        self._postgres = postgres
        self._connection = None
        self._reports = queue.Queue()

    def report(self, order_id, *reports):
        """Reports of one order, in their order: pairs of a type and a quantity."""
        self._reports.put((order_id, reports))

    def stop(self):
        """End when everything reported so far is applied."""
        self._reports.put(None)

    def join(self, timeout=None):
        super().join(timeout)
        assert not self.is_alive(), "the exchange does not end"
        if self.error is not None:
            raise AssertionError("the exchange failed") from self.error

    def broken_promises(self, connection):
        """Whether every report that was taken is there, once; a list of texts."""
        told = self.counts.total() - self.counts["too late"]
        [(applied,)] = connection.execute(self.APPLIED)
        return [f"{told} reports were taken, {applied} are recorded"] if applied != told else []

    def run(self):
        try:
            for order_id, reports in iter(self._reports.get, None):
                for number, (kind, quantity) in enumerate(reports):
                    name = f"{order_id}-{kind}-{number}"
                    self._apply([name, order_id, kind, quantity, PRICE if quantity else 0])
        except BaseException as error:  # raised by join()
            self.error = error
        finally:
            if self._connection is not None:
                self._connection.close()

    def _apply(self, report):
        while True:
            try:
                if self._connection is None:
                    self._connection = wait_until(self._connect, RECONNECT_SECONDS_MAX, "connection of the exchange")
                self._connection.execute(self.APPLY, report)
                self.counts[report[2]] += 1
                return
            except psycopg.OperationalError:
                self._connection.close()
                self._connection = None
            except psycopg.Error as error:
                # A fill or an expiry and a cancel of the same order: one of them came first.
                if error.sqlstate != "OS409":
                    raise
                self.counts["too late"] += 1
                return

    def _connect(self):
        try:
            return self._postgres.connect()
        except psycopg.OperationalError:
            return None
