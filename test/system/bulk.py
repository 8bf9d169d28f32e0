"""Many orders through a proxy: order-bench as the generator, and its log held against the tables.

open_accounts(whole)      sessions of accounts that can pay, and of some that cannot pay for all they ask for
Bench(whole, ...)         a run: start(), stop() before its time, join(); .output and .log afterwards
Log                       what was answered; .broken_promises(connection)
merged(logs)              of several runs, one
"""

import signal
import subprocess

from host import program
from load import SYMBOLS

CONNECTIONS = 64
IN_FLIGHT = 16
REPEAT_PERCENT, CANCEL_PERCENT = 5, 10
ACCOUNTS, POOR_ACCOUNTS = 30, 2
NO_ORDER = 0
UNDECIDED = (409, 504)
PLACE, CANCEL = 1, 2


def open_accounts(whole):
    """Sessions of 30 rich accounts, and of two that run out of cash and of one symbol."""
    symbols = {symbol: 10**9 for symbol in SYMBOLS}
    rich = [whole.new_account(**symbols) for _ in range(ACCOUNTS)]
    poor = [whole.new_account(cash=10**10, **{**symbols, SYMBOLS[0]: 100}) for _ in range(POOR_ACCOUNTS)]
    return [whole.open_session(account) for account in rich + poor]


class Log:
    """What was answered under each key; read from a file with one line per answer: KEY KIND ORDER_ID CODE REPLAYED."""

    def __init__(self, path=None):
        self.placed, self.repeated, self.canceled = {}, [], {}
        for line in path.read_text().splitlines() if path is not None else ():
            key, kind, order_id, code, replayed = line.split()
            answer = (int(order_id), int(code), replayed == "1")
            if kind == "repeat":
                self.repeated.append((key, answer))
            else:
                {"place": self.placed, "cancel": self.canceled}[kind][key] = answer

    def __len__(self):
        return len(self.placed) + len(self.repeated) + len(self.canceled)

    def codes(self):
        """{code: how many places and cancels were answered so}"""
        found = {}
        for _, code, _ in [*self.placed.values(), *self.canceled.values()]:
            found[code] = found.get(code, 0) + 1
        return dict(sorted(found.items()))

    def broken_promises(self, connection, after_cancel=("CANCEL_REQUESTED",)):
        """Answers that the tables contradict, and orders that nobody was told of; a list of texts.

        after_cancel: what may have become of an order that is to be canceled.
        An error frame promises that nothing was recorded, unless it says that the outcome is unknown, or that the
        order is still in progress: so it is where a proxy had to ask again what became of its own request.
        """
        query = (
            "SELECT k.key, k.command, o.order_id, o.code, order_service.status_name(o.status)"
            " FROM order_service.idempotency_key k JOIN order_service.orders o USING (order_id)"
        )
        rows = {key: tuple(row) for key, *row in connection.execute(query)}
        found = self._broken_places(rows) + self._broken_repetitions() + self._broken_cancels(rows, after_cancel)
        unknown = [row for key, row in rows.items() if key not in self.placed and key not in self.canceled]
        return found + [f"nobody was told of {row}" for row in unknown]

    def _broken_places(self, rows):
        found = []
        for key, (order_id, code, _) in self.placed.items():
            row = rows.get(key)
            if order_id == NO_ORDER:
                is_kept = code in UNDECIDED or row is None
            else:
                is_kept = row is not None and row[:3] == (PLACE, order_id, code)
            if not is_kept:
                found.append(f"place was answered {order_id} {code}, the database has {row}")
        return found

    def _broken_repetitions(self):
        return [
            f"repetition was answered {answer}, the first time {self.placed[key]}"
            for key, answer in self.repeated
            if answer[0] != NO_ORDER and answer != (*self.placed[key][:2], True)
        ]

    def _broken_cancels(self, rows, after_cancel):
        found = []
        for key, (order_id, code, _) in self.canceled.items():
            row = rows.get(key)
            if code == 200:
                is_kept = row is not None and row[:2] == (CANCEL, order_id) and row[3] in after_cancel
            else:
                is_kept = code in UNDECIDED or row is None
            if not is_kept:
                found.append(f"cancel was answered {order_id} {code}, the database has {row}")
        return found


def merged(logs):
    """The first of the logs, with what is in the others. Keys are never used twice."""
    first, *others = logs
    for log in others:
        first.placed.update(log.placed)
        first.repeated += log.repeated
        first.canceled.update(log.canceled)
    return first


class Bench:
    """One run of order-bench against a proxy, as fast as it goes or at a rate per second. Files go to `directory`."""

    def __init__(self, whole, sessions, directory, orders, connections=CONNECTIONS, in_flight=IN_FLIGHT, rate=None):
        self.output = None
        self.log = None
        self._log_path = directory / "bench.log"
        secrets = directory / "sessions"
        secrets.write_text("".join(f"{session}\n" for session in sessions))
        self._command = [str(program("order-bench")), "--server", whole.proxy.address, "--sessions", str(secrets)]
        self._command += ["--connections", str(connections), "--in-flight", str(in_flight), "--orders", str(orders)]
        self._command += ["--repeat", str(REPEAT_PERCENT), "--cancel", str(CANCEL_PERCENT), "--side", "both"]
        self._command += ["--symbols", ",".join(SYMBOLS), "--quantity", "10", "--price", "10.00"]
        self._command += ["--log", str(self._log_path)]
        self._command += ["--rate", str(rate)] if rate is not None else []
        self._process = None

    def start(self):
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    @property
    def is_running(self):
        return self._process.poll() is None

    def stop(self):
        """Send no more; join() waits for the answers."""
        self._process.send_signal(signal.SIGINT)

    def kill(self):
        """End it at once, if it still runs: for a test that has failed."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def join(self, seconds):
        """Wait for its end, which must be a good one: everything was answered."""
        try:
            self.output, _ = self._process.communicate(timeout=seconds)
        finally:
            self._process.kill()
        assert self._process.returncode == 0, self.output
        self.log = Log(self._log_path)
