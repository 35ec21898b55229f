#!/usr/bin/python3
"""A real Apache Kafka broker for the tests: fetched with Maven, formatted, started, stopped, killed.

    with Broker() as broker:
        broker.create_topic("t", partitions=2, config={"retention.ms": "-1"})
        broker.produce("t", b"value", key=b"key", headers=[("a", b"1")])
        records = broker.read("t")

One node that is broker and controller (KRaft), on free ports of 127.0.0.1, with a small heap; ready within
about two seconds. The jars are kept in build/kafka-libs. Run as a program it starts a broker, prints its
address and stays until Ctrl-C:

    tests/lib/kafka_broker.py [--port PORT]
    tests/lib/kafka_broker.py --fetch           only fetches the jars

SPDX-License-Identifier: Apache-2.0
"""

import argparse
import atexit
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from pathlib import Path

import confluent_kafka
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (AdminClient, ConfigResource, ConfigSource, NewPartitions, NewTopic,
                                   RESOURCE_TOPIC)

ROOT = Path(__file__).resolve().parents[2]
LIBS = ROOT / "build" / "kafka-libs"
POM = Path(__file__).resolve().parent / "kafka" / "pom.xml"
CLUSTER_ID = "a2lubG9nLXRlc3RzLTAwMQ"  # any 22 characters of base64url
LEADERLESS = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError._TRANSPORT,
              KafkaError._ALL_BROKERS_DOWN, KafkaError._UNKNOWN_PARTITION)
SMALL_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
COPY_DEPENDENCIES = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"

Record = namedtuple("Record", "topic partition offset timestamp_ms timestamp_type key value headers")
"""headers: list of (name, bytes or None), in order; timestamp_type: "CreateTime" or "LogAppendTime"."""


class BrokerError(Exception):
    """The broker, or a call to it, did not do what the test needs."""


