"""A name server for tests: one name, addresses that change, and answers that fail or do not come. On dnslib."""

from dnslib import QTYPE, RCODE, RR, A
from dnslib.server import BaseResolver, DNSLogger, DNSServer
from host import make_server_directory, write_server_file

NAME = "account.test"
TTL_SECONDS = 60


class _Silent(Exception):
    """No answer at all."""


class NameServer(BaseResolver):
    """From construction to close(). `addresses` may change at any time.

    mode    "answers"; "fails": SERVFAIL; "denies": there is no such name; "is silent"
    """

    def __init__(self, directory, addresses):
        self.addresses = list(addresses)
        self.mode = "answers"
        self.questions = 0
        self._server = DNSServer(self, address="127.0.0.1", port=0, logger=DNSLogger(logf=lambda _line: None))
        self._server.server.handle_error = lambda *_arguments: None
        self._server.start_thread()
        self.port = self._server.server.server_address[1]
        # What a proxy is to be told: dns.resolv_conf.
        make_server_directory(directory)
        self.resolv_conf = directory / "resolv.conf"
        write_server_file(self.resolv_conf, f"nameserver 127.0.0.1:{self.port}\n")

    def close(self):
        self._server.stop()
        self._server.server.server_close()

    def resolve(self, request, _handler):
        """Called by dnslib for every question, in threads of its own."""
        self.questions += 1
        if self.mode == "is silent":
            raise _Silent
        # Letters in the case in which they were asked for: resolvers look at that, to know a true answer.
        reply = request.reply()
        if self.mode == "fails":
            reply.header.rcode = RCODE.SERVFAIL
        elif self.mode == "denies" or str(request.q.qname).rstrip(".").lower() != NAME:
            reply.header.rcode = RCODE.NXDOMAIN
        elif request.q.qtype == QTYPE.A:
            for address in self.addresses:
                reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A(address), ttl=TTL_SECONDS))
        return reply
