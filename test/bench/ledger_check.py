"""The ledger check of the system tests, over what one run of the benchmark has added."""

import sys
from collections import Counter, namedtuple
from pathlib import Path

import stack
from confluent_kafka import Consumer, TopicPartition

sys.path.append(str(Path(__file__).resolve().parents[1] / "system"))

import account_ledger  # noqa: E402 (found only through the line above)
import ledger  # noqa: E402

TOPIC = stack.TOPICS[0]
READ_SECONDS_MAX = 120
OK = 200
NO_ANSWER = 0

CODES = "SELECT code, count(*) FROM order_service.orders WHERE order_id > %s GROUP BY code"


class Record(namedtuple("Record", "partition offset key value headers")):
    """A record as the ledger check wants it."""

    def header(self, name):
        return next((value.decode() for key, value in self.headers if key == name), None)


def ends(servers):
    """{partition: offset} at which the topic ends now, to read from."""
    return {number: end for number, (_first, end) in servers.kafka.offsets(TOPIC).items()}


def read(servers, starts):
    """The records from these offsets to the end that the topic has now, by partition and offset."""
    left = sum(end - starts[number] for number, end in ends(servers).items())
    consumer = Consumer({"bootstrap.servers": servers.kafka.bootstrap, "group.id": "ledger-check", "log_level": 0})
    records = []

    def is_at_end():
        for message in consumer.consume(10_000, timeout=0.1):
            if message.error():
                raise stack.SandboxError(f"reading {TOPIC}: {message.error()}")
            key, headers = message.key().decode(), message.headers()
            records.append(Record(message.partition(), message.offset(), key, message.value(), headers))
        return len(records) >= left

    try:
        consumer.assign([TopicPartition(TOPIC, number, start) for number, start in starts.items()])
        stack.wait_until(is_at_end, READ_SECONDS_MAX, f"{left} records of {TOPIC}")
    finally:
        consumer.close()
    return sorted(records, key=lambda record: (record.partition, record.offset))


def differences(servers, account, starts, loads):
    """Where answers, tables, Account and Kafka (`starts` None: nothing is published) disagree; a list of texts.

    Where rows of before were kept, only numbers are compared: to read millions of rows would take too long.
    """
    last_order_id, _ = servers.last_ids
    codes = dict(servers.connection.execute(CODES, [last_order_id]).fetchall())
    holds = account.hold_list()
    records = read(servers, starts) if starts is not None else None
    found = compare_answers(codes, [load.report for load in loads])
    if servers.keeps_rows:
        return found + compare_numbers(codes, holds, records)
    named = {h["reserve_id"]: (h["account_id"], h["symbol"] or h["currency"], h["amount"]) for h in holds}
    found += account_ledger.differences(servers.connection, named)
    if records is not None:
        found += ledger.differences(servers.connection, records)
    return found


def compare_answers(codes, reports):
    """Where all answers were good, there are as many orders. (The codes of a warm-up are not told.)"""
    told = Counter()
    for report in reports:
        told.update({int(code): count for code, count in report["requests"]["place"]["codes"].items()})
        told[OK] += report["warm_up_answered"]
        told[NO_ANSWER] += report["unanswered"]
    if set(+told) | set(codes) <= {OK} and told[OK] != codes.get(OK, 0):
        return [f"answered {dict(told)}, but the orders have {codes}"]
    return []


def compare_numbers(codes, holds, records):
    """As many holds as accepted orders, as many events as orders."""
    found = []
    if len(holds) < codes.get(OK, 0):
        found.append(f"{codes.get(OK, 0)} accepted orders, but {len(holds)} holds")
    if records is not None and len({record.header("id") for record in records}) != sum(codes.values()):
        found.append(f"{sum(codes.values())} orders, but {len(records)} records")
    return found
