"""The programs in examples/ do what their heads say.

SPDX-License-Identifier: Apache-2.0
"""

import json
import subprocess
import sys
import unittest

from kinlog_fixture import ROOT, KinlogTest

EXAMPLES = ROOT / "examples"


class Examples(KinlogTest):

    def run_example(self, name, *arguments, code=0):
        program = [sys.executable, str(EXAMPLES / name)] if name.endswith(".py") else [str(EXAMPLES / name)]
        run = subprocess.run([*program, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(run.returncode, code, run.stdout + run.stderr)
        return run

    # send.py sends and prints the answer; refusals and repeats are told apart.
    def test_send(self):
        site = self.site(shards=2)
        where = ["--bootstrap", site.broker.bootstrap, "--prefix", site.prefix]
        self.run_example("send.py", *where, "--type", "RegisterDevice", "ResourceID=7 Name=PC7")
        command = "MachineResourceId=7 UserAccountName=hq\\ann SourceId=2"
        first = self.run_example("send.py", *where, "--id", "one", command)
        again = self.run_example("send.py", *where, "--id", "one", command)
        self.assertEqual(json.loads(first.stdout)["Outcome"], "accepted")
        self.assertEqual(again.stdout, first.stdout)
        self.assertIn("seen before", again.stderr)
        self.run_example("send.py", *where, command.replace("=7", "=8"), code=3)

    # send_batch.sh, twice, has its effect once; follow_events.py reads each event once, also over a
    # killed agent; check_chain.py comes to the chain that the agent has.
    def test_batch_and_readers(self):
        site = self.site(shards=4, prefix="kinlog")
        self.run_example("send_batch.sh", site.broker.bootstrap)
        self.assertEqual(site.answer("batch-5", source="/examples").data["Outcome"], "refused")
        site.restart(kill=True)
        self.run_example("send_batch.sh", site.broker.bootstrap)
        site.answer("batch-5", source="/examples", count=2)
        followed = self.run_example("follow_events.py", "--bootstrap", site.broker.bootstrap, "--once").stdout
        events = [json.loads(line) for line in followed.splitlines()]
        self.assertEqual(sorted(e["cause"] for e in events if e["cause"]), [f"batch-{n}" for n in range(1, 6)])
        self.assertEqual(len({e["id"] for e in events}), len(events))
        checked = self.run_example("check_chain.py", "--bootstrap", site.broker.bootstrap).stdout
        self.assertEqual(checked.splitlines(), [f"shard {shard}: {status['Sequence']} events, chain {status['Chain']}"
                                                for shard, status in sorted(site.status().items())])


if __name__ == "__main__":
    unittest.main()
