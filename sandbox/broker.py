"""Private Apache Kafka: one KRaft node that is broker and controller, run from jars that Maven fetched."""

import base64
import os
import re
import shutil
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path
from xml.etree import ElementTree

from host import (
    ROOT,
    SandboxError,
    Server,
    exclusive,
    free_port,
    home,
    make_server_directory,
    run_tool,
    send_signal,
    server_environment,
    wait_until,
    write_server_file,
)

POM = ROOT / "sandbox" / "kafka" / "pom.xml"
LOG4J = ROOT / "sandbox" / "kafka" / "log4j2.properties"
JAVA_VERSION_MIN = 17
START_ATTEMPTS = 5
REQUEST_SECONDS_MAX = 30


def kafka_version():
    """The version that pom.xml names."""
    namespace = {"m": "http://maven.apache.org/POM/4.0.0"}
    return ElementTree.parse(POM).find("m:properties/m:kafka.version", namespace).text


def jar_directory():
    return home() / "kafka" / kafka_version()


def fetch():
    """Copy the broker's jars into the sandbox, unless they are there; needs the network only then."""
    target = jar_directory()
    with exclusive("kafka"):
        _fetch_to(target)
    return target


def _fetch_to(target):
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        # Renamed when complete, so that an interrupted download is never taken for a finished one.
        with tempfile.TemporaryDirectory(dir=target.parent) as directory:
            fresh = Path(directory) / "jars"
            print(f"fetching Apache Kafka {kafka_version()}", flush=True)
            command = ["mvn", "-B", "-q", "-f", str(POM), "dependency:copy-dependencies"]
            command += ["-DincludeScope=runtime", f"-DoutputDirectory={fresh}"]
            result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            if result.returncode != 0 or not list(fresh.glob("kafka_*.jar")):
                raise SandboxError(f"Maven could not fetch Apache Kafka {kafka_version()}:\n{result.stdout}")
            fresh.chmod(0o755)
            for jar in fresh.iterdir():
                jar.chmod(0o644)
            fresh.rename(target)
    # The broker runs as another user, who may not be able to read the checkout: its log settings go with the jars.
    settings = target / LOG4J.name
    if not settings.exists() or settings.read_bytes() != LOG4J.read_bytes():
        shutil.copyfile(LOG4J, settings)
        settings.chmod(0o644)


