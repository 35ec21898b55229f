"""Devices that are replaced, in one shard and over two: what their users have moves once, whoever is away or dies.

SPDX-License-Identifier: Apache-2.0
"""

import collections
import random
import unittest

from conversation_fixture import ConversationTest
from kinlog_fixture import wait_until
from load import Load, outcomes_of, read_logs

OTHER_FAILURE, NOT_FOUND, TIMEOUT = -2147217407, -2147217406, 3
MOVING = ["RelationshipMoved", "RelationshipMoved", "DeviceReplaced", "DeviceRemoved"]


def replacement(old, new):
    return {"ResourceID": old, "NewResourceID": new}


def short(answer):
    return [event["Type"].split(".")[1] for event in answer.data["Events"]]


def origin(data):
    """Which relationship moved, and for which request; of either side's event."""
    old = "Old" if "OldResourceID" in data else ""
    return data["Request"], data[old + "ResourceID"], data[old + "RelationshipResourceID"]


class ReplacementTest(ConversationTest):

    def user(self, site, device, name, source, primary=False):
        self.ask(site, "CreateRelationship", {"MachineResourceId": device, "UserAccountName": f"contoso\\{name}",
                                              "SourceId": source, "TypeId": 1 if primary else None})

    def rows(self, site):
        """{(ResourceID, user): (Sources, Types)}"""
        return {(row["ResourceID"], row["UniqueUserName"]): (sorted(row["Sources"]), row["Types"] or [])
                for row in site.ndjson("list", "relationships")}

    def wait_settled(self, site):
        """Waits until nothing is said any more: what moved has arrived, each once, and no device is kept for it."""
        def found():
            events = [e for log in read_logs(site).values() for e in log.events]
            data = collections.defaultdict(list)
            for event in events:
                data[event.type].append(event.data)
            asked = {d["Request"] for d in data["ReplacementRequested"]} - set(outcomes_of(read_logs(site)))
            kept = ({d["Request"] for d in data["ReferenceAdded"]}
                    - {d["Request"] for d in data["ReferenceReleased"] + data["ReferenceEnded"]})
            return (asked, kept, sorted(map(origin, data["RelationshipMoved"])),
                    sorted(map(origin, data["RelationshipAdopted"])))

        def settled():
            asked, kept, moved, adopted = found()
            return not asked and not kept and moved == adopted
        wait_until(settled, 90, "all that moved to have arrived", site)
        self.wait_done(site.agent, site.shards)
        _, _, moved, adopted = found()
        self.assertEqual(len(set(moved)), len(moved))
        self.assertEqual(moved, adopted)


class Replaced(ReplacementTest):

    # Of one shard: one command, with all its events in the answer.
    def test_in_one_shard(self):
        site = self.site(shards=2)
        old, new = self.devices(site, 0, 2)
        self.user(site, old, "ann", 4, primary=True)
        self.user(site, old, "bob", 2)
        self.user(site, new, "ann", 6)
        id = site.send("ReplaceDevice", replacement(old, new))
        answer = site.answer(id)
        self.assertEqual((answer.data["Outcome"], answer.data["ReturnValue"]), ("accepted", 0))
        self.assertEqual(short(answer), [
            "RelationshipMoved", "SourceAdded", "TypeAdded", "RelationshipAdopted",
            "RelationshipMoved", "RelationshipCreated", "RelationshipAdopted", "DeviceReplaced", "DeviceRemoved"])
        self.assertEqual(self.rows(site), {(new, "contoso\\ann"): ([4, 6], [1]), (new, "contoso\\bob"): ([2], [])})
        self.ask(site, "ReplaceDevice", replacement(old, new), "refused")
        self.check_joined(site)

    # Of two: answered once, when the new device has all of them. The history stays, under both names.
    def test_between_two_shards(self):
        site = self.site(shards=2)
        [old], [new] = self.devices(site, 0, 1), self.devices(site, 1, 1)
        self.user(site, old, "ann", 4, primary=True)
        self.user(site, old, "bob", 2)
        self.user(site, new, "ann", 6)
        id = site.send("ReplaceDevice", replacement(old, new))
        answer = site.answer(id)
        self.assertEqual(short(answer), ["ReplacementRequested", "ReplacementCompleted"])
        self.assertEqual((answer.data["Outcome"], answer.data["ReturnValue"]), ("accepted", 0))
        self.assertEqual(self.rows(site), {(new, "contoso\\ann"): ([4, 6], [1]), (new, "contoso\\bob"): ([2], [])})
        self.wait_settled(site)

        site.send("ReplaceDevice", replacement(old, new), id=id)
        again = site.answer(id, count=2)
        self.assertEqual((again.value, again.repeated), (answer.value, True))
        self.assertEqual([e.type for e in site.events(shard=0)][-6:], ["ReplacementRequested", *MOVING,
                                                                       "ReplacementCompleted"])
        log = site.ndjson("log", "--subject", f"device/{old}")
        self.assertIn("kinlog.DeviceReplaced.v1", {row["type"] for row in log})
        self.assertEqual({a.command for a in site.answers() if a.command[0] != site.source}, set())
        self.check_joined(site)

    # A shard without an owner: refused in time, nothing has moved; what is said too late is given back.
    def test_silent_shard(self):
        site = self.site(shards=2)
        asking = site.shard_of("policy")  # so that policy can be set while the other is away
        [old], [new] = self.devices(site, asking, 1), self.devices(site, 1 - asking, 1)
        self.user(site, old, "ann", 2)
        self.ask(site, "SetPolicy", {"Name": "requests.timeout", "Value": "1"})
        self.take_away(site, 1 - asking)
        answer = site.answer(site.send("ReplaceDevice", replacement(old, new)), timeout_s=60).data
        self.assertEqual((answer["Outcome"], answer["ReturnValue"]), ("refused", OTHER_FAILURE))
        self.assertEqual((answer["ExtendedStatus"]["StatusCode"], answer["ExtendedStatus"]["ParameterInfo"]),
                         (TIMEOUT, "NewResourceID"))
        self.assertEqual(self.rows(site), {(old, "contoso\\ann"): ([2], [])})
        self.bring_back(site, 1 - asking)
        self.wait_settled(site)
        self.ask(site, "SetPolicy", {"Name": "requests.timeout", "Value": "30"})
        self.ask(site, "ReplaceDevice", replacement(old, new))
        self.wait_settled(site)
        self.assertEqual(self.rows(site), {(new, "contoso\\ann"): ([2], [])})

    # What cannot be is refused with the parameter that is at fault, and the next one is served.
    def test_bad_input(self):
        site = self.site(shards=2)
        [old, here], [there] = self.devices(site, 0, 2), self.devices(site, 1, 1)
        self.user(site, old, "ann", 2)
        unknown = {site.shard_of(f"device:{number}"): number for number in range(5000, 5020)}

        def refused(data, value, parameter):
            answer = self.ask(site, "ReplaceDevice", data, "refused")
            self.assertEqual((answer["ReturnValue"], answer["ExtendedStatus"]["ParameterInfo"]), (value, parameter))
            self.assertNotEqual(answer["ExtendedStatus"]["Description"], "")
        refused(replacement(old, old), -2147217400, "NewResourceID")
        refused(replacement(old, 0), -2147217400, "NewResourceID")
        refused(replacement(old, 2 ** 32), -2147217400, "NewResourceID")
        refused({"ResourceID": old}, -2147217400, "NewResourceID")
        refused(replacement(unknown[0], here), NOT_FOUND, "ResourceID")
        refused(replacement(old, unknown[0]), NOT_FOUND, "NewResourceID")
        refused(replacement(old, unknown[1]), NOT_FOUND, "NewResourceID")
        self.ask(site, "AddAssociation", {"SourceClientResourceID": here, "RestoreClientResourceID": old})
        refused(replacement(old, there), OTHER_FAILURE, "ResourceID")
        self.ask(site, "DeleteAssociation", {"SourceClientResourceID": here, "RestoreClientResourceID": old})
        self.ask(site, "ReplaceDevice", replacement(old, there))
        self.assertEqual(self.rows(site), {(there, "contoso\\ann"): ([2], [])})


