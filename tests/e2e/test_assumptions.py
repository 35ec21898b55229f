"""What the rules of who may write (docs/architecture.md, tests/claims) assume of the client library and of a
real broker, each by itself: connections that break, offsets in delivery reports, what a reader sees, records
that arrive late.

The first classes drive agent/kafka alone, by build/tests/assumptions_driver; the last ones whole agents.

SPDX-License-Identifier: Apache-2.0
"""

import json
import random
import signal
import subprocess
import time
import unittest

from kafka_proxy import Proxy
from kinlog_fixture import KINLOG, KinlogTest, wait_until
from load import Load, read_logs

DRIVER = KINLOG.parent / "tests" / "assumptions_driver"
DUPLICATE_SEQUENCE_NUMBER = 46  # "I have it", said without its offset


class Driver:
    """One sink, in a process of its own."""

    def __init__(self, bootstrap, topic, role):
        self._process = subprocess.Popen([str(DRIVER), bootstrap, topic, "0", role], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True)

    def begin(self, *words):
        """A command whose answer is taken by end()."""
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()

    def end(self):
        return json.loads(self._process.stdout.readline())

    def do(self, *words):
        self.begin(*words)
        return self.end()

    def close(self):
        self._process.kill()
        self._process.communicate()


class SinkTest(KinlogTest):
    broker_proxied = True
    _topics = 0

    def setUp(self):
        SinkTest._topics += 1
        self.topic = f"assumed{SinkTest._topics}"
        self.broker.create_topic(self.topic)

    def driver(self, role, bootstrap=None):
        driver = Driver(bootstrap or self.broker.bootstrap, self.topic, role)
        self.addCleanup(driver.close)
        return driver

    def proxy(self):
        proxy = Proxy(self.broker)
        self.addCleanup(proxy.close)
        return proxy

    def values(self):
        """{offset: value} of what stands in the topic."""
        return {record.offset: record.value.decode() for record in self.broker.read(self.topic)}

    def wait_end(self, end):
        wait_until(lambda: self.broker.watermarks(self.topic, 0)[1] >= end, 60, f"offset {end} in {self.topic}")


class Break(SinkTest):
    """R3: a broken connection is noticed before any later report, and ends the sink of the log."""

    def test_reports_behind_a_break_are_not_taken(self):
        """The connection breaks under records of which no report was taken yet; the library sends them again
        and all arrive: the sink has failed, and reports none of them."""
        proxy = self.proxy()
        end = 0
        for _ in range(10):
            driver = self.driver("log", proxy.bootstrap)
            driver.do("send", 50)
            before = driver.do("wait", 60000)
            self.assertEqual((len(before["reports"]), before["failed"]), (50, None))
            driver.do("send", 20)
            time.sleep(random.uniform(0, 0.004))
            proxy.cut()
            proxy.mend()
            end += 70
            self.wait_end(end)
            after = driver.do("wait", 1000)
            self.assertEqual(after["reports"], [])
            self.assertRegex(after["failed"], "the connection to broker 1 .* broke")
            self.assertLess(driver.do("send", 1)["code"], 0)
            driver.close()

    def test_reports_while_it_breaks(self):
        """An owner that takes reports all the time gets only those that came over the first connection."""
        proxy = self.proxy()
        for round in range(5):
            driver = self.driver("log", proxy.bootstrap)
            taken = len(proxy.acknowledged)
            driver.begin("stream", 100000)     # until it breaks, however many records a request takes
            wait_until(lambda: len(proxy.acknowledged) > taken + 20 * round + 5, 60, "acknowledgements")
            proxy.cut()
            acknowledged = proxy.acknowledged[taken:]
            proxy.mend()
            found = driver.end()
            self.assertRegex(found["failed"], "the connection to broker 1 .* broke")
            self.wait_end(acknowledged[-1] + 1)
            values = self.values()
            for tag, offset, code in found["reports"]:
                self.assertEqual((code, values[offset]), (0, str(tag)))
            reported = [offset for _, offset, _ in found["reports"]]
            later = [base for base in proxy.acknowledged[taken + len(acknowledged):] if base > acknowledged[-1]]
            if later and reported:
                self.assertLess(reported[-1], later[0])
            driver.close()

    def test_broker_killed(self):
        """The broker dies under records on their way and comes back: no report of the old producer any more,
        whatever arrived."""
        for count in (1, 500):
            driver = self.driver("log")
            driver.do("send", 100)
            self.assertEqual(len(driver.do("wait", 60000)["reports"]), 100)
            driver.do("send", count)
            self.broker.restart(kill=True)
            found = driver.do("wait", 5000)
            self.assertEqual(found["reports"], [])
            self.assertRegex(found["failed"], "the connection to broker 1 .* broke")
            driver.close()

    def test_idle_connection(self):
        """A connection that breaks while nothing is on its way ends the sink, too."""
        proxy = self.proxy()
        driver = self.driver("log", proxy.bootstrap)
        driver.do("send", 1)
        self.assertEqual(len(driver.do("wait", 60000)["reports"]), 1)
        proxy.cut()
        proxy.mend()
        wait_until(lambda: driver.do("wait", 10)["failed"], 20, "the failure")


