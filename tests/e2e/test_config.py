"""Configuration and data folder: what is wrong is refused at start, with the place, the reason and the cure.

SPDX-License-Identifier: Apache-2.0
"""

import json
import os
import pwd
import shutil
import subprocess
import unittest

from kinlog_fixture import KINLOG, KinlogTest

NOBODY = pwd.getpwnam("nobody")


class Configuration(KinlogTest):

    def refused(self, result, *words, code=2):
        """The command ended with `code`, and stderr holds each of the words."""
        text = result.out + result.err
        self.assertEqual(result.code, code, text)
        for word in words:
            self.assertIn(word, result.err, text)
        self.assertNotIn("Traceback", text)

    # A wrong key, section or value is refused by run, init and reading commands, with file, line and reason;
    # put right, the file serves.
    def test_file(self):
        site = self.site(init=False)
        original = site.config_path.read_text()
        wrong = [
            ("data_dir = ", "data_dri = /x", ["[agent] has no key data_dri", "did you mean data_dir?"]),
            ("[topics]", "[topcis]", ["there is no section [topcis]", "did you mean [topics]?"]),
            ("create = ", "create = perhaps", ["[topics] create: true or false is wanted"]),
            ("partitions = ", "partitions = 7", ["[topics] partitions:", "divides 240"]),
            ("prefix = ", "prefix = a b", ["[topics] prefix:"]),
            ("site = ", "site = ../x", ["[agent] site:"]),
            ("site = ", "free_space_floor = much", ["free_space_floor:", "256M"]),
            ("[topics]", "[log]\nlevel = loud\n[topics]", ["error, warning, info or debug"]),
            ("site = ", "bootstrap.servers = x:1", ["it belongs in [kafka]"]),
            ("create = ", "create", []),
            ("create = ", "prefix = twice", ["stands already in line"]),
        ]
        for old, new, words in wrong:
            with self.subTest(new):
                lines = [new if line.startswith(old) else line for line in original.splitlines()]
                site.config_path.write_text("\n".join(lines) + "\n")
                number = 1 + "\n".join(lines).splitlines().index(new.splitlines()[1 if "\n" in new else 0])
                for command in (["run"], ["init"], ["list", "devices"]):
                    self.refused(site.cli(*command), f"{site.config_path}:{number}", *words)
        site.config_path.write_text(original)
        site.init()
        site.start()
        site.check_serves()

    # librdkafka's own check of names and values is part of it; what the agent must set itself is refused.
    def test_kafka_keys(self):
        site = self.site(init=False)
        wrong = [
            ("[kafka]\nbootstrap.server = x:1\n", "bootstrap.server = ", ["bootstrap.server", "not known"]),
            ("[kafka]\nsocket.timeout.ms = soon\n", "socket.timeout.ms", ["socket.timeout.ms"]),
            ("[kafka.producer]\ncompression.codec = zip\n", "compression.codec", ["compression.codec", "zip"]),
            ("[kafka.consumer]\nfetch.wait.max.ms = -5\n", "fetch.wait.max.ms", ["fetch.wait.max.ms"]),
        ]
        wrong += [(f"[{section}]\n{name} = {value}\n", name + " = ", [name, "agent's own"])
                  for section, name, value in (
                      ("kafka", "enable.idempotence", "true"), ("kafka", "acks", "1"),
                      ("kafka.consumer", "isolation.level", "read_uncommitted"),
                      ("kafka.consumer", "check.crcs", "false"),
                      ("kafka.consumer", "auto.offset.reset", "earliest"),
                      ("kafka.producer", "transactional.id", "x"), ("kafka", "group.id", "x"))]
        for text, line, words in wrong:
            with self.subTest(text):
                site.write_config(extra=text)
                lines = site.config_path.read_text().splitlines()
                number = 1 + max(i for i, x in enumerate(lines) if x.startswith(line))
                for command in ("run", "init"):
                    self.refused(site.cli(command), f"{site.config_path}:{number}", *words)

    # A refused value that may be a secret is not repeated.
    def test_secret(self):
        site = self.site(init=False)
        site.write_config(kafka={"security.protocol": "ssl", "ssl.key.pem": "hunter2-hunter2"})
        result = site.cli("run")
        self.refused(result, "ssl.key.pem")
        self.assertNotIn("hunter2", result.out + result.err)

    # A broker must be named, a site too; a file that is not there is said so.
    def test_missing(self):
        site = self.site(init=False)
        text = site.config_path.read_text()
        site.config_path.write_text(text.replace("bootstrap.servers", "#"))
        self.refused(site.cli("run"), "bootstrap.servers is not set")
        site.config_path.write_text(text.replace("site = ", "# "))
        for command in ("run", "init"):
            self.refused(site.cli(command), "site")
        site.config_path.unlink()
        result = site.cli("run")
        self.assertIn(result.code, (1, 2), result.err)
        self.assertIn(str(site.config_path), result.err)

    # The environment overrides the file, -X overrides both; both are checked like the file.
    def test_overrides(self):
        site = self.site(init=False, prefix="not-used")
        prefix = f"{self.id().rsplit('.', 1)[-1]}"
        environment = {"KINLOG_TOPICS_PREFIX": "neither", "KINLOG_TOPICS_PARTITIONS": "2",
                       "KINLOG_KAFKA_BOOTSTRAP_SERVERS": self.broker.bootstrap}
        site.config_path.write_text(site.config_path.read_text().replace(self.broker.bootstrap, "localhost:1"))
        result = site.cli("init", "-X", f"topics.prefix={prefix}", environment=environment)
        self.assertEqual(result.code, 0, result.err)
        topics = self.broker.topics()
        self.assertEqual(topics[f"{prefix}.events"], 2)
        self.assertFalse([name for name in topics if name.startswith(("neither.", "not-used."))])
        self.refused(site.cli("init", environment={"KINLOG_TOPICS_PREFX": "x"}),
                     "environment KINLOG_TOPICS_PREFX", "did you mean KINLOG_TOPICS_PREFIX?")
        self.refused(site.cli("run", environment={"KINLOG_KAFKA_ACKS": "0"}),
                     "environment KINLOG_KAFKA_ACKS", "agent's own")
        self.refused(site.cli("run", environment={"KINLOG_KAFKA_NO_SUCH": "0"}),
                     "environment KINLOG_KAFKA_NO_SUCH", "no.such")
        self.refused(site.cli("run", "-X", "topics.prefx=x"), "-X", "did you mean prefix?")
        self.refused(site.cli("run", "-X", "nonsense"), "-X", "section.key=value")
        self.refused(site.cli("run", "-X", "kafka.acks=0"), "-X", "acks", "agent's own")

    # KINLOG_CONFIG names the file; --config is stronger.
    def test_config_variable(self):
        site = self.site(start=False)
        environment = {"KINLOG_CONFIG": str(site.config_path)}
        result = site.cli("list", "devices", config=False, environment=environment)
        self.assertEqual(result.code, 0, result.err)
        result = site.cli("list", "devices", environment={"KINLOG_CONFIG": "/nowhere/kinlog.conf"})
        self.assertEqual(result.code, 0, result.err)
        result = site.cli("list", "devices", config=False, environment={"KINLOG_CONFIG": "/nowhere/kinlog.conf"})
        self.assertIn(result.code, (1, 2))
        self.assertIn("/nowhere/kinlog.conf", result.err)


