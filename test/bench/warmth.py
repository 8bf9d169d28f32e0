"""A broker that has run for a while.

A new one spends more on compiling itself than on records: in its first minutes each request cost the measured
processors several times what it costs later, and what is measured there is Java's compiler.
"""

import os

TOPIC = "warm-up"
# What is compiled is what is done often, and that is requests, whatever is in them.
RECORDS_PER_REQUEST = (5, 50)
RECORD_BYTES = 150
HEADERS = {name: "0123456789" for name in ("id", "type", "ce_id", "ce_source", "ce_type", "content-type")}
POLL_EVERY = 100


def warm_up(kafka, count):
    """Send `count` records in small requests, and then as many in larger ones."""
    kafka.create_topic(TOPIC)
    for size in RECORDS_PER_REQUEST:
        _send(kafka, count, size)


def _send(kafka, count, size):
    from confluent_kafka import Producer

    settings = {"bootstrap.servers": kafka.bootstrap, "enable.idempotence": True, "linger.ms": 0}
    producer = Producer({**settings, "batch.num.messages": size, "queue.buffering.max.messages": count + 1})
    for number in range(count):
        producer.produce(TOPIC, key=str(number), value=os.urandom(RECORD_BYTES), headers=HEADERS)
        if number % POLL_EVERY == 0:
            producer.poll(0)
    producer.flush()
