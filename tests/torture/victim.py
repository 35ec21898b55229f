"""An agent that dies or stops where it is told to, and tells where it was when it was killed from outside.

    victim = Victim(site.agent)
    victim.arm("publish.half", passes=3, settle=True)
    victim.start()
    if not victim.wait_dead(6): victim.kill()
    victim.point                         # "publish.half"

Needs a test build (`make variant`); the layout of the shared page is that of tests/torture/crash_point.c.

SPDX-License-Identifier: Apache-2.0
"""

import mmap
import signal
import struct
import time

PAGE = 4096
NAME = 64


class Victim:
    def __init__(self, agent):
        self.agent = agent
        path = agent.folder / "crash-point"
        path.write_bytes(bytes(PAGE))
        with open(path, "r+b") as file:
            self._page = mmap.mmap(file.fileno(), PAGE)
        self._path = path

    def arm(self, point, passes=1, number=signal.SIGKILL, settle=False):
        """The passes-th pass of the point from now on raises the signal."""
        self.disarm()
        self._page[NAME:2 * NAME] = point.encode().ljust(NAME, b"\0")
        self._page[4:12] = struct.pack("=II", number, settle)
        self._page[0:4] = struct.pack("=I", passes)

    def disarm(self):
        self._page[0:4] = bytes(4)

    @property
    def armed(self):
        return struct.unpack("=I", self._page[0:4])[0] > 0

    @property
    def point(self):
        """The point that a thread passed last; "" = none yet."""
        slot = struct.unpack("=I", self._page[12:16])[0] + 2
        return self._page[slot * NAME:(slot + 1) * NAME].split(b"\0")[0].decode("ascii", "replace")

    def start(self, wait=False):
        self._page[12:16] = bytes(4)
        self._page[2 * NAME:PAGE] = bytes(PAGE - 2 * NAME)
        self.agent.start(wait=wait, environment={"CRASH_POINT_FILE": str(self._path)})

    def wait_dead(self, timeout_s):
        """Waits until the process has ended; returns whether it has."""
        deadline = time.monotonic() + timeout_s
        while self.agent.running:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        code = self.agent.wait()
        if code != -signal.SIGKILL:
            raise AssertionError(f"the agent ended by itself with {code}:\n{self.agent.log_tail()}")
        return True

    def wait_stopped(self, timeout_s):
        """Waits until the process is stopped (SIGSTOP); returns whether it is."""
        deadline = time.monotonic() + timeout_s
        while not self.stopped:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    @property
    def stopped(self):
        with open(f"/proc/{self.agent.pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "T"

    def kill(self):
        self.agent.kill()
