#!/usr/bin/python3
"""`make demo`: the whole system, shown once on real servers that are stopped and removed at the end.

Orders are placed, repeated, refused and canceled through the proxy by orderctl, and executed in SQL; then the orders,
their holds at Account and their events in Kafka are compared. Exit status 0 means that every command and statement
did what the text says and nothing differed.
"""

import os
import re
import sys
import time
from contextlib import ExitStack, contextmanager

import psycopg
from confluent_kafka import KafkaException

import host
import proxy
import stack
from broker import kafka_version
from narrator import INDENT, Session, Shell, Unexpected, bold, cell, green, red, say, table, title
from record import (
    ACCOUNT_CHECKS,
    CHECKS,
    by_order,
    load_message,
    read_all,
    read_holds,
    read_orders,
    read_outbox,
    read_reserved,
)

TOPIC = "order.events"
ACCOUNT = stack.ACCOUNT_ID
READY_SECONDS_MAX = 60
PUBLISH_SECONDS_MAX = 30
RELEASE_SECONDS_MAX = 30
LOG_LINES = 20

COUNTS = """\
SELECT (SELECT count(*) FROM order_service.orders) AS orders,
       (SELECT count(*) FROM order_service.outbox) AS events;"""

ORDERS = """\
SELECT order_id AS id, symbol, side, quantity, status, filled_quantity AS filled, reason, hold,
       reserve_amount AS reserved
FROM order_service.order_detail ORDER BY order_id;"""


# --- setting up -----------------------------------------------------------------------------------------------------


def set_up(session, servers):
    """What an operator does once; the id of a session of our account."""
    title("1. Setting up")
    say(
        """One command makes the tables and functions of order_service in the database `orders`. The library was
        loaded when the server started (shared_preload_libraries), so a background worker of PostgreSQL, the publisher,
        has noticed: it sends events to Kafka as soon as they are committed."""
    )
    session.run("CREATE EXTENSION order_service;")
    query = "SELECT database, state FROM order_service.stats;"
    session.wait_for(query, READY_SECONDS_MAX, "start of the publisher", state="STREAMING")
    say(
        """What may be traded. In the database, money is counted in whole micro-units of the currency: 1,000,000 is
        1.0, and nothing is ever rounded. A price must be a multiple of the tick and within the limits of the day, a
        quantity a multiple of the lot."""
    )
    session.run(stack.INSTRUMENTS)
    say("The proxy gets a role that may call the functions it needs, and touch no table; our customer gets a session.")
    session.run(f"CREATE ROLE {proxy.ROLE} LOGIN;")
    session.run(f"SELECT order_service.grant_proxy('{proxy.ROLE}');")
    customer = session.row(stack.SESSION)["session"]
    servers.account.create(ACCOUNT, stack.CASH, stack.POSITIONS)
    servers.proxy.start()
    stack.wait_until(servers.proxy.ready, READY_SECONDS_MAX, "order-proxy's first connection to PostgreSQL")
    assets = [f"{amount / 1e6:,.2f} {currency}" for currency, amount in stack.CASH.items()]
    assets += [f"{quantity} {symbol}" for symbol, quantity in stack.POSITIONS.items()]
    say(
        f"""At Account, the service that knows what everybody owns (here a stand-in with a real ledger), account
        {ACCOUNT} has {", ".join(assets)}. order-proxy now listens on {servers.proxy.address}. Its configuration:"""
    )
    print()
    for line in servers.proxy.config_path.read_text().splitlines():
        print(f"{INDENT} {line}".rstrip())
    return customer


# --- orders, through the proxy --------------------------------------------------------------------------------------


def order_id_of(output):
    """The order id in what orderctl said."""
    return int(re.search(r"\border (\d+)", output).group(1))


def place_orders(shell):
    """Four orders; their ids."""
    title("2. Placing orders")
    say(
        """A client speaks a binary protocol to the proxy; orderctl is a client for the command line. It finds the
        proxy in ORDER_PROXY and its session in ORDER_SESSION. Each order has an idempotency key, the client's own
        name for this request. The proxy records the order, reserves the cash (or, to sell, the position) at Account,
        and only then accepts it."""
    )
    buy = shell.run("orderctl place BUY ACME 10 100.00 --key buy-1", "accepted: order")
    market_buy = shell.run("orderctl place BUY ACME 5 --key buy-2", "accepted: order", "at market")
    sell = shell.run("orderctl place SELL BOLT 40 25.50 --tif GTC --key sell-1", "accepted: order")
    other_sell = shell.run("orderctl place SELL ACME 20 120.00 --key sell-2", "accepted: order")
    return tuple(map(order_id_of, (buy, market_buy, sell, other_sell)))


