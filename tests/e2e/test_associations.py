"""Associations over two shards, and the conversations that they need: answered once, whoever is away or dies.

SPDX-License-Identifier: Apache-2.0
"""

import random
import unittest

from conversation_fixture import ConversationTest
from kinlog_fixture import wait_until
from load import Load, outcomes_of, read_logs

OTHER_FAILURE, TIMEOUT = -2147217407, 3


def facts(site):
    """(associations, references, pending) by MigrationID, folded from the events alone; side-by-side ones."""
    associations, references, pending = {}, {}, set()
    for log in read_logs(site).values():
        for event in log.events:
            data = event.data
            if event.type == "AssociationRequested":
                pending.add(data["MigrationID"])
            elif event.type == "AssociationAdded" and data["MigrationType"] == 1:
                associations[data["MigrationID"]] = f"device:{data['RestoreClientResourceID']}"
            elif event.type == "AssociationDeleted":
                associations.pop(data["MigrationID"], None)
            elif event.type == "ReferenceAdded":
                references[data["Request"]] = data["Object"]
            elif event.type in ("ReferenceReleased", "ReferenceEnded"):
                references.pop(data["Request"], None)
    return associations, references, pending - set(outcomes_of(read_logs(site)))


class AssociationTest(ConversationTest):

    def wait_settled(self, site):
        """Waits until nothing is said any more: each association has its reference, and the other way round."""
        def settled():
            associations, references, pending = facts(site)
            return not pending and associations == references
        wait_until(settled, 90, "references that equal the associations", site)
        self.wait_done(site.agent, site.shards)
        associations, references, pending = facts(site)
        self.assertEqual((associations, pending), (references, set()))
        listed = {row["MigrationID"] for row in site.ndjson("list", "associations") if row["MigrationType"] == 1}
        self.assertEqual(listed, set(associations))


def pair(source, restore):
    return {"SourceClientResourceID": source, "RestoreClientResourceID": restore}


class TwoShards(AssociationTest):

    # Asked of the other shard, confirmed, answered once with the MigrationID; the device is kept while it is
    # referred to, and free afterwards.
    def test_side_by_side(self):
        site = self.site(shards=2)
        [source], [restore] = self.devices(site, 0, 1), self.devices(site, 1, 1)
        id = site.send("AddAssociation", pair(source, restore))
        answer = site.answer(id)
        self.assertEqual((answer.data["Outcome"], answer.data["ReturnValue"]), ("accepted", 0))
        migration = answer.data["Out"]["MigrationID"]
        self.assertRegex(migration, r"^0-[1-9]\d*$")
        self.assertEqual([e["Type"] for e in answer.data["Events"]],
                         ["kinlog.AssociationRequested.v1", "kinlog.AssociationAdded.v1"])
        site.send("AddAssociation", pair(source, restore), id=id)
        again = site.answer(id, count=2)
        self.assertEqual((again.value, again.repeated), (answer.value, True))
        self.assertEqual(len(site.answers(id)), 2)

        self.ask(site, "RemoveDevice", {"ResourceID": restore}, "refused")
        self.ask(site, "DeleteAssociation", {"MigrationID": migration, **pair(source, restore)})
        self.wait_events(site, "ReferenceReleased")
        self.ask(site, "RemoveDevice", {"ResourceID": restore})
        self.wait_settled(site)
        self.assertEqual({a.command for a in site.answers() if a.command[0] != site.source}, set())

    # The restoring device goes by force: its shard says so, and the association ends.
    def test_removed_by_force(self):
        site = self.site(shards=2)
        sources, [restore] = self.devices(site, 0, 2), self.devices(site, 1, 1)
        for source in sources:
            self.ask(site, "AddAssociation", pair(source, restore))
        self.ask(site, "RemoveDevice", {"ResourceID": restore, "Force": True})
        self.wait_events(site, "AssociationDeleted", 2)
        self.assertEqual({e.data["Reason"] for e in site.events() if e.type == "AssociationDeleted"},
                         {"restore_removed"})
        self.wait_settled(site)
        self.assertEqual(facts(site)[0], {})
        self.ask(site, "AddAssociation", pair(sources[0], restore), "refused")

    # One shard is without an owner: commands wait for it and repeats wait with them, until the timeout refuses
    # them; the new owner meets a late request, and what it then confirms is given back.
    def test_silent_shard(self):
        site = self.site(shards=2)
        asking = site.shard_of("policy")  # so that policy can be set while the other is away
        silent = 1 - asking
        [waiting, refused], [restore] = self.devices(site, asking, 2), self.devices(site, silent, 1)
        self.take_away(site, silent)
        self.ask(site, "SetPolicy", {"Name": "requests.timeout", "Value": "3600"})
        first = site.send("AddAssociation", pair(waiting, restore))
        site.send("AddAssociation", pair(waiting, restore), id=first)
        self.wait_events(site, "AssociationRequested")
        self.ask(site, "AddAssociation", pair(waiting, restore), "refused")  # behind the repeat, which waits
        show = site.cli("show", site.source, first)
        self.assertIn("waits for the answer of another shard", show.out + show.err)
        self.assertEqual(site.ndjson("list", "associations"), [])

        self.ask(site, "SetPolicy", {"Name": "requests.timeout", "Value": "1"})
        second = site.send("AddAssociation", pair(refused, restore))
        answer = site.answer(second, timeout_s=60).data
        self.assertEqual((answer["Outcome"], answer["ReturnValue"]), ("refused", OTHER_FAILURE))
        self.assertEqual(answer["ExtendedStatus"]["StatusCode"], TIMEOUT)
        self.assertEqual(answer["ExtendedStatus"]["ParameterInfo"], "RestoreClientResourceID")
        self.assertEqual(site.answers(first), [])

        self.bring_back(site, silent)
        answer = site.answer(first, timeout_s=60).data
        self.assertEqual(answer["Outcome"], "accepted")
        self.wait_events(site, "ReferenceUnwanted")
        self.wait_settled(site)
        self.assertEqual(facts(site)[0], {answer["Out"]["MigrationID"]: f"device:{restore}"})
        self.assertEqual([len(site.answers(id)) for id in (first, second)], [1, 1])
        self.ask(site, "DeleteAssociation", pair(waiting, restore))
        self.wait_settled(site)
        self.ask(site, "RemoveDevice", {"ResourceID": restore})
        self.check_joined(site)

    # What the brokers do not take is not forgotten: the shard begins again until the other one has been asked.
    def test_refused_message(self):
        site = self.site(shards=2)
        asking = site.shard_of("policy")
        [source], [restore] = self.devices(site, asking, 1), self.devices(site, 1 - asking, 1)
        self.ask(site, "SetPolicy", {"Name": "requests.timeout", "Value": "3600"})
        site.stop()
        id = site.send("AddAssociation", pair(source, restore))
        self.broker.alter_topic(site.topic("commands"), {"max.message.bytes": 100})
        site.start(wait=False)  # it may come to begin again before it is ready
        site.wait_log("the broker refused")
        self.assertEqual(site.answers(id), [])
        self.broker.alter_topic(site.topic("commands"), {"max.message.bytes": None})
        self.assertEqual(site.answer(id, timeout_s=40).data["Outcome"], "accepted")
        self.wait_settled(site)
        self.assertEqual(len(site.answers(id)), 1)