class DataFolder(KinlogTest):

    def refused(self, result, *words, code=1):
        text = result.out + result.err
        self.assertEqual(result.code, code, text)
        for word in words:
            self.assertIn(word, result.err, text)

    def key_file(self, path, text):
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def as_nobody(self, site, *arguments):
        """Runs kinlog as a user without rights; the program is copied to where that user may read it."""
        program = site.folder / "kinlog"
        if not program.exists():
            shutil.copy(KINLOG, program)
            for folder in [site.folder, site.agent.folder]:
                folder.chmod(0o755)
        run = subprocess.run([program, *arguments, "--config", site.config_path], stdin=subprocess.DEVNULL,
                             capture_output=True, text=True, timeout=30, env=site.environment, cwd="/",
                             **({"user": NOBODY.pw_uid, "group": NOBODY.pw_gid, "extra_groups": []}
                                if os.geteuid() == 0 else {}))
        return run.returncode, run.stderr

    # Without init there is nothing to run on; a second init does not touch what is there.
    def test_init(self):
        site = self.site(init=False)
        self.refused(site.cli("run"), str(site.data_dir), "run `kinlog init")
        self.assertFalse(site.data_dir.exists(), "run never makes a store")
        site.init()
        before = {path: path.read_bytes() for path in site.data_dir.iterdir() if path.is_file()}
        self.refused(site.init(check=False), "already holds")
        self.assertEqual(before, {path: path.read_bytes() for path in before})
        # Nor when the log is published: the folder is named, not the topic.
        site.start()
        for options in ([], ["--join", site.data_dir / "site.key"]):
            self.refused(site.init(*options, check=False), f"{site.data_dir} already holds a log", "kinlog run")
        # A second site cannot begin a log where there is one, once it is published.
        second = site.another(start=False, join=True)
        shutil.rmtree(second.data_dir)
        self.refused(second.init(check=False), "already holds log", "--join KEYFILE")
        self.assertFalse((second.data_dir / "kinlog.json").exists())

    # A folder that the agent's user may not write is refused; once it may, the agent starts.
    def test_not_writable(self):
        site = self.site(init=False)
        site.data_dir.mkdir()
        site.data_dir.chmod(0o555)
        code, text = self.as_nobody(site, "init")
        self.assertEqual(code, 1, text)
        self.assertIn("not writable", text)
        self.assertIn(str(site.data_dir), text)
        site.data_dir.chmod(0o755)
        site.init()
        code, text = self.as_nobody(site, "run")
        self.assertEqual(code, 1, text)
        self.assertIn(str(site.data_dir), text)
        site.start()
        site.check_serves()

    # A file where the folder should be.
    def test_file_in_the_way(self):
        site = self.site(init=False)
        site.data_dir.write_text("")
        for command in ("init", "run"):
            self.refused(site.cli(command), str(site.data_dir))

    # One folder, one agent: the second is told, the first is not disturbed. Reading is never refused.
    def test_in_use(self):
        site = self.site()
        self.refused(site.cli("run"), str(site.data_dir), "in use by another agent")
        self.refused(site.cli("rebuild"), "in use by another agent")
        site.check_serves()

    # A folder of another version is neither used nor changed, whether it is to be run, read or mended.
    def test_other_version(self):
        site = self.site()
        site.check_serves()
        site.stop()
        path = site.data_dir / "kinlog.json"
        description = json.loads(path.read_text())
        self.assertEqual(description["Format"], 2)
        for other, told in ((3, ("newer version", "format 3")), (1, ("older version", "format 1", "init --join"))):
            path.write_text(json.dumps({**description, "Format": other, "Check": f"of format {other}"}))
            for command in (["run"], ["list", "devices"], ["status"], ["rebuild"], ["verify"]):
                self.refused(site.cli(*command), *told)
        path.write_text("{}")
        self.refused(site.cli("run"), "kinlog.json is damaged")
        path.write_text(json.dumps(description))
        site.start()
        site.check_serves()

    # The name of the site is part of the log.
    def test_other_site(self):
        site = self.site(start=False)
        self.refused(site.cli("run", "-X", "agent.site=elsewhere"), "elsewhere", "is of site test", code=2)

    # Another site's key would make every repeat a conflict: it is refused at start and when joining.
    def test_wrong_site_key(self):
        site = self.site(start=False)
        path = site.data_dir / "site.key"
        key = path.read_text()
        path.write_text("ab" * 32 + "\n")
        self.refused(site.cli("run"), "site.key", "is not the key of log")
        path.write_text(key)
        site.start()
        wrong = self.key_file(site.folder / "wrong.key", "ab" * 32 + "\n")
        second = site.another(start=False)
        shutil.rmtree(second.data_dir)
        self.refused(second.init("--join", wrong, check=False), "is not the key of log")
        self.assertFalse((second.data_dir / "kinlog.json").exists())

    # A site key that is missing, short, too long, or open to others: file, fault and cure, at start, when joining, and
    # to whoever mends. Mended, the agent starts.
    def test_bad_site_key(self):
        site = self.site()
        site.stop()
        path = site.data_dir / "site.key"
        key = path.read_text()
        second = site.another(start=False)
        shutil.rmtree(second.data_dir)

        def refused(path, fault, cure):
            joining = site.folder / "joining.key"
            joining.unlink(missing_ok=True)
            if path.exists():
                shutil.copy(path, joining)  # with its mode
            for result, file, code in ((site.cli("run"), path, 1), (site.cli("repair"), path, 1),
                                       (site.cli("verify"), path, 5),
                                       (second.init("--join", joining, check=False), joining, 1)):
                self.refused(result, str(file), fault, cure, code=code)
                self.assertNotIn(key[:16], result.out + result.err)
            self.assertFalse((second.data_dir / "kinlog.json").exists())

        for mode in (0o640, 0o604, 0o644, 0o620, 0o602):
            path.chmod(mode)
            refused(path, f"open to others than its owner (mode {mode:04o})", "`chmod 600 ")
        path.chmod(0o600)
        put_back = "put back the one that `kinlog init` made, or that of another agent of this site"
        for text in (key[:-2], key[:-3] + "\n", key[:32], "0" + key, key + "\n", key.upper(), "g" + key[1:], "no key\n", ""):
            path.write_text(text)
            refused(path, "is no site key, which has 64 hex digits", put_back)
        path.unlink()
        refused(path, "is missing", put_back)
        self.key_file(path, key).chmod(0o400)
        site.start()

    # Joining a log that nobody has begun.
    def test_join_nothing(self):
        site = self.site(init=False)
        key = self.key_file(site.folder / "some.key", "ab" * 32 + "\n")
        self.refused(site.init("--join", key, check=False), "holds no log yet", "kinlog init")


if __name__ == "__main__":
    unittest.main()
