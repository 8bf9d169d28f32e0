"""The admin interface of the Account stand-in: what it creates, tells and refuses."""

import http.client

import pytest
from account import AccountError
from account_service import (  # noqa: F401 (fixtures are used by their names)
    CALL_SECONDS_MAX,
    Client,
    account,
    cash_of,
    make_service,
    new_account_id,
    service,
    shared_service,
)


def test_accounts_are_created_and_added_to(service):
    number = new_account_id()
    assert service.account(number) is None
    service.create(number, cash={"USD": 5, "EUR": 6})
    service.create(number, cash=10, positions={"ACME": 0})
    assert service.account(number) == {
        "account_id": number,
        "status": "ACTIVE",
        "cash": {"EUR": {"available": 6, "reserved": 0}, "USD": {"available": 15, "reserved": 0}},
        "positions": {"ACME": {"available": 0, "reserved": 0}},
    }


def test_thousands_of_accounts_come_at_once(make_service):
    service = make_service(in_memory=True)
    service.create_all({"account_id": n, "cash": {"USD": n}, "positions": {"ACME": 1}} for n in range(1, 30_001))
    totals = service.totals()
    assert totals["accounts"] == 30_000
    assert totals["cash"] == {"USD": {"available": 30_000 * 30_001 // 2, "reserved": 0}}
    assert totals["positions"] == {"ACME": {"available": 30_000, "reserved": 0}}
    with pytest.raises(AccountError) as caught:
        service.ask("/accounts", "POST", [{"account_id": 1}] * 100_001)
    assert caught.value.status == 400


def test_holds_come_in_pages(make_service):
    service = make_service(in_memory=True)
    service.create(1, cash=1000)
    with Client(service.address) as client:
        for n in range(5):
            assert client.reserve_cash(1, n + 1, f"r{n}", order_id=f"o{n}") == "SUCCESS"
    first = service.ask("/holds?limit=3")
    assert [hold["reserve_id"] for hold in first["holds"]] == ["r0", "r1", "r2"]
    assert first["next"] == "r2"
    second = service.ask("/holds?limit=3&after=r2")
    assert second == {
        "holds": [
            {
                "reserve_id": f"r{n}",
                "account_id": 1,
                "kind": "cash",
                "currency": "USD",
                "symbol": "",
                "amount": n + 1,
                "order_id": f"o{n}",
            }
            for n in (3, 4)
        ],
        "next": None,
    }
    assert len(service.holds()) == 5
    totals = service.totals()
    assert totals["held"] == 5
    assert totals["cash"]["USD"]["reserved"] == 15
    assert totals["calls"]["ReserveCash"] == {"SUCCESS": 5}


def test_a_sum_that_does_not_fit_is_an_error_not_a_number(make_service):
    service = make_service(in_memory=True)
    for n in (1, 2):
        service.create(n, cash=2**62)
    with pytest.raises(AccountError) as caught:
        service.totals()
    assert caught.value.status == 500


BAD_ACCOUNTS = [
    {},
    {"account_id": 0},
    {"account_id": -1},
    {"account_id": "1"},
    {"account_id": 1.5},
    {"account_id": 2**63},
    {"account_id": 1, "status": "CLOSED"},
    {"account_id": 1, "cash": 5},
    {"account_id": 1, "cash": {"USD": -1}},
    {"account_id": 1, "cash": {"USD": "1"}},
    {"account_id": 1, "cash": {"": 1}},
    {"account_id": 1, "cash": {"U" * 33: 1}},
    {"account_id": 1, "positions": {"A B": 1}},
    {"account_id": 1, "money": {}},
    "1",
]


@pytest.mark.parametrize("document", BAD_ACCOUNTS)
def test_bad_accounts_are_refused_and_nothing_of_their_list_is_kept(service, document):
    number = new_account_id()
    for body in (document, [{"account_id": number, "cash": {"USD": 1}}, document]):
        with pytest.raises(AccountError) as caught:
            service.ask("/accounts", "POST", body)
        assert caught.value.status == 400
        assert '"error"' in str(caught.value)
    assert service.account(number) is None


def test_a_balance_that_would_overflow_is_refused(service, account):
    with pytest.raises(AccountError) as caught:
        service.create(account, cash=2**63 - 1000)
    assert caught.value.status == 400
    assert cash_of(service, account) == (1000, 0)


BAD_FAULTS = [
    {},
    {"kind": "delay"},
    [{}],
    [{"kind": "nonsense"}],
    [{"kind": "delay"}],
    [{"kind": "delay", "delay_ms": 600_001}],
    [{"kind": "delay", "delay_ms": -1}],
    [{"kind": "status"}],
    [{"kind": "status", "status": "OK"}],
    [{"kind": "status", "status": 17}],
    [{"kind": "status", "status": -1}],
    [{"kind": "result"}],
    [{"kind": "result", "result": 11}],
    [{"kind": "result", "result": "NONSENSE"}],
    [{"kind": "reset", "reset_code": 14}],
    [{"kind": "hang", "status": "UNAVAILABLE"}],
    [{"kind": "hang", "when": "later"}],
    [{"kind": "hang", "method": "Nonsense"}],
    [{"kind": "hang", "percent": 100.1}],
    [{"kind": "hang", "percent": -1}],
    [{"kind": "hang", "percent": "50"}],
    [{"kind": "hang", "times": -1}],
    [{"kind": "hang", "account_id": -1}],
    [{"kind": "hang", "hits": 1}],
    [{"kind": "hang"}] * 65,
]


@pytest.mark.parametrize("document", BAD_FAULTS)
def test_bad_faults_are_refused_and_the_list_stays(service, document):
    service.faults([{"kind": "hang", "percent": 0}])
    with pytest.raises(AccountError) as caught:
        service.ask("/faults", "PUT", document)
    assert caught.value.status == 400
    assert [fault["kind"] for fault in service.fault_list()] == ["hang"]


def test_faults_are_listed_with_all_their_fields(service):
    service.faults([{"kind": "reset", "method": "ReleaseCash", "percent": 0.5, "times": 3, "when": "after"}])
    assert service.fault_list() == [
        {
            "kind": "reset",
            "when": "after",
            "method": "ReleaseCash",
            "account_id": 0,
            "percent": 0.5,
            "times": 3,
            "delay_ms": 0,
            "hits": 0,
            "reset_code": 2,
        }
    ]
    service.clear_faults()
    assert service.fault_list() == []


def raw(service, method, path, body=None):
    """The HTTP status of a request."""
    connection = http.client.HTTPConnection("127.0.0.1", service.admin_port, timeout=CALL_SECONDS_MAX)
    try:
        connection.request(method, path, body)
        return connection.getresponse().status
    finally:
        connection.close()


RAW = [
    ("GET", "/", None, 404),
    ("GET", "/accounts/1000000000", None, 404),
    ("GET", "/accounts/x", None, 404),
    ("GET", "/accounts/99999999999999999999", None, 404),
    ("GET", "/accounts/", None, 404),
    ("GET", "/accounts", None, 405),
    ("DELETE", "/totals", None, 405),
    ("POST", "/faults", b"[]", 405),
    ("POST", "/accounts", b"", 400),
    ("POST", "/accounts", b"{", 400),
    ("POST", "/accounts", b"\xff", 400),
    ("POST", "/accounts", b'{"account_id":1,"account_id":2}', 400),
    ("POST", "/accounts", b"[" * 100_000, 400),
    ("PUT", "/faults", b"\x00", 400),
    ("GET", "/holds?limit=0", None, 400),
    ("GET", "/holds?limit=1000001", None, 400),
    ("GET", "/holds?limit=1x", None, 400),
    ("GET", "/holds?limit=1", None, 200),
    ("PATCH", "/accounts", b"{}", 501),
    ("GET", "/holds?after=" + "x" * 10_000, None, 400),
]


@pytest.mark.parametrize("method, path, body, status", RAW)
def test_requests_get_the_http_status_they_deserve(service, method, path, body, status):
    assert raw(service, method, path, body) == status


def test_a_body_that_is_too_large_is_refused(service):
    connection = http.client.HTTPConnection("127.0.0.1", service.admin_port, timeout=CALL_SECONDS_MAX)
    connection.putrequest("POST", "/accounts")
    connection.putheader("Content-Length", str(16 * 1024 * 1024 + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    assert service.is_alive()