def repeat_and_misuse(shell, session, buy):
    title("3. The same request again, and a different one under the same key")
    say(
        """A client whose connection broke cannot know whether its order arrived. It sends the same request again,
        with the same key, and gets the same answer: nothing was placed, and nothing reserved, a second time."""
    )
    again = shell.run("orderctl place BUY ACME 10 100.00 --key buy-1", "accepted (repeated)")
    if order_id_of(again) != buy:
        raise Unexpected("the repeated request was answered with another order")
    say("The same key with another quantity is not that request. It is refused, and the answer says what differs.")
    shell.run("orderctl place BUY ACME 99 100.00 --key buy-1", "KEY_REUSED (422)", "quantity", status=16)
    session.row(COUNTS, orders=4, events=4)


def refuse(shell, session):
    title("4. Requests that cannot be carried out")
    say("A symbol that nobody has heard of; and 100.005 USD, which is not a multiple of the tick of 0.01.")
    shell.run("orderctl place BUY ACNE 10 100.00 --key buy-3", "UNKNOWN_SYMBOL (404)", status=14)
    shell.run("orderctl place BUY ACME 10 100.005 --key buy-4", "PRICE_OFF_TICK (400)", status=10)
    say("Nothing of them was stored, and their keys are still unused.")
    session.row(COUNTS, orders=4, events=4)
    say(
        """More than the customer can pay: Account refuses. This depends on the state of the account, so the order is
        recorded as REJECTED, and that is the answer to its key for good."""
    )
    too_much = "orderctl place BUY ACME 100 140.00 --key buy-5"
    shell.run(too_much, "rejected: INSUFFICIENT_FUNDS", status=12)
    shell.run(too_much, "rejected (repeated): INSUFFICIENT_FUNDS", status=12)
    session.row(COUNTS, orders=5, events=5)


def cancel_order(shell, session, sell):
    title("5. Canceling")
    say(
        """A cancel is a request, too, with a key of its own. The order is canceled only when the exchange confirms
        it, which is told to the database (a gateway to the exchange would do that)."""
    )
    shell.run(f"orderctl cancel {sell} --key cancel-1", "cancel requested: order")
    session.row(report("exchange-1", sell, "'CANCELED'"), status="CANCELED", replayed=False)
    shell.run(f"orderctl get {sell}", "CANCELED")


# --- reports of the exchange, in SQL --------------------------------------------------------------------------------


def report(execution_id, order_id, what):
    return (
        "SELECT order_id, status, filled_quantity, replayed\n"
        f"FROM order_service.apply_execution('{execution_id}', {order_id}, {what});"
    )


def roll_back(session):
    title("6. An order that is rolled back")
    say(
        """SQL may place orders, too. Order, key and event are written in one transaction: if that rolls back, none
        of them ever existed, and Kafka does not hear of it."""
    )
    session.run("BEGIN;")
    session.row(
        "SELECT order_id, status, code, replayed\n"
        f"FROM order_service.place_order({ACCOUNT}, 'buy-6', 'ACME', 'BUY', 'LIMIT', 7, 101000000);",
        status="ACCEPTED",
    )
    session.run("ROLLBACK;")
    session.refused(f"SELECT order_id FROM order_service.find_order({ACCOUNT}, 'buy-6');", "OS404")


def fill_orders(session, buy, market_buy):
    title("7. The exchange trades")
    say("Two trades fill the first order. Every report has an id, and one that arrives twice counts once.")
    first_trade = report("exchange-2", buy, "'TRADE', 4, 100000000")
    session.row(first_trade, status="PARTIALLY_FILLED", filled_quantity=4, replayed=False)
    session.row(first_trade, status="PARTIALLY_FILLED", filled_quantity=4, replayed=True)
    session.row(
        report("exchange-3", buy, "'TRADE', 6, 99990000"), status="FILLED", filled_quantity=10, replayed=False
    )
    say("The MARKET order trades 2 of its 5, and stays open for the rest.")
    session.row(report("exchange-4", market_buy, "'TRADE', 2, 100020000"), status="PARTIALLY_FILLED", replayed=False)