class LostEnd(SinkTest):
    """Why a break ends the sink: what a broker says to a producer whose newest records it lost."""

    def cut(self, end):
        """A producer that goes on over breaks; then the partition loses what stands from `end` on."""
        broker, driver = self.broker, self.driver("outbox")
        for count in range(1, 4):
            driver.do("send", 10)
            found = driver.do("wait", 60000)
            self.assertEqual([o for _, o, _ in found["reports"]], list(range(10 * count - 10, 10 * count)))
        broker.kill()
        self.assertEqual(broker.cut_log(self.topic, 0, end), end)
        broker.start()
        self.assertEqual(broker.watermarks(self.topic, 0)[1], end)
        driver.do("send", 5)
        return driver.do("wait", 20000)

    def test_older_records_remain(self):
        """A producer of which older records remain is refused: none of its later records is taken."""
        found = self.cut(10)
        self.assertEqual([r for r in found["reports"] if r[2] == 0], [])
        self.assertEqual(list(self.values().values()), [str(n) for n in range(1, 11)])

    def test_none_remains(self):
        """One of which nothing remains is taken as if nothing had happened; only its broken connection tells."""
        found = self.cut(0)
        self.assertEqual([o for _, o, code in found["reports"] if code == 0], [0, 1, 2, 3, 4])


class Offsets(SinkTest):
    """The offsets in delivery reports are those at which the records stand."""

    def check(self, reports):
        """In the order of sending, and true; returns the offsets."""
        values = self.values()
        self.assertEqual([tag for tag, _, _ in reports], sorted(tag for tag, _, _ in reports))
        for tag, offset, code in reports:
            self.assertEqual((code, values.get(offset)), (0, str(tag)))
        return [offset for _, offset, _ in reports]

    def test_alone(self):
        """Of a lone writer: in order, dense, and true."""
        driver = self.driver("log")
        reports = []
        for count in (1, 1000, 2, 3000):
            driver.do("send", count)
            reports += driver.do("wait", 60000)["reports"]
        reports += driver.do("stream", 1000)["reports"]
        self.assertEqual(self.check(reports), list(range(5003)))

    def test_over_restarts(self):
        """A producer that goes on over the broker's death: what is reported stands where it says, once."""
        driver = self.driver("outbox")
        reports = []
        for _ in range(2):
            driver.do("send", 600)
            self.broker.restart(kill=True)
            found = driver.do("wait", 60000)
            self.assertEqual((found["pending"], found["failed"]), (0, None))
            reports += found["reports"]
        known = [report for report in reports if report[1] >= 0]
        self.check(known)
        self.assertEqual(len(self.values()), 1200)

    def test_two_writers(self):
        """With a second writer there are holes between the reports, exactly where the other's records stand: taking
        turns, and both at once."""
        drivers = [self.driver("log"), self.driver("log")]
        reports = [[], []]
        for turn in range(6):
            drivers[turn % 2].do("send", 2)
            reports[turn % 2] += drivers[turn % 2].do("wait", 60000)["reports"]
        self.assertEqual([self.check(found) for found in reports], [[0, 1, 4, 5, 8, 9], [2, 3, 6, 7, 10, 11]])
        for driver in drivers:
            driver.begin("stream", 1500)
        for found, driver in zip(reports, drivers):
            found += driver.end()["reports"]
        self.assertEqual(sorted(sum(map(self.check, reports), [])), list(range(3012)))

    def test_unknown(self):
        """A broker that has the records already says so without an offset: then no offset is reported, for
        none of them."""
        proxy = self.proxy()
        for role in ("log", "outbox"):
            driver = self.driver(role, proxy.bootstrap)
            driver.do("send", 5)
            driver.do("wait", 60000)
            proxy.forge(DUPLICATE_SEQUENCE_NUMBER)
            driver.do("send", 2000)
            found = driver.do("wait", 60000)
            self.assertEqual(len(found["reports"]), 2000)
            self.assertEqual({(offset, code) for _, offset, code in found["reports"]}, {(-1, 0)})
            proxy.forge(None)
            driver.do("send", 10)
            self.check(driver.do("wait", 60000)["reports"])


