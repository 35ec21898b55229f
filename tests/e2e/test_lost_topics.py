"""Topics that lost records, were made anew or belong to another cluster: each shard that is concerned stops with
a text that says what to do, the others go on, and what it says to do brings it back.

SPDX-License-Identifier: Apache-2.0
"""

import shutil
import signal
import time
import unittest

from kafka_broker import Broker
from kinlog_fixture import Agent, KinlogTest, slot_of, wait_until
from load import Load, read_logs

OTHER_CLUSTER = "a2lubG9nLXRlc3RzLTAwMg"


class LostTopics(KinlogTest):

    broker_proxied = True

    def setUp(self):
        self.devices = [[d for d in range(1, 200) if self.shard_of(d) == shard] for shard in range(2)]

    @staticmethod
    def shard_of(device):
        return slot_of(f"device:{device}") % 2

    def ask(self, site, shard, name="A", **options):
        """One command of that shard, answered."""
        return site.ask("RegisterDevice", {"ResourceID": self.devices[shard][0], "Name": name}, **options)

    def begun(self, count=200, site=None):
        """A site with two shards and some history, at rest."""
        site = site or self.site(shards=2)
        load = Load(site)
        load.send(count)
        load.wait_answers(self)
        wait_until(lambda: all(s["Lag"] == 0 and s["Published"] == s["Sequence"] for s in site.status().values()),
                   20, "rest", site)
        return site, load

    def content(self, agent):
        return {number: (shard["Sequence"], shard["Chain"], shard["Digests"])
                for number, shard in agent.status().items()}

    def copied_agent(self, site):
        """An agent on the data folder that was copied before."""
        agent = Agent(site, "other")
        shutil.copytree(site.folder / "copy", agent.data_dir)
        site.agents.append(agent)
        return agent

    def make_anew(self, site, what, partitions=2):
        """The topic deleted and created again with the same settings."""
        name = site.topic(what)
        settings = self.broker.topic_config(name)
        self.broker.delete_topic(name)
        self.broker.create_topic(name, partitions, settings)
        site.forget()

    def wait_stopped(self, site, shard, *words, others=True):
        """The shard has stopped with these words in the log and the first of them in `status`; the other
        shard answers."""
        wait_until(lambda: site.status()[shard]["Role"] == "stopped", 30, f"shard {shard} to stop", site)
        reason = site.status()[shard]["Reason"]
        self.assertIn(words[0], reason)
        lines = [line for line in site.log_text().splitlines()
                 if f'component="shard {shard}"' in line and "stopped, needs an operator" in line]
        for word in words:
            self.assertIn(word, lines[-1])
        if others:
            self.assertEqual(self.ask(site, 1 - shard, name=f"still {time.monotonic_ns()}").data["Outcome"], "accepted")
            self.assertEqual(site.status()[1 - shard]["Role"], "owner")

    def rebuild(self, agent, shard, *options):
        agent.stop()
        result = agent.cli("rebuild", *options, "--shard", shard)
        self.assertEqual(result.code, 0, result.err)

    def owns(self, site):
        wait_until(lambda: all(s["Role"] == "owner" and s["Reason"] is None for s in site.status().values()), 20,
                   "ownership of all shards", site)

    def check_joined(self, site):
        """A fresh agent reads the same from the topic; the store is whole."""
        wait_until(lambda: all(s["Lag"] == 0 and s["Published"] == s["Sequence"] for s in site.status().values()),
                   20, "rest", site)
        site.stop()
        fresh = site.another("fresh")
        self.assertEqual(self.content(fresh), self.content(site.agent))
        fresh.stop()
        for agent in (site.agent, fresh):
            self.assertEqual(agent.cli("verify").code, 0)


