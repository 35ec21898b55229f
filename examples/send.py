#!/usr/bin/python3
"""Sends one command and waits for its answer, with nothing but a Kafka client (python3-confluent-kafka).

    examples/send.py [--bootstrap localhost:9092] 'MachineResourceId=7 UserAccountName=hq\\ann SourceId=2'
    examples/send.py --type RegisterDevice 'ResourceID=7 Name=PC7'

Exit code: 0 accepted or unchanged, 3 refused or conflict, 4 no answer in time.

SPDX-License-Identifier: Apache-2.0
"""

import argparse
import json
import sys
import time
import uuid

from confluent_kafka import Consumer, Producer, TopicPartition

SOURCE = "/examples/send.py"  # who sends; source and id together are the command's id


def parameters(text):
    """'A=1 B=x' -> {"A": 1, "B": "x"}: a number is a number, everything else a string."""
    pairs = (word.split("=", 1) for word in text.split())
    return {name: int(value) if value.isdigit() else value for name, value in pairs}


def record_key(data):
    """The aggregate's key. Order is promised for commands of one key; without it the command is forwarded."""
    names = {name.lower(): value for name, value in data.items()}
    device = names.get("machineresourceid", names.get("resourceid"))
    return f"device:{device}" if device is not None else None


def open_replies(bootstrap, topic):
    """A reader of what comes into the replies topic from now on: opened before the command is sent."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    ends = [TopicPartition(topic, p, consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1])
            for p in partitions]
    consumer.assign(ends)
    return consumer


def send(bootstrap, topic, kind, data, id):
    # murmur2_random is Java's default partitioner: it finds the partition that Kinlog expects.
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
    failed = []
    producer.produce(topic, key=record_key(data), value=json.dumps(data),
                     headers={"ce_specversion": "1.0", "ce_id": id, "ce_source": SOURCE, "ce_type": kind,
                              "content-type": "application/json"},
                     on_delivery=lambda error, _: failed.append(error) if error else None)
    left = producer.flush(10)
    if left or failed:
        sys.exit(f"the broker did not take the command: {failed[0] if failed else 'no answer'}")


def wait_for_answer(consumer, id, timeout_s):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        record = consumer.poll(0.2)
        if record is None or record.error():
            continue
        headers = dict(record.headers() or [])
        if headers.get("ce_causationid") == id.encode() and headers.get("ce_causationsource") == SOURCE.encode():
            if headers.get("ce_repeated"):
                print("seen before: the first answer again", file=sys.stderr)
            return json.loads(record.value())
    return None


def main():
    parser = argparse.ArgumentParser(description="Sends one command to Kinlog and prints its answer.")
    parser.add_argument("parameters", help="Name=value, separated by blanks")
    parser.add_argument("--type", default="CreateRelationship")
    parser.add_argument("--bootstrap", default="localhost:9092")
    parser.add_argument("--prefix", default="kinlog", help="of the topics")
    parser.add_argument("--id", default=str(uuid.uuid4()), help="sent again with the same id: no second effect")
    parser.add_argument("--timeout", type=float, default=10, help="seconds")
    arguments = parser.parse_args()

    replies = open_replies(arguments.bootstrap, f"{arguments.prefix}.replies")
    send(arguments.bootstrap, f"{arguments.prefix}.commands", arguments.type,
         parameters(arguments.parameters), arguments.id)
    answer = wait_for_answer(replies, arguments.id, arguments.timeout)
    replies.close()
    if answer is None:
        print(f"no answer within {arguments.timeout:g} s; ask again with --id {arguments.id}", file=sys.stderr)
        return 4
    print(json.dumps(answer, indent=2))
    return 0 if answer["Outcome"] in ("accepted", "unchanged") else 3


if __name__ == "__main__":
    sys.exit(main())