class Reading(SinkTest):
    """A claimant reads up to its claim, and sees all that stands before it."""

    def test_visible(self):
        """As soon as a claim is reported, the record at its offset has its id, and nothing before it is
        missing, though others write at the same time."""
        claimant, other = self.driver("log"), self.driver("log")
        other.begin("stream", 3000)
        seen = {}
        for number in range(25):
            claim = f"{number:032x}"
            claimant.do("claim", claim)
            [[_, offset, _]] = claimant.do("wait", 60000)["reports"]
            records = claimant.do("read", len(seen), offset)["records"]
            self.assertEqual(records[-1], [offset, claim])
            seen.update(records)
            self.assertEqual(sorted(seen), list(range(offset + 1)))
        other.end()
        self.assertEqual({offset: value for offset, value in self.values().items() if offset in seen}, seen)


class LateRecords(KinlogTest):
    """Records of a producer that is dead or deposed arrive behind the claim of the new owner: void for all."""

    broker_proxied = True

    def begun(self):
        site, proxy = self.proxied_site()
        load = Load(site)
        load.send(200)
        load.wait_answers(self)
        return site, proxy, load

    def content(self, agent):
        return [(s["Sequence"], s["Chain"], s["Digests"]) for s in agent.status().values()]

    def late(self, sig):
        """The first agent's records are held back, it gets a signal; the second takes over and goes on; then
        they arrive."""
        site, proxy, load = self.begun()
        first = site.agent
        proxy.hold(site.topic("events"))
        load.send(300)
        self.assertTrue(proxy.holds.wait(60))
        wait_until(lambda: first.status()[0]["Sequence"] > first.status()[0]["Published"], 30, "a tail", first)
        first.signal(sig)
        second = site.another()
        load.wait_answers(self)
        before = self.broker.watermarks(site.topic("events"), 0)[1]
        proxy.release()
        wait_until(lambda: self.broker.watermarks(site.topic("events"), 0)[1] > before + 10, 30, "late records", second)
        return site, first, second, load

    def check(self, site, first, second, load):
        """What arrived late counts for nobody: not for the strict reader, the agents, or one who joins."""
        load.send(100)
        [log] = load.check(self).values()
        self.assertGreater(log.void, 10)
        wait_until(lambda: "void records of a stranger" in second.log_text(), 20, "the note", second)
        wait_until(lambda: second.status()[0]["Published"] == second.status()[0]["Sequence"], 20, "rest", second)
        self.assertEqual(second.status()[0]["Role"], "owner")
        second.stop()
        if first.running:
            wait_until(lambda: self.content(first) == self.content(second), 30, "equal stores", first)
            first.stop()
        fresh = site.another("fresh")
        self.assertEqual(self.content(fresh), self.content(second))

    def test_killed(self):
        """Of an agent that was killed."""
        site, first, second, load = self.late(signal.SIGKILL)
        first.wait()
        self.check(site, first, second, load)

    def test_paused(self):
        """Of an agent that was stopped in its tracks, and goes on: it finds itself deposed."""
        site, first, second, load = self.late(signal.SIGSTOP)
        first.signal(signal.SIGCONT)
        wait_until(lambda: first.status()[0]["Role"] == "follower", 60, "the deposed owner to follow", first)
        self.check(site, first, second, load)

    def test_unknown_offset(self):
        """An owner that gets a report without an offset claims anew, and nothing is lost or doubled."""
        site, proxy, load = self.begun()
        proxy.forge(DUPLICATE_SEQUENCE_NUMBER)
        load.send(100)
        site.wait_log("its offset is unknown", 60)
        proxy.forge(None)
        [log] = load.check(self).values()
        self.assertGreater(len(log.claims), 1)
        self.assertEqual(read_logs(site)[0].void, 0)


if __name__ == "__main__":
    unittest.main()
