"""The checker complains about each kind of bad history, and about no good one.

SPDX-License-Identifier: Apache-2.0
"""

import json
import sys
import unittest
from pathlib import Path

sys.path += [str(Path(__file__).resolve().parents[1] / "lib"), str(Path(__file__).resolve().parent)]

from checker import Checker, answer_of, canonical  # noqa: E402
from kafka_broker import Record  # noqa: E402
from strict_reader import Event, base64url, first_chain, next_chain  # noqa: E402

LOG, SITE = "c" * 32, "test"
OWN = f"/kinlog/{SITE}/{LOG}"


class History:
    """One shard's topics, written as an agent would."""

    def __init__(self):
        self.replies, self.events, self.commands, self.dead = [], [], [], []
        self.chain = first_chain(LOG, SITE, 0, 1)
        self.sequence = 0
        self.epoch = None
        self.claim()
        self.event("LogStarted", {"Shards": 1}, None)

    @staticmethod
    def put(topic, key, value, headers):
        headers = [(name, text.encode() if isinstance(text, str) else text) for name, text in headers]
        topic.append(Record("t", 0, len(topic), 0, "CreateTime", key, value, headers))
        return topic[-1]

    def claim(self):
        id = f"{len(self.events):032x}"
        self.put(self.events, b"kinlog:claim", json.dumps({"Id": id, "Floor": 0, "Log": LOG}).encode(), [])
        self.epoch = f"{len(self.events) - 1};{id}"

    def event(self, kind, data, command, epoch=None):
        """command: (id, offset, i, k) or None. Returns the Event."""
        self.sequence += 1
        headers = [("ce_id", f"0-{self.sequence}"), ("ce_source", OWN), ("ce_type", f"kinlog.{kind}.v1")]
        if command:
            id, offset, i, k = command
            headers += [("ce_causationid", id), ("ce_causationsource", "/s"),
                        ("ce_command", f"{offset};{i}/{k};{'h' * 22};kinlog.RegisterDevice.v1")]
        value = canonical(data)
        unsealed = Event(Record("t", 0, 0, 0, "", b"k", value,
                                [(n, t.encode()) for n, t in headers] + [("ce_chain", b"")]))
        self.chain = next_chain(self.chain, unsealed)
        headers += [("ce_chain", base64url(self.chain)), ("kinlog_epoch", epoch or self.epoch)]
        return Event(self.put(self.events, b"k", value, headers))

    def command(self, id):
        """Returns its offset."""
        self.put(self.commands, b"k", b"{}", [("ce_id", id), ("ce_source", "/s")])
        return len(self.commands) - 1

    def decide(self, id, offset, count=1, upto=None):
        """The first upto of a command's count events."""
        return [self.event("DeviceChanged", {"Name": id}, (id, offset, i, count))
                for i in range(1, (upto or count) + 1)]

    def answer(self, id, offset, events, repeated=False, **change):
        data = {**answer_of(0, events), **change}
        headers = [("ce_id", f"0-{offset}"), ("ce_type", "kinlog.Answer.v1"), ("ce_causationid", id),
                   ("ce_causationsource", "/s")] + [("ce_repeated", "true")] * repeated
        self.put(self.replies, b"k", canonical(data), headers)

    def whole(self, id, count=1):
        """A command that goes well: (offset, events)."""
        offset = self.command(id)
        events = self.decide(id, offset, count)
        self.answer(id, offset, events)
        return offset, events

    def checked(self, finish=True):
        """The words of the complaints."""
        checker = Checker(1, "/s")
        for topic, take in ((self.replies, checker.take_answer), (self.events, checker.take_event),
                            (self.commands, checker.take_command), (self.dead, checker.take_dead_letter)):
            for record in topic:
                take(record)
        checker.judge()
        if finish:
            checker.finish()
        return [complaint.split(":")[0] for complaint in checker.complaints]


class Good(unittest.TestCase):
    """What may happen and is right."""

    def test_plain(self):
        """Commands of one and of several events, answered."""
        history = History()
        history.whole("a")
        history.whole("b", count=3)
        self.assertEqual(history.checked(), [])

    def test_taken_over(self):
        """A new owner goes on, answers again with the mark of repetition, and publishes the rest once more."""
        history = History()
        offset, events = history.whole("a")
        history.events.append(history.events[-1])
        history.claim()
        history.answer("a", offset, events, repeated=True)
        history.whole("b")
        self.assertEqual(history.checked(), [])

    def test_void_tail(self):
        """Half a command before a claim and events under an old epoch are nothing; the new owner decides anew."""
        history = History()
        history.whole("a")
        offset, chain, sequence, old = history.command("b"), history.chain, history.sequence, history.epoch
        history.decide("b", offset, count=3, upto=2)
        history.claim()
        history.chain, history.sequence = chain, sequence
        events = history.decide("b", offset, count=2)
        chain, sequence = history.chain, history.sequence
        history.event("DeviceChanged", {}, ("c", 9, 1, 1), epoch=old)
        history.chain, history.sequence = chain, sequence
        history.answer("b", offset, events)
        self.assertEqual(history.checked(), [])

    def test_repeat_and_dead_letter(self):
        """A command that lies twice in the topic is answered twice; a record without id is buried."""
        history = History()
        offset, events = history.whole("a")
        history.command("a")
        history.answer("a", offset, events, repeated=True)
        history.put(history.commands, None, b"rubbish", [])
        history.put(history.dead, None, b"rubbish", [("kinlog_partition", "0"), ("kinlog_offset", "2")])
        self.assertEqual(history.checked(), [])


