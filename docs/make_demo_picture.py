#!/usr/bin/python3
"""Makes docs/demo.svg: a terminal with what `build/kinlog demo --once` prints. `make picture` runs it.

    docs/make_demo_picture.py [--steps 1,4-10] [--program build/kinlog] [--output docs/demo.svg]

The program runs on a pseudo-terminal of 100 columns, so colours and line breaks are those that a person sees.
Steps that are left out to keep the picture small are marked by an ellipsis; nothing else is changed.

SPDX-License-Identifier: Apache-2.0
"""

import argparse
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = 100
CELL_WIDTH, LINE_HEIGHT, FONT_SIZE = 8.0, 18, 13.3
MARGIN, BAR = 18, 34
PROMPT = "$ "

BACKGROUND, BAR_COLOUR, FOREGROUND = "#161b22", "#21262d", "#d0d7de"
# What the demo uses of SGR: attribute -> presentation of the text.
STYLES = {"1": 'font-weight="bold" fill="#ffffff"', "2": 'fill="#8b949e"', "32": 'fill="#56d364"',
          "33": 'fill="#e3b341"', "36": 'fill="#79c0ff"', "1;31": 'font-weight="bold" fill="#ff7b72"'}


def run(program, arguments):
    """What the program prints on a terminal; ends this program if it fails."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm", LC_ALL="C.UTF-8")
        for name in [n for n in os.environ if n.startswith("KINLOG_") or n == "NO_COLOR"]:
            del os.environ[name]
        try:
            os.execv(program, [program, *arguments])
        finally:
            os._exit(127)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    output = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the other side is closed
            piece = b""
        if not piece:
            break
        output += piece
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    text = output.decode().replace("\r\n", "\n")
    if code != 0:
        sys.exit(f"{program} ended with {code}:\n{text}")
    return text.rstrip("\n").split("\n")


def runs_of(line):
    """A line as [(style, text)]; style is the SGR attribute, "" = plain."""
    runs, style = [], ""
    for i, piece in enumerate(re.split(r"\033\[([0-9;]*)m", line)):
        if i % 2:
            style = "" if piece in ("", "0") else piece
        elif piece:
            runs.append((style, piece))
    return runs


def plain(line):
    return "".join(text for _, text in runs_of(line))


def choose(lines, steps):
    """The lines before the steps, the chosen steps, and the lines after them; gaps become an ellipsis."""
    chosen, keep, gap = [], True, False
    for line in lines:
        heading = re.match(r"\s?(\d+)  \S", plain(line))
        if heading:
            keep = int(heading[1]) in steps
        elif plain(line).startswith("    What the views hold"):
            keep = True
        if keep and gap:
            chosen += ["\033[2m    ...\033[0m", ""]
        if keep:
            chosen.append(line)
        gap = not keep
    return chosen


def numbers(text):
    found = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def row(y, line):
    """Each word stands at its own column, so that the grid holds whatever font the reader has."""
    spans, column = [], 0
    for style, text in runs_of(line):
        for word in re.finditer(r"\S+(?: \S+)*", text):
            x = MARGIN + (column + word.start()) * CELL_WIDTH
            spans.append(f'<tspan x="{x:g}" textLength="{len(word[0]) * CELL_WIDTH:g}" '
                         f'{STYLES.get(style, "")}>{escape(word[0])}</tspan>'.replace(" >", ">"))
        column += len(text)
    return f'<text y="{y:g}">{"".join(spans)}</text>' if spans else ""


def render(lines, title):
    width = 2 * MARGIN + COLUMNS * CELL_WIDTH
    height = BAR + 2 * MARGIN + len(lines) * LINE_HEIGHT - 4
    rows = [row(BAR + MARGIN + (i + 0.7) * LINE_HEIGHT, line) for i, line in enumerate(lines)]
    lights = "".join(f'<circle cx="{MARGIN + 4 + 20 * i}" cy="{BAR / 2:g}" r="6" fill="{colour}"/>'
                     for i, colour in enumerate(("#ff5f57", "#febc2e", "#28c840")))
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" role="img">',
        f"<title>{escape(title)}</title>",
        "<!-- Made by docs/make_demo_picture.py. SPDX-License-Identifier: Apache-2.0 -->",
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>',
        f'<path d="M0 {BAR}V8a8 8 0 0 1 8-8h{width - 16:g}a8 8 0 0 1 8 8v{BAR - 8}z" fill="{BAR_COLOUR}"/>',
        lights,
        f'<g fill="{FOREGROUND}" font-size="{FONT_SIZE:g}" xml:space="preserve" font-family="ui-monospace, '
        "'DejaVu Sans Mono', Menlo, Consolas, monospace\">",
        *filter(None, rows), "</g>", "</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description="Draws what `kinlog demo --once` prints.")
    parser.add_argument("--steps", default="1,4-10", help="steps of the story to show")
    parser.add_argument("--program", default=str(ROOT / "build" / "kinlog"))
    parser.add_argument("--output", default=str(ROOT / "docs" / "demo.svg"))
    arguments = parser.parse_args()
    os.chdir(ROOT)
    program = os.path.relpath(arguments.program)
    story = run(os.path.join(".", program), ["demo", "--once"])
    lines = choose(story, numbers(arguments.steps))
    lines.insert(0, f"{PROMPT}{program} demo --once")
    lines.insert(1, "")
    title = "What kinlog demo prints: commands, their events and their answers"
    Path(arguments.output).write_text(render(lines, title))


if __name__ == "__main__":
    main()
