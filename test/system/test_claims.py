"""Keys that are claimed together: by sessions that meet at the same keys, and before the eyes of a subscriber."""

import random
import threading
import time
import uuid

import psycopg
import pytest
from load import add_instruments, place_all
from soak import sized
from stack import wait_until

KEYS = "SELECT account_id, key, order_id FROM order_service.idempotency_key ORDER BY 1, 2"
STRAY = (
    "SELECT count(*) FROM order_service.idempotency_key k FULL JOIN order_service.orders o USING (order_id, account_id)"
    " WHERE k.key IS NULL OR o.status IS NULL"
)
DECODED = "SELECT count(*) FROM pg_logical_slot_peek_changes('watcher', NULL, NULL) WHERE data ~ %s"
LAST_ACCOUNT = 9
IS_LAST_THERE = "SELECT count(*) > 0 FROM order_service.idempotency_key WHERE account_id = %s"
INSERTED, DELETED = r"idempotency_key: INSERT", r"idempotency_key: DELETE"

SECONDS = sized(15, 300)
PLACERS = 8
# Keys that are in use at a time. They give way to new ones, some with every call.
WINDOW = 400
NEW_KEYS = 10
ITEMS_MAX = 120
ACCOUNTS = (1, 2)
PLACER = "placer"
# What ends a call: pg_terminate_backend() and pg_cancel_backend(). None: the connection was already gone.
DISTURBED = ("57P01", "57014", None)
VICTIM = "SELECT {}(pid) FROM pg_stat_activity WHERE application_name = %s ORDER BY random() LIMIT 1"


class Keys:
    """The keys that placers choose from, and what was answered for them."""

    def __init__(self):
        self.promised = {}  # (account, key) -> order id
        self._random = random.Random(7)
        self._lock = threading.Lock()
        self._last = WINDOW

    def choose(self, count):
        """Some keys, in no order, each once; or perhaps twice."""
        with self._lock:
            self._last += NEW_KEYS
            numbers = self._random.choices(range(self._last - WINDOW, self._last), k=count)
            return [(self._random.choice(ACCOUNTS), f"{number:010}") for number in numbers]

    def promise(self, requests, rows):
        """What was committed: the same order for a key as ever."""
        with self._lock:
            for request, (order_id, code, _) in zip(requests, rows):
                assert code == 200, (request, code)
                known = self.promised.setdefault(request, order_id)
                assert known == order_id, (request, known, order_id)


class Placer(threading.Thread):
    """Places batches, each in a transaction, of which some are rolled back and some end with their session."""

    def __init__(self, server, keys, seed):
        super().__init__(name=f"placer {seed}", daemon=True)
        self.server = server
        self.keys = keys
        self.counts = {"committed": 0, "rolled back": 0, "broken": 0, "new": 0, "repeated": 0}
        self.error = None
        self._random = random.Random(seed)
        self._deadline = time.monotonic() + SECONDS

    def run(self):
        try:
            while time.monotonic() < self._deadline:
                self._run_session()
        except BaseException as error:  # raised by the test
            self.error = error

    def _run_session(self):
        """A few calls: a session that has met a key in use looks before it writes, a new one does not."""
        try:
            with self.server.connect(application_name=PLACER) as connection:
                for _ in range(self._random.randint(1, 4)):
                    self._place(connection)
        except psycopg.Error as error:
            if error.sqlstate not in DISTURBED:
                raise
            self.counts["broken"] += 1

    def _place(self, connection):
        requests = self.keys.choose(self._random.choice((1, 2, 10, ITEMS_MAX)))
        is_kept = self._random.random() < 0.7
        with connection.transaction(force_rollback=not is_kept):
            rows = place_all(connection, requests)
            if self._random.random() < 0.3:
                time.sleep(0.01)
        if is_kept:
            self.keys.promise(requests, rows)
            self.counts["repeated"] += sum(row[2] for row in rows)
            self.counts["new"] += sum(not row[2] for row in rows)
        self.counts["committed" if is_kept else "rolled back"] += 1


