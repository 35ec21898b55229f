"""The main path: init, run, a command becomes events, views and an answer; sent again it changes nothing.

SPDX-License-Identifier: Apache-2.0
"""

import json
import os
import pty
import subprocess
import unittest

from kinlog_fixture import KINLOG, KinlogTest, slot_of

DEVICE = 16777222
USER = "contoso\\jqpublic"
CLASS_PROPERTIES = ["ResourceID", "UniqueUserName", "RelationshipResourceID", "ResourceName",
                    "ResourceClientType", "CreationTime", "IsActive", "Sources", "Types"]


class MainPath(KinlogTest):

    # init makes the five topics with the settings that the log needs, and a key that only its owner reads.
    def test_init(self):
        site = self.site(shards=2, init=False)
        made = json.loads(site.init("--json").out)
        log = json.loads((site.data_dir / "kinlog.json").read_text())["Log"]
        self.assertEqual(made, {"Log": log, "Site": "test", "Shards": 2, "DataDir": str(site.data_dir)})
        topics = {name: count for name, count in self.broker.topics().items() if name.startswith(site.prefix + ".")}
        names = {site.topic(what) for what in ("commands", "events", "replies", "dead-letters", "storage")}
        self.assertEqual(set(topics), names)
        for what in ("commands", "events", "replies", "storage"):
            self.assertEqual(topics[site.topic(what)], 2, what)
        self.assertEqual(self.broker.topic_config(site.topic("commands"))["message.timestamp.type"], "LogAppendTime")
        events = self.broker.topic_config(site.topic("events"), own_only=False)
        self.assertEqual((events["cleanup.policy"], events["retention.ms"], events["retention.bytes"]),
                         ("delete", "-1", "-1"))
        key = site.data_dir / "site.key"
        self.assertRegex(key.read_text(), r"\A[0-9a-f]{64}\n\Z")
        self.assertEqual(key.stat().st_mode & 0o777, 0o600)

    # One command: its events, its answer, what get and list show; the same command again: the same answer.
    def test_create_relationship(self):
        site = self.site(shards=2)
        shard = site.shard_of(f"device:{DEVICE}")
        registered = site.ask("RegisterDevice", {"ResourceID": DEVICE, "Name": "PC7"})
        self.assertEqual((registered.data["Outcome"], registered.data["ReturnValue"]), ("accepted", 0))

        command = {"MachineResourceId": DEVICE, "UserAccountName": USER, "SourceId": 2, "TypeId": 1}
        id = site.send("CreateRelationship", command, attributes={"correlationid": "ticket-1"})
        answer = site.answer(id)
        relationship = slot_of(f"device:{DEVICE}") + 1  # the first of its slot
        sequence = answer.data["Sequence"]
        self.assertEqual(answer.data, {
            "Command": "kinlog.CreateRelationship.v1", "ReturnValue": 0, "Outcome": "accepted", "Shard": shard,
            "Sequence": sequence, "Version": sequence, "EventCount": 1,
            "Events": [{"Sequence": sequence, "Type": "kinlog.RelationshipCreated.v1"}],
            "Out": {"RelationshipResourceID": relationship}, "ExtendedStatus": None})
        self.assertEqual((answer.partition, answer.key), (shard, f"device:{DEVICE}".encode()))
        self.assertEqual(answer.headers["ce_correlationid"], "ticket-1")
        self.assertFalse(answer.repeated)

        [event] = site.events(command_id=id)
        self.assertEqual(event.partition, shard)
        self.assertEqual(event.key, f"device:{DEVICE}".encode())
        self.assertEqual(event.id, f"{shard}-{sequence}")
        self.assertEqual(event.headers["ce_type"], "kinlog.RelationshipCreated.v1")
        self.assertEqual(event.headers["ce_subject"], f"device/{DEVICE}/relationship/{relationship}")
        self.assertRegex(event.headers["ce_source"], r"\A/kinlog/test/[0-9a-f]{32}\Z")
        self.assertRegex(event.headers["ce_time"], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
        self.assertRegex(event.headers["ce_command"],
                         r"\A1;1/1;[A-Za-z0-9_-]{22};kinlog\.CreateRelationship\.v1\Z")
        self.assertRegex(event.headers["ce_chain"], r"\A[A-Za-z0-9_-]{43}\Z")
        self.assertNotIn(b"contoso", b"".join(v or b"" for _, v in event.record.headers))
        created = event.data.pop("CreationTime")
        self.assertRegex(created, r"\A\d{14}\.\d{6}\+000\Z")
        self.assertEqual(event.data, {
            "ResourceID": DEVICE, "UniqueUserName": USER, "RelationshipResourceID": relationship,
            "ResourceName": "PC7", "ResourceClientType": 1, "IsActive": True, "Sources": [2], "Types": [1]})

        self.check_views(site, shard, sequence, relationship, {**event.data, "CreationTime": created})
        self.check_repeat(site, command, id, answer, event)

    def check_views(self, site, shard, sequence, relationship, row):
        expected = {**row, "Version": sequence, "Shard": shard}
        for key in (f"{DEVICE}/{USER}", f"{DEVICE}/CONTOSO\\JQPublic", str(relationship)):
            self.assertEqual(site.ndjson("get", "relationship", key), [expected], key)
        listed = site.ndjson("list", "relationships")
        self.assertEqual(listed, [expected])
        self.assertEqual(list(listed[0])[:9], CLASS_PROPERTIES)
        self.assertEqual(site.ndjson("list", "relationships", "--source", "4"), [])
        [device] = site.ndjson("list", "devices")
        self.assertEqual((device["ResourceID"], device["Name"], device["MACAddresses"]), (DEVICE, "PC7", None))

    def check_repeat(self, site, command, id, answer, event):
        events = len(site.events())
        site.send("CreateRelationship", command, id=id, attributes={"correlationid": "ticket-1"})
        again = site.answer(id, count=2)
        self.assertTrue(again.repeated)
        self.assertEqual((again.value, again.id, again.key, again.partition),
                         (answer.value, answer.id, answer.key, answer.partition))
        site.send("CreateRelationship", {**command, "SourceId": 4}, id=id)
        conflict = site.answer(id, count=3)
        self.assertEqual((conflict.data["Outcome"], conflict.data["ReturnValue"]), ("conflict", -2147217407))
        self.assertEqual([e.type for e in site.events()[events:]], ["CommandRejected"])

    # What is refused says why, and the next command is served.
    def test_refused(self):
        site = self.site()
        answer = site.ask("CreateRelationship", {"MachineResourceId": 5, "UserAccountName": USER, "SourceId": 2})
        self.assertEqual((answer.data["Outcome"], answer.data["ReturnValue"]), ("refused", -2147217406))
        self.assertEqual(answer.data["ExtendedStatus"]["ParameterInfo"], "MachineResourceId")
        self.assertEqual(answer.data["ExtendedStatus"]["Operation"], "CreateRelationship")
        self.assertEqual([e.type for e in site.events()], ["CommandRejected"])
        self.assertEqual(site.ask("RegisterDevice", {"ResourceID": 5, "Name": "A"}).data["Outcome"], "accepted")

    # What cannot even be answered goes to the dead letters as it was, and is counted in the log.
    def test_dead_letter(self):
        site = self.site()
        partition, offset = site.send_raw(b"hello", key=b"k", headers=[("x", b"\x00\xff")])
        [letter] = site.wait_dead_letters(1)
        self.assertEqual((letter.value, letter.key), (b"hello", b"k"))
        self.assertEqual(letter.record.headers[0], ("x", b"\x00\xff"))
        self.assertEqual((letter.headers["kinlog_topic"], letter.headers["kinlog_partition"],
                          letter.headers["kinlog_offset"]), (site.topic("commands"), str(partition), str(offset)))
        site.ask("RegisterDevice", {"ResourceID": 5, "Name": "A"})
        lettered = [e for e in site.events(internal=True) if e.type == "RecordDeadLettered"]
        self.assertEqual([e.data["Offset"] for e in lettered], [offset])

    # Answers, views and positions are the same after a stop, and after a kill.
    def test_restart(self):
        site = self.site()
        first = site.ask("RegisterDevice", {"ResourceID": 5, "Name": "A"})
        before = site.status()[0]
        self.assertEqual(site.stop(), 0)
        self.assertEqual(site.ndjson("list", "devices")[0]["Name"], "A")  # reading needs no agent
        site.start()
        second = site.ask("RegisterDevice", {"ResourceID": 6, "Name": "B"})
        site.restart(kill=True)
        third = site.ask("RegisterDevice", {"ResourceID": 7, "Name": "C"})
        self.assertEqual([a.data["Sequence"] for a in (first, second, third)],
                         list(range(before["Sequence"], before["Sequence"] + 3)))
        self.assertEqual([d["Name"] for d in site.ndjson("list", "devices")], ["A", "B", "C"])
        verify = site.cli("verify")
        self.assertEqual(verify.code, 0, verify.out + verify.err)

    # `send` waits for its answer and tells it by its exit code.
    def test_send(self):
        site = self.site()
        sent = site.cli("send", "RegisterDevice", "ResourceID=5", "Name=A", "--json")
        self.assertEqual(sent.code, 0, sent.out + sent.err)
        self.assertEqual(json.loads(sent.out)["Outcome"], "accepted")
        [again] = site.ndjson("send", "RegisterDevice", "ResourceID=5", "Name=A")
        self.assertEqual(again["Outcome"], "unchanged")
        refused = site.cli("send", "CreateRelationship", "MachineResourceId=9", f"UserAccountName={USER}",
                           "SourceId=2")
        self.assertEqual(refused.code, 3, refused.out + refused.err)
        # Without waiting it tells where the answer will be found.
        [unheard] = site.ndjson("send", "RegisterDevice", "ResourceID=6", "Name=B", "--no-wait")
        self.assertEqual(list(unheard), ["Shard", "Source", "Id"])
        self.assertEqual(unheard["Shard"], 0)
        site.answer(unheard["Id"], source=unheard["Source"])
        self.assertEqual(site.cli("show", unheard["Source"], unheard["Id"]).code, 0)
        site.stop()
        terminal, stderr = pty.openpty()
        late = subprocess.run([KINLOG, "send", "RegisterDevice", "ResourceID=6", "Name=C", "--timeout", "3s",
                               "--config", site.config_path], stdin=subprocess.DEVNULL, stderr=stderr,
                              env=site.environment, timeout=30)
        said = os.read(terminal, 65536).decode()
        os.close(terminal)
        os.close(stderr)
        self.assertEqual(late.returncode, 4, said)
        self.assertIn("waiting for the answer [###", said)
        self.assertIn("no answer within 3s", said)

    # What `send` is told travels as the command's attributes; the parameters also come from a file or a pipe.
    def test_send_options(self):
        site = self.site()
        who = ("--id", "first", "--source", "/hr")
        words = ("send", "RegisterDevice", "ResourceID=5", "Name=A", *who, "--actor", "ann",
                 "--correlation-id", "ticket-1", "--expected-version", "0", "--expiry", "1h")
        sent = site.cli(*words)
        self.assertEqual(sent.code, 0, sent.out + sent.err)
        self.assertEqual(site.cli(*words).out, sent.out)  # sent again it has no second effect
        [event] = site.events(command_id="first")
        self.assertEqual([event.headers[f"ce_{name}"] for name in ("causationsource", "actor", "correlationid")],
                         ["/hr", "ann", "ticket-1"])
        conflict = site.cli("send", "RegisterDevice", "ResourceID=5", "Name=B", *who)
        self.assertEqual((conflict.code, conflict.out.split(":")[0]), (3, "Conflict"))
        for options, why in ((("--expected-version", "7"), "40003"),
                             (("--expiry", "2001-01-01T00:00:00Z"), "expirytime")):
            refused = site.cli("send", "RegisterDevice", "ResourceID=5", "Name=B", *options)
            self.assertEqual(refused.code, 3, refused.out + refused.err)
            self.assertIn(why, refused.out)
        data = site.folder / "device.json"
        data.write_text('{"ResourceID": 6, "Name": "from a file"}')
        self.assertEqual(site.cli("send", "RegisterDevice", "--data", data).code, 0)
        self.assertEqual(site.cli("send", "RegisterDevice", "--data", "-",
                                  stdin='{"ResourceID": 7, "Name": "from a pipe"}').code, 0)
        names = [device["Name"] for device in site.ndjson("list", "devices")]
        self.assertEqual(names, ["A", "from a file", "from a pipe"])
        for wrong in (("--data", data, "ResourceID=5"), ("--timeout", "soon"), ("--expected-version", "-1"),
                      ("--id", "")):
            self.assertEqual(site.cli("send", "RegisterDevice", *wrong).code, 2, wrong)


if __name__ == "__main__":
    unittest.main()
