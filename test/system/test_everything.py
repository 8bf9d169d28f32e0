"""Everything at once: whoever is killed or frozen, every order has one outcome, which its client gets to know.

Shows 8 of the issue on crashes and unknown outcomes. Two proxies before one database and one Account; clients that go
from one to the other; an exchange that reports. Meanwhile both proxies, PostgreSQL as a whole and by process, Kafka
and Account are killed and frozen, often several at a time. Who, when and for how long is drawn from a seed, CHAOS_SEED
in the environment; CHAOS_SECONDS is for how long it goes on. In the end all run again, every doubt is cleared up, and
the ledgers are compared.
"""

import os
import random
import threading
import time
from collections import Counter

import ledger
import pytest
from bulk import open_accounts
from faults import Striker, draw_strikes, postgres_faults, server_faults
from insistent import BURST_MAX, DECIDED_SECONDS_MAX, Book, Client, Exchange
from load import wait_all_sent
from soak import sized
from stack import wait_until

SEED = int(os.environ.get("CHAOS_SEED", "8"))
FAULT_SECONDS = int(os.environ.get("CHAOS_SECONDS", sized(120, 600)))
CLIENTS = 10
RATE = 300
# The proxies come first: every order passes one. Kafka takes seconds to start, and orders do not wait for it.
WEIGHTS = {"proxy A": 3, "proxy B": 3, "PostgreSQL": 3, "Account": 3, "Kafka": 1}
RETURN_SECONDS_MAX = 120
# What the issue allows for the last hold.
HOLD_SECONDS_MAX = 120
SENT_SECONDS_MAX = 120
ASKED_AGAIN_MAX = 2000
CHECK_SECONDS = 0.2
SETTINGS = {
    # Requests run out of time while their servers are away.
    "listen.request_timeout": "1s",
    "account.attempt_timeout": "400ms",
    "account.overall_timeout": "800ms",
    # The breaker takes part, and is not all there is to see.
    "account.breaker_open_time": "500ms",
    # All debts are paid by the end, those that wait for their second release too.
    "resolver.second_release": "2s",
}

UNSETTLED = "SELECT count(*) FROM order_service.orders WHERE status = 0 OR hold IN (2, 3)"
ORDERS = "SELECT count(*) FROM order_service.orders"


@pytest.fixture
def wholes(make_whole, kafka, topic):
    """Two proxies before the same servers, built with the sanitizers."""
    first = make_whole(kafka=kafka, topic=topic, variant="asan", settings=SETTINGS)
    return first, make_whole(first.postgres, first.account, topic=topic, variant="asan", settings=SETTINGS)


def make_strikers(wholes, kafka, ended):
    """One thread for each target, with its part of the plan, which is printed."""
    first, second = wholes
    faults = {
        "proxy A": server_faults(first.proxy, ended),
        "proxy B": server_faults(second.proxy, ended),
        "PostgreSQL": postgres_faults(first.postgres, ended, random.Random(SEED)),
        "Account": server_faults(first.account, ended),
        "Kafka": server_faults(kafka, ended),
    }
    plan = draw_strikes(SEED, FAULT_SECONDS, {name: (WEIGHTS[name], list(faults[name])) for name in faults})
    print(f"\nCHAOS_SEED={SEED}, {FAULT_SECONDS} s")
    for name in faults:
        texts = [f"{s.at:.1f} {s.fault} {s.seconds:.1f}" for s in plan if s.target == name]
        print(f"{name}: {', '.join(texts)}")
    return [Striker(name, faults[name], [s for s in plan if s.target == name], ended) for name in faults]


def strike(strikers, clients, ended):
    """Let the faults happen until their time is over, or a thread has failed; then everything is brought back."""
    for striker in strikers:
        striker.start()
    deadline = time.monotonic() + FAULT_SECONDS
    while not ended.wait(CHECK_SECONDS) and time.monotonic() < deadline and not any(c.error for c in clients):
        pass
    ended.set()
    for client in clients:
        client.stop()
    for striker in strikers:
        striker.join(RETURN_SECONDS_MAX)


def settle(wholes, clients, exchange):
    """Until every request is decided, report applied, debt paid and event sent; how long the debts took."""
    begin = time.monotonic()
    for client in clients:
        client.join(DECIDED_SECONDS_MAX)
    exchange.stop()
    exchange.join(DECIDED_SECONDS_MAX)
    postgres = wholes[0].postgres
    wait_until(lambda: postgres.execute(UNSETTLED) == [(0,)], HOLD_SECONDS_MAX, "end of all doubts")
    seconds = time.monotonic() - begin
    for whole in wholes:
        whole.wait_ready()
    with postgres.connect() as connection:
        wait_all_sent(connection, SENT_SECONDS_MAX)
    return seconds


def ask_again(book, exchange, addresses):
    """Every proxy is asked for keys that had been in doubt, and must say what was said then; how many there are."""
    keys = [key for key in book.doubted if key in book.log.placed or key in book.log.canceled]
    sample = random.Random(SEED).sample(keys, min(len(keys), ASKED_AGAIN_MAX))
    for address in addresses:
        client = Client(book, exchange, [address], sessions=[], rate=None, seed=SEED)
        for start in range(0, len(sample), BURST_MAX):
            client.decide([book.doubted[key].repeat() for key in sample[start : start + BURST_MAX]])
        client.close()
    return len(keys)


def crashes_of_its_own(postgres):
    """Lines of the log about processes of the server that ended otherwise than by SIGKILL: that was always ours."""
    signs = ("PANIC:", "TRAP:", "was terminated by signal")
    lines = [line for line in postgres.log_text().splitlines() if any(sign in line for sign in signs)]
    return [line for line in lines if "was terminated by signal 9" not in line]


@pytest.mark.soak
@pytest.mark.timeout(FAULT_SECONDS + 600)
def test_everything_fails_at_once_and_no_order_is_lost_doubled_or_left_in_doubt(wholes, kafka, topic, read_topic):
    postgres, sessions = wholes[0].postgres, open_accounts(wholes[0])
    book, exchange, ended = Book(), Exchange(postgres), threading.Event()
    addresses, rate = [whole.proxy.address for whole in wholes], RATE / CLIENTS
    clients = [Client(book, exchange, addresses, sessions, rate, f"{SEED}.{number}") for number in range(CLIENTS)]
    strikers = make_strikers(wholes, kafka, ended)
    for thread in [exchange, *clients]:
        thread.start()
    strike(strikers, clients, ended)
    seconds = settle(wholes, clients, exchange)
    doubted = ask_again(book, exchange, addresses)
    records = read_topic(topic)

    faults = {striker.name: dict(sorted(striker.counts.items())) for striker in strikers}
    print(f"{sum(striker.counts.total() for striker in strikers)} faults: {faults}")
    print(f"{len(book.log)} keys, codes {book.log.codes()}; on the way {dict(sorted(book.counts.items()))}")
    print(f"{doubted} keys had an attempt without an answer; reports of the exchange: {dict(exchange.counts)}")
    print(f"longest time without an order accepted: {book.longest:.1f} s; settled {seconds:.1f} s after all ran again")
    with postgres.connect() as connection:
        found = book.broken_promises(connection) + exchange.broken_promises(connection)
        [(orders,)] = connection.execute(ORDERS)
    found += crashes_of_its_own(postgres) + wholes[0].differences(lambda _topic: records)
    repeats = ledger.without_duplicates(records)[1]
    print(f"{orders} orders; {len(records)} records in Kafka, {repeats} of them duplicates; {len(found)} differences")
    assert all(striker.counts for striker in strikers)
    assert not found, ledger.show(found)
