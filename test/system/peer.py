"""gRPC's own servers in two languages: in the place of Account, and those of gRPC's interoperability tests.

Peer            peers/account_peer.py or peers/AccountPeer.java: an Account service that does what it is asked for
InteropPeer     peers/interop_peer.py or the official one for Java: the service grpc.testing.TestService
"""

import json
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import contracts
from broker import find_java
from host import (
    SandboxError,
    Server,
    exclusive,
    free_port,
    home,
    make_server_directory,
    send_signal,
    server_environment,
    write_server_file,
)

PEERS = Path(__file__).resolve().parent / "peers"
POM = PEERS / "pom.xml"
LANGUAGES = ("python", "java")


def fetch_jars():
    """The directory with the jars of gRPC for Java, copied into the sandbox; needs the network only the first time."""
    target = home() / "grpc-java"
    with exclusive("grpc-java"):
        _fetch_jars_to(target)
    return target


def _fetch_jars_to(target):
    stamp = target / POM.name
    if stamp.exists() and stamp.read_text() == POM.read_text():
        return
    with tempfile.TemporaryDirectory(dir=home()) as directory:
        fresh = Path(directory) / "jars"
        command = ["mvn", "-B", "-q", "-f", str(POM), "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={fresh}"]
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if result.returncode != 0 or not list(fresh.glob("grpc-netty-shaded-*.jar")):
            raise SandboxError(f"Maven could not fetch gRPC for Java:\n{result.stdout}")
        fresh.chmod(0o755)
        for jar in fresh.iterdir():
            jar.chmod(0o644)
        shutil.copyfile(POM, fresh / POM.name)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)


class Peer(Server):
    """One of the servers; it can be started again on its port after it has stopped itself.

    tls: the contents of its files, looked at when it starts: (certificate, key), and perhaps of an authority, whose
    certificates it then wants from its clients; empty: without TLS.
    idle_ms_max, age_ms_max: how long a connection may be without calls, and exist; None: for ever, as usual.
    """

    # What it writes when it can be called.
    ready_text = "READY"

    def __init__(self, directory, language, tls=(), idle_ms_max=None, age_ms_max=None):
        super().__init__(directory)
        limits = {"MAX_CONNECTION_IDLE_MS": idle_ms_max, "MAX_CONNECTION_AGE_MS": age_ms_max}
        self.environment = {name: str(value) for name, value in limits.items() if value is not None}
        self.language = language
        self.tls = tls
        self.port = None

    @property
    def address(self):
        """host:port, by name, so that the name is resolved."""
        return f"localhost:{self.port}"

    def start(self):
        if not self.directory.exists():
            make_server_directory(self.directory)
        self.port = self.port or free_port()
        log_start = len(self.log_text())
        self._spawn(self._command(), server_environment(**self.environment))
        self._wait_ready(lambda: self.ready_text in self.log_text()[log_start:], f"the peer in {self.language}")

    def _command(self):
        files = ["certificate.pem", "key.pem", "ca.pem"][: len(self.tls)]
        for file, content in zip(files, self.tls):
            write_server_file(self.directory / file, content)
        if self.language == "python":
            self._bring("account_peer.py")
            return ["/usr/bin/python3", "account_peer.py", f"127.0.0.1:{self.port}", *files]
        self._bring("AccountPeer.java")
        return self._java("AccountPeer.java", "127.0.0.1", str(self.port), *files)

    def _bring(self, name):
        """Copy a file to the server: it runs as another user, who may not be able to read the checkout."""
        write_server_file(self.directory / name, (PEERS / name).read_text())

    def _java(self, *words):
        options = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
        options += [f"-Djava.io.tmpdir={self.directory}"]
        return [find_java(), *options, "-cp", f"{fetch_jars()}/*", *words]

    def stop(self):
        send_signal(self.processes(), signal.SIGTERM)
        self._wait_gone()

    def calls(self):
        """Every call so far, with its message decoded: [{"method", "message", "correlation", "seconds"}]."""
        lines = [line for line in self.log_text().splitlines() if line.startswith("CALL ")]
        calls = [json.loads(line[len("CALL ") :]) for line in lines]
        for call in calls:
            message = getattr(contracts.module("account"), f"{call['method']}Request")
            call["message"] = message.FromString(bytes.fromhex(call["message"]))
        return calls


class InteropPeer(Peer):
    """A server that gRPC's interoperability tests call."""

    def __init__(self, directory, language):
        super().__init__(directory, language)
        if language == "java":
            self.ready_text = "Server started"

    def _command(self):
        if self.language == "python":
            self._bring("interop_peer.py")
            write_server_file(self.directory / "interop_pb2.py", contracts.source("interop"))
            return ["/usr/bin/python3", "interop_peer.py", f"127.0.0.1:{self.port}"]
        options = [f"--port={self.port}", "--use_tls=false", "--address_type=IPV4"]
        return self._java("io.grpc.testing.integration.TestServiceServer", *options)
