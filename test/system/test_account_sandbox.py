"""The Account stand-in, called by gRPC's own client: the contract's answers, faults, crashes, its life as a process."""

import subprocess

import grpc
import pytest
from account import Account
from account_service import (  # noqa: F401 (fixtures are used by their names)
    CALL_SECONDS_MAX,
    VARIANT,
    Client,
    account,
    cash_of,
    client,
    make_service,
    result_of,
    service,
    shared_service,
    status_of,
)
from host import free_port, program
from stack import wait_until

CRASH_EXIT_CODE = 86


# --- the contract ---------------------------------------------------------------------------------------------------


def test_reserving_and_releasing_move_balances_there_and_back(service, client, account):
    assert client.reserve_cash(account, 400, f"{account}-c") == "SUCCESS"
    assert client.reserve_position(account, 10, f"{account}-p") == "SUCCESS"
    assert service.account(account) == {
        "account_id": account,
        "status": "ACTIVE",
        "cash": {"USD": {"available": 600, "reserved": 400}},
        "positions": {"ACME": {"available": 0, "reserved": 10}},
    }
    held = service.holds()
    assert held[f"{account}-c"] == (account, "", 400)
    assert held[f"{account}-p"] == (account, "ACME", 10)
    assert client.release_cash(account, f"{account}-c") == "SUCCESS"
    assert client.release_position(account, f"{account}-p") == "SUCCESS"
    assert cash_of(service, account) == (1000, 0)
    assert not {f"{account}-c", f"{account}-p"} & service.holds().keys()


def test_a_repeated_reserve_holds_once_and_other_content_is_refused(service, client, account):
    name = f"{account}-a"
    assert [client.reserve_cash(account, 400, name) for _ in range(3)] == ["SUCCESS"] * 3
    assert client.reserve_cash(account, 401, name) == "INVALID_REQUEST"
    assert client.reserve_cash(account, 400, name, order_id="78") == "INVALID_REQUEST"
    assert client.reserve_position(account, 1, name) == "INVALID_REQUEST"
    assert cash_of(service, account) == (600, 400)


def test_a_reserve_behind_its_release_holds_nothing(service, client, account):
    assert client.release_cash(account, f"{account}-late") == "SUCCESS"
    assert client.reserve_cash(account, 400, f"{account}-late") == "INVALID_REQUEST"
    assert client.release_cash(account, f"{account}-late") == "SUCCESS"
    assert cash_of(service, account) == (1000, 0)


def test_only_its_own_account_and_kind_release_a_reservation(service, client, account):
    name = f"{account}-a"
    assert client.reserve_cash(account, 400, name) == "SUCCESS"
    assert client.release_cash(account + 1_000_000, name) == "INVALID_REQUEST"
    assert client.release_position(account, name) == "INVALID_REQUEST"
    assert cash_of(service, account) == (600, 400)


REFUSED = [
    ("reserve_cash", (1001,), {}, "INSUFFICIENT_FUNDS"),
    ("reserve_cash", (2**63 - 1,), {}, "INSUFFICIENT_FUNDS"),
    ("reserve_cash", (1,), {"currency": "EUR"}, "INSUFFICIENT_FUNDS"),
    ("reserve_position", (11,), {}, "INSUFFICIENT_POSITION"),
    ("reserve_position", (1,), {"symbol": "NONE"}, "POSITION_NOT_FOUND"),
    ("reserve_cash", (0,), {}, "INVALID_AMOUNT"),
    ("reserve_cash", (-1,), {}, "INVALID_AMOUNT"),
    ("reserve_position", (-(2**63),), {}, "INVALID_AMOUNT"),
    ("reserve_cash", (1,), {"currency": ""}, "INVALID_REQUEST"),
    ("reserve_cash", (1,), {"order_id": ""}, "INVALID_REQUEST"),
    ("reserve_cash", (1,), {"order_id": "7" * 65}, "INVALID_REQUEST"),
    ("reserve_position", (1,), {"symbol": "A" * 33}, "INVALID_REQUEST"),
    ("reserve_position", (1,), {"symbol": "A B"}, "INVALID_REQUEST"),
]


@pytest.mark.parametrize("method, arguments, fields, expected", REFUSED)
def test_what_cannot_be_held_is_refused(service, client, account, method, arguments, fields, expected):
    assert getattr(client, method)(account, *arguments, f"{account}-a", **fields) == expected
    assert f"{account}-a" not in service.holds()


