#!/usr/bin/python3
"""`make demo`: what the extension does, told once on real servers that are stopped and removed at the end.

Orders are placed, repeated, refused, canceled and filled in SQL; then their events are read back from Kafka and
compared with the tables. Exit status 0 means that every statement did what the text says and nothing differed.
"""

import os
import sys
import time
from contextlib import contextmanager

import psycopg
from confluent_kafka import KafkaException

import stack
from broker import kafka_version
from narrator import INDENT, Session, Unexpected, bold, cell, green, red, say, table, title
from record import CHECKS, by_order, load_message, read_all, read_orders, read_outbox

TOPIC = "order.events"
ACCOUNT = 1001
READY_SECONDS_MAX = 60
PUBLISH_SECONDS_MAX = 30
LOG_LINES = 20

COUNTS = """\
SELECT (SELECT count(*) FROM order_service.orders) AS orders,
       (SELECT count(*) FROM order_service.outbox) AS events;"""

ORDERS = """\
SELECT order_id, account_id, symbol, side, order_type AS type, quantity, price, time_in_force AS tif,
       status, filled_quantity AS filled, order_version AS version
FROM order_service.order_detail ORDER BY order_id;"""


# --- the orders, in SQL ---------------------------------------------------------------------------------------------


def place(arguments):
    return f"SELECT order_id, status, code, replayed\nFROM order_service.place_order({ACCOUNT}, {arguments});"


def cancel(key, order_id):
    return f"SELECT order_id, status, code, replayed\nFROM order_service.cancel_order({ACCOUNT}, '{key}', {order_id});"


def report(execution_id, order_id, what):
    return (
        "SELECT order_id, status, filled_quantity, replayed\n"
        f"FROM order_service.apply_execution('{execution_id}', {order_id}, {what});"
    )


def install(session):
    title("1. The extension")
    say("One command makes the tables and functions of order_service in the database `orders`.")
    session.run("CREATE EXTENSION order_service;")
    say(
        """The library was loaded when the server started (shared_preload_libraries), so a background worker of
        PostgreSQL, the publisher, has noticed. It sends events to Kafka as soon as they are committed."""
    )
    query = "SELECT database, state FROM order_service.stats;"
    session.wait_for(query, READY_SECONDS_MAX, "start of the publisher", state="STREAMING")


def add_instruments(session):
    title("2. What may be traded")
    say(
        """Money is counted in whole micro-units of the currency: 1,000,000 is 1.0, so 100000000 is 100.00 USD, and
        nothing is ever rounded. A price must be a multiple of the tick and within the limits of the day, a quantity
        a multiple of the lot."""
    )
    session.run(
        "INSERT INTO order_service.instrument (symbol, currency, tick, lot, price_floor, price_ceiling)\n"
        "VALUES ('ACME', 'USD', 10000, 1, 50000000, 150000000), ('BOLT', 'EUR', 500000, 10, 20000000, 40000000)\n"
        "RETURNING symbol, currency, tick, lot, price_floor, price_ceiling, halted;"
    )


def place_orders(session):
    """Three orders; their ids."""
    title("3. Placing orders")
    say(
        f"""One call places an order: account, idempotency key (the client's own name for this request), symbol, side,
        type, quantity, price. Account {ACCOUNT} buys 10 ACME at up to 100.00 USD, sells 40 BOLT at 25.50 EUR or
        more, good till canceled, and buys 5 ACME at whatever the market asks. Code 200 means accepted."""
    )
    accepted = {"status": "ACCEPTED", "code": 200, "replayed": False}
    buy = session.row(place("'buy-1', 'ACME', 'BUY', 'LIMIT', 10, 100000000"), **accepted)
    sell = session.row(place("'sell-1', 'BOLT', 'SELL', 'LIMIT', 40, 25500000, 'GTC'"), **accepted)
    market_buy = session.row(place("'buy-2', 'ACME', 'BUY', 'MARKET', 5, p_time_in_force => 'IOC'"), **accepted)
    return buy["order_id"], sell["order_id"], market_buy["order_id"]


def repeat_and_misuse(session, buy):
    title("4. The same request again, and a different one under the same key")
    say(
        """A client whose connection broke cannot know whether its order arrived. It sends the same request again,
        with the same key, and gets the same answer: replayed is true, and nothing was placed a second time."""
    )
    session.row(place("'buy-1', 'ACME', 'BUY', 'LIMIT', 10, 100000000"), order_id=buy, status="ACCEPTED", replayed=True)
    session.row(COUNTS, orders=3, events=3)
    say("The same key with another quantity is not that request. It is refused, and the answer says what differs.")
    session.refused(place("'buy-1', 'ACME', 'BUY', 'LIMIT', 99, 100000000"), "OS422")


def refuse(session):
    title("5. Requests that cannot be right")
    say("A symbol that nobody has heard of; and 100.005 USD, which is not a multiple of the tick of 0.01.")
    session.refused(place("'buy-3', 'ACNE', 'BUY', 'LIMIT', 10, 100000000"), "OS404")
    session.refused(place("'buy-4', 'ACME', 'BUY', 'LIMIT', 10, 100005000"), "OS400")
    say("Nothing of them was stored, and their keys are still unused.")
    session.row(COUNTS, orders=3, events=3)


