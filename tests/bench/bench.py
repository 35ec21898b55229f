#!/usr/bin/python3
"""Measures the agent against librdkafka alone, on a real Kafka broker, in one run: bench.py [full|small]

Alternating: (a) librdkafka alone (passthrough.c), (b) the agent. Both are given the same commands, which lie
in the topic before either begins, so that none waits for a sender. The commands are CreateRelationship of
about 300 bytes; each makes one event and one answer. Two partitions and shards, since two cores are what is
measured on. The first rounds of each are thrown away: they warm the broker's JVM.

What the figures mean. A command counts when its answer is in the topic.

    passthrough_per_s   commands per second of (a), from the first one being there to the last delivery
                        report; median of the rounds at the small size
    commands_per_s      the same of (b), from when it may begin until the broker appended the last answer
    ratio               median of (b)/(a) within each pair of rounds
    cpu_us_per_command  processor time of the agent, user and system, all threads, from the moment it may
                        begin until it is quiet again (compactions included), per command, at the small size
    cpu_growth          that at the large size, divided by that at the small size
    p50_ms, p99_ms      from the moment a command is due at 2,000 per second to its answer at the client, at
                        the small size
    rss_mb              most resident memory (VmHWM) of the agent in the rounds at the large size
    fsyncs              calls of fsync and fdatasync by the agent in one round at the small size
    restart_s           from exec to the first answer at the large size, after SIGTERM; median
    rebuild_s           `kinlog rebuild --from-topic` and the start until ready, at the large size; median
    mix_per_s, mix_cpu_us_per_command, mix_p50_ms, mix_p99_ms
                        the agent alone over a mix of commands at the small size, as above: 60 % affinity, 20 %
                        reports of usage, 20 % associations, half of which two shards agree on (commands.h)

The small size is 10,000 relationships before each round (each round has a site of its own), the large size
1,000,000 (small: 50,000). The last line is JSON.

While others use the machine rates and latencies mean little, processor time still does; "processor time allows"
in the table is what rates would be if that of client and broker were the only limit.

SPDX-License-Identifier: Apache-2.0
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

from rig import SHARDS, BenchError, BenchSite, real_broker

SIZES = {
    #  relationships: small, large; commands of a round; rounds; restarts and rebuilds; latency: seconds, warm-up
    "full": dict(small=10000, large=1000000, count=100000, rounds=5, starts=3, seconds=15, warmup=3),
    "small": dict(small=10000, large=50000, count=30000, rounds=2, starts=1, seconds=4, warmup=1),
}


class Progress:
    """One line that is written over on a terminal, else a line for each step."""

    def __init__(self):
        self.tty, self.began, self.last = sys.stderr.isatty(), time.monotonic(), 0
        self.title = ""

    def step(self, title):
        self.title = title
        self._show(title)

    def count(self, done, total):
        if self.tty and time.monotonic() - self.last > 0.2:
            self._show(f"{self.title}: {done:,} of {total:,}")

    def _show(self, text):
        self.last = time.monotonic()
        line = f"[{self.last - self.began:5.0f} s] {text}"
        print(f"\r{line}\x1b[K" if self.tty else line, end="" if self.tty else "\n", file=sys.stderr, flush=True)

    def end(self):
        if self.tty:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


class Bench:
    """The run: what was measured so far, and the next step."""

    def __init__(self, sizes, progress, broker):
        self.sizes, self.progress, self.broker = sizes, progress, broker
        self.threads = 2
        broker.create_topics({name: (SHARDS, {}) for name in ("bench.events", "bench.replies")})

    def site(self, relationships, compression="none"):
        site = BenchSite(self.broker, max(1000, relationships // 20), compression)
        site.fill(relationships, lambda count: self.progress.count(count, relationships))
        return site

    def warm_up(self):
        """Both once, figures thrown away; and which form of (a) is the faster."""
        self.progress.step("warming up the broker")
        site = self.site(self.sizes["small"])
        seen = {1: [], 2: []}

        def both(first, counts):
            site.passthrough(first, counts, self.threads)
            for threads in (1, 2) * 2:
                seen[threads].append(site.passthrough(first, counts, threads)["per_s"])
        for _ in range(2):
            site.agent_round(self.sizes["count"], both)
        site.close()
        self.threads = max(seen, key=lambda threads: statistics.median(seen[threads]))

    def pair(self, site, compression="none"):
        agent, alone = site.agent_round(self.sizes["count"], lambda first, counts: site.passthrough(
            first, counts, self.threads, compression or "lz4"))
        return agent, alone

    def small_rounds(self, rounds, compression="none"):
        pairs = []
        for number in range(rounds):
            self.progress.step(f"{self.sizes['small']:,} relationships, round {number + 1} of {rounds}"
                               + ("" if compression else ", compressed"))
            site = self.site(self.sizes["small"], compression)
            pairs.append(self.pair(site, compression))
            pairs[-1][0]["disk"] = site.disk_bytes() / site.decided
            site.close()
        return pairs

    def latency(self, site):
        self.progress.step(f"2,000 commands a second, {site.relationships:,} relationships")
        return site.latency(self.sizes["seconds"], self.sizes["warmup"])

    def small_latency(self):
        site = self.site(self.sizes["small"])
        try:
            return self.latency(site)
        finally:
            site.close()

    def mix(self, rounds):
        """(rounds, latency) of a mix of commands."""
        found = []
        for number in range(rounds):
            self.progress.step(f"a mix of commands, round {number + 1} of {rounds}")
            site = self.site(self.sizes["small"])
            site.associate(self.sizes["count"])
            found.append(site.agent_round(self.sizes["count"], kind="mix"))
            if number + 1 == rounds:
                self.progress.step("2,000 commands of a mix a second")
                site.associate(2000 * (self.sizes["seconds"] + self.sizes["warmup"]))
                latency = site.latency(self.sizes["seconds"], self.sizes["warmup"], kind="mix")
            site.close()
        return found, latency

    def again(self, measure):
        """As often as the size says, but not for ever."""
        found, began = [], time.monotonic()
        while len(found) < self.sizes["starts"] and time.monotonic() - began < 60:
            found.append(measure())
        return found

    def profile(self, folder):
        self.progress.step("one round under perf")
        site = self.site(self.sizes["small"])
        result, _ = site.agent_round(self.sizes["count"], profile=folder / "round")
        self.progress.step("a rebuild under perf")
        site.profile_rebuild(folder / "rebuild")
        site.close()
        self.progress.end()
        print(f"CPU us per command, with perf at work: {result['cpu_us']:.1f}")
        threads("by thread: ", [(result, None)])
        for part in ("round", "rebuild"):
            print(f"\n{part}: what takes most; more in {folder / part}")
            print("".join((folder / part / "profile.txt").read_text().splitlines(keepends=True)[:25]))
        return 0

    def large(self):
        """All that is measured at the large size, on one site."""
        size = self.sizes["large"]
        self.progress.step(f"filling up to {size:,} relationships")
        site = self.site(size)
        found = {"filled_hwm_mb": site.usage.memory_mb()[1], "disk": site.disk_bytes() / site.decided}
        self.progress.step(f"{size:,} relationships: restart")
        found["restart"] = self.again(site.restart)
        self.progress.step(f"{size:,} relationships: rebuild from the topic")
        found["from_topic"] = self.again(lambda: site.rebuild("--from-topic"))
        self.progress.step(f"{size:,} relationships: rebuild of the views")
        found["views"] = self.again(site.rebuild)
        self.progress.step(f"{size:,} relationships: killed under load")
        found["killed"] = self.again(lambda: site.restart_killed(20000))
        site.agent.stop()
        site.start()
        found["pairs"] = []
        for number in range(self.sizes["rounds"]):
            self.progress.step(f"{size:,} relationships, round {number + 1} of {self.sizes['rounds']}")
            found["pairs"].append(self.pair(site))
        found["latency"] = self.latency(site)
        site.close()
        return found


# ---- what is printed ---------------------------------------------------------------------------------------

def middle(pairs, name, side=0):
    return statistics.median(pair[side][name] for pair in pairs)


def ratios(pairs):
    return [agent["per_s"] / alone["per_s"] for agent, alone in pairs]


def allowed(pairs, which):
    """Commands per second if nothing but processor time were the limit, of client and broker on all cores."""
    return [os.cpu_count() * 1e6 / (pair[which]["cpu_us"] + pair[which]["broker_us"]) for pair in pairs]


def spread(values, form):
    values = sorted(values)
    text = format(statistics.median(values), form)
    return text if len(values) == 1 else f"{text} ({format(values[0], form)}-{format(values[-1], form)})"


def side(pairs, name, form, which=0):
    return spread([pair[which][name] for pair in pairs], form)


def table(bench, small, packed, large, latency):
    sizes = bench.sizes
    pairs = large["pairs"]
    rows = [("", f"{sizes['small']:,}", f"{sizes['large']:,}", f"{sizes['small']:,}, compressed")]

    def row(title, values):
        rows.append((title, *values))
    three = (small, pairs, packed)
    row("librdkafka alone, commands/s", [side(p, "per_s", ",.0f", 1) for p in three])
    row("agent, commands/s", [side(p, "per_s", ",.0f") for p in three])
    row("agent / librdkafka alone", [spread(ratios(p), ".2f") for p in three])
    row("agent, CPU us per command", [side(p, "cpu_us", ".1f") for p in three])
    row("librdkafka alone, CPU us per command", [side(p, "cpu_us", ".1f", 1) for p in three])
    row("broker, CPU us per command, agent", [side(p, "broker_us", ".1f") for p in three])
    row("broker, CPU us per command, alone", [side(p, "broker_us", ".1f", 1) for p in three])
    row("processor time allows, agent, commands/s", [spread(allowed(p, 0), ",.0f") for p in three])
    row("processor time allows, alone, commands/s", [spread(allowed(p, 1), ",.0f") for p in three])
    row("agent / librdkafka alone, by that", [spread([a / b for a, b in zip(allowed(p, 0), allowed(p, 1))], ".2f")
                                              for p in three])
    row("fsyncs per round", [side(p, "fsyncs", ",.0f") for p in three])
    row("resident under load, MB", [side(p, "rss_mb", ".0f") for p in three])
    row("most resident (VmHWM), MB", [side(p, "hwm_mb", ".0f") for p in three])
    row("disk, bytes per command", [side(small, "disk", ".0f"), f"{large['disk']:.0f}", side(packed, "disk", ".0f")])
    both = (latency, large["latency"])
    for name in ("p50", "p90", "p99", "max"):
        row(f"2,000/s: {name}, ms", [f"{found[name + '_ms']:.1f}" for found in both] + [""])
    row("2,000/s: CPU us per command", [f"{found['cpu_us']:.1f}" for found in both] + [""])
    for what in ("events", "replies"):
        row(f"{what}: records per batch", [spread([agent[what][0] for agent, _ in p], ",.0f") for p in three])
        row(f"{what}: bytes per record", [spread([agent[what][1] / agent[what][0] for agent, _ in p], ",.0f")
                                          for p in three])
    row("others' share of the machine, agent's rounds", [side(p, "others", ".0%") for p in three])
    row("others' share, librdkafka alone", [side(p, "others", ".0%", 1) for p in three])
    from_topic = large["from_topic"]
    for title, values, form in (
            ("most resident while filled, MB", [large["filled_hwm_mb"]], ".0f"),
            ("restart to first answer, s", large["restart"], ".2f"),
            ("the same after SIGKILL under load, s", large["killed"], ".2f"),
            ("rebuild from the topic, ready, s", [found["ready_s"] for found in from_topic], ".2f"),
            ("rebuild from the topic, first answer, s", [found["answer_s"] for found in from_topic], ".2f"),
            ("rebuild from the topic, CPU s", [found["cpu_s"] for found in from_topic], ".1f"),
            ("rebuild from the topic, most resident, MB", [found["hwm_mb"] for found in from_topic], ".0f"),
            ("rebuild of the views alone, s", [found["command_s"] for found in large["views"]], ".2f"),
            ("rebuild of the views alone, CPU s", [found["command_cpu_s"] for found in large["views"]], ".1f")):
        row(title, ["", spread(values, form), ""])
    widths = [max(len(r[i]) for r in rows) for i in range(4)]
    for r in rows:
        print("  ".join([r[0].ljust(widths[0])] + [r[i].rjust(widths[i]) for i in range(1, 4)]).rstrip())


def print_mix(mix, latency):
    print(f"mix: agent {side(mix, 'per_s', ',.0f')}/s, CPU us {side(mix, 'cpu_us', '.1f')}, broker's "
          f"{side(mix, 'broker_us', '.1f')}, fsyncs {side(mix, 'fsyncs', ',.0f')}")
    print("mix at 2,000/s: " + ", ".join(f"{name} {latency[name + '_ms']:.1f} ms" for name in
                                         ("p50", "p90", "p99", "max")) + f", CPU us {latency['cpu_us']:.1f}")


def threads(title, pairs, kind="threads", which=0):
    found = [pair[which][kind] for pair in pairs]
    names = sorted({name for one in found for name in one})
    took = {name: statistics.median(one.get(name, 0) for one in found) for name in names}
    print(title + ", ".join(f"{name} {value:.1f}" for name, value in
                            sorted(took.items(), key=lambda item: -item[1]) if value >= 0.1))


def summary(small, large, latency, mix, mix_latency):
    cpu = middle(small, "cpu_us")
    return {"passthrough_per_s": round(middle(small, "per_s", 1)), "commands_per_s": round(middle(small, "per_s")),
            "ratio": round(statistics.median(ratios(small)), 3), "cpu_us_per_command": round(cpu, 1),
            "cpu_growth": round(middle(large["pairs"], "cpu_us") / cpu, 2), "p50_ms": latency["p50_ms"],
            "p99_ms": latency["p99_ms"], "rss_mb": round(max(agent["hwm_mb"] for agent, _ in large["pairs"])),
            "fsyncs": round(middle(small, "fsyncs")), "restart_s": round(statistics.median(large["restart"]), 2),
            "rebuild_s": round(statistics.median(found["ready_s"] for found in large["from_topic"]), 2),
            "mix_per_s": round(middle(mix, "per_s")), "mix_cpu_us_per_command": round(middle(mix, "cpu_us"), 1),
            "mix_p50_ms": mix_latency["p50_ms"], "mix_p99_ms": mix_latency["p99_ms"]}


def main():
    parser = argparse.ArgumentParser(description="Measures the agent against librdkafka alone.")
    parser.add_argument("size", nargs="?", choices=SIZES, default="full")
    parser.add_argument("--only", choices=["rounds", "mix"],
                        help="rounds: (a) and (b) at the small size, nothing else; mix: a mix of commands")
    parser.add_argument("--profile", metavar="FOLDER", type=Path,
                        help="one round and one rebuild of the agent under perf; profiles go to FOLDER")
    arguments = parser.parse_args()
    progress, load = Progress(), os.getloadavg()[0]
    sizes = SIZES[arguments.size]
    try:
        progress.step("starting a broker")
        with real_broker() as broker:
            bench = Bench(sizes, progress, broker)
            if arguments.profile:
                return bench.profile(arguments.profile)
            bench.warm_up()
            if arguments.only == "mix":
                found = bench.mix(sizes["rounds"])
                progress.end()
                print_mix(*found)
                threads("agent by thread: ", found[0])
                return 0
            small = bench.small_rounds(sizes["rounds"])
            if arguments.only:
                progress.end()
                print("processor time allows "
                      f"{spread([a / b for a, b in zip(allowed(small, 0), allowed(small, 1))], '.2f')} of "
                      f"{spread(allowed(small, 1), ',.0f')}/s")
                print(f"others {side(small, 'others', '.0%')}, events per batch "
                      f"{spread([agent['events'][0] for agent, _ in small], '.0f')}")
                print(f"alone {side(small, 'per_s', ',.0f', 1)}/s, agent {side(small, 'per_s', ',.0f')}/s, ratio "
                      f"{spread(ratios(small), '.2f')}, CPU us {side(small, 'cpu_us', '.1f')}, "
                      f"fsyncs {side(small, 'fsyncs', '.0f')}")
                threads("agent by thread: ", small)
                threads("broker by thread: ", small, "broker_threads")
                threads("broker by thread, librdkafka alone: ", small, "broker_threads", 1)
                return 0
            packed = bench.small_rounds(max(1, sizes["rounds"] // 2), compression=None)
            latency = bench.small_latency()
            mix, mix_latency = bench.mix(max(1, sizes["rounds"] // 2))
            large = bench.large()
    except BenchError as failure:
        progress.end()
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    progress.end()
    print(f"{sizes['count']:,} commands a round, {os.cpu_count()} cores, librdkafka alone with {bench.threads} "
          "thread(s); median (least-most)")
    print(f"load average {load:.1f} before the run" + (": others were at work, rates and latencies are not to be "
                                                       "relied on" if load > 0.5 else ""))
    table(bench, small, packed, large, latency)
    print_mix(mix, mix_latency)
    threads(f"agent's threads at {sizes['small']:,}, CPU us per command: ", small)
    threads(f"agent's threads at {sizes['large']:,}, CPU us per command: ", large["pairs"])
    threads("broker's threads, agent: ", small, "broker_threads")
    threads("broker's threads, librdkafka alone: ", small, "broker_threads", 1)
    print(json.dumps(summary(small, large, latency, mix, mix_latency), separators=(",", ":")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
