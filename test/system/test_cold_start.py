"""After a start of the server nothing is in its buffers: the pages that a batch needs are read together.

What was asked for is told at DEBUG1, and nowhere else; the batch waits for it as for any other page.
"""

import re
import uuid

import pytest
from load import OK, add_instruments, place_all

ORDERS, CALL = 20_000, 500
ACCOUNTS = 5_000
BATCH = 64
# Some hundred pages of keys, and as many of accounts.
BATCHES_MAX = 100
MESSAGE = re.compile(r'asked for (\d+) pages of the indexes of "order_service\.(\w+)" together')
CHECK = """
SELECT bt_index_check(indexrelid, true)
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
WHERE indrelid IN ('order_service.orders'::regclass, 'order_service.idempotency_key'::regclass) AND amname = 'btree'"""


def requests(count):
    """So many keys that lie anywhere, of accounts that do."""
    keys = [uuid.uuid4() for _ in range(count)]
    return [(key.int % ACCOUNTS + 1, str(key)) for key in keys]


@pytest.fixture
def server(make_postgres):
    """Just started, with orders that were placed before."""
    server = make_postgres(settings={"order_service.databases": "", "autovacuum": "off"})
    with server.connect() as connection:
        add_instruments(connection)
        for _ in range(ORDERS // CALL):
            place_all(connection, requests(CALL))
    server.restart()
    return server


class Watched:
    """A session that places batches, and hears what is asked for."""

    def __init__(self, server, **settings):
        options = {"client_min_messages": "debug1", **settings}
        self.connection = server.connect(options=" ".join(f"-c {name}={value}" for name, value in options.items()))
        self.connection.add_notice_handler(self._hear)
        self._heard = []

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.connection.close()

    def _hear(self, notice):
        found = MESSAGE.fullmatch(notice.message_primary)
        if found:
            self._heard.append((found[2], int(found[1])))

    def place(self, count=BATCH):
        """Places so many new orders by one call; {table: pages that were asked for}."""
        self._heard.clear()
        rows = place_all(self.connection, requests(count))
        assert [row[1:] for row in rows] == [(OK, False)] * count
        assert len({row[0] for row in rows}) == count
        return dict(self._heard)


def test_a_batch_asks_for_its_pages_unless_the_one_before_had_all(server):
    with Watched(server) as session:
        # Of a session's first batch most keys are on a page of their own.
        asked = session.place()
        assert BATCH // 2 < asked["idempotency_key"] <= BATCH
        assert BATCH // 4 < asked["orders"]
        # That one had to read, and so goes on until all is there.
        assert session.place()["idempotency_key"] > 0
        assert any(session.place() == {} for _ in range(BATCHES_MAX))
        session.connection.execute("CREATE EXTENSION amcheck")
        assert len(session.connection.execute(CHECK).fetchall()) == 3


def test_a_single_order_asks_for_nothing(server):
    with Watched(server) as session:
        assert [session.place(1) for _ in range(3)] == [{}] * 3


def test_nothing_is_asked_for_where_the_server_is_not_to_read_ahead(server):
    with Watched(server, maintenance_io_concurrency=0) as session:
        assert [session.place() for _ in range(3)] == [{}] * 3
