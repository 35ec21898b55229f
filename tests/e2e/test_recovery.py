"""Stops, kills, restarts, and two agents on the same shards: every command is answered, none counts twice.

SPDX-License-Identifier: Apache-2.0
"""

import base64
import json
import shutil
import signal
import time
import unittest

from kafka_broker import Record
from kinlog_fixture import KinlogTest, wait_until
from load import Load, read_logs
from strict_reader import Event, base64url, next_chain, read_log


class Recovery(KinlogTest):

    def wait_answered(self, site, count, what="replies"):
        """Waits until a topic holds so many records."""
        def held():
            return sum(self.broker.watermarks(site.topic(what), shard)[1] for shard in range(site.shards))
        wait_until(lambda: held() >= count, 30, f"{count} records in {what}", site)

    # SIGTERM under load: the agent ends within ten seconds with 0; after the next start every command has its
    # answer, once, or marked as repeated. Undisturbed and stopped in order, nothing is answered twice.
    def test_stop_under_load(self):
        site = self.site(shards=2)
        load = Load(site)
        load.start(4000)
        for count in (300, 2000):
            self.wait_answered(site, count)
            began = time.monotonic()
            site.stop()
            self.assertLess(time.monotonic() - began, 10)
            site.start()
        load.check(self)
        again = {id: len(found) for id, found in load.answers().items()}
        self.assertTrue(all(n == (2 if int(id.rsplit("-", 1)[1]) % 11 == 5 else 1) for id, n in again.items()),
                        "after an orderly stop something was answered twice")
        self.check_joined(site)

    # Killed again and again under load.
    def test_kill_under_load(self):
        site = self.site(shards=2)
        load = Load(site)
        load.start(6000)
        for count in (100, 900, 2100, 3300, 4500):
            self.wait_answered(site, count)
            site.restart(kill=True)
        logs = load.check(self)
        for log in logs.values():
            self.assertEqual(len(log.claims), 6)
        self.check_joined(site)

    # SIGHUP: new connections, same process; nothing is lost, and systemd is told when it is ready again.
    def test_reload(self):
        site = self.site(shards=2)
        load = Load(site)
        load.start(1500)
        pid = site.pid
        for times in (1, 2):
            self.wait_answered(site, 400 * times)
            site.signal(signal.SIGHUP)
            wait_until(lambda: site.log_text().count("ready: owner of 2 of 2 shards") == times + 1, 20,
                       "readiness", site)
            self.assertEqual(len(site.claims()), 2 * (times + 1))
        logs = load.check(self)
        self.assertEqual([len(log.claims) for log in logs.values()], [3, 3])
        self.assertEqual(site.pid, pid)

    # The broker dies in the middle and comes back: the agent claims anew and goes on by itself.
    def test_broker_killed(self):
        site = self.site(shards=2)
        load = Load(site)
        for count in (500, 1000):
            load.send(500)
            if count == 500:
                self.wait_answered(site, 100)
            self.broker.restart(kill=True)
        load.check(self)
        self.assertTrue(site.running)
        wait_until(lambda: all(s["Role"] == "owner" and s["Reason"] is None for s in site.status().values()), 20,
                   "ownership", site)
        self.check_joined(site)

    # A store that is gone is not made anew by itself; `rebuild --from-topic` refills it from the topic, the
    # other shard goes on meanwhile.
    def test_store_lost(self):
        site = self.site(shards=2)
        load = Load(site)
        load.send(600)
        load.wait_answers(self)
        self.wait_done(site.agent, 2)
        site.stop()
        before = self.content(site.agent)
        shutil.rmtree(site.data_dir / "shard-0")
        site.start()
        wait_until(lambda: "shard 0" in site.log_text() and "needs an operator" in site.log_text(), 20,
                   "the alarm", site)
        self.assertFalse((site.data_dir / "shard-0").exists(), "the run path made a store")
        other = next(d for d in range(1, 99) if site.shard_of(f"device:{d}") == 1)
        self.assertEqual(site.ask("RegisterDevice", {"ResourceID": other, "Name": "A"}).data["ReturnValue"], 0)
        site.stop()
        rebuilt = site.cli("rebuild", "--from-topic", "--shard", "0")
        self.assertEqual(rebuilt.code, 0, rebuilt.err)
        site.start()
        self.wait_done(site.agent, 2)
        self.assertEqual(self.content(site.agent)[0], before[0])
        load.send(300)
        load.check(self)
        self.check_joined(site)

    # An old copy of a store is put back: the shard catches up from the topic, and answers nothing anew.
    def test_old_copy(self):
        site = self.site()
        load = Load(site)
        load.send(200)
        load.wait_answers(self)
        site.stop()
        shutil.copytree(site.data_dir / "shard-0", site.folder / "copy")
        site.start()
        load.send(400)
        load.wait_answers(self)
        self.wait_done(site.agent, 1)
        site.stop()
        before = self.content(site.agent)
        shutil.rmtree(site.data_dir / "shard-0")
        shutil.copytree(site.folder / "copy", site.data_dir / "shard-0")
        site.start()
        self.assertEqual(self.content(site.agent), before)
        load.send(100)
        load.check(self)
        self.check_joined(site)


