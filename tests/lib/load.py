"""Commands in number, and what must be true of them afterwards.

    load = Load(site)
    load.start(3000)                     # sends in a thread of its own
    ...                                  # kill whom you like
    load.check(self)                     # all answered, each with one value; each decided once

SPDX-License-Identifier: Apache-2.0
"""

import json
import threading
import time

from strict_reader import read_log

DEVICES = 40


class Load:
    """Commands of all kinds with ids of their own: devices, users who get and lose them, refusals; one in
    eleven is sent twice."""

    def __init__(self, site, source="/load"):
        self.site, self.source = site, source
        self.commands = {}  # id: (type, data)
        self._thread = None
        self._failure = None
        self._read, self._counted, self._answers = None, 0, {}

    def _make(self, number):
        turn = number // 7  # seven commands in a row are about one device
        device = 1000 + turn % DEVICES
        user = f"contoso\\user{turn // DEVICES % 3}"
        more = 2 if turn % 2 == 0 else 4 + turn % 5  # 2: unchanged, and removing it ends the relationship
        kinds = [("RegisterDevice", {"ResourceID": device, "Name": f"PC{device}-{number // 97 % 3}"}),
                 ("CreateRelationship", {"MachineResourceId": device, "UserAccountName": user, "SourceId": 2}),
                 ("AddSource", {"ResourceID": device, "UniqueUserName": user, "SourceId": more}),
                 ("CreateRelationship", {"MachineResourceId": device, "UserAccountName": user, "SourceId": 99}),
                 ("RemoveSource", {"ResourceID": device, "UniqueUserName": user, "SourceId": 2}),
                 ("RegisterDevice", {"ResourceID": device, "Name": f"PC{device}-{number // 97 % 3}"}),
                 ("AddType", {"ResourceID": device, "UniqueUserName": user, "TypeId": 1})]
        return kinds[number % len(kinds)]

    def records(self, count):
        """The next commands as records for Broker.produce_many."""
        records = []
        for _ in range(count):
            number = len(self.commands)
            kind, data = self._make(number)
            id = f"{self.source}-{number}"
            self.commands[id] = (kind, data)
            device = next(data[name] for name in ("MachineResourceId", "ResourceID", "SourceClientResourceID")
                          if name in data)
            headers = [("ce_specversion", b"1.0"), ("ce_id", id.encode()), ("ce_source", self.source.encode()),
                       ("ce_type", kind.encode()), ("content-type", b"application/json")]
            record = (json.dumps(data).encode(), f"device:{device}".encode(), headers)
            records += [record, record] if number % 11 == 5 else [record]
        return records

    def send(self, count):
        """Sends count commands and waits until the broker has them."""
        self.site.broker.produce_many(self.site.topic("commands"), self.records(count))

    def start(self, count, chunk=500):
        """Sends in a thread, chunk by chunk; wait() joins it. (With small chunks for several partitions the
        library now and then sleeps for a second.)"""
        def run():
            try:
                sent = 0
                while sent < count:
                    self.send(min(chunk, count - sent))
                    sent += chunk
            except Exception as failure:
                self._failure = failure
        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def wait(self):
        if self._thread:
            self._thread.join()
            self._thread = None
        if self._failure:
            raise self._failure

    # ---- what came of it ---------------------------------------------------------------------------------

    def answers(self):
        """{id: [answers, in order]}"""
        messages = self.site.messages("replies")
        if messages is not self._read:  # the site began to read anew
            self._read, self._counted, self._answers = messages, 0, {}
        for message in messages[self._counted:]:
            source, id = message.command
            if source == self.source:
                self._answers.setdefault(id, []).append(message)
        self._counted = len(messages)
        return self._answers

    def unanswered(self):
        answered = self.answers()
        return [id for id in self.commands if id not in answered]

    def wait_answers(self, test, timeout_s=60):
        """Waits until each command has an answer; the last ones missing are named."""
        self.wait()
        deadline = time.monotonic() + timeout_s
        while True:
            missing = self.unanswered()
            if not missing:
                return
            if time.monotonic() > deadline:
                test.fail(f"{len(missing)} of {len(self.commands)} commands are not answered after {timeout_s} s, "
                          f"as {missing[:3]}\n{self.site.log_tail()}")
            time.sleep(0.05)

    def check(self, test, timeout_s=60):
        """All answered, with one value each and at most one answer that is not marked as repeated; all decided
        once; the topic's log whole, and the answers those of its events. Returns {shard: Log}."""
        self.wait_answers(test, timeout_s)
        answers = self.answers()
        for id, found in answers.items():
            test.assertEqual({(a.value, a.key, a.partition, a.id) for a in found},
                             {(found[0].value, found[0].key, found[0].partition, found[0].id)}, id)
            test.assertLessEqual(len([a for a in found if not a.repeated]), 1, f"{id}: {found}")
        logs = read_logs(self.site)
        decided = {}
        for log in logs.values():
            for (source, id), groups in log.commands.items():
                if source == self.source:
                    test.assertEqual(len(groups), 1, f"{id} has more than one effect: {groups}")
                    decided[id] = groups[0]
        test.assertEqual(set(decided), set(self.commands))
        outcomes = outcomes_of(logs)
        for id, events in decided.items():
            data = answers[id][0].data
            asked = [outcomes[e.data[REQUESTS[e.type]]] for e in events if e.type in REQUESTS]
            test.assertEqual([e["Sequence"] for e in data["Events"]],
                             [e.sequence for e in events + asked][:ANSWER_EVENTS_MAX], id)
            test.assertEqual(data["Shard"], events[0].shard, id)
        return logs


ANSWER_EVENTS_MAX = 100  # an answer names the first ones

# What asks another shard, and what concludes it; both by the member that names the request.
REQUESTS = {"AssociationRequested": "MigrationID", "ReplacementRequested": "Request"}
OUTCOMES = {"RequestRefused": "Request", "AssociationAdded": "MigrationID", "ReplacementCompleted": "Request"}


def outcomes_of(logs):
    """{request: the event that concluded what a shard asked of another}"""
    return {event.data[OUTCOMES[event.type]]: event
            for log in logs.values() for event in log.events if event.type in OUTCOMES}


def read_logs(site):
    """{shard: Log} by the strict reader; raises LogFault."""
    records = site.broker.read(site.topic("events"))
    return {shard: read_log([r for r in records if r.partition == shard]) for shard in range(site.shards)}