class Bad(unittest.TestCase):
    """What must not happen is complained about, by its name."""

    def setUp(self):
        self.history = History()
        self.offset, self.decided = self.history.whole("a", count=2)

    def complains(self, *words):
        self.assertEqual(sorted(set(self.history.checked())), sorted(words))

    def test_lost_from_the_log(self):
        """An answered command's events are not in the topic."""
        del self.history.events[-2:]
        self.complains("early")

    def test_half_in_the_log(self):
        """Of an answered command the last event is missing."""
        del self.history.events[-1]
        self.complains("early")

    def test_early(self):
        """An answer is seen before the topic holds its events, though they come later."""
        offset = self.history.command("b")
        chain, sequence, count = self.history.chain, self.history.sequence, len(self.history.events)
        events = self.history.decide("b", offset)
        self.history.answer("b", offset, events)
        del self.history.events[count:]
        self.assertEqual(self.history.checked(finish=False), ["early"])
        self.history.chain, self.history.sequence = chain, sequence

    def test_answer_on_void_events(self):
        """A deposed owner's events are void, and it answered all the same; the new owner decides otherwise."""
        offset, old = self.history.command("b"), self.history.epoch
        chain, sequence = self.history.chain, self.history.sequence
        self.history.claim()
        events = [self.history.event("DeviceChanged", {"Name": "x"}, ("b", offset, 1, 1), epoch=old)]
        self.history.answer("b", offset, events)
        self.assertEqual(self.history.checked(finish=False), ["early"])
        self.history.chain, self.history.sequence = chain, sequence
        self.history.decide("b", offset, count=2)
        self.complains("values")

    def test_half_command_counts(self):
        """The first half of a command that a claim cut off is taken as valid and gone on with."""
        offset = self.history.command("b")
        self.history.decide("b", offset, count=2, upto=1)
        self.history.claim()
        self.history.event("DeviceChanged", {}, ("b", offset, 2, 2))
        self.complains("not valid", "unanswered")

    def test_gap(self):
        """A sequence is missing."""
        self.history.sequence += 1
        self.history.whole("b")
        self.complains("not valid")

    def test_chain(self):
        """An event does not follow from the one before it."""
        self.history.chain = bytes(32)
        self.history.whole("b")
        self.complains("not valid")

    def test_two_truths(self):
        """Two valid events of one sequence differ."""
        self.history.sequence -= 1
        self.history.event("DeviceChanged", {"Name": "other"}, ("a", self.offset, 2, 2))
        self.complains("not valid")

    def test_command_within_command(self):
        """The second event of a command is of another one."""
        offset = self.history.command("b")
        self.history.event("DeviceChanged", {}, ("b", offset, 1, 2))
        self.history.event("DeviceChanged", {}, ("c", offset, 2, 2))
        self.assertIn("whole", self.history.checked())

    def test_doubled(self):
        """A repeated command takes effect again."""
        offset = self.history.command("a")
        events = self.history.decide("a", offset)
        self.history.answer("a", offset, events, repeated=True)
        self.complains("doubled", "values")

    def test_doubled_in_silence(self):
        """The same, and the second answer is the first one again."""
        self.history.decide("a", self.history.command("a"))
        self.history.answer("a", self.offset, self.decided, repeated=True)
        self.complains("doubled")

    def test_order(self):
        """A later command is decided before an earlier one."""
        first, second = self.history.command("b"), self.history.command("c")
        for id, offset in (("c", second), ("b", first)):
            self.history.answer(id, offset, self.history.decide(id, offset))
        self.complains("order")

    def test_wrong_place(self):
        """An event names an offset at which another command lies."""
        offset = self.history.command("b")
        self.history.command("c")
        self.history.answer("c", offset, self.history.decide("c", offset))
        self.assertIn("order", self.history.checked())

    def test_never_sent(self):
        """Something is decided and answered that nobody sent."""
        self.history.answer("b", 7, self.history.decide("b", 7))
        self.assertIn("order", self.history.checked())

    def test_values(self):
        """The answer says something else than its events."""
        for change in ({"Version": 99}, {"Outcome": "refused"}, {"Sequence": 2}, {"Out": {"Revision": 1}}):
            with self.subTest(change=change):
                offset = self.history.command(str(change))
                self.history.answer(str(change), offset, self.history.decide(str(change), offset), **change)
                self.complains("values")

    def test_answers_differ(self):
        """A second answer to an id is another one."""
        self.history.answer("a", self.offset, self.decided, repeated=True, Version=99)
        self.complains("values")

    def test_answer_ids_differ(self):
        """A second answer has another ce_id."""
        self.history.answer("a", self.offset + 1, self.decided, repeated=True)
        self.complains("values")

    def test_not_marked(self):
        """A repeated answer is not marked."""
        self.history.answer("a", self.offset, self.decided)
        self.complains("twice")

    def test_unanswered(self):
        """A command is never answered; decided or not."""
        self.history.command("b")
        self.complains("unanswered")
        self.history.decide("b", 1)
        self.complains("unanswered")

    def test_record_unanswered(self):
        """A command lies twice in the topic and is answered once."""
        self.history.command("a")
        self.complains("unanswered")

    def test_unburied(self):
        """A record without id has no dead letter."""
        self.history.put(self.history.commands, None, b"rubbish", [])
        self.complains("unanswered")


if __name__ == "__main__":
    unittest.main()
