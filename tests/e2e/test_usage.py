"""Usage and approval through Kafka: reports that make a user of a device, the Tick that ends it, and
relationships that wait until somebody says yes.

SPDX-License-Identifier: Apache-2.0
"""

import time
import unittest

from kinlog_fixture import KinlogTest, wait_until

INVALID, NOT_FOUND, OTHER = -2147217400, -2147217406, -2147217407
DEVICE, USER = 16777222, "contoso\\jqpublic"
DAY_MS = 86_400_000
PAIR = {"ResourceID": DEVICE, "UniqueUserName": USER}


def rfc3339(time_ms):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time_ms // 1000)) + ".%03dZ" % (time_ms % 1000)


def cim(time_ms):
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(time_ms // 1000)) + ".%03d000+000" % (time_ms % 1000)


class UsageTest(KinlogTest):

    def ready_site(self, **policies):
        site = self.site()
        self.ask(site, "RegisterDevice", {"ResourceID": DEVICE, "Name": "PC7"}, "DeviceRegistered")
        for name, value in policies.items():
            result = site.cli("policy", "set", f"{name.replace('_', '.')}={value}")
            self.assertEqual(result.code, 0, result.out + result.err)
        return site

    def ask(self, site, command, data, *types, **options):
        """Asks; the command must be accepted, with events of these types. Returns them."""
        answer = site.ask(command, data, **options)
        self.assertEqual((answer.data["Outcome"], answer.data["ReturnValue"]), ("accepted", 0), answer.data)
        events = site.events(command_id=answer.headers["ce_causationid"])
        self.assertEqual([event.type for event in events], list(types))
        self.assertEqual(answer.data["Version"], answer.data["Sequence"])
        return events

    def report(self, site, start_ms, minutes, *types, count=1, **options):
        return self.ask(site, "ReportUsage", {**PAIR, "Start": rfc3339(start_ms), "Minutes": minutes, "Count": count},
                        *types, **options)

    def refused(self, site, returns, parameter, command, data):
        answer = site.ask(command, data)
        status = answer.data["ExtendedStatus"]
        self.assertEqual((answer.data["Outcome"], answer.data["ReturnValue"], status["ParameterInfo"]),
                         ("refused", returns, parameter), answer.data)
        self.assertNotIn("jqpublic", status["Description"])
        return answer

    # Minutes add up until they are enough; `list` and `get` show the logins; a repeat counts once.
    def test_report(self):
        site = self.ready_site(usage_minutes=120, usage_days=7)
        now = int(time.time() * 1000) - 5000
        yesterday = now - DAY_MS
        [event] = self.report(site, yesterday, 100, "UsageReported", count=2)
        self.assertEqual(event.headers["ce_subject"], f"device/{DEVICE}/usage")
        self.assertEqual(event.key, f"device:{DEVICE}".encode())
        self.assertEqual(event.data, {**PAIR, "Start": rfc3339(yesterday), "Minutes": 100, "Count": 2,
                                      "DayMinutes": 100, "LastLoginTime": cim(yesterday), "LoginCount": 2,
                                      "EnoughUntil": None})
        id = site.send("ReportUsage", {**PAIR, "Start": rfc3339(now), "Minutes": 20, "Count": 1}, id="twice")
        answer = site.answer(id)
        created, reported = site.events(command_id=id)
        self.assertEqual((created.type, created.data["Sources"], created.data["Types"]),
                         ("RelationshipCreated", [4], [1]))
        self.assertEqual(reported.data["EnoughUntil"], rfc3339((yesterday // DAY_MS + 7) * DAY_MS))
        site.send("ReportUsage", {**PAIR, "Start": rfc3339(now), "Minutes": 20, "Count": 1}, id="twice")
        again = site.answer(id, count=2)
        self.assertTrue(again.repeated)
        self.assertEqual(again.data, answer.data)
        row = {"UniqueUserName": USER, "ResourceID": DEVICE, "ResourceName": "PC7", "LastLoginTime": cim(now),
               "LoginCount": 3, "Version": answer.data["Sequence"], "Shard": 0}
        for arguments in (["list", "usage"], ["list", "usage", "--user", "JQPublic", "--device", "PC7"],
                          ["get", "usage", f"{DEVICE}/{USER.upper()}"]):
            self.assertEqual(site.ndjson(*arguments), [row])
        self.assertEqual(site.ndjson("list", "usage", "--user", "nobody"), [])
        # A renamed device shows its new name.
        self.ask(site, "RegisterDevice", {"ResourceID": DEVICE, "Name": "PC8"}, "DeviceChanged")
        self.assertEqual(site.ndjson("list", "usage"), [{**row, "ResourceName": "PC8"}])
        self.assertEqual(site.cli("verify").code, 0)

    @staticmethod
    def of_ticks(site):
        return [event for event in site.events() if event.headers["ce_command"].endswith(";kinlog.Tick.v1")]

    # Negative minutes, more than the day has, at once or in the sum, and a start in the future.
    def test_refused(self):
        site = self.ready_site()
        now = int(time.time() * 1000) - 5000
        good = {**PAIR, "Start": rfc3339(now), "Minutes": 1440, "Count": 1}
        for change, parameter in (({"Minutes": -1}, "Minutes"), ({"Minutes": 1441}, "Minutes"),
                                  ({"Minutes": 1.5}, "Minutes"), ({"Minutes": None}, "Minutes"),
                                  ({"Count": -1}, "Count"), ({"Start": rfc3339(now + 3_600_000)}, "Start"),
                                  ({"Start": "yesterday, about eight"}, "Start"), ({"Start": now}, "Start"),
                                  ({"Start": "2026-02-29T08:00:00Z"}, "Start"),
                                  ({"UniqueUserName": "jqpublic"}, "UniqueUserName")):
            with self.subTest(str(change)):
                self.refused(site, INVALID, parameter, "ReportUsage", {**good, **change})
        self.assertEqual(site.ndjson("list", "usage"), [])
        self.refused(site, NOT_FOUND, "ResourceID", "ReportUsage", {**good, "ResourceID": 9})
        self.ask(site, "ReportUsage", good, "UsageReported")
        self.refused(site, INVALID, "Minutes", "ReportUsage", {**good, "Minutes": 1})

    # Days pass: the owner sends a Tick by itself, and source 4 goes; another source stays. For a while the
    # commands topic lets the sender say what time it is, so that there is a past.
    def test_tick(self):
        site = self.site()
        self.broker.alter_topic(site.topic("commands"), {"message.timestamp.type": "CreateTime"})
        past = int(time.time() * 1000) // DAY_MS * DAY_MS - 30 * DAY_MS
        at = {"timestamp_ms": past + 3_600_000}
        self.ask(site, "RegisterDevice", {"ResourceID": DEVICE, "Name": "PC7"}, "DeviceRegistered", **at)
        for name, value in (("usage.minutes", "60"), ("usage.days", "7")):
            self.ask(site, "SetPolicy", {"Name": name, "Value": value}, "PolicyChanged", **at)
        self.ask(site, "CreateRelationship", {"MachineResourceId": DEVICE, "UserAccountName": USER, "SourceId": 2},
                 "RelationshipCreated", **at)
        other = {"ResourceID": DEVICE, "UniqueUserName": "contoso\\other", "Start": rfc3339(past), "Minutes": 60,
                 "Count": 1}
        # Both before the agent sees one: its Tick brings the present.
        site.stop()
        site.send("ReportUsage", {**other, **PAIR}, id="first", **at)
        site.send("ReportUsage", other, id="second", **at)
        self.broker.alter_topic(site.topic("commands"), {"message.timestamp.type": "LogAppendTime"})
        site.start()
        wait_until(lambda: len([e for e in site.events() if e.type == "UsageEvaluated"]) == 2, 30, "the Tick", site)
        ticked = self.of_ticks(site)
        self.assertEqual([e.type for e in ticked], ["SourceRemoved", "UsageEvaluated", "SourceRemoved",
                                                    "RelationshipDeleted", "UsageEvaluated"])
        self.assertEqual([e.data["EnoughUntil"] for e in ticked if e.type == "UsageEvaluated"], [None, None])
        [row] = site.ndjson("list", "relationships")
        self.assertEqual((row["UniqueUserName"], row["Sources"], row["Types"]), (USER, [2], [1]))
        # Nothing is due any more, so no Tick leaves an event.
        site.restart()
        self.ask(site, "RegisterDevice", {"ResourceID": 1, "Name": "PC1"}, "DeviceRegistered")
        self.assertEqual(len(self.of_ticks(site)), 5)
        self.assertEqual(site.cli("verify").code, 0)

    # By policy such a relationship waits; it is approved, or denied and does not come back by itself.
    def test_approval(self):
        site = self.ready_site(usage_minutes=60, usage_days=7, approval_sources="1,4")
        now = int(time.time() * 1000) - 5000
        created, asked, _ = self.report(site, now, 60, "RelationshipCreated", "ApprovalRequested", "UsageReported")
        self.assertEqual((created.data["IsActive"], created.data["Types"]), (True, None))
        number = created.data["RelationshipResourceID"]
        self.assertEqual(asked.data, {"RelationshipResourceID": number, **PAIR})
        self.ask(site, "CreateRelationship", {"MachineResourceId": DEVICE, "UserAccountName": "contoso\\other",
                                              "SourceId": 2, "TypeId": 1}, "RelationshipCreated")
        [row] = site.ndjson("list", "relationships", "--pending")
        self.assertEqual((row["RelationshipResourceID"], row["Pending"], row["IsActive"], row["Types"]),
                         (number, True, True, None))
        self.assertIn("pending", site.cli("list", "relationships").out)
        self.ask(site, "DenyRelationship", {"RelationshipResourceID": number}, "RelationshipDeleted")
        self.report(site, now, 60, "UsageReported")
        self.assertEqual(site.ndjson("list", "relationships", "--pending"), [])

        self.ask(site, "CreateRelationship", {"MachineResourceId": DEVICE, "UserAccountName": USER, "SourceId": 1,
                                              "TypeId": 1}, "RelationshipCreated", "ApprovalRequested")
        [added] = self.ask(site, "ApproveRelationship", PAIR, "TypeAdded")
        self.assertEqual(added.data["Types"], [1])
        self.assertEqual(site.ndjson("list", "relationships", "--pending"), [])
        self.assertEqual(site.ask("ApproveRelationship", PAIR).data["Outcome"], "unchanged")
        self.refused(site, OTHER, None, "DenyRelationship", PAIR)
        self.assertEqual(site.cli("verify").code, 0)


if __name__ == "__main__":
    unittest.main()
