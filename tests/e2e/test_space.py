"""Disks that fill up and are freed: with a free-space floor no command is taken, without one writing fails;
nothing is lost, nothing doubled, reading goes on, and so does the agent when there is space again.

SPDX-License-Identifier: Apache-2.0
"""

import os
import shutil
import subprocess

from kinlog_fixture import KINLOG, KinlogTest, wait_until
from load import Load


class Space(KinlogTest):
    def test_stuck_close(self):
        """RocksDB that waits for ever when a store is closed, as it can after a full disk: the agent ends all the
        same, within its ten seconds, and nothing is lost."""
        site = self.site(shards=2, start=False)
        site.start(environment={"LD_PRELOAD": str(KINLOG.parent / "tests" / "stuck.so")})
        load = Load(site)
        load.send(1000)
        wait_until(lambda: len(load.answers()) > 300, 30, "answers", site)
        self.assertEqual(site.stop(check=False), 1)
        self.assertIn("RocksDB does not come back from closing the store of shard", site.log_text())
        site.start()
        load.check(self)

    def test_floor(self):
        """With less space than the floor the agent waits and says so; with enough it goes on."""
        site = self.site(shards=1)
        first = site.send("RegisterDevice", {"ResourceID": 1, "Name": "PC1"})
        site.answer(first)
        site.stop()
        site.start("-X", "agent.free_space_floor=900T")
        second = site.send("RegisterDevice", {"ResourceID": 2, "Name": "PC2"})
        site.wait_log("no new command is taken until there is more")
        self.assertEqual([row["ResourceID"] for row in site.ndjson("list", "devices")], [1])
        status = site.status()[0]
        self.assertEqual((status["Role"], status["Lag"]), ("owner", 1))
        site.stop()
        site.start()
        self.assertEqual(site.answer(second).data["Outcome"], "accepted")
        self.assertEqual([row["ResourceID"] for row in site.ndjson("list", "devices")], [1, 2])


MEGABYTE = 1 << 20


class SmallDisk(KinlogTest):
    """The data folder is a file system of its own, of a few megabytes in memory: mounting needs root."""

    ROUNDS = 3
    COMMANDS = 1000  # more than fit into what a full disk has left

    def small_site(self, megabytes):
        site = self.site(init=False)
        site.data_dir.mkdir()
        sudo = [] if os.geteuid() == 0 else ["sudo"]
        subprocess.run([*sudo, "mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0777", "tmpfs", site.data_dir],
                       check=True)
        self.addCleanup(subprocess.run, [*sudo, "umount", "-l", site.data_dir], check=True)
        self.addCleanup(site.kill)
        site.init()
        return site

    def fill(self, site, leave=0):
        """Takes all space but `leave` bytes."""
        with open(site.data_dir / "ballast", "ab", buffering=0) as ballast:
            while shutil.disk_usage(site.data_dir).free > leave:
                try:
                    ballast.write(b"x" * min(MEGABYTE, shutil.disk_usage(site.data_dir).free - leave))
                except OSError:
                    return

    def free(self, site):
        (site.data_dir / "ballast").unlink()

    def check_readable(self, site, devices):
        self.assertTrue(site.running, site.log_tail())
        self.assertGreaterEqual(len(site.ndjson("list", "devices")), devices)
        self.assertEqual(site.cli("status").code, 0)

    def check_end(self, site, load):
        """All is answered and in the topic once, and what is on disk is what the log makes of it."""
        self.assertTrue(site.running, site.log_tail())
        load.check(self)
        site.stop()
        result = site.cli("verify")
        self.assertEqual(result.code, 0, result.out + result.err)

    def test_floor_is_met(self):
        """Under load the agent stops at the floor by itself, and goes on by itself."""
        site = self.small_site(32)
        site.start("-X", "agent.free_space_floor=8M")
        load = Load(site)
        for number in range(self.ROUNDS):
            load.send(self.COMMANDS)
            load.wait_answers(self)
            self.fill(site, leave=4 * MEGABYTE)
            wait_until(lambda: site.log_text().count("no new command is taken until there is more") > number, 60,
                       "the floor", site)
            load.send(self.COMMANDS)
            self.check_readable(site, 1)
            self.assertEqual(len(load.unanswered()), self.COMMANDS)
            self.free(site)
            load.wait_answers(self)
            self.assertEqual(site.log_text().count("are free again"), number + 1)
        self.check_end(site, load)

    def test_disk_is_full(self):
        """Without a floor writing fails, in the write-ahead log and, after a restart, in the tables; the agent
        stays up, says why, and goes on by itself when there is space again."""
        site = self.small_site(32)
        site.start("-X", "agent.free_space_floor=0")
        load = Load(site)
        load.send(self.COMMANDS)
        load.wait_answers(self)
        for number in range(self.ROUNDS):
            self.fill(site)
            before = site.log_text().count("No space left on device")
            load.send(self.COMMANDS)
            self.wait_failure(site, before)
            self.check_readable(site, 1)
            if number % 2 == 1:  # what is in the write-ahead log becomes a table at the opening
                site.kill()
                before = site.log_text().count("No space left on device")  # it may say so at once
                site.start("-X", "agent.free_space_floor=0", wait=False)
                self.wait_failure(site, before)
                self.check_readable(site, 1)
            self.free(site)
            load.wait_answers(self)
        self.check_end(site, load)

    def wait_failure(self, site, before):
        """Fills the disk again and again: beginning anew, the agent removes files that it needs no more."""
        def failed():
            self.fill(site)
            return site.log_text().count("No space left on device") > before or not site.running
        wait_until(failed, 60, "the full disk in the agent's log", site)
        self.assertTrue(site.running, site.log_tail())