def test_ids_are_checked(client, account):
    assert client.reserve_cash(account, 1, "") == "INVALID_REQUEST"
    assert client.reserve_cash(account, 1, "x" * 129) == "INVALID_REQUEST"
    assert client.release_cash(account, "") == "INVALID_REQUEST"
    assert client.release_cash(0, "x") == "INVALID_REQUEST"
    assert client.reserve_cash(account + 1_000_000, 1, f"{account}-a") == "ACCOUNT_NOT_FOUND"


def test_a_suspended_account_releases_and_reserves_nothing(service, client, account):
    assert client.reserve_cash(account, 400, f"{account}-a") == "SUCCESS"
    service.suspend(account)
    assert client.reserve_cash(account, 1, f"{account}-b") == "ACCOUNT_SUSPENDED"
    assert client.release_cash(account, f"{account}-a") == "SUCCESS"
    service.activate(account)
    assert client.reserve_cash(account, 1, f"{account}-b") == "SUCCESS"
    assert cash_of(service, account) == (999, 1)


def test_calls_at_once_are_all_answered_and_add_up(service, client, account):
    # More than the account has: 100 of 7 fit into 1000 - 300, the rest is refused.
    service.create(account, cash={"EUR": 700})
    fields = {"account_id": account, "amount_micro_units": 7, "currency": "EUR", "order_id": "1"}
    calls = [client.begin("ReserveCash", reserve_id=f"{account}-{n}", **fields) for n in range(500)]
    results = [result_of(call) for call in calls]
    assert sorted(set(results)) == ["INSUFFICIENT_FUNDS", "SUCCESS"]
    assert results.count("SUCCESS") == 100
    assert cash_of(service, account, "EUR") == (0, 700)
    expected = {f"{account}-{n}" for n, result in enumerate(results) if result == "SUCCESS"}
    assert {name for name, hold in service.holds().items() if hold[0] == account} == expected


def test_what_is_no_call_of_the_contract_is_refused(service, client):
    before = service.totals()["refused"]
    with pytest.raises(grpc.RpcError) as caught:
        client.method("ReserveNothing")(b"", timeout=CALL_SECONDS_MAX)
    assert caught.value.code().name == "UNIMPLEMENTED"
    with pytest.raises(grpc.RpcError) as caught:
        client.method("ReserveCash")(b"\xff", timeout=CALL_SECONDS_MAX)
    assert caught.value.code().name == "INVALID_ARGUMENT"
    after = service.totals()["refused"]
    assert after["unknown_method"] == before["unknown_method"] + 1
    assert after["unreadable"] == before["unreadable"] + 1


def test_an_older_account_reports_duplicates(make_service):
    service = make_service(options=["--duplicate-code"], in_memory=True)
    service.create(1, cash=1000)
    with Client(service.address) as client:
        assert client.reserve_cash(1, 400, "a") == "SUCCESS"
        assert client.reserve_cash(1, 400, "a") == "DUPLICATE_REQUEST"
        service.faults([{"kind": "status", "status": "UNAVAILABLE"}])
        assert status_of(client.reserve_cash, 1, 400, "b") == "UNAVAILABLE"
    totals = service.totals()
    assert totals["calls"]["ReserveCash"] == {"SUCCESS": 1, "DUPLICATE_REQUEST": 1}
    assert (totals["seen"]["ReserveCash"], totals["seen"]["ReleaseCash"]) == (3, 0)


# --- faults ---------------------------------------------------------------------------------------------------------

FAULTS = [
    ({"kind": "status", "status": "UNAVAILABLE"}, "UNAVAILABLE"),
    ({"kind": "status", "status": 8}, "RESOURCE_EXHAUSTED"),
    ({"kind": "drop"}, "UNAVAILABLE"),
    ({"kind": "reset"}, "INTERNAL"),
    ({"kind": "reset", "reset_code": 11}, "RESOURCE_EXHAUSTED"),
    ({"kind": "status", "status": "INTERNAL", "delay_ms": 1}, "INTERNAL"),
]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("fault, status", FAULTS)
def test_a_fault_fails_the_call_before_or_after_its_effect(service, client, account, fault, status, when):
    service.faults([{**fault, "when": when, "account_id": account}])
    assert status_of(client.reserve_cash, account, 400, f"{account}-a") == status
    assert service.fault_list()[0]["hits"] >= 1
    service.clear_faults()
    assert cash_of(service, account) == ((600, 400) if when == "after" else (1000, 0))
    # The same call again is well, and holds once.
    assert client.reserve_cash(account, 400, f"{account}-a") == "SUCCESS"
    assert cash_of(service, account) == (600, 400)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_fault_changes_the_result(service, client, account, when):
    service.faults([{"kind": "result", "result": "ACCOUNT_SUSPENDED", "when": when, "method": "ReserveCash"}])
    assert client.reserve_cash(account, 400, f"{account}-a") == "ACCOUNT_SUSPENDED"
    assert client.reserve_position(account, 1, f"{account}-p") == "SUCCESS"
    assert cash_of(service, account) == ((600, 400) if when == "after" else (1000, 0))


