"""Keys of migrations: handed out sealed, the same bytes for ever, and found nowhere else.

SPDX-License-Identifier: Apache-2.0
"""

import base64
import os
import secrets
import shutil
import subprocess
import unittest

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox

from kinlog_fixture import Agent, KinlogTest, wait_until

PAIR = {"SourceClientResourceID": 1, "RestoreClientResourceID": 2}


def text_of(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def bytes_of(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def base64_forms(secret):
    """Wherever in what is encoded the secret begins: the characters that it alone makes."""
    for before in range(3):
        text = base64.b64encode(bytes(before) + secret)
        own = text[(0, 2, 3)[before]:(before + len(secret)) * 8 // 6]
        yield own
        yield own.replace(b"+", b"-").replace(b"/", b"_")


def forms_of(secret):
    """All byte strings that would give the secret, or half of it, away."""
    forms = set(base64_forms(secret))
    for half in (secret[:16], secret[16:]):
        words = b"".join(half[i:i + 4][::-1] for i in range(0, 16, 4))  # as SHA-256 loads them
        for raw in (half, words):
            forms |= {raw, raw.hex().encode(), raw.hex().upper().encode()}
            forms |= {bytes(byte ^ pad for byte in raw) for pad in (0x36, 0x5c)}  # the pads of HMAC
    return forms


def holds(content, secret):
    return any(form in content for form in forms_of(secret))


class Keys(KinlogTest):

    def a_migration(self, **options):
        """A site with an association of the devices 1 and 2; its MigrationID."""
        site = self.site(**options)
        for device in (1, 2):
            self.accepted(site, "RegisterDevice", {"ResourceID": device, "Name": f"PC{device}"})
        return site, self.accepted(site, "AddAssociation", PAIR)["Out"]["MigrationID"]

    def accepted(self, site, command, data, **options):
        answer = site.ask(command, data, **options)
        self.assertEqual(answer.data["Outcome"], "accepted", answer)
        return answer.data

    def allow(self, site, *recipients):
        result = site.cli("policy", "set", "keys.recipients=" + ",".join(text_of(bytes(r)) for r in recipients))
        self.assertEqual(result.code, 0, result.err)

    def everything(self, site, agent):
        """{where: its bytes}: the files of the store, the records of all topics, the log, and a core file."""
        found = {f"file {path.relative_to(agent.data_dir)}": path.read_bytes()
                 for path in agent.data_dir.rglob("*") if path.is_file() and path.name != "site.key"}
        for name in ("commands", "events", "replies", "dead-letters"):
            records = self.broker.read(site.topic(name))
            found[f"topic {name}"] = b"\n".join(
                b"\n".join([record.key or b"", record.value or b"",
                            *(part for header, value in record.headers for part in (header.encode(), value or b""))])
                for record in records)
        found["log"] = agent.log_path.read_bytes()
        core = site.folder / "core"
        subprocess.run(["gcore", "-o", core, str(agent.pid)], check=True, capture_output=True, timeout=300)
        found["core"] = core.with_name(f"core.{agent.pid}").read_bytes()
        return found

    # Given to whom the policy lists; a repeat, and another machine with the site key, give the same bytes.
    def test_same_for_ever(self):
        ann, bob = PrivateKey.generate(), PrivateKey.generate()
        site, migration = self.a_migration(shards=2)
        asked = {"MigrationID": migration, "PublicKey": text_of(bytes(ann.public_key))}
        denied = site.ask("GetEncryptDecryptKey", asked).data
        self.assertEqual((denied["ReturnValue"], denied["ExtendedStatus"]["ParameterInfo"]), (-2147217405, "PublicKey"))
        self.allow(site, bob.public_key, ann.public_key)
        id = site.send("GetEncryptDecryptKey", asked, attributes={"actor": "deployment"})
        first = site.answer(id)
        sealed = bytes_of(first.data["Out"]["Key"])
        key = SealedBox(ann).decrypt(sealed)
        self.assertEqual(len(key), 32)
        with self.assertRaises(CryptoError):
            SealedBox(bob).decrypt(sealed)

        # Who got it is in the log, and what is not.
        event, = site.events(command_id=id)
        self.assertEqual(event.data, {**PAIR, "MigrationID": migration, "Recipient": asked["PublicKey"]})
        self.assertEqual(event.headers["ce_actor"], "deployment")

        # By the devices, for somebody else: another box, the same key.
        other = self.accepted(site, "GetEncryptDecryptKey", {**PAIR, "PublicKey": text_of(bytes(bob.public_key))})
        self.assertEqual(SealedBox(bob).decrypt(bytes_of(other["Out"]["Key"])), key)

        # The repeat is made of the log, before and after a restart and by another machine; nobody is asked again.
        self.allow(site)
        def again(count):
            site.send("GetEncryptDecryptKey", asked, id=id, attributes={"actor": "deployment"})
            answer = site.answer(id, count=count)
            self.assertTrue(answer.repeated)
            self.assertEqual(answer.value, first.value)
        again(2)
        site.restart()
        again(3)
        shown = site.json("show", site.source, id)["Receipts"][0]["Answer"]
        self.assertEqual(shown, first.data)
        site.stop()
        kept = site.folder / "kept.key"
        shutil.copy(site.data_dir / "site.key", kept)
        shutil.rmtree(site.data_dir)
        machine = Agent(site, "machine")
        site.agents.append(machine)
        machine.init("--join", str(kept))
        machine.start()
        again(4)
        denied = site.ask("GetEncryptDecryptKey", asked).data
        self.assertEqual(denied["ReturnValue"], -2147217405)

    # Neither key is in the store, a topic, the log or a core file; what is planted there is found.
    def test_found_nowhere(self):
        ann = PrivateKey.generate()
        site, migration = self.a_migration()
        self.allow(site, ann.public_key)
        asked = {"MigrationID": migration, "PublicKey": text_of(bytes(ann.public_key))}
        id = site.send("GetEncryptDecryptKey", asked)
        answer = site.answer(id)
        site.send("GetEncryptDecryptKey", asked, id=id)
        site.answer(id, count=2)
        sealed = answer.data["Out"]["Key"]
        site_key = bytes.fromhex((site.data_dir / "site.key").read_text())
        migration_key = SealedBox(ann).decrypt(bytes_of(sealed))
        marker = secrets.token_bytes(32)
        self.accepted(site, "RegisterDevice", {"ResourceID": 3, "Name": marker.hex()})
        self.accepted(site, "RegisterDevice", {"ResourceID": 4, "Name": text_of(marker)})

        everything = self.everything(site, site.agent)
        for where, content in everything.items():
            for what, secret in (("site key", site_key), ("migration's key", migration_key)):
                self.assertFalse(holds(content, secret), f"the {what} is in {where}")
        marked = {where.split()[0] for where, content in everything.items() if holds(content, marker)}
        self.assertEqual(marked, {"file", "topic", "core"})
        self.assertIn(sealed.encode(), everything["topic replies"])
        self.assertNotIn(sealed.encode(), everything["topic events"])
        self.assertIn(str(site.data_dir).encode(), everything["log"])

    # The search finds a secret in each of the forms that it looks for.
    def test_search(self):
        for _ in range(100):
            secret = secrets.token_bytes(32)
            around = secrets.token_bytes(os.urandom(1)[0])
            for form in (secret[:16], secret[16:], secret.hex().encode(), secret.hex().upper().encode(),
                         base64.b64encode(around + secret + around), text_of(around + secret + around).encode(),
                         bytes(byte ^ 0x36 for byte in secret), bytes(byte ^ 0x5c for byte in secret)):
                self.assertTrue(holds(b"before" + form + b"behind", secret), form)
            self.assertFalse(holds(secrets.token_bytes(10000), secret))

    # What is no key to seal for is refused, as a parameter and as a policy.
    def test_bad_recipients(self):
        site, migration = self.a_migration()
        good = text_of(bytes(PrivateKey.generate().public_key))
        bad = [good[:-1], good + "=", good + "A", good[:-2] + "+/", "A" * 43, "AQ" + "A" * 41, text_of(b"\xff" * 32),
               "", " " + good[1:]]
        for key in bad:
            with self.subTest(key):
                refused = site.ask("GetEncryptDecryptKey", {"MigrationID": migration, "PublicKey": key}).data
                self.assertEqual((refused["ReturnValue"], refused["ExtendedStatus"]["ParameterInfo"]),
                                 (-2147217400, "PublicKey"))
        for value in [*bad[:-2], f"{good},", f",{good}", f"{good},,{good}", f"{good}, {good}", ","]:
            with self.subTest(value):
                refused = site.ask("SetPolicy", {"Name": "keys.recipients", "Value": value}).data
                self.assertEqual((refused["ReturnValue"], refused["ExtendedStatus"]["ParameterInfo"]),
                                 (-2147217400, "Value"))


if __name__ == "__main__":
    unittest.main()
