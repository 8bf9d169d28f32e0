"""Single placements: pgbench, one order per transaction, and a loop of placements inside one transaction."""

import os
import re
import subprocess
from contextlib import contextmanager

import machine
import stack
from servers import costs, program, tied

# One text for ours and the baseline, so that they differ by the schema alone. {key} is a new key for every call.
PLACE = "{schema}.place_order({account}, {key}, 'BENCH-' || {symbol}, 'BUY', 'LIMIT', 10, 100000000)"
KEY = "gen_random_uuid()::text"
SCRIPT = """\
\\set account random(1, 100000)
\\set symbol random(1, {symbols})
SELECT * FROM {place};
"""
# Several orders in one transaction, and one answer.
SCRIPT_OF_MANY = """\
\\set account random(1, 100000)
\\set symbol random(1, {symbols})
SELECT count(order_id) FROM generate_series(1, {orders}) AS n, {place};
"""
LOOP = """\
DO $$
BEGIN
    FOR n IN 1..{calls} LOOP
        PERFORM * FROM {place};
    END LOOP;
END
$$"""
# The hints of one transaction are kept in memory up to a limit; more calls than this would not pay for all of them.
LOOP_CALLS = 5000
# As many as baseline.sql makes.
SYMBOLS = 1000


def write_script(directory, schema, orders):
    key = KEY if orders == 1 else f"{KEY} || n"
    place = PLACE.format(schema=schema, account=":account", key=key, symbol=":symbol")
    path = directory / f"{schema}.pgbench"
    path.write_text((SCRIPT if orders == 1 else SCRIPT_OF_MANY).format(place=place, symbols=SYMBOLS, orders=orders))
    return path


def loop(schema, calls=LOOP_CALLS):
    """One transaction with many placements, as a statement."""
    place = PLACE.format(schema=schema, account="n", key=KEY, symbol=f"(n % {SYMBOLS} + 1)")
    return LOOP.format(calls=calls, place=place)


@contextmanager
def ended(process):
    """Whatever happens, the process is gone afterwards."""
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()


def pgbench(servers, schema, connections, seconds, rate=None, log_prefix=None, per_transaction=1):
    """Run pgbench to its end, `rate` orders/s if given. Returns (orders, orders/s, CPU seconds of pgbench)."""
    command = [program("pgbench"), "-n", "-M", "prepared", "-c", str(connections), "-j", str(min(connections, 2))]
    command += ["-T", str(seconds), "-f", str(write_script(servers.directory, schema, per_transaction))]
    if rate is not None:
        command += ["-R", str(rate / per_transaction)]
    if log_prefix is not None:
        command += ["-l", "--log-prefix", str(log_prefix)]
    output_path = servers.directory / "pgbench.out"
    with open(output_path, "wb") as output:
        environment = {**os.environ, **servers.client_environment()}
        process = subprocess.Popen(tied(command), stdout=output, stderr=subprocess.STDOUT, env=environment)
        with ended(process):
            _pid, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    text = output_path.read_text()
    processed = re.search(r"actually processed: (\d+)", text)
    speed = re.search(r"^tps = ([\d.]+)", text, re.M)
    if process.returncode != 0 or not processed or not speed or re.search(r"failed transactions: [1-9]", text):
        raise stack.SandboxError(f"pgbench failed:\n{text}")
    orders, orders_per_s = int(processed[1]) * per_transaction, float(speed[1]) * per_transaction
    return orders, orders_per_s, usage.ru_utime + usage.ru_stime


def run(servers, schema, connections, seconds):
    """One run at full speed; with a publisher, the costs include what it does until all is in Kafka."""
    servers.reset()
    sent = servers.sent() if servers.has_publisher else 0
    before = servers.usage()
    orders, speed, client = pgbench(servers, schema, connections, seconds)
    result = {"orders_per_s": speed}
    if servers.has_publisher:
        result["behind"] = sent + orders - servers.sent()
        servers.wait_sent(sent + orders)
    servers.wait_disconnected()
    result.update(costs(before, servers.usage(), client, orders))
    servers.check_counts(schema, orders)
    return result


def run_loop(servers, schema, transactions):
    """CPU of one backend per order, without the client, the commit and the wake-ups between processes."""
    servers.reset()
    with servers.postgres.connect() as connection:
        pid = connection.info.backend_pid
        connection.execute(loop(schema, 10))
        usage = servers.usage()
        before = machine.precise_cpu_seconds(pid)
        for _ in range(transactions):
            connection.execute(loop(schema))
        used = machine.precise_cpu_seconds(pid) - before
        orders = transactions * LOOP_CALLS
        result = costs(usage, servers.usage(), 0.0, orders)
    servers.check_counts(schema, orders + 10)
    return {**result, "cpu_us_backend": used * 1e6 / orders}