# --- orders, holds and events ---------------------------------------------------------------------------------------


def show_holds(session, servers):
    title("8. The orders, and what Account holds for them")
    session.run(ORDERS)
    say("(An id is never used twice, but one may be passed over: a repeated request takes one and gives it up.)")
    say(
        """HELD: Account keeps back the amount in the column `reserved`, in micro-units of a currency or in units. An
        order that has ended owes a release (RELEASE_DUE), which the proxy sees to within seconds. Wait for it:"""
    )
    debts = "SELECT count(*) AS debts FROM order_service.hold_debt;"
    session.wait_for(debts, RELEASE_SECONDS_MAX, "release of the holds", debts=0)
    say("Account's own list, and beside it the orders:")
    reserved = {order.reserve_id: order for order in read_reserved(session.connection)}
    lines = []
    for hold in read_holds(servers.account):
        order = reserved.get(hold.reserve_id)
        lines.append([*hold, *((order.order_id, order.hold) if order else (None, None))])
    print()
    table(["reserve_id", "account_id", "asset", "amount", "order_id", "hold of the order"], lines)


def wait_until_published(session):
    session.wait_for("SELECT ready FROM order_service.outbox_lag;", PUBLISH_SECONDS_MAX, "publishing", ready=0)


def show_outbox(session):
    title("9. The outbox")
    say(
        """Every change of an order wrote its event into the outbox, in the same transaction. The publisher marks
        an event SENT when Kafka has acknowledged it. Wait until none is left to send:"""
    )
    wait_until_published(session)
    say(
        """The last column is the time from the start of the transaction to the mark; for the first events it can
        include connecting to Kafka. The gap in event_id is the order that was rolled back; order_version never has
        a gap."""
    )
    rows = session.run(
        "SELECT event_id, order_id, order_version, event_type, status, retry_count,\n"
        "       round(extract(epoch FROM sent_at - created_at) * 1000, 1) AS ms_until_sent\n"
        "FROM order_service.outbox_detail ORDER BY event_id;"
    )
    if any(row["status"] != "SENT" for row in rows):
        raise Unexpected("an event is not marked SENT")


# --- the records, in Kafka ------------------------------------------------------------------------------------------


def show_life(order_id, order, records):
    """One order: its row, and beside it its records, a column each. What does not change is written once."""

    def line(label, values, of_row=" "):
        texts = [cell(value) for value in values]
        return [label, of_row, *(text if i == 0 or text != texts[i - 1] else "=" for i, text in enumerate(texts))]

    lines = [
        line("topic", [each.topic for each in records]),
        line("partition, offset", [f"{each.partition}, {each.offset}" for each in records]),
        line("key", [each.key for each in records]),
    ]
    for name in dict.fromkeys(name for each in records for name in each.headers):
        lines.append(line(f"header {name}", [each.headers.get(name) for each in records]))
    for name in dict.fromkeys(name for each in records for name in each.event):
        of_row = cell(order[name]) if name in order else " "
        lines.append(line(f"value {name}", [each.event[name] for each in records], of_row))
    print()
    table([f"order {order_id}", "order_detail", *(f"record {i + 1}" for i in range(len(records)))], lines)


def show_records(orders, records, example):
    title("10. The same events, read back from Kafka")
    say(
        f"""A consumer has read topic {TOPIC} from its beginning and found {len(records)} records. The key is the order
        id, so the records of an order are all in one partition, in the order of their versions. The header `id` names
        the event: a consumer that gets one twice, which a crash can cause, can tell."""
    )
    print()
    names = ("id", "type")
    lines = [[each.partition, each.offset, each.key, *map(each.headers.get, names)] for each in records]
    table(["partition", "offset", "key", *(f"header {name}" for name in names)], lines)
    say(
        f"""The value is a protobuf message (proto/order_event.proto). Order {example} in full, its row of order_detail
        beside its records; `=` means: as in the record before it. price_micro_units is the column price;
        created_at_millis is created_at, in milliseconds since 1970."""
    )
    show_life(example, orders[example], by_order(records).get(example, []))