def fetch_jars():
    """Copies the jars of Kafka to build/kafka-libs unless they are there; safe in several processes."""
    LIBS.parent.mkdir(parents=True, exist_ok=True)
    done = LIBS / "pom.xml"  # a copy of what it was made from
    with open(LIBS.parent / "kafka-libs.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists() and done.read_bytes() == POM.read_bytes():
            return LIBS
        shutil.rmtree(LIBS, ignore_errors=True)
        command = ["mvn", "-q", "-B", "-f", str(POM), COPY_DEPENDENCIES,
                   "-DincludeScope=runtime", f"-DoutputDirectory={LIBS}"]
        for attempt in range(3):  # a registry may be slow to answer
            run = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True)
            if run.returncode == 0:
                break
            time.sleep(2 * (attempt + 1))
        else:
            raise BrokerError("Maven could not fetch Apache Kafka:\n" + run.stdout[-4000:])
        shutil.copy(POM, done)
        return LIBS


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Broker:
    """One broker and its data folder; a property None is left out. The ports stay the same over stop(), kill() and start()."""

    def __init__(self, properties=None, port=None, heap_mb=128, cluster_id=CLUSTER_ID, java_options=SMALL_JVM,
                 proxied=False):
        self.folder = Path(tempfile.mkdtemp(prefix="kinlog-kafka-"))
        self.properties = dict(properties or {})
        self.heap_mb = heap_mb
        self.java_options = java_options
        self.cluster_id = cluster_id
        self.port = port
        self.proxied = proxied  # a second listener, whose clients are sent to advertised_port (kafka_proxy.py)
        self.proxied_port = self.advertised_port = None
        self._fixed_port = port is not None
        self._process = None
        self._producer = None
        self._formatted = False
        atexit.register(self.close)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self):
        return self._process.pid

    @property
    def running(self):
        return self._process is not None and self._process.poll() is None

    @property
    def log_path(self):
        return self.folder / "broker.log"

    # ---- life ---------------------------------------------------------------------------------------

    def start(self, timeout_s=60):
        """Formats on first use, starts, and waits until the broker answers."""
        if self._process:
            raise BrokerError("the broker runs already")
        fetch_jars()
        for attempt in range(3):
            if not self._formatted:
                self._configure()
            try:
                self._launch(timeout_s)
                return self
            except BrokerError:
                if self._formatted or attempt == 2 or self._fixed_port:
                    raise  # on the first start another program may have taken the port meanwhile
        return self

    def start_unless_running(self, timeout_s=60):
        return self if self._process else self.start(timeout_s)

    def _configure(self):
        if not self._fixed_port:
            self.port = free_port()
        controller = free_port()
        data = self.folder / "data"
        shutil.rmtree(data, ignore_errors=True)
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": str(data),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0",
            # Else a broker that was killed is let in again only after nine seconds.
            "broker.session.timeout.ms": "1500",
            "broker.heartbeat.interval.ms": "300",
            # The default wants 128 MiB of heap for itself.
            "log.cleaner.dedupe.buffer.size": "4194304",
        }
        if self.proxied:
            self.proxied_port, self.advertised_port = free_port(), free_port()
            settings["listeners"] += f",PROXIED://127.0.0.1:{self.proxied_port}"
            settings["advertised.listeners"] += f",PROXIED://127.0.0.1:{self.advertised_port}"
            settings["listener.security.protocol.map"] += ",PROXIED:PLAINTEXT"
        settings.update(self.properties)
        settings = {name: value for name, value in settings.items() if value is not None}
        path = self.folder / "server.properties"
        path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        run = subprocess.run(self._java("kafka.tools.StorageTool", "format", "-t", self.cluster_id, "-c", str(path)),
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
        if run.returncode != 0:
            raise BrokerError("Kafka's storage could not be formatted:\n" + run.stdout[-4000:])

    def _java(self, *arguments, heap_mb=64):
        return ["java", *self.java_options, "-XX:-UsePerfData", "-Xms32m", f"-Xmx{heap_mb}m", "-cp", f"{LIBS}/*",
                *arguments]

    def _launch(self, timeout_s):
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(self.folder / "server.properties"), heap_mb=self.heap_mb),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                cwd=self.folder, preexec_fn=_die_with_parent)
        try:
            self.wait_ready(timeout_s)
        except BrokerError:
            self.kill()
            raise
        self._formatted = True

    def wait_ready(self, timeout_s=60):
        """Returns when the broker answers an ApiVersions request."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise BrokerError(f"the broker ended with code {self._process.returncode}:\n" + self.log_tail())
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                    connection.settimeout(5)
                    connection.sendall(bytes.fromhex("0000000b00120000000000010001 70"))
                    if len(connection.recv(4)) == 4:
                        return
            except OSError:
                pass
            time.sleep(0.05)
        raise BrokerError(f"the broker is not ready after {timeout_s} s:\n" + self.log_tail())

    def stop(self, timeout_s=20):
        """Orderly, with SIGTERM; data and ports stay for the next start()."""
        self._end(signal.SIGTERM, timeout_s)

    def kill(self):
        """With SIGKILL; data and ports stay for the next start()."""
        self._end(signal.SIGKILL, 20)

    def restart(self, kill=False):
        """Stops (or kills) and starts again on the same ports and data."""
        if kill:
            self.kill()
        else:
            self.stop()
        return self.start()

    def freeze(self):
        """Stops the process where it is; connections stay open, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, sig, timeout_s):
        self._producer = None
        if not self._process:
            return
        process, self._process = self._process, None
        if process.poll() is None:
            process.send_signal(sig)
            process.send_signal(signal.SIGCONT)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self):
        """Ends the broker and removes its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.close)

    def cut_log(self, topic, partition, end):
        """Of a broker that does not run: takes the partition's batches that begin at offset `end` or later
        away, as a power cut may. Returns the offset at which the partition ends now."""
        folder = self.folder / "data" / f"{topic}-{partition}"
        [segment] = folder.glob("*.log")
        data, at, offset = segment.read_bytes(), 0, int(segment.stem)
        while at < len(data):
            base, size, last = struct.unpack(">qi11xi", data[at:at + 27])
            if base >= end:
                break
            at, offset = at + 12 + size, base + last + 1
        os.truncate(segment, at)
        for derived in (*folder.glob("*.index"), *folder.glob("*.timeindex"), *folder.glob("*.snapshot"),
                        self.folder / "data" / ".kafka_cleanshutdown"):
            derived.unlink(missing_ok=True)
        return offset

    def log_tail(self, lines=40):
        try:
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    # ---- topics -------------------------------------------------------------------------------------

    def client_settings(self, **more):
        return {"bootstrap.servers": self.bootstrap, "broker.address.family": "v4",
                "log_level": 2, **more}

    def admin(self):
        return AdminClient(self.client_settings())

    def create_topic(self, name, partitions=1, config=None):
        self.create_topics({name: (partitions, config or {})})

    def create_topics(self, topics):
        """topics: {name: (partitions, {setting: value})}. Returns when all partitions have a leader."""
        admin = self.admin()
        new = [NewTopic(name, partitions, 1, config={k: str(v) for k, v in config.items()})
               for name, (partitions, config) in topics.items()]
        for future in admin.create_topics(new, operation_timeout=20, request_timeout=30).values():
            future.result()
        for name, (partitions, _) in topics.items():
            self._wait(lambda: self._has_leaders(admin, name, partitions), f"leaders of {name}")

    @staticmethod
    def _has_leaders(admin, name, partitions):
        topic = admin.list_topics(timeout=10).topics.get(name)
        return (topic is not None and len(topic.partitions) == partitions
                and all(p.leader >= 0 for p in topic.partitions.values()))

    def delete_topic(self, name):
        """Deletes and waits until the topic is gone, so that it can be made anew."""
        admin = self.admin()
        for future in admin.delete_topics([name], operation_timeout=20, request_timeout=30).values():
            future.result()
        self._wait(lambda: name not in admin.list_topics(timeout=10).topics, f"deletion of {name}")

    def add_partitions(self, name, count):
        """Raises the number of a topic's partitions to count."""
        admin = self.admin()
        for future in admin.create_partitions([NewPartitions(name, count)], request_timeout=30).values():
            future.result()
        self._wait(lambda: self._has_leaders(admin, name, count), f"partitions of {name}")

    def topics(self):
        """{name: number of partitions}, internal topics left out."""
        found = self.admin().list_topics(timeout=10).topics
        return {name: len(t.partitions) for name, t in found.items() if not name.startswith("__")}

    def topic_config(self, name, own_only=True):
        """The topic's own settings (or all, inherited ones included)."""
        resource = ConfigResource(RESOURCE_TOPIC, name)
        admin = self.admin()  # must outlive the future
        entries = admin.describe_configs([resource], request_timeout=20)[resource].result()
        own = ConfigSource.DYNAMIC_TOPIC_CONFIG.value
        return {e.name: e.value for e in entries.values()
                if not own_only or e.source in (own, ConfigSource.DYNAMIC_TOPIC_CONFIG)}

    def alter_topic(self, name, config):
        """Sets settings; None takes one back to its default. The others stay."""
        settings = self.topic_config(name)  # the request replaces all of them
        for key, value in config.items():
            settings.pop(key, None)
            if value is not None:
                settings[key] = str(value)
        resource = ConfigResource(RESOURCE_TOPIC, name, set_config=settings)
        admin = self.admin()
        admin.alter_configs([resource], request_timeout=20)[resource].result()
        self._wait(lambda: self.topic_config(name) == settings, f"settings of {name}")

    def delete_records(self, topic, partition, before_offset):
        """Deletes the records below before_offset (-1: all), as retention would."""
        _delete_records(self.bootstrap, topic, partition, before_offset)

    @staticmethod
    def _wait(condition, what, timeout_s=20):
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise BrokerError(f"waited {timeout_s} s for {what}")
            time.sleep(0.05)

    # ---- records ------------------------------------------------------------------------------------

    def produce(self, topic, value, key=None, headers=None, partition=None, timestamp_ms=None, timeout_s=20):
        """Sends one record and waits for the broker's word: (partition, offset)."""
        return self.produce_many(topic, [(value, key, headers)], partition, timestamp_ms, timeout_s)[0]

    def produce_many(self, topic, records, partition=None, timestamp_ms=None, timeout_s=60):
        """records: list of (value, key, headers), in order. Returns their [(partition, offset)].
        Without a partition the key chooses, as in Java; without both any partition is taken."""
        if not self._producer:
            self._producer = Producer(self.client_settings(**{
                "partitioner": "murmur2_random", "acks": "all", "linger.ms": 1, "message.max.bytes": 20000000,
                "topic.metadata.propagation.max.ms": 10000, "enable.idempotence": True}))
        placed = [None] * len(records)

        def reported(index):
            def report(error, message):
                placed[index] = error or (message.partition(), message.offset())
            return report

        options = {} if partition is None else {"partition": partition}
        if timestamp_ms is not None:
            options["timestamp"] = timestamp_ms
        for index, (value, key, headers) in enumerate(records):
            while True:
                try:
                    self._producer.produce(topic, value, key, headers=list(headers or []) or None,
                                           on_delivery=reported(index), **options)
                    break
                except BufferError:
                    self._producer.poll(0.1)
        self._producer.flush(timeout_s)
        for place in placed:
            if not isinstance(place, tuple):
                self._producer = None  # an idempotent producer may be of no use after an error
                raise BrokerError(f"not delivered to {topic}: {place or 'no report in time'}")
        return placed

    def watermarks(self, topic, partition):
        """(first offset, next offset to be written)"""
        consumer = self._consumer()
        try:
            return _watermarks(consumer, topic, partition)
        finally:
            consumer.close()

    def _consumer(self):
        return Consumer(self.client_settings(**{
            "group.id": "kinlog-tests", "enable.auto.commit": False, "auto.offset.reset": "error",
            "fetch.wait.max.ms": 20, "fetch.error.backoff.ms": 20, "reconnect.backoff.max.ms": 500,
            "isolation.level": "read_uncommitted", "check.crcs": True, "enable.partition.eof": True}))

    def reader(self, topic, from_end=False):
        return Reader(self, topic, from_end)

    def read(self, topic, partition=None, timeout_s=20):
        """All records that stand in the topic now, by partition and offset."""
        with Reader(self, topic) as reader:
            records = reader.read_all(timeout_s)
        return sorted((r for r in records if partition in (None, r.partition)),
                      key=lambda r: (r.partition, r.offset))