def give_up_when_hit(service, client, account_id):
    """Start a call, wait until a fault has it, and cancel it before it is answered."""
    fields = {"account_id": account_id, "amount_micro_units": 400, "currency": "USD", "order_id": "77"}
    call = client.begin("ReserveCash", reserve_id=f"{account_id}-a", **fields)
    wait_until(lambda: service.fault_list()[0]["hits"] == 1, CALL_SECONDS_MAX, "a fault that hits")
    assert call.cancel()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_call_that_hangs_has_its_effect_or_not(service, client, account, when):
    service.faults([{"kind": "hang", "when": when}])
    give_up_when_hit(service, client, account)
    service.clear_faults()
    assert cash_of(service, account) == ((600, 400) if when == "after" else (1000, 0))
    assert client.reserve_cash(account, 400, f"{account}-a") == "SUCCESS"
    assert cash_of(service, account) == (600, 400)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_call_that_the_client_gave_up_has_its_effect(service, client, account, when):
    service.faults([{"kind": "delay", "delay_ms": 500, "when": when}])
    give_up_when_hit(service, client, account)
    wait_until(lambda: service.ask("/healthz")["pending"] == 0, CALL_SECONDS_MAX, "the end of the call")
    assert cash_of(service, account) == (600, 400)


def test_a_delayed_call_is_answered(service, client, account):
    service.faults([{"kind": "delay", "delay_ms": 50, "when": "before", "times": 1}])
    assert client.reserve_cash(account, 400, f"{account}-a") == "SUCCESS"
    service.faults([{"kind": "delay", "delay_ms": 50, "when": "after", "times": 1}])
    assert client.reserve_cash(account, 400, f"{account}-a") == "SUCCESS"
    assert cash_of(service, account) == (600, 400)


def test_a_percentage_of_calls_fails_the_same_with_the_same_seed(service, client, account):
    def failed():
        service.faults([{"kind": "result", "result": 3, "percent": 30, "account_id": account}])
        return [client.reserve_cash(account, 1, f"{account}-a") == "INTERNAL_ERROR" for _ in range(200)]

    first = failed()
    assert 30 < sum(first) < 90
    assert service.fault_list()[0]["hits"] == sum(first)
    assert failed() == first


def test_a_fault_ends_after_its_times_and_the_first_that_hits_wins(service, client, account):
    service.faults([{"kind": "result", "result": 4, "times": 2}, {"kind": "result", "result": 5, "times": 1}])
    results = [client.release_cash(account, f"{account}-{n}") for n in range(4)]
    assert results == ["INVALID_REQUEST", "INVALID_REQUEST", "ACCOUNT_SUSPENDED", "SUCCESS"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_keeps_what_was_committed(make_service, when):
    service = make_service()
    service.create(1, cash=1000)
    with Client(service.address) as client:
        assert client.reserve_cash(1, 100, "early") == "SUCCESS"
        service.faults([{"kind": "crash", "when": when, "method": "ReserveCash"}])
        assert status_of(client.reserve_cash, 1, 400, "late") == "UNAVAILABLE"
        assert service.wait_crashed() == CRASH_EXIT_CODE
        address = service.address
        service.start()
        assert service.address == address
        assert service.holds().keys() == ({"early", "late"} if when == "after" else {"early"})
        # The client finds its way back, and repeats.
        assert client.reserve_cash(1, 400, "late") == "SUCCESS"
    assert cash_of(service, 1) == (500, 500)


# --- life -----------------------------------------------------------------------------------------------------------


def test_kill_keeps_a_ledger_in_a_file_and_ends_one_in_memory(make_service):
    for in_memory in (False, True):
        service = make_service(in_memory=in_memory)
        service.create(1, cash=1000)
        with Client(service.address) as client:
            assert client.reserve_cash(1, 400, "a") == "SUCCESS"
            assert client.release_cash(1, "b") == "SUCCESS"
        service.kill9()
        service.start()
        totals = service.totals()
        expected = (0, 0, 0) if in_memory else (1, 1, 1)
        assert (totals["accounts"], totals["held"], totals["released"]) == expected


def test_sigterm_answers_what_is_under_way(make_service):
    service = make_service()
    service.create(1, cash=1000)
    service.faults([{"kind": "delay", "delay_ms": 500, "when": "after"}])
    with Client(service.address) as client:
        fields = {"account_id": 1, "amount_micro_units": 400, "currency": "USD", "order_id": "1"}
        calls = [client.begin("ReserveCash", reserve_id=f"r{n}", **fields) for n in range(2)]
        wait_until(lambda: service.ask("/healthz")["pending"] == 2, CALL_SECONDS_MAX, "two calls under way")
        assert service.stop() == 0
        assert [result_of(call) for call in calls] == ["SUCCESS", "SUCCESS"]
    service.start()
    assert service.holds().keys() == {"r0", "r1"}


def test_calls_above_the_limit_are_refused(make_service):
    service = make_service(options=["--calls-max", "2"], in_memory=True)
    service.create(1, cash=1000)
    service.faults([{"kind": "delay", "delay_ms": 1000, "times": 2}])
    with Client(service.address) as client:
        fields = {"account_id": 1, "amount_micro_units": 400, "currency": "USD", "order_id": "1"}
        calls = [client.begin("ReserveCash", reserve_id=f"r{n}", **fields) for n in range(2)]
        wait_until(lambda: service.ask("/healthz")["pending"] == 2, CALL_SECONDS_MAX, "two calls under way")
        assert status_of(client.reserve_cash, 1, 1, "more") == "RESOURCE_EXHAUSTED"
        assert [result_of(call) for call in calls] == ["SUCCESS", "SUCCESS"]
        assert client.reserve_cash(1, 1, "more") == "SUCCESS"
    assert service.totals()["refused"]["overloaded"] == 1


def test_a_ledger_belongs_to_one_process(make_service):
    service = make_service()
    command = [str(program("account", VARIANT)), "--database", str(service.database_path)]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=CALL_SECONDS_MAX, check=False)
    assert result.returncode == 1
    assert "locked" in result.stderr


