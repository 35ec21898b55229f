"""Judges a history by what clients saw and what the topics hold, and by nothing else.

    checker = Checker(shards=2, source="/torture")
    checker.take_answer(record)      # each record of the replies topic, in the order of a partition
    checker.take_event(record)       # of the events topic
    checker.take_command(record)     # of the commands topic
    checker.take_dead_letter(record)
    checker.judge()                  # after each reading in this order: replies first, events behind them
    checker.finish()                 # at the end, when nothing is on its way any more
    checker.complaints               # [] = the history is right

What it proves, and the word in the complaint:

    not valid      the events of a partition are a log as a strict reader takes it: dense, chained, whole
                   commands, one truth at each sequence (tests/lib/strict_reader.py)
    whole          a command's events are of one command, 1/k to k/k
    doubled        a command's id takes effect once
    order          commands are decided in the order of the commands topic, where they lie in it
    early          an answer is visible only when the topic holds its events in its valid log: so none is lost,
                   and none rests on void events. (Replies are read first; what is valid stays valid.)
    values         an answer says what its events say, and every answer to one id is the same, byte for byte
    twice          at most one answer to an id is not marked as repeated
    unanswered     each command in the topic has an answer in the end, each undecodable record a dead letter

A command is known by its id alone: what is sent has one source, and no two contents under one id.

SPDX-License-Identifier: Apache-2.0
"""

import hashlib
import json

from strict_reader import LogFault, Reader

COMPLAINTS_MAX = 200
ANSWER_EVENTS_MAX = 100


def digest(data):
    return hashlib.sha256(data).digest()[:16]


def canonical(document):
    return json.dumps(document, sort_keys=True).encode()


def answer_of(shard, events):
    """The answer that a command's events make, written from the description of answers alone."""
    last = events[-1]
    answer = {"Command": events[0].headers["ce_command"].decode().split(";", 3)[3], "ReturnValue": 0,
              "Outcome": "accepted", "Shard": shard, "Sequence": last.sequence, "Version": last.sequence,
              "EventCount": len(events),
              "Events": [{"Sequence": e.sequence, "Type": e.text("ce_type")} for e in events[:ANSWER_EVENTS_MAX]],
              "Out": {}, "ExtendedStatus": None}
    method = answer["Command"].removeprefix("kinlog.").rsplit(".v", 1)[0]
    if last.type == "CommandRejected":
        answer.update({name: last.data[name] for name in ("ReturnValue", "Outcome", "Version", "ExtendedStatus")})
    elif last.type == "CommandUnchanged":
        answer.update({name: last.data[name] for name in ("Out", "Version", "ExtendedStatus")},
                      Outcome="unchanged")
    elif method == "CreateRelationship":
        answer["Out"] = {"RelationshipResourceID": last.data["RelationshipResourceID"]}
    elif last.type == "PolicyChanged":
        answer["Out"] = {"Revision": last.data["Revision"]}
    return answer


class Decided:
    """A command's place in the valid log. What is kept of it is small: there are hundreds of thousands."""

    __slots__ = ("shard", "first", "count", "offset", "values")

    def __init__(self, shard, first, count, offset, values):
        self.shard, self.first, self.count, self.offset, self.values = shard, first, count, offset, values


class Answered:
    """What clients have got for one id."""

    __slots__ = ("value", "id", "count", "unmarked")

    def __init__(self, value, id):
        self.value, self.id, self.count, self.unmarked = value, id, 0, 0


