"""Brokers that are away, frozen, mute, unknown, or too few: the agent stays up, says so at a sensible pace, serves
reads, keeps its memory, and goes on by itself; nothing is lost or doubled.

OUTAGE_SECONDS (default 10) is how long they are away, BACKLOG (default 40000) how many commands wait meanwhile;
`make broker-away` takes 75 s and 200,000: beyond the library's own time limits, of which the longest is a minute.

SPDX-License-Identifier: Apache-2.0
"""

import json
import os
import socket
import threading
import time
import unittest

from kafka_cluster import Cluster
from kinlog_fixture import KinlogTest, wait_until
from load import Load

OUTAGE_S = float(os.environ.get("OUTAGE_SECONDS", "10"))
BACKLOG = int(os.environ.get("BACKLOG", "40000"))
# Until the first answer after the brokers' return. Five seconds are meant; the machine has other things to do.
BACK_S = 15
OLDEST = "the oldest unacknowledged event is"
UNCLAIMED = "the broker has not acknowledged the claim"


def resident_mb(agent):
    for line in open(f"/proc/{agent.pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


class Outage:
    """Looks at an agent while its brokers are away."""

    def __init__(self, test, site, known=None):
        """known: how many lines of the log were before it, if some of its own are there already."""
        self.test, self.site = test, site
        self.known = len(site.log_text().splitlines()) if known is None else known
        self.began = time.monotonic()
        self.before_mb = self.most_mb = resident_mb(site.agent)
        self.reads = 0

    def read_all(self):
        """Everything that reads the data folder, with the agent beside it."""
        for words in (("status",), ("list", "devices", "--limit", "3"), ("get", "device", "1000"), ("log", "--to", "3")):
            result = self.site.cli(*words, "--json")
            self.test.assertEqual(result.code, 0, f"kinlog {words[0]}: {result.err}")
        self.reads += 1
        self.most_mb = max(self.most_mb, resident_mb(self.site.agent))

    def watch(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.read_all()
            time.sleep(0.2)
        self.test.assertTrue(self.site.running, self.site.log_tail())

    def lines(self):
        return self.site.log_text().splitlines()[self.known:]

    def check_lines(self, causes):
        """Each cause at once, and once a minute."""
        most = causes * (1 + int((time.monotonic() - self.began) / 60))
        self.test.assertLessEqual(len(self.lines()), most, "\n".join(self.lines()))
        self.test.assertGreater(len(self.lines()), 0)

    def check_memory(self, growth_mb):
        self.test.assertLess(self.most_mb - self.before_mb, growth_mb)

    def tell(self, what):
        print(f"      {what}: {len(self.lines())} lines, {self.before_mb:.0f} to {self.most_mb:.0f} MB resident, "
              f"{self.reads} times read")


class Away(KinlogTest):

    def busy_site(self, count=3000, answered=200, **options):
        """A site that has answered some of count commands and is at work on the rest."""
        site = self.site(shards=2, **options)
        load = Load(site)
        load.send(300)
        load.wait_answers(self)
        load.send(count)
        wait_until(lambda: len(load.answers()) >= 300 + answered, 30, "answers", site)
        return site, load

    def take_away(self, way):
        """Kills or freezes the broker; give_back() ends it, as does the end of the test."""
        self.addCleanup(self.give_back)
        getattr(self.broker, way)()

    def give_back(self):
        """Returns when the broker answers; with the time of it."""
        if self.broker.running:
            self.broker.thaw()
            self.broker.wait_ready()
        else:
            self.broker.start()
        return time.monotonic()

    def check_back(self, site, began):
        """The first answer to a command that is sent now comes soon after the brokers' return."""
        device = next(d for d in range(1, 999) if site.shard_of(f"device:{d}") == 1)
        answer = site.ask("RegisterDevice", {"ResourceID": device, "Name": f"B{time.time_ns()}"}, timeout_s=60)
        self.assertEqual(answer.data["Outcome"], "accepted")
        took = time.monotonic() - began
        print(f"      answering {took:.1f} s after the return")
        self.assertLess(took, BACK_S, site.log_tail())

    def check_all(self, site, load):
        """Nothing is lost or doubled, and no alarm is left."""
        logs = load.check(self, timeout_s=120)
        wait_until(lambda: all(s["Role"] == "owner" and s["Reason"] is None for s in site.status().values()), 20,
                   "ownership", site)
        return logs

    # Started without a broker: it stays up, says why, is not ready, and begins when the broker is there.
    def test_away_at_start(self):
        for way in ("kill", "freeze"):
            with self.subTest(way):
                site, load = self.busy_site()
                load.wait_answers(self)
                site.kill()
                self.take_away(way)
                known = len(site.log_text().splitlines())
                site.start(wait=False)
                site.wait_log("waiting for the brokers")
                outage = Outage(self, site, known)
                outage.watch(OUTAGE_S)
                for shard in site.status().values():
                    self.assertEqual(shard["Role"], "claiming")
                    self.assertIn("waiting for the brokers", shard["Reason"])
                self.assertEqual(site.log_text().count("ready: owner"), 1)
                outage.tell(way)
                outage.check_lines(4)
                outage.check_memory(16)
                began = self.give_back()
                wait_until(lambda: site.log_text().count("ready: owner") == 2, 30, "readiness", site)
                self.check_back(site, began)
                load.send(200)
                self.check_all(site, load)

    # Gone, or frozen, in the middle of the work.
    def test_away_in_the_middle(self):
        for way in ("kill", "freeze"):
            with self.subTest(way):
                site, load = self.busy_site()
                outage = Outage(self, site)
                self.take_away(way)
                outage.watch(OUTAGE_S)
                outage.tell(way)
                outage.check_lines(12)
                outage.check_memory(32)
                began = self.give_back()
                self.check_back(site, began)
                load.send(200)
                logs = self.check_all(site, load)
                for log in logs.values():
                    self.assertLessEqual(len(log.claims), 4)

    # Told to stop while the broker is away: within ten seconds, with 0; what it owes follows after the start.
    def test_stop_while_away(self):
        for way in ("kill", "freeze"):
            with self.subTest(way):
                site, load = self.busy_site()
                self.take_away(way)
                time.sleep(1)
                site.stop()
                site.start(wait=False)
                site.wait_log("waiting for the brokers")
                site.stop()
                self.give_back()
                site.start()
                self.check_all(site, load)

    # An address at which nobody ever answers, or a name that nobody knows: the agent stays up and can be
    # stopped; with a good address beside it, it works.
    def test_no_use(self):
        with socket.socket() as mute:
            mute.bind(("127.0.0.1", 0))
            mute.listen(64)
            held = []
            threading.Thread(target=lambda: self.accept(mute, held), daemon=True).start()
            for address in (f"127.0.0.1:{mute.getsockname()[1]}", "no-such-host.invalid:9092"):
                with self.subTest(address):
                    site, load = self.busy_site(count=500)
                    load.wait_answers(self)
                    site.stop()
                    known = len(site.log_text().splitlines())
                    site.start("-X", f"kafka.bootstrap.servers={address}", wait=False)
                    site.wait_log("waiting for the brokers")
                    outage = Outage(self, site, known)
                    outage.watch(OUTAGE_S)
                    outage.tell(address)
                    outage.check_lines(4)
                    outage.check_memory(16)
                    site.stop()
                    site.start("-X", f"kafka.bootstrap.servers={address},{self.broker.bootstrap}")
                    load.send(200)
                    self.check_all(site, load)

    @staticmethod
    def accept(mute, held):
        try:
            while True:
                held.append(mute.accept())
        except OSError:
            pass  # the test is over


class Few(KinlogTest):
    """Three brokers, of which some go."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.start()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    @property
    def broker(self):
        return self.cluster

    def small_site(self, prefix):
        """Two shards. Broker 1 alone has commands and replies, all three have events."""
        placed = {"commands": [[1], [1]], "replies": [[1], [1]], "events": [[1, 2, 3], [2, 3, 1]]}
        settings = {"commands": {"message.timestamp.type": "LogAppendTime"}, "replies": {},
                    "events": {"min.insync.replicas": 2, "retention.ms": -1, "retention.bytes": -1}}
        for name, replicas in placed.items():
            self.cluster.create_placed(f"{prefix}.{name}", replicas, settings[name])
        site = self.site(shards=2, prefix=prefix)
        load = Load(site)
        load.send(4000)
        load.wait_answers(self)
        return site, load

    def replies(self, site):
        return sum(self.cluster.watermarks(site.topic("replies"), shard)[1] for shard in range(site.shards))

    # Two of three brokers are gone, events need two: commands pile up, no answer leaves, the alarm comes once a
    # minute; when the brokers are back, all is answered.
    def test_below_min_isr(self):
        site, load = self.small_site("few")
        outage = Outage(self, site)
        for number in (2, 3):
            self.cluster.nodes[number].kill()
        self.addCleanup(self.cluster.start)
        wait_until(lambda: self.cluster.in_sync(site.topic("events")) == [[1], [1]], 30, "one broker in sync", site)
        answered = len(load.answers())
        sent = 0
        while sent < BACKLOG or time.monotonic() < outage.began + OUTAGE_S:
            load.send(2000)
            sent += 2000
            outage.watch(0)
        wait_until(lambda: all(s["Reason"] for s in site.status().values()), 30, "the alarm", site)
        outage.read_all()
        outage.tell(f"below min ISR, {sent} commands wait")
        self.assertEqual(len(load.answers()), answered, "an answer left that rests on one broker")
        replies = self.replies(site)
        minutes = 1 + int((time.monotonic() - outage.began) / 60)
        for shard, state in site.status().items():
            said = [line for line in outage.lines()
                    if f'"shard {shard}"' in line and (OLDEST in line or UNCLAIMED in line)]
            self.assertIn(len(said), range(1, 2 * minutes + 1), said)
            self.assertTrue(OLDEST in state["Reason"] or UNCLAIMED in state["Reason"], state)
            self.assertLessEqual(state["Sequence"] - state["Published"], 12000)
        outage.check_lines(16)
        outage.check_memory(64)  # of which each shard's consumer holds 16 MB of commands
        for number in (2, 3):
            self.cluster.nodes[number].start()
        wait_until(lambda: min(map(len, self.cluster.in_sync(site.topic("events")))) >= 2, 60, "brokers in sync", site)
        began = time.monotonic()
        wait_until(lambda: self.replies(site) > replies, 60, "an answer", site)
        print(f"      answering {time.monotonic() - began:.1f} s after the return")
        self.assertLess(time.monotonic() - began, BACK_S, site.log_tail())
        while any(shard["Lag"] != 0 for shard in site.status().values()):
            outage.watch(1)
        print(f"      all decided {time.monotonic() - began:.1f} s after the return, at most {outage.most_mb:.0f} MB")
        outage.check_memory(160)
        load.check(self, timeout_s=180)

    # The controller is gone, the brokers are there: nothing is to be noticed.
    def test_controller_away(self):
        site, load = self.small_site("control")
        wait_until(lambda: self.cluster.in_sync(site.topic("events")) == [[1, 2, 3]] * 2, 30, "all brokers", site)
        self.cluster.nodes[4].kill()
        self.addCleanup(self.cluster.start)
        outage = Outage(self, site)
        load.send(1000)
        load.wait_answers(self)
        outage.watch(OUTAGE_S)
        self.assertEqual(outage.lines(), [])
        self.cluster.start()
        load.send(1000)
        for log in load.check(self).values():
            self.assertEqual(len(log.claims), 1)


if __name__ == "__main__":
    unittest.main()
