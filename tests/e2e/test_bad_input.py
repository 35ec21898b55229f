"""Bad input, as messages: each piece gets a clear answer or goes to the dead letters, nothing is lost, and the
next command on its partition is served.

SPDX-License-Identifier: Apache-2.0
"""

import hashlib
import json
import time
import unittest
from collections import Counter, namedtuple

from confluent_kafka import Producer

from kinlog_fixture import BrokerError, KinlogTest, wait_until

INVALID, NOT_SUPPORTED, OTHER = -2147217400, -2147217396, -2147217407
ID_BYTES_MAX = 255
DEVICE = 1
SECRET = "geheim"  # stands in what is refused, and must not come out anywhere else
REJECTED = "kinlog.CommandRejected.v1"

Case = namedtuple("Case", "name value returns parameter text options")
"""One command: its raw data, the ReturnValue and ParameterInfo expected, what the Description must say."""


def case(name, value, returns=INVALID, parameter=None, text=(), **options):
    if isinstance(value, str):
        value = value.encode()
    return Case(name, value, returns, parameter, (text,) if isinstance(text, str) else text, options)


def relationship(**members):
    """The text of a good CreateRelationship, members replaced by other JSON text (None: left out)."""
    texts = {"MachineResourceId": str(DEVICE), "UserAccountName": '"contoso\\\\%s"' % SECRET, "SourceId": "2"}
    texts.update(members)
    return "{" + ", ".join(f'"{name}": {text}' for name, text in texts.items() if text is not None) + "}"


def named(name):
    """CreateRelationship for a user of this name."""
    return relationship(UserAccountName=json.dumps(name, ensure_ascii=False))


def headers_of(id, type, attributes=None, more=None):
    """The headers of a command in binary mode; an attribute of None is left out."""
    envelope = {"specversion": "1.0", "id": id, "source": "/tests", "type": type, **(attributes or {})}
    return [(f"ce_{name}", text.encode()) for name, text in envelope.items() if text is not None] + list(more or [])


