"""Requests at a steady rate on one connection, whatever becomes of the answers, with the time that each answer took.

with Pace(client, wire.PLACE, make, rate) as pace: ...   sends until the end of the block, then waits for all answers
pace.answers      a list of Answer, in the order they came
percentile(values, share)
"""

import threading
import time
from collections import Counter, namedtuple

import wire

ANSWERS_SECONDS_MAX = 20
WAIT_SECONDS_MAX = 0.05

# at: when it was asked, by time.monotonic(); is_error: an ERROR frame, so nothing was recorded
Answer = namedtuple("Answer", "at seconds code reason is_error")


def percentile(values, share):
    """The value that `share` percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))]


def read(frame):
    """(code, reason, is_error) of an answer to PLACE or CANCEL."""
    if frame.flags & wire.ERROR:
        error = wire.error_of(frame)
        return error.code, error.reason, True
    answer = wire.decode(frame, "OrderResponse")
    return answer.code, answer.reason, False


class Pace(threading.Thread):
    """`make` gives the payload of the next request. A request that is late, because the machine was, is still sent."""

    def __init__(self, client, method, make, rate):
        super().__init__(daemon=True)
        self.client = client
        self.method = method
        self.make = make
        self.rate = rate
        self.answers = []
        self.error = None
        self._sent = {}
        self._stopping = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_exc):
        self._stopping.set()
        self.join()
        if self.error is not None:
            raise self.error

    def run(self):
        try:
            self._run()
        except BaseException as error:  # raised again by whoever joins
            self.error = error

    def _run(self):
        due = time.monotonic()
        while not self._stopping.is_set():
            now = time.monotonic()
            if now >= due:
                self._sent[self.client.send(self.method, self.make())] = now
                due += 1 / self.rate
            else:
                self._receive(min(due - now, WAIT_SECONDS_MAX))
        end = time.monotonic() + ANSWERS_SECONDS_MAX
        while self._sent:
            assert time.monotonic() < end, f"{len(self._sent)} requests without an answer"
            self._receive(WAIT_SECONDS_MAX)

    def _receive(self, seconds):
        try:
            frame = self.client.receive(seconds)
        except TimeoutError:
            return
        assert frame is not None, "the proxy closed the connection"
        at = self._sent.pop(frame.correlation)
        self.answers.append(Answer(at, time.monotonic() - at, *read(frame)))

    def codes(self):
        """{(code, reason): how often}"""
        return dict(Counter((answer.code, answer.reason) for answer in list(self.answers)))
