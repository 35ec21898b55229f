"""What tests of conversations between shards have in common: devices of a shard, a shard without an owner, an agent that
dies and is started again.

SPDX-License-Identifier: Apache-2.0
"""

import signal

from kinlog_fixture import KinlogTest, wait_until


class ConversationTest(KinlogTest):

    def devices(self, site, shard, count):
        """That many registered devices of one shard."""
        found = [d for d in range(1, 1000) if site.shard_of(f"device:{d}") == shard][:count]
        for device in found:
            self.ask(site, "RegisterDevice", {"ResourceID": device, "Name": f"PC{device}"})
        return found

    def ask(self, site, command, data, outcome="accepted"):
        answer = site.ask(command, data).data
        self.assertEqual(answer["Outcome"], outcome, answer)
        return answer

    def wait_events(self, site, type, count=1):
        wait_until(lambda: len([e for e in site.events() if e.type == type]) >= count, 30,
                   f"{count} events {type}", site)

    def take_away(self, site, shard):
        """A claim of nobody: the owner sees it when it next writes, and follows."""
        claim = site.claims(shard)[-1]
        self.broker.produce(site.topic("events"), claim.value.replace(claim.data["Id"].encode(), b"f" * 32),
                            key=b"kinlog:claim", partition=shard)

    def bring_back(self, site, shard):
        wait_until(lambda: site.status()[shard]["Role"] == "follower", 30, "the end of ownership", site)
        site.signal(signal.SIGHUP)
        wait_until(lambda: {s["Role"] for s in site.status().values()} == {"owner"}, 30, "both shards", site)

    def wait_reviving(self, site, victim, condition, what):
        """Waits until condition(deaths) holds; the agent is started again when it has died. Returns how often it
        has."""
        deaths = 0

        def met():
            nonlocal deaths
            if not site.running:
                victim.wait_dead(0)
                victim.start(wait=True)
                deaths += 1
            return condition(deaths)
        wait_until(met, 60, what, site)
        return deaths

    def check_answered_once(self, site):
        """Each command has one answer, however often it was given, and at most one that is not marked as repeated."""
        for id in {a.command[1] for a in site.answers()}:
            found = site.answers(id)
            self.assertEqual(len({a.value for a in found}), 1, found)
            self.assertLessEqual(len([a for a in found if not a.repeated]), 1, found)
