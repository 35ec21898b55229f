"""A strict reader of a shard's events partition: which records are its log, and is it whole.

    log = read_log(broker.read("kinlog.events", partition=0))
    log.events[-1].sequence, log.commands[("/hr", "id-1")]

    reader = Reader(on_command=take)    # or piece by piece; holds 16 bytes of each event
    reader.take(record)

Written from the rules alone (claims, epochs, whole commands, chain), to check what agents write. Raises
LogFault where the log is broken: a gap, a chain that does not fit, two valid events of one sequence that
differ. Void records (without or under another epoch, commands that a claim cut off) are counted only.

SPDX-License-Identifier: Apache-2.0
"""

import base64
import hashlib
import json
import re
import struct

CHAINED = ["ce_specversion", "content-type", "ce_id", "ce_source", "ce_type", "ce_time", "ce_subject",
           "ce_causationid", "ce_causationsource", "ce_command", "ce_actor", "ce_correlationid", "ce_replyto",
           "ce_traceparent", "ce_tracestate"]
COMMAND = re.compile(r"(\d+);(\d+)/(\d+);([A-Za-z0-9_-]{22}|-);([ -~]+)")


class LogFault(Exception):
    """The log is broken, and where."""


class Event:
    """One valid event."""

    def __init__(self, record):
        self.record = record
        self.offset = record.offset
        self.headers = {}
        for name, value in record.headers:
            if name in self.headers:
                raise LogFault(f"offset {record.offset}: header {name} stands twice")
            self.headers[name] = value
        shard, sequence = self.text("ce_id").split("-")
        self.shard, self.sequence = int(shard), int(sequence)
        self.type = self.text("ce_type").removeprefix("kinlog.").rsplit(".v", 1)[0]
        self.chain = self.headers["ce_chain"]
        self.data = json.loads(record.value)
        self.command_offset, self.index, self.count, self.hash = None, 1, 1, None
        if "ce_command" in self.headers:
            match = COMMAND.fullmatch(self.text("ce_command"))
            if not match:
                raise LogFault(f"offset {record.offset}: ce_command is {self.text('ce_command')}")
            self.command_offset, self.index, self.count = (int(match[i]) for i in (1, 2, 3))
            self.hash = match[4]

    def text(self, header):
        value = self.headers.get(header)
        return None if value is None else value.decode()

    @property
    def command(self):
        """(source, id) of its command; None where there is none."""
        if "ce_causationid" not in self.headers:
            return None
        return self.text("ce_causationsource"), self.text("ce_causationid")

    def __repr__(self):
        return f"<event {self.shard}-{self.sequence} {self.type} at offset {self.offset}>"


def content_hash(event):
    """Of all that the chain covers and the chain itself, for a comparison of two events of one sequence."""
    return hashlib.sha256(next_chain(b"", event) + event.chain).digest()[:16]


class Log:
    """What read_log() found."""

    def __init__(self):
        self.events = []    # valid, of whole commands, by sequence: events[n - 1] is event n
        self.claims = []    # (offset, epoch text, the claim's JSON)
        self.void = 0       # records that claim to be events and do not count
        self.repeats = 0    # valid events that were there before
        self.answered = 0   # the last valid answer cursor
        self.epochs = {}    # sequence -> epoch text of its first valid record

    @property
    def commands(self):
        """{(source, id): [[events of one decision], ...]}, in the order of the log."""
        found = {}
        for event in self.events:
            if event.command is None:
                continue
            groups = found.setdefault(event.command, [])
            if event.index == 1:
                groups.append([])
            groups[-1].append(event)
        return found


def _u32(data):
    return struct.pack(">I", len(data or b"")) + (data or b"")


def first_chain(log, site, shard, shards):
    text = _u32(log.encode()) + _u32(site.encode()) + struct.pack(">II", shard, shards)
    return hashlib.sha256(text).digest()


