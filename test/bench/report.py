"""Medians, ratios within a round, tables in Markdown, and the file with everything."""

import json
import statistics
from collections import Counter, defaultdict

# Heading, figure, digits.
DRAIN_FIGURES = (
    ("events/s", "events_per_s", 0),
    ("CPU us per event", "cpu_us", 1),
    ("CPU, cores", "cores", 2),
    ("own memory, MB", "memory_mb", 1),
    ("WAL bytes per event", "wal_bytes", 0),
)
RATE_FIGURES = (
    ("p50, ms", "p50_ms", 1),
    ("p99, ms", "p99_ms", 1),
    ("p99.9, ms", "p999_ms", 1),
    ("CPU, cores", "cores", 2),
    ("own memory, MB", "memory_mb", 1),
)
IDLE_FIGURES = (("proxy_mb", 1), ("proxy_percent", 3), ("publisher_percent", 3))
COST_KINDS = ("proxy", "backends", "publisher", "account", "kafka", "walwriter", "checkpointer", "client")
# Of the whole path: heading, figure, digits.
LATENCY_FIGURES = (("p50, ms", "p50_ms", 1), ("p99", "p99_ms", 1), ("p99.9", "p999_ms", 1), ("max", "max_ms", 0))


class Samples:
    """What the runs gave: {series: {round: {figure: value}}}."""

    def __init__(self):
        self._runs = defaultdict(dict)

    def add(self, series, round_number, result):
        self._runs[series][round_number] = result

    def __contains__(self, series):
        return series in self._runs

    def values(self, series, figure):
        """One value per round; a figure of a group is written group.name."""
        group, _, name = figure.rpartition(".")
        runs = self._runs.get(series, {}).values()
        found = ((run.get(group, {}) if group else run).get(name) for run in runs)
        return [value for value in found if value is not None]

    def ratios(self, series, other, figure="orders_per_s"):
        """The quotient of two series, round by round: what slowed a whole round down cancels out."""
        ours, others = self._runs.get(series, {}), self._runs.get(other, {})
        rounds = [n for n in sorted(ours.keys() & others.keys()) if others[n][figure]]
        return [ours[n][figure] / others[n][figure] for n in rounds]

    def median(self, series, figure):
        values = self.values(series, figure)
        return statistics.median(values) if values else None

    def others(self):
        """Cores that other programs had during each run."""
        found = (run.get("others_cores") for runs in self._runs.values() for run in runs.values())
        return [value for value in found if value is not None]

    def dump(self):
        return {series: [runs[n] for n in sorted(runs)] for series, runs in self._runs.items()}


# --- text -----------------------------------------------------------------------------------------------------------


