"""A command that kills the agent whenever it is handled: it is put aside after three deaths, and nothing else is.

The agent is the one that is shipped; a library loaded before the others (deadly.c) makes it die of certain user
names, in the middle of a decision or of a commit. A supervisor starts it again, as systemd would.

SPDX-License-Identifier: Apache-2.0
"""

import hashlib
import random
import threading
import unittest

from kinlog_fixture import KINLOG, KinlogTest, wait_until
from load import Load, read_logs

LIBRARY = KINLOG.parent / "tests" / "deadly.so"
REASON = "the agent died three times while handling it"


class Supervisor:
    """Starts an agent again whenever it has ended."""

    def __init__(self, agent):
        self.agent, self.deaths = agent, []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._start()
        self._thread.start()

    def _start(self):
        self.agent.start(wait=False, environment={"LD_PRELOAD": str(LIBRARY)})

    def _run(self):
        while not self._stop.wait(0.02):
            if not self.agent.running:
                self.deaths.append(self.agent.wait())
                self._start()

    def stop(self):
        self._stop.set()
        self._thread.join()


class DeadlyCommand(KinlogTest):

    def supervised(self, site):
        supervisor = Supervisor(site.agent)
        self.addCleanup(supervisor.stop)
        return supervisor

    def create(self, site, device, user, **options):
        return site.send("CreateRelationship", {"MachineResourceId": device, "UserAccountName": user, "SourceId": 2},
                         **options)

    def register(self, site, devices):
        return [site.send("RegisterDevice", {"ResourceID": device, "Name": f"PC{device}"}) for device in devices]

    def content(self, agent):
        return {number: {name: shard[name] for name in ("Sequence", "Chain", "Digests")}
                for number, shard in agent.status().items()}

    def check_rebuilt(self, site):
        """Another data folder, filled from the topic alone, comes to the same content."""
        def done(agent):
            return all(shard["Lag"] == 0 and shard["Published"] == shard["Sequence"]
                       for shard in agent.status().values())
        wait_until(lambda: done(site.agent), 30, "the end of the commands", site)
        site.stop()
        fresh = site.another("fresh")
        wait_until(lambda: done(fresh), 30, "the end of the commands", fresh)
        fresh.stop()
        self.assertEqual(self.content(fresh), self.content(site.agent))
        rebuilt = fresh.cli("rebuild", "--from-topic")
        self.assertEqual(rebuilt.code, 0, rebuilt.err)
        fresh.start()
        wait_until(lambda: done(fresh), 30, "the end of the commands", fresh)
        fresh.stop()
        self.assertEqual(self.content(fresh), self.content(site.agent))
        for agent in (site.agent, fresh):
            verify = agent.cli("verify")
            self.assertEqual(verify.code, 0, verify.out + verify.err)

    def check_aside(self, site, sent, letters):
        """What was put aside is what was sent: in the dead letters as it was, and as a fact in the log."""
        found = {}
        for letter in site.wait_dead_letters(letters):
            place = (int(letter.headers["kinlog_partition"]), int(letter.headers["kinlog_offset"]))
            self.assertEqual(letter.headers["kinlog_reason"], REASON)
            self.assertEqual(letter.headers["kinlog_topic"], site.topic("commands"))
            self.assertEqual(letter.headers["kinlog_sha256"], hashlib.sha256(letter.value).hexdigest())
            found[letter.headers["ce_id"]] = place
        self.assertEqual(set(found), set(sent))
        facts = [event for event in site.events(internal=True) if event.type == "RecordDeadLettered"]
        self.assertEqual({(e.data["Partition"], e.data["Offset"]) for e in facts}, set(found.values()))
        for event in facts:
            self.assertEqual((event.data["Topic"], event.data["Reason"]), (site.topic("commands"), REASON))
        self.assertEqual(sum(shard["DeadLettered"] for shard in site.status().values()), len(sent))
        for place in found.values():
            self.assertIn(f"command {place[1]} was put aside", site.log_text())
        for id in sent:
            self.assertEqual(site.answers(id), [])

    def wait_for_epochs_after(self, site, epochs):
        """Waits until every shard is owned under another epoch; returns these."""
        present = {}

        def owned_anew():
            present.update({number: (shard["Role"], shard["Epoch"]) for number, shard in site.status().items()})
            return all(role == "owner" and epoch != epochs.get(number) for number, (role, epoch) in present.items())
        wait_until(owned_anew, 60, "the shards to be owned again", site)
        return {number: epoch for number, (_, epoch) in present.items()}

    def check_answered_once(self, site, ids):
        for id in ids:
            answer = site.answer(id)
            self.assertEqual(answer.data["Outcome"], "accepted", answer)
            self.assertEqual(len(site.events(command_id=id)), len(answer.data["Events"]), id)

    # Three deaths while it is decided, then it is aside: those before and after it are answered and decided
    # once, the shard goes on, and a store that is filled from the topic is equal.
    def test_in_decision(self):
        for way in ("abort", "fault"):
            with self.subTest(way):
                site = self.site(start=False)
                before = self.register(site, range(1, 30))
                deadly = self.create(site, 1, f"contoso\\é-deadly-{way}")
                after = self.register(site, range(30, 60)) + [self.create(site, 1, "contoso\\é-alive")]
                supervisor = self.supervised(site)
                site.answer(after[-1], timeout_s=60)
                self.assertEqual(len(supervisor.deaths), 3, supervisor.deaths)
                self.check_aside(site, [deadly], 1)
                self.assertIn("put aside", site.status()[0]["Reason"])
                self.check_answered_once(site, before + after)
                supervisor.stop()
                self.check_rebuilt(site)

    # In the commit the whole batch is in hand: it dies twice as a whole, then the guilty one is found one by
    # one. Its neighbours are not aside.
    def test_in_commit(self):
        site = self.site(start=False)
        before = self.register(site, range(1, 30))
        deadly = self.create(site, 1, "contoso\\deadly-commit")
        after = self.register(site, range(30, 60))
        supervisor = self.supervised(site)
        site.answer(after[-1], timeout_s=60)
        self.assertEqual(len(supervisor.deaths), 5, supervisor.deaths)
        self.check_aside(site, [deadly], 1)
        self.check_answered_once(site, before + after)
        supervisor.stop()
        self.check_rebuilt(site)

    # Several of them, one behind the other and in other shards, which are charged with no death of their
    # neighbours: each is aside, nothing else is.
    def test_several(self):
        site = self.site(shards=4, start=False)
        load = Load(site)
        load.send(400)
        devices = {site.shard_of(f"device:{device}"): device for device in range(1000, 1040)}
        deadly = [self.create(site, devices[shard], f"contoso\\é-deadly-{way}")
                  for shard, way in ((0, "abort"), (0, "fault"), (2, "abort"))]
        load.send(400)
        supervisor = self.supervised(site)
        load.check(self, timeout_s=90)
        self.check_aside(site, deadly, 3)
        self.assertLessEqual(len(supervisor.deaths), 9)
        load.send(200)
        load.check(self)
        supervisor.stop()
        self.check_rebuilt(site)

    # An agent killed twenty times under load, whatever it has in hand: nothing is put aside.
    def test_killed_at_random(self):
        site = self.site(shards=2, start=False)
        supervisor = self.supervised(site)
        load = Load(site)
        chance = random.Random(7)
        epochs = {}
        for times in range(1, 21):
            load.send(400)
            epochs = self.wait_for_epochs_after(site, epochs)
            supervisor._stop.wait(chance.random() * 0.2)
            site.signal(9)
            wait_until(lambda: len(supervisor.deaths) == times, 30, "the death", site)
        self.wait_for_epochs_after(site, epochs)
        load.check(self)
        self.assertEqual([shard["DeadLettered"] for shard in site.status().values()], [0, 0])
        self.assertEqual(site.dead_letters(), [])
        self.assertNotIn("put aside into", site.log_text())
        self.assertEqual([len(log.claims) for log in read_logs(site).values()], [21, 21])


if __name__ == "__main__":
    unittest.main()
