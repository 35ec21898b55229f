#!/usr/bin/python3
"""test_completion.py - people press the tab key in real shells: bash, zsh and fish, each on a terminal of its own.

A line is typed, then tab; then it is turned into a printf of its words and entered, so that what the shell made of it
comes out in words that cannot be mistaken for its echo.

SPDX-License-Identifier: Apache-2.0
"""
import os
import pty
import re
import select
import shutil
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("OUT", "build")
PATIENCE = 60  # seconds, for machines with other things to do

# Text before the tab, and the words that the shell has after it. The last word ends in a blank where it is whole.
LINES = [
    ("kinlog stat", ["kinlog", "status", ""]),
    ("kinlog --config x get rela", ["kinlog", "--config", "x", "get", "relationship", ""]),
    ("kinlog send CreateR", ["kinlog", "send", "CreateRelationship", ""]),
    ("kinlog send RegisterDevice ResourceID=7 Cl", ["kinlog", "send", "RegisterDevice", "ResourceID=7", "ClientType="]),
    ("kinlog send SetPolicy Name=a:b V", ["kinlog", "send", "SetPolicy", "Name=a:b", "Value="]),
    ("kinlog send SetPolicy 'Name=a b' V", ["kinlog", "send", "SetPolicy", "Name=a b", "Value="]),
    ("kinlog list devices --pri", ["kinlog", "list", "devices", "--primary", ""]),
    ("kinlog list devices --sort=Cl", ["kinlog", "list", "devices", "--sort=ClientType", ""]),
    ("kinlog list devices --sort -Cl", ["kinlog", "list", "devices", "--sort", "-ClientType", ""]),
    ("kinlog run -X log.le", ["kinlog", "run", "-X", "log.level="]),
    ("kinlog run --config so", ["kinlog", "run", "--config", "some.conf", ""]),
    ("kinlog run --config=so", ["kinlog", "run", "--config=some.conf", ""]),
    ("kinlog demo --data-dir da", ["kinlog", "demo", "--data-dir", "data_of_one/"]),
    ("kinlog demo --data-dir=da", ["kinlog", "demo", "--data-dir=data_of_one/"]),
    ("kinlog log --subject dev", ["kinlog", "log", "--subject", "dev"]),
]


class Terminal:
    """A shell on a terminal of its own, in a folder with a file and a folder in it."""

    def __init__(self, command, folder, environment):
        self.output = b""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execvpe(command[0], command, environment)

    def type(self, text):
        os.write(self.terminal, text.encode())

    def wait_for(self, pattern):
        """What the pattern's group found, in what came since the last time."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = re.search(pattern, self.output, re.DOTALL)
            if found:
                self.output = self.output[found.end():]
                return found[1].decode()
            if not select.select([self.terminal], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"{pattern!r} did not come, but {self.output!r}")
            self.output += os.read(self.terminal, 65536)

    def close(self):
        os.close(self.terminal)
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)


class InAShell:
    """What is the same in all shells; each has its class below."""

    @classmethod
    def setUpClass(cls):
        if not shutil.which(cls.command[0]):
            raise AssertionError(f"{cls.command[0]} is not installed")
        cls.folder = tempfile.TemporaryDirectory()
        folder = Path(cls.folder.name)
        (folder / "some.conf").touch()
        (folder / "data_of_one").mkdir()
        environment = {"PATH": f"{BUILD}:{os.environ['PATH']}", "HOME": cls.folder.name, "TERM": "dumb",
                       "LC_ALL": "C.UTF-8"}
        cls.terminal = Terminal(cls.command, cls.folder.name, environment)
        # Not all of the word stands in what is typed, or its echo would do.
        cls.terminal.type(cls.setup + "; printf 'sh%s\\n' ell-is-ready\n")
        cls.terminal.wait_for(rb"(shell-is-ready)")

    @classmethod
    def tearDownClass(cls):
        cls.terminal.close()
        cls.folder.cleanup()

    def words_after_tab(self, line):
        # Tab; END to see whether a blank was made; to the line's begin; enter.
        self.terminal.type(line + "\tEND\x01printf '<%s>' words: \n")
        words = self.terminal.wait_for(rb"(<words:>.*?END>)")
        return re.findall("<(.*?)>", words)[1:]

    def test_lines(self):
        for line, wanted in LINES:
            with self.subTest(line):
                self.assertEqual(self.words_after_tab(line), wanted[:-1] + [wanted[-1] + "END"])

    def test_the_script_is_sound(self):
        script = ROOT / "agent/cli/completion" / f"kinlog.{self.command[0]}"
        subprocess.run([self.command[0], "-n", script], check=True)


class Bash(InAShell, unittest.TestCase):
    command = ["bash", "--norc", "--noprofile", "-i"]
    setup = "source <(kinlog completion bash)"

    def test_a_program_in_another_folder(self):
        self.assertEqual(self.words_after_tab(f"{BUILD}/kinlog stat"), [f"{BUILD}/kinlog", "status", "END"])

    def test_in_the_middle_of_a_line(self):
        """What stands behind the cursor is left alone."""
        self.terminal.type("kinlog sho --json" + "\x02" * 7 + "\t\x01printf '<%s>' words: \n")
        self.assertEqual(self.terminal.wait_for(rb"(<kinlog>.*<--json>)"), "<kinlog><show><--json>")


class Zsh(InAShell, unittest.TestCase):
    command = ["zsh", "-f", "-i"]
    setup = "PS1='$ '; autoload -U compinit && compinit -u -D; source <(kinlog completion zsh)"


class ZshFromItsFolder(InAShell, unittest.TestCase):
    """As packages install it: a file in $fpath, found by compinit."""
    command = Zsh.command
    setup = ("PS1='$ '; kinlog completion zsh >_kinlog; fpath=($PWD $fpath); "
             "autoload -U compinit && compinit -u -D")


class Fish(InAShell, unittest.TestCase):
    command = ["fish", "--no-config", "-i"]
    setup = "kinlog completion fish | source"

    def test_meanings(self):
        """Shown beside the words."""
        self.terminal.type("complete -C 'kinlog veri'\n")
        self.assertEqual(self.terminal.wait_for(rb"\n(verify\t[^\r\n]*)"),
                         "verify\tcheck the log and everything made from it")


if __name__ == "__main__":
    unittest.main()
