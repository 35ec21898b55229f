"""A path to the broker that can break, hold records back, and forge what the broker says.

    broker = Broker(proxied=True)              # advertises the proxy's port on a second listener
    broker.start()
    with Proxy(broker) as proxy:
        ...                                    # clients bootstrap from proxy.bootstrap
        proxy.hold(b"t.events")                # produce requests that name it go no further
        proxy.release()                        # ... and now they do, even if their sender is dead
        proxy.cut()                            # all connections end, no new ones
        proxy.mend()                           # new ones are let in again

Knows of Kafka's protocol what it needs: the frame, and the answers to produce requests (version 7, which
librdkafka 2.0.2 speaks), of which it remembers the offsets that went to the client.

SPDX-License-Identifier: Apache-2.0
"""

import socket
import struct
import threading

PRODUCE = 0


class _Connection:
    """One client's connection, and the one to the broker in its name."""

    def __init__(self, proxy, client):
        self.proxy, self.client = proxy, client
        self.server = socket.create_connection(("127.0.0.1", proxy.broker.proxied_port), timeout=10)
        self.server.settimeout(None)
        self.produced = {}  # correlation id of a produce request -> True
        self.held = []      # frames that wait; all later ones of this connection wait behind them
        self.lock = threading.Lock()
        self.client_gone = False
        for loop in (self._requests, self._responses):
            threading.Thread(target=loop, daemon=True).start()

    def close(self):
        for end in (self.client, self.server):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    @staticmethod
    def _frame(end):
        def take(size):
            data = b""
            while len(data) < size:
                more = end.recv(size - len(data))
                if not more:
                    raise OSError("closed")
                data += more
            return data
        head = take(4)
        return head + take(struct.unpack(">i", head)[0])

    def _requests(self):
        try:
            while True:
                frame = self._frame(self.client)
                api, _, correlation = struct.unpack(">hhi", frame[4:12])
                if api == PRODUCE:
                    self.produced[correlation] = True
                with self.lock:
                    wanted = self.proxy.held_topic
                    if self.held or (wanted is not None and api == PRODUCE and wanted in frame):
                        self.held.append(frame)
                        self.proxy.holds.set()
                        continue
                self.server.sendall(frame)
        except OSError:
            with self.lock:
                self.client_gone = True
                if self.held:
                    return  # the dead sender's records are still on their way
            self.close()

    def release(self):
        with self.lock:
            for frame in self.held:
                try:
                    self.server.sendall(frame)
                except OSError:
                    break
            self.held = []
        if self.client_gone:
            try:  # what was sent arrives before the end does
                self.server.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def _responses(self):
        try:
            while True:
                frame = bytearray(self._frame(self.server))
                if self.produced.pop(struct.unpack(">i", frame[4:8])[0], False):
                    self.proxy._answered(frame)
                if not self.client_gone:
                    self.client.sendall(frame)
        except OSError:
            self.close()


class Proxy:
    """Listens where the broker's second listener says that it is."""

    def __init__(self, broker):
        self.broker = broker
        self.held_topic = None
        self.holds = threading.Event()  # something is held
        self.acknowledged = []          # base offsets that went to clients, in order
        self.forged = None              # answers to produce requests get this error and no offset
        self.accepted = 0               # connections so far
        self._connections = []
        self._lock = threading.Lock()
        self._mended = threading.Event()
        self._mended.set()
        self._listener = socket.create_server(("127.0.0.1", broker.advertised_port), backlog=64)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.broker.advertised_port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)  # ends accept() in its thread
        self._thread.join()
        self._listener.close()
        self.cut()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self._mended.is_set():
                client.close()
                continue
            try:
                connection = _Connection(self, client)
            except OSError:  # the broker is away
                client.close()
                continue
            with self._lock:
                self.accepted += 1
                self._connections.append(connection)

    def cut(self):
        """Ends all connections; new ones are refused until mend()."""
        self._mended.clear()
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.close()

    def mend(self):
        self._mended.set()

    def hold(self, topic):
        """Produce requests that name the topic are held from now on."""
        self.holds.clear()
        self.held_topic = topic.encode() if isinstance(topic, str) else topic

    def release(self):
        """What is held goes on to the broker, in order, and nothing is held any more."""
        self.held_topic = None
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.release()

    def forge(self, error):
        """Answers to produce requests carry this error code and the offset -1, until it is None."""
        self.forged = error

    def _answered(self, frame):
        """frame: of a produce answer with one topic and one partition, as our clients get them."""
        at = 8 + 4
        at += 2 + struct.unpack(">h", frame[at:at + 2])[0] + 4 + 4
        if self.forged is not None:
            struct.pack_into(">hq", frame, at, self.forged, -1)
        error, base_offset = struct.unpack(">hq", frame[at:at + 10])
        if error == 0:
            self.acknowledged.append(base_offset)