class Reader:
    """Reads a topic on and on, all partitions, without a group."""

    def __init__(self, broker, topic, from_end=False):
        self.topic = topic
        self._consumer = broker._consumer()
        metadata = self._consumer.list_topics(topic, timeout=20).topics[topic]
        if metadata.error:
            self._consumer.close()
            raise BrokerError(f"{topic}: {metadata.error}")
        self._next = {}
        for partition in metadata.partitions:
            low, high = self._watermarks(partition)
            self._next[partition] = high if from_end else low
        self._consumer.assign([TopicPartition(topic, p, o) for p, o in self._next.items()])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._consumer.close()

    def _watermarks(self, partition):
        return _watermarks(self._consumer, self.topic, partition)

    def poll(self, timeout_s=0.1):
        """The next record, or None if none comes in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            message = self._consumer.poll(max(0, min(0.05, deadline - time.monotonic())))
            record = self._taken(message) if message is not None else None
            if record or time.monotonic() >= deadline:
                return record

    def _taken(self, message):
        code = message.error() and message.error().code()
        if not code:
            record = _record(message)
            self._next[record.partition] = record.offset + 1
            return record
        if code not in (KafkaError._PARTITION_EOF,
                        KafkaError._TRANSPORT,
                        KafkaError._ALL_BROKERS_DOWN):
            raise BrokerError(f"{self.topic}: {message.error()}")
        return None

    def read_on(self, take, timeout_s=20):
        """Gives to take(record) what stands in the topic at the moment of the call and was not read yet, and
        perhaps some that came since."""
        ends = {partition: self._watermarks(partition)[1] for partition in self._next}
        deadline = time.monotonic() + timeout_s
        while any(self._next[p] < end for p, end in ends.items()):
            if time.monotonic() > deadline:
                raise BrokerError(f"{self.topic}: not read to its end, nothing came in {timeout_s} s")
            for message in self._consumer.consume(1000, 0.005):
                record = self._taken(message)
                if record:
                    take(record)
                    deadline = time.monotonic() + timeout_s

    def read_all(self, timeout_s=20):
        """What stands in the topic at the moment of the call and was not read yet."""
        records = []
        self.read_on(records.append, timeout_s)
        return records

    def read_until(self, condition, timeout_s=20):
        """Reads on until condition(record) is true; returns all records read on the way, that one last."""
        deadline = time.monotonic() + timeout_s
        records = []
        while time.monotonic() < deadline:
            record = self.poll(0.1)
            if record:
                records.append(record)
                if condition(record):
                    return records
        raise BrokerError(f"{self.topic}: what the test waits for did not come in {timeout_s} s; "
                          f"{len(records)} other records came")


def _watermarks(consumer, topic, partition, timeout_s=20):
    """(first, next) offset; a broker that was frozen or killed leads nothing for a moment after its return."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=timeout_s)
        except KafkaException as error:
            if error.args[0].code() not in LEADERLESS or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _record(message):
    kind, timestamp_ms = message.timestamp()
    types = {confluent_kafka.TIMESTAMP_CREATE_TIME: "CreateTime",
             confluent_kafka.TIMESTAMP_LOG_APPEND_TIME: "LogAppendTime"}
    return Record(message.topic(), message.partition(), message.offset(), timestamp_ms, types.get(kind),
                  message.key(), message.value(), message.headers() or [])


