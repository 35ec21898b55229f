#!/usr/bin/python3
"""Sends commands and waits for the answer to each, with confluent-kafka (Debian: python3-confluent-kafka).

    examples/send.py BROKER PREFIX <examples/commands.tsv

SPDX-License-Identifier: Apache-2.0
"""

import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition

SOURCE = "/examples"  # who sends; source and id together are the command's id
TIMEOUT_S = 30


def read_from_now_on(settings, topic):
    """A reader of what comes into the topic; to be opened before the first command is sent."""
    consumer = Consumer({**settings, "group.id": "unused", "enable.auto.commit": False})
    partitions = [TopicPartition(topic, p) for p in consumer.list_topics(topic, timeout=10).topics[topic].partitions]
    for partition in partitions:
        partition.offset = consumer.get_watermark_offsets(partition, timeout=10)[1]
    consumer.assign(partitions)
    return consumer


def send(producer, topic, id, type, key, data):
    failed = []
    producer.produce(topic, key=key or None, value=data,
                     headers={"ce_specversion": "1.0", "ce_id": id, "ce_source": SOURCE, "ce_type": type},
                     on_delivery=lambda error, _: error and failed.append(error))
    if producer.flush(TIMEOUT_S) or failed:
        sys.exit(f"{id}: the broker did not take it: {failed[0] if failed else 'no answer'}")


def answer_to(replies, id):
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        record = replies.poll(0.2)
        headers = {} if record is None or record.error() else dict(record.headers() or [])
        if (headers.get("ce_causationsource"), headers.get("ce_causationid")) == (SOURCE.encode(), id.encode()):
            return record.value().decode(), headers
    sys.exit(f"{id}: no answer in time; sent again, it will not take effect twice")


broker, prefix = sys.argv[1:]
replies = read_from_now_on({"bootstrap.servers": broker}, f"{prefix}.replies")
producer = Producer({"bootstrap.servers": broker})
for line in sys.stdin:
    id, type, key, data = line.rstrip("\n").split("\t")
    send(producer, f"{prefix}.commands", id, type, key, data)
    answer, headers = answer_to(replies, id)
    print(id, headers.get("kinlog_forwarded", b"").decode(), headers.get("ce_repeated", b"").decode(), answer,
          sep="\t", flush=True)
