#!/usr/bin/python3
"""Checks the chain of every event in the events topic, without Kinlog: Kafka, SHA-256 and 20 lines of rules.

    examples/check_chain.py [--bootstrap localhost:9092]

    chain(0) = SHA-256(log id, site, u32 shard, u32 shards)
    chain(n) = SHA-256(chain(n-1), u64 n, key, each header of HEADERS, data)

Texts go in as u32 length and bytes, one that is absent as length 0; integers are big-endian. The last chain of
each shard is printed: compare it with a copy that you keep elsewhere, or with `kinlog status --json`.

SPDX-License-Identifier: Apache-2.0
"""

import argparse
import base64
import hashlib
import json
import sys

from follow_events import Gap, valid_events

# Of these, in this order; ce_chain itself and kinlog_epoch are not part of the chain.
HEADERS = ["ce_specversion", "content-type", "ce_id", "ce_source", "ce_type", "ce_time", "ce_subject",
           "ce_causationid", "ce_causationsource", "ce_command", "ce_actor", "ce_correlationid", "ce_replyto",
           "ce_traceparent", "ce_tracestate"]


def text(value):
    value = value or b""
    return len(value).to_bytes(4, "big") + value


def chain_start(started):
    """From the data of LogStarted, the first event of each shard."""
    return hashlib.sha256(text(started["Log"].encode()) + text(started["Site"].encode()) +
                          started["Shard"].to_bytes(4, "big") + started["Shards"].to_bytes(4, "big")).digest()


def chain_next(chain, sequence, record):
    headers = dict(record.headers())
    return hashlib.sha256(chain + sequence.to_bytes(8, "big") + text(record.key()) +
                          b"".join(text(headers.get(name)) for name in HEADERS) + text(record.value())).digest()


def base64url(digest):
    return base64.urlsafe_b64encode(digest).rstrip(b"=")


def main():
    parser = argparse.ArgumentParser(description="Checks the chain of all events in Kinlog's events topic.")
    parser.add_argument("--bootstrap", default="localhost:9092")
    parser.add_argument("--prefix", default="kinlog", help="of the topics")
    arguments = parser.parse_args()
    heads = {}
    try:
        for sequence, record in valid_events(arguments.bootstrap, f"{arguments.prefix}.events", once=True):
            shard = record.partition()
            chain = chain_start(json.loads(record.value())) if sequence == 1 else heads[shard][1]
            chain = chain_next(chain, sequence, record)
            if dict(record.headers())["ce_chain"] != base64url(chain):
                sys.exit(f"shard {shard}: the chain breaks at event {sequence}")
            heads[shard] = (sequence, chain)
    except Gap as gap:
        sys.exit(str(gap))
    for shard, (sequence, chain) in sorted(heads.items()):
        print(f"shard {shard}: {sequence} events, chain {base64url(chain).decode()}")


if __name__ == "__main__":
    main()