def _delete_records(bootstrap, topic, partition, before_offset):
    """The Python client of Debian 12 lacks this call of the library, so it is made by hand."""
    lib = ctypes.CDLL("librdkafka.so.1")
    pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    for name, result, arguments in (
            ("conf_new", pointer, []),
            ("conf_set", ctypes.c_int, [pointer, text, text, text, size]),
            ("new", pointer, [ctypes.c_int, pointer, text, size]),
            ("destroy", None, [pointer]),
            ("queue_new", pointer, [pointer]),
            ("queue_destroy", None, [pointer]),
            ("queue_poll", pointer, [pointer, ctypes.c_int]),
            ("topic_partition_list_new", pointer, [ctypes.c_int]),
            ("topic_partition_list_add", pointer, [pointer, text, ctypes.c_int32]),
            ("topic_partition_list_set_offset", ctypes.c_int, [pointer, text, ctypes.c_int32, ctypes.c_int64]),
            ("topic_partition_list_destroy", None, [pointer]),
            ("DeleteRecords_new", pointer, [pointer]),
            ("DeleteRecords_destroy", None, [pointer]),
            ("DeleteRecords", None, [pointer, ctypes.POINTER(pointer), size, pointer, pointer]),
            ("event_error", ctypes.c_int, [pointer]),
            ("event_error_string", text, [pointer]),
            ("event_destroy", None, [pointer])):
        function = getattr(lib, "rd_kafka_" + name)
        function.restype, function.argtypes = result, arguments
    conf = lib.rd_kafka_conf_new()
    lib.rd_kafka_conf_set(conf, b"bootstrap.servers", bootstrap.encode(), None, 0)
    handle = lib.rd_kafka_new(0, conf, None, 0)
    queue = lib.rd_kafka_queue_new(handle)
    offsets = lib.rd_kafka_topic_partition_list_new(1)
    lib.rd_kafka_topic_partition_list_add(offsets, topic.encode(), partition)
    lib.rd_kafka_topic_partition_list_set_offset(offsets, topic.encode(), partition, before_offset)
    request = (pointer * 1)(lib.rd_kafka_DeleteRecords_new(offsets))
    lib.rd_kafka_DeleteRecords(handle, request, 1, None, queue)
    event = lib.rd_kafka_queue_poll(queue, 30000)
    error = "no answer"
    if event:
        error = lib.rd_kafka_event_error(event) and lib.rd_kafka_event_error_string(event).decode()
        lib.rd_kafka_event_destroy(event)
    lib.rd_kafka_DeleteRecords_destroy(request[0])
    lib.rd_kafka_topic_partition_list_destroy(offsets)
    lib.rd_kafka_queue_destroy(queue)
    lib.rd_kafka_destroy(handle)
    if error:
        raise BrokerError(f"records of {topic} {partition} were not deleted: {error}")


def main():
    parser = argparse.ArgumentParser(description="Starts a real Apache Kafka for trying things out; "
                                                 "its data is gone when it ends.")
    parser.add_argument("--port", type=int, default=9092, help="where clients connect (default 9092)")
    parser.add_argument("--fetch", action="store_true", help="only fetch the jars, to build/kafka-libs")
    arguments = parser.parse_args()
    try:
        fetch_jars()
    except BrokerError as error:
        sys.exit(str(error))
    if arguments.fetch:
        return 0
    with Broker(port=arguments.port, heap_mb=256) as broker:
        print(f"Apache Kafka listens on {broker.bootstrap}; Ctrl-C ends it and removes its data.", flush=True)
        try:
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
        except KeyboardInterrupt:
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
