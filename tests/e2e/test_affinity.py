"""Device affinity through Kafka: the nine commands, their answers, events and what is read afterwards.

SPDX-License-Identifier: Apache-2.0
"""

import json
import unittest
from datetime import datetime, timedelta, timezone

from kinlog_fixture import SLOTS, KinlogTest, slot_of, wait_until

DONE, INVALID, NOT_FOUND, NOT_SUPPORTED = 0, -2147217400, -2147217406, -2147217396
ACCESS_DENIED, OTHER, STALE = -2147217405, -2147217407, 40003
DEVICE = 16777222
USER = "contoso\\jqpublic"


def instance(user=USER, device=DEVICE):
    return {"ResourceID": device, "UniqueUserName": user}


def rfc3339(moment):
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class AffinityTest(KinlogTest):

    def registered(self, **options):
        """A site where DEVICE is registered."""
        site = self.site(**options)
        self.accepted(site, "RegisterDevice", {"ResourceID": DEVICE, "Name": "PC7"})
        return site

    def ask(self, site, command, data, outcome, returns, parameter=None, **options):
        """Asks and checks what became of it; returns the answer."""
        answer = site.ask(command, data, **options)
        status = answer.data["ExtendedStatus"]
        self.assertEqual((answer.data["Outcome"], answer.data["ReturnValue"], status and status["ParameterInfo"]),
                         (outcome, returns, parameter), (command, data, answer.data))
        return answer

    def accepted(self, site, command, data, *types, **options):
        """Asks; the command must be accepted, with events of these types."""
        answer = self.ask(site, command, data, "accepted", DONE, **options)
        names = [event["Type"].removeprefix("kinlog.").removesuffix(".v1") for event in answer.data["Events"]]
        if types:
            self.assertEqual(names, list(types))
        self.assertEqual(answer.data["EventCount"], len(names))
        self.assertEqual(answer.data["Version"], answer.data["Sequence"])
        return answer

    def unchanged(self, site, command, data, **options):
        return self.ask(site, command, data, "unchanged", DONE, **options)

    def refused(self, site, returns, parameter, command, data, **options):
        answer = self.ask(site, command, data, "refused", returns, parameter, **options)
        self.assertEqual(answer.data["Out"], {})
        return answer

    def create(self, site, sources, types=None, user=USER, device=DEVICE, **options):
        data = {"MachineResourceId": device, "UserAccountName": user, "SourceId": sources}
        if types is not None:
            data["TypeId"] = types
        return site.ask("CreateRelationship", data, **options)

    def row(self, site, user=USER, device=DEVICE):
        """The relationship as `get` shows it, or None."""
        result = site.cli("get", "relationship", f"{device}/{user}", "--ndjson")
        return json.loads(result.out) if result.code == 0 else None


