"""What the end-to-end tests stand on: a site of Kinlog, its commands, answers and events, its command line.

    class Some(KinlogTest):
        def test_it(self):
            site = self.site(shards=2)                        # init and run, on this module's broker
            id = site.send("RegisterDevice", {"ResourceID": 7, "Name": "PC7"})
            answer = site.answer(id)                          # waits for it
            self.assertEqual(answer.data["Outcome"], "accepted")

Nothing here imports or reads what the program was generated from.

SPDX-License-Identifier: Apache-2.0
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import uuid
from collections import namedtuple
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "lib"), str(ROOT / "tests" / "torture")]

from kafka_broker import Broker, BrokerError  # noqa: E402
from kafka_proxy import Proxy  # noqa: E402
from victim import Victim  # noqa: E402

KINLOG = ROOT / os.environ.get("OUT", "build") / "kinlog"
LOGS = ROOT / "build" / "test-logs" / "agents"
SLOTS = 240
WITH_CRASH_POINTS = KINLOG.parent / "variants" / "torture" / "kinlog"

Result = namedtuple("Result", "code out err")


class Message:
    """An answer or event as it stands in its topic."""

    def __init__(self, record):
        self.record = record
        self.partition, self.offset = record.partition, record.offset
        self.key = record.key
        self.value = record.value
        self.header_names = [name for name, _ in record.headers]
        self.headers = {name: (None if value is None else value.decode("utf-8", "replace"))
                        for name, value in record.headers}
        try:
            self.data = None if record.value is None else json.loads(record.value)
        except (ValueError, RecursionError):
            self.data = None

    @property
    def id(self):
        return self.headers.get("ce_id")

    @property
    def type(self):
        """Without "kinlog." and version: "RelationshipCreated"."""
        return self.headers.get("ce_type", "").removeprefix("kinlog.").rsplit(".v", 1)[0]

    @property
    def command(self):
        """(source, id) of the command that caused it."""
        return self.headers.get("ce_causationsource"), self.headers.get("ce_causationid")

    @property
    def repeated(self):
        return self.headers.get("ce_repeated") == "true"

    def __repr__(self):
        return f"<{self.type} {self.id} at {self.partition}/{self.offset} {self.data}>"


def murmur2(data):
    """As Java's client has it (seed 0x9747b28c)."""
    mask, m = 0xffffffff, 0x5bd1e995
    h = 0x9747b28c ^ len(data)
    whole = len(data) & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i:i + 4], "little") * m & mask
        k ^= k >> 24
        h = (h * m & mask) ^ (k * m & mask)
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return h ^ (h >> 15)


def slot_of(key):
    """The slot of a record key ("device:7")."""
    return (murmur2(key.encode() if isinstance(key, str) else key) & 0x7fffffff) % SLOTS


