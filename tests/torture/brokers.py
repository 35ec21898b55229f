"""SIGKILL for the broker under load; the agent stays up and goes on by itself.

SPDX-License-Identifier: Apache-2.0
"""

import signal
import time

from campaign import Campaign, Failed

PATIENCE_S = 3      # then, in three of four rounds, the agent is told by SIGHUP not to wait any longer
MORE = 100          # so many more answers show that it goes on


class Brokers(Campaign):
    name = "broker"

    def rounds(self):
        self.victim.start()
        pid = self.victim.agent.pid
        told = 0
        while self.done < self.count:
            self.wait_answers(self.random.randint(MORE, 4 * MORE))
            time.sleep(self.random.uniform(0, 0.3))
            self.broker.kill()
            time.sleep(self.random.uniform(0, 1))
            self.broker.start()
            self.done += 1
            told += self.wait_recovery(self.random.random() < 0.75)
        self.figures["brokers killed"] = self.done
        self.figures["told by SIGHUP"] = told
        if not self.victim.agent.running or self.victim.agent.pid != pid:
            raise Failed("the agent has ended")

    def wait_recovery(self, impatient):
        """Returns whether the agent had to be told."""
        began, told = time.monotonic(), False
        wanted = len(self.checker.answered) + MORE

        def recovered():
            nonlocal told
            if impatient and not told and time.monotonic() - began > PATIENCE_S:
                told = True
                self.victim.agent.signal(signal.SIGHUP)
            return len(self.checker.answered) >= wanted

        self.wait_for(recovered, 60, "answers behind the broker's return")
        return told