class Checker:
    def __init__(self, shards, source):
        self.shards, self.source = shards, source
        self.complaints = []
        self.readers = [Reader(self._on_command) for _ in range(shards)]
        self.broken = set()         # partitions whose log is not valid any more
        self.decided = {}           # (source, id): Decided
        self.answered = {}          # (source, id): Answered
        self.answered_up_to = [0] * shards  # the last sequence on which a visible answer rests
        self.commands = {}          # id: how often it lies in the topic, forwarded copies left out
        self.places = [{} for _ in range(shards)]   # offset: id, until the command there is decided
        self.undecodable = {}       # (partition, offset) of records without id: how many dead letters
        self._waiting = []          # answers not judged yet: (command, value digest, values, record's words)
        self._last_offset = [-1] * shards
        self._undecided = []        # decided before the command's record was read: (shard, offset, id)

    def complain(self, word, text):
        if len(self.complaints) < COMPLAINTS_MAX:
            self.complaints.append(f"{word}: {text}")

    # ---- the events topic ---------------------------------------------------------------------------------

    def take_event(self, record):
        if record.partition in self.broken:
            return
        try:
            self.readers[record.partition].take(record)
        except (LogFault, KeyError, ValueError, AttributeError, TypeError) as fault:
            self.broken.add(record.partition)
            self.complain("not valid", f"partition {record.partition}: {fault!r}")

    def _on_command(self, events, _epoch):
        first, count = events[0], len(events)
        shard, command = first.shard, first.command
        if len({(e.command, e.command_offset, e.count, e.hash, e.shard) for e in events}) > 1 or \
                [e.index for e in events] != list(range(1, first.count + 1)):
            self.complain("whole", f"{events} are not the events of one command")
        if first.command_offset is not None:
            if first.command_offset <= self._last_offset[shard]:
                self.complain("order", f"{first} decides offset {first.command_offset} behind offset "
                                       f"{self._last_offset[shard]}")
            self._last_offset[shard] = first.command_offset
        if command is None:
            return
        known = self.decided.get(command)
        if known:
            self.complain("doubled", f"{command[1]}: decided at events {known.first} and {first.sequence} of shards "
                                     f"{known.shard} and {shard}")
            return
        self.decided[command] = Decided(shard, first.sequence, count, first.command_offset,
                                        digest(canonical(answer_of(shard, events))))
        if command[0] == self.source:
            self._undecided.append((shard, first.command_offset, command[1]))

    # ---- the other topics ----------------------------------------------------------------------------------

    def take_command(self, record):
        headers = dict(record.headers)
        source, id = headers.get("ce_source"), headers.get("ce_id")
        if source is None or id is None:
            self.undecodable.setdefault((record.partition, record.offset), 0)
        elif source.decode() == self.source:
            self.places[record.partition][record.offset] = id.decode()
            if "kinlog_forwarded" not in headers:
                self.commands[id.decode()] = self.commands.get(id.decode(), 0) + 1

    def take_dead_letter(self, record):
        headers = dict(record.headers)
        place = int(headers["kinlog_partition"]), int(headers["kinlog_offset"])
        self.undecodable[place] = self.undecodable.get(place, 0) + 1

    def take_answer(self, record):
        headers = {name: value.decode() for name, value in record.headers}
        if headers.get("ce_type") != "kinlog.Answer.v1":
            return
        command = headers["ce_causationsource"], headers["ce_causationid"]
        whole = digest(record.value + b"\0" + (record.key or b"-") + b"\0%d" % record.partition)
        place = f"reply {record.partition}/{record.offset}"
        answer = self.answered.get(command)
        if answer is None:
            answer = self.answered[command] = Answered(whole, headers["ce_id"])
            data = json.loads(record.value)
            self._waiting.append((command, digest(canonical(data)), data.get("Sequence", 0), headers["ce_id"],
                                  record.partition, place))
        elif (answer.value, answer.id) != (whole, headers["ce_id"]):
            self.complain("values", f"{command[1]}: {place} ({headers['ce_id']}) is not the answer given before")
        answer.count += 1
        answer.unmarked += headers.get("ce_repeated") != "true"
        if answer.unmarked > 1 and headers.get("ce_repeated") != "true":
            self.complain("twice", f"{command[1]}: {place} is its answer {answer.unmarked} that is not marked as "
                                   "repeated")

    # ---- judgement ---------------------------------------------------------------------------------------

    def judge(self):
        """Every answer read so far must rest on events read so far."""
        for command, values, sequence, id, partition, place in self._waiting:
            decided = self.decided.get(command)
            if decided is None:
                if partition not in self.broken:
                    self.complain("early", f"{command[1]}: {place} answers it, and the topic's valid log does not "
                                           f"hold its events (up to {self.readers[partition].sequence}; the answer "
                                           f"says {sequence})")
                continue
            if values != decided.values:
                self.complain("values", f"{command[1]}: {place} does not say what events {decided.first} to "
                                        f"{decided.first + decided.count - 1} of shard {decided.shard} say")
            if id != f"{decided.shard}-{decided.offset}" or partition != decided.shard:
                self.complain("values", f"{command[1]}: {place} is {id}, decided was offset {decided.offset} of "
                                        f"shard {decided.shard}")
            self.answered_up_to[decided.shard] = max(self.answered_up_to[decided.shard],
                                                     decided.first + decided.count - 1)
        self._waiting = []
        for shard, offset, id in self._undecided:
            found = self.places[shard].pop(offset, None)
            if found != id:
                self.complain("order", f"{id} is decided for offset {offset} of shard {shard}, where {found} lies")
        self._undecided = []

    def unanswered(self):
        """The commands in the topic that have no answer yet."""
        return [id for id in self.commands if (self.source, id) not in self.answered]

    def unburied(self):
        return [place for place, letters in self.undecodable.items() if letters == 0]

    def underanswered(self):
        """The commands that lie in the topic more often than they were answered."""
        return [id for id, count in self.commands.items()
                if (self.source, id) in self.answered and self.answered[self.source, id].count < count]

    def answers_to(self, id):
        answer = self.answered.get((self.source, id))
        return answer.count if answer else 0

    def finish(self, each_record=True):
        """each_record: each record of a command was answered, not only each command."""
        self.judge()
        for what, missing in (("command without an answer", self.unanswered()),
                              ("undecodable record without a dead letter", self.unburied()),
                              ("command with fewer answers than records", self.underanswered() * each_record)):
            if missing:
                self.complain("unanswered", f"{len(missing)} x {what}, as {missing[:3]}")
        for (source, id), decided in self.decided.items():
            if source == self.source and id not in self.commands:
                self.complain("order", f"{id} was decided (event {decided.first} of shard {decided.shard}) and is not "
                                       "in the commands topic")
        for command in self.answered:
            if command[0] == self.source and command[1] not in self.commands:
                self.complain("order", f"{command[1]} was answered and is not in the commands topic")
        return self.complaints

    # ---- figures -----------------------------------------------------------------------------------------

    @property
    def sequence(self):
        """Up to which event each shard's valid log goes."""
        return [reader.sequence for reader in self.readers]

    @property
    def void(self):
        return sum(reader.void for reader in self.readers)

    def decided_unanswered(self):
        return len(self.decided) - len(self.answered)
