"""One situation for each rule of who may write in which breaking the rule shows: tests that the sound program
passes and that find the planted bug (agent/planted.h). run.py runs them against both.

The program is a test build: some situations need crash points (tests/torture/victim.py).

SPDX-License-Identifier: Apache-2.0
"""

import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests" / folder) for folder in ("lib", "e2e", "torture")]

import kinlog_fixture  # noqa: E402
from kafka_broker import Broker  # noqa: E402,F401
from kinlog_fixture import KinlogTest, wait_until  # noqa: E402
from load import Load, read_logs  # noqa: E402
from victim import Victim  # noqa: E402

ELSEWHERE = "elsewhere"     # a topic for answers that one agent's configuration allows
LIMIT_S = 40                # for what a sound agent does within a second or two


class Scenarios(KinlogTest):
    broker_proxied = True

    def begun(self, site, count=100):
        load = Load(site)
        load.send(count)
        load.wait_answers(self)
        return load

    def end_of(self, site, what):
        return self.broker.watermarks(site.topic(what), 0)[1]

    def answered_up_to(self, site):
        """The last event on which an answer rests that a client has."""
        return max(answer.data["Sequence"] for answer in site.answers())

    def content(self, agent):
        return [(s["Sequence"], s["Chain"], s["Digests"]) for s in agent.status().values()]

    def wait_role(self, agent, role):
        wait_until(lambda: agent.status()[0]["Role"] == role, LIMIT_S, f"the role {role}", agent)

    def check_equal(self, site, *agents):
        """The agents' stores, and that of one who joins, are equal."""
        last = len(read_logs(site)[0].events)
        for agent in (*agents, site.another("fresh")):
            wait_until(lambda: agent.status()[0]["Sequence"] >= last or agent.status()[0]["Role"] == "stopped", LIMIT_S,
                       f"event {last}", agent)
            self.assertNotEqual(agent.status()[0]["Role"], "stopped", agent.status()[0]["Reason"])
            agent.stop()
        for agent in agents:
            self.assertEqual(self.content(agent), self.content(site.agents[-1]))

    def two_histories(self):
        """The first agent dies with a tail that the topic has not got; the second, whose configuration makes
        other events of the same commands, decides and answers them."""
        site, proxy = self.proxied_site(reply_allow=[ELSEWHERE])
        first, load = site.agent, self.begun(site)
        proxy.hold(site.topic("events"))
        ids = [site.send("RegisterDevice", {"ResourceID": 7, "Name": f"PC{n}"}, attributes={"replyto": ELSEWHERE})
               for n in range(10)]
        wait_until(lambda: first.status()[0]["Sequence"] >= first.status()[0]["Published"] + 10, LIMIT_S, "a tail", first)
        first.kill()
        site.reply_allow = []
        second = site.another()
        for id in ids:
            site.answer(id)
        return site, proxy, first, second, load

    # ---- what an answer waits for -------------------------------------------------------------------------

    def test_power_cut(self):
        """The power fails for agent and broker, and both lose what they had not synced: what was answered is on
        the agent's disk, and comes back into the topic from there."""
        site = self.site(start=False)
        journal = site.folder / "synced"
        library = kinlog_fixture.KINLOG.parents[2] / "tests" / "power_cut.so"
        site.start(environment={"POWER_CUT": str(journal), "LD_PRELOAD": str(library)})
        load = self.begun(site)
        load.start(1000)
        wait_until(lambda: len(load.answers()) > 300, LIMIT_S, "answers", site)
        site.kill()
        answered = self.answered_up_to(site)
        load.wait()
        self.lose_unsynced(site, journal)
        state = site.status()[0]
        self.assertGreaterEqual(state["Sequence"], answered, "what was answered is not on disk")
        self.assertGreaterEqual(state["Published"], answered, "the mark is behind what was answered")
        events = read_logs(site)[0].events
        broker = self.broker
        broker.kill()
        broker.cut_log(site.topic("events"), 0, events[1].offset)
        broker.start()
        site.start()
        self.wait_role(site.agent, "stopped")
        self.assertIn("rebuild --republish", site.status()[0]["Reason"])
        site.stop()
        self.assertEqual(site.cli("rebuild", "--republish", "--shard", 0).code, 0)
        site.start()
        load.check(self)

    def lose_unsynced(self, site, journal):
        synced = {}
        for line in journal.read_text().splitlines() if journal.exists() else []:
            size, path = line.split(" ", 1)
            synced[path] = int(size)
        for wal in (site.data_dir / "shard-0").glob("*.log"):
            with open(wal, "r+b") as file:
                file.truncate(synced.get(str(wal), 0))

    def test_unpublished(self):
        """Events that are on disk and do not reach the topic are not answered."""
        site, proxy = self.proxied_site()
        load = self.begun(site)
        before, sequence = self.end_of(site, "replies"), site.status()[0]["Sequence"]
        proxy.hold(site.topic("events"))
        load.send(50)
        wait_until(lambda: site.status()[0]["Sequence"] > sequence + 20, LIMIT_S, "decisions", site)
        time.sleep(1)   # for the answers that must not come
        self.assertEqual(self.end_of(site, "replies"), before, "answered before it is in the topic")
        proxy.release()
        load.check(self)

    def test_mark(self):
        """An agent dies as soon as the first of several answers has left: its store says that the topic has what
        was answered."""
        site = self.site(start=False)
        victim = Victim(site.agent)
        victim.start(wait=True)
        load = self.begun(site)
        victim.arm("answer.half", settle=True)
        load.send(100)
        self.assertTrue(victim.wait_dead(LIMIT_S), "it did not come to answer several commands at once")
        self.assertGreaterEqual(site.status()[0]["Published"], self.answered_up_to(site),
                                "the mark is behind what was answered")
        site.start()
        load.check(self)

    # ---- who owns ---------------------------------------------------------------------------------------------

    def test_other_tail(self):
        """An owner comes back with a tail that was never answered, and finds that another has decided otherwise:
        it drops its own, adopts the topic's, and goes on from there."""
        site, proxy, first, second, load = self.two_histories()
        proxy.cut()     # what was held never arrives
        proxy.mend()
        proxy.hold(None)
        second.stop()
        first.start()
        self.wait_role(first, "owner")
        load.send(50)
        load.check(self)
        self.assertIn("were never answered, and the topic has others: dropped", first.log_text())
        self.check_equal(site, first)

    def test_late_records(self):
        """What a dead owner had on its way lands behind the new owner's claim: void for all who read."""
        site, proxy, first, second, load = self.two_histories()
        proxy.release()
        wait_until(lambda: read_logs(site)[0].void > 0, LIMIT_S, "late records", second)
        load.send(50)
        load.check(self)
        self.check_equal(site, second)

    def test_half_command(self):
        """An owner dies, disk and all, with the first of a command's two events in the topic: the next one
        decides the whole command."""
        site = self.site(start=False)
        victim = Victim(site.agent)
        victim.start(wait=True)
        load = self.begun(site)
        user = {"MachineResourceId": 7, "UserAccountName": "contoso\\user1"}
        site.ask("RegisterDevice", {"ResourceID": 7, "Name": "PC7"})
        site.ask("CreateRelationship", {**user, "SourceId": 2})
        victim.arm("publish.within", settle=True)
        id = site.send("RemoveSource", {"ResourceID": 7, "UniqueUserName": "contoso\\user1", "SourceId": 2})
        self.assertTrue(victim.wait_dead(LIMIT_S), "it did not come to publish half a command")
        second = site.another()
        site.ask("RegisterDevice", {"ResourceID": 8, "Name": "PC8"})    # answers leave in order
        answer = site.answer(id)
        self.assertEqual((answer.data["Outcome"], answer.data["EventCount"]), ("accepted", 2))
        load.send(50)
        self.assertEqual(load.check(self)[0].void, 1)
        self.check_equal(site, second)

    def test_woken_owner(self):
        """An owner is stopped in its tracks, another takes over and answers, the first wakes up: it publishes
        what is void, notices the claim between its records, answers nothing, and follows."""
        site = self.site()
        first, load = site.agent, self.begun(site)
        first.signal(signal.SIGSTOP)
        second = site.another()
        load.send(50)
        load.wait_answers(self)
        first.signal(signal.SIGCONT)

        def doubled():
            return [id for id, found in load.answers().items() if len([a for a in found if not a.repeated]) > 1]
        wait_until(lambda: doubled() or first.status()[0]["Role"] == "follower", LIMIT_S, "the role follower", first)
        self.assertEqual(len(doubled()), 0, "commands that both owners answered")
        load.send(50)
        load.check(self)
        self.check_equal(site, second, first)

    # ---- what is known for ever ------------------------------------------------------------------------------

    def test_repeat_after_restart(self):
        """A command that comes again behind a restart gets its first answer, and leaves no event."""
        site = self.site()
        sent = [("RegisterDevice", {"ResourceID": 7, "Name": f"PC{n}"}) for n in range(5)]
        first = [site.ask(*command, id=f"known-{n}") for n, command in enumerate(sent)]
        site.restart()
        for number, command in enumerate(sent):
            site.send(*command, id=f"known-{number}")
        again = [site.answer(f"known-{n}", count=2) for n in range(5)]
        for before, now in zip(first, again):
            self.assertEqual(now.data["Sequence"], before.data["Sequence"], "a known id was decided anew")
            self.assertEqual((now.value, now.repeated), (before.value, True))
        self.assertEqual([len(site.events(command_id=f"known-{n}")) for n in range(5)], [1] * 5)