class Commands(LostTopics):

    # Commands removed before they were decided: how many, and from where to go on.
    def test_removed(self):
        site, load = self.begun()
        site.stop()
        offset = site.status()[0]["CommandOffset"]
        for number in range(20):
            site.send("RegisterDevice", {"ResourceID": self.devices[0][1], "Name": f"B{number}"})
        self.broker.delete_records(site.topic("commands"), 0, offset + 15)
        site.start()
        self.wait_stopped(site, 0, "commands are lost", f"begins at offset {offset + 15}, the log goes on at {offset}",
                          "the 15 between", "rebuild --commands-from earliest")
        self.rebuild(site.agent, 0, "--commands-from", "earliest")
        site.start()
        self.owns(site)
        self.assertEqual(self.ask(site, 0).data["Outcome"], "accepted")
        self.assertEqual(site.ndjson("get", "device", self.devices[0][1])[0]["Name"], "B19")
        self.check_joined(site)

    # Retention took only what was decided: the agent goes on, and says that it could not compare.
    def test_removed_behind(self):
        site, load = self.begun()
        site.stop()
        offset = site.status()[0]["CommandOffset"]
        self.broker.delete_records(site.topic("commands"), 0, offset)
        site.start()
        self.assertIn("cannot be proven", site.log_text())
        self.assertEqual(self.ask(site, 0).data["Outcome"], "accepted")
        self.check_joined(site)

    # Made anew with fewer records than were decided; from its beginning on, all are decided.
    def test_anew_fewer(self):
        site, load = self.begun()
        site.stop()
        offset = site.status()[0]["CommandOffset"]
        self.make_anew(site, "commands")
        id = site.send("RegisterDevice", {"ResourceID": self.devices[0][1], "Name": "new"})
        site.start()
        self.wait_stopped(site, 0, "ends at offset 1", f"has decided commands up to {offset - 1}",
                          "rebuild --commands-from earliest", others=False)
        self.wait_stopped(site, 1, "ends at offset 0", others=False)
        for shard in range(2):
            self.rebuild(site.agent, shard, "--commands-from", "earliest")
        site.start()
        self.owns(site)
        self.assertEqual(site.answer(id).data["Outcome"], "accepted")
        for shard in range(2):
            self.assertEqual(self.ask(site, shard).data["Outcome"], "accepted")
        self.check_joined(site)

    # Made anew with more records, by the same senders with the same content: only the last consumed record
    # tells. Known ids are answered as repeated, once it is read from its beginning.
    def test_anew_more(self):
        site, load = self.begun()
        site.stop()
        before = self.content(site.agent)
        records = [(r.value, r.key, r.headers) for r in self.broker.read(site.topic("commands"))]
        self.make_anew(site, "commands")
        self.broker.produce_many(site.topic("commands"), records)
        more = Load(site, source="/more")
        more.send(50)
        site.start()
        for shard in range(2):
            self.wait_stopped(site, shard, "was made anew", "rebuild --commands-from earliest", others=False)
        self.assertEqual({n: s["Sequence"] for n, s in site.status().items()}, {n: c[0] for n, c in before.items()})
        for shard in range(2):
            self.rebuild(site.agent, shard, "--commands-from", "earliest")
        site.start()
        more.wait_answers(self)
        logs = more.check(self)
        again = Load(site)
        again.commands = load.commands
        again.check(self)
        self.assertEqual(sum(len(log.commands) for log in logs.values()), 250)
        self.check_joined(site)

    # `--commands-from latest` leaves out what lies there.
    def test_latest(self):
        site, load = self.begun()
        site.stop()
        self.make_anew(site, "commands")
        skipped = site.send("RegisterDevice", {"ResourceID": self.devices[0][1], "Name": "skipped"})
        for shard in range(2):
            self.rebuild(site.agent, shard, "--commands-from", "latest")
        site.start()
        self.owns(site)
        self.assertEqual(self.ask(site, 0).data["Outcome"], "accepted")
        self.assertEqual(site.answers(skipped), [])
        self.check_joined(site)

    # Made anew under a running agent, with fewer records: it notices by itself.
    def test_anew_running(self):
        site, load = self.begun()
        self.make_anew(site, "commands")
        site.send("RegisterDevice", {"ResourceID": self.devices[0][1], "Name": "new"})
        for shard in range(2):
            wait_until(lambda: site.status()[shard]["Role"] == "stopped", 30, "the stop", site)
            self.assertIn(site.topic("commands"), site.status()[shard]["Reason"])
        self.rebuild(site.agent, 0, "--commands-from", "earliest")
        self.rebuild(site.agent, 1, "--commands-from", "earliest")
        site.start()
        self.owns(site)
        for shard in range(2):
            self.assertEqual(self.ask(site, shard).data["Outcome"], "accepted")

    # Made anew under a running agent with more records than before, which the library may not notice: the
    # agent does, some seconds later.
    def test_anew_running_more(self):
        site, load = self.begun()
        self.ask(site, 0)
        self.make_anew(site, "commands")
        more = Load(site, source="/more")
        more.send(400)
        for shard in range(2):
            wait_until(lambda: site.status()[shard]["Role"] == "stopped", 40, "the stop", site)
            self.assertIn("made anew", site.status()[shard]["Reason"])
        for shard in range(2):
            self.rebuild(site.agent, shard, "--commands-from", "earliest")
        site.start()
        more.check(self)
        self.check_joined(site)

    # Deleted and not made again: says which topic is missing.
    def test_deleted_running(self):
        site, load = self.begun()
        settings = self.broker.topic_config(site.topic("commands"))
        self.broker.delete_topic(site.topic("commands"))
        for shard in range(2):
            wait_until(lambda: site.status()[shard]["Role"] == "stopped", 30, "the stop", site)
            self.assertIn(site.topic("commands"), site.status()[shard]["Reason"])
        self.broker.create_topic(site.topic("commands"), 2, settings)
        site.forget()
        for shard in range(2):
            self.rebuild(site.agent, shard, "--commands-from", "earliest")
        site.start()
        self.assertEqual(self.ask(site, 0).data["Outcome"], "accepted")