class BadInputTest(KinlogTest):

    def ready_site(self, **options):
        """A site with one shard on which the device is registered."""
        site = self.site(**options)
        site.ask("RegisterDevice", {"ResourceID": DEVICE, "Name": "A"})
        return site

    def try_commands(self, site, cases):
        """Sends each case and a good command behind it, then checks all answers; returns them by case name."""
        records = []
        for number, one in enumerate(cases):
            good = b'{"ResourceID": %d, "Name": "after %d"}' % (DEVICE, number)
            records.append((one.value, one.options.get("key", f"device:{DEVICE}"), headers_of(
                f"bad {number}", one.options.get("command", "CreateRelationship"),
                one.options.get("attributes"), one.options.get("headers"))))
            records.append((good, f"device:{DEVICE}", headers_of(f"good {number}", "RegisterDevice")))
        self.broker.produce_many(site.topic("commands"), records, partition=0)
        answers = {}
        for number, one in enumerate(cases):
            with self.subTest(one.name):
                answers[one.name] = site.answer(f"bad {number}")
                self.check_answer(one, answers[one.name])
                self.assertEqual(site.answer(f"good {number}").data["Outcome"], "accepted", "the next command")
        self.check_each_once(site)
        return answers

    def check_answer(self, one, answer):
        data = answer.data
        command = one.options.get("command", "CreateRelationship")
        self.assertEqual(data["ReturnValue"], one.returns, data)
        if one.returns == 0:
            self.assertIn(data["Outcome"], ("accepted", "unchanged"))
            return
        status = data["ExtendedStatus"]
        self.assertEqual(data["Outcome"], "refused", data)
        self.assertEqual([event["Type"] for event in data["Events"]], [REJECTED])
        self.assertEqual(list(status), ["Description", "Operation", "ParameterInfo", "StatusCode"])
        self.assertEqual((status["ParameterInfo"], status["StatusCode"]), (one.parameter, one.returns), status)
        for text in one.text:
            self.assertIn(text, status["Description"])
        self.assertNotIn(SECRET.encode(), answer.value)
        if one.returns != NOT_SUPPORTED and one.parameter != "type":
            self.assertEqual(data["Command"], f"kinlog.{command}.v1")
            self.assertEqual(status["Operation"], command)

    def check_each_once(self, site):
        """Each record has left its events, and one answer or one dead letter; no refused value came out."""
        lettered = [(m.headers["kinlog_partition"], m.headers["kinlog_offset"]) for m in site.dead_letters()]
        self.assertEqual(len(lettered), len(set(lettered)))
        answered = Counter(m.command for m in site.answers())
        self.assertEqual(set(answered.values()), {1}, [c for c, n in answered.items() if n > 1])
        for shard in range(site.shards):
            end = self.broker.watermarks(site.topic("commands"), shard)[1]
            marks = [e.headers["ce_command"].split(";")[:2] for e in site.events(shard, internal=True)
                     if "ce_command" in e.headers]
            lasts = [int(offset) for offset, place in marks if len(set(place.split("/"))) == 1]
            self.assertEqual(lasts, list(range(end)), f"offsets in the events of shard {shard}")
        self.assertEqual(sum(answered.values()) + len(lettered),
                         sum(self.broker.watermarks(site.topic("commands"), shard)[1]
                             for shard in range(site.shards)))
        rejected = [e for e in site.events() if e.type == "CommandRejected"]
        for message in rejected + site.events(internal=True)[-1:]:
            self.assertNotIn(SECRET.encode(), message.value + repr(message.record.headers).encode())
        self.assertNotIn(SECRET, site.log_text())
        verify = site.cli("verify")
        self.assertEqual(verify.code, 0, verify.out + verify.err)

    def check_letter(self, letter, record, place, topic, texts):
        """A dead letter is its record, and says where it lay and what is wrong with it."""
        value, key, headers = record
        partition, offset = place
        digest = hashlib.sha256(value or b"").hexdigest()
        self.assertEqual((letter.value, letter.key), (value, key))
        self.assertEqual(letter.record.headers[:-5], headers)
        self.assertEqual([name for name, _ in letter.record.headers[-5:]],
                         ["kinlog_reason", "kinlog_topic", "kinlog_partition", "kinlog_offset", "kinlog_sha256"])
        self.assertEqual([letter.headers[f"kinlog_{name}"] for name in ("topic", "partition", "offset", "sha256")],
                         [topic, str(partition), str(offset), digest])
        for text in texts:
            self.assertIn(text, letter.headers["kinlog_reason"])
        self.assertNotIn(SECRET, letter.headers["kinlog_reason"])
        return {"Topic": topic, "Partition": partition, "Offset": offset, "Sha256": digest,
                "Reason": letter.headers["kinlog_reason"]}

    def try_records(self, site, records):
        """records: {name: ((value, key, headers), texts of the reason)}. Each becomes a dead letter."""
        before = len(site.dead_letters())
        good = [(b'{"ResourceID": %d, "Name": "after %d"}' % (DEVICE, number), f"device:{DEVICE}",
                 headers_of(f"good {number}", "RegisterDevice")) for number in range(len(records))]
        both = [one for (record, _), next in zip(records.values(), good) for one in (record, next)]
        places = dict(zip(records, self.broker.produce_many(site.topic("commands"), both, partition=0)[::2]))
        letters = site.wait_dead_letters(before + len(records))[before:]
        expected = []
        for letter, (name, (record, texts)) in zip(letters, records.items()):
            with self.subTest(name):
                expected.append(self.check_letter(letter, record, places[name], site.topic("commands"), texts))
        for number in range(len(records)):
            self.assertEqual(site.answer(f"good {number}").data["Outcome"], "accepted")
        events = [e for e in site.events(internal=True) if e.type == "RecordDeadLettered"]
        self.assertEqual([e.data for e in events][-len(expected):], expected)
        for event in events:
            self.assertIsNone(event.key)
            self.assertNotIn("ce_subject", event.headers)
            self.assertRegex(event.headers["ce_command"], r"\A\d+;1/1;-;-\Z")
        self.check_each_once(site)


