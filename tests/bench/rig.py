"""What the benchmark works with: a warm broker, sites filled to a size, loads, and what processes used.

SPDX-License-Identifier: Apache-2.0
"""

import json
import mmap
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(ROOT / "tests" / "lib")]

from confluent_kafka import Consumer, TopicPartition  # noqa: E402
from kafka_broker import Broker  # noqa: E402
from kinlog_fixture import Site  # noqa: E402

PROGRAMS = ROOT / os.environ.get("OUT", "build") / "tests" / "bench"
SHARDS = 2
TICKS = os.sysconf("SC_CLK_TCK")
APPENDED = {"message.timestamp.type": "LogAppendTime"}


class BenchError(Exception):
    """Something did not work; no figure may rest on it."""


def run(program, **arguments):
    """Runs one of the programs in C; returns what it printed."""
    command = [str(PROGRAMS / program)]
    for name, value in arguments.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise BenchError(f"{program} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout


class Usage:
    """What a process used of processor and memory, from /proc."""

    def __init__(self, pid):
        self.pid = pid

    def cpu_s(self):
        """User and system time of all its threads, ended ones included."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def threads(self):
        """{name: seconds}, threads of one name added up."""
        found = {}
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            try:
                # The first number of schedstat is the time on a processor, in nanoseconds.
                took = int((task / "schedstat").read_text().split()[0]) / 1e9
                name = (task / "comm").read_text().strip()
            except OSError:
                continue  # it has ended
            found[name] = found.get(name, 0) + took
        return found

    def threads_us(self, before, count):
        """{name: microseconds per command} since threads() gave before."""
        return {name: (used - before.get(name, 0)) * 1e6 / count for name, used in self.threads().items()}

    def memory_mb(self):
        """(resident now, most so far)"""
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines())
        return tuple(int(lines[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))


class Others:
    """How much of the machine went to processes that are no part of what is measured."""

    def __init__(self, *pids):
        self.usages = [Usage(pid) for pid in pids]
        self.began, self.busy, self.own = time.monotonic(), self._busy_s(), self._own_s()

    @staticmethod
    def _busy_s():
        with open("/proc/stat") as stat:
            user, nice, system, _, _, irq, softirq, steal = map(int, stat.readline().split()[1:9])
        return (user + nice + system + irq + softirq + steal) / TICKS

    def _own_s(self):
        mine = os.times()
        return sum(usage.cpu_s() for usage in self.usages) + sum(mine[:4])

    def share(self):
        """Since this was made, of all cores: 0 to 1."""
        busy = (self._busy_s() - self.busy) - (self._own_s() - self.own)
        return max(0, busy / (time.monotonic() - self.began) / os.cpu_count())


class FsyncCount:
    """Counts a program's fsyncs, by a library that is preloaded into it (count_fsync.c)."""

    def __init__(self, path):
        path.write_bytes(bytes(mmap.PAGESIZE))
        self.environment = {"LD_PRELOAD": str(PROGRAMS / "count_fsync.so"), "COUNT_FSYNC_FILE": str(path)}
        with open(path, "r+b") as file:
            self._shared = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def value(self):
        return struct.unpack_from("=Q", self._shared)[0]


class Profile:
    """perf on a process: where its time goes, as profile.txt and callers.txt in a folder."""

    def __init__(self, pid, folder):
        self.pid, self.folder = pid, folder
        folder.mkdir(parents=True, exist_ok=True)
        self._data = str(folder / "perf.data")
        self._perf = subprocess.Popen(  # of all processes: else threads that it just begins would be missed
            ["perf", "record", "-q", "-F", "997", "--call-graph", "fp", "-a", "-o", self._data],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.5)  # perf says nothing when it has attached

    def end(self):
        self._perf.send_signal(signal.SIGINT)
        self._perf.wait()
        for name, options in (("profile.txt", ["--no-children", "-s", "dso,symbol"]),
                              ("callers.txt", ["--children", "-s", "symbol"])):
            done = subprocess.run(["perf", "report", "-q", "-i", self._data, "--pid", str(self.pid), "--percentage",
                                   "relative", "--stdio", "-g", "none", *options], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            lines = [re.sub(r"[\s-]+$", "\n", line) for line in done.stdout.splitlines()]
            (self.folder / name).write_text("".join(lines))


def real_broker():
    """Not started yet. With the compiler and collector that brokers run with; the tests' broker has small ones."""
    return Broker(heap_mb=1024, java_options=["-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"])


class Topic:
    """Watermarks and times of one topic, by a consumer that stays connected."""

    def __init__(self, broker, name):
        self.broker, self.name = broker, name
        self._consumer = Consumer(broker.client_settings(**{
            "group.id": "kinlog-bench", "enable.auto.commit": False, "auto.offset.reset": "error",
            "fetch.wait.max.ms": 10}))

    def close(self):
        self._consumer.close()

    def ends(self):
        """[next offset of each partition]"""
        return [self._consumer.get_watermark_offsets(TopicPartition(self.name, p), timeout=20)[1]
                for p in range(SHARDS)]

    def time_of(self, partition, offset):
        """When the broker appended a record, in seconds."""
        self._consumer.assign([TopicPartition(self.name, partition, offset)])
        try:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                message = self._consumer.poll(0.1)
                if message is not None and not message.error():
                    return message.timestamp()[1] / 1000
            raise BenchError(f"{self.name} [{partition}] {offset} is not to be read")
        finally:
            self._consumer.unassign()

    def batches(self, before):
        """(records, bytes) per batch of what was appended since ends() gave before, by the broker's own files: 61
        bytes of header, of which the first offset, the size and the number of records are read."""
        count = records = size = 0
        for partition in range(SHARDS):
            for path in (self.broker.folder / "data" / f"{self.name}-{partition}").glob("*.log"):
                with open(path, "rb") as file:
                    while len(header := file.read(61)) == 61:
                        offset, length = struct.unpack_from(">qi", header)
                        if length <= 0:
                            break  # the rest of the file is reserved, not written
                        if offset >= before[partition]:
                            count, size = count + 1, size + 12 + length
                            records += struct.unpack_from(">i", header, 57)[0]
                        file.seek(12 + length - 61, os.SEEK_CUR)
        return records / count, size / count

    def last_time(self, before, after):
        """When the broker appended the last of the records between two ends()."""
        return max(self.time_of(p, after[p] - 1) for p in range(SHARDS) if after[p] > before[p])


class BenchSite:
    """A site with an agent, filled up to a number of relationships; the agent runs."""

    _number = 0

    def __init__(self, broker, devices, compression):
        BenchSite._number += 1
        self.broker, self.devices = broker, devices
        extra = f"[kafka.producer]\ncompression.codec = {compression}\n" if compression else ""
        self.site = Site(broker, shards=SHARDS, site="bench", prefix=f"bench{BenchSite._number}", extra=extra)
        self.agent = self.site.agent
        self.fsyncs = FsyncCount(self.site.folder / "fsyncs")
        self.agent.init()
        broker.alter_topic(self.site.topic("replies"), APPENDED)
        self.replies, self.commands, self.events = (
            Topic(broker, self.site.topic(what)) for what in ("replies", "commands", "events"))
        self.relationships, self.decided = 0, 0
        self.start()
        self._send("device", 0, devices)

    def close(self):
        for topic in (self.replies, self.commands, self.events):
            topic.close()
        self.site.close()
        for what in ("commands", "events", "replies"):
            self.broker.delete_topic(self.site.topic(what))

    # ---- the agent ------------------------------------------------------------------------------------

    def start(self, **options):
        self.agent.start(environment=self.fsyncs.environment, **options)

    @property
    def usage(self):
        return Usage(self.agent.pid)

    def freeze(self):
        self.agent.signal(signal.SIGSTOP)

    def thaw(self):
        self.agent.signal(signal.SIGCONT)

    def disk_bytes(self):
        """Of the data folder; what files have reserved and not written yet is left out."""
        files = [path.stat() for path in self.agent.data_dir.rglob("*") if path.is_file()]
        return sum(min(file.st_size, file.st_blocks * 512) for file in files)

    # ---- commands -------------------------------------------------------------------------------------

    def send(self, count, kind="create"):
        """Puts commands into the topic: ([first offsets], [counts]) by partition."""
        before = self.commands.ends()
        self._send(kind, self.relationships, count)
        self.relationships += count
        return before, [after - first for first, after in zip(before, self.commands.ends())]

    def _send(self, kind, first, count):
        run("generate", brokers=self.broker.bootstrap, topic=self.site.topic("commands"), kind=kind, first=first,
            count=count, devices=self.devices)
        self.decided += count

    def wait_answers(self, total, step=lambda count: None, timeout_s=600):
        """Waits until that many answers are in the topic."""
        deadline, last, moved = time.monotonic() + timeout_s, -1, time.monotonic()
        while (count := sum(self.replies.ends())) < total:
            step(count)
            if count > last:
                last, moved = count, time.monotonic()
            if time.monotonic() > min(deadline, moved + 60) or not self.agent.running:
                raise BenchError(f"{count} of {total} commands are answered, and no more come:\n"
                                 f"{self.agent.log_tail(20)}")
            time.sleep(0.2)  # each look costs the broker something; times are taken from the records
        step(count)

    def fill(self, relationships, step=lambda count: None):
        """Up to that many relationships, all answered."""
        while self.relationships < relationships:
            self.send(min(200000, relationships - self.relationships))
            step(sum(self.replies.ends()))
        self.wait_answers(self.decided, step)
        self.wait_quiet()

    def associate(self, count):
        """Adds the associations that the next so many commands of a mix delete."""
        self._send("associate", self.relationships // 10, count // 10 + 1)
        self.wait_answers(self.decided)
        self.wait_quiet()

    def wait_quiet(self):
        """Until the agent has nothing to do any more, compactions included."""
        before = self.usage.cpu_s()
        for _ in range(100):
            time.sleep(0.3)
            now = self.usage.cpu_s()
            if now - before <= 0.02:
                return
            before = now

    # ---- what is measured -------------------------------------------------------------------------------

    def passthrough(self, first, counts, threads, compression="none", **more):
        """librdkafka alone over these commands."""
        broker, others = Usage(self.broker.pid), Others(self.broker.pid)
        broker_began, broker_threads = broker.cpu_s(), broker.threads()
        result = json.loads(run("passthrough", brokers=self.broker.bootstrap, commands=self.site.topic("commands"),
                                events="bench.events", replies="bench.replies", first=",".join(map(str, first)),
                                count=",".join(map(str, counts)), threads=threads, compression=compression, **more))
        count = result["commands"]
        if count != sum(counts):
            raise BenchError(f"{count} of {sum(counts)} commands went through")
        return {"per_s": count / result["seconds"], "cpu_us": result["cpu_us"] / count,
                "broker_us": (broker.cpu_s() - broker_began) * 1e6 / count, "others": others.share(),
                "broker_threads": broker.threads_us(broker_threads, count)}

    def agent_round(self, count, between=None, profile=None, kind="create"):
        """The agent over count commands that lie in the topic when it begins. It is stopped (SIGSTOP) while they
        are put there, and while between(first, counts) runs, which has the same commands. profile: a folder."""
        self.wait_quiet()
        self.freeze()
        sent = self.send(count, kind)
        other = between(*sent) if between else sent
        before, events = self.replies.ends(), self.events.ends()
        usage, broker = self.usage, Usage(self.broker.pid)
        profiler = Profile(self.agent.pid, profile) if profile else None
        threads, cpu, fsyncs = usage.threads(), usage.cpu_s(), self.fsyncs.value()
        broker_cpu, broker_threads = broker.cpu_s(), broker.threads()
        others, resident, began = Others(self.agent.pid, self.broker.pid), [], time.time()
        self.thaw()
        self.wait_answers(sum(before) + count, lambda _: resident.append(usage.memory_mb()[0]))
        broker_cpu, others = broker.cpu_s() - broker_cpu, others.share()
        broker_threads = broker.threads_us(broker_threads, count)
        self.wait_quiet()
        if profiler:
            profiler.end()
        took = self.replies.last_time(before, self.replies.ends()) - began
        result = {"per_s": count / took, "cpu_us": (usage.cpu_s() - cpu) * 1e6 / count,
                  "broker_us": broker_cpu * 1e6 / count, "others": others,
                  "fsyncs": self.fsyncs.value() - fsyncs, "rss_mb": max(resident), "hwm_mb": usage.memory_mb()[1],
                  "events": self.events.batches(events), "replies": self.replies.batches(before),
                  "threads": usage.threads_us(threads, count), "broker_threads": broker_threads}
        self.check()
        return result, other

    def check(self):
        """A figure counts only if every command had its effect."""
        refused = sum(shard["Refused"] for shard in self.agent.status().values())
        events = sum(self.events.ends())
        if refused or events < self.decided:
            raise BenchError(f"of {self.decided} commands {refused} were refused; there are {events} events")

    def latency(self, seconds, warmup, rate=2000, kind="create"):
        first, self.relationships = self.relationships, self.relationships + rate * (seconds + warmup)
        self.decided += rate * (seconds + warmup)
        cpu = self.usage.cpu_s()
        result = json.loads(run("latency", brokers=self.broker.bootstrap, commands=self.site.topic("commands"),
                                replies=self.site.topic("replies"), partitions=SHARDS, kind=kind,
                                first=first, devices=self.devices, rate=rate, seconds=seconds, warmup=warmup))
        result["cpu_us"] = (self.usage.cpu_s() - cpu) * 1e6 / (rate * (seconds + warmup))
        self.check()
        return result

    def first_answer_s(self, begin):
        """Puts one command into the topic, calls begin(), and takes the time until an answer comes."""
        reader = self.broker.reader(self.site.topic("replies"), from_end=True)
        try:
            reader.poll(0.2)  # connected, and at the end
            self.send(1)
            began = time.monotonic()
            begin()
            while reader.poll(0.05) is None:
                if time.monotonic() > began + 120:
                    raise BenchError(f"no answer within 120 s of a start:\n{self.agent.log_tail(20)}")
            return time.monotonic() - began
        finally:
            reader.close()

    def restart(self):
        """Seconds from exec to the first answer, after SIGTERM."""
        self.agent.stop()
        return self.first_answer_s(lambda: self.start(wait=False))

    def restart_killed(self, count):
        """The same after SIGKILL in the middle of count commands."""
        answered = sum(self.replies.ends())
        self.send(count)
        self.wait_answers(answered + count // 4)
        self.agent.kill()
        took = self.first_answer_s(lambda: self.start(wait=False))
        self.wait_quiet()
        return took

    def profile_rebuild(self, folder):
        """Filling a new store from the topic, under perf."""
        self.agent.stop()
        self.agent.cli("rebuild", "--from-topic")
        profilers = []

        def begin():
            self.start(wait=False)
            profilers.append(Profile(self.agent.pid, folder))
        self.first_answer_s(begin)
        profilers[0].end()

    def rebuild(self, *options):
        """`kinlog rebuild` on the stopped agent, then its start until it is ready: seconds of the command, until
        ready, until an answer; processor seconds of both programs until then; most memory of the agent."""
        self.agent.stop()
        for old in self.agent.data_dir.glob("shard-*.old-*"):
            shutil.rmtree(old)
        began, ended = time.monotonic(), os.times()
        result = self.agent.cli("rebuild", *options, timeout_s=600)
        if result.code != 0:
            raise BenchError(f"kinlog rebuild ended with {result.code}: {result.err}")
        command_s = time.monotonic() - began
        command_cpu_s = sum(os.times()[2:4]) - sum(ended[2:4])
        marks = {}

        def begin():
            self.start(timeout_s=600)
            marks["ready"] = time.monotonic()
        answer_s = self.first_answer_s(begin)
        return {"command_s": command_s, "ready_s": command_s + answer_s - (time.monotonic() - marks["ready"]),
                "answer_s": command_s + answer_s, "cpu_s": command_cpu_s + self.usage.cpu_s(),
                "command_cpu_s": command_cpu_s, "hwm_mb": self.usage.memory_mb()[1]}
