"""`kinlog import` against a real broker: killed in the middle and run again, its agent killed, its broker away.

What the files may hold, and what is said of them, is in tests/cli/test_import.py.

SPDX-License-Identifier: Apache-2.0
"""

import csv
import json
import signal
import subprocess
import unittest

from kinlog_fixture import KINLOG, KinlogTest, wait_until

ROWS = 10000
DEVICES = 50


class Imports(KinlogTest):

    def prepared(self, **options):
        """A site with devices, and a file of many users of them."""
        site = self.site(shards=3, **options)
        devices = site.folder / "devices.csv"
        devices.write_text("".join(f"{i},PC{i}\n" for i in range(1, DEVICES + 1)))
        result = site.cli("import", "devices", devices)
        self.assertEqual((result.code, result.out.splitlines()[0]), (0, f"{DEVICES} rows: {DEVICES} accepted."))
        path = site.folder / "users.csv"
        path.write_text("".join(f"hq\\user{i},pc{1 + i % DEVICES}\n" for i in range(ROWS)))
        return site, path

    def begin(self, site, path, *options):
        """An import that is on its way: some hundred rows are decided, as the result file tells, not all."""
        process = subprocess.Popen([str(KINLOG), "import", "affinity", str(path), "--config", str(site.config_path),
                                    *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   cwd=site.folder, env=site.environment)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        result = path.with_name(path.name + ".result.csv")
        wait_until(lambda: result.exists() and result.stat().st_size > 0, 60, "rows decided", site)
        self.assertIsNone(process.poll())
        return process

    def check_whole(self, site, path):
        """Every row has one relationship, made by one event, and the result file says so."""
        created = [e.data["UniqueUserName"] for e in site.events() if e.type == "RelationshipCreated"]
        self.assertEqual(sorted(created), sorted(f"hq\\user{i}" for i in range(ROWS)))
        rows = list(csv.reader(open(f"{path}.result.csv")))[1:]
        self.assertEqual([(int(line), outcome) for line, outcome, _ in rows],
                         [(line, "accepted") for line in range(1, ROWS + 1)])

    # SIGKILL leaves it no chance to tell what it knew; the same command again does the rest, and doubles nothing.
    def test_killed(self):
        site, path = self.prepared()
        process = self.begin(site, path)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        again = site.json("import", "affinity", path, timeout_s=300)
        self.assertEqual((again["Rows"], again["Accepted"], again["Complete"]), (ROWS, ROWS, True))
        self.assertGreater(again["Repeated"], 100)
        self.assertLess(again["Repeated"], ROWS)
        self.check_whole(site, path)

    # The agent dies and comes back while the import waits for it: nobody has to do anything.
    def test_agent_killed(self):
        site, path = self.prepared()
        process = self.begin(site, path, "--json")
        site.restart(kill=True)
        out, err = process.communicate(timeout=300)
        self.assertEqual(process.returncode, 0, err)
        self.assertEqual(json.loads(out)["Accepted"], ROWS)
        self.check_whole(site, path)

    # The broker goes away for good: it ends by itself, and says what is not known.
    def test_broker_away(self):
        site, path = self.prepared()
        process = self.begin(site, path, "--timeout", "5s")
        broker = self.broker
        broker.stop()
        out, err = process.communicate(timeout=120)
        broker.start()
        self.assertEqual(process.returncode, 4, (out, err))
        self.assertRegex(out, r"^[0-9]+ rows: [0-9]+ accepted, [0-9]+ no answer\.\n")
        self.assertIn("no answer within 5 s", err)
        rows = list(csv.reader(open(f"{path}.result.csv")))[1:]
        self.assertLess(len(rows), ROWS)
        self.assertEqual({outcome for _, outcome, _ in rows}, {"accepted", "no answer"})
        again = site.json("import", "affinity", path, timeout_s=300)
        self.assertEqual((again["Rows"], again["Accepted"]), (ROWS, ROWS))
        self.check_whole(site, path)


if __name__ == "__main__":
    unittest.main()