class Methods(AffinityTest):
    """What each command does, on one shard."""

    # A device is registered, changed, read and removed; what ends with it is told event by event.
    def test_devices(self):
        site = self.site()
        whole = {"ResourceID": DEVICE, "Name": "PC7", "ClientType": 3, "MACAddresses": ["00:11:22:33:44:55"],
                 "Domain": "CONTOSO"}
        first = self.accepted(site, "RegisterDevice", whole, "DeviceRegistered")
        self.assertEqual((first.data["Out"], first.key), ({}, f"device:{DEVICE}".encode()))
        [event] = site.events(command_id=first.headers["ce_causationid"])
        self.assertEqual(event.data, whole)
        self.assertEqual(event.headers["ce_subject"], f"device/{DEVICE}")
        self.assertEqual(site.ndjson("get", "device", DEVICE),
                         [{**whole, "Version": first.data["Sequence"], "Shard": 0}])
        same = self.unchanged(site, "RegisterDevice", whole)
        self.assertEqual(same.data["Version"], first.data["Sequence"])

        changed = self.accepted(site, "RegisterDevice", {"ResourceID": DEVICE, "Name": "PC8", "MACAddresses": []},
                                "DeviceChanged")
        cleared = {"ResourceID": DEVICE, "Name": "PC8", "ClientType": 1, "MACAddresses": None, "Domain": None}
        self.assertEqual(site.events(command_id=changed.headers["ce_causationid"])[0].data, cleared)
        self.assertEqual(site.ndjson("list", "devices"), [{**cleared, "Version": changed.data["Sequence"],
                                                          "Shard": 0}])
        users = ["b\\x", "A\\z", "a\\y"]
        for user in users:
            self.create(site, 2, user=user)
        removed = self.accepted(site, "RemoveDevice", {"ResourceID": DEVICE}, *["RelationshipDeleted"] * 3,
                                "DeviceRemoved")
        events = site.events(command_id=removed.headers["ce_causationid"])
        self.assertEqual([(e.data["UniqueUserName"], e.data["Reason"]) for e in events[:3]],
                         [(user, "device_removed") for user in ("a\\y", "A\\z", "b\\x")])
        self.assertEqual([e.headers["ce_command"].split(";")[1] for e in events], ["1/4", "2/4", "3/4", "4/4"])
        self.assertEqual(site.ndjson("list", "devices") + site.ndjson("list", "relationships"), [])
        gone = self.refused(site, NOT_FOUND, "ResourceID", "RemoveDevice", {"ResourceID": DEVICE})
        self.assertIsNone(gone.data["Version"])
        self.refused(site, NOT_FOUND, "MachineResourceId", "CreateRelationship",
                     {"MachineResourceId": DEVICE, "UserAccountName": USER, "SourceId": 2})
        again = self.accepted(site, "RegisterDevice", {"ResourceID": DEVICE, "Name": "PC9"}, "DeviceRegistered")
        self.assertEqual(self.row(site), None)
        self.assertGreater(again.data["Version"], removed.data["Version"])

    # An existing pair takes in what is new, one event each, and keeps its number, time and spelling (D3).
    def test_merge(self):
        site = self.registered()
        first = self.create(site, [2, 4, 2])
        number = {"RelationshipResourceID": slot_of(f"device:{DEVICE}") + 1}
        self.assertEqual(first.data["Out"], number)
        created = self.row(site)
        self.assertEqual((created["Sources"], created["Types"]), ([2, 4], None))
        merged = self.create(site, [4, 9, 1], 1, user=USER.upper())
        self.assertEqual([e["Type"] for e in merged.data["Events"]],
                         ["kinlog.SourceAdded.v1", "kinlog.SourceAdded.v1", "kinlog.TypeAdded.v1"])
        self.assertEqual((merged.data["ReturnValue"], merged.data["Out"]), (0, number))
        events = [e.data for e in site.events(command_id=merged.headers["ce_causationid"])]
        same = {**number, **instance()}
        self.assertEqual(events, [{**same, "SourceId": 9, "Sources": [2, 4, 9]},
                                  {**same, "SourceId": 1, "Sources": [2, 4, 9, 1]},
                                  {**same, "TypeId": 1, "Types": [1]}])
        self.assertEqual(self.row(site), {**created, "Sources": [2, 4, 9, 1], "Types": [1],
                                          "Version": merged.data["Sequence"]})
        nothing = self.unchanged(site, "CreateRelationship", {
            "MachineResourceId": DEVICE, "UserAccountName": USER, "SourceId": [1, 2], "TypeId": [1, 1]})
        self.assertEqual((nothing.data["Out"], nothing.data["Version"]), (number, merged.data["Sequence"]))
        self.assertEqual(nothing.data["Events"][0]["Type"], "kinlog.CommandUnchanged.v1")
        second = self.create(site, 2, user="contoso\\other")
        self.assertEqual(second.data["Out"]["RelationshipResourceID"], number["RelationshipResourceID"] + SLOTS)

    # Sources and types by both keys; with the last source the relationship goes (D1).
    def test_instance_methods(self):
        site = self.registered()
        number = self.create(site, 2).data["Out"]["RelationshipResourceID"]
        by_number, by_name = {"RelationshipResourceID": number}, instance(USER.upper())
        self.accepted(site, "AddSource", {**by_number, "SourceId": [4, 5, 4]}, "SourceAdded", "SourceAdded")
        self.unchanged(site, "AddSource", {**by_name, "SourceId": 5})
        self.accepted(site, "AddType", {**by_name, "TypeId": 1}, "TypeAdded")
        self.unchanged(site, "AddType", {**by_number, "TypeId": [1]})
        self.assertEqual((self.row(site)["Sources"], self.row(site)["Types"]), ([2, 4, 5], [1]))
        self.accepted(site, "RemoveType", {**by_name, **by_number, "TypeId": 1}, "TypeRemoved")
        self.unchanged(site, "RemoveType", {**by_name, "TypeId": 1})
        self.accepted(site, "RemoveSource", {**by_name, "SourceId": [4, 9]}, "SourceRemoved")
        self.unchanged(site, "RemoveSource", {**by_number, "SourceId": 4})
        self.assertEqual((self.row(site)["Sources"], self.row(site)["Types"]), ([2, 5], None))
        last = self.accepted(site, "RemoveSource", {**by_name, "SourceId": [5, 2]}, "SourceRemoved",
                             "SourceRemoved", "RelationshipDeleted")
        events = [e.data for e in site.events(command_id=last.headers["ce_causationid"])]
        same = {**by_number, **instance()}
        self.assertEqual(events, [{**same, "SourceId": 5, "Sources": [2]}, {**same, "SourceId": 2, "Sources": None},
                                  {**same, "Reason": "last_source"}])
        self.assertIsNone(self.row(site))
        self.assertEqual(site.cli("get", "relationship", number).code, 1)

        for command, more in (("AddSource", {"SourceId": 2}), ("RemoveSource", {"SourceId": 2}),
                              ("AddType", {"TypeId": 1}), ("RemoveType", {"TypeId": 1}), ("DeleteRelationship", {})):
            self.refused(site, NOT_FOUND, "RelationshipResourceID", command, {**by_number, **more})
            self.refused(site, NOT_FOUND, "UniqueUserName", command, {**instance(), **more})
            self.refused(site, NOT_FOUND, "ResourceID", command, {**instance(device=5), **more})
            self.refused(site, INVALID, "RelationshipResourceID", command, more)
        later = self.create(site, [2, 3], 1)
        self.assertEqual(later.data["Out"]["RelationshipResourceID"], number + SLOTS)  # numbers are never used twice
        self.assertEqual(later.data["ExtendedStatus"]["ParameterInfo"], "SourceId")  # 3 is deprecated
        self.create(site, 2, user="contoso\\other")
        wrong = {"RelationshipResourceID": number + SLOTS, **instance("contoso\\other")}
        self.refused(site, NOT_FOUND, "RelationshipResourceID", "DeleteRelationship", wrong)
        deleted = self.accepted(site, "DeleteRelationship", instance(), "RelationshipDeleted")
        self.assertEqual(site.events(command_id=deleted.headers["ce_causationid"])[0].data["Reason"], "explicit")
        self.assertEqual([row["UniqueUserName"] for row in site.ndjson("list", "relationships")], ["contoso\\other"])

    # A version is the sequence of the aggregate's last event; a command that saw another one is refused.
    def test_versions(self):
        site = self.site()
        device = {"ResourceID": DEVICE, "Name": "PC7"}

        def expecting(version):
            return {"attributes": {"expectedversion": str(version)}}

        stale = self.refused(site, STALE, "expectedversion", "RegisterDevice", device, **expecting(7))
        self.assertIsNone(stale.data["Version"])
        version = self.accepted(site, "RegisterDevice", device, **expecting(0)).data["Version"]
        stale = self.refused(site, STALE, "expectedversion", "RegisterDevice", {**device, "Name": "X"},
                             **expecting(0))
        self.assertEqual(stale.data["Version"], version)
        self.accepted(site, "RegisterDevice", {**device, "Name": "X"}, **expecting(version))
        wanted = {"MachineResourceId": DEVICE, "UserAccountName": USER, "SourceId": 2}
        self.refused(site, STALE, "expectedversion", "CreateRelationship", wanted, **expecting(version))
        created = self.accepted(site, "CreateRelationship", wanted, **expecting(0)).data["Version"]
        self.refused(site, STALE, "expectedversion", "AddType", {**instance(), "TypeId": 1}, **expecting(version))
        added = self.accepted(site, "AddType", {**instance(), "TypeId": 1}, **expecting(created)).data["Version"]
        self.assertEqual(self.row(site)["Version"], added)
        self.unchanged(site, "AddType", {**instance(), "TypeId": 1}, **expecting(added))
        self.refused(site, STALE, "expectedversion", "DeleteRelationship", instance(), **expecting(created))
        # Not there at all comes before the version; a number is allowed in structured mode.
        self.refused(site, NOT_FOUND, "UniqueUserName", "DeleteRelationship", instance("a\\b"), **expecting(9))
        self.accepted(site, "DeleteRelationship", instance(), mode="structured",
                      attributes={"expectedversion": added})

    # Parameters under any spelling, and both forms of a type's name.
    def test_spelling(self):
        site = self.registered()
        self.accepted(site, "kinlog.CreateRelationship.v1", {
            "machineresourceid": DEVICE, "USERACCOUNTNAME": USER, "sourceID": 2.0, "typeid": [1]})
        self.accepted(site, "AddSource", {"resourceId": DEVICE, "uniqueusername": USER, "SOURCEID": [4]})
        self.assertEqual((self.row(site)["Sources"], self.row(site)["Types"]), ([2, 4], [1]))
        self.accepted(site, "DeleteRelationship", {"relationshipResourceId": self.row(site)["RelationshipResourceID"],
                                                   "ResourceID": None})


