"""The disk is lost under load: all of the data folder, or one shard's store. It is filled from the topic again.

SPDX-License-Identifier: Apache-2.0
"""

import shutil

from campaign import Campaign, Failed
from kills import PHASES


class Disks(Campaign):
    name = "disk"
    # How far repeats were answered is lost with the disk, where the topic does not say it.
    each_record = False

    def __init__(self, program, count, seed):
        super().__init__(program, count, seed)
        self.key = self.site.folder / "site.key"
        shutil.copy(self.site.agent.data_dir / "site.key", self.key)
        self.figures = {"all of the data folder lost": 0, "one store lost": 0, "killed while refilling": 0}

    def lose(self):
        agent = self.victim.agent
        if self.done % 2 == 0:
            shutil.rmtree(agent.data_dir)
            agent.init("--join", str(self.key))
            self.figures["all of the data folder lost"] += 1
            return
        shard = self.random.randrange(self.shards)
        shutil.rmtree(agent.data_dir / f"shard-{shard}")
        rebuilt = agent.cli("rebuild", "--from-topic", "--shard", shard)
        if rebuilt.code != 0:
            raise Failed(f"rebuild --from-topic ended with {rebuilt.code}: {rebuilt.err}")
        self.figures["one store lost"] += 1

    def rounds(self):
        while self.done < self.count:
            phase = self.random.choice([phase for phase in PHASES if phase != "takeover"])
            point = self.random.choice(list(PHASES[phase]))
            self.victim.disarm()
            self.victim.start()
            self.wait_answers(self.random.randint(500, 2000))
            self.victim.arm(point, self.random.randint(1, PHASES[phase][point]), settle=True)
            if not self.victim.wait_dead(3):
                self.victim.kill()
            self.look()
            self.check_store(self.victim.agent)
            self.lose()
            self.done += 1
            if self.random.random() < 0.5:
                self.victim.arm("claim.adopted", self.random.randint(1, 3))
                self.victim.start()
                self.figures["killed while refilling"] += self.victim.wait_dead(5)
                self.victim.kill()
        self.victim.disarm()
        self.victim.start()
        self.wait_answers(500)
        self.figures["disks lost"] = self.done
