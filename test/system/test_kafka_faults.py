"""What a broker does once in its life, on a mock cluster: a topic that is not there yet, a producer that is ended."""

import pytest
from load import add_instruments, cancel, place, stats, wait_all_sent
from mock_kafka import API_PRODUCE, OUT_OF_ORDER_SEQUENCE_NUMBER, UNKNOWN_TOPIC_OR_PART, MockKafka
from stack import wait_until

TOPIC = "order.events"
# The grace of a topic that is not there, and how often it is looked for; and no dead letters, which have their tests.
SETTINGS = {
    "order_service.kafka_options": "topic.metadata.propagation.max.ms=1000 topic.metadata.refresh.interval.ms=1000",
    "order_service.dlq_topic": "",
}
ORDERS = 20
SLOW_BROKER = 2
SLOW_SECONDS = 20
# After a delivery, or an outage, a topic that is not there may well come back by itself.
TOPIC_GRACE_SECONDS = 30


@pytest.fixture
def mock():
    with MockKafka() as kafka:
        kafka.create_topic(TOPIC)
        yield kafka


@pytest.fixture
def connect(make_postgres, mock):
    """connect(**settings): a connection to a new cluster that publishes to the mock."""
    made = []

    def make(**settings):
        server = make_postgres(settings={**SETTINGS, **settings}, kafka=mock, topic=TOPIC)
        connection = server.connect()
        made.append(connection)
        add_instruments(connection)
        return connection

    yield make
    for connection in made:
        connection.close()


def place_and_cancel(connection):
    """Orders with two events each; the ids that their records must have."""
    orders = [place(connection, f"order-{number}") for number in range(ORDERS)]
    for order_id in orders:
        cancel(connection, order_id)
    return {f"{order_id}.{version}" for order_id in orders for version in (1, 2)}


def assert_in_order(ids):
    """No record twice, and the second of each order behind its first."""
    assert len(set(ids)) == len(ids)
    for position, name in enumerate(ids):
        order_id, version = name.split(".")
        assert version == "1" or f"{order_id}.1" in ids[:position], ids


def counts(connection):
    """(status, retry_count) -> events."""
    query = "SELECT status, retry_count, count(*) FROM order_service.outbox_detail GROUP BY 1, 2"
    return {(status, attempts): count for status, attempts, count in connection.execute(query)}


def test_a_topic_that_appears_late_but_in_time_gets_everything_by_itself(connect, mock):
    mock.set_topic_error(TOPIC, UNKNOWN_TOPIC_OR_PART)
    connection = connect(**{"order_service.retry_interval": "2s", "order_service.max_attempts": "100"})
    expected = place_and_cancel(connection)
    # Only the first event of an order is tried, and each counts for itself.

    def has_two_attempts():
        found = counts(connection)
        return found if found.get(("READY", 2)) == ORDERS else None

    found = wait_until(has_two_attempts, 60, "two attempts at each first event")
    assert found == {("READY", 2): ORDERS, ("READY", 0): ORDERS}
    query = "SELECT count(*) FROM order_service.outbox WHERE retry_count > 0 AND last_error NOT LIKE '%Unknown topic%'"
    assert connection.execute(query).fetchone() == (0,)
    before = stats(connection)
    assert before["refused"] >= 2 * ORDERS and before["failed"] == 0
    mock.set_topic_error(TOPIC, 0)
    wait_all_sent(connection)
    ids = mock.record_ids(TOPIC, len(expected))
    assert set(ids) == expected
    assert_in_order(ids)
    after = stats(connection)
    assert (after["pid"], after["failed"], after["parked"]) == (before["pid"], 0, 0)


def test_a_topic_that_is_lost_for_a_moment_counts_nothing(connect, mock):
    """As from a broker that has just started and does not know yet what is there."""
    connection = connect()
    first = place(connection, "first")
    wait_all_sent(connection)
    mock.set_topic_error(TOPIC, UNKNOWN_TOPIC_OR_PART)
    # The producer has to notice, so orders come until it has.
    expected = {f"{first}.1"}

    def is_lost():
        expected.add(f"{place(connection, f'order-{len(expected)}')}.1")
        return "nknown topic" in (stats(connection)["last_error"] or "")

    wait_until(is_lost, 30, "the topic lost")
    assert {attempts for _, attempts in counts(connection)} == {0}
    mock.set_topic_error(TOPIC, 0)
    wait_all_sent(connection)
    assert {attempts for _, attempts in counts(connection)} == {0}
    assert set(mock.record_ids(TOPIC, len(expected))) == expected


