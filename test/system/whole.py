"""A whole system as the tests of the proxy use it: PostgreSQL with the extension, Account, and a proxy before both.

Every test takes accounts of its own, so that those of a module can share one system.
"""

import itertools

import account_ledger
import ledger
import wire
from load import add_instruments, wait_all_sent
from stack import wait_until

CURRENCY = "EUR"
CASH = 1_000_000_000_000_000
POSITION = 1_000_000_000
READY_SECONDS_MAX = 30
# Settings of a proxy whose circuit breaker stays closed whatever a test makes Account do, short of failing for ever.
BREAKER_OFF = {"account.breaker_window": 16384, "account.breaker_failures_percent": 100}

_accounts = itertools.count(1001)


class Whole:
    """The servers: postgres, account, proxy; and the topic that the events go to, None without a Kafka."""

    def __init__(self, postgres, account, proxy, topic=None):
        self.postgres = postgres
        self.account = account
        self.proxy = proxy
        self.topic = topic
        with postgres.connect() as connection:
            add_instruments(connection)
        self.wait_ready()

    def wait_ready(self, seconds=READY_SECONDS_MAX):
        wait_until(self.proxy.ready, seconds, "a proxy that is ready")

    def new_account(self, cash=CASH, **positions):
        """An account that Account knows, rich unless said otherwise; its id."""
        number = next(_accounts)
        self.enrich(number, cash, positions or {"AAA": POSITION})
        return number

    def enrich(self, account_id, cash, positions):
        """Add to what an account has: micro-units of the currency in which all trade, {symbol: units}."""
        self.account.create(account_id, cash={CURRENCY: cash}, positions=positions)

    def holds(self):
        """What Account holds: {reserve_id: (account id, symbol or currency, amount)}."""
        return {
            hold["reserve_id"]: (hold["account_id"], hold["symbol"] or hold["currency"], hold["amount"])
            for hold in self.account.hold_list()
        }

    def open_session(self, account_id, ttl="1 day"):
        """A session id for an account."""
        return self.postgres.execute("SELECT order_service.open_session(%s, %s)", [account_id, ttl])[0][0]

    def client(self, account_id=None, **options):
        """A connection, logged in for an account if one is given."""
        client = wire.Client(self.proxy.address, **options)
        if account_id is not None:
            answer = client.login(self.open_session(account_id))
            assert answer.account_id == account_id
        return client

    def order(self, order_id):
        """An order's row, as a dictionary of order_detail."""
        with self.postgres.connect() as connection:
            cursor = connection.execute("SELECT * FROM order_service.order_detail WHERE order_id = %s", [order_id])
            names = [column.name for column in cursor.description]
            row = cursor.fetchone()
        return dict(zip(names, row)) if row is not None else None

    def order_count(self, account_id):
        """How many orders an account has."""
        query = "SELECT count(*) FROM order_service.orders WHERE account_id = %s"
        return self.postgres.execute(query, [account_id])[0][0]

    def differences(self, read_topic=None):
        """The ledger check, a list of texts: the tables and Account, and Kafka if it takes part."""
        with self.postgres.connect() as connection:
            found = account_ledger.differences(connection, self.holds())
            if read_topic is not None:
                wait_all_sent(connection)
                found += ledger.differences(connection, read_topic(self.topic))
        return found