class TwoAgents(KinlogTest):

    def role(self, agent):
        return [shard["Role"] for shard in agent.status().values()]

    def wait_role(self, agent, role):
        wait_until(lambda: set(self.role(agent)) == {role}, 20, f"the role {role}", agent)

    # A repeat leaves no event: what the owner took before it died, and did not answer, the next one answers all the
    # same. It does not answer the commands between the two a second time for it.
    def test_repeat_that_the_other_took(self):
        site = self.site(shards=1, start=False)
        victim = site.victim()
        victim.start(wait=True)
        known = site.send("RegisterDevice", {"ResourceID": 1, "Name": "PC1"})
        first = site.answer(known)
        site.stop()
        site.send("RegisterDevice", {"ResourceID": 1, "Name": "PC1"}, id=known)
        site.send("RegisterDevice", {"ResourceID": 1, "Name": "other"}, id=known)
        site.send_raw(b"nonsense", partition=0)
        new = site.send("RegisterDevice", {"ResourceID": 2, "Name": "PC2"})
        victim.arm("publish.half", settle=True)
        victim.start()
        self.assertTrue(victim.wait_dead(20))
        self.assertEqual(len(site.answers()), 1)
        second = site.another()
        site.agent = second
        site.answer(new)
        wait_until(lambda: len(site.answers(known)) == 3, 20, "the answers to the repeats", second)
        self.assertEqual([answer.value for answer in site.answers(known) if answer.data["Outcome"] == "accepted"],
                         [first.value] * 2)
        self.assertEqual(len(site.answers(new)), 1)
        self.assertEqual([e.type for e in site.events(internal=True)].count("RecordDeadLettered"), 1)

    # The second agent takes over under load; the first says who has the shards, and follows; a restart takes
    # them back. No two valid events at one sequence, each command one effect, both stores equal.
    def test_takeover(self):
        site = self.site(shards=2)
        first = site.agent
        load = Load(site)
        load.start(3000)
        wait_until(lambda: len(load.answers()) > 300, 30, "answers", site)
        second = site.another()
        self.wait_role(second, "owner")
        load.wait()
        load.send(100)  # the first learns of the claim when it publishes
        load.wait_answers(self)
        self.wait_role(first, "follower")
        for number, shard in first.status().items():
            self.assertIn(f"process {second.pid}", shard["Reason"])
        self.assertIn(f"process {second.pid}", first.log_text())
        self.assertIn("following", first.log_text())

        load.start(1000)
        load.wait_answers(self)
        self.wait_equal(first, second)
        first.restart()
        self.wait_role(first, "owner")
        load.start(1000)
        load.wait_answers(self)
        self.wait_role(second, "follower")
        self.wait_equal(first, second)
        logs = load.check(self)
        for log in logs.values():
            self.assertEqual(len(log.claims), 3)
        for agent in (first, second):
            agent.stop()
            self.assertEqual(agent.cli("verify").code, 0)

    def wait_equal(self, first, second):
        def content(agent):
            return [(s["Sequence"], s["Chain"], s["Digests"]) for s in agent.status().values()]
        wait_until(lambda: content(first) == content(second), 20, "equal stores", second)

    # Both claim at once, several times, under load: in the end one has each shard, and nothing is doubled.
    def test_claims_at_once(self):
        site = self.site(shards=2)
        second = site.another()
        load = Load(site)
        load.start(2500)
        for times in range(1, 4):
            wait_until(lambda: len(load.answers()) > 400 * times, 30, "answers", site)
            for agent in site.agents:
                agent.signal(signal.SIGHUP)
        load.wait_answers(self)
        load.send(100)  # an owner learns that it is deposed when it publishes
        load.check(self)

        def settled():
            roles = [{agent.status()[number]["Role"] for agent in site.agents} for number in range(2)]
            return roles == [{"follower", "owner"}] * 2
        wait_until(settled, 20, "one owner for each shard", site)
        self.wait_equal(site.agent, second)

    # The owner is stopped in its tracks, another takes over, the first wakes up: it is deposed, whatever it
    # still publishes is void.
    def test_frozen_owner(self):
        site = self.site()
        load = Load(site)
        load.send(200)
        load.wait_answers(self)
        load.start(1500)
        wait_until(lambda: len(load.answers()) > 300, 30, "answers", site)
        site.signal(signal.SIGSTOP)
        second = site.another()
        load.wait_answers(self)
        site.signal(signal.SIGCONT)
        load.send(100)
        load.wait_answers(self)
        self.wait_role(site.agent, "follower")
        load.send(100)
        load.check(self)
        self.wait_equal(site.agent, second)

    # What strangers write into the events topic is void: forged events, claims of another log, garbage. The
    # owner steps over it and says so.
    def test_strangers(self):
        site = self.site()
        load = Load(site)
        load.send(50)
        load.wait_answers(self)
        events = site.topic("events")
        [claim] = site.claims()
        valid = site.events()[-1]
        forged = [(name, value) for name, value in valid.record.headers if name != "kinlog_epoch"]
        number = len(load.check(self)[0].events)
        for headers in (forged, forged + [("kinlog_epoch", b"0;" + b"0" * 32)],
                        [(n, f"0-{number + 1}".encode() if n == "ce_id" else v) for n, v in forged]):
            self.broker.produce(events, valid.value, key=valid.key, headers=headers, partition=0)
        self.broker.produce(events, claim.value.replace(claim.data["Log"].encode(), b"0" * 32), key=b"kinlog:claim",
                            partition=0)
        for key, value in ((b"kinlog:claim", b"{}"), (b"kinlog:claim", None), (b"kinlog:answered", b"{"),
                           (b"kinlog:other", b"x"), (None, None), (b"x", b"\xff\x00")):
            self.broker.produce(events, value, key=key, partition=0)
        load.send(50)
        logs = load.check(self)
        self.assertEqual(len(logs[0].claims), 1)
        self.assertIn("void records of a stranger", site.log_text())
        site.restart()
        load.send(50)
        load.check(self)
        self.assertEqual(site.cli("verify").code, 0)

    # A forged claim deposes the owner, which follows; no command is decided by nobody for ever: a restart
    # takes the shard back.
    def test_forged_claim(self):
        site = self.site()
        load = Load(site)
        load.send(50)
        load.wait_answers(self)
        [claim] = site.claims()
        forged = claim.value.replace(claim.data["Id"].encode(), b"f" * 32)
        self.broker.produce(site.topic("events"), forged, key=b"kinlog:claim", partition=0)
        load.send(50)
        self.wait_role(site.agent, "follower")
        site.restart()
        load.check(self)

    # Rules that only a newer version knows: this one does not decide under them, it follows. Once it knows of
    # them it no longer claims, so it takes the shard from nobody.
    def test_newer_rules(self):
        site = self.site()
        load = Load(site)
        load.send(20)
        load.wait_answers(self)
        site.stop()
        self.raise_rules(site)
        claims = len(site.claims())
        for times in (1, 2):
            site.start()
            shard = site.status()[0]
            self.assertEqual((shard["Role"], shard["Rules"]), ("follower", 2))
            self.assertIn("Run a newer version", shard["Reason"])
            self.assertEqual(len(site.claims()), claims + 1, "only the first start did not know")
            site.stop()
        site.start()
        sequence = self.raise_rules(site)
        wait_until(lambda: site.status()[0]["Sequence"] == sequence, 20, "the newer agent's event", site)
        self.assertEqual(site.status()[0]["Role"], "follower")

    def raise_rules(self, site):
        """Claims, and publishes a PolicyChanged, as an agent of a newer version would. Returns its sequence."""
        records = self.broker.read(site.topic("events"), partition=0)
        log = read_log(records)
        last, (_, _, claim) = log.events[-1], log.claims[-1]
        epoch = {**claim, "Id": f"{len(records):032x}", "Floor": len(records), "Rules": 2}
        self.broker.produce(site.topic("events"), json.dumps(epoch).encode(), key=b"kinlog:claim", partition=0)
        headers = {"ce_specversion": b"1.0", "content-type": b"application/json",
                   "ce_id": f"0-{last.sequence + 1}".encode(), "ce_source": last.headers["ce_source"],
                   "ce_type": b"kinlog.PolicyChanged.v1", "ce_time": last.headers["ce_time"],
                   "ce_subject": b"policy/core.rules", "ce_causationid": f"rules-{len(records)}".encode(),
                   "ce_causationsource": b"/newer",
                   "ce_command": f"{last.command_offset + 1};1/1;{'A' * 22};kinlog.SetPolicy.v1".encode(),
                   "ce_chain": b"", "kinlog_epoch": f"{len(records)};{epoch['Id']}".encode()}
        value = json.dumps({"Name": "core.rules", "Value": "2", "Revision": last.sequence}, separators=(",", ":"))
        event = Event(Record(None, 0, 0, 0, "", b"policy", value.encode(), list(headers.items())))
        headers["ce_chain"] = base64url(next_chain(base64.urlsafe_b64decode(last.chain + b"="), event))
        self.broker.produce(site.topic("events"), value.encode(), key=b"policy", headers=list(headers.items()),
                            partition=0)
        return event.sequence

    # Two valid events that differ at one sequence: nobody decides which is true. The shard stops and says so.
    def test_two_truths(self):
        site = self.site()
        load = Load(site)
        load.send(50)
        load.wait_answers(self)
        site.stop()
        last = read_logs(site)[0].events[-1]
        headers = [(n, b"A" * 43 if n == "ce_chain" else v) for n, v in last.record.headers]
        self.broker.produce(site.topic("events"), last.record.value, key=last.record.key, headers=headers, partition=0)
        site.start()
        shard = site.status()[0]
        self.assertEqual(shard["Role"], "stopped")
        self.assertIn(f"event {last.sequence}", shard["Reason"])
        self.assertEqual(shard["Sequence"], last.sequence, "the store was changed")
        self.assertIn(f"chain {last.chain.decode()} in the store, and", site.log_text())
        self.assertIn(f"chain {'A' * 43} in the topic", site.log_text())
        joined = site.another()
        shard = joined.status()[0]
        self.assertEqual(shard["Role"], "stopped")
        self.assertIn(f"sequence {last.sequence}", shard["Reason"])


if __name__ == "__main__":
    unittest.main()