class BadData(BadInputTest):
    """The data of a command whose id and source are known."""

    # Text that is no JSON, or not JSON as everybody reads it the same way.
    def test_not_json(self):
        site = self.ready_site()
        self.try_commands(site, [
            case("text", f"hello {SECRET}", text=("not valid JSON at byte 0", "no JSON value begins like this")),
            case("empty", b"", text="send a JSON object"),
            case("cut", relationship()[:-1], text="the end of the object is missing"),
            case("cut string", relationship()[:45], text="it was cut off"),
            case("two documents", relationship() * 2, text="something follows"),
            case("NaN", relationship(SourceId="NaN"), text="not valid JSON"),
            case("byte order mark", b"\xef\xbb\xbf" + relationship().encode(), text="byte order mark"),
            case("list", f"[{relationship()}]", text="send an object"),
            case("null", "null", text="send an object"),
            case("backslash once", relationship(UserAccountName='"contoso\\%s"' % SECRET),
                 text="a backslash in a string must be written twice"),
            case("invalid UTF-8", relationship().encode().replace(SECRET.encode(), b"a\xff\xfe"), text="not UTF-8"),
            case("overlong UTF-8", relationship().encode().replace(SECRET.encode(), b"\xc0\xaf"), text="not UTF-8"),
            case("surrogate", relationship().encode().replace(SECRET.encode(), b"\xed\xa0\x80"), text="not UTF-8"),
            case("half a pair", relationship(UserAccountName=r'"a\\\ud800"'), text="half of a surrogate pair"),
            case("NUL byte", relationship().encode().replace(SECRET.encode(), b"a\0b"), text="NUL"),
            case("NUL escaped", relationship(UserAccountName=r'"a\\b\u0000c"'), text="U+0000: leave it out"),
            case("key twice", relationship()[:-1] + ', "SourceId": 2}', text="a member twice: send it once"),
            case("key in two spellings", relationship()[:-1] + ', "sourceid": 4}', parameter="SourceId",
                 text="in two spellings: send it once"),
            case("unknown key twice", relationship()[:-1] + ', "x": 1, "x": 1}', text="a member twice"),
            case("depth 10,000", b"[" * 10000 + b"]" * 10000, text="more than 32 deep: send them flatter"),
            case("depth 10,000 in a member", relationship(SourceId="[" * 10000 + "]" * 10000), text="32 deep"),
            case("4,097 values", b"[" + b"{}," * 4096 + b"{}]", text="more than 4096 values"),
            case("256 KiB of blanks", relationship().ljust(262144), 0),
            case("a byte more", relationship().ljust(262145), text="larger than 256 KiB"),
            case("1 MB of [{},{},", (b"[" + b"{}," * 349525)[:1000000], text="larger than 256 KiB"),
        ])

    # Numbers out of range, and what is no number, in each member that is one.
    def test_numbers(self):
        site = self.ready_site()
        cases = []
        for member, limits in (("MachineResourceId", "1 to 4294967295"), ("SourceId", "1 to 9"), ("TypeId", "1")):
            for text in ("4294967296", "-1", "0", "1.5", "1e400", "1e-400", '"1"', "true", "{}", "-0.0",
                         "18446744073709551617", "9" * 300):
                cases.append(case(f"{member} {text}"[:60], relationship(**{member: text}), parameter=member,
                                  text=(member, limits)))
        for member in ("SourceId", "TypeId"):
            for text in ("[]", "[2, 10]", '["1"]', "[[1]]", "[1, null]", str([1] * 65)):
                cases.append(case(f"{member} {text}"[:60], relationship(**{member: text}), parameter=member,
                                  text=member))
        cases += [case("SourceId 10", relationship(SourceId="10"), parameter="SourceId", text="1 to 9"),
                  case("SourceId null", relationship(SourceId="null"), parameter="SourceId"),
                  case("TypeId 2", relationship(TypeId="2"), parameter="TypeId", text="1"),
                  case("TypeId null", relationship(TypeId="null"), 0),
                  case("SourceId 2.0", relationship(SourceId="2.0"), 0),
                  case("SourceId 2e0", relationship(SourceId="2e0", TypeId="10E-1"), 0),
                  case("SourceId 9", relationship(SourceId="9"), 0),
                  case("SourceId 3", relationship(SourceId="3"), 0)]
        answers = self.try_commands(site, cases)
        deprecated = answers["SourceId 3"].data["ExtendedStatus"]
        self.assertIn("SourceId 3 (User) is deprecated", deprecated.pop("Description"))
        self.assertEqual(deprecated, {"Operation": "CreateRelationship", "ParameterInfo": "SourceId",
                                      "StatusCode": 0})
        self.assertIsNone(answers["SourceId 9"].data["ExtendedStatus"])
        [listed] = site.ndjson("list", "relationships")
        self.assertEqual((listed["Sources"], listed["Types"]), ([2, 9, 3], [1]))

    # Members that are not known, not there, or of another kind; the first fault in declared order is named.
    def test_members(self):
        site = self.ready_site()
        self.try_commands(site, [
            case("unknown", relationship()[:-1] + ', "%s": "x"}' % SECRET, text=("unknown member", "known are MachineResourceId, UserAccountName")),
            case("unknown null", relationship()[:-1] + ', "%s": null}' % SECRET),
            case("none", "{}", parameter="MachineResourceId", text="missing"),
            case("no device", relationship(MachineResourceId=None), parameter="MachineResourceId", text="missing"),
            case("device null", relationship(MachineResourceId="null"), parameter="MachineResourceId"),
            case("no user", relationship(UserAccountName=None), parameter="UserAccountName", text="missing"),
            case("no source", relationship(SourceId=None), parameter="SourceId", text="missing"),
            case("user a number", relationship(UserAccountName="5"), parameter="UserAccountName", text="a string"),
            case("two faults", relationship(MachineResourceId="-1", SourceId="99"), parameter="MachineResourceId"),
            case("two faults, D6 first", relationship(UserAccountName='"nobackslash"', SourceId="99"),
                 parameter="UserAccountName", text="backslash"),
            case("no name", '{"ResourceID": 1}', parameter="Name", command="RegisterDevice"),
            case("name empty", '{"ResourceID": 1, "Name": ""}', parameter="Name", command="RegisterDevice"),
            case("MAC number", '{"ResourceID": 1, "Name": "A", "MACAddresses": [1]}', parameter="MACAddresses",
                 command="RegisterDevice"),
            case("no instance", '{"SourceId": 2}', parameter="RelationshipResourceID", command="AddSource"),
            case("half an instance", '{"ResourceID": 1, "SourceId": 2}', parameter="UniqueUserName",
                 command="AddSource"),
            case("the other half", '{"UniqueUserName": "a\\\\%s", "SourceId": 2}' % SECRET, parameter="ResourceID",
                 command="RemoveSource"),
            case("instance 0", '{"RelationshipResourceID": 0, "TypeId": 1}', parameter="RelationshipResourceID",
                 command="AddType"),
            case("value no string", '{"Name": "core.rules", "Value": 1}', parameter="Value", text="a string",
                 command="SetPolicy"),
            case("no such policy", '{"Name": "%s", "Value": "1"}' % SECRET, parameter="Name",
                 text="kinlog policy", command="SetPolicy"),
            case("no such value", '{"Name": "devices.unknown", "Value": "%s"}' % SECRET, parameter="Value",
                 text="refuse or stub", command="SetPolicy"),
            case("tombstone", None, text="there is no data"),
        ])

    # Types that no version knows, and none at all.
    def test_types(self):
        site = self.ready_site()
        answers = self.try_commands(site, [
            case("unknown", "{}", NOT_SUPPORTED, text="not known", command="kinlog.MakeCoffee.v1"),
            case("version 2", relationship(), NOT_SUPPORTED, command="kinlog.CreateRelationship.v2"),
            case("lower case", relationship(), NOT_SUPPORTED, command="createrelationship"),
            case("an event", "{}", NOT_SUPPORTED, command="kinlog.DeviceRemoved.v1"),
            case("not ASCII", "{}", NOT_SUPPORTED, command="Größe"),
            case("with garbage", b"\xff{", NOT_SUPPORTED, command="x" * 255),
            case("none", "{}", parameter="type", command=None, text="type is missing"),
            case("empty", "{}", parameter="type", command=""),
            case("too long", "{}", parameter="type", command="x" * 256, text="too long"),
        ])
        commands = {name: (a.data["Command"], a.data["ExtendedStatus"]["Operation"]) for name, a in answers.items()}
        self.assertEqual(commands, {
            "unknown": ("kinlog.MakeCoffee.v1", "-"), "version 2": ("kinlog.CreateRelationship.v2", "-"),
            "lower case": ("createrelationship", "-"), "an event": ("kinlog.DeviceRemoved.v1", "-"),
            "not ASCII": ("-", "-"), "with garbage": ("x" * 255, "-"), "none": ("-", "-"), "empty": ("-", "-"),
            "too long": ("-", "-")})

    # User names: what is none, what is the same one, and what is kept.
    def test_user_names(self):
        site = self.ready_site()
        bad = {"without backslash": ("jq" + SECRET, "no backslash"),
               "two backslashes": (f"a\\b\\{SECRET}", "more than one backslash"),
               "trailing backslash": (SECRET + "\\", "nothing on one side"),
               "leading backslash": ("\\" + SECRET, "nothing on one side"),
               "10 KB": ("a\\" + SECRET * 1700, "256"),
               "257 bytes of 130 characters": ("a\\" + "é" * 127 + "x", "256 bytes"),
               "control": (f"a\\{SECRET}\x01", "control character"),
               "line feed": (f"a\\{SECRET}\n", "control character"),
               "C1 control": (f"a\\{SECRET}\x85", "control character"),
               "zero width": (f"a\\{SECRET}\u200b", "formatting character"),
               "line separator": (f"a\\{SECRET}\u2028", "separator"),
               "unassigned": (f"a\\{SECRET}\u0378", "does not assign"),
               "noncharacter": (f"a\\{SECRET}\uffff", "does not assign"),
               "blank half": (f"{SECRET}\\ ", "blank"),
               "blank at the end": (f"a\\{SECRET} ", "blank"),
               "two characters": ("a\\", "3 to 256")}
        self.try_commands(site, [case(name, named(user), parameter="UserAccountName", text=text)
                                 for name, (user, text) in bad.items()])
        self.assertEqual(site.ndjson("list", "relationships"), [])

        good = ["contoso\\Jürgen", "CONTOSO\\JÜRGEN", "contoso\\Ju\u0308rgen", "contoso\\STRASSE", "contoso\\straße",
                "a\\" + "é" * 127]
        for user in good:
            site.send("CreateRelationship", {"MachineResourceId": DEVICE, "UserAccountName": user, "SourceId": 2},
                      id=str(good.index(user)))
        outcomes = [site.answer(str(good.index(user))).data["Outcome"] for user in good]
        self.assertEqual(outcomes, ["accepted", "unchanged", "unchanged", "accepted", "unchanged", "accepted"])
        listed = {row["UniqueUserName"] for row in site.ndjson("list", "relationships")}
        self.assertEqual(listed, {good[0], good[3], good[5]})
        for user in good:
            [row] = site.ndjson("get", "relationship", f"{DEVICE}/{user}")
            self.assertIn(row["UniqueUserName"], listed)

    # Mistakes of whole toolchains: each is named, with its cure.
    def test_senders_mistakes(self):
        site = self.ready_site()
        inner = relationship()
        double = json.dumps(inner)
        connect = '{"schema": {"type": "string"}, "payload": %s}' % inner
        framed = b"\0\0\0\0\x07" + inner.encode()
        texts = {"double": ("double-encoded JSON", "send the object itself"),
                 "connect": ("Connect schema envelope", "schemas.enable=false"),
                 "framed": ("schema registry frame", "plain JSON")}
        values = {"double": double.encode(), "connect": connect.encode(), "framed": framed}
        self.try_commands(site, [case(name, values[name], text=texts[name]) for name in texts])
        self.try_records(self.ready_site(), {
            name: ((values[name], f"device:{DEVICE}".encode(), [("a", b"1")]), texts[name]) for name in texts})