def next_chain(previous, event):
    text = previous + struct.pack(">Q", event.sequence) + _u32(event.record.key)
    for name in CHAINED:
        text += _u32(event.headers.get(name))
    return hashlib.sha256(text + _u32(event.record.value)).digest()


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _claim(record):
    try:
        claim = json.loads(record.value)
        number = max(record.offset, int(claim["Floor"]))
        return f"{number};{claim['Id']}", claim
    except (ValueError, TypeError, KeyError):
        return None, None


class Reader:
    """Takes the records of one partition in offset order. on_command(events, epoch) gets the events of each
    command (or one event without a command) when they become valid."""

    def __init__(self, on_command, log_id=None):
        self.on_command = on_command
        self.log_id = log_id
        self.claims = []        # (offset, epoch text, the claim's JSON)
        self.void = 0           # records that claim to be events and do not count
        self.repeats = 0        # valid events that were there before
        self.answered = 0       # the last valid answer cursor
        self.epoch = None
        self.hashes = []        # of the valid events of whole commands, by sequence
        self.pending = []       # valid events of a command that is not whole yet
        self.chain = None       # of the last event of a whole command
        self.pending_chain = None

    @property
    def sequence(self):
        """The last valid event of a whole command."""
        return len(self.hashes)

    def take(self, record):
        epoch = dict(record.headers).get("kinlog_epoch")
        if record.key == b"kinlog:claim":
            self._claim(record)
        elif self.epoch is None or epoch is None or epoch.decode() != self.epoch:
            self.void += record.key != b"kinlog:answered"
        elif record.key == b"kinlog:answered":
            self.answered = json.loads(record.value)["Sequence"]
        elif not (record.key or b"").startswith(b"kinlog:"):
            self._event(Event(record))

    def _claim(self, record):
        epoch, claim = _claim(record)
        if epoch is None:
            return
        self.log_id = self.log_id or claim["Log"]
        if claim["Log"] != self.log_id:
            return
        self.epoch = epoch
        self.void += len(self.pending)
        self.pending, self.pending_chain = [], self.chain
        self.claims.append((record.offset, epoch, claim))

    def _event(self, event):
        last = len(self.hashes) + len(self.pending)
        if event.sequence <= last:
            return self._repeat(event)
        if event.sequence > last + 1:
            raise LogFault(f"{event}: event {last + 1} is missing before it")
        if last == 0:
            _, _, site, log = event.text("ce_source").split("/")
            self.chain = self.pending_chain = first_chain(log, site, event.shard, event.data["Shards"])
        chain = next_chain(self.pending_chain, event)
        if base64url(chain) != event.chain:
            raise LogFault(f"{event}: its chain does not fit")
        if event.index != (self.pending[-1].index + 1 if self.pending else 1):
            raise LogFault(f"{event} is {event.index}/{event.count} of its command behind {self.pending}")
        self.pending.append(event)
        self.pending_chain = chain
        if event.index == event.count:
            whole, self.pending, self.chain = self.pending, [], chain
            self.hashes += [content_hash(each) for each in whole]
            self.on_command(whole, self.epoch)
        return None

    def _repeat(self, event):
        behind = event.sequence - len(self.hashes) - 1
        held = content_hash(self.pending[behind]) if behind >= 0 else self.hashes[event.sequence - 1]
        if held != content_hash(event):
            raise LogFault(f"two valid events of one sequence: {event} is not the one that was there")
        self.repeats += 1


def read_log(records, log_id=None):
    """records: of one partition, in offset order. Without log_id the first claim says which log it is."""
    found = Log()

    def on_command(events, epoch):
        found.events += events
        found.epochs.update((event.sequence, epoch) for event in events)

    reader = Reader(on_command, log_id)
    for record in records:
        reader.take(record)
    found.claims, found.void, found.repeats, found.answered = (reader.claims, reader.void, reader.repeats,
                                                               reader.answered)
    return found