class Agent:
    """One process `kinlog run`; Site has one, a second one may join the same site."""

    def __init__(self, site, name, kafka=None, extra=""):
        self.site, self.name = site, name
        self.folder = site.folder / name
        self.data_dir = self.folder / "data"
        self.config_path = self.folder / "kinlog.conf"
        self.log_path = self.folder / "agent.log"
        self.program = None  # another than KINLOG
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process = None
        self.write_config(kafka, extra)

    def write_config(self, kafka=None, extra=""):
        """kafka: more librdkafka properties; extra: text put at the end of the file."""
        site = self.site
        lines = ["[agent]", f"data_dir = {self.data_dir}", f"site = {site.name}",
                 "[topics]", f"prefix = {site.prefix}", f"create = {'true' if site.create else 'false'}",
                 f"partitions = {site.shards}"]
        if site.reply_allow:
            lines.append("reply_allow = " + ", ".join(site.reply_allow))
        lines += ["[kafka]", f"bootstrap.servers = {site.broker.bootstrap}", "broker.address.family = v4"]
        lines += [f"{name} = {value}" for name, value in (kafka or {}).items()]
        self.config_path.write_text("\n".join(lines) + "\n" + extra)

    @property
    def environment(self):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("KINLOG_")}
        clean.setdefault("ASAN_OPTIONS", "detect_leaks=1")
        clean["LC_ALL"] = "C.UTF-8"
        return clean

    # ---- life ---------------------------------------------------------------------------------------

    def init(self, *options, check=True):
        """kinlog init; returns the Result."""
        result = self.cli("init", *options)
        if check and result.code != 0:
            raise AssertionError(f"kinlog init ended with {result.code}:\n{result.out}{result.err}")
        return result

    def start(self, *options, wait=True, timeout_s=40, environment=None):
        """kinlog run; returns when it says that it is ready (sd_notify)."""
        if self.running:
            raise AssertionError("the agent runs already")
        notify_path = str(self.folder / "notify")
        if os.path.exists(notify_path):
            os.unlink(notify_path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, open(self.log_path, "ab") as log:
            notify.bind(notify_path)
            notify.settimeout(0.1)
            self._process = subprocess.Popen(
                [str(self.program or KINLOG), "run", "--config", str(self.config_path), *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                env={**self.environment, **(environment or {}), "NOTIFY_SOCKET": notify_path})
            if wait:
                self._wait_ready(notify, timeout_s)
        return self

    def _wait_ready(self, notify, timeout_s):
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                if b"READY=1" in notify.recv(4096).split(b"\n"):
                    return
            except TimeoutError:
                pass
            code = self._process.poll()
            if code is not None:
                self._process = None
                raise AssertionError(f"kinlog run ended with {code} before it was ready:\n{self.log_tail()}")
        raise AssertionError(f"kinlog run was not ready after {timeout_s} s:\n{self.log_tail()}")

    @property
    def running(self):
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self):
        return self._process.pid

    def wait(self, timeout_s=20):
        """Waits until the agent has ended by itself; returns its exit code."""
        code = self._process.wait(timeout_s)
        self._process = None
        return code

    def signal(self, number):
        os.kill(self.pid, number)

    def stop(self, timeout_s=10, check=True):
        """SIGTERM; the agent has ten seconds, and must end with 0. Returns the exit code."""
        if not self._process:
            return None
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            code = self.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the agent did not stop within {timeout_s} s:\n{self.log_tail()}") from None
        if check and code != 0:
            raise AssertionError(f"the agent ended with {code}:\n{self.log_tail()}")
        return code

    def kill(self):
        """SIGKILL."""
        if self._process:
            self._process.kill()
            self.wait()

    def restart(self, kill=False, **options):
        if kill:
            self.kill()
        else:
            self.stop()
        return self.start(**options)

    def log_text(self):
        try:
            return self.log_path.read_text(errors="replace")
        except OSError:
            return ""

    def log_tail(self, lines=60):
        return "\n".join(self.log_text().splitlines()[-lines:])

    def wait_log(self, text, timeout_s=20):
        """Waits until the agent's log holds the text."""
        wait_until(lambda: text in self.log_text(), timeout_s, f"{text!r} in the agent's log", self)

    # ---- command line ---------------------------------------------------------------------------------

    def cli(self, *arguments, stdin=None, timeout_s=60, config=True, environment=None):
        """Runs `kinlog ARGUMENTS... --config FILE`: Result(code, out, err)."""
        command = [str(self.program or KINLOG), *map(str, arguments)]
        if config:
            command += ["--config", str(self.config_path)]
        run = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             timeout=timeout_s, cwd=self.folder, env={**self.environment, **(environment or {})},
                             **({} if stdin is not None else {"stdin": subprocess.DEVNULL}))
        return Result(run.returncode, run.stdout, run.stderr)

    def ndjson(self, *arguments, **options):
        """The objects that `kinlog ARGUMENTS... --ndjson` prints."""
        result = self.cli(*arguments, "--ndjson", **options)
        if result.code != 0:
            raise AssertionError(f"kinlog {' '.join(map(str, arguments))} ended with {result.code}:\n"
                                 f"{result.out}{result.err}")
        return [json.loads(line) for line in result.out.splitlines()]

    def json(self, *arguments, **options):
        """The document that `kinlog ARGUMENTS... --json` prints."""
        result = self.cli(*arguments, "--json", **options)
        if result.code != 0:
            raise AssertionError(f"kinlog {' '.join(map(str, arguments))} ended with {result.code}:\n"
                                 f"{result.out}{result.err}")
        return json.loads(result.out)

    def status(self):
        """{shard: its part of `kinlog status --json`}"""
        document = self.json("status")
        if isinstance(document, dict):
            document = document.get("Shards", [document])
        return {shard["Shard"]: shard for shard in document}


