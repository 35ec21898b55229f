"""What all campaigns share: a broker, a site, load, the checker, progress lines, and the end of it.

SPDX-License-Identifier: Apache-2.0
"""

import gzip
import random
import shutil
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests" / "lib"), str(ROOT / "tests" / "e2e")]

import kinlog_fixture  # noqa: E402
from checker import Checker  # noqa: E402
from kafka_broker import Broker  # noqa: E402
from traffic import Traffic  # noqa: E402
from victim import Victim  # noqa: E402

LOGS = ROOT / "build" / "test-logs" / "torture"
TOPICS = ("replies", "events", "commands", "dead-letters")  # in this order: see checker.py
SAME_EVERYWHERE = ("Sequence", "Chain", "Digests", "PolicyRevision", "Rules")
PROGRESS_S = 5
SAMPLE = 3000       # so many commands are asked again at the end
STALL_S = 90        # with no answer for so long, the load is stuck


class Failed(Exception):
    """The campaign cannot go on; what the checker has to say is told besides."""


class Campaign:
    """with Campaign(...) as campaign: campaign.run()"""

    name = "campaign"
    shards = 2
    each_record = True
    rate = 1000

    def __init__(self, program, count, seed):
        self.count, self.seed = count, seed
        self.random = random.Random(f"{self.name}-{seed}")
        self.broker = Broker()
        self.broker.start()
        self.site = kinlog_fixture.Site(self.broker, self.shards, prefix="torture")
        # The very program stays with the rest of a failed run, and a build meanwhile does no harm.
        kinlog_fixture.KINLOG = Path(shutil.copy(program, self.site.folder / "kinlog"))
        self.site.init()
        self.victim = Victim(self.site.agent)
        self.victims = [self.victim]
        self.checker = Checker(self.shards, Traffic.source)
        self.traffic = Traffic(self.site, seed, self.rate)
        self.began = time.monotonic()
        self.done = 0
        self.figures = {}   # name: number, printed at the end
        self._said = 0
        self._readers = {what: self.broker.reader(self.site.topic(what)) for what in TOPICS}
        self._progressed = time.monotonic()

    # ---- reading and judging -----------------------------------------------------------------------------

    def look(self):
        """Reads what is new in the topics, replies first, and judges it."""
        answered = len(self.checker.answered)
        take = {"replies": self.checker.take_answer, "events": self.checker.take_event,
                "commands": self.checker.take_command, "dead-letters": self.checker.take_dead_letter}
        for what in TOPICS:
            self._readers[what].read_on(take[what])
        self.checker.judge()
        self.traffic.answered = len(self.checker.answered)
        if self.traffic.failure:
            raise Failed(f"the load has failed: {self.traffic.failure!r}")
        if self.checker.complaints:
            raise Failed("the checker complains")
        if len(self.checker.answered) > answered:
            self._progressed = time.monotonic()
        self.say_progress()

    def check_store(self, agent):
        """A dead agent's store: what was answered stands in it, and the mark says that the topic has it."""
        for number, shard in agent.status().items():
            answered = self.checker.answered_up_to[number]
            for what in ("Sequence", "Published"):
                if shard[what] < answered:
                    self.checker.complain("store", f"shard {number}: event {answered} is answered, the dead agent's "
                                                   f"store says {what} {shard[what]}")

    def wait_for(self, condition, timeout_s, what):
        """Looks on and on until condition() holds."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.look()
            if condition():
                return
            if time.monotonic() > deadline:
                raise Failed(f"waited {timeout_s} s for {what}")
            time.sleep(0.05)

    def wait_answers(self, more, timeout_s=60):
        """Waits for so many more answered commands."""
        wanted = len(self.checker.answered) + more
        self.wait_for(lambda: len(self.checker.answered) >= wanted, timeout_s, f"{more} more answers")

    def say_progress(self, force=False):
        if not force and time.monotonic() - self._said < PROGRESS_S:
            return
        self._said = time.monotonic()
        checker = self.checker
        print(f"  {self.name} {self.done}/{self.count}  {self._said - self.began:4.0f} s  commands {self.traffic.sent}"
              f"  answered {len(checker.answered)}  events {sum(checker.sequence)}  void {checker.void}"
              f"  {self.words()}", flush=True)

    def words(self):
        """More for the progress line."""
        return ""

    # ---- the course of it --------------------------------------------------------------------------------

    def rounds(self):
        """The campaign itself: self.count disturbances under load."""
        raise NotImplementedError

    def short(self):
        """What the campaign did not reach: a list of sentences."""
        return []

    def owner(self):
        """The agent that is to finish the work; started if it does not run."""
        if not self.victim.agent.running:
            self.victim.disarm()
            self.victim.start()
        return self.victim.agent

    def wait_settled(self, agents):
        """Waits until the agents have decided and published all, and say the same."""
        def settled():
            shards = [shard for agent in agents for shard in agent.status().values()]
            return all(shard["Sequence"] == shard["Published"] == self.checker.sequence[shard["Shard"]]
                       for shard in shards)
        self.wait_for(settled, 60, "the agents to have all of the log")

    def ask_again(self):
        """A sample of all commands is sent once more, half of it behind a restart: the same answers, no event."""
        numbers = self.random.sample(range(self.traffic.sent), min(SAMPLE, self.traffic.sent))
        numbers = [n for n in numbers if self.checker.answers_to(self.traffic.id(n))]
        for half in (numbers[::2], numbers[1::2]):
            agent = self.owner()
            before = {n: self.checker.answers_to(self.traffic.id(n)) for n in half}
            events = dict(enumerate(self.checker.sequence))
            self.traffic.send_again(half)
            self.wait_for(lambda: all(self.checker.answers_to(self.traffic.id(n)) > count
                                      for n, count in before.items()), 60, "answers to repeated commands")
            if dict(enumerate(self.checker.sequence)) != events:
                self.checker.complain("doubled", f"repeated commands left events: {events} before, "
                                                 f"{self.checker.sequence} now")
            agent.stop()

    def content(self, agent):
        return {number: {name: shard[name] for name in SAME_EVERYWHERE} for number, shard in agent.status().items()}

    def compare_stores(self):
        """A store refilled from the topic alone has the same content; verify finds nothing in either."""
        agents = list(self.site.agents)
        for agent in agents:
            agent.stop()
        fresh = self.site.another("fresh")
        agents.append(fresh)
        self.wait_settled([fresh])
        fresh.stop()
        for agent in agents[:-1]:
            if self.content(agent) != self.content(fresh):
                self.checker.complain("digests", f"{agent.name}: {self.content(agent)}; refilled from the topic: "
                                                 f"{self.content(fresh)}")
        for agent in agents:
            verify = agent.cli("verify", timeout_s=300)
            if verify.code != 0:
                self.checker.complain("verify", f"{agent.name}: {verify.out}{verify.err}")

    def finish(self):
        """No more load: all is answered, asked again, compared."""
        self.traffic.stop()
        self.owner()
        self.wait_for(lambda: not (self.checker.unanswered() or self.checker.unburied()
                                   or (self.each_record and self.checker.underanswered())),
                      STALL_S, "the last answers")
        self.wait_settled([self.owner()])
        self.ask_again()
        self.compare_stores()
        self.look()
        self.checker.finish(self.each_record)

    def run(self):
        """Returns whether all is well; prints figures, complaints and the seed."""
        trouble = []
        try:
            self.traffic.start()
            self.wait_load()
            self.rounds()
            self.finish()
            trouble = self.short()
        except (Failed, AssertionError) as failure:
            trouble = [str(failure)]
        except Exception:   # of the broker, a client, the machine: what is there is kept all the same
            trouble = [traceback.format_exc()]
        trouble = self.checker.complaints + trouble
        self.report(trouble)
        if trouble:
            self.keep(trouble)
        return not trouble

    def wait_load(self):
        """Something lies in the topic before anything is killed."""
        self.wait_for(lambda: self.traffic.sent > 100, 30, "load")

    def report(self, trouble):
        self.say_progress(force=True)
        took = time.monotonic() - self.began
        for name, number in self.figures.items():
            print(f"    {name:32} {number:8}")
        print(f"    {'commands':32} {self.traffic.sent:8}\n"
              f"    {'answers (with repeated ones)':32} "
              f"{sum(a.count for a in self.checker.answered.values()):8}\n"
              f"    {'events, valid and void':32} {sum(self.checker.sequence):8} + {self.checker.void}\n"
              f"    {'seconds':32} {took:8.0f}")
        for line in trouble[:20]:
            print(f"  COMPLAINT {line}")
        if len(trouble) > 20:
            print(f"  and {len(trouble) - 20} more complaints")
        print(f"  {self.name}: {'FAILED' if trouble else 'well'}, seed {self.seed}", flush=True)

    def keep(self, trouble):
        """Data folders, logs and topics of a failed run."""
        folder = LOGS / f"{self.name}-{self.seed}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "complaints").write_text("\n".join(trouble) + "\n")
        for victim in self.victims:
            if victim.agent.running:
                victim.kill()
        shutil.copytree(self.site.folder, folder / "site", ignore=shutil.ignore_patterns("notify"))
        if not self.broker.running:
            self.broker.restart(kill=True)
        for what in TOPICS:
            with gzip.open(folder / f"{what}.gz", "wt", compresslevel=1) as out:
                try:
                    for record in self.broker.read(self.site.topic(what), timeout_s=120):
                        out.write(f"{record.partition}/{record.offset} {record.key} {record.headers} {record.value}\n")
                except Exception as failure:  # what is there helps already
                    out.write(f"not read to its end: {failure!r}\n")
        print(f"  kept: {folder.relative_to(ROOT)}", flush=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.traffic._stop.set()
        for reader in self._readers.values():
            reader.close()
        self.site.close()
        self.broker.close()