class Envelopes(AffinityTest):
    """What is around the parameters."""

    # Binary, structured, and structured without any header are the same command.
    def test_modes(self):
        site = self.registered()
        answers = []
        for mode in ("binary", "structured", "bare"):
            answers.append(self.create(site, 2, 1, id="one", mode=mode, attributes={"correlationid": "c"}))
            site.send("RegisterDevice", {"ResourceID": DEVICE, "Name": mode}, mode=mode)
        self.assertEqual([a.repeated for a in answers], [False, True, True])
        self.assertEqual(len({(a.value, a.id, a.headers["ce_correlationid"]) for a in answers}), 1)
        wait_until(lambda: site.ndjson("list", "devices")[0]["Name"] == "bare", 20, "the last command", site)
        charset = site.ask("RemoveDevice", value=json.dumps({
            "specversion": "1.0", "id": "c", "source": "/tests", "type": "RemoveDevice", "datacontenttype":
            "application/json", "time": "2026-01-01T00:00:00Z", "subject": "x", "extension": 5,
            "data": {"ResourceID": DEVICE}}).encode(), id="c", partition=0, mode="structured",
            headers=[("Content-Type", b"Application/CloudEvents+JSON; charset=UTF-8")])
        self.assertEqual(charset.data["Outcome"], "accepted")

    # Actor, correlation and trace travel to events and answers; what equals its default is not written.
    def test_carried(self):
        site = self.registered()
        trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=1,b=2"}
        answer = self.create(site, 2, attributes={"correlationid": "ticket-Ü", "actor": "hr/ann", "subject": "x",
                                                  "causationid": "before", "time": "2020-01-01T00:00:00Z", **trace})
        [event] = site.events(command_id=answer.headers["ce_causationid"])
        for name, text in (("correlationid", "ticket-Ü"), ("traceparent", trace["traceparent"]),
                           ("tracestate", trace["tracestate"])):
            self.assertEqual((answer.headers[f"ce_{name}"], event.headers[f"ce_{name}"]), (text, text))
        self.assertEqual(event.headers["ce_actor"], "hr/ann")
        self.assertEqual(event.header_names, [
            "ce_specversion", "content-type", "ce_id", "ce_source", "ce_type", "ce_time", "ce_subject",
            "ce_causationid", "ce_causationsource", "ce_command", "ce_chain", "ce_actor", "ce_correlationid",
            "ce_traceparent", "ce_tracestate", "kinlog_epoch"])
        self.assertEqual(answer.header_names, [
            "ce_specversion", "content-type", "ce_id", "ce_source", "ce_type", "ce_time", "ce_causationid",
            "ce_causationsource", "ce_correlationid", "ce_traceparent", "ce_tracestate", "kinlog_epoch"])
        self.assertEqual(answer.headers["ce_type"], "kinlog.Answer.v1")
        self.assertEqual(answer.headers["ce_time"], event.headers["ce_time"])
        self.assertGreater(event.headers["ce_time"], "2025")  # the broker's time, not the sender's
        record = next(r for r in self.broker.read(site.topic("commands")) if r.offset == 1)
        self.assertEqual(event.headers["ce_time"], datetime.fromtimestamp(
            record.timestamp_ms / 1000, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"))
        self.assertEqual(answer.id, f"0-{record.offset}")

        plain = self.create(site, 4, id="plain", attributes={"correlationid": "plain", "actor": "/tests"})
        [event] = site.events(command_id="plain")
        self.assertEqual(plain.headers["ce_correlationid"], "plain")
        for name in ("ce_actor", "ce_correlationid", "ce_replyto", "ce_traceparent", "ce_tracestate"):
            self.assertNotIn(name, event.headers)

    # replyto: an allowed topic, none at all, and one that is not allowed, which counts as absent.
    def test_replyto(self):
        prefix = "replyto"
        self.broker.create_topic("hr.answers", partitions=3)
        site = self.registered(prefix=prefix, shards=2, reply_allow=["hr.answers", "no.such.topic"])
        shard = site.shard_of(f"device:{DEVICE}")

        def sent(replyto, source):
            id = f"to {replyto}"
            site.send("CreateRelationship", {"MachineResourceId": DEVICE, "UserAccountName": USER,
                                             "SourceId": source}, id=id, attributes={"replyto": replyto})
            return id

        elsewhere, none, missing = sent("hr.answers", 2), sent("-", 4), sent("no.such.topic", 5)
        self.assertEqual(site.answer(sent("not.allowed", 6)).data["Outcome"], "accepted")
        self.assertEqual(site.answer(sent(site.topic("replies"), 7)).data["Outcome"], "accepted")
        self.assertEqual(site.answers(elsewhere) + site.answers(none) + site.answers(missing), [])
        wait_until(lambda: len(self.broker.read("hr.answers")) == 1, 20, "the answer elsewhere", site)
        [record] = self.broker.read("hr.answers")
        self.assertEqual((record.partition, record.key), (shard, f"device:{DEVICE}".encode()))
        self.assertEqual(dict(record.headers)["ce_causationid"], elsewhere.encode())
        written = {e.headers["ce_causationid"]: e.headers.get("ce_replyto") for e in site.events()}
        self.assertEqual({id: topic for id, topic in written.items() if topic}, {
            elsewhere: "hr.answers", none: "-", missing: "no.such.topic"})
        self.assertEqual(self.row(site)["Sources"], [2, 4, 5, 6, 7])
        # A repeat is answered where the original was.
        site.send("CreateRelationship", {"MachineResourceId": DEVICE, "UserAccountName": USER, "SourceId": 2},
                  id=elsewhere)
        wait_until(lambda: len(self.broker.read("hr.answers")) == 2, 20, "the repeated answer", site)
        again = self.broker.read("hr.answers")[1]
        self.assertEqual((again.value, again.partition, dict(again.headers)["ce_repeated"]),
                         (record.value, record.partition, b"true"))
        self.assertEqual(site.answers(elsewhere), [])
        # A topic that was missing gets its answers once it is there.
        self.broker.create_topic("no.such.topic", partitions=2)

        def answered():
            site.send("CreateRelationship", {"MachineResourceId": DEVICE, "UserAccountName": USER, "SourceId": 5},
                      id=missing)
            return self.broker.read("no.such.topic")
        wait_until(answered, 20, "an answer in the topic made since", site)

    # expirytime is held against the broker's time of arrival.
    def test_expiry(self):
        site = self.registered()
        now = datetime.now(timezone.utc)
        wanted = {**instance(), "SourceId": 4}
        self.create(site, 2)
        late = self.refused(site, OTHER, "expirytime", "AddSource", wanted,
                            attributes={"expirytime": rfc3339(now - timedelta(seconds=5))})
        self.assertIn("new id", late.data["ExtendedStatus"]["Description"])
        self.accepted(site, "AddSource", wanted, attributes={"expirytime": rfc3339(now + timedelta(hours=1))})
        offset = (now + timedelta(hours=1)).astimezone(timezone(timedelta(hours=-5))).isoformat()
        self.accepted(site, "AddSource", {**wanted, "SourceId": 5}, attributes={"expirytime": offset})
        # Expiry comes before what is not found. A repeat is answered however late it is.
        self.refused(site, OTHER, "expirytime", "AddSource", {**wanted, "ResourceID": 9},
                     attributes={"expirytime": "2020-01-01T00:00:00Z"})
        expiry = datetime.now(timezone.utc) + timedelta(seconds=5)
        soon = {"attributes": {"expirytime": rfc3339(expiry)}}
        self.accepted(site, "AddSource", {**wanted, "SourceId": 6}, id="soon", **soon)
        wait_until(lambda: datetime.now(timezone.utc) > expiry, 20, "the expiry", site)
        again = site.ask("AddSource", {**wanted, "SourceId": 6}, id="soon", **soon)
        self.assertEqual((again.repeated, again.data["Outcome"]), (True, "accepted"))


class Shards(AffinityTest):
    """Several shards: where commands belong, how they get there, what all shards must know."""

    def devices_by_shard(self, site):
        """One device per shard."""
        devices = {}
        for device in range(1, 200):
            devices.setdefault(site.shard_of(f"device:{device}"), device)
        return [devices[shard] for shard in range(site.shards)]

    # Whatever the key says, a command gets to its shard, once, and its answer tells the way.
    def test_forwarding(self):
        site = self.site(shards=4)
        devices = self.devices_by_shard(site)
        numbers = {}
        for home, device in enumerate(devices):
            there = (home + 1) % 4
            answer = self.accepted(site, "RegisterDevice", {"ResourceID": device, "Name": "A"}, key=None,
                                   partition=there, attributes={"correlationid": "c"}, headers=[("x", b"\0\1")])
            self.check_way(site, answer, home, there, f"device:{device}")
            forwarded = [r for r in self.broker.read(site.topic("commands"), partition=home)
                         if dict(r.headers).get("kinlog_forwarded")][-1]
            self.assertEqual((forwarded.key, forwarded.headers[-2:]),
                             (None, [("x", b"\0\1"), ("kinlog_forwarded",
                                                     answer.headers["kinlog_forwarded"].encode())]))
            wrong_key = self.create(site, 2, device=device, key="device:wrong", partition=there)
            self.check_way(site, wrong_key, home, there, f"device:{device}")
            numbers[home] = wrong_key.data["Out"]["RelationshipResourceID"]
            right = self.create(site, 4, device=device)
            self.assertNotIn("kinlog_forwarded", right.headers)
            self.assertEqual(right.partition, home)
        for home, number in numbers.items():
            self.assertEqual((number - 1) % SLOTS % 4, home)
            answer = self.accepted(site, "AddSource", {"RelationshipResourceID": number, "SourceId": 5}, key=None,
                                   partition=(home + 2) % 4)
            self.check_way(site, answer, home, (home + 2) % 4, f"device:{devices[home]}")
            # Both given, disagreeing, of different shards: the number's shard decides.
            other = devices[(home + 1) % 4]
            lost = self.refused(site, NOT_FOUND, "RelationshipResourceID", "AddSource", {
                "RelationshipResourceID": number, **instance(device=other), "SourceId": 5})
            self.assertEqual(lost.partition, home)
        # What does not fit its schema is refused where it lies; a repeat finds its receipt after a forward.
        lies = self.refused(site, INVALID, "SourceId", "CreateRelationship", {
            "MachineResourceId": devices[0], "UserAccountName": USER, "SourceId": 99}, key=None, partition=3)
        self.assertEqual((lies.data["Shard"], lies.partition), (3, 3))
        first = self.create(site, 6, device=devices[0], id="again")
        again = self.create(site, 6, device=devices[0], id="again", key=None, partition=2)
        self.assertEqual((again.value, again.id, again.repeated), (first.value, first.id, True))
        self.assertRegex(again.headers["kinlog_forwarded"], r"\A2-\d+\Z")
        self.assertEqual(sum(shard["Forwarded"] for shard in site.status().values()), 4 * 3 + 4 + 1)
        self.assertEqual([r["Shard"] for r in site.ndjson("list", "relationships")], [0, 1, 2, 3])
        self.assertEqual(site.cli("verify").code, 0)

    def check_way(self, site, answer, home, there, key):
        self.assertEqual((answer.data["Shard"], answer.partition, answer.key), (home, home, key.encode()))
        self.assertRegex(answer.headers["kinlog_forwarded"], rf"\A{there}-\d+\Z")

    # devices.unknown: a policy that every shard adopts; unknown devices then become stubs.
    def test_policy(self):
        site = self.site(shards=4)
        devices = self.devices_by_shard(site)
        for device in devices:
            self.assertEqual(self.create(site, 2, device=device).data["ReturnValue"], NOT_FOUND)
        defaults = [("approval.sources", ""), ("core.rules", "1"), ("devices.unknown", "refuse"),
                    ("keys.recipients", ""), ("requests.timeout", "30"), ("usage.days", "0"), ("usage.minutes", "0")]
        self.assertEqual([(p["Name"], p["Value"]) for p in self.policies(site)], defaults)
        changed = site.cli("policy", "set", "devices.unknown=stub")
        self.assertEqual(changed.code, 0, changed.out + changed.err)
        self.assertEqual({s["PolicyRevision"] for s in site.status().values()}, {1})
        for shard, device in enumerate(devices):
            answer = self.create(site, [2, 3], 1, device=device, user=f"contoso\\user{shard}")
            self.assertEqual([e["Type"] for e in answer.data["Events"]],
                             ["kinlog.DeviceRegistered.v1", "kinlog.RelationshipCreated.v1"])
            stub, created = site.events(command_id=answer.headers["ce_causationid"])
            self.assertEqual(stub.data, {"ResourceID": device, "Name": None, "ClientType": 1, "MACAddresses": None,
                                         "Domain": None})
            self.assertEqual((created.data["ResourceName"], created.data["ResourceClientType"]), (None, 1))
        events = [e for e in site.events() if e.type == "PolicyChanged"]
        home = site.shard_of("policy")
        self.assertEqual(sorted(e.partition for e in events), [0, 1, 2, 3])
        self.assertEqual({(e.key, e.headers["ce_subject"]) for e in events}, {(b"policy", "policy/devices.unknown")})
        self.assertEqual([e.data for e in events],
                         [{"Name": "devices.unknown", "Value": "stub", "Revision": 1}] * 4)
        origin = next(e for e in events if e.partition == home)
        self.assertEqual({e.headers["ce_causationid"] for e in events if e.partition != home}, {origin.id})

        # By message: the same again, a wrong value, back, and rules that are not known.
        same = self.unchanged(site, "SetPolicy", {"Name": "devices.unknown", "Value": "stub"})
        self.assertEqual((same.data["Out"], same.data["Shard"], same.key), ({"Revision": 1}, home, b"policy"))
        self.refused(site, INVALID, "Value", "SetPolicy", {"Name": "devices.unknown", "Value": "maybe"})
        self.refused(site, INVALID, "Value", "SetPolicy", {"Name": "core.rules", "Value": "2"})
        self.refused(site, INVALID, "Name", "SetPolicy", {"Name": "devices.Unknown", "Value": "stub"})
        back = self.accepted(site, "SetPolicy", {"Name": "devices.unknown", "Value": "refuse"}, "PolicyChanged",
                             key=None, partition=(home + 1) % 4)
        self.assertEqual(back.data["Out"], {"Revision": 2})
        wait_until(lambda: {s["PolicyRevision"] for s in site.status().values()} == {2}, 20, "its adoption", site)
        self.assertEqual([(p["Name"], p["Value"]) for p in self.policies(site)], defaults)
        refused = site.cli("policy", "set", "devices.unknown=maybe")
        self.assertEqual(refused.code, 3, refused.out + refused.err)
        # What only agents may send.
        for data in ({"Name": "devices.unknown", "Value": "stub", "Revision": 9},):
            self.refused(site, ACCESS_DENIED, None, "AdoptPolicy", data, partition=1, key="policy")
        self.refused(site, ACCESS_DENIED, None, "Tick", {}, partition=1, key=None)
        source = origin.headers["ce_source"]
        self.refused(site, ACCESS_DENIED, None, "Tick", {}, partition=1, key=None, source=source,
                     headers=[("kinlog_epoch", b"1;00")])
        self.assertEqual(site.cli("verify").code, 0)

    def policies(self, site):
        found = {}
        for row in site.ndjson("policy"):
            found.setdefault(row["Name"], row)
        return [found[name] for name in sorted(found)]


class Reading(AffinityTest):

    # list and get show exactly what the events say, whatever is asked for.
    def test_list_and_get(self):
        site = self.site(shards=2)
        expected = {}
        for device, name in ((3, "PC3"), (1, "PC1"), (2, "pc2")):
            site.send("RegisterDevice", {"ResourceID": device, "Name": name})
        wishes = [(1, "hq\\ann", [2], 1), (1, "hq\\bob", [4], None), (2, "HQ\\Ann", [4, 2], None),
                  (3, "lab\\ann", [1], 1), (3, "hq\\Jürgen", [9], None)]
        for device, user, sources, type in wishes:
            answer = self.create(site, sources, type, device=device, user=user)
            [event] = site.events(command_id=answer.headers["ce_causationid"])
            row = {**event.data, "Pending": False, "Version": answer.data["Sequence"], "Shard": answer.partition}
            expected[device, user] = row
            for key in (f"{device}/{user}", f"{device}/{user.upper()}", row["RelationshipResourceID"]):
                self.assertEqual(site.ndjson("get", "relationship", key), [row])
            document = site.json("get", "relationship", f"{device}/{user}")
            self.assertEqual(document["Relationship"], row)
            self.assertEqual(document["Shards"], [{"Shard": row["Shard"], "Sequence": row["Version"]}])
        rows = [expected[1, "hq\\ann"], expected[1, "hq\\bob"], expected[2, "HQ\\Ann"],
                expected[3, "hq\\Jürgen"], expected[3, "lab\\ann"]]
        rows.sort(key=lambda row: row["Shard"])  # stable: within a shard by key

        def users(*options):
            return [(row["ResourceID"], row["UniqueUserName"]) for row in site.ndjson("list", "relationships", *options)]

        self.assertEqual(site.ndjson("list", "relationships"), rows)
        self.assertCountEqual(users("--user", "ann"), [(1, "hq\\ann"), (2, "HQ\\Ann"), (3, "lab\\ann")])
        self.assertCountEqual(users("--user", "HQ\\ANN"), [(1, "hq\\ann"), (2, "HQ\\Ann")])
        self.assertEqual(users("--user", "JU\u0308RGEN"), [(3, "hq\\Jürgen")])
        self.assertEqual(users("--device", "1"), [(1, "hq\\ann"), (1, "hq\\bob")])
        self.assertEqual(users("--device", "PC3"), [(3, "hq\\Jürgen"), (3, "lab\\ann")])
        self.assertCountEqual(users("--source", "4"), [(1, "hq\\bob"), (2, "HQ\\Ann")])
        self.assertCountEqual(users("--primary"), [(1, "hq\\ann"), (3, "lab\\ann")])
        self.assertEqual(users("--primary", "--device", "3"), [(3, "lab\\ann")])
        self.assertEqual(users("--limit", "2"), [(r["ResourceID"], r["UniqueUserName"]) for r in rows[:2]])
        self.assertEqual(users("--user", "nobody"), [])
        self.assertEqual([d for d, _ in users("--sort", "-ResourceID")], [3, 3, 2, 1, 1])
        document = site.json("list", "relationships")
        self.assertEqual(document["Relationships"], rows)
        self.assertEqual([shard["Shard"] for shard in document["Shards"]], [0, 1])
        table = site.cli("list", "relationships")
        self.assertEqual(table.code, 0)
        for row in rows:
            self.assertIn(row["UniqueUserName"], table.out)
        self.assertEqual(site.cli("get", "relationship", "1/hq\\nobody").code, 1)
        self.assertEqual(site.cli("get", "device", "9").code, 1)
        self.assertEqual(site.cli("get", "relationship", "x").code, 2)
        site.stop()
        self.assertEqual(site.ndjson("list", "relationships"), rows)


if __name__ == "__main__":
    unittest.main()
