"""Three brokers and a controller, each in a process of its own: for what one broker cannot show.

    with Cluster() as cluster:
        cluster.create_placed("t", [[1, 2, 3]], {"min.insync.replicas": "2"})
        cluster.nodes[2].kill()

All that Broker does with topics and records, a Cluster does through whichever of its brokers answers.

SPDX-License-Identifier: Apache-2.0
"""

from concurrent.futures import ThreadPoolExecutor

from confluent_kafka.admin import NewTopic

from kafka_broker import Broker, free_port

CONTROLLER = 4


class Cluster(Broker):
    """nodes: {1, 2, 3: the brokers, 4: the controller}, each a Broker to be killed, frozen and started."""

    def __init__(self, heap_mb=96):
        super().__init__()
        port = free_port()
        shared = {"controller.quorum.voters": f"{CONTROLLER}@127.0.0.1:{port}",
                  "offsets.topic.replication.factor": "3", "replica.lag.time.max.ms": "3000",
                  # four processes: none is to be taken for dead because the machine is busy
                  "broker.session.timeout.ms": "5000"}
        self.nodes = {CONTROLLER: Broker({
            **shared, "process.roles": "controller", "node.id": str(CONTROLLER),
            "listeners": f"CONTROLLER://127.0.0.1:{port}", "advertised.listeners": None,
            "inter.broker.listener.name": None}, port=port, heap_mb=heap_mb)}
        for number in (1, 2, 3):
            port = free_port()
            self.nodes[number] = Broker({
                **shared, "process.roles": "broker", "node.id": str(number),
                "listeners": f"PLAINTEXT://127.0.0.1:{port}"}, port=port, heap_mb=heap_mb)
        self._process = self  # it is there as long as its nodes are
        self._pool = ThreadPoolExecutor(3)  # kept: a broker ends with the thread that started it

    @property
    def bootstrap(self):
        return ",".join(self.nodes[number].bootstrap for number in (1, 2, 3))

    def start(self, timeout_s=60):
        """Starts what does not run."""
        self.nodes[CONTROLLER].start_unless_running(timeout_s)
        list(self._pool.map(lambda number: self.nodes[number].start_unless_running(timeout_s), (1, 2, 3)))
        self._wait(lambda: len(self.admin().list_topics(timeout=10).brokers) == 3, "three brokers")
        return self

    def _end(self, sig, timeout_s):
        self._producer = None
        for number in (1, 2, 3, CONTROLLER):  # brokers want the controller to leave in order
            self.nodes[number]._end(sig, timeout_s)

    def close(self):
        for node in self.nodes.values():
            node.close()
        self._pool.shutdown()
        super().close()

    def create_placed(self, name, replicas, config=None):
        """replicas: for each partition the numbers of its brokers, the first of them leads."""
        admin = self.admin()
        new = NewTopic(name, len(replicas), replica_assignment=replicas,
                       config={key: str(value) for key, value in (config or {}).items()})
        for future in admin.create_topics([new], operation_timeout=20, request_timeout=30).values():
            future.result()
        self._wait(lambda: self._has_leaders(admin, name, len(replicas)), f"leaders of {name}")

    def in_sync(self, name):
        """The numbers of the in-sync brokers of each partition."""
        partitions = self.admin().list_topics(name, timeout=10).topics[name].partitions
        return [sorted(partitions[number].isrs) for number in sorted(partitions)]
