"""order-proxy, as a server of the sandbox: its configuration, its life, and what its admin interface says."""

import http.client
import signal

from host import SandboxError, send_signal, write_server_file
from pgserver import DATABASE
from program import Program

ROLE = "order_proxy"
ADMIN_SECONDS_MAX = 5


def create_role(postgres):
    """Make the role that the proxy connects as, unless it exists, and grant it what the extension says it needs."""
    if not postgres.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]):
        postgres.execute(f"CREATE ROLE {ROLE} LOGIN")
    postgres.execute("SELECT order_service.grant_proxy(%s)", [ROLE])


class Proxy(Program):
    """One order-proxy between clients, Account and PostgreSQL. It starts also while these do not run.

    postgres, account: the servers behind it, asked for their addresses at every start; None where the settings say.
    settings: {"section.name": value}, which replace or add to the defaults.
    variant: which of build/programs-VARIANT runs; wrapper: words before its command, such as valgrind's.
    """

    name = "order-proxy"

    def __init__(self, directory, postgres=None, account=None, settings=None, variant="gcc", wrapper=(), tied=True):
        super().__init__(directory, variant, tied)
        self._postgres = postgres
        self._account = account
        self.settings = dict(settings or {})
        self.wrapper = list(wrapper)

    @property
    def config_path(self):
        return self.directory / "order-proxy.ini"

    # --- life ---

    def command(self, binary):
        self.write_config()
        return [*self.wrapper, str(binary), "--config", str(self.config_path)]

    def reload(self):
        """Write the configuration again and have it read (SIGHUP)."""
        self.write_config()
        send_signal(self.processes(), signal.SIGHUP)

    def write_config(self):
        """Write the configuration file from the defaults and the settings."""
        values = {"listen.address": self.address, "admin.address": self.admin_address}
        if self._postgres is not None:
            values["database.writer"] = f"host=127.0.0.1 port={self._postgres.port} user={ROLE} dbname={DATABASE}"
        if self._account is not None:
            values["account.endpoints"] = self._account.address
        sections = {}
        for name, value in {**values, **self.settings}.items():
            section, name = name.split(".", 1)
            sections.setdefault(section, []).append(f"{name} = {value}\n")
        texts = [f"[{section}]\n{''.join(lines)}" for section, lines in sections.items()]
        write_server_file(self.config_path, "\n".join(texts))

    # --- use ---

    def ask(self, path, method="GET"):
        """(HTTP status, text) from the admin interface; OSError or HTTPException when it does not answer."""
        connection = http.client.HTTPConnection(self.host, self.admin_port, timeout=ADMIN_SECONDS_MAX)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def _says_yes(self, path):
        try:
            return self.ask(path)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def is_alive(self):
        """Whether its event loop turns (/healthz)."""
        return self._says_yes("/healthz")

    def ready(self):
        """Whether it takes orders: it has a database and is not shutting down (/readyz)."""
        return self._says_yes("/readyz")

    def metrics(self):
        """{"name" or 'name{label="value"}': number} of all metrics."""
        status, text = self.ask("/metrics")
        if status != 200:
            raise SandboxError(f"/metrics answers {status}: {text}")
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}