def disturb(server, placers):
    """Until they are done: sessions end, calls are cancelled, dead rows are cleared away."""
    chance = random.Random(11)
    with server.connect() as connection:
        while any(placer.is_alive() for placer in placers):
            what = chance.choice(("pg_terminate_backend", "pg_cancel_backend", None))
            if what is None:
                connection.execute("VACUUM order_service.idempotency_key")
            else:
                connection.execute(VICTIM.format(what), [PLACER])
            time.sleep(0.05)


@pytest.mark.soak
def test_batches_that_meet_wait_for_each_other_and_never_in_a_circle(make_postgres):
    server = make_postgres(settings={"deadlock_timeout": "10ms", "log_lock_waits": "off", "max_connections": 50})
    with server.connect() as connection:
        add_instruments(connection)
        connection.execute("CREATE EXTENSION amcheck")
    keys = Keys()
    placers = [Placer(server, keys, seed) for seed in range(PLACERS)]
    for placer in placers:
        placer.start()
    disturb(server, placers)
    for placer in placers:
        if placer.error is not None:
            raise AssertionError(f"{placer.name} failed") from placer.error
    counts = {name: sum(placer.counts[name] for placer in placers) for name in placers[0].counts}
    print(f"\n{counts}, {len(keys.promised)} keys promised")
    assert "deadlock detected" not in server.log_text()
    assert all(counts.values())
    server.kill9()
    server.start()
    with server.connect() as connection:
        stored = {(account, key): order_id for account, key, order_id in connection.execute(KEYS)}
        assert {request: stored.get(request) for request in keys.promised} == keys.promised
        assert connection.execute(STRAY).fetchone() == (0,)
        requests = list(keys.promised)[-4000:]
        assert [(row[0], row[2]) for row in place_all(connection, requests)] == [
            (keys.promised[request], True) for request in requests
        ]
        # Every row that is there has its entry.
        connection.execute("SELECT bt_index_check('order_service.idempotency_key_pkey', true)")
        assert connection.execute("SELECT * FROM verify_heapam('order_service.idempotency_key')").fetchall() == []


def test_a_subscriber_learns_of_no_key_that_was_taken_back(make_postgres):
    server = make_postgres(settings={"wal_level": "logical", "order_service.databases": ""})
    server.create_database("copy")
    with server.connect() as connection, server.connect("copy") as copy:
        add_instruments(connection)
        connection.execute("CREATE PUBLICATION keys FOR TABLE order_service.idempotency_key")
        # Made here: CREATE SUBSCRIPTION would wait for its own transaction, which is one of the same server.
        connection.execute("SELECT pg_create_logical_replication_slot('copy', 'pgoutput')")
        connection.execute("SELECT pg_create_logical_replication_slot('watcher', 'test_decoding')")
        copy.execute(
            f"CREATE SUBSCRIPTION copy CONNECTION '{server.dsn}' PUBLICATION keys"
            " WITH (create_slot = false, slot_name = 'copy', copy_data = false)"
        )
        requests = [(1, uuid.uuid4().hex) for _ in range(300)]
        answers = [place_all(connection, requests[:200])]
        # Each call in a session that has not met a key in use.
        for part in (requests[:200], requests[100:], requests[::7]):
            with server.connect() as other:
                answers.append(place_all(other, part))
        assert [sum(row[2] for row in rows) for rows in answers] == [0, 200, 100, 43]
        # One more: when it is there, all that was committed before it is.
        place_all(connection, [(LAST_ACCOUNT, "last")])
        wait_until(lambda: copy.execute(IS_LAST_THERE, [LAST_ACCOUNT]).fetchone()[0], 60, "the last key")
        assert copy.execute(KEYS).fetchall() == connection.execute(KEYS).fetchall()
        assert connection.execute(DECODED, [INSERTED]).fetchone() == (301,)
        assert connection.execute(DECODED, [DELETED]).fetchone() == (0,)
        copy.execute("DROP SUBSCRIPTION copy")