class Site:
    """The topics of one prefix, the first agent on them (`agent`), and the other systems that send and read.

    What a Site does not have itself (init, start, stop, kill, cli, status, ...) is asked of its first agent."""

    def __init__(self, broker, shards=1, site="test", prefix="kinlog", create=True, reply_allow=(),
                 kafka=None, extra="", source="/tests"):
        self.broker, self.shards, self.name, self.prefix, self.create = broker, shards, site, prefix, create
        self.reply_allow, self.source = list(reply_allow), source
        self.folder = Path(tempfile.mkdtemp(prefix="kinlog-site-"))
        self._readers, self._seen = {}, {}
        self.agent = Agent(self, "agent", kafka, extra)
        self.agents = [self.agent]

    def __getattr__(self, attribute):
        if attribute == "agent":  # not made yet
            raise AttributeError(attribute)
        return getattr(self.agent, attribute)

    def topic(self, what):
        """commands, events, replies, dead-letters, storage"""
        return f"{self.prefix}.{what}"

    def victim(self):
        """The agent, with crash points: not started."""
        self.agent.program = WITH_CRASH_POINTS
        return Victim(self.agent)

    def another(self, name="second", join=True, start=True, **options):
        """A second agent of the same site, with its own data folder and the same site key."""
        agent = Agent(self, name, **options)
        agent.init(*(["--join", str(self.data_dir / "site.key")] if join else []))
        self.agents.append(agent)
        return agent.start() if start else agent

    def close(self):
        """Kills what runs, forgets the readers, removes the folder."""
        for agent in self.agents:
            agent.kill()
        for reader in self._readers.values():
            reader.close()
        self._readers = {}
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- commands -------------------------------------------------------------------------------------

    def shard_of(self, key):
        return slot_of(key) % self.shards

    def route(self, data):
        """(key, partition) that a well-behaved sender would use; None where it cannot know."""
        fields = {name.lower(): value for name, value in (data or {}).items()}
        device = next((fields[name] for name in ("machineresourceid", "resourceid", "sourceclientresourceid")
                       if name in fields), None)
        if isinstance(device, int):
            return f"device:{device}", None
        relationship = fields.get("relationshipresourceid")
        if isinstance(relationship, int):
            return None, (relationship - 1) % SLOTS % self.shards
        if "name" in fields and "value" in fields:
            return "policy", None
        return None, None

    def send(self, command, data=None, *, id=None, source=None, key=True, partition=None, value=None,
             attributes=None, headers=None, mode="binary", timestamp_ms=None):
        """Publishes a command; returns its id.

        command     "CreateRelationship" or any other ce_type; None = none
        data        its parameters; value: raw bytes in their place
        key         True = as route() says; None = none; else the text
        attributes  more CloudEvents attributes without prefix ({"expectedversion": "3"}); None takes one away
        headers     more raw headers [(name, bytes)], at the end
        mode        "binary", "structured" (with content-type) or "bare" (structured without any header)
        """
        id = id if id is not None else str(uuid.uuid4())
        if key is True:
            key, routed = self.route(data)
            partition = routed if partition is None else partition
        elif key is None and partition is None:
            partition = 0
        envelope = {"specversion": "1.0", "id": id, "source": source or self.source, "type": command}
        envelope.update(attributes or {})
        envelope = {name: content for name, content in envelope.items() if content is not None}
        if mode == "binary":
            body = value if value is not None else json.dumps(data if data is not None else {}).encode()
            sent = [(f"ce_{name}", str(content).encode()) for name, content in envelope.items()]
            if not any(name.lower() == "content-type" for name, _ in headers or []):
                sent.append(("content-type", b"application/json"))
        else:
            envelope["data"] = data if data is not None else {}
            body = value if value is not None else json.dumps(envelope).encode()
            sent = [("content-type", b"application/cloudevents+json")] if mode == "structured" else []
        self.send_raw(body, key=key, headers=sent + list(headers or []), partition=partition,
                      timestamp_ms=timestamp_ms)
        return id

    def send_raw(self, value, key=None, headers=(), partition=None, timestamp_ms=None):
        """Publishes any record to the commands topic; returns (partition, offset)."""
        return self.broker.produce(self.topic("commands"), value, key=key, headers=list(headers),
                                   partition=partition, timestamp_ms=timestamp_ms)

    def check_serves(self):
        """The agent takes the next command, and has kept what it took before."""
        before = self.ndjson("list", "devices")
        answer = self.ask("RegisterDevice", {"ResourceID": len(before) + 1, "Name": "next"})
        if answer.data["Outcome"] != "accepted":
            raise AssertionError(f"the next command was not served: {answer.data}")
        after = sorted(self.ndjson("list", "devices"), key=lambda device: device["ResourceID"])
        if [device["ResourceID"] for device in after] != list(range(1, len(before) + 2)):
            raise AssertionError(f"devices were lost: {before} became {after}")

    def ask(self, command, data=None, timeout_s=20, **options):
        """send() and answer() in one."""
        source = options.get("source")
        before = len(self.answers())
        id = self.send(command, data, **options)
        return self.answer(id, source=source, timeout_s=timeout_s, after=before)

    # ---- what comes out ---------------------------------------------------------------------------------

    def messages(self, what):
        """All that ever came out of a topic since the first call, in the order of reading."""
        reader = self._readers.get(what)
        if not reader:
            reader = self._readers[what] = self.broker.reader(self.topic(what))
            self._seen[what] = []
        self._seen[what] += [Message(record) for record in reader.read_all()]
        return self._seen[what]

    def forget(self):
        """Begins reading anew: needed after a topic was deleted and made again."""
        for reader in self._readers.values():
            reader.close()
        self._readers, self._seen = {}, {}

    def answers(self, id=None, source=None):
        """The answers so far; to one command if id is given."""
        found = [m for m in self.messages("replies") if m.headers.get("ce_type") == "kinlog.Answer.v1"]
        if id is not None:
            found = [m for m in found if m.command == (source or self.source, id)]
        return found

    def answer(self, id, source=None, timeout_s=20, count=1, after=0):
        """Waits for the answer to a command (its count-th; `after`: among those behind that many answers)."""
        def found():
            wanted = (source or self.source, id)
            return [m for m in self.answers()[after:] if m.command == wanted]
        wait_until(lambda: len(found()) >= count, timeout_s, f"answer {count} to {id}", self)
        return found()[count - 1]

    def events(self, shard=None, command_id=None, internal=False):
        """The events so far, without claims and cursors; of one shard, or of one command. internal: also those
        that no command caused (LogStarted, PositionAdvanced, RecordDeadLettered)."""
        found = [m for m in self.messages("events") if "ce_type" in m.headers]
        if not internal:
            found = [m for m in found if "ce_causationid" in m.headers]
        if shard is not None:
            found = [m for m in found if m.partition == shard]
        if command_id is not None:
            found = [m for m in found if m.headers.get("ce_causationid") == command_id]
        return found

    def claims(self, shard=None):
        """The claims so far: Messages whose data is the claim."""
        return [m for m in self.messages("events")
                if m.key == b"kinlog:claim" and shard in (None, m.partition)]

    def dead_letters(self):
        return self.messages("dead-letters")

    def wait_dead_letters(self, count, timeout_s=20):
        wait_until(lambda: len(self.dead_letters()) >= count, timeout_s, f"{count} dead letters", self)
        return self.dead_letters()


