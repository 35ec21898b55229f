#!/usr/bin/python3
"""Puts what the program prints into the pages that show it, so that no fact stands in two places.

    docs/make_output_blocks.py            writes the blocks anew
    docs/make_output_blocks.py --check    1 if a page does not show what the program prints or may say

A block is a fenced text behind a marker line that names the command:

    <!-- output of: kinlog help config -->
    ```text
    ...
    ```

A table behind the marker `<!-- texts of the program -->` quotes what the program may say in its first column; each
piece between ellipses must stand in a string of the source.

SPDX-License-Identifier: Apache-2.0
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "docs" / "operations.md"]
PROGRAM = ROOT / os.environ.get("OUT", "build") / "kinlog"
BLOCK = re.compile(r"^<!-- output of: kinlog (.*?) -->\n```text\n.*?^```$", re.MULTILINE | re.DOTALL)
TABLE = re.compile(r"^<!-- texts of the program -->\n((?:\|.*\n)+)", re.MULTILINE)
STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"')


def source_texts():
    """All string literals of the agent; adjacent ones are one, and a printf conversion reads as an ellipsis."""
    texts = []
    for path in sorted((ROOT / "agent").rglob("*.c")):
        joined = re.sub(r'"\s*\n\s*"', "", path.read_text())
        texts += [re.sub(r"%(?:\.\*|\.\d+)?(?:ll|z)?[sdux]", "\u2026", text) for text in STRING.findall(joined)]
    return "\n".join(texts)


def unknown_texts(page):
    known = source_texts() + "\nBroker: Unknown topic or partition"  # librdkafka's
    if len(TABLE.findall(page)) != page.count("<!-- texts of"):
        yield "(a marker without its table)"
    for table in TABLE.findall(page):
        for row in table.splitlines()[2:]:
            quoted = re.match(r"\| `(.*?)` \|", row)
            if not quoted or any(piece.strip() not in known for piece in quoted[1].split("\u2026")):
                yield row


def output(arguments):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KINLOG_")}
    run = subprocess.run([str(PROGRAM), *arguments.split()], stdout=subprocess.PIPE, text=True, check=True, env=clean)
    return "\n".join(line.rstrip() for line in run.stdout.strip("\n").split("\n"))


def main():
    check, stale = "--check" in sys.argv[1:], []
    for page in PAGES:
        text = page.read_text()
        new, count = BLOCK.subn(lambda match: f"<!-- output of: kinlog {match[1]} -->\n```text\n{output(match[1])}\n```",
                                text)
        if count == 0:
            sys.exit(f"{page.relative_to(ROOT)}: there is no block")
        if new != text:
            stale.append(page)
        if not check:
            page.write_text(new)
        for row in unknown_texts(new):
            sys.exit(f"{page.relative_to(ROOT)}: the program does not say this: {row}")
    if check and stale:
        names = ", ".join(str(page.relative_to(ROOT)) for page in stale)
        sys.exit(f"{names}: not what the program prints; run docs/make_output_blocks.py")


if __name__ == "__main__":
    main()
