"""Two agents on the same shards: the owner is stopped in its tracks (SIGSTOP) with batches on their way, the other
takes over, the first goes on (SIGCONT). Nothing of it counts.

SPDX-License-Identifier: Apache-2.0
"""

import signal
import time

from campaign import Campaign
from victim import Victim

# where the owner is stopped, and how many passes to let go by
POINTS = {"batch.record": 300, "batch.decided": 5, "batch.committed": 5, "publish.half": 200, "publish.within": 100,
          "publish.all": 5, "publish.done": 5, "mark.committed": 3, "answer.half": 300, "answer.done": 10}
# Stopped behind any of these, it has a batch that is not decided, published or answered to its end.
IN_FLIGHT = set(POINTS) - {"answer.done"}
STOP_WAIT_S = 2


PAUSES_MAX = 4  # for each that is wanted: whether a batch is in flight is chance

class Pauses(Campaign):
    name = "pause"

    def __init__(self, program, count, seed):
        super().__init__(program, count, seed)
        self.in_flight = 0      # pauses that stopped an owner with a batch on its way: these are to be self.count
        self.figures = {"left void records": 0, "killed while paused": 0, "heir died behind its claim": 0}

    def words(self):
        return f"in flight {self.in_flight}"

    def claims(self):
        return [len(reader.claims) for reader in self.checker.readers]

    def wait_claimed(self, before):
        self.wait_for(lambda: all(now > then for now, then in zip(self.claims(), before)), 60, "the claims")

    def start(self, victim):
        """An agent that starts claims."""
        before = self.claims()
        victim.start()
        self.wait_claimed(before)

    def pause(self, owner):
        """Stops the owner; where a point does not come, at any time."""
        point = self.random.choice([*POINTS, None])
        if point:
            owner.arm(point, self.random.randint(1, POINTS[point]), signal.SIGSTOP, self.random.random() < 0.3)
        if not owner.wait_stopped(STOP_WAIT_S if point else self.random.uniform(0, 0.5)):
            owner.disarm()
            owner.agent.signal(signal.SIGSTOP)
            owner.wait_stopped(STOP_WAIT_S)
        owner.disarm()
        self.in_flight += owner.point in IN_FLIGHT

    def claim_and_die(self, heir, owner):
        """The heir claims and dies at once; what the owner had on its way lands behind the claim, before the heir
        claims again."""
        heir.arm(self.random.choice(["claim.sent", "claim.read"]), self.random.randint(1, self.shards))
        heir.agent.signal(signal.SIGHUP)
        if not heir.wait_dead(5):
            heir.kill()
        heir.disarm()
        owner.agent.signal(signal.SIGCONT)
        time.sleep(self.random.uniform(0, 0.5))     # enough for some of it, and sometimes for all
        self.start(heir)
        self.figures["heir died behind its claim"] += 1

    def wait_follows(self, victim):
        self.wait_for(lambda: {shard["Role"] for shard in victim.agent.status().values()} == {"follower"}, 60,
                      f"{victim.agent.name} to follow")

    def rounds(self):
        other = self.victim
        self.start(other)
        owner = Victim(self.site.another("second", start=False))
        self.victims.append(owner)
        self.start(owner)
        while self.short() and self.done < PAUSES_MAX * self.count:
            self.wait_answers(self.random.randint(50, 400))
            self.pause(owner)
            self.look()
            void = self.checker.void
            if self.random.random() < 0.35:
                self.claim_and_die(other, owner)
            else:
                before = self.claims()
                other.agent.signal(signal.SIGHUP)
                self.wait_claimed(before)
            self.wait_answers(self.random.randint(1, 200))
            if self.random.random() < 0.2:
                owner.kill()
                self.start(owner)
                self.figures["killed while paused"] += 1
                other, owner = owner, other
            elif owner.stopped:
                owner.agent.signal(signal.SIGCONT)
            self.wait_follows(owner)
            self.done += 1
            self.figures["left void records"] += self.checker.void > void
            other, owner = owner, other
        self.victim = owner
        self.figures.update({"pauses": self.done, "of these with a batch in flight": self.in_flight})

    def short(self):
        if self.in_flight >= self.count:
            return []
        return [f"only {self.in_flight} of {self.done} pauses with a batch in flight, {self.count} are wanted"]

    def wait_settled(self, agents):
        """The follower, too, comes to the end of the log."""
        super().wait_settled([v.agent for v in self.victims if v.agent.running] if len(agents) == 1 and
                             agents[0] is self.victim.agent else agents)