def _java_version(binary):
    try:
        result = subprocess.run([binary, "-version"], stderr=subprocess.PIPE, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 0
    match = re.search(r'version "(\d+)', result.stderr)
    return int(match.group(1)) if match else 0


def find_java():
    """A java that is new enough, whichever the machine's default is."""
    candidates = sorted(str(path) for path in Path("/usr/lib/jvm").glob("*/bin/java"))
    if os.environ.get("JAVA_HOME"):
        candidates.append(os.path.join(os.environ["JAVA_HOME"], "bin", "java"))
    candidates.append(shutil.which("java") or "java")
    for binary in candidates:
        if _java_version(binary) >= JAVA_VERSION_MIN:
            return binary
    raise SandboxError(f"no Java {JAVA_VERSION_MIN} or newer found: run `make deps`")


class Kafka(Server):
    """One private broker. Topics are made by create_topic() only: the broker creates none by itself.

    settings: broker properties that replace or add to the defaults.
    """

    def __init__(self, directory, settings=None, tied=True):
        super().__init__(directory, tied)
        state = self._load_state()
        self.port = state.get("port")
        self._controller_port = state.get("controller_port")
        self.settings = dict(settings or {})

    @property
    def bootstrap(self):
        """host:port for clients."""
        return f"127.0.0.1:{self.port}"

    # --- life ---

    def start(self):
        """Start it and return when it answers clients. The port stays the same over restarts."""
        jars = fetch()
        if not self.directory.exists():
            make_server_directory(self.directory)
        for attempt in range(START_ATTEMPTS):
            is_new = self.port is None
            if is_new:
                # A fresh format: the controller's port is written into the metadata log.
                shutil.rmtree(self.directory / "data", ignore_errors=True)
                self.port, self._controller_port = free_port(), free_port()
            self._write_properties()
            if is_new:
                self._format(jars)
            log_start = len(self.log_text())
            self._spawn(self._java(jars, "-Xmx512m", "kafka.Kafka", "server.properties"), server_environment())
            try:
                self._wait_ready(self._is_ready, "Kafka")
                break
            except SandboxError:
                self._wait_gone()
                is_port_taken = "Address already in use" in self.log_text()[log_start:]
                if not (is_port_taken and is_new) or attempt == START_ATTEMPTS - 1:
                    raise
                self.port = None
        self._save_state(port=self.port, controller_port=self._controller_port)

    def stop(self):
        """Controlled shutdown. Nothing happens if it does not run."""
        send_signal(self.processes(), signal.SIGTERM)
        self._wait_gone()

    def restart(self):
        self.stop()
        self.start()

    def _java(self, jars, heap, *arguments):
        options = [heap, "-Djava.awt.headless=true", f"-Dlog4j2.configurationFile={jars / LOG4J.name}"]
        # Native libraries are unpacked where they go with the directory; a killed JVM leaves them, and its counters.
        options += [f"-Djava.io.tmpdir={self.directory}", "-XX:-UsePerfData"]
        return [find_java(), *options, "-cp", f"{jars}/*", *arguments]

    def _write_properties(self):
        values = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": self.directory / "data",
            "auto.create.topics.enable": "false",
            # One node: what Kafka keeps three times by default can exist only once here.
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            # After a crash the controller lets the broker back in only when its old session has timed out.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            **self.settings,
        }
        lines = [f"{name}={value}\n" for name, value in values.items()]
        write_server_file(self.directory / "server.properties", "".join(lines))

    def _format(self, jars):
        # May begin with a dash, which the tool would take for an option of its own.
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "--config", "server.properties"]
        run_tool(self._java(jars, "-Xmx128m", "-XX:TieredStopAtLevel=1", *tool), self.directory)

    def _is_ready(self):
        from confluent_kafka import KafkaException

        try:
            return bool(self.admin().list_topics(timeout=1).brokers)
        except KafkaException:
            return False

    # --- use ---

    def admin(self):
        """A confluent_kafka AdminClient."""
        from confluent_kafka.admin import AdminClient

        # A client that calls a broker not there yet logs every refusal: not news here.
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 200})

    def create_topic(self, name, partitions=3, config=None):
        """Create a topic, unless it exists, and wait until every partition answers."""
        from confluent_kafka import KafkaError, KafkaException
        from confluent_kafka.admin import NewTopic

        admin = self.admin()
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=config or {})
        try:
            admin.create_topics([topic], operation_timeout=REQUEST_SECONDS_MAX)[name].result(REQUEST_SECONDS_MAX)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

        wait_until(lambda: len(self.offsets(name)) >= partitions, REQUEST_SECONDS_MAX, f"partitions of topic {name}")
        return name

    def delete_topic(self, name):
        """Delete a topic and wait until the broker no longer names it."""
        admin = self.admin()
        admin.delete_topics([name], operation_timeout=REQUEST_SECONDS_MAX)[name].result(REQUEST_SECONDS_MAX)
        wait_until(lambda: name not in self.topics(), REQUEST_SECONDS_MAX, f"end of topic {name}")

    def offsets(self, topic):
        """{partition: (first offset, end offset)} of a topic.

        Asks again while a partition has no leader, or one that does not know yet that it leads: so it is after the
        creation of a topic and after a restart or a long freeze of the broker.
        """
        from confluent_kafka import Consumer, KafkaException, TopicPartition

        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "offsets", "log_level": 0})

        errors = []

        def ask():
            try:
                numbers = consumer.list_topics(topic, timeout=5).topics[topic].partitions
                return {n: consumer.get_watermark_offsets(TopicPartition(topic, n), timeout=5) for n in numbers}
            except KafkaException as error:
                errors.append(error)
                return None

        try:
            return wait_until(ask, REQUEST_SECONDS_MAX, f"offsets of topic {topic}")
        except TimeoutError as late:
            raise late from (errors[-1] if errors else None)
        finally:
            consumer.close()

    def topics(self):
        """The names of all topics."""
        return set(self.admin().list_topics(timeout=REQUEST_SECONDS_MAX).topics)
