#!/usr/bin/python3
"""Reads the events topic as its log: each event once, in the order of its shard, one JSON object a line.

    examples/follow_events.py [--bootstrap localhost:9092] [--once]

Kafka may hold more than the log: records of an agent that had lost its shard, or a batch written again after
a crash. `Reader` leaves them out by the rules that Kinlog itself keeps (docs/architecture.md, "Who may write"):

  - an event counts if its kinlog_epoch is that of the last claim before it in its partition;
  - it must be the next one by its sequence; one seen before is dropped;
  - the events of one command count together, when the last one is there.

It reads from the first record on each time. Whoever keeps a position keeps the last claim with it.

SPDX-License-Identifier: Apache-2.0
"""

import argparse
import json
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

CLAIM = b"kinlog:claim"


class Gap(Exception):
    """The topic lacks an event: its beginning was deleted, or something wrote into it that is no agent."""


class Reader:
    """One partition, that is one shard. take() returns the events that count now: (sequence, record)."""

    def __init__(self):
        self.epoch = None
        self.sequence = 0   # of the last complete command
        self.pending = []   # events of a command that is not complete

    def take(self, record):
        if record.key() == CLAIM:
            claim = json.loads(record.value())
            self.epoch = f"{max(record.offset(), claim['Floor'])};{claim['Id']}"
            self.pending = []
            return []
        headers = headers_of(record)
        if headers.get("kinlog_epoch") != self.epoch or (record.key() or b"").startswith(b"kinlog:"):
            return []
        sequence = int(headers["ce_id"].split("-")[1])
        last = self.sequence + len(self.pending)
        if sequence <= last:
            return []
        if sequence > last + 1:
            raise Gap(f"partition {record.partition()}: event {last + 1} is missing before offset {record.offset()}")
        self.pending.append((sequence, record))
        index, count = headers.get("ce_command", ";1/1").split(";")[1].split("/")
        if index != count:
            return []
        complete, self.pending, self.sequence = self.pending, [], sequence
        return complete


def headers_of(record):
    return {name: value.decode() for name, value in record.headers() or [] if value is not None}


def valid_events(bootstrap, topic, once):
    """Yields (sequence, record) of all shards; ends at the topic's present end if once."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False})
    partitions = list(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    readers = {p: Reader() for p in partitions}
    left = {}
    if once:
        ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10) for p in partitions}
        left = {p: high for p, (low, high) in ends.items() if high > low}
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
    while left or not once:
        record = consumer.poll(1.0)
        if record is None or record.error():
            continue
        yield from readers[record.partition()].take(record)
        if record.offset() + 1 >= left.get(record.partition(), float("inf")):
            del left[record.partition()]
    consumer.close()


def main():
    parser = argparse.ArgumentParser(description="Prints each event of Kinlog's events topic once.")
    parser.add_argument("--bootstrap", default="localhost:9092")
    parser.add_argument("--prefix", default="kinlog", help="of the topics")
    parser.add_argument("--once", action="store_true", help="end at the present end of the topic")
    arguments = parser.parse_args()
    try:
        for _, record in valid_events(arguments.bootstrap, f"{arguments.prefix}.events", arguments.once):
            headers = headers_of(record)
            print(json.dumps({"id": headers["ce_id"], "type": headers["ce_type"], "time": headers["ce_time"],
                              "subject": headers.get("ce_subject"), "cause": headers.get("ce_causationid"),
                              "data": json.loads(record.value())}, ensure_ascii=False), flush=True)
    except KeyboardInterrupt:
        pass
    except Gap as gap:
        sys.exit(str(gap))


if __name__ == "__main__":
    main()
