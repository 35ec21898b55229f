"""The programs in examples/ do what the README and their heads say.

SPDX-License-Identifier: Apache-2.0
"""

import json
import os
import subprocess
import sys
import unittest

from kinlog_fixture import ROOT, KinlogTest, Message
from kafka_broker import SMALL_JVM

COMMANDS = ROOT / "examples" / "commands.tsv"
SENDERS = {
    "Python": [sys.executable, "examples/send.py"],
    "Bash": ["examples/send.sh"],
    "Java": ["java", *SMALL_JVM, "-cp", "build/examples:build/kafka-libs/*", "Send"],
    "Go": ["build/examples/send-go"],
    "JavaScript": ["node", "examples/send.js"],
}
# Their clients choose the partition of a key as Kinlog does; librdkafka, unless it is told to, does not.
AS_KINLOG = {"Java", "Go", "JavaScript"}


def without_keys(commands):
    rows = (line.split("\t") for line in commands.splitlines(keepends=True))
    return "".join("\t".join((id, type, "", data)) for id, type, _, data in rows)


class Examples(KinlogTest):

    @classmethod
    def setUpClass(cls):
        environment = {name: value for name, value in os.environ.items() if "MAKE" not in name and name != "MFLAGS"}
        made = subprocess.run(["make", "--no-print-directory", "examples"], cwd=ROOT, env=environment, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if made.returncode != 0:
            raise AssertionError("make examples failed:\n" + made.stdout)

    def run_example(self, program, *arguments, stdin=""):
        run = subprocess.run([*program, *arguments], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             encoding="utf-8", timeout=300, cwd=ROOT,
                             env={**os.environ, "NODE_PATH": "build/examples/node_modules"})
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        return run.stdout

    def send(self, language, site, commands):
        """What the example prints of each command: [id, forwarded from, repeated, answer]."""
        printed = self.run_example(SENDERS[language], site.broker.bootstrap, site.prefix, stdin=commands)
        return [line.split("\t") for line in printed.splitlines()]

    def misplaced(self, site):
        """[(id, "<partition>-<offset>")] of the commands that their sender put into another shard's partition. Each
        has one copy, in its own shard's."""
        def lies_right(command):
            return command.partition == site.shard_of(f"device:{command.id.split('-')[1]}")

        commands = [Message(record) for record in site.broker.read(site.topic("commands"))]
        copies = [command for command in commands if "kinlog_forwarded" in command.headers]
        wrong = [(command.id, f"{command.partition}-{command.offset}") for command in commands
                 if not lies_right(command)]
        self.assertEqual(sorted((copy.id, copy.headers["kinlog_forwarded"]) for copy in copies), sorted(wrong))
        self.assertTrue(all(map(lies_right, copies)))
        return wrong

    # The same commands, sent by each client as it is by default: the answers are the same, byte for byte, with the
    # right record key and without any, though the clients choose other partitions. What lies wrong is forwarded once,
    # and its answer says so.
    def test_all_clients_get_the_same_answers(self):
        with_keys = COMMANDS.read_text(encoding="utf-8")
        answers = {}
        for language in SENDERS:
            for keyed, commands in (True, with_keys), (False, without_keys(with_keys)):
                site = self.site(shards=2)
                printed = self.send(language, site, commands)
                with self.subTest(language, keyed=keyed):
                    wrong = self.misplaced(site)
                    self.assertEqual(sorted((id, place) for id, place, _, _ in printed if place), sorted(wrong))
                    self.assertEqual([id for id, _, repeated, _ in printed if repeated == "true"], ["ann-7"])
                    if keyed:
                        self.assertEqual(not wrong, language in AS_KINLOG)
                    keys = {bool(record.key) for record in site.broker.read(site.topic("commands"))}
                    self.assertEqual(keys, {keyed})
                    users = [event.data["UniqueUserName"] for event in site.events()
                             if event.type == "RelationshipCreated"]
                    self.assertEqual(sorted(users), ["hq\\ann", "hq\\zoë"])
                answers[language, keyed] = [answer for _, _, _, answer in printed]
                site.kill()
        expected = answers["Python", True]
        self.assertEqual([(answer["Outcome"], answer["ReturnValue"]) for answer in map(json.loads, expected)],
                         [("accepted", 0)] * 5 + [("refused", -2147217406)])
        for who, got in answers.items():
            self.assertEqual(got, expected, who)

    # What one client sent, sent again by another over a killed agent, gets the first answers again. follow_events.py
    # reads each event once; check_chain.py comes to the chain that the agent has.
    def test_repeats_and_readers(self):
        site = self.site(shards=4, prefix="kinlog")
        commands = COMMANDS.read_text(encoding="utf-8")
        first = self.send("Python", site, commands)
        site.restart(kill=True)
        again = self.send("Go", site, commands)
        self.assertEqual([answer for *_, answer in again], [answer for *_, answer in first])
        self.assertEqual({repeated for _, _, repeated, _ in again}, {"true"})
        where = ["--bootstrap", site.broker.bootstrap]
        followed = self.run_example([sys.executable, "examples/follow_events.py"], *where, "--once")
        events = [json.loads(line) for line in followed.splitlines()]
        self.assertEqual(sorted(e["cause"] for e in events if e["cause"]), sorted({id for id, *_ in first}))
        self.assertEqual(len({e["id"] for e in events}), len(events))
        checked = self.run_example([sys.executable, "examples/check_chain.py"], *where)
        self.assertEqual(checked.splitlines(), [f"shard {shard}: {status['Sequence']} events, chain {status['Chain']}"
                                                for shard, status in sorted(site.status().items())])

    # The README promises programs that are read at a glance.
    def test_short(self):
        for program in (ROOT / "examples").glob("[Ss]end.*"):
            self.assertLess(len(program.read_text(encoding="utf-8").splitlines()), 60, program.name)


if __name__ == "__main__":
    unittest.main()