def cancel_order(session, sell):
    title("6. Canceling")
    say(
        """A cancel is a request, too, with a key of its own. Repeated, it is answered again and not done again.
        The order is canceled only when the exchange confirms it."""
    )
    session.row(cancel("cancel-1", sell), status="CANCEL_REQUESTED", code=200, replayed=False)
    session.row(cancel("cancel-1", sell), status="CANCEL_REQUESTED", code=200, replayed=True)
    session.row(report("exchange-1", sell, "'CANCELED'"), status="CANCELED", replayed=False)


def fill_order(session, buy):
    title("7. The exchange reports")
    say(
        """NEW: it has the order. Then two trades, each with quantity and price. Every report has an id, and one that
        arrives twice counts once."""
    )
    first_trade = report("exchange-3", buy, "'TRADE', 4, 100000000")
    session.row(report("exchange-2", buy, "'NEW'"), status="SENT", filled_quantity=0, replayed=False)
    session.row(first_trade, status="PARTIALLY_FILLED", filled_quantity=4, replayed=False)
    session.row(first_trade, status="PARTIALLY_FILLED", filled_quantity=4, replayed=True)
    session.row(
        report("exchange-4", buy, "'TRADE', 6, 99990000"), status="FILLED", filled_quantity=10, replayed=False
    )


def roll_back(session):
    title("8. An order that is rolled back")
    say(
        """The order, its key and its event are written in one transaction. If that rolls back, none of them ever
        existed, and Kafka does not hear of it. (Counted below: the 3 orders, and 8 events.)"""
    )
    session.run("BEGIN;")
    session.row(place("'buy-5', 'ACME', 'BUY', 'LIMIT', 7, 101000000"), status="ACCEPTED", replayed=False)
    session.run("ROLLBACK;")
    session.refused(f"SELECT order_id FROM order_service.find_order({ACCOUNT}, 'buy-5');", "OS404")
    session.row(COUNTS, orders=3, events=8)


def wait_until_published(session):
    session.wait_for("SELECT ready FROM order_service.outbox_lag;", PUBLISH_SECONDS_MAX, "publishing", ready=0)


def show_outbox(session, market_buy):
    title("9. The outbox")
    say(
        """Every change of an order wrote its event into the outbox, in the same transaction. The publisher marks
        an event SENT when Kafka has acknowledged it. Wait until none is left to send:"""
    )
    wait_until_published(session)
    say("Now the publisher is connected to Kafka. One more report, and wait again:")
    session.row(report("exchange-5", market_buy, "'TRADE', 5, 100020000"), status="FILLED", filled_quantity=5)
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


def show_records(session, orders, records):
    title("10. The same events, read back from Kafka")
    say(
        f"""A consumer has read topic {TOPIC} from its beginning and found {len(records)} records. The key is the order
        id, so the records of an order are all in one partition, in the order of their versions. The header `id` names
        the event: a consumer that gets one twice, which a crash can cause, can tell. The value is a protobuf message
        (proto/order_event.proto), decoded here."""
    )
    say("The orders as the database has them now:")
    session.run(ORDERS)
    say(
        """And each order again, its row of order_detail beside its records. `=` means: as in the record before it.
        price_micro_units is the column price; created_at_millis is created_at, in milliseconds since 1970."""
    )
    lives = by_order(records)
    for order_id, order in orders.items():
        show_life(order_id, order, lives.get(order_id, []))


def compare(rows, records, orders):
    """Print every check with what it found; the number of differences."""
    title("11. Is it the same?")
    say(f"{len(rows)} rows in the outbox, {len(records)} records in Kafka, {len(orders)} orders:")
    print()
    count = 0
    for claim, check in CHECKS.items():
        differences = list(check(rows, records, orders))
        count += len(differences)
        verdict = red("NO".ljust(3)) if differences else green("yes")
        print(f"{INDENT}{verdict}  {claim}")
        for difference in differences:
            print(red(f"{INDENT}     {difference}"))
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


def tell(session):
    """The part that is about SQL."""
    install(session)
    add_instruments(session)
    buy, sell, market_buy = place_orders(session)
    repeat_and_misuse(session, buy)
    refuse(session)
    cancel_order(session, sell)
    fill_order(session, buy)
    roll_back(session)
    show_outbox(session, market_buy)


def tell_and_compare(kafka, postgres, message_class):
    """The whole story; the number of differences."""
    with postgres.connect() as connection:
        session = Session(connection)
        try:
            tell(session)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\nThe end of PostgreSQL's log:\n{postgres.log_tail(LOG_LINES)}") from None
        records = read_all(kafka, TOPIC, message_class)
        orders = read_orders(connection)
        show_records(session, orders, records)
        return compare(read_outbox(connection), records, orders)


def demo():
    """All of it; the exit status."""
    stack.require_extension()
    begin = time.monotonic()
    print(f"Starting Apache Kafka {kafka_version()} and PostgreSQL, both private to this demo ...", flush=True)
    with stack.Scratch("demo") as directory, running(stack.Kafka(directory / "kafka")) as kafka:
        kafka.create_topic(TOPIC)
        with running(stack.Postgres(directory / "postgres", brokers=kafka.bootstrap)) as postgres:
            postgres.create_database(extension=False)
            version = postgres.execute("SHOW server_version")[0][0]
            print(f"Kafka is on {kafka.bootstrap}, PostgreSQL {version} on 127.0.0.1:{postgres.port}.")
            count = tell_and_compare(kafka, postgres, load_message(directory))
    print(f"\nBoth servers are stopped and their data is removed, after {time.monotonic() - begin:.0f} s.")
    print("To try it yourself: `make up`, then `. .run/env; psql`; `make down` when done.")
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
