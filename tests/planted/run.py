#!/usr/bin/python3
"""A test of the tests: each planted bug (agent/planted.h) is found, and the sound program passes the same tests.

    tests/planted/run.py [--campaigns] [BUG ...]    needs what `make planted` builds first

First the sound program runs all scenarios; then, for each bug, the program that has it runs those that are to
find it. Prints which did, after how long, and what it said; a bug that no test finds is a failure. With
--campaigns, those that show under kills and pauses must be found by the campaigns of tests/torture, too.

SPDX-License-Identifier: Apache-2.0
"""

import contextlib
import os
import re
import subprocess
import sys
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from scenarios import Broker, Scenarios, kinlog_fixture  # noqa: E402

BUILD = HERE.parents[1] / os.environ.get("OUT", "build")
EXPLORATION = "conversations"   # tests/conversations.c, with the bug in it
FOUND_BY = {
    "answer_before_fsync": "test_power_cut",
    "answer_before_publication": "test_unpublished",
    "mark_written_late": "test_mark",
    "tail_adopted_without_reading": "test_other_tail",
    "epoch_ignored": "test_late_records",
    "half_commands_kept": "test_half_command",
    "maximum_instead_of_dense_prefix": "test_woken_owner",
    "dedup_forgotten_after_restart": "test_repeat_after_restart",
    "request_answered_too_early": EXPLORATION,
    "request_confirmed_too_late": EXPLORATION,
    "request_timeout_not_released": EXPLORATION,
    "request_early_release_forgotten": EXPLORATION,
}
# Power cuts and stores of another configuration are no part of the campaigns.
CAMPAIGNS = {
    "answer_before_publication": ("kill", 8),
    "mark_written_late": ("kill", 30),
    "epoch_ignored": ("pause", 4),
    "maximum_instead_of_dense_prefix": ("pause", 4),
    "dedup_forgotten_after_restart": ("kill", 8),
}


def check_complete():
    """Every bug that can be planted has its row."""
    header = (HERE.parents[1] / "agent" / "planted.h").read_text()
    planted = set(re.findall(r"^    PLANTED_(\w+),", header, re.MULTILINE)) - {"nothing"}
    if planted != set(FOUND_BY):
        sys.exit(f"FOUND_BY does not name the bugs of agent/planted.h; one of them alone has: "
                 f"{', '.join(sorted(planted ^ set(FOUND_BY)))}")


def run_campaign(bug):
    """Returns (seconds, the checker's first complaint; "" = none)."""
    campaign, count = CAMPAIGNS[bug]
    began = time.monotonic()
    run = subprocess.run([sys.executable, str(HERE.parent / "torture" / "run.py"), campaign, "--seed", "7",
                          "--program", str(BUILD / "planted" / bug / "kinlog"), "--count", str(count)],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    complaints = [line.split("COMPLAINT ", 1)[1] for line in run.stdout.splitlines() if "COMPLAINT " in line]
    judged = [line for line in complaints if line.split(":")[0] in
              ("not valid", "whole", "doubled", "order", "early", "values", "twice", "unanswered", "store", "digests")]
    return time.monotonic() - began, judged[0][:150] if judged else ""


def explore(program):
    """As run(), of the exploration that the program is."""
    began = time.monotonic()
    exploration = subprocess.run([str(program)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True)
    took = time.monotonic() - began
    if exploration.returncode == 0:
        return took, "", False
    errors = [line for line in exploration.stdout.splitlines() if line.startswith("ERROR: ")]
    return took, "\n".join(errors[:1]) or exploration.stdout[-500:], bool(errors)


def run(bug, name):
    """Runs one scenario with a bug in the program (None: the sound one); returns (seconds, "" or how it failed,
    and whether by an assertion)."""
    if name == EXPLORATION:
        return explore(BUILD / "planted" / bug / name if bug else BUILD / "tests" / name)
    kinlog_fixture.KINLOG = BUILD / "planted" / bug / "kinlog" if bug else BUILD / "variants" / "torture" / "kinlog"
    result = unittest.TestResult()
    began = time.monotonic()
    Scenarios(name).run(result)
    took = time.monotonic() - began
    for _, trace in result.failures:
        return took, trace, True
    for _, trace in result.errors:
        return took, trace, "LogFault" in trace
    return took, "", False


def said(trace):
    """The assertion's words, on one line."""
    lines = [line for line in trace.splitlines()
             if any(word in line for word in ("Error: ", "LogFault: ", "ERROR: "))]
    return " ".join(lines[-1].split(": ", 1)[1].split())[:150] if lines else trace[-150:]


def main():
    check_complete()
    campaigns = "--campaigns" in sys.argv[1:]
    bugs = [word for word in sys.argv[1:] if word != "--campaigns"] or list(FOUND_BY)
    passed = failed = 0
    lines, passes = [], set()
    with contextlib.ExitStack() as stack:
        if any(FOUND_BY[bug] != EXPLORATION for bug in bugs):
            broker = stack.enter_context(Broker(proxied=True))
            kinlog_fixture.module_broker = lambda *_: broker    # one for all
        for name in dict.fromkeys(FOUND_BY[bug] for bug in bugs):
            took, trace, _ = run(None, name)
            print(f"{'FAIL' if trace else 'ok':5} {took:6.1f} s  the sound program passes {name}", flush=True)
            if trace:
                print(trace, flush=True)
            else:
                passes.add(name)
            passed, failed = passed + (not trace), failed + bool(trace)
        for bug in bugs:
            took, trace, asserted = run(bug, FOUND_BY[bug])
            found = bool(trace) and asserted and FOUND_BY[bug] in passes
            words = said(trace) if trace else "NOT FOUND"
            print(f"{'ok' if found else 'FAIL':5} {took:6.1f} s  {bug}: {words}", flush=True)
            if trace and not found:
                print(trace, flush=True)
            passed, failed = passed + found, failed + (not found)
            lines.append(f"{bug:32} {FOUND_BY[bug] if found else '-':28} {took:6.1f} s  {words}")
    for bug in [bug for bug in bugs if campaigns and bug in CAMPAIGNS]:
        took, words = run_campaign(bug)
        print(f"{'ok' if words else 'FAIL':5} {took:6.1f} s  {bug}: {words or 'NOT FOUND'}", flush=True)
        passed, failed = passed + bool(words), failed + (not words)
        lines.append(f"{bug:32} {'campaign ' + CAMPAIGNS[bug][0] if words else '-':28} {took:6.1f} s  {words}")
    print(f"\n{'planted bug':32} {'found by':28} {'after':>8}  what it said")
    print("\n".join(lines))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
