#!/usr/bin/env python3
# test_model.py - the model against examples worked out by hand, the property test against slips.
#
# SPDX-License-Identifier: Apache-2.0
import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import generator  # noqa: E402
import kinlog_json  # noqa: E402
import kinlog_model as model  # noqa: E402
import kinlog_parts as parts  # noqa: E402

LOG = '00112233445566778899aabbccddeeff'
KEY = bytes(range(32))
DAY_MS = 86_400_000
NOW = 1_780_000_000_000  # 2026-05-28T20:26:40.000Z


def site(shards=1, **more):
    return model.Site(LOG, 'hq', KEY, shards, reply_allow=['desk'], **more)


def send(where, identity, method, data, partition=0, key=None, time=NOW, more=(), source='/t'):
    """One binary command, handled at once."""
    headers = [('ce_specversion', b'1.0'), ('ce_id', identity.encode()), ('ce_source', source.encode()),
               ('ce_type', method.encode())]
    value = data if data is None or isinstance(data, bytes) else json.dumps(data).encode()
    where.append(partition, time, key, value, headers + [(n, v.encode()) for n, v in more])
    where.run()


def types(shard):
    return [event.type for event in shard.events[1:]]


def last(shard):
    return shard.answers[-1]['value']


def fault(shard):
    """(ReturnValue, ParameterInfo) of the last answer."""
    value = last(shard)
    return value['ReturnValue'], value['ExtendedStatus']['ParameterInfo']


