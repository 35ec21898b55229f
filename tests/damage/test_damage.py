#!/usr/bin/python3
"""A damaged data folder: what is served is exactly right or refused with the place named, and `repair` mends it.

Reference folders are filled by an agent on a real broker, whose topics stay; every test damages a copy. DAMAGE=ci tries a share of the places, DAMAGE=full (the default) all 2,000; SEED repeats a run.

SPDX-License-Identifier: Apache-2.0
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import unittest
from collections import Counter
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
sys.path.insert(0, str(ROOT / "tests" / "lib"))
sys.path.insert(0, str(ROOT / "tests" / "torture"))

import kinlog_fixture  # noqa: E402
from kinlog_fixture import Agent, KinlogTest, Site, end_module_broker, module_broker, wait_until  # noqa: E402
from load import Load  # noqa: E402
from victim import Victim  # noqa: E402

SHARDS = 2  # of the scenarios
FULL = os.environ.get("DAMAGE", "full") != "ci"
PLACES = 2000 if FULL else 200
REPAIRS = 60 if FULL else 12
RUNS = 20 if FULL else 4
SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
VARIANT = ROOT / os.environ.get("OUT", "build") / "variants" / "torture" / "kinlog"
SWEEP = ROOT / os.environ.get("OUT", "build") / "tests" / "damage" / "sweep"
SERVED = (["list", "relationships"], ["list", "devices"], ["list", "policy"], ["log"])


def tearDownModule():
    end_module_broker()


def wait_rest(site):
    wait_until(lambda: all(s["Lag"] == 0 and s["Published"] == s["Sequence"] for s in site.status().values()), 60,
               "rest", site)


def served_by(agent):
    """All that is served of the agent's folder, and its heads; None where it is refused."""
    served = {}
    for words in SERVED:
        result = agent.cli(*words, "--ndjson")
        served[" ".join(words)] = result.out if result.code == 0 else None
    return served


def heads_of(agent):
    return {shard: {name: state[name] for name in ("Sequence", "Chain", "Digests", "Rules")}
            for shard, state in agent.status().items()}


def newest(folder, pattern):
    """The newest of RocksDB's files of a kind that is not empty."""
    return max((path for path in folder.glob(pattern) if path.stat().st_size), key=lambda path: path.name)


def flip(path, *places):
    """One bit of the byte at each of these places (a part of the file's size)."""
    text = bytearray(path.read_bytes())
    for place in places:
        text[int(place * len(text))] ^= 4
    path.write_bytes(text)


def tables_of(folder, family):
    """The table files that belong to a family, the largest first."""
    return sorted((path for path in folder.glob("*.sst") if family in path.read_bytes()),
                  key=lambda path: -path.stat().st_size)