class ReplacementLoad(Load):
    """Few devices with users, replaced by each other and registered again, by a seed."""

    DEVICES = range(2000, 2016)

    def _make(self, number):
        chance = random.Random(number)
        old, new = chance.sample(self.DEVICES, 2)
        kind = chance.choices(["CreateRelationship", "ReplaceDevice", "RegisterDevice"], [60, 20, 20])[0]
        if number < len(self.DEVICES):
            kind, old = "RegisterDevice", self.DEVICES[number]
        if kind == "RegisterDevice":
            return kind, {"ResourceID": old, "Name": f"PC{old}"}
        if kind == "ReplaceDevice":
            return kind, replacement(old, new)
        return kind, {"MachineResourceId": old, "UserAccountName": f"contoso\\u{chance.randrange(40)}",
                      "SourceId": chance.choice([2, 4, 6])}


class Killed(ReplacementTest):

    # Killed again and again while devices are replaced: each relationship moves once, and none is lost on the way.
    def test_kill_under_load(self):
        site = self.site(shards=3)
        load = ReplacementLoad(site)
        load.start(2000, chunk=250)
        for count in (50, 500, 1000, 1500):
            wait_until(lambda: len(load.answers()) >= count, 60, f"{count} answers", site)
            site.restart(kill=True)
        load.check(self, timeout_s=120)
        self.wait_settled(site)
        types = collections.Counter(e.type for log in read_logs(site).values() for e in log.events)
        for type in ("ReplacementRequested", "ReplacementCompleted", "RelationshipMoved", "RelationshipAdopted"):
            self.assertGreater(types[type], 3, type)
        self.check_joined(site)

    # Killed at every step: a device goes from one shard to the other and back; the agent dies at each of the points,
    # the first time that it is passed up to the sixth.
    def test_kill_at_each_step(self):
        site = self.site(shards=2, start=False)
        victim = site.victim()
        victim.start(wait=True)
        [there], [back] = self.devices(site, 0, 1), self.devices(site, 1, 1)
        self.user(site, there, "ann", 2)
        for point in ("batch.decided", "batch.committed", "publish.done", "mark.committed"):
            for passes in range(1, 7):
                with self.subTest(point=point, passes=passes):
                    victim.arm(point, passes)
                    self.go_and_come_back(site, victim, there, back)
        self.check_joined(site)

    def go_and_come_back(self, site, victim, there, back):
        deaths = 0
        for old, new in ((there, back), (back, there)):
            id = site.send("ReplaceDevice", replacement(old, new))
            deaths += self.wait_reviving(site, victim, lambda _, id=id: site.answers(id), "the answer")
            self.assertEqual(site.answers(id)[0].data["Outcome"], "accepted", site.answers(id)[0].data)
            id = site.send("RegisterDevice", {"ResourceID": old, "Name": f"PC{old}"})
            deaths += self.wait_reviving(site, victim, lambda _, id=id: site.answers(id), "the device once more")
        self.wait_reviving(site, victim, lambda more: deaths + more == 1, "the death of the agent")
        self.wait_settled(site)
        self.assertEqual(self.rows(site), {(there, "contoso\\ann"): ([2], [])})
        self.check_answered_once(site)


if __name__ == "__main__":
    unittest.main()
