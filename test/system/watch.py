"""Orders through a proxy whose network is in trouble, and what every such run must show.

with Watch(whole, directory, rate) as watch: ...    order-bench at a steady rate, a prober, and pings; ends with finish()
"""

import threading
import time

import ledger
from bulk import Bench, open_accounts
from prober import Prober
from stack import wait_until

RATE = 100
CONNECTIONS, IN_FLIGHT = 8, 128
# More than any run has time for: finish() ends it.
ORDERS_MAX = 1_000_000
WAIT_SECONDS_MAX = 60
RUN_SECONDS_MAX = 60
# What a hold may take that nobody knows of, when its Account service is there again.
DEBT_SECONDS_MAX = 120
PING_SECONDS = 0.05
# What the answers to places, repetitions and cancels may be while a server is away.
CODES = {200, 402, 409, 503, 504}

UNSETTLED = "SELECT count(*) FROM order_service.orders WHERE status = 0 OR hold = 2"


class Pinger(threading.Thread):
    """Pings the proxy, which answers by itself. `slowest`: the seconds that an answer took at most; `count` of them."""

    def __init__(self, whole):
        super().__init__(daemon=True)
        self.slowest = 0.0
        self.count = 0
        self._whole = whole
        self._stopping = threading.Event()

    def run(self):
        with self._whole.client() as client:
            while not self._stopping.wait(PING_SECONDS):
                asked = time.monotonic()
                client.ping()
                self.slowest = max(self.slowest, time.monotonic() - asked)
                self.count += 1

    def stop(self):
        self._stopping.set()
        self.join()


class Watch:
    """One run. Until finish() the test makes the trouble."""

    def __init__(self, whole, directory, rate=RATE):
        self._whole = whole
        self._bench = Bench(whole, open_accounts(whole), directory, ORDERS_MAX, CONNECTIONS, IN_FLIGHT, rate=rate)
        self._prober = Prober(whole)
        self._pinger = Pinger(whole)

    def __enter__(self):
        self._bench.start()
        self._prober.start()
        self._pinger.start()
        self.wait_for_acceptance(WAIT_SECONDS_MAX)
        return self

    def __exit__(self, *_exc):
        self._prober.stop()
        self._pinger.stop()
        self._bench.kill()

    def wait_for_refusal(self, count=1):
        """Until so many more orders were not accepted; how many seconds that took."""
        goal = self._prober.refusal_count() + count
        return self._wait(lambda: self._prober.refusal_count() >= goal, WAIT_SECONDS_MAX, f"{count} refused orders")

    def wait_for_acceptance(self, seconds, count=1):
        """Until so many more orders were accepted; how many seconds that took."""
        goal = self._prober.accepted_count() + count
        return self._wait(lambda: self._prober.accepted_count() >= goal, seconds, f"{count} accepted orders")

    def _wait(self, predicate, seconds, what):
        begin = time.monotonic()
        wait_until(predicate, seconds, what)
        assert self._bench.is_running
        return time.monotonic() - begin

    @property
    def slowest_answer(self):
        """The seconds that the answer to an order took at most, so far."""
        return self._prober.slowest

    def wait_for_pings(self, count):
        """Until so many more pings were answered."""
        goal = self._pinger.count + count
        wait_until(lambda: self._pinger.count >= goal, WAIT_SECONDS_MAX, f"{count} answers to pings")

    def finish(self, read_topic, answer_seconds_max):
        """End the load, print what happened and check all of it; the codes of the answers."""
        self._bench.stop()
        self._bench.join(RUN_SECONDS_MAX)
        self._prober.stop()
        self._pinger.stop()
        ended = time.monotonic()
        wait_until(lambda: self._whole.postgres.execute(UNSETTLED) == [(0,)], DEBT_SECONDS_MAX, "end of all doubts")
        settled = time.monotonic() - ended
        log = self._bench.log
        log.placed.update(self._prober.answers)
        print(
            f"{len(log)} answers, codes {log.codes()}; slowest answer {self._prober.slowest:.2f} s,"
            f" longest time without an order accepted {self._prober.longest:.1f} s;"
            f" {self._pinger.count} pings, slowest {self._pinger.slowest:.2f} s;"
            f" all settled {settled:.1f} s after the load"
        )
        with self._whole.postgres.connect() as connection:
            found = log.broken_promises(connection)
        found += self._whole.differences(read_topic)
        assert not found, ledger.show(found)
        assert log.codes().keys() <= CODES
        assert self._prober.slowest < answer_seconds_max
        assert self._pinger.slowest < answer_seconds_max
        return log.codes()
