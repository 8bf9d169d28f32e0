"""Where a placement spends its time: `bench.py --profile`.

Two views of a loop of placements inside one transaction, so without protocol, commit and wake-ups. Instructions,
counted by callgrind in a single-user server: the same on a busy machine as on an idle one, and they can be attributed
to the functions of the extension with all that these call. Samples of perf: where the processor really was.
"""

import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

import single
import stack
import whole_path
from host import run_tool
from pgserver import DATABASE, pg_config, private

WARM_CALLS = 100
COUNTED_CALLS = 1000
PERF_TRANSACTIONS = 8
PERF_HERTZ = 2999
PERF_LINES = 16
SCHEMAS = {"place_order": "order_service", "plpgsql": "bench"}
BATCH = 256
WARM_BATCHES = 2
COUNTED_BATCHES = 10
# Both array calls, many times in one transaction, as a statement.
BATCH_LOOP = f"""\
DO $$
DECLARE
    ids bigint[];
BEGIN
    FOR n IN 1..{{calls}} LOOP
        SELECT array_agg(r.order_id) INTO ids FROM order_service.receive_orders(
            array_fill(n::bigint, ARRAY[{BATCH}]), array(SELECT {single.KEY} FROM generate_series(1, {BATCH})),
            array(SELECT 'BENCH-' || s FROM generate_series(1, {BATCH}) s), array_fill(1::smallint, ARRAY[{BATCH}]),
            array_fill(1::smallint, ARRAY[{BATCH}]), array_fill(10::bigint, ARRAY[{BATCH}]),
            array_fill(100000000::bigint, ARRAY[{BATCH}]), array_fill(1::smallint, ARRAY[{BATCH}])) r;
        PERFORM * FROM order_service.settle_orders(ids, array_fill(0::smallint, ARRAY[{BATCH}]),
            array_fill(1::smallint, ARRAY[{BATCH}]));
    END LOOP;
END
$$"""

# With all that they call. The functions of a line are added up, those with a minus taken off.
INCLUSIVE = {
    "the call: fmgr_security_definer, or plpgsql's handler": ("fmgr_security_definer", "plpgsql_call_handler"),
    ".. without SECURITY DEFINER and SET": ("functions_place_order",),
    ".. instrument: search": ("hot_table_find",),
    ".. claim of the key": ("idempotency_claim",),
    ".. order": ("orders_insert",),
    ".. event: row and hint": ("outbox_append",),
    ".. ids: nextval, or ours": ("nextval_internal", "ids_take"),
    "ExecutorStart, of these and of the loop's own statement": ("standard_ExecutorStart",),
    "ExecutorEnd, likewise": ("standard_ExecutorEnd",),
    "heap_insert": ("heap_insert",),
    "index_insert": ("index_insert",),
    "XLogInsert (in these)": ("XLogInsert",),
    "SearchSysCache": ("SearchSysCache1", "SearchSysCache2", "SearchSysCache3"),
    "memory: palloc and its like": ("palloc", "palloc0", "MemoryContextAlloc", "MemoryContextAllocZeroAligned"),
}
# The same for the array calls.
BATCH_INCLUSIVE = {
    "receive_orders": ("functions_receive_orders",),
    ".. claim of the keys": ("idempotency_claim",),
    ".. orders": ("orders_insert",),
    "settle_orders": ("functions_settle_orders",),
    ".. orders: lock": ("orders_lock",),
    ".. orders: update": ("orders_update",),
    ".. events: rows and hints": ("outbox_append",),
    "heap_multi_insert": ("heap_multi_insert",),
    "heap_update": ("heap_update",),
    "heap_lock_tuple": ("heap_lock_tuple",),
    "index_insert": ("index_insert",),
    "XLogInsert (in these)": ("XLogInsert",),
}
# Of a table of strace: the calls, perhaps errors, the name.
STRACE_LINE = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", re.M)
TRACE_SECONDS = 3
LINE = re.compile(r"^\s*([\d,]+) \([^)]*\)\s+\S*?:([^:\s]+?)(?:'\d+)? \[", re.M)


def _require(name):
    if shutil.which(name) is None:
        raise stack.SandboxError(f"{name} is not installed: apt-get install {name.replace('perf', 'linux-perf')}")


def _count(servers, statement):
    """{function: instructions with all that it calls} of a single-user server that runs a statement."""
    data = servers.postgres.data
    path = data / "callgrind.out"
    binary = str(private(pg_config("bindir")) / "postgres")
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={path}", binary]
    # Of the cluster's own settings, but for the memory, whose making would be counted.
    command += ["--single", "-D", str(data), "-c", "shared_buffers=16MB", DATABASE]
    run_tool(command, data, " ".join(statement.split()) + "\n")
    annotate = ["callgrind_annotate", "--inclusive=yes", "--threshold=100", str(path)]
    text = subprocess.run(annotate, stdout=subprocess.PIPE, text=True, check=True).stdout
    path.unlink()
    counts = {}
    for number, name in LINE.findall(text):
        # A function that calls itself has a line per depth, and one of ours has a line per spelling of its path.
        counts[name] = max(counts.get(name, 0), int(number.replace(",", "")))
    return counts