class BadEnvelope(BadInputTest):
    """Attributes, headers, keys and sizes."""

    # Any attribute but id and source: the command is refused and names it; it counts as absent from then on.
    def test_attributes(self):
        site = self.ready_site()

        def bad(name, attribute, text=(), attributes=None, headers=()):
            return case(name, relationship(), parameter=attribute, text=text, attributes=attributes or {},
                        headers=list(headers))

        answers = self.try_commands(site, [
            bad("specversion 0.3", "specversion", "1.0", {"specversion": "0.3"}),
            bad("no specversion", "specversion", "1.0", {"specversion": None}),
            bad("correlationid 900 KB", "correlationid", "too long", {"correlationid": SECRET * 150000}),
            bad("correlationid 256", "correlationid", "255 bytes", {"correlationid": "x" * 256}),
            bad("correlationid twice", "correlationid", "twice", headers=[("ce_correlationid", b"1"),
                                                                          ("ce_correlationid", b"1")]),
            bad("specversion twice", "specversion", "twice", headers=[("ce_specversion", b"1.0")]),
            bad("type twice", "type", "twice", headers=[("ce_type", b"CreateRelationship")]),
            bad("content-type twice", "datacontenttype", "twice", headers=[
                ("content-type", b"application/json"), ("Content-Type", b"application/json")]),
            bad("content-type", "datacontenttype", "application/json", headers=[("content-type", b"text/csv")]),
            bad("actor not UTF-8", "actor", "UTF-8", headers=[("ce_actor", b"\xff")]),
            bad("traceparent line feed", "traceparent", "control", headers=[("ce_traceparent", b"00-\n")]),
            bad("tracestate 513", "tracestate", "512", {"tracestate": "x" * 513}),
            bad("expirytime", "expirytime", "RFC 3339", {"expirytime": "tomorrow"}),
            bad("expectedversion", "expectedversion", "decimal", {"expectedversion": "-1"}),
            bad("expectedversion 2^64", "expectedversion", "19 digits", {"expectedversion": "18446744073709551616"}),
            bad("replyto twice", "replyto", "twice", headers=[("ce_replyto", b"-"), ("ce_replyto", b"-")]),
            bad("headers 64 KiB", None, "64 KiB", headers=[(f"x{i}", b"x" * 1000) for i in range(70)]),
            case("key 70 KB", relationship(), text="64 KiB", key="k" * 70000),
            bad("unknown attribute twice", None, headers=[("ce_x", b"1"), ("ce_x", b"1")])
            ._replace(returns=0),
            bad("header without value", None, headers=[("x", None), ("ce_actor", None)])._replace(returns=0),
        ])
        for name in ("correlationid 900 KB", "correlationid twice"):
            correlation = answers[name].headers["ce_correlationid"]
            self.assertEqual(correlation, answers[name].headers["ce_causationid"], name)

    # Ids that cannot be used, and records that have none: dead letters, as they were.
    def test_unknown_id(self):
        def headers(id=b"1", source=b"/tests", more=()):
            found = [("ce_specversion", b"1.0"), ("ce_type", b"CreateRelationship")]
            found += [(name, value) for name, value in (("ce_id", id), ("ce_source", source)) if value is not None]
            return found + list(more)

        value = relationship().encode()
        key = f"device:{DEVICE}".encode()
        structured = {"specversion": "1.0", "type": "CreateRelationship", "source": "/tests", "id": "1", "data": {}}

        def bare(**changes):
            return json.dumps({k: v for k, v in {**structured, **changes}.items() if v is not None}).encode()

        long = b"i" * (ID_BYTES_MAX + 1)
        cloudevents = [("content-type", b"application/cloudevents+json; charset=utf-8")]
        records = {
            "id of 256 bytes": ((value, key, headers(id=long)), ("id", "255")),
            "source of 256 bytes": ((value, key, headers(source=long)), ("source", "255")),
            "id twice": ((value, key, headers(more=[("ce_id", b"1")])), ("id", "once")),
            "source twice": ((value, key, headers(more=[("ce_source", b"/tests")])), ("source", "once")),
            "no id": ((value, key, headers(id=None)), ("id",)),
            "no source": ((value, key, headers(source=None)), ("source",)),
            "id empty": ((value, key, headers(id=b"")), ("id",)),
            "id not UTF-8": ((value, key, headers(id=b"\xff")), ("id", "UTF-8")),
            "id with a NUL": ((value, key, headers(id=b"a\0b")), ("id", "printable")),
            "id without value": ((value, key, headers(id=None, more=[("ce_id", None)])), ("id",)),
            "no envelope": ((value, key, []), ("no CloudEvent", "ce_id")),
            "text": ((SECRET.encode(), None, []), ("no CloudEvent",)),
            "bytes": ((bytes(range(1, 256)), bytes(range(256)), [("x", b"\0\xff"), ("x", None)]), ("no CloudEvent",)),
            "tombstone": ((None, key, []), ("tombstone",)),
            "tombstone without key": ((None, None, []), ("tombstone",)),
            "empty": ((b"", None, []), ("no CloudEvent",)),
            "structured, id of 256 bytes": ((bare(id=long.decode()), key, cloudevents), ("id", "255")),
            "structured, id a number": ((bare(id=5), key, cloudevents), ("id",)),
            "structured, no source": ((bare(source=None), key, []), ("source",)),
            "structured, not JSON": ((value[:-1], key, cloudevents), ("not valid JSON",)),
            "structured, a list": ((b"[]", key, cloudevents), ("must be a JSON object",)),
            "structured, depth": ((b'{"data":' + b"[" * 10000, key, cloudevents), ("limits",)),
            "batch": ((b"[]", key, [("content-type", b"application/cloudevents-batch+json")]),
                      ("application/cloudevents+json",)),
        }
        site = self.ready_site()
        self.try_records(site, records)
        longest = "i" * ID_BYTES_MAX
        answer = site.ask("CreateRelationship", value=value, id=longest, source="s" * ID_BYTES_MAX, partition=0)
        self.assertEqual(answer.data["Outcome"], "accepted")

    # As large as the topic takes, without a key: answered if its id is known, else a dead letter, whole.
    def test_largest(self):
        site = self.ready_site()
        headers = [("ce_specversion", b"1.0"), ("ce_source", b"/tests"), ("ce_type", b"CreateRelationship")]

        def send(fill, more):
            low, high = 1000000, 1100000  # the largest that is taken lies in [low, high)
            while high - low > 1:
                size = (low + high) // 2
                try:
                    place = site.send_raw(fill(size), headers=more, partition=0)
                    low = size
                    taken.append(place)
                except BrokerError:
                    high = size
            return low

        taken = []
        size = send(lambda size: b"x" * size, [])
        letters = site.wait_dead_letters(len(taken))
        self.assertEqual(max(len(letter.value) for letter in letters), size)
        self.assertEqual(letters[-1].value, b"x" * len(letters[-1].value))
        self.assertGreater(size, 1048000)
        named_headers = headers + [("ce_id", b"largest")]
        spare = sum(len(name) + len(value) + 2 for name, value in named_headers)
        while True:
            try:
                site.send_raw(relationship().encode().ljust(size - spare), headers=named_headers, partition=0)
                break
            except BrokerError:
                spare += 1
        answer = site.answer("largest")
        self.assertEqual(answer.data["ReturnValue"], INVALID)
        self.assertIn("256 KiB", answer.data["ExtendedStatus"]["Description"])
        last = site.ask("RegisterDevice", {"ResourceID": DEVICE, "Name": "B"})
        self.assertEqual(last.data["Outcome"], "accepted")
        self.check_each_once(site)

    # What came compressed may be larger than any topic takes: a dead letter then says what it is without.
    def test_compressed(self):
        site = self.ready_site()
        value = b"x" * 10000000
        headers = [("x", b"1")]
        producer = Producer(self.broker.client_settings(**{
            "message.max.bytes": 20000000, "compression.codec": "zstd", "enable.idempotence": True}))
        for more in (headers, headers_of("compressed", "CreateRelationship"), [("x", b"x" * 5000000)]):
            producer.produce(site.topic("commands"), value, "k", partition=0, headers=more)
        self.assertEqual(producer.flush(30), 0)
        self.assertEqual(site.answer("compressed").data["ReturnValue"], INVALID)
        letters = site.wait_dead_letters(2)
        self.assertEqual([(m.value, m.key, m.headers["kinlog_left_out"]) for m in letters],
                         [(None, b"k", "value"), (None, None, "key, value, headers")])
        self.assertEqual(letters[0].record.headers[:1], headers)
        self.assertEqual([m.headers["kinlog_sha256"] for m in letters], [hashlib.sha256(value).hexdigest()] * 2)
        self.assertEqual([m.headers["kinlog_offset"] for m in letters], ["1", "3"])
        self.assertEqual(site.ask("RegisterDevice", {"ResourceID": DEVICE, "Name": "B"}).data["Outcome"], "accepted")
        self.check_each_once(site)

    # A topic so narrow that a command, once forwarded, does not fit: said at the start, and when it happens;
    # nothing is passed over, and once the topic is wider the command is served.
    def test_largest_misplaced(self):
        site = self.site(shards=2, start=False, extra="[kafka.producer]\ncompression.codec = none\n")
        self.broker.alter_topic(site.topic("commands"), {"max.message.bytes": 4000})
        site.start()
        self.assertIn("max.message.bytes", site.log_text())
        device = next(d for d in range(1, 99) if site.shard_of(f"device:{d}") == 1)
        data = json.dumps({"ResourceID": device, "Name": "A"})
        size = 4100
        while True:
            try:
                id = site.send("RegisterDevice", value=data.ljust(size).encode(), key=None, partition=0)
                break
            except BrokerError:
                size -= 1
        site.wait_log("refused a forwarded command")
        elsewhere = site.ask("RegisterDevice", {"ResourceID": device, "Name": "B"})
        self.broker.alter_topic(site.topic("commands"), {"max.message.bytes": None})
        answer = site.answer(id)
        self.assertEqual((answer.data["Outcome"], answer.data["Shard"]), ("accepted", 1))
        self.assertGreater(answer.data["Sequence"], elsewhere.data["Sequence"])
        here = next(d for d in range(1, 99) if site.shard_of(f"device:{d}") == 0)
        self.assertEqual(site.ask("RegisterDevice", {"ResourceID": here, "Name": "A"}).data["Outcome"], "accepted")

    # kinlog_forwarded from outside: no matter on the right partition, the end of the way on another one.
    def test_forged_forwarded(self):
        site = self.site(shards=2)
        device = next(d for d in range(1, 99) if site.shard_of(f"device:{d}") == 1)
        forged = [("kinlog_forwarded", b"0-77")]
        right = site.ask("RegisterDevice", {"ResourceID": device, "Name": "A"}, headers=forged)
        self.assertEqual((right.data["Outcome"], right.headers["kinlog_forwarded"]), ("accepted", "0-77"))
        wrong = site.ask("RegisterDevice", {"ResourceID": device, "Name": "B"}, partition=0, headers=forged)
        self.assertEqual((wrong.data["Outcome"], wrong.data["ReturnValue"], wrong.data["Shard"]),
                         ("refused", OTHER, 0))
        self.assertIn("send it with the right record key", wrong.data["ExtendedStatus"]["Description"])
        self.assertEqual(wrong.headers["kinlog_forwarded"], "0-77")
        for value in (b"", b"x" * 100000, b"\xff\n", None):
            answer = site.ask("RegisterDevice", {"ResourceID": device, "Name": repr(value)[:20]},
                              headers=[("kinlog_forwarded", value)])
            if value is not None and len(value) > 65536:
                self.assertEqual(answer.data["ReturnValue"], INVALID)
            else:
                self.assertEqual(answer.data["Outcome"], "accepted")
            self.assertNotIn("kinlog_forwarded", answer.headers)
        self.assertEqual(site.ndjson("list", "devices")[0]["Name"], "None")
        self.check_each_once(site)

    # An id once used stays with its content, whatever comes under it later, and in whatever order.
    def test_same_id(self):
        site = self.ready_site()
        id = "the one"
        first = site.ask("CreateRelationship", value=relationship().encode(), id=id, partition=0)
        self.assertEqual(first.data["Outcome"], "accepted")
        others = [relationship(SourceId="4").encode(), relationship(SourceId="99").encode(), b"{", b""]
        conflicts = []
        for other in others + others:
            conflicts.append(site.ask("CreateRelationship", value=other, id=id, partition=0))
        for answer in conflicts:
            self.assertEqual((answer.data["Outcome"], answer.data["ReturnValue"]), ("conflict", OTHER))
            self.assertIn("send a new id", answer.data["ExtendedStatus"]["Description"])
        half = len(others)
        self.assertEqual([(a.value, a.id, a.repeated) for a in conflicts[half:]],
                         [(a.value, a.id, True) for a in conflicts[:half]])
        self.assertEqual(len({a.id for a in conflicts}), half)
        other_type = site.ask("DeleteRelationship", {"ResourceID": DEVICE, "UniqueUserName": f"contoso\\{SECRET}"},
                              id=id)
        self.assertEqual(other_type.data["Outcome"], "conflict")
        spelled = {"machineresourceid": DEVICE, "USERACCOUNTNAME": f"contoso\\{SECRET}", "sourceId": [2.0]}
        again = site.ask("kinlog.CreateRelationship.v1", spelled, id=id)
        self.assertEqual((again.value, again.id, again.repeated), (first.value, first.id, True))
        self.assertEqual([e.type for e in site.events(command_id=id)],
                         ["RelationshipCreated"] + ["CommandRejected"] * (half + 1))
        elsewhere = site.ask("CreateRelationship", value=others[0], id=id, source="/others", partition=0)
        self.assertEqual(elsewhere.data["Outcome"], "accepted")
        self.assertEqual(len(site.ndjson("list", "relationships")), 1)


