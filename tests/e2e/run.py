#!/usr/bin/python3
"""Runs the end-to-end tests: tests/e2e/test_*.py, one broker per module, against build/kinlog.

    tests/e2e/run.py [NAME ...]     only modules, classes or tests whose name holds one of the NAMEs

OUT=build/san takes the program built with sanitizers. The last line counts: N passed, N failed. A test that
is skipped counts as failed, as nothing here may be left out silently.

SPDX-License-Identifier: Apache-2.0
"""

import sys
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import kinlog_fixture  # noqa: E402


def tests_of(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests_of(test)
        else:
            yield test


class Result(unittest.TextTestResult):
    """One line per test, with its time; failures at once and with the agents' logs named."""

    def startTest(self, test):
        unittest.TestResult.startTest(self, test)
        self._began = time.monotonic()

    def _line(self, word, test):
        took = time.monotonic() - self._began
        self.stream.writeln(f"{word:5} {took:6.1f} s  {test.id()}")
        self.stream.flush()

    def addSuccess(self, test):
        unittest.TestResult.addSuccess(self, test)
        self._line("ok", test)

    def _bad(self, word, test, error):
        self._line(word, test)
        self.stream.writeln(self._exc_info_to_string(error, test))
        self.stream.writeln(f"(agents' logs: build/test-logs/agents/{test.id().split('.', 1)[-1]}.*)\n")

    def addFailure(self, test, error):
        unittest.TestResult.addFailure(self, test, error)
        self._bad("FAIL", test, error)

    def addError(self, test, error):
        unittest.TestResult.addError(self, test, error)
        self._began = getattr(self, "_began", time.monotonic())
        self._bad("ERROR", test, error)

    def addSubTest(self, test, subtest, error):
        unittest.TestResult.addSubTest(self, test, subtest, error)
        if error:
            self._bad("FAIL", subtest, error)

    def addSkip(self, test, reason):
        unittest.TestResult.addSkip(self, test, reason)
        self._line("SKIP", test)

    def printErrors(self):
        pass


def main():
    if not kinlog_fixture.KINLOG.exists():
        print(f"{kinlog_fixture.KINLOG} is not built")
        print("0 passed, 1 failed")
        return 1
    names = sys.argv[1:]
    found = unittest.defaultTestLoader.discover(str(HERE), pattern="test_*.py")
    chosen = [test for test in tests_of(found)
              if not names or any(name in test.id() for name in names)
              or isinstance(test, unittest.loader._FailedTest)]
    try:
        result = unittest.TextTestRunner(sys.stdout, verbosity=0, resultclass=Result).run(unittest.TestSuite(chosen))
    finally:
        kinlog_fixture.end_module_broker()
    bad = {test.id() for test, _ in result.failures + result.errors + result.skipped}
    bad |= {test.id() for test in result.unexpectedSuccesses}
    # A failed subtest is not the test itself, which then counts once.
    bad_tests = len({name.split(" (")[0].split(" [")[0] for name in bad})
    passed = max(0, result.testsRun - bad_tests)
    if result.testsRun == 0:
        print("there is no test of that name")
    print(f"{passed} passed, {bad_tests} failed")
    return 0 if result.wasSuccessful() and not result.skipped and result.testsRun > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