class Parts(unittest.TestCase):
    # The values are those of Kafka's own test of murmur2.
    def test_murmur2(self):
        for key, value in ((b'21', -973932308), (b'foobar', -790332482),
                           (b'a-little-bit-long-string', -985981536),
                           (b'a-little-bit-longer-string', -1486304829), (b'abc', 479470107),
                           (b'lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971)):
            self.assertEqual(parts.murmur2(key), value & 0xffffffff)

    # 2.0, 2e0 and 20e-1 are the integer 2; 1.5 is none; 1e400 is one, far too large.
    def test_integers(self):
        for text, value in (('2', 2), ('2.0', 2), ('2e0', 2), ('20e-1', 2), ('0.2e1', 2), ('-0', 0),
                            ('1.5', None), ('1e-400', None), ('-1', -1), ('0.0e9', 0), ('120e-1', 12),
                            ('5e-1', None), ('4294967295.0', 4294967295)):
            self.assertEqual(kinlog_json.integer(text), value, text)
        self.assertGreater(kinlog_json.integer('1e400'), 2 ** 64)

    # What is no JSON raises; what is doubtful JSON is marked.
    def test_json(self):
        for bad in (b'', b'{', b'01', b'[1,]', b'"\xff"', b'"\n"', b'{"a":1}}', b'[' * 33 + b']' * 33,
                    b'nul', b'"\\x"', b'\xef\xbb\xbf{}', b'[' + b'0,' * 4095 + b'0]'):
            self.assertRaises(kinlog_json.JsonFault, kinlog_json.parse, bad)
        kinlog_json.parse(b'[' * 32 + b']' * 32)
        kinlog_json.parse(b'[' + b'0,' * 4094 + b'0]')
        for soft in (b'{"a":1,"a":1}', b'"\\u0000"', b'["\\ud800"]', b'{"\\udc00":1}'):
            self.assertTrue(kinlog_json.parse(soft).soft, soft)
        self.assertEqual(kinlog_json.parse(b'"\\ud83d\\ude00\\/"').value, '\U0001f600/')
        self.assertEqual(kinlog_json.parse(b' {"a": [1, 2] } ').members('a')[0].raw, '[1, 2]')

    # Fractions are cut, offsets counted, second 60 is 59.999.
    def test_times(self):
        self.assertEqual(model.rfc3339(NOW), '2026-05-28T20:26:40.000Z')
        self.assertEqual(model.cim_datetime(NOW + 7), '20260528202640.007000+000')
        for text in ('2026-05-28T20:26:40Z', '2026-05-28T22:26:40.0009+02:00'):
            self.assertEqual(model.parse_rfc3339(text), NOW)
        self.assertEqual(model.parse_rfc3339('2026-05-28T20:25:60Z'), NOW - 40_001)
        for text in ('2026-02-29T00:00:00Z', '2026-05-28', '2026-05-28T20:26:40', '2026-05-28T24:00:00Z'):
            self.assertIsNone(model.parse_rfc3339(text))

    # Decision D6.
    def test_user_names(self):
        for name in ('a\\b', 'CENTRAL\\001D$', 'x y\\z', 'a\\' + '\u00e9' * 127):
            self.assertTrue(parts.user_name_fits(name), name)
        for name in generator.BAD_USERS:
            self.assertFalse(parts.user_name_fits(name), name)
        for spellings in generator.USERS:
            self.assertEqual(len({parts.fold_user_name(name) for name in spellings}), 1, spellings)


class Messages(unittest.TestCase):
    # chain(0) and chain(1) put together by hand from the rule.
    def test_chain(self):
        def counted(text):
            return len(text).to_bytes(4, 'big') + text.encode()
        where = site(4, start_offset=5)
        event = where.shards[2].events[0]
        zero = hashlib.sha256(counted(LOG) + counted('hq') + b'\0\0\0\2' + b'\0\0\0\4').digest()
        data = ('{"Log":"%s","Site":"hq","Shard":2,"Shards":4,"StartOffset":5,"SiteKeyFingerprint":"%s",'
                '"Rules":1}' % (LOG, where.fingerprint))
        message = zero + (1).to_bytes(8, 'big') + counted('') + counted('1.0') + \
            counted('application/json') + counted('2-1') + counted('/kinlog/hq/' + LOG) + \
            counted('kinlog.LogStarted.v1') + counted('1970-01-01T00:00:00.000Z') + counted('') * 9 + \
            counted(data)
        chain = base64.urlsafe_b64encode(hashlib.sha256(message).digest()).decode().rstrip('=')
        self.assertEqual(event.data_text(), data)
        self.assertEqual(dict(event.headers())['ce_chain'], chain)

    # The content hash: type NUL, then the members sorted, a number as the list of it, nulls left out.
    def test_content_hash(self):
        where = site()
        send(where, 'c1', 'CreateRelationship', b'{"sourceid":2.0,"MACHINERESOURCEID":7,"TypeId":null,'
             b'"UserAccountName":"a\\u005cb"}')
        message = (b'kinlog.CreateRelationship.v1\0MachineResourceId\x007\0SourceId\0[2]\0'
                   b'UserAccountName\0"a\\\\b"\0')
        expected = base64.urlsafe_b64encode(hmac.digest(KEY, message, 'sha256')[:16]).decode()[:22]
        self.assertEqual(where.shards[0].events[1].attributes['ce_command'],
                         '0;1/1;%s;kinlog.CreateRelationship.v1' % expected)

    # The example of an answer: a relationship on its device's slot, RelationshipResourceID slot + 1.
    def test_create(self):
        where = site(4)
        slot = model.slot_of_key(b'device:7')
        shard = where.shards[slot % 4]
        send(where, 'd', 'RegisterDevice', {'ResourceID': 7, 'Name': 'PC'}, shard.number)
        send(where, 'c', 'kinlog.CreateRelationship.v1', {
            'MachineResourceId': 7, 'UserAccountName': 'contoso\\jq', 'SourceId': 2, 'TypeId': 1}, shard.number)
        self.assertEqual(kinlog_json.dump(last(shard)), (
            '{"Command":"kinlog.CreateRelationship.v1","ReturnValue":0,"Outcome":"accepted","Shard":%d,'
            '"Sequence":3,"Version":3,"EventCount":1,"Events":[{"Sequence":3,"Type":'
            '"kinlog.RelationshipCreated.v1"}],"Out":{"RelationshipResourceID":%d},"ExtendedStatus":null}')
            % (slot % 4, slot + 1))
        event = shard.events[-1]
        self.assertEqual(event.data_text(), (
            '{"ResourceID":7,"UniqueUserName":"contoso\\\\jq","RelationshipResourceID":%d,"ResourceName":'
            '"PC","ResourceClientType":1,"CreationTime":"20260528202640.000000+000","IsActive":true,'
            '"Sources":[2],"Types":[1]}') % (slot + 1))
        self.assertEqual(event.key, 'device:7')
        self.assertEqual([name for name, _ in event.headers()], [
            'ce_specversion', 'content-type', 'ce_id', 'ce_source', 'ce_type', 'ce_time', 'ce_subject',
            'ce_causationid', 'ce_causationsource', 'ce_command', 'ce_chain'])
        self.assertEqual(event.attributes['ce_subject'], 'device/7/relationship/%d' % (slot + 1))

    # The second relationship of a slot is 240 further on, and numbers are not used twice.
    def test_numbers(self):
        where = site()
        shard, slot = where.shards[0], model.slot_of_key(b'device:7')
        send(where, 'd', 'RegisterDevice', {'ResourceID': 7, 'Name': 'PC'})
        for index in range(3):
            send(where, 'c%d' % index, 'CreateRelationship', {
                'MachineResourceId': 7, 'UserAccountName': 'a\\b', 'SourceId': 2})
            self.assertEqual(last(shard)['Out'], {'RelationshipResourceID': index * 240 + slot + 1})
            send(where, 'x%d' % index, 'DeleteRelationship', {'ResourceID': 7, 'UniqueUserName': 'A\\B'})
            self.assertEqual(last(shard)['Outcome'], 'accepted')

    # A repeat gets the first answer again, other content a conflict, which is remembered, too.
    def test_repeats(self):
        where = site()
        shard = where.shards[0]
        send(where, 'd', 'RegisterDevice', {'ResourceID': 7, 'Name': 'PC'})
        send(where, 'd', 'RegisterDevice', b'{"name":"PC","RESOURCEID":7e0}', time=NOW + 5)
        self.assertEqual(shard.answers[0]['value'], shard.answers[1]['value'])
        self.assertEqual(shard.answers[1]['headers'], shard.answers[0]['headers'] + [('ce_repeated', 'true')])
        for _ in range(2):
            send(where, 'd', 'RegisterDevice', {'ResourceID': 7, 'Name': 'Other'})
        self.assertEqual(types(shard), ['DeviceRegistered', 'CommandRejected'])
        self.assertEqual(shard.answers[2]['value'], shard.answers[3]['value'])
        self.assertEqual((last(shard)['Outcome'], last(shard)['ReturnValue'], last(shard)['Version']),
                         ('conflict', -2147217407, 2))

    # What lies wrong is forwarded once, with a header that its answer carries; then it is refused.
    def test_forwarding(self):
        where = site(4)
        right = model.slot_of_key(b'device:7') % 4
        wrong = (right + 1) % 4
        send(where, 'd', 'RegisterDevice', {'ResourceID': 7, 'Name': 'PC'}, wrong)
        self.assertEqual(where.shards[wrong].forwards[0]['to'], right)
        self.assertIn(('kinlog_forwarded', '%d-0' % wrong), where.shards[right].answers[0]['headers'])
        send(where, 'e', 'RegisterDevice', {'ResourceID': 7, 'Name': 'PC'}, wrong,
             more=[('kinlog_forwarded', '9-9')])
        self.assertEqual(fault(where.shards[wrong]), (-2147217407, None))

    # Sources keep their order; the last one takes the relationship with it; 3 is deprecated.
    def test_sources(self):
        where = site()
        shard, pair = where.shards[0], {'ResourceID': 7, 'UniqueUserName': 'a\\b'}
        send(where, 'd', 'RegisterDevice', {'ResourceID': 7, 'Name': 'PC'})
        send(where, 'c', 'CreateRelationship', {
            'MachineResourceId': 7, 'UserAccountName': 'a\\b', 'SourceId': [5, 2, 5]})
        self.assertEqual(shard.events[-1].data['Sources'], [5, 2])
        send(where, 'a', 'AddSource', {**pair, 'SourceId': [3, 2, 1]})
        self.assertEqual([event.data['Sources'] for event in shard.events[-2:]], [[5, 2, 3], [5, 2, 3, 1]])
        self.assertEqual(fault(shard), (0, 'SourceId'))
        send(where, 'n', 'RemoveSource', {**pair, 'SourceId': 9})
        self.assertEqual(last(shard)['Outcome'], 'unchanged')
        self.assertEqual(last(shard)['Version'], 5)
        send(where, 'r', 'RemoveSource', {**pair, 'SourceId': [1, 2, 3, 4, 5]})
        self.assertEqual(types(shard)[-5:], ['SourceRemoved'] * 4 + ['RelationshipDeleted'])
        self.assertIsNone(shard.events[-2].data['Sources'])
        self.assertEqual(shard.events[-1].data['Reason'], 'last_source')
        self.assertEqual(where.views()['relationships'], [])

    # A device takes its relationships with it, in the order of their folded names.
    def test_remove_device(self):
        where = site()
        shard = where.shards[0]
        send(where, 'd', 'RegisterDevice', {'ResourceID': 7, 'Name': 'PC'})
        for name in ('z\\a', 'A\\a', 'm\\a'):
            send(where, name, 'CreateRelationship', {
                'MachineResourceId': 7, 'UserAccountName': name, 'SourceId': 2})
        send(where, 'r', 'RemoveDevice', {'ResourceID': 7})
        self.assertEqual([e.data.get('UniqueUserName') for e in shard.events[-4:]],
                         ['A\\a', 'm\\a', 'z\\a', None])
        self.assertEqual(last(shard)['EventCount'], 4)

    # The first fault in declared order is named; unknown members come last.
    def test_faults(self):
        where = site()
        shard, number = where.shards[0], iter(range(1000))
        good = {'MachineResourceId': 7, 'UserAccountName': 'a\\b', 'SourceId': 2}
        for change, parameter in (
                ({'MachineResourceId': 0}, 'MachineResourceId'), ({'MachineResourceId': '7'}, 'MachineResourceId'),
                ({'UserAccountName': 'ab'}, 'UserAccountName'), ({'UserAccountName': 'abc'}, 'UserAccountName'),
                ({'SourceId': 10}, 'SourceId'), ({'SourceId': []}, 'SourceId'), ({'SourceId': None}, 'SourceId'),
                ({'TypeId': 2}, 'TypeId'), ({'Other': 1}, None), ({'SourceId': 0, 'Other': 1}, 'SourceId'),
                ({'UserAccountName': 'x', 'SourceId': 0}, 'UserAccountName')):
            send(where, 'f%d' % next(number), 'CreateRelationship', {**good, **change})
            self.assertEqual(fault(shard), (-2147217400, parameter), change)
        for given, parameter in (({}, 'RelationshipResourceID'), ({'ResourceID': 7}, 'UniqueUserName'),
                                 ({'UniqueUserName': 'a\\b'}, 'ResourceID')):
            send(where, 'f%d' % next(number), 'DeleteRelationship', given)
            self.assertEqual(fault(shard), (-2147217400, parameter), given)
        for data, parameter in (
                (b'', None), (None, None), (b'x', None), (b'"{}"', None),
                (b'{"schema":{},"payload":{}}', None), (b'{"ResourceID":1,"ResourceID":1}', None),
                (b'{"resourceid":1,"ResourceID":1}', 'ResourceID')):
            send(where, 'f%d' % next(number), 'RemoveDevice', data)
            self.assertEqual(fault(shard), (-2147217400, parameter), data)
        send(where, 'u', 'NoSuch', b'{}')
        self.assertEqual(fault(shard), (-2147217396, None))
        self.assertEqual(last(shard)['Command'], 'NoSuch')

    # expectedversion: 0 = must not exist, else the sequence of the aggregate's last event.
    def test_versions(self):
        where = site()
        shard = where.shards[0]
        data = {'ResourceID': 7, 'Name': 'PC'}
        send(where, '1', 'RegisterDevice', data, more=[('ce_expectedversion', '4')])
        self.assertEqual(fault(shard), (40003, 'expectedversion'))
        send(where, '2', 'RegisterDevice', data, more=[('ce_expectedversion', '0')])
        self.assertEqual(last(shard)['Version'], 3)
        send(where, '3', 'RegisterDevice', {**data, 'Name': 'X'}, more=[('ce_expectedversion', '0')])
        self.assertEqual((fault(shard), last(shard)['Version']), ((40003, 'expectedversion'), 3))
        send(where, '4', 'RegisterDevice', {**data, 'Name': 'X'}, more=[('ce_expectedversion', '3')])
        self.assertEqual(last(shard)['Outcome'], 'accepted')

    # The record's own timestamp counts, and one that is not later is in time.
    def test_expiry(self):
        where = site()
        for time, value in ((NOW, 0), (NOW + 1, -2147217407)):
            send(where, str(time), 'RegisterDevice', {'ResourceID': 7, 'Name': 'PC'}, time=time,
                 more=[('ce_expirytime', '2026-05-28T20:26:40Z')])
            self.assertEqual(last(where.shards[0])['ReturnValue'], value)

    # Core time does not run backwards.
    def test_core_time(self):
        where = site()
        for time in (NOW, NOW - 5):
            send(where, str(time), 'RegisterDevice', {'ResourceID': 7, 'Name': 'PC'}, time=time)
        self.assertEqual(where.shards[0].events[-1].attributes['ce_time'], '2026-05-28T20:26:40.000Z')

    # A policy reaches every shard; an unknown device is then made a stub.
    def test_policy(self):
        where = site(4)
        home = model.slot_of_key(b'policy') % 4
        send(where, 'p', 'SetPolicy', {'Name': 'devices.unknown', 'Value': 'stub'}, home, b'policy')
        self.assertEqual(len(where.views()['policy']), 4)
        self.assertEqual(last(where.shards[home])['Out'], {'Revision': 1})
        shard = where.shards[model.slot_of_key(b'device:7') % 4]
        send(where, 'c', 'CreateRelationship', {'MachineResourceId': 7, 'UserAccountName': 'a\\b', 'SourceId': 2},
             shard.number)
        self.assertEqual(types(shard)[-2:], ['DeviceRegistered', 'RelationshipCreated'])
        self.assertIsNone(shard.events[-1].data['ResourceName'])
        send(where, 'x', 'AdoptPolicy', {'Name': 'devices.unknown', 'Value': 'refuse', 'Revision': 2}, shard.number)
        self.assertEqual(fault(shard), (-2147217405, None))

    # Minutes count for the UTC day of Start; what is enough until when, counted by hand: 2028 is a leap year.
    def test_usage(self):
        where = site()
        shard = where.shards[0]
        day = model.parse_rfc3339('2028-02-28T00:00:00Z')
        send(where, 'd', 'RegisterDevice', {'ResourceID': 7, 'Name': 'PC'}, time=day)
        for name, value in (('usage.minutes', '120'), ('usage.days', '3')):
            send(where, name, 'SetPolicy', {'Name': name, 'Value': value}, time=day)
        report = {'ResourceID': 7, 'UniqueUserName': 'a\\b', 'Minutes': 60, 'Count': 1}
        noon = day + DAY_MS // 2
        send(where, '1', 'ReportUsage', {**report, 'Start': '2028-02-28T23:30:00-01:00'}, time=noon + DAY_MS)
        self.assertIsNone(shard.events[-1].data['EnoughUntil'])
        send(where, '2', 'ReportUsage', {**report, 'Start': '2028-02-27T23:59:59.999Z'}, time=noon + DAY_MS)
        self.assertEqual(types(shard)[-2:], ['RelationshipCreated', 'UsageReported'])
        self.assertEqual(shard.events[-1].data['EnoughUntil'], '2028-03-01T00:00:00.000Z')
        send(where, '3', 'ReportUsage', {**report, 'Start': '2028-02-29T00:00:00Z', 'Minutes': 1381},
             time=noon + DAY_MS)
        self.assertEqual(fault(shard), (-2147217400, 'Minutes'))
        send(where, '4', 'ReportUsage', {**report, 'Start': '2028-02-29T12:00:00.001Z'}, time=noon + DAY_MS)
        self.assertEqual(fault(shard), (-2147217400, 'Start'))
        epoch = [('kinlog_epoch', model.OWNER_EPOCH)]
        for time, given in ((day + 2 * DAY_MS - 1, ['PositionAdvanced']),
                            (day + 2 * DAY_MS, ['SourceRemoved', 'RelationshipDeleted', 'UsageEvaluated']),
                            (day + 9 * DAY_MS, ['PositionAdvanced'])):
            before = len(types(shard))
            send(where, str(time), 'Tick', {}, time=time, more=epoch, source=where.source)
            self.assertEqual(types(shard)[before:], given)
        [row] = where.views()['usage']
        self.assertEqual((row['LastLoginTime'], row['LoginCount']), ('20280229003000.000000+000', 2))

    # A relationship waits if all its sources do, until it has a type.
    def test_approval(self):
        where = site()
        shard = where.shards[0]
        send(where, 'd', 'RegisterDevice', {'ResourceID': 7, 'Name': 'PC'})
        send(where, 'p', 'SetPolicy', {'Name': 'approval.sources', 'Value': '1,4'})
        wanted = {'MachineResourceId': 7, 'UserAccountName': 'a\\b', 'TypeId': 1}
        send(where, '1', 'CreateRelationship', {**wanted, 'SourceId': [4, 1]})
        self.assertEqual(types(shard)[-2:], ['RelationshipCreated', 'ApprovalRequested'])
        [row] = where.views()['relationships']
        self.assertEqual((row['Types'], row['Pending'], row['IsActive']), (None, True, True))
        number = row['RelationshipResourceID']
        send(where, '2', 'CreateRelationship', {**wanted, 'SourceId': 1})
        self.assertEqual(last(shard)['Outcome'], 'unchanged')
        send(where, '3', 'ApproveRelationship', {'RelationshipResourceID': number})
        self.assertEqual(types(shard)[-1], 'TypeAdded')
        self.assertFalse(where.views()['relationships'][0]['Pending'])
        send(where, '4', 'DenyRelationship', {'RelationshipResourceID': number})
        self.assertEqual(fault(shard), (-2147217407, None))
        send(where, '5', 'CreateRelationship', {**wanted, 'UserAccountName': 'c\\d', 'SourceId': 4})
        send(where, '6', 'DenyRelationship', {'ResourceID': 7, 'UniqueUserName': 'C\\D'})
        self.assertEqual((types(shard)[-1], shard.events[-1].data['Reason']), ('RelationshipDeleted', 'denied'))

    # Records without id or source are dead letters, with their hash in the log.
    def test_dead_letters(self):
        where = site()
        shard = where.shards[0]
        for value in (None, b'garbage', b'{"specversion":"1.0","id":"","source":"/t"}', b'[' * 10000):
            where.append(0, NOW, None, value, [])
        where.run()
        self.assertEqual(types(shard), ['RecordDeadLettered'] * 4)
        self.assertEqual(shard.events[1].data['Sha256'], hashlib.sha256(b'').hexdigest())
        self.assertEqual(shard.events[2].attributes['ce_command'], '1;1/1;-;-')
        self.assertEqual(shard.answers, [])
        self.assertEqual([name for name, _ in shard.dead_letters[0]['headers']], [
            'kinlog_reason', 'kinlog_topic', 'kinlog_partition', 'kinlog_offset', 'kinlog_sha256'])

    # Structured mode, with and without its header; expectedversion may be a number there.
    def test_structured(self):
        where = site()
        shard = where.shards[0]
        for index, headers in enumerate(([], [('Content-Type', b'application/CloudEvents+json; charset=utf-8')])):
            where.append(0, NOW, None, b'{"specversion":"1.0","id":"s%d","source":"/t","type":"RegisterDevice",'
                         b'"expectedversion":%d,"data":{"ResourceID":7,"Name":"n%d"}}' % (index, 2 * index, index),
                         headers)
        where.run()
        self.assertEqual(types(shard), ['DeviceRegistered', 'DeviceChanged'])

    # replyto off the allow-list counts as absent, "-" means no answer, the default stays out of events.
    def test_reply_topics(self):
        where = site()
        shard = where.shards[0]
        for reply, topic in (('desk', 'desk'), ('other', 'kinlog.replies'), ('-', None),
                             ('kinlog.replies', 'kinlog.replies')):
            before = len(shard.answers)
            send(where, reply, 'RemoveDevice', {'ResourceID': 7}, more=[('ce_replyto', reply)])
            self.assertEqual([a['topic'] for a in shard.answers[before:]], [topic] if topic else [])
            self.assertEqual(shard.events[-1].attributes.get('ce_replyto'), reply if reply in 'desk-' else None)

    # More than an hour, or than 10,000 records, without an event leave PositionAdvanced.
    def test_position(self):
        where = site()
        shard = where.shards[0]
        send(where, 'd', 'RegisterDevice', {'ResourceID': 7, 'Name': 'PC'})
        for time, count in ((NOW + 3_600_000, 1), (NOW + 3_600_001, 2), (NOW, 2)):
            send(where, 'd', 'RegisterDevice', {'ResourceID': 7, 'Name': 'PC'}, time=time)
            self.assertEqual(len(types(shard)), count)
        self.assertEqual(kinlog_json.dump(shard.events[-1].data), '{"Offset":2}')
        where.append(0, NOW, None, None, [], gap=9_999)
        where.run()
        self.assertEqual(types(shard)[-1], 'RecordDeadLettered')


class PropertyTest(unittest.TestCase):
    def run_it(self, count, wrong=''):
        return subprocess.run(
            [sys.executable, os.path.join(HERE, 'property_test.py'), '--driver',
             os.path.join(HERE, 'model_driver.py'), '--seed', '1', '--count', str(count), '--failures', '1',
             '--no-long'], env={**os.environ, 'KINLOG_MODEL_WRONG': wrong}, capture_output=True, text=True)

    # The model agrees with itself.
    def test_agreement(self):
        done = self.run_it(20)
        self.assertIn('20 passed, 0 failed', done.stdout)
        self.assertEqual(done.returncode, 0)

    # A slip on the other side is found, shrunk and told.
    def test_planted_slips(self):
        for wrong in ('last-source', 'conflict', 'range', 'months'):
            done = self.run_it(200, wrong)
            self.assertIn('1 failed', done.stdout, wrong)
            self.assertIn('the least stream that shows it', done.stdout)
            self.assertEqual(done.returncode, 1)


if __name__ == '__main__':
    unittest.main()