def wait_until(condition, timeout_s, what, agent=None):
    """Waits until condition() is true, or fails saying what was waited for, with the agent's last words."""
    deadline = time.monotonic() + timeout_s
    while True:
        if condition():
            return
        if time.monotonic() > deadline:
            note = f"\nthe agent's log ends:\n{agent.log_tail()}" if agent else ""
            raise AssertionError(f"waited {timeout_s} s for {what}{note}")
        time.sleep(0.02)


_module_broker = (None, None)


def module_broker(module, properties=None, proxied=False):
    """The broker that the tests of one module share; that of the module before ends."""
    global _module_broker
    name, broker = _module_broker
    if name != module:
        end_module_broker()
        broker = Broker(properties, proxied=proxied)
        broker.start()
        _module_broker = (module, broker)
    return broker


def end_module_broker():
    global _module_broker
    _, broker = _module_broker
    _module_broker = (None, None)
    if broker:
        broker.close()


class KinlogTest(unittest.TestCase):
    """A test with a broker and as many sites as it asks for, each with topics of its own."""

    broker_properties = None  # more server properties; of the first class in its module
    broker_proxied = False    # likewise: with a listener for kafka_proxy.py
    maxDiff = 4000
    _prefixes = 0

    @property
    def broker(self):
        broker = module_broker(type(self).__module__, self.broker_properties, self.broker_proxied)
        if broker._process is None:
            broker.start()  # the test before left it stopped
        return broker

    def site(self, shards=1, init=True, start=True, **options):
        """A new site; by default with init done and the agent running."""
        KinlogTest._prefixes += 1
        options.setdefault("prefix", f"t{KinlogTest._prefixes}")
        site = Site(self.broker, shards, **options)
        self.addCleanup(self._close, site)
        if init:
            site.init()
        if init and start:
            site.start()
        return site

    def proxied_site(self, **options):
        """A new site whose agent reaches the broker through a proxy, and the proxy; agents that join do directly.
        Needs broker_proxied."""
        proxy = Proxy(self.broker)
        self.addCleanup(proxy.close)
        site = self.site(start=False, **options)
        direct = site.agent.config_path.read_text()
        site.agent.config_path.write_text(direct.replace(self.broker.bootstrap, proxy.bootstrap))
        site.start()
        return site, proxy

    def wait_done(self, agent, shards):
        """Waits until the agent has decided all that lies in the commands topic, and published it."""
        def done():
            return all(shard["Lag"] == 0 and shard["Published"] == shard["Sequence"]
                       for shard in agent.status().values())
        wait_until(done, 30, "the end of the commands", agent)

    def content(self, agent):
        """What must be the same on every agent that holds the log."""
        return {number: {name: shard[name] for name in ("Sequence", "Chain", "Digests", "PolicyRevision", "Rules")}
                for number, shard in agent.status().items()}

    def check_joined(self, site):
        """A fresh agent that knows nothing but the events topic comes to the same content."""
        self.wait_done(site.agent, site.shards)
        site.stop()
        before = self.content(site.agent)
        fresh = site.another("fresh")
        self.wait_done(fresh, site.shards)
        self.assertEqual(self.content(fresh), before)
        fresh.stop()
        for agent in (site.agent, fresh):
            verify = agent.cli("verify")
            self.assertEqual(verify.code, 0, verify.out + verify.err)

    def _close(self, site):
        LOGS.mkdir(parents=True, exist_ok=True)
        for agent in site.agents:
            if agent.log_path.exists():
                label = self.id().split(".", 1)[-1]
                shutil.copy(agent.log_path, LOGS / f"{label}.{site.prefix}.{agent.name}.log")
        site.close()
