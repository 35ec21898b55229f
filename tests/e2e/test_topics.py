"""The topics are checked at start: what would lose the log is refused, the rest is a warning; both name topic,
setting and the command that mends it.

SPDX-License-Identifier: Apache-2.0
"""

import unittest

from kinlog_fixture import KinlogTest, wait_until

WEEK_MS = 7 * 86400 * 1000
GOOD = {
    "commands": {"message.timestamp.type": "LogAppendTime", "retention.ms": 30 * 86400 * 1000,
                 "cleanup.policy": "delete"},
    "events": {"retention.ms": -1, "retention.bytes": -1, "cleanup.policy": "delete"},
    "replies": {"cleanup.policy": "delete"},
    "dead-letters": {"max.message.bytes": 1048588 + 65536, "retention.ms": 90 * 86400 * 1000},
    "storage": {"retention.ms": -1, "retention.bytes": -1, "cleanup.policy": "delete"},
}


class Topics(KinlogTest):

    def make(self, site, partitions=2, **changes):
        """Makes the site's topics by hand. changes: topic=None leaves it out, topic=(partitions, settings)
        changes it ("_" stands for "-" in its name)."""
        topics = {}
        for name, settings in GOOD.items():
            count, more = changes.get(name.replace("-", "_"), (partitions, {})) or (None, None)
            if count:
                merged = {**settings, **more}
                topics[site.topic(name)] = (1 if name == "dead-letters" else count,
                                            {k: v for k, v in merged.items() if v is not None})
        self.broker.create_topics(topics)

    def refused(self, site, *words, code=2):
        """Neither init nor, later, run take the topics; both say the same."""
        result = site.init(check=False)
        self.assertEqual(result.code, code, result.err)
        for word in words:
            self.assertIn(word, result.err)
        self.assertFalse((site.data_dir / "kinlog.json").exists(), "a folder was made all the same")
        return result

    # Made by hand with the right settings they pass without a word, and without being allowed to create.
    def test_good(self):
        site = self.site(shards=2, init=False, create=False)
        self.make(site)
        result = site.init()
        self.assertEqual(result.err, "")
        site.start()
        self.assertEqual(site.ask("RegisterDevice", {"ResourceID": 1, "Name": "A"}).data["ReturnValue"], 0)
        self.assertNotIn("level=warning component=topics", site.log_text())

    # init creates what is missing with the settings that it would demand, and leaves alone what is there.
    def test_created(self):
        site = self.site(shards=3, init=False)
        self.broker.create_topic(site.topic("replies"), 3, {"retention.ms": 12345678})
        site.init()
        own = {what: self.broker.topic_config(site.topic(what)) for what in GOOD}
        self.assertEqual(own["replies"], {"retention.ms": "12345678"})
        self.assertEqual(own["commands"]["message.timestamp.type"], "LogAppendTime")
        self.assertGreaterEqual(int(own["commands"]["retention.ms"]), 30 * 86400 * 1000)
        for what in ("events", "storage"):
            self.assertEqual((own[what]["retention.ms"], own[what]["retention.bytes"]), ("-1", "-1"), what)
        for what in ("commands", "events", "dead-letters", "storage"):
            self.assertEqual(own[what]["cleanup.policy"], "delete", what)
            self.assertEqual(own[what]["unclean.leader.election.enable"], "false", what)
        commands = self.broker.topic_config(site.topic("commands"), own_only=False)
        self.assertGreaterEqual(int(own["dead-letters"]["max.message.bytes"]),
                                int(commands["max.message.bytes"]) + 65536)
        topics = self.broker.topics()
        self.assertEqual([topics[site.topic(what)] for what in ("commands", "events", "replies", "storage")], [3] * 4)

    # Without permission to create, init names the topics, the setting that allows it, and the command; and
    # makes nothing. Pasted, that command makes a topic that passes.
    def test_not_created(self):
        site = self.site(shards=2, init=False, create=False)
        result = self.refused(site, "create = true")
        for what in GOOD:
            self.assertIn(f"topic {site.topic(what)} does not exist", result.err)
            self.assertIn(f"kafka-topics.sh --bootstrap-server {self.broker.bootstrap} --create --topic "
                          f"{site.topic(what)} --partitions", result.err)
        self.assertFalse([name for name in self.broker.topics() if name.startswith(site.prefix + ".")])
        for line in result.err.splitlines():
            if "kafka-topics.sh" in line:
                words = line[line.index("kafka-topics.sh"):].split()
                settings = dict(words[i + 1].split("=", 1) for i, word in enumerate(words) if word == "--config")
                self.broker.create_topic(words[words.index("--topic") + 1],
                                         int(words[words.index("--partitions") + 1]), settings)
        self.assertEqual(site.init().err, "")

    # One topic is missing when the agent starts: refused with code 2, and mended by making it.
    def test_missing_at_run(self):
        for what in GOOD:
            with self.subTest(what):
                site = self.site(shards=2, start=False)
                settings = self.broker.topic_config(site.topic(what))
                self.broker.delete_topic(site.topic(what))
                result = site.cli("run")
                self.assertEqual(result.code, 2, result.err)
                self.assertIn(f"topic {site.topic(what)} does not exist", result.err)
                self.assertIn(f"--create --topic {site.topic(what)} --partitions "
                              f"{1 if what == 'dead-letters' else 2}", result.err)
                self.broker.create_topic(site.topic(what), 1 if what == "dead-letters" else 2, settings)
                site.start()
                site.check_serves()
                site.stop()

    # Fewer partitions of events than of commands, and the other way round; then as many.
    def test_partitions(self):
        for what in ("events", "commands"):
            with self.subTest(what):
                site = self.site(shards=4, init=False, create=False)
                topic = site.topic(what)
                self.make(site, partitions=4, **{what: (2, {})})
                self.refused(site, f"topic {topic} has 2 partitions, needed are 4",
                             f"--alter --topic {topic} --partitions 4")
                self.broker.add_partitions(topic, 4)
                site.init()
                site.start()
                site.check_serves()

    # A number of shards that does not divide 240.
    def test_partitions_divide(self):
        site = self.site(init=False, create=False)
        self.make(site, partitions=7)
        self.refused(site, site.topic("commands"), "has 7 partitions", "a divisor of 240")

    # Partitions added under a running log: keys would move, so the agent does not start.
    def test_partitions_added(self):
        site = self.site(shards=2)
        site.stop()
        self.broker.add_partitions(site.topic("commands"), 4)
        result = site.cli("run")
        self.assertEqual(result.code, 2, result.err)
        self.assertIn(f"topic {site.topic('commands')} has 4 partitions, needed are 2", result.err)
        self.assertIn("the log began with that many shards", result.err)

    # Settings that lose the log, each with its name, its value and the cure; then the cure works. Changed
    # later, they are refused at the next start; changed back, it goes on with all that it had.
    def test_settings(self):
        cases = [
            ("events", {"retention.ms": WEEK_MS}, "retention.ms", str(WEEK_MS), "-1"),
            ("events", {"retention.ms": None}, "retention.ms", str(WEEK_MS), "-1"),  # the broker's default
            ("events", {"retention.bytes": 1000000}, "retention.bytes", "1000000", "-1"),
            ("events", {"cleanup.policy": "compact"}, "cleanup.policy", "compact", "delete"),
            ("events", {"cleanup.policy": "compact,delete"}, "cleanup.policy", "compact", "delete"),
            ("events", {"unclean.leader.election.enable": "true"}, "unclean.leader.election.enable", "true", "false"),
            ("commands", {"message.timestamp.type": "CreateTime"}, "message.timestamp.type", "CreateTime",
             "LogAppendTime"),
            ("commands", {"cleanup.policy": "compact"}, "cleanup.policy", "compact", "delete"),
        ]
        for what, change, setting, found, needed in cases:
            with self.subTest(f"{what} {change}"):
                site = self.site(shards=2, init=False, create=False)
                self.make(site, **{what: (2, change)})
                self.refused(site, f"error: topic {site.topic(what)} has {setting}={found}", f"needed is {needed}",
                             f"kafka-configs.sh --bootstrap-server {self.broker.bootstrap} --alter --entity-type "
                             f"topics --entity-name {site.topic(what)} --add-config {setting}={needed}")
                self.broker.alter_topic(site.topic(what), {setting: needed})
                self.assertEqual(site.init().err, "")
                site.start()
                site.check_serves()
                site.stop()
                self.broker.alter_topic(site.topic(what), {**change, setting: change[setting] or found})
                result = site.cli("run")
                self.assertEqual(result.code, 2, result.err)
                self.assertIn(f"topic {site.topic(what)} has {setting}={found}", result.err)
                self.broker.alter_topic(site.topic(what), {setting: needed})
                site.start()
                site.check_serves()

    # What is only risky is a warning, and the agent starts.
    def test_warnings(self):
        site = self.site(shards=2, init=False, create=False)
        self.make(site, commands=(2, {"retention.ms": WEEK_MS, "unclean.leader.election.enable": "true"}),
                  storage=(2, {"retention.ms": WEEK_MS}),
                  dead_letters=(1, {"max.message.bytes": 1000000}), replies=(3, {}))
        result = site.init()
        for words in (f"warning: topic {site.topic('commands')} has retention.ms={WEEK_MS}",
                      f"warning: topic {site.topic('commands')} has unclean.leader.election.enable=true",
                      f"warning: topic {site.topic('storage')} has retention.ms={WEEK_MS}",
                      f"warning: topic {site.topic('dead-letters')} has max.message.bytes=1000000",
                      f"warning: topic {site.topic('replies')} has 3 partitions, needed are 2",
                      f"--entity-name {site.topic('dead-letters')} --add-config max.message.bytes={1048588 + 65536}"):
            self.assertIn(words, result.err)
        self.assertNotIn("error:", result.err)
        site.start()
        self.assertIn(f"topic {site.topic('commands')} has retention.ms={WEEK_MS}", site.log_text())
        self.assertEqual(site.ask("RegisterDevice", {"ResourceID": 1, "Name": "A"}).data["ReturnValue"], 0)

    # A broker that is not there yet is waited for; SIGTERM ends the waiting.
    def test_broker_later(self):
        site = self.site(start=False)
        broker = self.broker
        broker.stop()
        for times in (1, 2):
            site.agent.start(wait=False)
            wait_until(lambda: site.log_text().count("waiting for the brokers") == times, 20, "the waiting", site)
            if times == 1:
                site.stop()
        broker.start()
        answer = site.ask("RegisterDevice", {"ResourceID": 1, "Name": "A"}, timeout_s=30)
        self.assertEqual(answer.data["ReturnValue"], 0)


if __name__ == "__main__":
    unittest.main()
