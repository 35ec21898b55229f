"""kinlog import and export, on a `kinlog demo` with its embedded broker: encodings, bad files, bad rows, imports cut
short, the way there and back, constant memory.

SPDX-License-Identifier: Apache-2.0
"""

import csv
import io
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
from collections import namedtuple
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KINLOG = str(ROOT / os.environ.get("OUT", "build") / "kinlog")
Result = namedtuple("Result", "code out err")
DONE, FAILED, WRONG, REFUSED, NO_ANSWER = 0, 1, 2, 3, 4


def wait_until(condition, what, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s for {what}")
        time.sleep(0.02)


class Site:
    """A demo that stays up, and the command line on its folder."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="kinlog-import-"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.output = self.folder / "demo.out"
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("KINLOG_")}
        self.environment.update(LC_ALL="C.UTF-8", KINLOG_CONFIG=str(self.folder / "demo" / "kinlog.conf"))
        with open(self.output, "wb") as output:
            self.demo = subprocess.Popen(
                [KINLOG, "demo", "--data-dir", str(self.folder / "demo"), "--port", str(port)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.environment)
        wait_until(lambda: b"Ctrl-C ends the demo" in self.output.read_bytes(), "the demo")

    def close(self):
        self.demo.send_signal(signal.SIGCONT)
        self.demo.send_signal(signal.SIGINT)
        self.demo.wait(30)
        shutil.rmtree(self.folder)

    def start(self, *arguments, **options):
        return subprocess.Popen([KINLOG, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                cwd=self.folder, env=self.environment, **options)

    def run(self, *arguments, stdin=b""):
        process = self.start(*arguments, stdin=subprocess.PIPE)
        out, err = process.communicate(stdin, timeout=120)
        return Result(process.returncode, out.decode(), err.decode())

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def ndjson(self, *arguments):
        result = self.run(*arguments, "--ndjson")
        assert result.code == DONE, result
        return [json.loads(line) for line in result.out.splitlines()]

    def sequences(self):
        return sum(shard["Sequence"] for shard in self.ndjson("status"))

    def register(self, **names):
        """Registers devices: register(PC1=1)."""
        for name, number in names.items():
            assert self.run("send", "RegisterDevice", f"ResourceID={number}", f"Name={name}").code == DONE


class ImportTest(unittest.TestCase):
    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        cls.site = Site()
        cls.addClassCleanup(cls.site.close)
        cls.site.register(PC1=1, PC2=2, TWIN=3, twin=4)

    def import_(self, kind, content, *options, code=DONE, name="rows.csv"):
        """Imports a file of this content; the exit code must be right. Returns {line: (outcome, reason)}."""
        path = self.site.file(name, content)
        result_path = self.site.folder / (name + ".result.csv")
        result_path.unlink(missing_ok=True)
        self.result = self.site.run("import", kind, path, *options)
        self.assertEqual(self.result.code, code, self.result)
        if not result_path.exists():
            return None
        return self.rows_of(result_path.read_text())

    def rows_of(self, text):
        rows = list(csv.reader(io.StringIO(text)))
        self.assertEqual(rows[0], ["Line", "Outcome", "Reason"])
        lines = [int(line) for line, _, _ in rows[1:]]
        self.assertEqual(lines, sorted(set(lines)), "one line for each row, in order")
        return {int(line): (outcome, reason) for line, outcome, reason in rows[1:]}

    def users(self, device):
        return sorted(r["UniqueUserName"] for r in self.site.ndjson("list", "relationships", "--device", str(device)))


class Rows(ImportTest):
    """What a row does, and what is said of it."""

    def test_affinity(self):
        rows = self.import_("affinity", "hq\\ann,PC1\r\nhq\\bob,pc2\r\n\"hq\\k\"\"im\",device:2\r\n")
        self.assertEqual(rows, {1: ("accepted", ""), 2: ("accepted", ""), 3: ("accepted", "")})
        self.assertEqual(self.result.out, f"3 rows: 3 accepted.\nRow by row: {self.site.folder}/rows.csv.result.csv\n")
        self.assertEqual(self.users(1), ["hq\\ann"])
        self.assertEqual(self.users(2), ["hq\\bob", "hq\\k\"im"])
        found = self.site.ndjson("get", "relationship", "1/hq\\ann")[0]
        self.assertEqual((found["Sources"], found["Types"]), ([2], [1]))
        rows = self.import_("affinity", "HQ\\ANN,PC1\nhq\\new,PC1\n")
        self.assertEqual(rows, {1: ("unchanged", ""), 2: ("accepted", "")})

    def test_devices(self):
        rows = self.import_("devices", "Domain,ResourceID,Name,MACAddresses\nHQ,101,A,00:01;00:02\n,102,\"B, c\",\n",
                            "--header")
        self.assertEqual(rows, {2: ("accepted", ""), 3: ("accepted", "")})
        found = {d["ResourceID"]: d for d in self.site.ndjson("list", "devices")}
        a, b = found[101], found[102]
        self.assertEqual((a["Name"], a["ClientType"], a["MACAddresses"], a["Domain"]), ("A", 1, ["00:01", "00:02"], "HQ"))
        self.assertEqual((b["Name"], b["MACAddresses"], b["Domain"]), ("B, c", None, None))

    # Source and restoring device lie in any shards; a row is answered when both have agreed.
    def test_associations(self):
        self.site.register(**{f"OLD{i}": 400 + i for i in range(8)}, **{f"NEW{i}": 410 + i for i in range(8)})
        rows = self.import_("associations",
                            "old0,new0,0,,\n"
                            "OLD1,NEW1,1,hq\\ann;hq\\bob,\n"
                            "OLD2,NEW2,2,hq\\ann,1031\n"
                            "OLD3,OLD3,0,,\n"                 # 4: in place
                            "OLD4,NEW4,3,,\n"                 # 5: there is no such behavior
                            "OLD5,NEW5,1,,\n"                 # 6: nobody is named
                            "OLD6,NEW99,0,,\n"                # 7: unknown
                            "OLD99,NEW6,0,,\n"                # 8: unknown
                            "OLD2,NEW7,0,,\n"                 # 9: line 3 excludes it
                            "OLD7,NEW7,1,hq\\ann;HQ\\Ann,\n"  # 10: the same user twice
                            "OLD7,NEW7,1,nobody,\n", code=REFUSED)
        self.assertEqual([line for line, row in rows.items() if row == ("accepted", "")], [1, 2, 3, 4])
        for line, text in {5: "MigrationBehavior is out of range", 6: "name one at least",
                           7: "RestoreDevice: there is no device of the name NEW99",
                           8: "SourceDevice: there is no device of the name OLD99",
                           9: "the source has another association", 10: "the same user",
                           11: "write it as domain\\user"}.items():
            self.assertEqual(rows[line][0], "refused")
            self.assertIn(text, rows[line][1])
        found = {a["SourceClientResourceID"]: a for a in self.site.ndjson("list", "associations")}
        self.assertEqual([found[400 + i]["RestoreClientResourceID"] for i in range(4)], [410, 411, 412, 403])
        self.assertEqual(found[402]["UserNames"], [{"LocaleID": 1031, "UserName": "hq\\ann"}])
        self.assertEqual([u["UserName"] for u in found[401]["UserNames"]], ["hq\\ann", "hq\\bob"])

    # Each row that cannot be is refused by itself, with its reason; the others are decided.
    def test_bad_rows(self):
        rows = self.import_("affinity", b"hq\\r1,PC1\n"
                            b"hq\\r2,twin\n"                # 2: two devices have the name
                            b"hq\\r3,PC99\n"                # 3: none has it
                            b"hq\\r4,\n"                    # 4: no device
                            b"nobody,PC1\n"                 # 5: the agent refuses the name
                            b",PC1\n"                       # 6: so it does here
                            b"hq\\r7\n"                     # 7: a column is missing
                            b"hq\\r8,PC1,more\n"            # 8: one too many
                            b"hq\\r\"9,PC1\n"               # 9: a stray quote
                            b"hq\\r\0a,PC1\n"               # 10: a NUL
                            b"hq\\r\xff,PC1\n"              # 11: not UTF-8
                            b"hq\\r12,device:x\n"           # 12: no number
                            b"hq\\" + b"x" * 1024 * 1024 + b",PC1\n"  # 13: a megabyte
                            b"hq\\r14,device:0\n"           # 14: the agent refuses the number
                            b"hq\\" + b"x" * 300 + b",PC1\n"  # 15: the agent refuses its length
                            b"hq\\r16," + b"x" * 5000 + b"\n"  # 16: too long for any device's name
                            b"\n\nhq\\r19,PC1\n", code=REFUSED)
        self.assertEqual([line for line, row in rows.items() if row == ("accepted", "")], [1, 19])
        reasons = {line: reason for line, (outcome, reason) in rows.items() if outcome == "refused"}
        for line, text in {2: "Devices: twin is the name of 2 devices: device:3, device:4; write the one",
                           3: "Devices: there is no device of the name PC99",
                           4: "Devices: no device is named",
                           5: "UserAccountName: the name has no backslash; write it as domain\\user",
                           6: "UserAccountName is 0 characters long",
                           7: "1 column where 2 are wanted", 8: "3 columns where 2 are wanted",
                           9: "a quote where none may stand", 10: "there is a NUL in it", 11: "not UTF-8",
                           12: "Devices: a whole number is wanted", 13: "larger than 256 KiB",
                           14: "MachineResourceId is out of range", 15: "UserAccountName is 303 characters long",
                           16: "there is no device of the name xxx"}.items():
            self.assertIn(text, reasons.pop(line), line)
        self.assertEqual(reasons, {})
        self.assertIn("17 rows: 2 accepted, 15 refused.\n  line 2: Devices: twin", self.result.out)
        self.assertIn("\n  and 5 more\n", self.result.out)
        self.assertTrue(all(len(line) <= 80 for line in self.result.out.splitlines() if "result.csv" not in line))
        self.assertEqual([u for u in self.users(1) if "\\r" in u], ["hq\\r1", "hq\\r19"])

    # A quote that does not end takes the lines with it up to where that is seen; what follows is read.
    def test_open_quote(self):
        rows = self.import_("affinity", "hq\\q1,PC1\n\"hq\\q2,PC1\nhq\\q3,\"PC1\"\nhq\\q4,PC1\n", code=REFUSED)
        self.assertEqual(rows, {1: ("accepted", ""), 2: ("refused", "up to line 3: a quote where none may stand"),
                                4: ("accepted", "")})
        rows = self.import_("affinity", "hq\\q5,PC1\nhq\\q6,\"PC1\n", code=REFUSED)
        self.assertEqual(rows, {1: ("accepted", ""), 2: ("refused", "a quote where none may stand")})

    # A reason must not take over a terminal, nor break the lines of the result file.
    def test_control_characters(self):
        rows = self.import_("affinity", "hq\\c1,\"PC\x1b[2J\nX\"\n", code=REFUSED)
        self.assertEqual(rows, {1: ("refused", "Devices: there is no device of the name PC\x1b[2J\nX")})
        self.assertIn("PC\\u{1b}[2J\\u{a}X", self.result.out)

    # The id of a row belongs to its content: another device behind the same name is a conflict.
    def test_conflict(self):
        self.site.register(MOVED=201)
        self.import_("affinity", "hq\\mover,MOVED\n")
        shard = self.site.ndjson("get", "device", "201")[0]["Shard"]
        self.assertEqual(self.site.run("send", "RemoveDevice", "ResourceID=201").code, DONE)
        for number in range(202, 300):
            self.site.register(MOVED=number)
            if self.site.ndjson("get", "device", str(number))[0]["Shard"] == shard:
                break
            self.site.run("send", "RemoveDevice", f"ResourceID={number}")
        rows = self.import_("affinity", "hq\\mover,MOVED\n", code=REFUSED)
        self.assertEqual(rows[1][0], "conflict")
        self.assertIn("  line 1: conflict: ", self.result.out)
        rows = self.import_("affinity", "hq\\mover,MOVED\n", "--run", "after the move")
        self.assertEqual(rows, {1: ("accepted", "")})


class Files(ImportTest):
    """What a file may be, and what is said of one that may not."""

    def test_encodings(self):
        text = "hq\\j\u00f6rg,PC1\r\nhq\\\U0001f600,PC2\r\n"
        for number, (name, mark) in enumerate([("utf-8", b""), ("utf-8", b"\xef\xbb\xbf"), ("utf-16-le", b"\xff\xfe"),
                                               ("utf-16-be", b"\xfe\xff")]):
            with self.subTest(name, mark=mark):
                rows = self.import_("affinity", mark + text.replace("hq", f"e{number}").encode(name))
                self.assertEqual(rows, {1: ("accepted", ""), 2: ("accepted", "")})
                self.assertIn(f"e{number}\\j\u00f6rg", self.users(1))
                self.assertIn(f"e{number}\\\U0001f600", self.users(2))

    # Longer than one piece, and shifted, so that the end of the piece falls on each character of a row.
    def test_long_utf16(self):
        row = "hq\\\U0001f600,PC1\n"
        for shift in range(len(row) + 1):
            self.import_("affinity", b"\xff\xfe" + ("x" * shift + row * 5000).encode("utf-16-le"), "--dry-run", "--json")
            self.assertEqual(json.loads(self.result.out)["Ready"], 5000)

    def test_bad_utf16(self):
        half = "hq\\a,PC1\nhq\\b".encode("utf-16-le") + b"\x3d\xd8" + ",PC1\nhq\\c,PC1\nhq\\d,PC1".encode("utf-16-le")
        self.import_("affinity", b"\xff\xfe" + half + b"x", "--dry-run", "--json", code=REFUSED)
        told = json.loads(self.result.out)
        self.assertEqual([r["Line"] for r in told["FirstRefusals"]], [2, 4])
        self.assertEqual({r["Reason"][:9] for r in told["FirstRefusals"]}, {"not UTF-8"})
        self.import_("affinity", "hq\\a,PC1\n".encode("utf-16-le"), "--dry-run", code=REFUSED)
        self.assertIn("a file in UTF-16 wants its byte order mark", self.result.out)

    # Such a file is refused as a whole: nothing is sent, nothing is written.
    def test_bad_files(self):
        before = self.site.sequences()
        (self.site.folder / "folder").mkdir()
        for content, options, code, said in [
                ("", [], FAILED, "rows.csv is empty"),
                ("hq\\a,PC1,x\n", [], WRONG, "line 1 has 3 columns, not Users,Devices: say with --columns"),
                ("hq\\a\n", [], WRONG, "line 1 has 1 column, not Users,Devices"),
                ("Users,Devices\nhq\\a,PC1\n", [], WRONG, "line 1 names the columns: say so with --header"),
                ("Users,Dvices\nhq\\a,PC1\n", ["--header"], WRONG, "no column Dvices; did you mean Devices?"),
                ("Us\"ers\n", ["--header"], FAILED, "line 1, the header: a quote where none may stand"),
                ("hq\\a,PC1\n", ["--columns", "Users"], WRONG, "--columns: the column Devices is missing"),
                ("hq\\a,PC1\n", ["--columns", "Users,Users"], WRONG, "--columns: the column Users is named twice"),
                ("hq\\a,PC1\n", ["--timeout", "soon"], WRONG, "--timeout: a duration is wanted"),
                ("hq\\a,PC1\n", ["--source", ""], WRONG, "--source must not be empty"),
                ("hq\\a,PC1\n", ["--result", "rows.csv"], WRONG, "--result is the file that is imported"),
                ("hq\\a,PC1\n", ["--result", "no/where"], FAILED, "cannot write no/where: No such file"),
                ("hq\\a,PC1\n", ["-X", "kafka.bootstrap.servers=127.0.0.1:1", "--timeout", "1s"], FAILED,
                 "no broker was reached, nothing was sent"),
                ("hq\\a,PC1\n", ["-X", "agent.data_dir=/nowhere"], FAILED,
                 "device names are looked up in the data folder")]:
            with self.subTest(said):
                self.assertIsNone(self.import_("affinity", content, *options, code=code))
                self.assertIn(said, self.result.err)
                self.assertEqual(self.result.out, "")
        for arguments, code, said in [
                (["affinity", "folder"], FAILED, "cannot read folder: Is a directory"),
                (["affinity", "nothing"], FAILED, "cannot read nothing: No such file"),
                (["afinity", "rows.csv"], WRONG, "did you mean affinity?"),
                (["affinity"], WRONG, "two words are wanted")]:
            with self.subTest(said):
                result = self.site.run("import", *arguments)
                self.assertEqual(result.code, code, result)
                self.assertIn(said, result.err)
        self.assertEqual(self.site.sequences(), before)

    def test_columns_and_header(self):
        rows = self.import_("affinity", "1,hq\\h1,\"a\nnote\",PC1\n2,hq\\h2,,PC1\n", "--columns",
                            "ignored,users,Ignored,Devices")
        self.assertEqual(rows, {1: ("accepted", ""), 3: ("accepted", "")})
        rows = self.import_("affinity", "Benutzer;Gerät,\nhq\\h3,PC1\n", "--header")  # passed over
        self.assertEqual(rows, {2: ("accepted", "")})
        self.import_("affinity", "Devices,Users\n", "--header")
        self.assertEqual(self.result.out, "0 rows.\n")

    def test_dry_run(self):
        before = self.site.sequences()
        rows = self.import_("affinity", "hq\\d1,PC1\nhq\\d2,PC98\nnobody,PC1\n", "--dry-run", code=REFUSED)
        self.assertIsNone(rows)
        self.assertEqual(self.result.out, "Dry run, nothing was sent. 3 rows: 1 ready, 2 refused.\n"
                         "  line 2: Devices: there is no device of the name PC98\n"
                         "  line 3: UserAccountName: the name has no backslash; write it as domain\\user\n")
        self.import_("devices", "1,PC1\n", "--dry-run", "-X", "kafka.bootstrap.servers=", "-X", "agent.data_dir=")
        self.assertEqual(self.site.sequences(), before)

    def test_standard_input_and_output(self):
        result = self.site.run("import", "affinity", "-", "--result", "-", stdin=b"hq\\s1,PC1\nhq\\s2,PC98\n")
        self.assertEqual(result.code, REFUSED)
        self.assertEqual(self.rows_of(result.out), {
            1: ("accepted", ""), 2: ("refused", "Devices: there is no device of the name PC98")})
        self.assertIn("2 rows: 1 accepted, 1 refused.", result.err)
        with open(self.site.file("rows.csv", "hq\\s3,PC1\n"), "rb") as file:
            process = self.site.start("import", "affinity", "-", stdin=file)
            self.assertEqual(process.communicate(timeout=60)[0], b"1 row: 1 accepted.\n")

    # Who sent it, on whose word, and by which import: the log has it.
    def test_attributes(self):
        self.import_("affinity", "hq\\at,PC1\n", "--actor", "hq\\boss", "--source", "/hr/joiners", "--json")
        told = json.loads(self.result.out)
        self.assertEqual((told["Rows"], told["Accepted"], told["Complete"], told["FirstRefusals"]), (1, 1, True, []))
        event = self.site.ndjson("log", "--subject", "device/1")[-1]
        self.assertEqual((event["data"]["UniqueUserName"], event["actor"], event["correlationid"]),
                         ("hq\\at", "hq\\boss", told["ImportId"]))
        shown = self.site.run("show", "/hr/joiners", told["ImportId"] + "-1")
        self.assertIn("Accepted: CreateRelationship", shown.out)


class CutShort(ImportTest):
    """Imports that are interrupted or lose their agent, and are run again."""

    def big(self, word, count=20000):
        """A file of that many rows, each a user of its own."""
        (self.site.folder / "rows.csv.result.csv").unlink(missing_ok=True)
        return self.site.file("rows.csv", "".join(f"hq\\{word}{i},PC{1 + i % 2}\n" for i in range(count)))

    def wait_on_the_way(self):
        """Waits until some hundred rows are decided, as the result file tells."""
        result = self.site.folder / "rows.csv.result.csv"
        wait_until(lambda: result.exists() and result.stat().st_size > 0, "rows decided")

    def check_once(self, word, count=20000):
        """Each row has happened, and once."""
        created = [e["data"]["UniqueUserName"] for e in self.site.ndjson("log")
                   if e["type"] == "kinlog.RelationshipCreated.v1"]
        created = [name for name in created if name.startswith("hq\\" + word)]
        self.assertEqual((len(created), len(set(created))), (count, count))

    def test_interrupted(self):
        path = self.big("i")
        process = self.site.start("import", "affinity", path, "--json", stdin=subprocess.DEVNULL)
        self.wait_on_the_way()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        told = json.loads(out)
        self.assertEqual((process.returncode, told["Complete"]), (FAILED, False))
        self.assertIn(b"interrupted; run it again", err)
        self.assertGreater(told["Accepted"], 100)
        self.assertLess(told["Rows"], 20000)
        rows = self.rows_of((self.site.folder / "rows.csv.result.csv").read_text())
        self.assertEqual(len(rows), told["Rows"])
        self.assertEqual(sum(1 for o, _ in rows.values() if o == "no answer"), told["NoAnswer"])

        again = json.loads(self.site.run("import", "affinity", path, "--json").out)
        self.assertEqual((again["Accepted"], again["Rows"], again["Complete"]), (20000, 20000, True))
        self.assertGreaterEqual(again["Repeated"], told["Accepted"])
        self.check_once("i")
        third = self.site.run("import", "affinity", path)
        self.assertEqual(third.code, DONE)
        self.assertIn("20000 rows: 20000 accepted.\n20000 of them had been decided by an earlier import", third.out)
        self.check_once("i")

    # Broker and agent fall silent in the middle; on a terminal a bar shows how far it is.
    def test_silent(self):
        path = self.big("s")
        terminal, inside = pty.openpty()
        process = subprocess.Popen([KINLOG, "import", "affinity", str(path), "--timeout", "3s"], stdout=subprocess.PIPE,
                                   stderr=inside, cwd=self.site.folder, env=self.site.environment)
        os.close(inside)
        self.wait_on_the_way()
        self.site.demo.send_signal(signal.SIGSTOP)
        out, _ = process.communicate(timeout=60)
        self.site.demo.send_signal(signal.SIGCONT)
        shown = b""
        try:
            while piece := os.read(terminal, 65536):
                shown += piece
        except OSError:
            pass  # the other end is closed
        os.close(terminal)
        self.assertEqual(process.returncode, NO_ANSWER, (out, shown))
        self.assertRegex(shown.decode(), r"\rimporting \[#+\.+\] +[0-9]+ %  [0-9]+ rows/s  [0-9]+ (s|min) left\x1b\[K")
        self.assertIn(b"no answer within 3 s: does the agent run?", shown)
        again = json.loads(self.site.run("import", "affinity", path, "--json").out)
        self.assertEqual((again["Accepted"], again["NoAnswer"]), (20000, 0))
        self.check_once("s")


class ThereAndBack(ImportTest):
    """What export writes, import makes again on another site, to the same export."""

    def test_round_trip(self):
        odd = ["semi;colon", "com,ma", "quo\"te", " blank ", "J\u00f6rg\U0001f600", "device:7", "Users", "1", "new\nline"]
        for number, name in enumerate(odd, 301):
            answer = self.site.run("send", "RegisterDevice", "--data", "-", stdin=json.dumps(
                {"ResourceID": number, "Name": name, "ClientType": number % 3, "Domain": name,
                 "MACAddresses": odd[:number % 4]}).encode())
            self.assertEqual(answer.code, DONE, answer)
        rows = [(f"d;\"{i}\\u,{i}", f"device:{i}") for i in [*range(301, 310), 3, 4]]
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        self.import_("affinity", text.getvalue())
        text = io.StringIO()
        csv.writer(text).writerows([["device:301", "device:302", 1, "\"hq\\semi;\"\"colon\";hq\\b", "7;0"],
                                    ["com,ma", "device:303", 0, "", ""], ["device:303", "device:303", 2, "hq\\c", ""]])
        self.import_("associations", text.getvalue())

        another = Site()
        self.addCleanup(another.close)
        for kind in ["devices", "associations", "affinity"]:
            for options in [[], ["--header"]]:
                exported = self.site.run("export", kind, *options)
                self.assertEqual(exported.code, DONE)
                another.file("there.csv", exported.out)
                result = another.run("import", kind, "there.csv", *options)
                self.assertEqual(result.code, DONE, result)
            back = another.run("export", kind, "--header")
            self.assertEqual(sorted(back.out.split("\n")), sorted(exported.out.split("\n")))
        self.assertEqual(back.out.split("\n")[0], "Users,Devices")
        wanted = {(r["ResourceID"], r["UniqueUserName"]) for r in self.site.ndjson("list", "relationships")}
        self.assertEqual({(r["ResourceID"], r["UniqueUserName"]) for r in another.ndjson("list", "relationships")}, wanted)
        self.assertEqual([a["UserNames"] for a in another.ndjson("list", "associations", "--source", "301")],
                         [[{"LocaleID": 7, "UserName": "hq\\semi;\"colon"}, {"LocaleID": 0, "UserName": "hq\\b"}]])
        strip = [{k: v for k, v in d.items() if k != "Version"} for d in self.site.ndjson("list", "devices") if d["Name"]]
        self.assertEqual([{k: v for k, v in d.items() if k != "Version"} for d in another.ndjson("list", "devices")
                          if d["Name"]], strip)

    def test_wrong_usage(self):
        for arguments, said in [([], "one word is wanted"), (["device"], "did you mean devices?")]:
            result = self.site.run("export", *arguments)
            self.assertEqual(result.code, WRONG)
            self.assertIn(said, result.err)


class Memory(ImportTest):
    """The memory that an import takes does not grow with the file."""

    def used(self, *arguments, stdin=None, code=DONE):
        """The most memory that a run had, in KiB. Files are not held in memory here: a child begins with ours."""
        process = self.site.start(*arguments, stdin=stdin)
        process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        process.stderr.close()
        self.assertEqual(process.returncode, code)
        return usage.ru_maxrss

    def rows(self, name, count):
        with open(self.site.folder / name, "w") as file:
            for i in range(count):
                file.write(f"hq\\memory.{name}.{i},PC{1 + i % 2}\n")
        return self.site.folder / name

    def setUp(self):
        self.one_row = self.used("import", "affinity", self.rows("one", 1), "--dry-run")

    # Forty megabytes and more, as a file and through a pipe.
    def test_many_rows(self):
        path = self.rows("large", 1600000)
        self.assertGreater(path.stat().st_size, 40 * 1024 * 1024)
        self.assertLess(self.used("import", "affinity", path, "--dry-run") - self.one_row, 4096)
        with open(path, "rb") as file:
            feeder = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
            self.assertLess(self.used("import", "affinity", "-", "--dry-run", stdin=feeder.stdout) - self.one_row, 4096)
            feeder.stdout.close()
            self.assertEqual(feeder.wait(), 0)

    # Rows of a megabyte, and a quote that is never closed.
    def test_large_rows(self):
        path = self.site.folder / "wide"
        with open(path, "w") as file:
            file.write("hq\\a,PC1\n")
            for _ in range(40):
                file.write("hq\\a," + "x" * 1000000 + "\n")
            file.write("hq\\a,\"PC1\n")
            for _ in range(100000):
                file.write("x" * 200 + "\n")
        self.assertLess(self.used("import", "affinity", path, "--dry-run", code=REFUSED) - self.one_row, 4096)

    # More rows than the window holds, sent and answered.
    def test_import(self):
        few = self.used("import", "affinity", self.rows("few", 2000))
        many = self.used("import", "affinity", self.rows("many", 20000))
        self.assertLess(many - few, 8192)


if __name__ == "__main__":
    unittest.main()
