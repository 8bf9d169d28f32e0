"""The database's disk is full: orders are refused, nothing is acknowledged, and all goes on when there is room.

Shows 7 of the issue on crashes and unknown outcomes. A file system of one's own needs rights that a user of a container
may not have; so the server runs with a library that lets no file grow (peers/disk_full.c).
"""

import ledger
import preloaded
import pytest
from bulk import Bench, open_accounts
from prober import Prober
from soak import sized
from stack import wait_until

ROUNDS = sized(1, 10)
RATE = 200
CONNECTIONS = 4
REFUSALS = 50
# Account has more time than it needs: its breaker is not what is tested.
SETTINGS = {"account.attempt_timeout": "400ms", "account.overall_timeout": "800ms"}
RUN_SECONDS_MAX = 300
STEP_SECONDS_MAX = 60

UNSETTLED = "SELECT count(*) FROM order_service.orders WHERE status = 0 OR hold = 2"


@pytest.fixture(scope="module")
def library(scratch):
    """The library that a full disk is made of."""
    return preloaded.build("disk_full", scratch)


@pytest.mark.soak
def test_a_full_disk_refuses_orders_and_loses_none(
    make_whole, make_postgres, library, kafka, topic, read_topic, tmp_path
):
    postgres = make_postgres(kafka=kafka, topic=topic, start=False)
    sign = postgres.directory / "full"
    postgres.variables = {"LD_PRELOAD": str(library), "DISK_FULL": str(sign)}
    postgres.start()
    postgres.create_database()
    whole = make_whole(postgres=postgres, topic=topic, variant="asan", settings=SETTINGS)
    bench = Bench(whole, open_accounts(whole), tmp_path, ROUNDS * 3000, CONNECTIONS, rate=RATE)
    prober = Prober(whole)
    prober.start()
    bench.start()

    def count(*codes):
        return sum(code in codes for _, code, _ in list(prober.answers.values()))

    for number in range(ROUNDS):
        goal = count(200) + REFUSALS
        wait_until(lambda: count(200) >= goal, STEP_SECONDS_MAX, "orders accepted while there is room")
        sign.touch()
        # Pages that have room take a few more.
        goal = count(503, 504) + REFUSALS
        wait_until(lambda: count(503, 504) >= goal, STEP_SECONDS_MAX, "orders refused on a full disk")
        assert bench.is_running
        sign.unlink()
        # Without room for WAL, the server gives up in the end; whoever makes room starts it again.
        has_ended = not postgres.is_running
        if has_ended:
            postgres.start()
        print(f"\nround {number + 1}: {count(200)} accepted, {count(503, 504)} refused; server ended: {has_ended}")
    goal = count(200) + REFUSALS
    wait_until(lambda: count(200) >= goal, STEP_SECONDS_MAX, "orders accepted when there is room again")
    bench.join(RUN_SECONDS_MAX)
    prober.stop()
    wait_until(lambda: postgres.execute(UNSETTLED) == [(0,)], STEP_SECONDS_MAX, "end of all doubts")

    log = bench.log
    log.placed.update(prober.answers)
    tried_again = whole.proxy.metrics()["order_late_settlements_total"]
    print(
        f"{len(log)} answers, codes {log.codes()}; longest time without an order accepted: {prober.longest:.1f} s;"
        f" settlements tried again: {tried_again:.0f}"
    )
    # A full server is not kept busy with being asked again.
    assert tried_again < len(log)
    assert log.codes().keys() <= {200, 402, 409, 503, 504} and log.codes()[503] > 0
    with postgres.connect() as connection:
        found = log.broken_promises(connection)
    found += whole.differences(read_topic)
    assert not found, ledger.show(found)
