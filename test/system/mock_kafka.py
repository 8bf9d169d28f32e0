"""A cluster that does wrong on demand: librdkafka's mock cluster, in this process, on a loopback port.

What a real broker does once in its life (a topic that is not there yet, an answer that ends a producer for good) is
one call here. The functions are those of rdkafka_mock.h, which no Python package has.
"""

import ctypes

from stack import wait_until

API_PRODUCE = 0
UNKNOWN_TOPIC_OR_PART = 3
OUT_OF_ORDER_SEQUENCE_NUMBER = 45

RD_KAFKA_PRODUCER = 0
RECORDS_MAX = 100_000


def _library():
    library = ctypes.CDLL("librdkafka.so.1")
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, result, arguments in (
        ("rd_kafka_conf_new", pointer, []),
        ("rd_kafka_conf_set", number, [pointer, text, text, text, ctypes.c_size_t]),
        ("rd_kafka_new", pointer, [number, pointer, text, ctypes.c_size_t]),
        ("rd_kafka_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_new", pointer, [pointer, number]),
        ("rd_kafka_mock_cluster_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_bootstraps", text, [pointer]),
        ("rd_kafka_mock_topic_create", number, [pointer, text, number, number]),
        ("rd_kafka_mock_partition_set_leader", number, [pointer, text, ctypes.c_int32, ctypes.c_int32]),
        ("rd_kafka_mock_broker_set_rtt", number, [pointer, ctypes.c_int32, number]),
        ("rd_kafka_mock_topic_set_error", None, [pointer, text, number]),
        ("rd_kafka_mock_push_request_errors_array", None, [pointer, ctypes.c_int16, ctypes.c_size_t, pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class MockKafka:
    """with MockKafka() as kafka: ... kafka.bootstrap is its address."""

    def __init__(self, brokers=1):
        self._library = _library()
        error = ctypes.create_string_buffer(512)
        configuration = self._library.rd_kafka_conf_new()
        # It would complain that it has no brokers, which is what it is for.
        result = self._library.rd_kafka_conf_set(configuration, b"log_level", b"0", error, len(error))
        assert result == 0, error.value.decode()
        self._handle = self._library.rd_kafka_new(RD_KAFKA_PRODUCER, configuration, error, len(error))
        assert self._handle, error.value.decode()
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._handle, brokers)
        assert self._cluster, "no mock cluster"
        self.bootstrap = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._handle)

    def create_topic(self, name, partitions=1):
        result = self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        assert result == 0, (name, result)
        return name

    def set_leader(self, topic, partition, broker):
        """Brokers count from 1."""
        result = self._library.rd_kafka_mock_partition_set_leader(self._cluster, topic.encode(), partition, broker)
        assert result == 0, (topic, partition, broker, result)

    def set_delay(self, broker, seconds):
        """How long a broker takes for each of its answers."""
        result = self._library.rd_kafka_mock_broker_set_rtt(self._cluster, broker, int(seconds * 1000))
        assert result == 0, (broker, result)

    def set_topic_error(self, name, error):
        """What clients are told who ask for the topic; 0: that it is there."""
        self._library.rd_kafka_mock_topic_set_error(self._cluster, name.encode(), error)

    def push_errors(self, api, *errors):
        """The next requests of a kind (API_...) are answered with these."""
        array = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, api, len(errors), array)

    def record_ids(self, topic, count, seconds=30):
        """Wait until the topic's partition 0 has so many records; the header `id` of each, in order."""
        from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "reader", "enable.auto.commit": False})
        found = []

        def has_all():
            for message in consumer.consume(RECORDS_MAX, timeout=0.1):
                assert message.error() is None, message.error()
                found.append(dict(message.headers())["id"].decode())
            return len(found) >= count

        try:
            consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
            wait_until(has_all, seconds, f"{count} records in {topic}")
        finally:
            consumer.close()
        return found