class Events(LostTopics):

    # Emptied (retention.ms was changed, say): no agent could join any more. The log is published again.
    def test_emptied(self):
        site, load = self.begun()
        site.stop()
        before = self.content(site.agent)
        self.broker.delete_records(site.topic("events"), 0, -1)
        site.start()
        self.wait_stopped(site, 0, "its beginning is lost", "retention.ms=-1", "make the topic anew",
                          "rebuild --republish")
        site.stop()
        self.make_anew(site, "events")
        for shard in range(2):
            self.rebuild(site.agent, shard, "--republish")
        site.start()
        self.owns(site)
        self.assertEqual(self.content(site.agent)[0], before[0])
        self.assertEqual(self.ask(site, 0).data["Outcome"], "accepted")
        load.check(self)
        self.check_joined(site)

    # Made anew, empty: the store has all of it, and publishes it when told so.
    def test_anew(self):
        site, load = self.begun()
        site.stop()
        before = site.status()
        self.make_anew(site, "events")
        site.start()
        for shard in range(2):
            last = before[shard]["Sequence"]
            self.wait_stopped(site, shard, "holds the log up to event 0 only", f"had acknowledged event {last}",
                              "rebuild --republish", others=False)
        for shard in range(2):
            self.rebuild(site.agent, shard, "--republish")
        site.start()
        self.owns(site)
        load.check(self)
        epochs = {n: s["Epoch"] for n, s in site.status().items()}
        for shard in range(2):
            self.assertGreater(epochs[shard], before[shard]["Epoch"], "an epoch went back")
        self.check_joined(site)

    # A topic restored from a copy while the agent runs: SIGHUP lets the stopped shards look again.
    def test_restored(self):
        site, load = self.begun()
        site.stop()
        records = self.broker.read(site.topic("events"))
        self.make_anew(site, "events")
        site.start()
        for shard in range(2):
            self.wait_stopped(site, shard, "holds the log up to event 0 only", others=False)
        self.make_anew(site, "events")
        for shard in range(2):
            self.broker.produce_many(site.topic("events"), [(r.value, r.key, r.headers) for r in records
                                                            if r.partition == shard], partition=shard)
        site.signal(signal.SIGHUP)
        self.owns(site)
        load.check(self)
        self.check_joined(site)

    # Cut: the newest records are gone, from the middle of a command's events on. What stands there of that
    # command is void under the next claim; it is published again as a whole, and the rest behind it.
    def test_cut(self):
        site, load = self.begun()
        site.stop()
        records = self.broker.read(site.topic("events"))
        self.make_anew(site, "events")
        for shard in range(2):
            kept = [(r.value, r.key, r.headers) for r in records if r.partition == shard]
            if shard == 0:
                firsts = [i for i, (_, _, headers) in enumerate(kept) if b";1/2;" in dict(headers).get("ce_command", b"")]
                kept = kept[:firsts[len(firsts) // 2] + 1]
            self.broker.produce_many(site.topic("events"), kept, partition=shard)
        site.start()
        self.wait_stopped(site, 0, "holds the log up to event", "was emptied, made anew or cut", "rebuild --republish")
        self.rebuild(site.agent, 0, "--republish")
        site.start()
        self.owns(site)
        logs = load.check(self)
        self.assertEqual(logs[0].void, 1)
        self.check_joined(site)

    # Made anew under a running agent: noticed with the next event, which is not answered before the log is
    # whole again.
    def test_anew_running(self):
        site, load = self.begun()
        replies = site.topic("replies")
        before = [self.broker.watermarks(replies, shard)[1] for shard in range(2)]
        self.make_anew(site, "events")
        ids = [site.send("RegisterDevice", {"ResourceID": self.devices[shard][1], "Name": "new"}) for shard in range(2)]
        for shard in range(2):
            self.wait_stopped(site, shard, "holds the log up to event 0 only", "rebuild --republish", others=False)
        self.assertEqual([self.broker.watermarks(replies, shard)[1] for shard in range(2)], before)
        for shard in range(2):
            self.rebuild(site.agent, shard, "--republish")
        site.start()
        for id in ids:
            self.assertEqual(site.answer(id).data["Outcome"], "accepted")
        load.check(self)
        self.check_joined(site)

    # Deleted under a running agent and not made again.
    def test_deleted_running(self):
        site, load = self.begun()
        settings = self.broker.topic_config(site.topic("events"))
        self.broker.delete_topic(site.topic("events"))
        site.forget()
        id = site.send("RegisterDevice", {"ResourceID": self.devices[0][1], "Name": "new"})
        wait_until(lambda: site.status()[0]["Role"] in ("stopped", "claiming") and site.status()[0]["Reason"], 40,
                   "the alarm", site)
        self.assertIn(site.topic("events"), site.status()[0]["Reason"])
        site.stop()
        self.broker.create_topic(site.topic("events"), 2, settings)
        for shard in range(2):
            self.rebuild(site.agent, shard, "--republish")
        site.start()
        self.assertEqual(site.answer(id).data["Outcome"], "accepted")
        load.check(self)

    # The store knows answered events that the topic has otherwise: nothing is dropped, both versions are named.
    # Whoever decides for the topic gets its content; the witness has to be taken away by hand.
    def test_another_history(self):
        site, load = self.begun(60)
        site.stop()
        shutil.copytree(site.data_dir, site.folder / "copy")
        site.start()
        answers = [self.ask(site, 0, name=f"first {n}").data for n in range(3)]
        site.stop()
        mine = self.content(site.agent)
        # The copy takes over topics made anew and goes on otherwise.
        self.make_anew(site, "events")
        self.make_anew(site, "commands")
        other = self.copied_agent(site)
        for shard in range(2):
            self.rebuild(other, shard, "--republish")
            self.rebuild(other, shard, "--commands-from", "earliest")
        other.start()
        for number in range(9):
            site.send("RegisterDevice", {"ResourceID": self.devices[0][0], "Name": f"second {number}"})
        wait_until(lambda: other.status()[0]["Lag"] == 0, 20, "the other history", other)
        theirs = self.content(other)
        other.stop()
        site.start()
        first = answers[0]["Sequence"]
        self.wait_stopped(site, 0, "store and topic differ at event", "rebuild --from-topic", others=False)
        self.assertGreaterEqual(self.content(site.agent)[0][0], mine[0][0])
        self.assertIn("first 0", site.cli("log", "--shard", 0, "--from", first, "--to", first,
                                                                "--ndjson").out)
        # A --republish by mistake drops nothing, either.
        self.rebuild(site.agent, 0, "--republish")
        site.start()
        self.wait_stopped(site, 0, "store and topic differ at event", others=False)
        self.assertEqual(self.content(site.agent)[0], mine[0])
        self.rebuild(site.agent, 0, "--from-topic")
        site.start()
        self.wait_stopped(site, 0, "is not the one that stood in the log before", "shard-0.witness", others=False)
        site.stop()
        (site.data_dir / "shard-0.witness").unlink()
        self.rebuild(site.agent, 1, "--commands-from", "earliest")
        site.start()
        self.owns(site)
        self.assertEqual(self.content(site.agent), theirs)

    # Store and topic both lost their end, which the witness remembers.
    def test_both_short(self):
        site, load = self.begun(60)
        site.stop()
        records = self.broker.read(site.topic("events"), 0)
        shutil.copytree(site.data_dir / "shard-0", site.folder / "copy")
        site.start()
        self.ask(site, 0)
        site.stop()
        others = self.broker.read(site.topic("events"), 1)
        self.make_anew(site, "events")
        for some in (records, others):
            self.broker.produce_many(site.topic("events"), [(r.value, r.key, r.headers) for r in some],
                                     partition=some[0].partition)
        shutil.rmtree(site.data_dir / "shard-0")
        shutil.copytree(site.folder / "copy", site.data_dir / "shard-0")
        site.start()
        self.wait_stopped(site, 0, "both lost their end", "shard-0.witness")
        site.stop()
        (site.data_dir / "shard-0.witness").unlink()
        site.start()
        self.owns(site)
        self.check_joined(site)


class Cut(LostTopics):
    """The broker dies and comes back without the newest records of a partition, as after a power cut."""

    def cut(self, *cuts):
        """Kills the broker, takes the batches of each topic's partition 0 from an offset on away, starts it again;
        returns where the last of them ends now. cuts: (topic, offset)"""
        broker = self.broker
        broker.kill()
        ends = [broker.cut_log(topic, 0, end) for topic, end in cuts]
        broker.start()
        return ends[-1]

    def ahead(self):
        """A site in full flight, killed while its store was ahead of what it knew the topic to hold: what it had
        published was on its way, and has arrived since."""
        site, proxy = self.proxied_site(shards=2)
        _, load = self.begun(site=site)
        end = self.broker.watermarks(site.topic("events"), 0)[1]
        proxy.hold(site.topic("events"))
        load.send(1000)
        wait_until(lambda: site.status()[0]["Sequence"] > site.status()[0]["Published"] + 10, 30, "a tail", site)
        site.kill()
        proxy.release()
        wait_until(lambda: self.broker.watermarks(site.topic("events"), 0)[1] > end + 5, 30, "what was held", site)
        return site, load, site.status()[0]

    def test_events_below_the_mark(self):
        """Events that were answered are gone from the topic, under a running agent: it stops and says so, before
        anything is answered that rests on them; what it says to do publishes the log again."""
        site, load = self.begun()
        for number in range(3):
            self.ask(site, 0, name=f"A{number}")
        last = site.status()[0]["Sequence"]
        end = self.cut((site.topic("events"), site.events(0)[-2].offset))
        id = site.send("RegisterDevice", {"ResourceID": self.devices[0][1], "Name": "new"})
        self.wait_stopped(site, 0, "holds the log up to event", f"had acknowledged event {last}",
                          "was emptied, made anew or cut", "rebuild --republish")
        self.assertEqual(site.answers(id), [])
        self.assertGreater(end, 50)
        self.rebuild(site.agent, 0, "--republish")
        site.start()
        self.owns(site)
        self.assertEqual(site.answer(id).data["Outcome"], "accepted")
        load.check(self)
        self.check_joined(site)

    def test_events_above_the_mark(self):
        """Only events that nobody was answered about are gone: the agent publishes them again by itself."""
        site, load, state = self.ahead()
        log = read_logs(site)[0].events
        self.assertGreater(len(log), state["Published"])
        self.cut((site.topic("events"), log[state["Published"] - 1].offset + 1))
        self.assertEqual(len(read_logs(site)[0].events), state["Published"])
        site.start()
        self.owns(site)
        load.check(self)
        self.check_joined(site)

    def following(self):
        """A site whose first agent follows and has all, and the second one, which owns."""
        site, load = self.begun()
        second = site.another()
        for name in ("A0", "A1", "A2"):
            for shard in range(2):
                self.ask(site, shard, name=name)
        wait_until(lambda: {s["Role"] for s in site.status().values()} == {"follower"}
                   and self.content(site.agent) == self.content(second), 30, "a follower that has all", site)
        return site, second

    def test_published_again(self):
        """Events are gone that a follower has read; where they stood the owner claims, and publishes them again behind
        that. The follower, which looked away meanwhile, would take all that follows for a stranger's."""
        site, second = self.following()
        site.signal(signal.SIGSTOP)
        self.cut((site.topic("events"), site.events(0)[-3].offset))
        site.forget()
        self.wait_stopped(second, 0, "holds the log up to event", others=False)
        self.rebuild(second, 0, "--republish")
        second.start()
        for name in ("B0", "B1", "B2"):
            self.ask(site, 0, name=name)
        site.signal(signal.SIGCONT)
        wait_until(lambda: self.content(site.agent)[0] == self.content(second)[0], 30, "the follower", site)

    def test_filled_up_again(self):
        """Commands and events are gone, and another owner, who never had them, fills the topics up again: a follower
        that had read them sees that its last record is not there any more, and stops with both versions named."""
        site, load = self.begun()
        site.stop()
        shutil.copytree(site.data_dir, site.folder / "copy")
        cuts = [(site.topic(what), self.broker.watermarks(site.topic(what), 0)[1]) for what in ("events", "commands")]
        site.start()
        second = site.another()
        for name in ("first 0", "first 1", "first 2"):
            answers = [self.ask(site, shard, name=name).data for shard in range(2)]
        wait_until(lambda: {s["Role"] for s in site.status().values()} == {"follower"}
                   and self.content(site.agent) == self.content(second), 30, "a follower that has all", site)
        second.stop()
        site.signal(signal.SIGSTOP)
        self.cut(*cuts)
        site.forget()
        third = self.copied_agent(site).start()
        for number in range(9):
            site.send("RegisterDevice", {"ResourceID": self.devices[0][0], "Name": f"second {number}"})
        wait_until(lambda: third.status()[0]["Lag"] == 0, 30, "the other history", third)
        site.signal(signal.SIGCONT)
        self.wait_stopped(site, 0, f"store and topic differ at event {answers[0]['Sequence'] - 2}", others=False)
        self.assertEqual(third.status()[0]["Role"], "owner")

    def test_commands_decided(self):
        """Commands that were decided are gone from the topic: offsets will be used again, so the agent stops."""
        site, load = self.begun()
        for number in range(3):
            self.ask(site, 0, name=f"A{number}")
        next_offset = site.status()[0]["CommandOffset"]
        end = self.cut((site.topic("commands"), next_offset - 2))
        site.forget()
        self.wait_stopped(site, 0, f"ends at offset {end}", f"has decided commands up to {next_offset - 1}",
                          "rebuild --commands-from")
        self.rebuild(site.agent, 0, "--commands-from", "latest")
        site.start()
        self.owns(site)
        self.assertEqual(self.ask(site, 0).data["Outcome"], "accepted")
        self.check_joined(site)

    def test_commands_not_yet_decided(self):
        """Commands that nobody has decided are gone: the agent cannot know of them, and goes on with what comes
        at their offsets."""
        site, load = self.begun()
        site.stop()
        offset = site.status()[0]["CommandOffset"]
        lost = [site.send("RegisterDevice", {"ResourceID": self.devices[0][1], "Name": f"lost {n}"}) for n in range(9)]
        self.assertEqual(self.cut((site.topic("commands"), offset)), offset)
        kept = site.send("RegisterDevice", {"ResourceID": self.devices[0][1], "Name": "kept"})
        site.start()
        self.assertEqual(site.answer(kept).data["Outcome"], "accepted")
        self.assertEqual([site.answers(id) for id in lost], [[]] * 9)
        load.check(self)
        self.check_joined(site)


class Cluster(LostTopics):

    # The brokers are those of another cluster, with topics of the same names: nothing is read from them or
    # written to them. Back at the right ones all goes on; or the log moves, when it is told so.
    def test_other_cluster(self):
        site, load = self.begun()
        site.stop()
        before = self.content(site.agent)
        settings = {name: (count, self.broker.topic_config(name)) for name, count in self.broker.topics().items()
                    if name.startswith(site.prefix + ".")}
        first = self.broker
        with Broker(cluster_id=OTHER_CLUSTER) as second:
            second.create_topics(settings)
            site.broker = second
            site.forget()
            site.write_config()
            ids = [site.send("RegisterDevice", {"ResourceID": self.devices[shard][1], "Name": "new"})
                   for shard in range(2)]
            site.start()
            for shard in range(2):
                self.wait_stopped(site, shard, f"the brokers belong to cluster {OTHER_CLUSTER}",
                                  "Is bootstrap.servers right?", "rebuild --republish", others=False)
            self.assertEqual(second.read(site.topic("events")), [])
            site.stop()

            site.broker = first
            site.forget()
            site.write_config()
            site.start()
            self.owns(site)
            self.assertEqual(self.ask(site, 0).data["Outcome"], "accepted")
            site.stop()
            before = self.content(site.agent)

            site.broker = second
            site.forget()
            site.write_config()
            for shard in range(2):
                self.rebuild(site.agent, shard, "--republish")
            site.start()
            for shard in range(2):
                self.wait_stopped(site, shard, "ends at offset 1", "rebuild --commands-from earliest", others=False)
            for shard in range(2):
                self.rebuild(site.agent, shard, "--commands-from", "earliest")
            site.start()
            self.owns(site)
            for id in ids:
                self.assertEqual(site.answer(id).data["Outcome"], "accepted")
            logs = read_logs(site)
            for shard in range(2):
                self.assertEqual(logs[shard].events[before[shard][0] - 1].chain.decode(), before[shard][1])
            self.check_joined(site)
            for agent in site.agents:
                agent.kill()


class Silence(LostTopics):

    def silenced(self):
        """A site in the middle of its work, whose broker is frozen."""
        site = self.site(shards=2)
        load = Load(site)
        load.send(4000)
        wait_until(lambda: sum(self.broker.watermarks(site.topic("replies"), s)[1] for s in range(2)) > 100, 30,
                   "answers", site)
        self.broker.freeze()
        return site, load

    # No acknowledgement for five seconds: an alarm in log and status; when the broker is back, all goes on by
    # itself and the alarm is over.
    def test_alarm(self):
        site, load = self.silenced()
        try:
            site.wait_log("the oldest unacknowledged event is", 30)
            self.assertIn("min.insync.replicas", site.log_text())
            alarmed = [s for s in site.status().values() if "the oldest unacknowledged event" in (s["Reason"] or "")]
            self.assertTrue(alarmed)
            self.assertEqual({s["Role"] for s in alarmed}, {"owner"})
        finally:
            self.broker.thaw()
        load.check(self)
        site.wait_log("the brokers acknowledge events again", 20)
        wait_until(lambda: not any(s["Reason"] for s in site.status().values()), 20, "the end of the alarm", site)

    # SIGTERM while the broker is silent: ten seconds hold all the same, and nothing is lost.
    def test_stop(self):
        site, load = self.silenced()
        try:
            began = time.monotonic()
            site.stop()
            self.assertLess(time.monotonic() - began, 10)
        finally:
            self.broker.thaw()
        site.start()
        load.check(self)


if __name__ == "__main__":
    unittest.main()
