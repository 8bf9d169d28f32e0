"""HAProxy before PostgreSQL, from the configuration that operators copy, and what tells it who leads.

RoleService   one server's role over HTTP, as Patroni's REST API has it
HAProxy       a server of the sandbox with two ports: the writer's and the reader's
"""

import os
import re
import shutil
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
from host import ROOT, SandboxError, Server, free_port, make_server_directory, server_environment, write_server_file

CONFIGURATION = ROOT / "deploy" / "haproxy" / "haproxy.cfg"
# The ports of that file, in front and of the checks.
WRITER_PORT, READER_PORT = 5000, 5001
# Not to hang longer than anybody waits for the answer.
ASK_SECONDS_MAX = 2


class _Listener(ThreadingHTTPServer):
    """HAProxy hangs up when a check takes too long, which is no news; whatever else goes wrong is printed."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class RoleService:
    """GET /primary and /replica: 200 if the server on that port of PostgreSQL is one, else 503.

    The server is asked each time. It may say what is not so: one that was left behind takes itself for the leader.
    """

    def __init__(self, postgres_port):
        self._conninfo = f"host=127.0.0.1 port={postgres_port} user=postgres dbname=postgres"
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200 if self.path == service.role() else 503)
                self.end_headers()

            def log_message(self, *_words):
                pass

        self._server = _Listener(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def role(self):
        """The path that is answered with 200 now, None when the server does not say."""
        try:
            with psycopg.connect(self._conninfo, connect_timeout=ASK_SECONDS_MAX, autocommit=True) as connection:
                is_replica = connection.execute("SELECT pg_is_in_recovery()").fetchone()[0]
        except psycopg.Error:
            return None
        return "/replica" if is_replica else "/primary"

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


def _find_haproxy():
    path = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if path is None:
        raise SandboxError("there is no haproxy: run `make deps`")
    return path


class HAProxy(Server):
    """HAProxy from deploy/haproxy/haproxy.cfg, with addresses of this machine in the place of those in the file.

    servers: [(port of PostgreSQL, port of its role service)].
    """

    def __init__(self, directory, servers):
        super().__init__(directory)
        self._servers = servers
        self.writer_port, self.reader_port = free_port(), free_port()

    def configuration(self):
        """The operators' file for our ports; servers of it that we have not are left out."""
        text = CONFIGURATION.read_text()
        for port, own in ((WRITER_PORT, self.writer_port), (READER_PORT, self.reader_port)):
            text, count = re.subn(rf"bind :{port}\n", f"bind 127.0.0.1:{own}\n", text)
            assert count == 1, f"{CONFIGURATION} does not listen on {port} once"

        def server(match):
            number = int(match[1]) - 1
            if number >= len(self._servers):
                return ""
            port, role_port = self._servers[number]
            return f"\tserver pg{match[1]} 127.0.0.1:{port} check port {role_port}\n"

        text, count = re.subn(r"\tserver pg(\d) \S+ check port 8008\n", server, text)
        assert count >= 2 * len(self._servers), f"{CONFIGURATION} has too few servers"
        return text

    def start(self):
        """Start it and return when both ports can be connected to."""
        make_server_directory(self.directory)
        path = self.directory / "haproxy.cfg"
        write_server_file(path, self.configuration())
        self._spawn([_find_haproxy(), "-db", "-f", str(path)], server_environment())
        self._wait_ready(self._is_ready, "HAProxy")

    def _is_ready(self):
        for port in (self.writer_port, self.reader_port):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                return False
        return True