def run_program(*options):
    command = [str(program("account", VARIANT)), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=CALL_SECONDS_MAX, check=False)


def test_the_program_explains_itself():
    result = run_program("--help")
    assert result.returncode == 0
    for word in ("--listen", "--admin", "--database", "--durable", "--duplicate-code", "--seed", "/faults", "curl"):
        assert word in result.stdout


BAD_OPTIONS = [["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"], ["--admin", "127.0.0.1:0"] * 5]
BAD_OPTIONS += [["--nonsense"], ["word"], ["--seed", "x"], ["--seed", ""], ["--log-format", "xml"], ["--calls-max", "0"]]


@pytest.mark.parametrize("options", BAD_OPTIONS)
def test_wrong_options_are_refused(options):
    result = run_program(*options)
    assert result.returncode == 2
    assert "--help" in result.stderr


def test_instances_share_a_ledger_and_have_faults_and_totals_of_their_own(scratch, make_service):
    second = Account(scratch / "account-second-instance")
    second.port, second.admin_port = free_port(), free_port()
    service = make_service(options=["--listen", second.address, "--admin", second.admin_address], in_memory=True)
    service.create(1, cash=1000)
    service.faults([{"kind": "status", "status": "UNAVAILABLE", "method": "ReleaseCash"}])
    with Client(service.address) as first_client, Client(second.address) as second_client:
        assert first_client.reserve_cash(1, 400, "a") == "SUCCESS"
        assert second_client.reserve_cash(1, 700, "b") == "INSUFFICIENT_FUNDS"
        assert status_of(first_client.release_cash, 1, "a") == "UNAVAILABLE"
        assert second_client.release_cash(1, "a") == "SUCCESS"
    assert cash_of(service, 1) == cash_of(second, 1) == (1000, 0)
    assert (service.totals()["seen"]["ReserveCash"], second.totals()["seen"]["ReserveCash"]) == (1, 1)
    assert second.fault_list() == []


@pytest.mark.parametrize("option", ["--listen", "--admin"])
@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:70000", "192.0.2.1:1"])
def test_an_address_that_cannot_be_listened_on_ends_the_program(option, address):
    result = run_program(option, address)
    assert result.returncode == 1
    assert "ERROR" in result.stderr


def test_the_log_tells_the_addresses_and_every_call_if_wanted(make_service):
    service = make_service(options=["--verbose", "--log-format", "json"], in_memory=True)
    assert f'"listen":"{service.address}"' in service.log_text().replace('": "', '":"')
    assert f'"admin":"{service.admin_address}"' in service.log_text().replace('": "', '":"')
    with Client(service.address) as client:
        assert client.release_cash(5, "named") == "SUCCESS"
    wait_until(lambda: '"named"' in service.log_text(), CALL_SECONDS_MAX, "a line about a call")
