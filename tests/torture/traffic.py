"""Commands without end, each a pure function of a seed and its number, and the thread that sends them.

    traffic = Traffic(site, seed=7, rate=1000)
    traffic.start()
    traffic.answered = 1200              # told now and then: it never runs further ahead than `ahead` commands
    traffic.stop()
    traffic.send_again([3, 17])          # the same records once more

The producer is not idempotent: when the broker dies, it sends again what may have arrived, and clients do that.

Devices, users who get and lose them, lists that make commands of many events, refusals, site policy; some
twice, some to the wrong shard, some without an id.

SPDX-License-Identifier: Apache-2.0
"""

import json
import random
import threading
import time

from confluent_kafka import Producer

DEVICES = 120
USERS = 4


class Traffic:
    source = "/torture"

    def __init__(self, site, seed, rate=1000, ahead=4000):
        self.site, self.seed, self.rate, self.ahead = site, seed, rate, ahead
        self.sent = 0               # commands handed over; numbers are 0..sent-1
        self.answered = 0
        self.failure = None
        self._again = []            # records whose delivery failed: nobody knows whether they are there
        self._stop = threading.Event()
        self._thread = None
        self._producer = Producer(site.broker.client_settings(**{
            "partitioner": "murmur2_random", "acks": "all", "linger.ms": 2,
            "retry.backoff.ms": 50, "reconnect.backoff.max.ms": 500, "message.timeout.ms": 120000,
            "topic.metadata.propagation.max.ms": 30000, "topic.metadata.refresh.interval.ms": 5000}))

    # ---- what is sent --------------------------------------------------------------------------------------

    def id(self, number):
        return f"{self.seed}-{number}"

    def command(self, number, choose):
        """(type, data, key)"""
        device = 1000 + choose.randrange(DEVICES)
        user = f"contoso\\user{choose.randrange(USERS)}"
        named = {"ResourceID": device, "UniqueUserName": user}
        several = choose.sample((1, 2, 4, 5, 6, 7, 8, 9), choose.randint(1, 6))
        key = f"device:{device}"
        kind = choose.choices(range(10), (3, 6, 5, 5, 1, 1, 1, 1, 1, .03))[0]
        return (
            ("RegisterDevice", {"ResourceID": device, "Name": f"PC{choose.randrange(9)}"}, key),
            ("CreateRelationship", {"MachineResourceId": device, "UserAccountName": user, "SourceId": several}, key),
            ("AddSource", {**named, "SourceId": several}, key),
            ("RemoveSource", {**named, "SourceId": several}, key),
            ("AddType", {**named, "TypeId": 1}, key),
            ("RemoveType", {**named, "TypeId": 1}, key),
            ("CreateRelationship", {"MachineResourceId": device, "UserAccountName": user, "SourceId": 99}, key),
            ("DeleteRelationship", named, key),
            ("RemoveDevice", {"ResourceID": device}, key),
            ("SetPolicy", {"Name": "devices.unknown", "Value": choose.choice(["stub", "refuse"])}, "policy"),
        )[kind]

    def records(self, number):
        """What command `number` is sent as: [(value, key, headers, partition or None)]."""
        choose = random.Random(f"{self.seed}-{number}")
        kind, data, key = self.command(number, choose)
        headers = [("ce_specversion", b"1.0"), ("ce_id", self.id(number).encode()),
                   ("ce_source", self.source.encode()), ("ce_type", kind.encode()),
                   ("content-type", b"application/json")]
        value, chance = json.dumps(data).encode(), choose.random()
        record = (value, key.encode(), headers, None)
        if chance < 0.02:       # where it does not belong
            return [(value, key.encode(), headers, (self.site.shard_of(key) + 1) % self.site.shards)]
        if chance < 0.10:
            return [record, record]
        if chance < 0.103:      # nobody to answer
            return [record, (b"rubbish", key.encode(), [], None)]
        return [record]

    # ---- sending -------------------------------------------------------------------------------------------

    def _hand_over(self, record):
        value, key, headers, partition = record

        def report(error, _message):
            if error:
                self._again.append(record)

        options = {} if partition is None else {"partition": partition}
        while not self._stop.is_set() or self._thread is None:
            try:
                self._producer.produce(self.site.topic("commands"), value, key, headers=headers or None,
                                       on_delivery=report, **options)
                return
            except BufferError:
                self._producer.poll(0.05)

    def _send_next(self, count):
        again, self._again = self._again, []
        for record in again:
            self._hand_over(record)
        for _ in range(count):
            for record in self.records(self.sent):
                self._hand_over(record)
            self.sent += 1

    def _run(self):
        rhythm = random.Random(f"{self.seed}-rhythm")
        try:
            while not self._stop.is_set():
                count = rhythm.choice((1, 3, 20, 20, 60, 200))
                if self.sent - self.answered < self.ahead:
                    self._send_next(count)
                began = time.monotonic()
                while time.monotonic() < began + count / self.rate and not self._stop.is_set():
                    self._producer.poll(0.01)
        except Exception as failure:  # told by whoever waits
            self.failure = failure

    def start(self):
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self):
        """Ends the sending; returns when the broker has all."""
        self._stop.set()
        if self._thread:
            self._thread.join()
            self._thread = None
        self._flush()
        if self.failure:
            raise self.failure

    def _flush(self):
        deadline = time.monotonic() + 120
        while True:
            left = self._producer.flush(10)
            if left == 0 and not self._again:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"{left + len(self._again)} commands could not be delivered in 120 s")
            self._send_next(0)

    def send_again(self, numbers):
        """The same commands once more (one record of each); returns when the broker has them."""
        for number in numbers:
            self._hand_over(self.records(number)[0])
        self._flush()