class Reference:
    """A folder with thousands of events in table files and in logs of writes, at rest, and the topics it came from."""

    def __init__(self, name, shards, commands=5000):
        self.site = Site(module_broker(__name__), shards, prefix=name)
        self.load = Load(self.site)
        self.older = self.site.folder / "older"
        self.site.init()
        for part, count in enumerate((commands // 2, commands // 4, commands // 4)):
            self.site.start()  # what the log of writes holds goes into table files
            self.load.send(count)
            wait_until(lambda: not self.load.unanswered(), 120, "all answers", self.site)
            if part == 2:
                self.site.ask("SetPolicy", {"Name": "devices.unknown", "Value": "stub"})
            wait_rest(self.site)
            self.site.stop()
            if part == 1:
                shutil.copytree(self.site.data_dir, self.older)
        self.served, self.heads = served_by(self.site.agent), heads_of(self.site.agent)


class DamageTest(KinlogTest):
    """Works on copies of a reference."""

    shards = SHARDS

    @classmethod
    def setUpClass(cls):
        print(f"      seed {SEED}: run again with SEED={SEED}", flush=True)
        cls.random = random.Random(SEED)
        cls.reference = Reference(cls.__name__.lower(), cls.shards)
        cls.addClassCleanup(cls.reference.site.close)
        cls.site_, cls.load = cls.reference.site, cls.reference.load
        cls.right, cls.heads = cls.reference.served, cls.reference.heads

    def copy(self, name="copy", of=None):
        """An agent on a copy of the reference."""
        agent = Agent(self.site_, f"{self._testMethodName}-{name}")
        shutil.copytree(of or self.site_.data_dir, agent.data_dir)
        self.addCleanup(shutil.rmtree, agent.folder, ignore_errors=True)
        self.addCleanup(agent.kill)
        return agent

    # ---- what must be true -----------------------------------------------------------------------------

    def assert_right(self, agent, note=""):
        """It is the reference again, to the byte."""
        verify = agent.cli("verify")
        self.assertEqual(verify.code, 0, note + verify.out + verify.err)
        self.assertEqual(heads_of(agent), self.heads, note)
        for what, text in served_by(agent).items():
            self.assertEqual(text, self.right[what], note + what)

    def assert_never_wrong(self, agent, note=""):
        """What is served is right, or refused."""
        for what, text in served_by(agent).items():
            self.assertIn(text, (None, self.right[what]), note + what)

    def assert_damaged(self, agent, *words):
        """`verify` says so in these words, and nothing wrong is served."""
        verify = agent.cli("verify")
        self.assertEqual(verify.code, 5, verify.out + verify.err)
        for word in words:
            self.assertIn(word, verify.out + verify.err)
        self.assert_never_wrong(agent, verify.out)

    def repair(self, agent, *options, code=0):
        """Its result in JSON: {shard: object}, if it ends with this code."""
        result = agent.cli("repair", "--json", *options)
        self.assertEqual(result.code, code, result.out + result.err)
        return {shard["Shard"]: shard for shard in json.loads(result.out)["Shards"]}

    def assert_repaired(self, agent, *results):
        """`repair` does this to the shards, and all is right afterwards."""
        done = self.repair(agent)
        self.assertEqual(tuple(shard["Result"] for shard in done.values()), results, done)
        self.assert_right(agent, str(done))
        return done

    def assert_heals(self, agent):
        """The agent itself brings it to the right state, and goes on."""
        agent.start()
        wait_until(lambda: all(s["Lag"] == 0 and s["Sequence"] >= self.heads[shard]["Sequence"]
                               for shard, s in agent.status().items()), 60, "the log", agent)
        agent.stop()
        self.assert_right(agent, agent.log_tail())

    def assert_halts(self, agent, *words, shard=0):
        """The shard stops with an alarm that says this; the other one owns."""
        agent.start(wait=False)
        agent.wait_log("needs an operator", 60)
        [line] = [line for line in agent.log_text().splitlines() if "needs an operator" in line]
        for word in (f"shard {shard}", *words):
            self.assertIn(word, line)
        agent.stop()


class Sweep(DamageTest):

    shards = 1  # opening one store costs half of opening two

    def sweep(self, places):
        """One dictionary per place."""
        work = self.site_.folder / "sweep"
        work.mkdir()
        shown = [word for id in list(self.load.commands)[::1999] for word in (self.load.source, id)]
        command = [str(SWEEP), str(self.site_.config_path), str(self.site_.data_dir), str(work), str(places),
                   str(SEED), "4", *shown[:4]]
        results = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=self.site_.environment) as process:
            for line in process.stdout:
                results.append(json.loads(line))
                if len(results) % 100 == 0:
                    print(f"      {len(results)} of {places} places", flush=True)
        self.assertEqual(process.returncode, 0)
        shutil.rmtree(work)
        self.assertEqual(len(results), places)
        return results

    def flipped(self, place, name):
        agent = self.copy(name)
        path = agent.data_dir / place["File"]
        text = bytearray(path.read_bytes())
        text[place["Offset"]] ^= 1 << place["Bit"]
        path.write_bytes(text)
        return agent

    def sample(self, places, count):
        """As many, of every kind of file."""
        kinds = {}
        for place in places:
            kinds.setdefault(re.sub(r"\d+", "", place["File"]), []).append(place)
        chosen = []
        while kinds and len(chosen) < count:
            for kind in sorted(kinds):
                chosen.append(kinds[kind].pop(self.random.randrange(len(kinds[kind]))))
                if not kinds[kind]:
                    del kinds[kind]
        return chosen[:count]

    # One flipped bit at each place: right or refused with the place named; then repaired or healed.
    def test_flipped_bits(self):
        size = sum(path.stat().st_size for path in self.site_.data_dir.rglob("*") if path.is_file())
        self.assertGreater(size, 1 << 20)
        places = self.sweep(PLACES)
        kinds = Counter((re.sub(r"\d+", "N", place["File"]), place["Result"]) for place in places)
        for (file, result), count in sorted(kinds.items()):
            print(f"      {file:28} {count:5} {result}")
        wrong = [place for place in places if place["Result"] not in ("right", "refused")]
        self.assertEqual(wrong, [])
        refused = [place for place in places if place["Result"] == "refused"]
        self.assertGreater(len(refused), PLACES // 4)
        for number, place in enumerate(self.sample(refused, REPAIRS)):
            with self.subTest(repaired=place):
                self.check_repaired(place, number)
        for number, place in enumerate(self.sample(places, RUNS)):
            with self.subTest(run=place):
                self.check_run(place, number)

    def check_repaired(self, place, number):
        agent = self.flipped(place, f"repair-{number}")
        if place["File"] == "site.key":
            refused = agent.cli("repair")
            self.assertIn(refused.code, (1, 2))
            self.assertIn("site.key", refused.err)
        else:
            self.repair(agent)
            self.assert_right(agent)
        shutil.rmtree(agent.folder)

    # The agent on the damaged folder: it does not start, a shard stops and names the place, or all is right.
    def check_run(self, place, number):
        agent = self.flipped(place, f"run-{number}")
        agent.start(wait=False)
        def settled():
            if not agent.running or "needs an operator" in agent.log_text():
                return True
            status = agent.cli("status", "--json")
            return status.code == 0 and all(s["Role"] == "owner" and s["Lag"] == 0
                                            for s in json.loads(status.out)["Shards"])
        wait_until(settled, 60, "the agent to settle", agent)
        if agent.running:
            agent.stop()
        self.assert_never_wrong(agent, agent.log_tail())
        shutil.rmtree(agent.folder)


class Scenarios(DamageTest):

    # ---- files removed, cut, exchanged -------------------------------------------------------------------

    # Without its newest log of writes the store opens, older than the witness: that is noticed, and healed.
    def test_newest_wal_removed(self):
        agent, other = self.copy("repaired"), self.copy("run")
        for each in (agent, other):
            newest(each.data_dir / "shard-0", "*.log").unlink()
            self.assert_damaged(each, "shard 0", "the witness knows event")
        self.assert_repaired(agent, "refilled", "sound")
        self.assert_heals(other)

    # A store that lacks any other file does not open; the shard stops, and the other one goes on.
    def test_newest_file_removed(self):
        for pattern, word in (("*.sst", ".sst"), ("MANIFEST-*", "MANIFEST"), ("CURRENT", "no store is there"),
                              ("*", "no store is there")):
            with self.subTest(pattern=pattern):
                agent = self.copy(f"without-{word.strip('.')}-{len(pattern)}")
                folder = agent.data_dir / "shard-0"
                if pattern == "*":
                    shutil.rmtree(folder)
                else:
                    newest(folder, pattern).unlink()
                self.assert_damaged(agent, "shard 0", word, "kinlog repair")
                self.assert_halts(agent, word, "kinlog repair")
                done = self.repair(agent)
                self.assertEqual([shard["Result"] for shard in done.values()], ["refilled", "sound"])
                self.assertEqual(done[0]["Kept"] is None, pattern == "*")
                self.assert_right(agent)

    # The log of writes cut at any length: a torn tail is accepted, what the topic has is taken from it again.
    def test_wal_cut(self):
        size = newest(self.site_.data_dir / "shard-0", "*.log").stat().st_size
        lengths = [size - 1, size - 8, size // 2, 32768 % size, 1, 0]
        lengths += [self.random.randrange(size) for _ in range(20 if FULL else 3)]
        for number, length in enumerate(lengths):
            with self.subTest(length=length, size=size):
                agent = self.copy(f"cut-{number}")
                os.truncate(newest(agent.data_dir / "shard-0", "*.log"), length)
                verify = agent.cli("verify")
                self.assertIn(verify.code, (0, 5), verify.out)
                if verify.code == 5:
                    self.assertIn("shard 0: DAMAGED", verify.out)
                self.assert_never_wrong(agent, verify.out)
                if number % 2:
                    self.assert_heals(agent)
                else:
                    self.repair(agent)
                    self.assert_right(agent)
                shutil.rmtree(agent.folder)

    # Whole folder of some time ago: right for its time; the agent catches up, and `repair` leaves that to it.
    def test_older_folder(self):
        agent = self.copy(of=self.reference.older)
        verify = agent.cli("verify")
        self.assertEqual(verify.code, 0, verify.out)
        self.assertEqual({shard["Result"] for shard in self.repair(agent).values()}, {"sound"})
        self.assert_heals(agent)

    # One store of some time ago beside a witness of today.
    def test_older_store(self):
        agent, other = self.copy("repaired"), self.copy("run")
        for each in (agent, other):
            shutil.rmtree(each.data_dir / "shard-1")
            shutil.copytree(self.reference.older / "shard-1", each.data_dir / "shard-1")
            self.assert_damaged(each, "shard 1", "the witness knows event")
        self.assert_repaired(agent, "sound", "refilled")
        self.assert_heals(other)

    # The folder of another shard, or of another log, in the place of the shard's own.
    def test_other_store(self):
        stranger = self.site(shards=SHARDS, start=False)
        for name, of in (("shard", self.site_.data_dir / "shard-1"), ("log", stranger.data_dir / "shard-0")):
            with self.subTest(of=name):
                agent = self.copy(name)
                shutil.rmtree(agent.data_dir / "shard-0")
                shutil.copytree(of, agent.data_dir / "shard-0")
                self.assert_damaged(agent, "shard 0", "the store holds shard", "was exchanged")
                self.assert_halts(agent, "the store holds shard", "kinlog repair")
                self.assert_repaired(agent, "refilled", "sound")

    # ---- the files beside the stores ------------------------------------------------------------------------

    # An older witness or none says less than it could: no harm. One that cannot be read is written anew.
    def test_witness(self):
        older, none, damaged = self.copy("older"), self.copy("none"), self.copy("damaged")
        shutil.copy(self.reference.older / "shard-0.witness", older.data_dir)
        (none.data_dir / "shard-0.witness").unlink()
        for agent in (older, none):
            self.assert_right(agent)
            self.assert_heals(agent)
            self.assertTrue((agent.data_dir / "shard-0.witness").exists())
        (damaged.data_dir / "shard-0.witness").write_text("5 0102\n")
        self.assert_damaged(damaged, "shard-0.witness is damaged")
        self.assert_halts(damaged, "shard-0.witness is damaged", "kinlog repair")
        self.assert_repaired(damaged, "witness", "sound")

    def test_description(self):
        """kinlog.json comes back from the topic and site.key."""
        for name, text in (("missing", None), ("empty", ""), ("other", '{"Format": 2, "Shards": 1}')):
            with self.subTest(name):
                agent = self.copy(name)
                path = agent.data_dir / "kinlog.json"
                right = path.read_text()
                path.unlink()
                if text is not None:
                    path.write_text(text)
                self.assert_never_wrong(agent)
                self.assertEqual(agent.cli("run", timeout_s=20).code, 1)
                self.assert_repaired(agent, "sound", "sound")
                self.assertEqual(path.read_text(), right)

    # Without the site key nobody can go on with the log, and nobody can make it anew.
    def test_site_key(self):
        agent = self.copy()
        path = agent.data_dir / "site.key"
        right = path.read_text()
        for text in (None, right.replace(right[7], "0" if right[7] != "0" else "1"), "x"):
            path.unlink()
            if text is None:
                self.assert_damaged(agent, "site.key")
            path.touch(mode=0o600)
            path.write_text(text or "")
            self.assert_damaged(agent, "site.key")
            for words in (["run"], ["repair"]):
                refused = agent.cli(*words, timeout_s=20)
                self.assertIn(refused.code, (1, 2))
                self.assertIn("site.key", refused.err)
        path.write_text(right)
        self.assert_right(agent)

    # ---- what repair does and does not ---------------------------------------------------------------------------

    # Sound: nothing is changed. In use, or no broker: it says so, and changes nothing.
    def test_nothing_to_do(self):
        agent = self.copy()
        before = {path: path.read_bytes() for path in agent.data_dir.rglob("*")
                  if path.is_file() and not path.name.startswith("LOG")}
        said = agent.cli("repair")
        self.assertEqual((said.code, said.out.count("nothing was changed")), (0, SHARDS), said.out + said.err)
        away = agent.cli("repair", "-X", "kafka.bootstrap.servers=127.0.0.1:1")
        self.assertEqual(away.code, 1, away.out + away.err)
        for path, text in before.items():
            self.assertEqual(path.read_bytes(), text, path)
        agent.start()
        in_use = agent.cli("repair")
        self.assertEqual(in_use.code, 1, in_use.out)
        self.assertIn("in use", in_use.err)

    # Views, receipts and digests come from the log in the store; the log itself from the topic.
    def test_what_is_made_anew(self):
        for family, result in ((b"views.1", "rebuilt"), (b"receipts.1", "rebuilt"), (b"log", "refilled")):
            with self.subTest(family=family):
                agent = self.copy(family.decode())
                flip(tables_of(agent.data_dir / "shard-0", family)[0], 0.3)
                self.assert_damaged(agent, "shard 0", "block checksum mismatch", ".sst")
                self.assert_repaired(agent, result, "sound")
                self.assert_heals(agent)

    # Damage that is met while the agent runs stops the shard and names the file; the other shard answers.
    def test_met_while_running(self):
        site = self.site(shards=SHARDS)
        load = Load(site)
        load.send(1500)
        load.wait_answers(self)
        wait_rest(site)
        site.restart()
        site.stop()
        for family in (b"views.1", b"receipts.1"):
            for table in tables_of(site.data_dir / "shard-0", family):
                flip(table, *(number / 40 for number in range(28)))
        site.start()
        def met():
            load.send(70)
            return "needs an operator" in site.log_text()
        wait_until(met, 60, "the damage to be met", site)
        wait_until(lambda: "shard 0" in site.log_text(), 5, "the name", site)
        [line] = [line for line in site.log_text().splitlines() if "needs an operator" in line]
        self.assertRegex(line, r"shard 0.*block checksum mismatch.*shard-0/\d+\.sst")
        device = next(d for d in range(1, 99) if site.shard_of(f"device:{d}") == 1)
        self.assertEqual(site.ask("RegisterDevice", {"ResourceID": device, "Name": "A"}).data["ReturnValue"], 0)
        site.stop()
        self.assertEqual([shard["Result"] for shard in self.repair(site.agent).values()], ["rebuilt", "sound"])
        site.start()
        load.check(self)

    # ---- the topic is short ------------------------------------------------------------------------------------------

    def cut_topic(self, site, kept):
        """The events topic made anew with as many records per partition."""
        topic = site.topic("events")
        records = self.broker.read(topic)
        settings = self.broker.topic_config(topic)
        self.broker.delete_topic(topic)
        self.broker.create_topic(topic, SHARDS, settings)
        for shard in range(SHARDS):
            some = [(r.value, r.key, r.headers) for r in records if r.partition == shard][:kept.get(shard)]
            self.broker.produce_many(topic, some, partition=shard)
        site.forget()
        return records

    # The topic lost its end: a sound store is left alone; one that is damaged or older cannot be mended. What
    # decides is named. With the topic restored all is mended.
    def test_topic_short(self):
        site = self.site(shards=SHARDS)
        load = Load(site)
        load.send(300)
        load.wait_answers(self)
        wait_rest(site)
        site.stop()
        length = len(self.broker.read(site.topic("events"), 0))
        shutil.copytree(site.data_dir, site.folder / "older")
        site.start()
        load.send(300)
        load.wait_answers(self)
        wait_rest(site)
        site.stop()
        served, heads = served_by(site.agent), heads_of(site.agent)
        shutil.copytree(site.data_dir, site.folder / "kept")
        records = self.cut_topic(site, {0: length})
        refused = self.repair(site.agent, code=3)[0]
        self.assertEqual((refused["Result"], refused["Damage"]), ("refused", None))
        for word in ("had acknowledged event", "rebuild --republish --shard 0", "rebuild --from-topic --shard 0"):
            self.assertIn(word, refused["Refused"])
        shutil.rmtree(site.data_dir / "shard-0")
        for store in (site.folder / "older" / "shard-0", None):
            if store:
                shutil.copytree(store, site.data_dir / "shard-0")
            done = self.repair(site.agent, code=3)
            self.assertEqual([shard["Result"] for shard in done.values()], ["refused", "sound"])
            self.assertRegex(done[0]["Refused"], r"ends at event \d+, but the witness knows event")
            self.assertIn("rebuild --from-topic --shard 0", done[0]["Refused"])
            self.assertEqual((site.data_dir / "shard-0").exists(), store is not None)
            if store:
                site.start(wait=False)
                site.wait_log("both lost their end", 60)
                site.stop(check=False)
                self.assertNotIn(served["log"], (site.cli("log", "--ndjson").out,))
                shutil.rmtree(site.data_dir / "shard-0")
        self.restore_topic(site, records)
        self.assertEqual([shard["Result"] for shard in self.repair(site.agent).values()], ["refilled", "sound"])
        self.assertEqual((served_by(site.agent), heads_of(site.agent)), (served, heads))

    def restore_topic(self, site, records):
        topic = site.topic("events")
        settings = self.broker.topic_config(topic)
        self.broker.delete_topic(topic)
        self.broker.create_topic(topic, SHARDS, settings)
        for shard in range(SHARDS):
            self.broker.produce_many(topic, [(r.value, r.key, r.headers) for r in records if r.partition == shard],
                                     partition=shard)
        site.forget()

    # What stood in the damaged store alone was never answered: it is told, and decided again.
    def test_unpublished(self):
        site = self.site()
        load = Load(site)
        load.send(800)
        load.wait_answers(self)
        wait_rest(site)
        site.restart()
        site.stop()
        published = site.status()[0]["Sequence"]
        with mock.patch.object(kinlog_fixture, "KINLOG", VARIANT):
            victim = Victim(site.agent)
            victim.arm("batch.committed")
            victim.start()
            load.send(30)
            self.assertTrue(victim.wait_dead(60))
            site.agent.kill()
        last = site.status()[0]["Sequence"]
        self.assertGreater(last, published)
        flip(tables_of(site.data_dir / "shard-0", b"log")[0], 0.3)
        done = self.repair(site.agent)[0]
        self.assertEqual((done["Result"], done["UnpublishedFrom"], done["UnpublishedTo"]),
                         ("refilled", published + 1, last))
        self.assertEqual(site.status()[0]["Sequence"], published)
        site.start()
        load.check(self)


if __name__ == "__main__":
    unittest.main(verbosity=2)