def test_a_topic_that_is_lost_for_good_counts_after_its_grace(connect, mock):
    connection = connect(**{"order_service.max_attempts": "1"})
    place(connection, "first")
    wait_all_sent(connection)
    created_at = connection.execute("SELECT created_at FROM order_service.outbox").fetchone()[0]
    mock.set_topic_error(TOPIC, UNKNOWN_TOPIC_OR_PART)

    def is_given_up():
        # Some are still sent until the producer has noticed.
        place(connection, f"order-{connection.execute('SELECT clock_timestamp()').fetchone()[0]}")
        return connection.execute("SELECT failed_at FROM order_service.dlq LIMIT 1").fetchone()

    failed_at = wait_until(is_given_up, 120, "an event given up")[0]
    assert (failed_at - created_at).total_seconds() >= TOPIC_GRACE_SECONDS
    # It is no outage any more: who refuses is there.
    wait_until(lambda: stats(connection)["state"] == "STREAMING", 30, "the state of a Kafka that answers")


def test_a_topic_that_appears_too_late_gets_everything_after_requeue_matching(connect, mock):
    mock.set_topic_error(TOPIC, UNKNOWN_TOPIC_OR_PART)
    connection = connect(**{"order_service.retry_interval": "1s"})
    expected = place_and_cancel(connection)
    wait_until(lambda: counts(connection).get(("FAILED", 3)) == ORDERS, 60, "all orders parked")
    wait_until(lambda: stats(connection)["parked"] == ORDERS, 10, "orders counted as parked")
    lag = connection.execute("SELECT ready, failed, dlq, waiting FROM order_service.outbox_lag").fetchone()
    assert lag == (0, ORDERS, 0, ORDERS)
    mock.set_topic_error(TOPIC, 0)
    late = place(connection, "late")
    query = "SELECT status FROM order_service.outbox_detail WHERE order_id = %s"
    wait_until(lambda: connection.execute(query, [late]).fetchone() == ("SENT",), 60, "an order of now sent")
    requeued = connection.execute("SELECT order_service.requeue_matching(p_error => '%Unknown topic%')").fetchone()
    assert requeued == (ORDERS,)
    wait_all_sent(connection)
    ids = mock.record_ids(TOPIC, len(expected) + 1)
    assert set(ids) == expected | {f"{late}.1"}
    assert_in_order(ids)
    wait_until(lambda: stats(connection)["parked"] == 0, 10, "no order parked")


def test_a_fatal_error_ends_the_producer_and_the_next_process_sends_everything(connect, mock):
    connection = connect()
    wait_until(lambda: stats(connection)["state"] == "STREAMING", 60, "publisher at work")
    before = stats(connection)
    # To the first batch in flight no broker can say this: the producer's idea of what it sent is wrong.
    mock.push_errors(API_PRODUCE, OUT_OF_ORDER_SEQUENCE_NUMBER)
    expected = place_and_cancel(connection)
    wait_until(lambda: stats(connection)["fatal_errors"] == 1, 60, "fatal error noticed")
    wait_until(lambda: stats(connection)["pid"] not in (None, before["pid"]), 60, "a new process")
    wait_all_sent(connection)
    ids = mock.record_ids(TOPIC, len(expected))
    assert set(ids) == expected
    assert counts(connection) == {("SENT", 0): len(expected)}
    assert stats(connection)["fatal_errors"] == 1


def test_events_wait_for_no_broker_but_their_own(make_postgres):
    with MockKafka(brokers=2) as mock:
        mock.create_topic(TOPIC, partitions=2)
        for partition, broker in enumerate((1, SLOW_BROKER)):
            mock.set_leader(TOPIC, partition, broker)
        with make_postgres(settings=SETTINGS, kafka=mock, topic=TOPIC).connect() as connection:
            add_instruments(connection)
            # From here on both brokers are connected.
            place_and_cancel(connection)
            wait_all_sent(connection)
            mock.set_delay(SLOW_BROKER, SLOW_SECONDS)
            early = [place(connection, f"early-{number}") for number in range(ORDERS)]
            late = [place(connection, f"late-{number}") for number in range(ORDERS)]
            statuses = "SELECT order_id, status FROM order_service.outbox_detail"

            def has_overtaken():
                found = dict(connection.execute(statuses))
                return {found[order] for order in early} == {found[order] for order in late} == {"READY", "SENT"}

            wait_until(has_overtaken, SLOW_SECONDS / 2, "orders of one broker sent, and those of the other not")
            mock.set_delay(SLOW_BROKER, 0)
            wait_all_sent(connection)
