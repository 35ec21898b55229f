"""SIGKILL for the agent under load, in every phase of a batch and on the way to ownership.

Each kill is counted in the phase that it hit, by what is then to be seen, not by what was meant: a batch on
disk and unpublished is one that the dead agent's store has and the topic has not.

SPDX-License-Identifier: Apache-2.0
"""

import time

from campaign import Campaign

# phase: the points behind which it lies, and how many passes of them to let go by
PHASES = {
    "before the batch": {"batch.begin": 12},
    "in it": {"batch.record": 1500, "batch.decided": 12},
    "on disk, unpublished": {"batch.committed": 12},
    "half published": {"publish.half": 800, "publish.within": 400},
    "published, unanswered": {"publish.done": 12, "mark.committed": 8, "answer.half": 1500},
    "takeover": {"claim.sent": 2, "claim.adopted": 3, "claim.read": 2, "rest.half": 40, "answered.again": 2},
}
PHASE_OF = {point: phase for phase, points in PHASES.items() for point in points}
OTHER = "elsewhere"     # between two batches, or before the first point
POINT_WAIT_S = 3


class Kills(Campaign):
    name = "kill"

    def __init__(self, program, count, seed):
        super().__init__(program, count, seed)
        self.least = max(min(2, count // 10), count // 20)
        self.phases = dict.fromkeys(list(PHASES) + [OTHER], 0)
        self.left_unpublished = False   # by the agent that died last

    def words(self):
        return "  ".join(f"{phase} {number}" for phase, number in self.phases.items())

    def plan(self):
        """(point, passes) or (None, seconds)"""
        if self.random.random() < 0.2:
            return None, self.random.uniform(0.02, 2.5)
        fewest = min(number for phase, number in self.phases.items() if phase != OTHER)
        phase = self.random.choice([p for p in PHASES if self.phases[p] <= fewest + 1])
        points = list(PHASES[phase])
        if phase == "takeover" and self.left_unpublished:
            points = ["rest.half"]      # is met only now
        point = self.random.choice(points)
        return point, self.random.randint(1, PHASES[phase][point])

    def phase(self):
        """In which phase the dead agent was."""
        self.left_unpublished = any(shard["Sequence"] > self.checker.sequence[number]
                                    for number, shard in self.victim.agent.status().items())
        meant = PHASE_OF.get(self.victim.point, OTHER)
        if meant in ("before the batch", "in it", "takeover"):
            return meant
        if self.left_unpublished:
            return "half published" if meant == "half published" else "on disk, unpublished"
        return "published, unanswered" if self.checker.decided_unanswered() > 0 else OTHER

    def rounds(self):
        while self.done < self.count or (self.short() and self.done < 1.5 * self.count):
            point, passes = self.plan()
            self.victim.disarm()
            if point:
                self.victim.arm(point, passes, settle=True)
            self.victim.start()
            if not self.victim.wait_dead(POINT_WAIT_S if point else passes):
                self.victim.kill()
            self.done += 1
            self.look()
            self.phases[self.phase()] += 1
            self.check_store(self.victim.agent)

    def report(self, trouble):
        self.figures.update({f"killed: {phase}": number for phase, number in self.phases.items()})
        super().report(trouble)

    def short(self):
        return [f"only {self.phases[phase]} kills {phase}, {self.least} are wanted"
                for phase in PHASES if self.phases[phase] < self.least]
