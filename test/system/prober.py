"""One client that places an order after another while servers fail: what it was answered, and how long it had to wait."""

import threading
import time

import wire
from bulk import NO_ORDER


class Prober(threading.Thread):
    """Places one order after another; `answers` are as in bulk.Log.placed.

    longest     seconds for which none was accepted
    slowest     seconds that an answer took, at most
    """

    def __init__(self, whole):
        super().__init__(daemon=True)
        self.account = whole.new_account()
        self.longest = 0.0
        self.slowest = 0.0
        self.answers = {}
        self._whole = whole
        self._stopping = threading.Event()

    def run(self):
        accepted = time.monotonic()
        with self._whole.client(self.account) as client:
            while not self._stopping.wait(0.02):
                key = wire.new_key()
                asked = time.monotonic()
                try:
                    answer = client.place(idempotency_key=key, quantity=1)
                    self.answers[key] = (answer.order_id, answer.code, answer.replayed)
                except wire.Refused as error:
                    self.answers[key] = (NO_ORDER, error.code, False)
                self.slowest = max(self.slowest, time.monotonic() - asked)
                if self.answers[key][1] == 200:
                    self.longest = max(self.longest, time.monotonic() - accepted)
                    accepted = time.monotonic()

    def refusal_count(self):
        """How many answers so far were not 200."""
        return sum(code != 200 for _, code, _ in list(self.answers.values()))

    def accepted_count(self):
        """How many answers so far were 200."""
        return sum(code == 200 for _, code, _ in list(self.answers.values()))

    def stop(self):
        self._stopping.set()
        self.join()
