"""The links to PostgreSQL and to Account are cut and lose packets under load: answers come in time, nothing is lost.

Shows 5 of the issue on crashes and unknown outcomes; test_slow_network.py has the rest of it. The proxy lives in a
network of its own, with a wire to each server and one for its clients.
"""

from collections import namedtuple
from functools import partial

import pytest
from account import Account
from host import write_server_file
from namespace import NETWORKS, Away, is_inside, run_inside
from pgserver import DATABASE, HBA
from proxy import ROLE
from soak import sized
from stack import free_port, wait_until
from watch import Watch
from whole import BREAKER_OFF

CUTS = sized(1, 10)
ORDERS_BETWEEN = sized(20, 200)
RUN_SECONDS_MAX = sized(900, 3400)
STEP_SECONDS_MAX = 60
PINGS = 20
# The promise is 5 s until a dead connection is found, and 10 s until orders are accepted again.
RECOVERY_SECONDS_MAX = 20
# One request's time, and what Account and a settlement may take beyond it, on a machine that others use, too.
REQUEST_SECONDS = 1
ANSWER_SECONDS_MAX = REQUEST_SECONDS + 4
LOSS_PERCENT = 5
ORDERS_WITH_LOSS = sized(100, 2000)

REQUEST = {"listen.request_timeout": f"{REQUEST_SECONDS}s"}
# While the database is in trouble Account has more time than it needs, and no breaker; where it is Account, the breaker
# lets orders through again soon.
PATIENT = {"account.attempt_timeout": "400ms", "account.overall_timeout": "800ms", **BREAKER_OFF}
BRISK = {"account.breaker_open_time": "1s"}

SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE client_addr = %s"

Apart = namedtuple("Apart", "whole database account")


if not is_inside():

    @pytest.mark.soak
    @pytest.mark.timeout(RUN_SECONDS_MAX + 20)
    def test_a_network_that_is_cut_or_loses_packets_costs_no_order():
        print(run_inside(__file__, RUN_SECONDS_MAX))

else:
    pytestmark = pytest.mark.soak

    @pytest.fixture
    def away():
        away = Away()
        yield away
        away.close()

    @pytest.fixture
    def postgres(make_postgres, kafka, topic):
        server = make_postgres(kafka=kafka, topic=topic, settings={"listen_addresses": "*"}, start=False)
        server.init()
        write_server_file(server.data / "pg_hba.conf", f"{HBA}host all all {NETWORKS} trust\n")
        server.start()
        server.create_database()
        return server

    @pytest.fixture
    def account_wire(away):
        return away.add_wire()

    @pytest.fixture
    def account(account_wire, scratch, topic):
        server = Account(scratch / f"account-{topic}")
        server.host, server.port, server.admin_port = account_wire.near, free_port(), free_port()
        with server:
            yield server

    @pytest.fixture
    def make_apart(make_whole, away, postgres, account, account_wire, topic):
        """make_apart(settings, hosts=1) -> Apart: the system, and its wires; the database has so many addresses."""

        def make(settings, hosts=1):
            clients, *databases = [away.add_wire() for _ in range(1 + hosts)]
            names = ",".join(wire.near for wire in databases)
            writer = f"host={names} port={postgres.port} user={ROLE} dbname={DATABASE}"
            settings = {**REQUEST, "database.writer": writer, **settings}
            home = (clients.far, away.before)
            whole = make_whole(postgres, account, topic=topic, settings=settings, variant="asan", home=home)
            return Apart(whole, databases[0], account_wire)

        return make

    def connections_lost(whole):
        return whole.proxy.metrics()['pg_disconnects_total{pool="writer",reason="lost"}']

    def wait_for_dead_connection(whole, lost_before):
        wait_until(lambda: connections_lost(whole) > lost_before, STEP_SECONDS_MAX, "a connection found dead")

    def wait_for_no_endpoint(whole, _):
        wait_until(
            lambda: whole.proxy.metrics()["grpc_client_endpoints_ready"] == 0, STEP_SECONDS_MAX, "an endpoint found dead"
        )

    Link = namedtuple("Link", "name settings refusals wait_found_dead")
    LINKS = [
        Link("database", PATIENT, {503, 504}, wait_for_dead_connection),
        Link("account", BRISK, {503}, wait_for_no_endpoint),
    ]

    @pytest.mark.parametrize("way", ["cut", "cut_to_far"])
    @pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)
    def test_a_link_that_is_cut_costs_its_requests_and_comes_back_by_itself(
        make_apart, read_topic, tmp_path, link, way
    ):
        """In turn until a request has failed, and until what was connected has been given up."""
        apart = make_apart(link.settings)
        wire = getattr(apart, link.name)
        print()
        with Watch(apart.whole, tmp_path) as watch:
            for number in range(2 * CUTS):
                watch.wait_for_acceptance(STEP_SECONDS_MAX, ORDERS_BETWEEN)
                lost = connections_lost(apart.whole)
                getattr(wire, way)()
                refused = watch.wait_for_refusal()
                watch.wait_for_pings(PINGS)
                if number % 2 == 1:
                    link.wait_found_dead(apart.whole, lost)
                wire.join()
                back = watch.wait_for_acceptance(RECOVERY_SECONDS_MAX)
                print(f"{way} {number + 1}: refused {refused:.1f} s after it, accepted {back:.1f} s after its end")
            codes = watch.finish(read_topic, ANSWER_SECONDS_MAX)
        assert link.refusals & codes.keys()

    def test_a_database_that_vanishes_is_found_dead_and_looked_for_elsewhere(
        make_apart, postgres, read_topic, tmp_path
    ):
        """Nobody says a word on the connections that were open: nothing ever comes back on that wire."""
        apart = make_apart({**PATIENT, "database.connect_timeout": "1s"}, hosts=2)
        with Watch(apart.whole, tmp_path) as watch:
            lost = connections_lost(apart.whole)
            apart.database.cut()
            watch.wait_for_refusal()
            back = watch.wait_for_acceptance(RECOVERY_SECONDS_MAX)
            print(f"\nvanished: accepted again {back:.1f} s after the first refusal")
            wait_for_dead_connection(apart.whole, lost)
            codes = watch.finish(read_topic, ANSWER_SECONDS_MAX)
        assert codes.keys() & {503, 504}
        # The server has sessions on that wire, whose other end is silent.
        sessions = partial(postgres.execute, SESSIONS, [apart.database.far])
        wait_until(lambda: sessions() == [(0,)], STEP_SECONDS_MAX, "end of the sessions that nobody has")

    @pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)
    def test_a_link_that_loses_packets_loses_no_order(make_apart, read_topic, tmp_path, link):
        apart = make_apart(link.settings)
        wire = getattr(apart, link.name)
        with Watch(apart.whole, tmp_path) as watch:
            wire.lose(LOSS_PERCENT)
            watch.wait_for_acceptance(RUN_SECONDS_MAX, ORDERS_WITH_LOSS)
            lost = wire.lost_count()
            print(f"\n{lost} packets lost between proxy and {link.name}")
            assert lost > 0
            watch.finish(read_topic, ANSWER_SECONDS_MAX)
