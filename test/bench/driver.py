"""The driver of the array calls, a program of its own: one process per connection, started by batches.py.

It speaks libpq through psycopg's lowest layer, with binary arrays that are all made before the clock starts; only the
ids that receiving returned are put together meanwhile. A call is receive_orders_packed() and settle_orders_packed(), as
the proxy has them, or place_orders_packed() alone. It says READY, waits for a line, runs, and prints what it did as
JSON.
"""

import gc
import json
import os
import random
import re
import struct
import sys
import time

import psycopg
from psycopg import pq

INT2, INT4, INT8, TEXT = 21, 23, 20, 25
BINARY = 1
PLACE = b"SELECT order_service.place_orders_packed($1, $2, $3, $4, $5, $6, $7, $8)"
RECEIVE = b"SELECT order_service.receive_orders_packed($1, $2, $3, $4, $5, $6, $7, $8)"
ORDER_TYPES = (1016, 1009, 1009, 1005, 1005, 1016, 1016, 1005)
SETTLE = b"SELECT order_service.settle_orders_packed($1, $2, $3)"
SETTLE_TYPES = (1016, 1005, 1005)
# In a packed row that was not refused: code 200, reason 0, no detail, and behind these the order id.
PACKED_ID = re.compile(re.escape(struct.pack("!ihihii", 2, 200, 2, 0, -1, 8)) + b"(.{8})", re.DOTALL)
COPY_CHUNK = 1 << 20
# As many as baseline.sql makes.
SYMBOLS = 1000


def array(element_type, values):
    """A one-dimensional array as PostgreSQL sends it; values are the elements' own bytes."""
    head = struct.pack("!iIIii", 1, 0, element_type, len(values), 1)
    return head + b"".join(struct.pack("!i", len(value)) + value for value in values)


def uuid_digits(count, is_rising):
    """Those of so many UUIDs: random ones, or, `is_rising`, of version 7, which begin with the time."""
    digits = os.urandom(16 * count).hex()
    if not is_rising:
        return [digits[i : i + 32] for i in range(0, 32 * count, 32)]
    now_ms = time.time_ns() // 1_000_000
    return [f"{now_ms:012x}7{n:03x}{digits[32 * n + 16 : 32 * n + 32]}" for n in range(count)]


def make_calls(count, size, draw, is_rising):
    """The arguments of `count` calls of place_orders() or receive_orders()."""
    symbols = [f"BENCH-{n}".encode() for n in range(1, SYMBOLS + 1)]
    accounts = [struct.pack("!q", n) for n in range(1, 100_001)]
    same = {
        "side": array(INT2, [struct.pack("!h", 1)] * size),
        "limit": array(INT2, [struct.pack("!h", 1)] * size),
        "quantity": array(INT8, [struct.pack("!q", 10)] * size),
        "price": array(INT8, [struct.pack("!q", 100_000_000)] * size),
        "day": array(INT2, [struct.pack("!h", 0)] * size),
    }
    for _ in range(count):
        keys = []
        for key in uuid_digits(size, is_rising):
            keys.append(f"{key[:8]}-{key[8:12]}-{key[12:16]}-{key[16:20]}-{key[20:]}".encode())
        yield [
            array(INT8, draw.choices(accounts, k=size)),
            array(TEXT, keys),
            array(TEXT, draw.choices(symbols, k=size)),
            *same.values(),
        ]


def packed_ids(result, size):
    """The ids of a packed answer, in which all orders must be accepted."""
    if result.status != pq.ExecStatus.TUPLES_OK:
        raise psycopg.OperationalError(result.error_message.decode())
    ids = PACKED_ID.findall(result.get_value(0, 0))
    if len(ids) != size:
        raise psycopg.OperationalError(f"{len(ids)} of {size} orders were accepted")
    return ids


def placer(connection, size):
    """Places the orders of a call, one transaction."""
    connection.prepare(b"place", PLACE, ORDER_TYPES)
    formats = [BINARY] * 8

    def place(arguments):
        packed_ids(connection.exec_prepared(b"place", arguments, formats, BINARY), size)

    return place


def receiver(connection, size):
    """Receives and settles the orders of a call, two transactions."""
    connection.prepare(b"receive", RECEIVE, ORDER_TYPES)
    connection.prepare(b"settle", SETTLE, SETTLE_TYPES)
    reasons = array(INT2, [struct.pack("!h", 0)] * size)
    holds = array(INT2, [struct.pack("!h", 1)] * size)
    head = struct.pack("!iIIii", 1, 0, INT8, size, 1)
    eight = struct.pack("!i", 8)
    formats = [BINARY] * 8

    def receive_and_settle(arguments):
        received = packed_ids(connection.exec_prepared(b"receive", arguments, formats, BINARY), size)
        ids = head + b"".join([eight + id for id in received])
        packed_ids(connection.exec_prepared(b"settle", [ids, reasons, holds], formats[:3], BINARY), size)

    return receive_and_settle


def run_calls(call, calls, size, seconds):
    """Until the time is over or the calls are used up."""
    wait_for_go()
    begin, done = time.monotonic(), 0
    for arguments in calls:
        call(arguments)
        done += 1
        if time.monotonic() - begin >= seconds:
            break
    return done * size, time.monotonic() - begin


def run_copy(connection, contents):
    """The same rows into the same tables, in one transaction."""
    wait_for_go()
    begin = time.monotonic()
    with connection.transaction(), connection.cursor() as cursor:
        for table, content in contents.items():
            with cursor.copy(f"COPY bench.{table} FROM STDIN (FORMAT binary)") as copy:
                for start in range(0, len(content), COPY_CHUNK):
                    copy.write(content[start : start + COPY_CHUNK])
            rows = cursor.rowcount
    return rows, time.monotonic() - begin


def wait_for_go():
    print("READY", flush=True)
    if not sys.stdin.readline():
        sys.exit(1)


def drive(dsn, size, seconds, call_count, copy_files, is_placing, has_rising_keys):
    with psycopg.connect(dsn, autocommit=True) as connection:
        if copy_files:
            contents = {}
            for table, path in copy_files.items():
                with open(path, "rb") as file:
                    contents[table] = file.read()
            work = (run_copy, connection, contents)
        else:
            calls = list(make_calls(call_count, size, random.Random(os.getpid()), has_rising_keys))
            gc.freeze()
            call = (placer if is_placing else receiver)(connection.pgconn, size)
            work = (run_calls, call, calls, size, seconds)
        base = time.process_time()
        orders, elapsed = work[0](*work[1:])
        print(json.dumps({"orders": orders, "seconds": elapsed, "cpu": time.process_time() - base}), flush=True)
        # The connection stays until the snapshot is taken.
        sys.stdin.readline()


if __name__ == "__main__":
    drive(*json.loads(sys.argv[1]))