def spread(values, digits=0):
    """median [lowest-highest]"""
    if not values:
        return "-"
    low, middle, high = (f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return middle if low == high else f"{middle} [{low}-{high}]"


def number(value, digits=0):
    return "-" if value is None else f"{value:,.{digits}f}"


def table(heads, rows):
    """A Markdown table that can also be read as it stands."""
    rows = [heads, *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines) + "\n"


# --- the parts ------------------------------------------------------------------------------------------------------


def single_table(samples, connections):
    rows = []
    for count in connections:
        ours, base, on = f"ours {count}", f"plpgsql {count}", f"publisher {count}"
        if ours not in samples:
            continue
        loss = [(1 - ratio) * 100 for ratio in samples.ratios(on, ours)]
        rows.append(
            [
                str(count),
                spread(samples.values(base, "orders_per_s")),
                spread(samples.values(ours, "orders_per_s")),
                spread(samples.ratios(ours, base), 2),
                spread(samples.values(on, "orders_per_s")),
                spread(loss),
                spread(samples.values(on, "behind")),
            ]
        )
    heads = ["connections", "plpgsql", "place_order", "ratio", "with publisher", "its cost, %", "behind at end"]
    return "(a) single placements, orders/s: median [lowest-highest]\n\n" + table(heads, rows)


def loop_table(samples):
    ours, base = (samples.values(f"loop {name}", "cpu_us_backend") for name in ("ours", "plpgsql"))
    if not ours:
        return ""
    ratios = samples.ratios("loop ours", "loop plpgsql", "cpu_us_backend")
    heads = ["plpgsql", "place_order", "ratio"]
    title = "(d) many placements in one transaction, CPU us of the backend per order\n\n"
    return title + table(heads, [[spread(base, 1), spread(ours, 1), spread(ratios, 2)]])


def batch_table(samples, sizes, connections):
    names = {f"place {size}": ("place_orders", str(size)) for size in sizes}
    names |= {f"call {size}": ("receive and settle", str(size)) for size in sizes}
    names["copy"] = ("COPY", "")
    rows = []
    for count in connections:
        for name, heads in names.items():
            series = f"{name} x{count}"
            if series in samples:
                share = [100 * value for value in samples.values(series, "driver_share")]
                ratios = [samples.ratios(series, other) for other in (f"copy x{count}", "plpgsql 32")]
                cells = [spread(samples.values(series, "orders_per_s")), *(spread(values, 2) for values in ratios)]
                cells.append(spread(share))
                rows.append([str(count), *heads, *cells])
    heads = ["connections", "call", "items", "orders/s", "/ COPY", "/ plpgsql at 32", "driver CPU, % of a core"]
    return "(b) array calls: place_orders, one commit, and receive_orders + settle_orders, two\n\n" + table(heads, rows)


def outbox_tables(samples, rates):
    text = ""
    if "drain" in samples:
        rows = [[spread(samples.values("drain", "orders")), spread(samples.values("drain", "events_per_s"))]]
        text += "(c) drain of a backlog\n\n" + table(["events", "events/s"], rows) + "\n"
    rows = []
    for rate in rates:
        series = f"open {rate}"
        if series in samples:
            figures = ("ack_p50_ms", "ack_p99_ms", "marked_p50_ms", "marked_p99_ms", "client_p50_ms", "client_p99_ms")
            rows.append([f"{rate:,}", *(spread(samples.values(series, figure), 1) for figure in figures)])
    heads = ["orders/s", "commit-ack p50 <=", "p99 <=", "begin-marked p50", "p99", "client p50", "p99"]
    return text + "(c) latency at a fixed rate, ms\n\n" + table(heads, rows) if rows else text


def relay_tables(samples, rates):
    """The publisher beside the plain relay; ratios are publisher to relay, of one round each."""
    rows = []
    for name, figure, digits in DRAIN_FIGURES:
        ours, other = (samples.values(f"drain {way}", figure) for way in ("publisher", "relay"))
        ratios = samples.ratios("drain publisher", "drain relay", figure)
        rows.append([name, spread(ours, digits), spread(other, digits), spread(ratios, 2)])
    text = "Drain of a backlog\n\n" + table(["", "publisher", "relay", "ratio"], rows) + "\n"
    rows = []
    for rate in rates:
        for name, figure, digits in RATE_FIGURES:
            ours, other = (samples.values(f"{rate} {way}", figure) for way in ("publisher", "relay"))
            ratios = samples.ratios(f"{rate} publisher", f"{rate} relay", figure)
            rows.append([f"{rate:,}", name, spread(ours, digits), spread(other, digits), spread(ratios, 2)])
    heads = ["orders/s", "", "publisher", "relay", "ratio"]
    return text + "At a fixed rate; latency from the commit to the append at the broker\n\n" + table(heads, rows)


def cost_table(samples, names):
    """names: {series: what it is called}"""
    rows = []
    for series, name in names.items():
        if series not in samples:
            continue
        cells = [number(samples.median(series, f"cpu_us.{kind}"), 1) for kind in COST_KINDS]
        cells += [number(samples.median(series, "wal_bytes")), number(samples.median(series, "fsyncs"), 3)]
        rows.append([name, *cells])
    heads = ["per order (median)", *COST_KINDS, "WAL bytes", "fsyncs"]
    return "(d) cost of an order by process, CPU us\n\n" + table(heads, rows)


def _latencies(samples, series):
    return [spread(samples.values(series, figure), digits) for _, figure, digits in LATENCY_FIGURES]


def _outcome(samples, series):
    """All answers by code, requests without one, and what the ledger check found, over all rounds."""
    codes = Counter()
    for answers in samples.values(series, "codes"):
        codes.update(answers)
    text = ", ".join(f"{code}: {count:,}" for code, count in sorted(codes.items()))
    unanswered = sum(samples.values(series, "unanswered"))
    return [text + (f", none: {unanswered:,}" if unanswered else ""), str(sum(samples.values(series, "differences")))]


def whole_tables(samples, in_flight, rates):
    """The whole path: closed loops beside the plpgsql function alone, and open loops."""
    rows = []
    for count in in_flight:
        series, without = f"whole 64x{count}", f"unpublished 64x{count}"
        if series not in samples:
            continue
        loss = [(1 - ratio) * 100 for ratio in samples.ratios(series, without)]
        cells = [spread(samples.values(name, "orders_per_s")) for name in (series, "baseline 32")]
        cells += [spread(samples.ratios(series, "baseline 32"), 2), *_latencies(samples, series)[:2]]
        cells += [spread(samples.values(without, "orders_per_s")), spread(loss), *_outcome(samples, series)]
        rows.append([f"64 x {count}", *cells])
    heads = ["in flight", "orders/s", "plpgsql, 32", "ratio", "p50, ms", "p99", "no publisher", "its cost, %"]
    text = "(e) whole path, closed loop\n\n" + table([*heads, "answers", "differences"], rows) + "\n"
    rows = []
    for rate in rates:
        series = f"whole {rate}/s"
        if series in samples:
            cells = [spread(samples.values(series, "orders_per_s")), *_latencies(samples, series)]
            cells += [spread(samples.values(series, figure)) for figure in ("behind", "sent_after_ms")]
            rows.append([f"{rate:,}", *cells, *_outcome(samples, series)])
    heads = ["orders/s", "accepted/s", *(head for head, *_ in LATENCY_FIGURES), "behind at end", "0 after, ms"]
    return text + "(e) whole path, open loop\n\n" + table([*heads, "answers", "differences"], rows)


def proxy_table(samples):
    """What the proxy takes with many connections, and with nothing to do."""
    cells = [spread(samples.values("connections", figure), 1) for figure in ("proxy_mb", "peak_mb")]
    cells += [spread(samples.values("idle", figure), digits) for figure, digits in IDLE_FIGURES]
    heads = ["MB, 10,000 connections", "at most", "MB, idle", "proxy idle, % of a core", "publisher idle, %"]
    return "(e) the proxy at rest\n\n" + table(heads, [cells])


def growth_table(samples, names, existing):
    """Beside each other: a server with empty tables, and one with many orders."""
    rows = []
    for name in names:
        few, many = f"empty {name}", f"grown {name}"
        cells = [spread(samples.values(series, "orders_per_s")) for series in (few, many)]
        cells.append(spread(samples.ratios(many, few), 2))
        cells.append(spread(samples.ratios(many, few, "cpu_us_all"), 2))
        cells += [number(samples.median(series, "wal_bytes")) for series in (few, many)]
        rows.append([name, *cells])
    heads = ["", "empty, orders/s", f"{existing:,} orders", "ratio", "ratio of CPU per order", "WAL bytes, empty", "grown"]
    return "Beside existing orders\n\n" + table(heads, rows)


def noise_text(samples, processors):
    cores = spread(samples.others(), 1)
    return f"Other programs had {cores} of the {processors} cores during the runs. The more, the less all this says.\n"


def write(path, head, samples):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**head, "series": samples.dump()}, indent=1) + "\n")