def _per_order(servers, loop, warm, counted, batch=1):
    """Instructions per order once all plans are made: the difference of two runs of loop(calls)."""
    few = _count(servers, loop(warm))
    many = _count(servers, loop(warm + counted))
    return {name: (many[name] - few.get(name, 0)) / (counted * batch) for name in many}


def _sum(count, functions):
    return sum(-count.get(name[1:], 0) if name.startswith("-") else count.get(name, 0) for name in functions)


def count_instructions(servers):
    """Instructions per placement of both, as text."""
    _require("valgrind")
    servers.reset()
    servers.connection.close()
    servers.postgres.stop()
    counts = {
        name: _per_order(servers, partial(single.loop, schema), WARM_CALLS, COUNTED_CALLS)
        for name, schema in SCHEMAS.items()
    }
    batch = _per_order(servers, lambda calls: BATCH_LOOP.format(calls=calls), WARM_BATCHES, COUNTED_BATCHES, BATCH)
    servers.postgres.start()
    servers.connect()
    lines = [f"{'instructions per placement':<58}" + "".join(f"{name:>14}" for name in counts)]
    for label, functions in INCLUSIVE.items():
        sums = [_sum(count, functions) for count in counts.values()]
        lines.append(f"{label:<58}" + "".join(f"{value:>14,.0f}" if value else f"{'-':>14}" for value in sums))
    lines.append(f"\n{f'instructions per order, array calls of {BATCH}':<58}")
    lines += [f"{label:<58}{_sum(batch, functions):>14,.0f}" for label, functions in BATCH_INCLUSIVE.items()]
    return "\n".join(lines)


def sample(servers, schema):
    """perf's list of the functions in which the processor was most often, as text."""
    path = servers.directory / "perf.data"
    servers.reset()
    with servers.postgres.connect() as connection:
        connection.execute(single.loop(schema, WARM_CALLS))
        command = ["perf", "record", "-q", "-e", "cycles:u", "-F", str(PERF_HERTZ), "-o", str(path)]
        process = subprocess.Popen(
            single.tied([*command, "-p", str(connection.info.backend_pid)]), stderr=subprocess.DEVNULL
        )
        with single.ended(process):
            for _ in range(PERF_TRANSACTIONS):
                connection.execute(single.loop(schema))
            process.terminate()
            process.wait()
    return f"{_report(path, 'dso', 4)}\n\n{_report(path, 'symbol', PERF_LINES)}"


def _report(path, key, line_count):
    command = ["perf", "report", "-i", str(path), "--stdio", "-q", "--sort", key]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    lines = [line.rstrip(" -") for line in result.stdout.splitlines() if line.strip()]
    return "\n".join(lines[:line_count])


def count_system_calls(servers, in_flight):
    """System calls of the proxy per order in a closed loop, as text. To be traced slows it down: batches grow."""
    servers.reset()
    path = servers.directory / "strace.out"
    with whole_path.front_before(servers) as front:
        tracer = ["strace", "-q", "-c", "-f", "-o", str(path), "-p", str(front.proxy_pid)]
        process = subprocess.Popen(single.tied(tracer), stderr=subprocess.DEVNULL)
        with single.ended(process):
            status = f"/proc/{front.proxy_pid}/status"
            stack.wait_until(lambda: "TracerPid:\t0\n" not in Path(status).read_text(), TRACE_SECONDS, "strace at work")
            words = ["--closed", "--in-flight", str(in_flight)]
            with whole_path.Load(front, whole_path.CONNECTIONS, TRACE_SECONDS, words) as load:
                load.wait()
            process.terminate()
            process.wait()
    counts = {name: int(count) / load.answered for count, name in STRACE_LINE.findall(path.read_text())}
    total = counts.pop("total")
    parts = [f"{name} {count:.2f}" for name, count in counts.items() if count >= 0.01]
    return f"system calls of the proxy per order, 64 x {in_flight}: {total:.2f}\n  {', '.join(parts)}"


def run(servers):
    """The whole report."""
    for name in ("perf", "strace"):
        _require(name)
    servers.restart(has_publisher=False)
    parts = [count_system_calls(servers, count) for count in whole_path.IN_FLIGHT]
    parts.append(count_instructions(servers))
    for name, schema in SCHEMAS.items():
        parts.append(f"{name}, perf -e cycles:u, without the kernel:\n{sample(servers, schema)}")
    return "\n\n".join(parts)
