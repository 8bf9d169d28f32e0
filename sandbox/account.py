"""The Account stand-in of sandbox/account/, as a server of the sandbox: its life, its accounts, holds and faults."""

import json
import urllib.error
import urllib.parse
import urllib.request

from host import SandboxError
from program import Program

ADMIN_SECONDS_MAX = 30
CURRENCY = "USD"
# What the program takes in one request (ACCOUNT_ADMIN_ACCOUNTS_MAX), with room to spare.
ACCOUNTS_PER_REQUEST = 20_000


class AccountError(SandboxError):
    """The admin interface refused a request: .status is HTTP's, the text what it said."""

    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status = status


class Account(Program):
    """One Account service. Its ledger is a file in its directory, so it survives stop, kill9 and start.

    in_memory: the ledger ends with the process instead.
    options: more words for its command line, such as "--duplicate-code" or "--verbose".
    variant: which of build/programs-VARIANT runs.
    """

    name = "account"

    def __init__(self, directory, in_memory=False, options=(), variant="gcc", tied=True):
        super().__init__(directory, variant, tied)
        self.in_memory = in_memory
        self.options = list(options)

    @property
    def admin_url(self):
        """The admin interface, to put a path behind."""
        return f"http://{self.admin_address}"

    @property
    def database_path(self):
        return self.directory / "ledger.db"

    # --- life ---

    def command(self, binary):
        database = ":memory:" if self.in_memory else str(self.database_path)
        words = [str(binary), "--listen", self.address, "--admin", self.admin_address, "--database", database]
        return [*words, *self.options]

    def wait_crashed(self):
        """Wait until it has ended by itself, as the fault "crash" makes it; the exit status."""
        process = self._process
        self._wait_gone()
        return process.returncode

    # --- use ---

    def ask(self, path, method="GET", document=None):
        """The document that the admin interface answers with; AccountError when it refuses."""
        data = json.dumps(document).encode() if document is not None else None
        request = urllib.request.Request(self.admin_url + path, data=data, method=method)
        # A proxy for the outer world, if the caller's environment names one, is not for us.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=ADMIN_SECONDS_MAX) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            raise AccountError(error.code, text) from None

    def is_alive(self):
        """Whether its event loop turns (/healthz)."""
        try:
            return self.ask("/healthz")["status"] == "ok"
        except (OSError, AccountError):
            return False

    def create(self, account_id, cash=0, positions=None, status=None):
        """Create an account, or add to what it has.

        cash: {currency: micro-units}, or micro-units of USD
        positions: {symbol: units}
        status: "ACTIVE" or "SUSPENDED"; a new account is ACTIVE, another one stays what it is
        """
        amounts = cash if isinstance(cash, dict) else {CURRENCY: cash}
        document = {"account_id": account_id, "cash": amounts, "positions": positions or {}}
        if status is not None:
            document["status"] = status
        self.ask("/accounts", "POST", document)

    def create_all(self, documents):
        """Create or add to thousands of accounts: the documents of POST /accounts."""
        documents = list(documents)
        for start in range(0, len(documents), ACCOUNTS_PER_REQUEST):
            self.ask("/accounts", "POST", documents[start : start + ACCOUNTS_PER_REQUEST])

    def suspend(self, account_id):
        """From now on it reserves nothing; it still releases."""
        self.ask("/accounts", "POST", {"account_id": account_id, "status": "SUSPENDED"})

    def activate(self, account_id):
        """End a suspension."""
        self.ask("/accounts", "POST", {"account_id": account_id, "status": "ACTIVE"})

    def account(self, account_id):
        """The document of an account, or None when there is none."""
        try:
            return self.ask(f"/accounts/{account_id}")
        except AccountError as error:
            if error.status == 404:
                return None
            raise

    def hold_list(self):
        """Every reservation that holds, by reserve_id, as a list of documents of GET /holds."""
        holds, after = [], ""
        while after is not None:
            page = self.ask("/holds?" + urllib.parse.urlencode({"after": after}))
            holds += page["holds"]
            after = page["next"]
        return holds

    def holds(self):
        """Every reservation that holds: {reserve_id: (account id, symbol or "" for cash, amount)}."""
        return {hold["reserve_id"]: (hold["account_id"], hold["symbol"], hold["amount"]) for hold in self.hold_list()}

    def totals(self):
        """Sums and counts: GET /totals."""
        return self.ask("/totals")

    def faults(self, documents):
        """Replace the faults by a list of documents (sandbox/account/fault_document.h)."""
        self.ask("/faults", "PUT", list(documents))

    def fault_list(self):
        """The faults as they are, with their hits."""
        return self.ask("/faults")

    def clear_faults(self):
        """End all faults."""
        self.ask("/faults", "DELETE")