def run_checks(checks, *found):
    """Print every check with what it found; the number of differences."""
    count = 0
    for claim, check in checks.items():
        differences = list(check(*found))
        count += len(differences)
        verdict = red("NO".ljust(3)) if differences else green("yes")
        print(f"{INDENT}{verdict}  {claim}")
        for difference in differences:
            print(red(f"{INDENT}     {difference}"))
    return count


def compare(connection, servers, records):
    """Check everything; the number of differences."""
    title("11. Is it the same?")
    rows, orders = read_outbox(connection), read_orders(connection)
    say(f"{len(rows)} rows in the outbox, {len(records)} records in Kafka, {len(orders)} orders:")
    print()
    count = run_checks(CHECKS, rows, records, orders)
    reserved, holds = read_reserved(connection), read_holds(servers.account)
    say(f"{len(reserved)} orders, {len(holds)} holds at Account:")
    print()
    count += run_checks(ACCOUNT_CHECKS, reserved, holds)
    print("\n" + bold(f"{count} difference{'' if count == 1 else 's'}"))
    return count


# --- the servers ----------------------------------------------------------------------------------------------------


@contextmanager
def running(server):
    """A server for the length of a block. One whose start is interrupted is removed, too."""
    try:
        server.start()
        yield server
    finally:
        server.remove()


def tell(session, servers):
    """The story up to the last event; the id of the order that is shown in full."""
    customer = set_up(session, servers)
    tools = os.pathsep.join([str(host.program("orderctl").parent), os.environ["PATH"]])
    shell = Shell(PATH=tools, **stack.client_variables(servers, customer))
    buy, market_buy, sell, _ = place_orders(shell)
    repeat_and_misuse(shell, session, buy)
    refuse(shell, session)
    cancel_order(shell, session, sell)
    roll_back(session)
    fill_orders(session, buy, market_buy)
    show_holds(session, servers)
    show_outbox(session)
    return buy


def tell_and_compare(servers, message_class):
    """The whole story; the number of differences."""
    with servers.postgres.connect() as connection:
        try:
            example = tell(Session(connection), servers)
        except (TimeoutError, Unexpected) as error:
            logs = [f"The end of {name}'s log:\n{server.log_tail(LOG_LINES)}" for name, server in ends(servers)]
            raise type(error)("\n".join([str(error), *logs])) from None
        records = read_all(servers.kafka, TOPIC, message_class)
        show_records(read_orders(connection), records, example)
        return compare(connection, servers, records)


def ends(servers):
    """The servers whose logs can explain what went wrong."""
    return [(name, server) for name, server in servers._asdict().items() if name != "kafka"]


def demo():
    """All of it; the exit status."""
    stack.require_extension()
    begin = time.monotonic()
    print(f"Starting Apache Kafka {kafka_version()}, PostgreSQL and Account, private to this demo ...", flush=True)
    with stack.Scratch("demo") as directory, ExitStack() as block:
        servers = stack.make_servers(directory)
        block.enter_context(running(servers.kafka))
        servers.kafka.create_topic(TOPIC)
        servers.postgres.brokers = servers.kafka.bootstrap
        block.enter_context(running(servers.postgres))
        servers.postgres.create_database(extension=False)
        block.enter_context(running(servers.account))
        # Started by the story, when there is an extension.
        block.callback(servers.proxy.remove)
        version = servers.postgres.execute("SHOW server_version")[0][0]
        print(
            f"Kafka is on {servers.kafka.bootstrap}, PostgreSQL {version} on 127.0.0.1:{servers.postgres.port},"
            f" Account on {servers.account.address}."
        )
        count = tell_and_compare(servers, load_message(directory))
    print(f"\nAll servers are stopped and their data is removed, after {time.monotonic() - begin:.0f} s.")
    print("To try it yourself: `make up`, then `. .run/env; orderctl --help; psql`; `make down` when done.")
    return 1 if count else 0


def main():
    stack.exit_on_signals()
    # Lines appear when they are written, also through a pipe, and so in order with messages of errors.
    sys.stdout.reconfigure(line_buffering=True)
    try:
        return demo()
    except (stack.SandboxError, TimeoutError, Unexpected, psycopg.Error, KafkaException) as error:
        print(f"\ndemo: FAILED: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted; the servers are stopped and removed", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Nobody reads on (`make demo | head`). What is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