class ManyRelationships(KinlogTest):

    # A device with 50,000 relationships goes in one command.
    def test_remove_device(self):
        count, device = 50000, 7
        site = self.site()
        site.ask("RegisterDevice", {"ResourceID": device, "Name": "A"})
        headers = [("ce_specversion", b"1.0"), ("ce_source", b"/tests"), ("ce_type", b"CreateRelationship"),
                   ("ce_replyto", b"-")]
        records = [(b'{"MachineResourceId":%d,"UserAccountName":"contoso\\\\user%05d","SourceId":2}' % (device, i),
                    f"device:{device}", headers + [("ce_id", b"%d" % i)]) for i in range(count)]
        began = time.monotonic()
        self.broker.produce_many(site.topic("commands"), records)
        wait_until(lambda: site.status()[0]["Lag"] == 0, 120, "the relationships", site)
        created_s = time.monotonic() - began

        began = time.monotonic()
        answer = site.ask("RemoveDevice", {"ResourceID": device}, timeout_s=120)
        removed_s = time.monotonic() - began
        data = answer.data
        last = 1 + 1 + count + count + 1  # LogStarted, the device, its relationships, their ends, its end
        first = last - count
        self.assertEqual({name: data[name] for name in ("Outcome", "ReturnValue", "EventCount", "Sequence")},
                         {"Outcome": "accepted", "ReturnValue": 0, "EventCount": count + 1, "Sequence": last})
        self.assertEqual(data["Events"], [{"Sequence": first + i, "Type": "kinlog.RelationshipDeleted.v1"}
                                          for i in range(100)])
        events = [e for e in site.events(command_id=answer.headers["ce_causationid"])]
        self.assertEqual(len(events), count + 1)
        self.assertEqual([e.id for e in events], [f"0-{first + i}" for i in range(count + 1)])
        self.assertEqual([e.data["UniqueUserName"] for e in events[:-1]],
                         [f"contoso\\user{i:05}" for i in range(count)])
        self.assertEqual({e.data["Reason"] for e in events[:-1]}, {"device_removed"})
        self.assertEqual(events[-1].type, "DeviceRemoved")
        self.assertEqual({e.headers["ce_command"].split(";")[1] for e in events[-2:]},
                         {f"{count}/{count + 1}", f"{count + 1}/{count + 1}"})
        for what in ("relationships", "devices"):
            self.assertEqual(site.ndjson("list", what), [])
        self.assertEqual(site.ask("RegisterDevice", {"ResourceID": device, "Name": "B"}).data["Outcome"], "accepted")
        print(f"      {count} relationships: made in {created_s:.1f} s, removed with their device in "
              f"{removed_s:.1f} s")

        site.restart()
        again = site.ask("RemoveDevice", {"ResourceID": device}, id=answer.headers["ce_causationid"], timeout_s=60)
        self.assertEqual((again.value, again.id, again.repeated), (answer.value, answer.id, True))


if __name__ == "__main__":
    unittest.main()