class AssociationLoad(Load):
    """Few devices that are associated, parted, removed and registered again, by a seed."""

    DEVICES = range(2000, 2016)

    def _make(self, number):
        chance = random.Random(number)
        source, restore = chance.sample(self.DEVICES, 2)
        kind = chance.choices(["AddAssociation", "DeleteAssociation", "RegisterDevice", "RemoveDevice"],
                              [45, 25, 25, 5])[0]
        if number < len(self.DEVICES):
            kind, source = "RegisterDevice", self.DEVICES[number]
        if kind == "RegisterDevice":
            return kind, {"ResourceID": source, "Name": f"PC{source}"}
        if kind == "RemoveDevice":
            return kind, {"ResourceID": source, "Force": True}
        users = {"UserNames": [{"UserName": "contoso\\ann"}]} if kind == "AddAssociation" and number % 5 == 0 else {}
        return kind, {**pair(source, restore), **users}


class Killed(AssociationTest):

    # Killed again and again under a load of associations: every command has one answer, in the end references equal
    # associations, and another agent makes the same of the topic.
    def test_kill_under_load(self):
        site = self.site(shards=3)
        load = AssociationLoad(site)
        load.start(3000, chunk=250)
        for count in (50, 500, 1000, 1500, 2000, 2500):
            wait_until(lambda: len(load.answers()) >= count, 60, f"{count} answers", site)
            site.restart(kill=True)
        load.check(self, timeout_s=120)
        self.wait_settled(site)
        types = [e.type for log in read_logs(site).values() for e in log.events]
        for type in ("AssociationRequested", "AssociationAdded", "AssociationDeleted", "ReferenceReleased"):
            self.assertGreater(types.count(type), 20, type)
        self.check_joined(site)

    # Killed at every step of a conversation, on both sides: two shards associate two devices and part them again
    # in five batches (add, request, confirm; delete, release), and each of the points is passed in each of them.
    def test_kill_at_each_step(self):
        site = self.site(shards=2, start=False)
        victim = site.victim()
        victim.start(wait=True)
        [source], [restore] = self.devices(site, 0, 1), self.devices(site, 1, 1)
        for point in ("batch.decided", "batch.committed", "publish.done", "mark.committed"):
            for passes in range(1, 6):
                with self.subTest(point=point, passes=passes):
                    victim.arm(point, passes)
                    self.associate_and_part(site, victim, source, restore)
                    self.check_settled(site)
        self.check_joined(site)

    def associate_and_part(self, site, victim, source, restore):
        deaths = 0
        for command in ("AddAssociation", "DeleteAssociation"):
            id = site.send(command, pair(source, restore))
            deaths += self.wait_reviving(site, victim, lambda _, id=id: site.answers(id), f"the answer to {command}")
            self.assertEqual(site.answers(id)[0].data["Outcome"], "accepted")
        self.wait_reviving(site, victim, lambda more: deaths + more == 1, "the death of the agent")

    def check_settled(self, site):
        self.wait_settled(site)
        self.assertEqual(facts(site)[0], {})
        self.check_answered_once(site)


if __name__ == "__main__":
    unittest.main()
