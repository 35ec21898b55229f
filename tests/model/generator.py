# generator.py - random streams of commands for the property test, good and bad, over small pools.
#
# A stream is a list of steps, each a dict that JSON can hold apart from its bytes:
#   {'op': 'record', 'partition', 'gap', 'timestamp', 'key', 'value', 'headers'}
#   {'op': 'run'}
#   {'op': 'restart'}, {'op': 'rebuild'}      skipped where a run is to go without them
# The generator keeps a model beside it, so that ids, versions and numbers can be right (or just wrong),
# but what comes out is concrete: any part of a stream is a stream, as shrinking wants it. So are the
# commands of one shard to another: the generator takes them from its model and brings them as records, in
# an order of its own, some twice, some late, some never.
#
# SPDX-License-Identifier: Apache-2.0
import json
import random

import kinlog_model as model

LOG_ID = '00112233445566778899aabbccddeeff'
SITE = 'hq'
SITE_KEY = bytes(range(32))
REPLY_ALLOW = ['helpdesk.replies', 'hr.replies']
START_MS = 1_780_000_000_000

DEVICES = [1, 7, 10, 240, 16777222, 4294967295]  # in three of four shards
# Spellings of six people. Only code points that Unicode 14 and 15 know alike.
USERS = [
    ['contoso\\jq', 'CONTOSO\\JQ', 'Contoso\\Jq'],
    ['contoso\\Ren\u00e9', 'contoso\\Rene\u0301', 'CONTOSO\\REN\u00c9'],
    ['contoso\\stra\u00dfe', 'CONTOSO\\STRASSE', 'contoso\\stra\u1e9ee'],
    ['\u03b1\\\u03a3\u0391\u03a3', '\u0391\\\u03c3\u03b1\u03c2', '\u03b1\\\u03c3\u03b1\u03c3'],
    ['CENTRAL\\001D$', 'central\\001d$'],
    ['a\\\u212b x', 'A\\\u00e5 X', 'a\\A\u030a x'],
]
BAD_USERS = [
    'nobackslash', 'two\\back\\slashes', 'trailing\\', '\\leading', '\\', 'a\\', 'ab', '', 'a\\ b',
    'a \\b', 'a\\b ', ' a\\b', 'a\\b\u3000', 'a\\\u00a0', 'a\\\u0007b', 'a\\b\u007f', 'a\\b\u0085c',
    'a\\b\u200dc', 'a\\b\u2028c', 'a\\b\u2029', 'a\\\ufeffb', 'a\\b\uffff', 'a\\\u0378b', 'a\\\U000e0080',
    'a\\' + 'x' * 300, 'a\\' + 'x' * 10240, 'a\\' + '\u00e9' * 128,
]
EDGE_USERS = ['a\\b', 'a\\' + 'x' * 254, 'a\\' + '\u00e9' * 127, 'a\\\ue000', 'x y\\z  z', 'a\\\U0001f600']
NAMES = ['PC-1', 'pc-2', 'Labor \u00e4\u00f6\u00fc', 'x' * 256, 'tab\there', '"quoted\\"', '\u2028']
SOURCES = ['/hr', 'urn:helpdesk', '/b\u00fcro/\u0436']
STORES = ['\\\\srv\\state$\\1', '\\\\srv\\state$\\2', 'x' * 1024, '\u00e9/\U0001f600']
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
# Where the calendar is uneven: the ends of years and of long and short months, leap days that are there
# and one (of 2100) that is not.
UNEVEN_DAYS = ['2026-12-20', '2028-02-10', '2027-02-20', '2100-02-20', '2026-04-24', '2028-05-30', '2032-11-25']
RECIPIENTS = ['HPV5q6RaELodHvBtkfyiqp7QoRUFFWUxVUBdCxjLmmc', 'CQ' + 'A' * 41]
NO_RECIPIENTS = ['A' * 43, 'AQ' + 'A' * 41, '_' * 42 + '8', RECIPIENTS[0][:-1] + 'd', RECIPIENTS[0][:-1] + '=',
                 RECIPIENTS[0] + '=', RECIPIENTS[0][:-1], RECIPIENTS[0][:-1] + '+', '\u00e9' * 43]
PLAIN = {'expirytime': None, 'expectedversion': None}  # attributes that could have a command refused
OF_AGENTS = {**PLAIN, 'replyto': '-'}


class Texts(model.Hints):
    """A description is never empty, and what one shard says another may have to repeat."""

    def description(self, shard, sequence, member):
        return 'as the stream says'


class Raw(str):
    """JSON text to be put into a document as it stands."""


def to_json(value, rng, style):
    """JSON of a value; style: how freely to write what means the same."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        space = rng.choice(['', '', ' ', '\n\t']) if style else ''
        return '{' + space + (',' + space).join(
            to_json(name, rng, style) + ':' + space + to_json(item, rng, style)
            for name, item in value.items()) + space + '}'
    if isinstance(value, list):
        return '[' + ','.join(to_json(item, rng, style) for item in value) + ']'
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=bool(style and rng.random() < 0.3))
    if isinstance(value, int) and not isinstance(value, bool) and style and rng.random() < 0.15:
        return rng.choice(['%d.0', '%d.00', '%de0', '%d0e-1', '%d.0E+0'] if value else ['0.0', '0e5']) \
            .replace('%d', str(value))
    return json.dumps(value)


def respell(name, rng):
    return rng.choice([name, name.lower(), name.upper(), name.swapcase()])


def understood(method, values):
    """The Command that these values make, or None."""
    command = model.Command('x', 'x')
    command.method = method
    try:
        command.values = model.check_data(method, model.kinlog_json.parse(json.dumps(values).encode()))
    except (model.Fault, model.kinlog_json.JsonFault):
        return None
    return command


class Generator:
    def __init__(self, seed, shards):
        self.rng = random.Random(seed)
        self.shards = shards
        self.talkative = shards > 1 and self.rng.random() < 0.5  # mostly about what shards say to each other
        self.site = model.Site(LOG_ID, SITE, SITE_KEY, shards, reply_allow=REPLY_ALLOW, hints=Texts())
        self.now = START_MS
        self.sent = []     # (source, id, method, values) of commands so far
        self.copies = []   # record steps so far
        self.mail = []     # commands between shards that are under way
        self.ticks = []    # of copies, the owner's Ticks
        self.misplacing = True
        self.ids = 0

    def stream(self):
        rng, steps = self.rng, []
        if rng.random() < 0.25:
            return self.usage_stream()
        if rng.random() < 0.8:
            self.begin(steps)
        self.misplacing = True
        for _ in range(rng.choice([1, 2, 4, 6, 8, 12])):
            for _ in range(rng.choice([1, 2, 4, 8])):
                self.add(steps, self.step())
            self.run(steps)
            if rng.random() < 0.3:
                steps.append({'op': rng.choice(['restart', 'rebuild'])})
        return steps

    def run(self, steps):
        before = [len(shard.commands) for shard in self.site.shards]
        self.site.run()
        for shard, count in zip(self.site.shards, before):
            self.mail += shard.commands[count:]
        steps.append({'op': 'run'})

    def add(self, steps, step):
        steps.append(step)
        self.site.append(step['partition'], step['timestamp'], step['key'], step['value'],
                         step['headers'], step['gap'])

    def begin(self, steps):
        """A small fleet, so that what follows finds something; now and then a large one."""
        rng = self.rng
        self.misplacing = False
        devices = rng.sample(DEVICES, rng.randint(1, len(DEVICES)))
        for number in devices:
            self.add(steps, self.command('RegisterDevice', self.device(number), attributes=PLAIN))
        names = [self.user() for _ in range(rng.randint(0, 6))]
        if rng.random() < 0.01:
            names = ['a\\u%d' % n for n in range(110)]
        for name in names:
            values = {'MachineResourceId': devices[0] if len(names) > 6 else rng.choice(devices),
                      'UserAccountName': name, 'SourceId': self.source_ids(), 'TypeId': rng.choice([1, None])}
            self.add(steps, self.command('CreateRelationship', values, attributes=PLAIN))
        if rng.random() < 0.7:
            values = {'Name': 'keys.recipients', 'Value': ','.join(RECIPIENTS)}
            self.add(steps, self.command('SetPolicy', values, attributes=PLAIN))
        for _ in range(rng.choice([0, 2, 5])):
            values = {'SourceClientResourceID': rng.choice(devices), 'RestoreClientResourceID': rng.choice(devices),
                      'MigrationBehavior': 1, 'UserNames': [{'UserName': self.user()}]}
            self.add(steps, self.command('AddAssociationEx', values, attributes=PLAIN))
        self.run(steps)
        for _ in range(rng.choice([0, 0, 1, 2])):
            self.add(steps, self.command(*self.replacement(), attributes=PLAIN))
        self.run(steps)
        for _ in range(rng.choice([0, 1, 2, 2, 3, 4])):  # asked, confirmed; taken over, confirmed
            self.deliver(steps)

    def deliver(self, steps):
        """What is under way between shards arrives."""
        mail, self.mail = self.mail, []
        if self.rng.random() < 0.3:
            self.rng.shuffle(mail)
        for command in mail:
            self.add(steps, self.record(command['key'], command['value'], model.headers_between(command),
                                        command['to']))
        self.run(steps)

    # -- usage over weeks ----------------------------------------------------------------

    def usage_stream(self):
        """Days pass: reports of today and of long ago, doubled ones, Ticks in time and late, words of
        administrators, policies that change."""
        rng, steps = self.rng, []
        self.misplacing = False
        self.now = model.parse_rfc3339(rng.choice(UNEVEN_DAYS) + 'T00:00:00Z') + rng.randrange(DAY_MS)
        devices = rng.sample(DEVICES, 2)
        users = [rng.choice(spellings) for spellings in rng.sample(USERS, 2)]
        for number in devices:
            self.add(steps, self.command('RegisterDevice', self.device(number), attributes=PLAIN))
        self.set_alone(steps, 'usage.minutes', rng.choice(['1', '60', '600', '1500', '3000']))
        self.set_alone(steps, 'usage.days', rng.choice(['1', '2', '7', '7', '30', '90']))
        if rng.random() < 0.4:
            self.set_alone(steps, 'approval.sources', rng.choice(['4', '1,4', '1']))
        for _ in range(rng.randint(3, 10)):
            for _ in range(rng.choice([1, 3, 6, 10])):
                self.now += rng.choice([0, 0, HOUR_MS, 7 * HOUR_MS, DAY_MS, DAY_MS, 3 * DAY_MS, 20 * DAY_MS])
                self.add(steps, self.usage_step(rng.choice(devices), rng.choice(users)))
            self.run(steps)
            if rng.random() < 0.3:
                self.set_alone(steps, *rng.choice(
                    [('usage.minutes', '0'), ('usage.minutes', '60'), ('usage.minutes', '2000'),
                     ('usage.minutes', '1'), ('usage.minutes', '1'), ('usage.days', '0'), ('usage.days', '3'),
                     ('usage.days', '45'), ('usage.days', '90'), ('usage.days', '90'),
                     ('approval.sources', ''), ('approval.sources', '4')]))
            if rng.random() < 0.3:
                steps.append({'op': rng.choice(['restart', 'rebuild'])})
        return steps

    def set_alone(self, steps, name, value):
        """In a run of its own, so that every shard has adopted it before the next command."""
        self.add(steps, self.command('SetPolicy', {'Name': name, 'Value': value}, attributes=PLAIN))
        self.run(steps)
        self.deliver(steps)

    def usage_step(self, device, user):
        rng, kind = self.rng, self.rng.random()
        waiting = [row for shard in self.site.shards for row in shard.relationships.values() if row.pending]
        if waiting and rng.random() < 0.25:
            row = rng.choice(waiting)
            return self.command(rng.choice(['ApproveRelationship', 'ApproveRelationship', 'DenyRelationship']),
                                {'RelationshipResourceID': row.id}, attributes=PLAIN)
        if kind < 0.22:
            return self.tick_at(model.slot_of_key(b'device:%d' % device) % self.shards)
        if kind < 0.28 and self.copies:
            return self.repeat()
        if kind < 0.4:
            return self.command(*self.word_about(device, user), attributes=PLAIN)
        return self.command('ReportUsage', self.report(device, user), attributes=PLAIN)

    def word_about(self, device, user):
        """(method, values) of somebody who has a say in the matter."""
        method, more = self.rng.choice([
            ('ApproveRelationship', {}), ('ApproveRelationship', {}), ('DenyRelationship', {}),
            ('DenyRelationship', {}), ('DeleteRelationship', {}), ('RemoveSource', {'SourceId': 4}),
            ('AddSource', {'SourceId': 2}), ('AddType', {'TypeId': 1}), ('RemoveType', {'TypeId': 1}),
            ('RemoveDevice', {}), ('CreateRelationship', {'SourceId': 2, 'TypeId': 1}),
            ('CreateRelationship', {'SourceId': [1, 4], 'TypeId': 1}), ('CreateRelationship', {'SourceId': 1})])
        if method == 'CreateRelationship':
            return method, {'MachineResourceId': device, 'UserAccountName': user, **more}
        if method == 'RemoveDevice':
            return self.rng.choice([(method, {'ResourceID': device}), ('RegisterDevice', self.device(device))])
        return method, {'ResourceID': device, 'UniqueUserName': user, **more}

    def report(self, device, user):
        rng = self.rng
        ago = rng.choice([0, 0, HOUR_MS, HOUR_MS, 12 * HOUR_MS, DAY_MS, 2 * DAY_MS, 6 * DAY_MS, 7 * DAY_MS,
                          29 * DAY_MS, 89 * DAY_MS, 90 * DAY_MS, 400 * DAY_MS])
        if rng.random() < 0.03:
            ago = -3 * HOUR_MS
        start = self.now - ago
        if rng.random() < 0.3:  # about midnight
            start = start // DAY_MS * DAY_MS + rng.choice([-1, 0, 1])
        zone, offset = rng.choice([('Z', 0), ('Z', 0), ('+05:30', 330), ('-11:00', -660), ('+14:00', 840)])
        return {'ResourceID': device, 'UniqueUserName': user,
                'Start': model.rfc3339(start + offset * 60_000)[:-1] + zone,
                'Minutes': rng.choice([0, 1, 30, 60, 240, 480, 481, 720, 1440]),
                'Count': rng.choice([0, 1, 1, 2, 86400])}

    # -- records -------------------------------------------------------------------------

    def timestamp(self):
        rng = self.rng
        self.now += rng.choice([0, 1, 1, 7, 1000, 60_000, 60_000, -500, -90_000, -7_200_000, 1_700_000])
        if rng.random() < 0.02:
            self.now += 3_600_001
        return -1 if rng.random() < 0.005 else self.now

    def record(self, key, value, headers, partition=None):
        if partition is None:
            partition = model.slot_of_key(key or b'') % self.shards
        step = {'op': 'record', 'partition': partition, 'gap': 0, 'timestamp': self.timestamp(),
                'key': key, 'value': value, 'headers': headers}
        if self.rng.random() < 0.03:
            step['gap'] = self.rng.choice([1, 2, 3])
        self.copies.append(step)
        return step

    def step(self):
        rng = self.rng
        if self.mail and rng.random() < 0.45:
            return self.bring()
        if rng.random() < (0.25 if any(shard.request_rows() for shard in self.site.shards) else 0.02):
            return self.tick()
        if self.talkative and rng.random() < 0.7:
            return self.command(*self.talk(), attributes=PLAIN)
        kind = rng.random()
        if kind < 0.12 and self.copies:
            return self.repeat()
        if kind < 0.19:
            return self.broken_record()
        if kind < 0.27:
            return self.wrong_data()
        if kind < 0.33:
            return self.wrong_attribute()
        if kind < 0.36:
            return self.own_command()
        if kind < 0.40:
            return self.policy_step()
        return self.command(*self.good_command())

    def repeat(self):
        """An earlier record once more: as it was, elsewhere, or with other attributes."""
        rng = self.rng
        step = dict(rng.choice(self.copies[-5:] if rng.random() < 0.4 else self.copies))
        step['timestamp'], step['gap'] = self.timestamp(), 0
        step['headers'] = list(step['headers'])
        if self.misplacing and rng.random() < 0.2:
            step['partition'] = rng.randrange(self.shards)
        if rng.random() < 0.15:
            step['headers'].append(('ce_' + rng.choice(['actor', 'correlationid', 'replyto']), b'hr.replies'))
        return step

    def bring(self):
        """A command of one shard to another reaches it, or is lost and something else happens."""
        rng = self.rng
        command = self.mail[-1] if rng.random() < 0.4 else rng.choice(self.mail)  # the last overtakes
        fate = rng.random()
        if fate > 0.25:
            self.mail.remove(command)
        if fate > 0.9:
            return self.step()
        headers = model.headers_between(command)
        if rng.random() < 0.1:
            headers = [(name, rng.choice([b'7;' + b'f' * 32, b'?']) if name == 'kinlog_epoch' else value)
                       for name, value in headers]
        if rng.random() < 0.1:
            headers.append((rng.choice(['ce_correlationid', 'ce_traceparent', 'ce_actor']), b'of the agent'))
        partition = command['to']
        if rng.random() < 0.05:
            partition = rng.randrange(self.shards)
        return self.record(command['key'], command['value'], headers, partition)

    def tick(self):
        """The owner's, of a shard that waits if there is one; in time to find something due or not."""
        rng = self.rng
        waiting = [row for shard in self.site.shards for row in shard.request_rows()]
        row = rng.choice(waiting) if waiting else {'Shard': rng.randrange(self.shards), 'Due': self.now}
        if rng.random() < 0.7:
            last = max((other['Due'] for other in waiting if other['Shard'] == row['Shard']), default=0)
            self.now = max(self.now, rng.choice([row['Due'], last]) + rng.choice([-1, 0, 1]))
        step = self.tick_at(row['Shard'])
        self.ticks.append({**step, 'gap': 0, 'timestamp': self.now})
        return rng.choice(self.ticks[-3:]) if rng.random() < 0.3 else self.ticks[-1]

    def tick_at(self, shard):
        """As the owner of the shard sends it."""
        return self.command('Tick', {}, source=self.site.source, partition=shard, attributes=OF_AGENTS,
                            more=[('kinlog_epoch', model.OWNER_EPOCH.encode())])

    def policy_step(self):
        rng = self.rng
        name, value = rng.choice([('devices.unknown', 'stub'), ('devices.unknown', 'refuse'),
                                  ('devices.unknown', 'stub'), ('core.rules', '1'), ('core.rules', '2'),
                                  ('core.rules', '0'), ('devices.unknown', 'maybe'), ('no.such', 'x'),
                                  ('devices.unknown', ''), ('requests.timeout', '1'),
                                  ('requests.timeout', '3600'), ('requests.timeout', '30'),
                                  ('requests.timeout', rng.choice(['0', '3601', '01', '1.5', '', '-1', ' 7'])),
                                  ('usage.days', '7'), ('usage.days', '91'),
                                  ('usage.minutes', '60'), ('usage.minutes', '129600'),
                                  ('usage.minutes', '129601'), ('usage.minutes', '060'),
                                  ('approval.sources', '1,4'), ('approval.sources', ''),
                                  ('approval.sources', '1,1'), ('approval.sources', '4,'),
                                  ('approval.sources', '1 4'), ('approval.sources', '10'),
                                  ('keys.recipients', rng.choice(['', *RECIPIENTS, ','.join(RECIPIENTS)])),
                                  ('keys.recipients', rng.choice([',', *NO_RECIPIENTS, RECIPIENTS[0] + ',',
                                                                  ', '.join(RECIPIENTS)]))])
        return self.command('SetPolicy', {'Name': name, 'Value': value})

    def own_command(self):
        """What agents send, as a stranger might forge it: without their source, without an epoch, with
        both and about what was never asked."""
        rng = self.rng
        headers = rng.choice([[], [('kinlog_epoch', b'1;00112233445566778899aabbccddeeff')]])
        source = rng.choice([self.site.source, '/hr'])
        partition = rng.randrange(self.shards)
        method, values = self.forged()
        if method == 'Tick':
            headers = rng.choice([[], [('kinlog_epoch', b'no epoch of anyone')]])
        elif method != 'AdoptPolicy' and rng.random() < 0.7:
            partition = None
        trusted = headers and source == self.site.source
        return self.command(method, values, source=source, more=headers, partition=partition,
                            attributes=OF_AGENTS if trusted else None)

    def forged(self):
        """(method, values)"""
        rng = self.rng
        method = rng.choice(['AdoptPolicy', 'AdoptPolicy', 'Tick', *model.conversations.COMMANDS])
        if method == 'Tick':
            return method, {}
        if method == 'AdoptPolicy':
            values = {'Name': 'devices.unknown', 'Value': rng.choice(['stub', 'refuse']),
                      'Revision': rng.randint(1, 12)}
            changes = [{'Revision': 0}, {'Name': 'no.such'}, {'Value': 'x'}, {'Revision': Raw('9007199254740993')}]
        else:
            # Of requests, and of associations that needed none; not always with their object.
            known = [(thing.id, thing.restore) for shard in self.site.shards
                     for things in (shard.requests, shard.associations) for thing in things.values()]
            request, number = rng.choice(known) if known and rng.random() < 0.8 else \
                ('%d-%d' % (rng.randrange(6), rng.choice([900, 2 ** 53 - 1])), rng.choice(DEVICES))
            values = {'Request': request,
                      'Object': 'device:%d' % (number if rng.random() < 0.7 else rng.choice(DEVICES))}
            changes = [{'Request': rng.choice(['x', '1-', '01-1', '1-0', '4294967296-1', '1-9007199254740992'])},
                       {'Object': rng.choice(['policy', 'device:0', 'device:01', 'device:4294967296', 'device/1'])}]
        if method == 'RequestReference':
            values = {**values, 'Kind': rng.choice(['association', 'replacement'])}
            changes += [{'Kind': 'replication'}, {'Kind': 1}]
        if method == 'AdoptRelationship':
            values.update(ResourceID=rng.choice(DEVICES), RelationshipResourceID=rng.randint(1, 900),
                          UniqueUserName=self.user(), CreationTime='20260101000000.000000+000',
                          Sources=[rng.randint(1, 9) for _ in range(rng.randint(1, 3))],
                          Types=rng.choice([None, [1]]), Pending=rng.random() < 0.3)
            changes += [{'Sources': []}, {'Sources': 2}, {'Sources': [10]}, {'Types': [2]}, {'Pending': 1},
                        {'Pending': None}, {'CreationTime': '20261301000000.000000+000'},
                        {'CreationTime': '20260101000000'}, {'UniqueUserName': 'nobody'}, {'ResourceID': 0},
                        {'RelationshipResourceID': 2 ** 32}]
        if method == 'EndAdoption':
            values['Count'] = rng.choice([0, 1, 2, 2 ** 32 - 2])
            changes += [{'Count': -1}, {'Count': 2 ** 32 - 1}, {'Count': None}]
        if method == 'RefuseReference':
            values.update(ReturnValue=rng.choice([-2147217406, 5, 0]), Description='no')
            changes += [{'Description': ''}, {'ReturnValue': 2 ** 31}]
        if rng.random() < 0.2:
            values.update(rng.choice(changes))
        return method, values

    def good_command(self):
        """(method, values) that mostly succeeds."""
        rng = self.rng
        method = rng.choices(
            ['CreateRelationship', 'AddSource', 'RemoveSource', 'AddType', 'RemoveType',
             'DeleteRelationship', 'RegisterDevice', 'RemoveDevice', 'ReportUsage', 'ApproveRelationship',
             'DenyRelationship', 'ReplaceDevice', 'association'],
            [18, 6, 10, 5, 5, 5, 12, 6, 8, 4, 4, 8, 65])[0]
        if method == 'association':
            return self.association_command()
        device = self.some_device()
        if method in model.INSTANCE_METHODS and rng.random() < 0.8 and not any(
                shard.relationships for shard in self.site.shards):
            method = 'CreateRelationship'
        if method == 'RegisterDevice':
            return method, self.device(rng.choice(DEVICES))
        if method == 'RemoveDevice':
            referred = [number for shard in self.site.shards for number, _ in shard.references]
            device = rng.choice(referred) if referred and rng.random() < 0.3 else device
            return method, rng.choice([{'ResourceID': device}, {'ResourceID': device, 'Force': True},
                                       {'ResourceID': device, 'Force': False}])
        if method == 'ReplaceDevice':
            return self.replacement()
        if method == 'ReportUsage':
            return method, self.report(device, self.user())
        if method == 'CreateRelationship':
            values = {'MachineResourceId': device, 'UserAccountName': self.user(),
                      'SourceId': self.source_ids()}
            if rng.random() < 0.5:
                values['TypeId'] = rng.choice([1, [1], [1, 1], None])
            return method, values
        values = self.target(device)
        if method in ('AddSource', 'RemoveSource'):
            values['SourceId'] = self.source_ids()
        elif method in ('AddType', 'RemoveType'):
            values['TypeId'] = rng.choice([1, [1], [1, 1]])
        return method, values

    def replacement(self):
        """(method, values); often one that has users, and nothing in its way."""
        rng = self.rng
        used = [row.device for shard in self.site.shards for row in shard.relationships.values()
                if not shard.of_source(row.device)]
        old = rng.choice(used) if used and rng.random() < 0.7 else self.some_device()
        return 'ReplaceDevice', {'ResourceID': old, 'NewResourceID': self.some_device()}

    def talk(self):
        """(method, values) that gives shards something to talk about."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.1:
            return 'RemoveDevice', {'ResourceID': self.some_device(), 'Force': True}
        if kind < 0.2:
            return 'RegisterDevice', self.device(rng.choice(DEVICES))
        if kind < 0.27:
            return self.replacement()
        if kind < 0.32:
            return 'CreateRelationship', {'MachineResourceId': self.some_device(), 'UserAccountName': self.user(),
                                          'SourceId': self.source_ids(), 'TypeId': rng.choice([1, None])}
        return self.association_command()

    def association_command(self):
        """(method, values)"""
        rng = self.rng
        rows = [row for shard in self.site.shards for row in shard.associations.values()]
        method = rng.choices(
            ['AddAssociation', 'AddAssociationEx', 'ChangeAssociation', 'DeleteAssociation', 'StartCapture',
             'GetEncryptDecryptKey', 'life'], [6, 10, 8, 5, 4, 5, 12] if rows else [9, 12, 1, 1, 2, 1, 1])[0]
        if method in model.associations.ADDING:
            source, restore = self.some_device(), self.some_device()
            if rows and rng.random() < 0.3:
                row = rng.choice(rows)
                source, restore = row.source, rng.choice([row.restore, restore])
            values = {'SourceClientResourceID': source, 'RestoreClientResourceID': restore}
            if method == 'AddAssociationEx':
                values['MigrationBehavior'] = rng.choice([0, 1, 1, 1, 2])
            if values.get('MigrationBehavior') or rng.random() < 0.4:
                values['UserNames'] = self.user_entries()
            return method, values
        row = rng.choice(rows) if rows and rng.random() < 0.9 else None
        if method == 'life':
            method = self.next_in_life(row)
        values = self.meant(row)
        if method == 'StartCapture':
            if 'MigrationID' not in values and rng.random() < 0.5:
                values.pop('RestoreClientResourceID', None)
            values['StorePath'] = rng.choice(STORES[:1] * 3 + STORES)
        if method == 'GetEncryptDecryptKey':
            values['PublicKey'] = rng.choice(RECIPIENTS if rng.random() < 0.9 else NO_RECIPIENTS)
        if method == 'ChangeAssociation':
            for name, chance in (('AddUserNames', 0.5), ('RemoveUserNames', 0.4)):
                if rng.random() < chance:
                    values[name] = self.user_entries()
            if rng.random() < 0.5:
                values['MigrationBehavior'] = rng.choice([0, 1, 1, 2, None])
        return method, values

    def some_device(self):
        """Mostly one that is known."""
        known = [number for shard in self.site.shards for number in shard.devices]
        return self.rng.choice(known if known and self.rng.random() < 0.8 else DEVICES)

    def next_in_life(self, row):
        """What a migration comes to next, mostly."""
        rng = self.rng
        never = model.associations.NEVER
        if row is None or rng.random() < 0.3:
            return rng.choice(['CompleteCapture', 'CompleteRestore', 'DeleteStore'])
        if row.store_path is None:
            return 'StartCapture'
        if row.created == never:
            return 'CompleteCapture'
        return 'CompleteRestore' if row.released == never else 'DeleteStore'

    def meant(self, row):
        """MigrationID, or both devices, or all three, of this association or of none."""
        rng = self.rng
        if row:
            identity, source, restore = row.id, row.source, row.restore
        else:
            identity = rng.choice(['0-2', '1-5', '7-900', '4294967295-9007199254740991'])
            source, restore = rng.choice(DEVICES), rng.choice(DEVICES)
        pair = {'SourceClientResourceID': source, 'RestoreClientResourceID': restore}
        choice = rng.random()
        if choice < 0.4:
            return {'MigrationID': identity}
        if choice < 0.8:
            return pair
        both = {'MigrationID': identity, **pair}
        if rng.random() < 0.4:
            both[rng.choice(list(pair))] = rng.choice(DEVICES)
        if rng.random() < 0.3:
            del both[rng.choice(list(pair))]
        return both

    def user_entries(self):
        """People, each once; a list may be empty, which counts as none."""
        rng = self.rng
        if rng.random() < 0.005:
            return [{'UserName': 'a\\u%d' % number} for number in range(1000)]
        entries = []
        for spellings in rng.sample(USERS, rng.choice([0, 1, 1, 1, 2, 3])):
            entry = {'UserName': rng.choice(spellings)}
            if rng.random() < 0.4:
                entry['LocaleID'] = rng.choice([0, 1033, 4294967295, None])
            entries.append(entry)
        return entries

    def device(self, number):
        rng, values = self.rng, {'ResourceID': number, 'Name': self.rng.choice(NAMES)}
        if rng.random() < 0.4:
            values['ClientType'] = rng.choice([1, 0, 3, 4294967295, None])
        if rng.random() < 0.4:
            values['MACAddresses'] = rng.choice([[], ['00:11'], ['00:11', '00:11'], ['a' * 64] * 32, None])
        if rng.random() < 0.3:
            values['Domain'] = rng.choice(['CONTOSO', '\u00e9', None])
        return values

    def user(self):
        rng = self.rng
        return rng.choice(EDGE_USERS) if rng.random() < 0.06 else rng.choice(rng.choice(USERS))

    def source_ids(self):
        rng = self.rng
        if rng.random() < 0.6:
            return rng.choice([1, 2, 2, 3, 4, 5, 6, 7, 8, 9])
        return [rng.randint(1, 9) for _ in range(rng.choice([1, 2, 3, 8]))]

    def target(self, device):
        """RelationshipResourceID, or ResourceID and UniqueUserName, or both; mostly of one that exists."""
        rng = self.rng
        rows = [row for shard in self.site.shards for row in shard.relationships.values()]
        if rows and rng.random() < 0.85:
            row = rng.choice(rows)
            number, device, user = row.id, row.device, row.user
            for spellings in USERS:
                if user in spellings:
                    user = rng.choice(spellings)
        else:
            number, user = rng.choice([1, 5, 176, 240, 241, 4294967295]), self.user()
        choice = rng.random()
        if choice < 0.4:
            return {'RelationshipResourceID': number}
        if choice < 0.8:
            return {'ResourceID': device, 'UniqueUserName': user}
        both = {'RelationshipResourceID': number, 'ResourceID': device, 'UniqueUserName': user}
        if rng.random() < 0.3:
            both.update(rng.choice([{'ResourceID': rng.choice(DEVICES)}, {'UniqueUserName': self.user()}]))
        if rng.random() < 0.3:
            del both[rng.choice(['ResourceID', 'UniqueUserName'])]
        return both

    # -- a command in a record -----------------------------------------------------------

    def identity(self):
        """(source, id): mostly new; sometimes one that was there, so that its content differs."""
        rng = self.rng
        if self.sent and rng.random() < 0.06:
            return rng.choice(self.sent)
        self.ids += 1
        source = rng.choice(SOURCES)
        name = 'c%d' % self.ids
        if rng.random() < 0.02:
            name = rng.choice([name.ljust(255, 'x'), '\u00e9' + name, name + ' x;y'])
        self.sent.append((source, name))
        return source, name

    def attributes(self, method, values):
        """Optional attributes, as text."""
        rng, attributes = self.rng, {}
        for name, chance, choices in (
                ('correlationid', .15, ['corr', 'k' * 255, '']), ('causationid', .05, ['cause']),
                ('traceparent', .05, ['00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01']),
                ('tracestate', .04, ['a=b', 'a=' + 'b' * 510]), ('actor', .1, ['alice', '/hr', 'b\u00f6b', '']),
                ('replyto', .1, ['-', 'helpdesk.replies', 'kinlog.replies', 'not.allowed', '']),
                ('time', .1, ['2026-05-28T20:26:40Z', 'whenever']), ('subject', .05, ['x']),
                ('dataschema', .03, ['urn:x'])):
            if rng.random() < chance:
                attributes[name] = rng.choice(choices)
        if rng.random() < 0.08:
            offset = rng.choice([-1000, 0, 1000, 10_000_000])
            text = model.rfc3339(self.now + offset)
            attributes['expirytime'] = rng.choice([
                text, model.rfc3339(self.now + offset + 3_600_000)[:-1] + '+01:00', text[:-5] + 'Z',
                text[:-1] + '999Z'])
        if rng.random() < 0.15:
            attributes['expectedversion'] = str(self.version(method, values))
        return attributes

    def version(self, method, values):
        """The present version of what the command is about, or a stale one."""
        rng = self.rng
        if rng.random() < 0.3:
            return rng.choice([0, 1, 2, 3, 9999999999999999999])
        command = understood(method, values)
        if command is None:
            return 0
        shard = self.site.shards[self.site.shards[0].shard_of(command)]
        return shard.aggregate(command)[2] or 0

    def key_and_partition(self, method, values):
        rng = self.rng
        partition = rng.randrange(self.shards)
        key = b'policy' if method.endswith('Policy') else None
        command = understood(method, values)
        if command is not None:
            shard = self.site.shards[self.site.shards[partition].shard_of(command)]
            partition, key = shard.number, self.right_key(shard, command) or key
        if rng.random() < 0.1:
            key = rng.choice([None, b'', b'policy', b'device:1', b'device:01', b'device:4294967296',
                              b'\xff\x00', b'somebody\\else'])
        if self.misplacing and rng.random() < 0.08:
            partition = rng.randrange(self.shards)
        return key, partition

    @staticmethod
    def right_key(shard, command):
        """What a careful sender would take, or None."""
        values = command.values
        if command.method in model.conversations.TO_OBJECT:
            return values['Object'].encode()
        number = next((values[name] for name in ('MachineResourceId', 'ResourceID', 'SourceClientResourceID')
                       if name in values), None)
        if 'RelationshipResourceID' in values:
            row = shard.relationships.get(values['RelationshipResourceID'])
            number = row.device if row else None
        return b'device:%d' % number if number is not None else None

    def data(self, values, style=None):
        """The JSON text of parameters, freely spelled."""
        rng = self.rng
        style = rng.random() < 0.5 if style is None else style
        members = [(respell(name, rng) if style else name, value) for name, value in values.items()]
        if style:
            rng.shuffle(members)
        return to_json(dict(members), rng, style)

    def command(self, method, values, source=None, more=(), partition=None, text=None, attributes=None):
        """A record with a command. text: data as it shall stand; attributes: replaced ones (None: gone;
        bytes: as they are)."""
        rng = self.rng
        sender, identity = self.identity()
        source = source or sender
        envelope = {'specversion': '1.0', 'id': identity, 'source': source,
                    'type': rng.choice([method, 'kinlog.%s.v1' % method])}
        envelope.update(self.attributes(method, values))
        envelope.update(attributes or {})
        envelope = {name: value for name, value in envelope.items() if value is not None}
        key, lies = self.key_and_partition(method, values)
        more = list(more)
        if self.misplacing and rng.random() < 0.05:
            more.append(('kinlog_forwarded', rng.choice([b'0-17', b'3-99', b'forged'])))
        if rng.random() < 0.05:
            more.append(('x-other', rng.choice([b'\xff', b'', None, b'y'])))
        if partition is None:
            partition = lies
        text = self.data(values) if text is None else text
        if isinstance(text, str):
            text = text.encode()
        plain = all(isinstance(value, str) for value in envelope.values())
        try:
            text.decode()
        except UnicodeDecodeError:
            plain = False
        if plain and text and rng.random() < 0.25:
            return self.structured(envelope, text, key, partition, more)
        headers = [('ce_' + name, value.encode() if isinstance(value, str) else value)
                   for name, value in envelope.items()]
        if rng.random() < 0.4:
            headers.append(('content-type', rng.choice([b'application/json', b'Application/JSON; charset=utf-8'])))
        if rng.random() < 0.2:
            rng.shuffle(headers)
        return self.record(key, text, headers + more, partition)

    def structured(self, envelope, text, key, partition, more):
        rng = self.rng
        members = [(name, json.dumps(value)) for name, value in envelope.items()] + [('data', text.decode())]
        version = envelope.get('expectedversion', '')
        # As a number only where every reader of JSON takes it for the same number.
        if version.isdigit() and int(version) < 2 ** 53 and not version.startswith('00') \
                and rng.random() < 0.5:
            members = [(n, v.strip('"') if n == 'expectedversion' else v) for n, v in members]
        if rng.random() < 0.1:
            members.append(('datacontenttype', '"application/json"'))
        if rng.random() < 0.1:
            members.append((rng.choice(['extension', 'correlationId']), '{"a":[1,null]}'))
        if rng.random() < 0.1 and 'subject' not in envelope:
            members.append(('subject', 'null'))
        rng.shuffle(members)
        value = '{' + ','.join(json.dumps(name) + ': ' + item for name, item in members) + '}'
        headers = []
        if rng.random() < 0.6:
            headers.append((rng.choice(['content-type', 'Content-Type']), rng.choice(
                [b'application/cloudevents+json', b'application/cloudevents+json; charset=UTF-8'])))
            if rng.random() < 0.2:
                headers.append(('ce_id', b'overruled'))
        return self.record(key, value.encode(), headers + more, partition)

    # -- what is wrong on purpose --------------------------------------------------------

    def wrong_data(self):
        """A known command whose data does not fit."""
        rng = self.rng
        method, values = self.good_command()
        kind = rng.randrange(10)
        if kind < 5:
            values = self.wrong_values(method, dict(values))
            return self.command(method, values, text=self.data(values))
        text = self.data(values, style=False)
        if kind == 5:  # a member twice, exactly or in two spellings
            name, value = rng.choice(list(values.items()))
            twice = json.dumps(rng.choice([name, name.lower(), name.upper()])) + ':' + to_json(value, rng, 0)
            text = text[:-1] + ',' + twice + '}'
        elif kind == 6:
            text = rng.choice([json.dumps(text), '{"schema":null,"payload":' + text + '}', '[' + text + ']',
                               '7', 'null', 'true', '{}', '[]', '""'])
        elif kind == 7:
            text = rng.choice([b'', b'not JSON', b'\x00\x00\x00\x00\x01' + text.encode(), text.encode()[:-1],
                               text.encode() + b',', b'\xef\xbb\xbf' + text.encode(), b'{"ResourceID":01}',
                               b'{"Name":"\xff\xfe"}', b'{"Name":"\xc0\xaf"}', b'{"Name":"\xed\xa0\x80"}',
                               b'{"ResourceID":1,}', b"{'ResourceID':1}", b'{"ResourceID":NaN}',
                               b'{"Name":"a\nb"}', b'[' * 10000, b'[' * 33 + b']' * 33,
                               b'[{},{},' * 20000, b'{"a":"' + b'x' * 262144 + b'"}',
                               b'[' + b'0,' * 5000 + b'0]', b'{"Name":"\\x"}', b'{"Name":"\\u12"}'])
        elif kind == 8:
            escape = rng.choice(['\\u0000', '\\ud800', '\\udc00x', '\\ud800\\ud800'])
            name = rng.choice(['Name', 'UserAccountName', 'UniqueUserName', 'unknown'])
            text = text[:-1] + ', "%s": "a\\\\b%s"}' % (name, escape) if name not in values else \
                '{"%s": "a\\\\b%s"}' % (name, escape)
        else:
            text = None
        if text is None:  # a tombstone
            step = self.command(method, values, text=b'')
            return {**step, 'value': None} if step['value'] == b'' else step
        return self.command(method, values, text=text)

    def wrong_values(self, method, values):
        rng = self.rng
        numbers = [Raw(text) for text in ('4294967296', '-1', '1.5', '1e400', '"1"', '0', 'true', '{}', '[]',
                                          '[[1]]', '1e-400', '-0', '1E9999999', '[null]', '99999999999999999999')]
        for _ in range(rng.choice([1, 1, 1, 2])):
            name = rng.choice(list(values))
            if rng.random() < 0.2:
                values.pop(name)
                if not values:
                    return {'nothing': 1}
            elif rng.random() < 0.15:
                values[rng.choice(['Unknown', 'machine_resource_id', 'Tyr\u0131'])] = rng.choice([1, None, {}])
            elif name in ('UserNames', 'AddUserNames', 'RemoveUserNames'):
                values[name] = self.wrong_users()
            elif name == 'MigrationID':
                values[name] = rng.choice(['', 'x', '1', '1-', '-1', '01-1', '1-01', '1-0', '4294967296-1', '1-2 ',
                                           '1-9007199254740992', '0-' + '9' * 300, 7, None])
            elif name == 'StorePath':
                values[name] = rng.choice(['', 'x' * 1025, 7, None, ['x']])
            elif name == 'MigrationBehavior':
                values[name] = rng.choice([3, -1, '1', Raw('0.5'), [1], None])
            elif name == 'Force':
                values[name] = rng.choice([1, 0, 'true', 'false', [True], {}])
            elif name in ('UserAccountName', 'UniqueUserName'):
                values[name] = rng.choice(BAD_USERS + [7, None, ['a\\b']])
            elif name == 'SourceId':
                values[name] = rng.choice(numbers + [10, 0, [1, 0], [1, 10], [2, Raw('"3"')], [1] * 65, None])
            elif name == 'TypeId':
                values[name] = rng.choice(numbers + [2, 0, [1, 2], [1] * 65])
            elif name == 'Name' or name == 'Domain':
                values[name] = rng.choice(['', 'x' * 257, 3, None, ['x']])
            elif name == 'MACAddresses':
                values[name] = rng.choice([[''], ['x' * 65], ['x'] * 33, 'x', [None], [1]])
            elif name == 'Start':
                values[name] = rng.choice(
                    ['', '2026-05-28', '2026-05-28T08:15:00', '2026-02-29T00:00:00Z', '2026-05-28T24:00:00Z',
                     '20260528081500.000000+000', '9999-12-31T23:59:59Z', '2026-05-28T08:15:00.' + '0' * 50 + 'Z',
                     'yesterday', 7, None, ['2026-05-28T08:15:00Z']])
            elif name == 'Minutes':
                values[name] = rng.choice([text for text in numbers if text not in ('0', '-0')] + [1441, -5, None])
            elif name == 'Count':
                values[name] = rng.choice([text for text in numbers if text not in ('0', '-0')] + [86401, None])
            elif name == 'ClientType':
                values[name] = rng.choice([text for text in numbers if text not in ('0', '-0')])
            else:
                values[name] = rng.choice(numbers + [None])
        return values

    def wrong_users(self):
        rng = self.rng
        one, two = rng.choice(USERS)[:2]
        if rng.random() < 0.1:
            return [{'UserName': 'a\\u%d' % number} for number in range(rng.choice([1001, 10_000]))]
        return rng.choice([
            [{'UserName': one}, {'UserName': two}], [{'UserName': one}, {'UserName': one, 'LocaleID': 7}],
            [{'UserName': rng.choice(BAD_USERS)}], [{'UserName': one}, {'LocaleID': 1}], [{}], [one], [None], one,
            {'UserName': one}, [{'UserName': one, 'LocaleID': rng.choice([-1, 4294967296, '1', Raw('0.5'), [1]])}],
            [{'UserName': None}], [{'UserName': one, 'Other': 1}], [{'UserName': one, 'username': two}], [[]],
            [{'UserName': one, 'LocaleID': None, 'localeid': None}], 7, None])

    def wrong_attribute(self):
        """A command with one bad attribute; id and source are known."""
        rng = self.rng
        method, values = self.good_command()
        bad = rng.choice([
            {'specversion': '0.3'}, {'specversion': None}, {'type': 'NoSuchCommand'}, {'type': 'kinlog.AddType.v2'},
            {'type': 'addsource'}, {'type': None}, {'type': 'b\u00f6se'}, {'type': b'\xff'}, {'type': 'x' * 256},
            {'type': 'x' * 255}, {'type': 'with space; and ;'}, {'correlationid': 'x' * 256},
            {'correlationid': 'a\x01b'}, {'correlationid': b'\xc3'}, {'correlationid': 'x' * 65536},
            {'correlationid': 'x' * 921600}, {'causationid': 'x' * 256}, {'traceparent': 'x' * 256},
            {'tracestate': 'x' * 513}, {'actor': 'x' * 256}, {'actor': 'a\nb'}, {'actor': 'a\u0085b'},
            {'replyto': 'x' * 256}, {'replyto': '\x7f'}, {'subject': 'a\tb'}, {'time': '\r'}, {'dataschema': b'\x80'},
            {'expirytime': 'tomorrow'}, {'expirytime': '2026-13-01T00:00:00Z'}, {'expirytime': '2026-02-29T00:00:00Z'},
            {'expirytime': '2026-05-28T20:26:40'}, {'expectedversion': 'x'}, {'expectedversion': '-1'},
            {'expectedversion': '1.5'}, {'expectedversion': '99999999999999999999'}, {'expectedversion': '00000000000000000001'},
            'twice', 'content', 'batch', 'big', 'null'])
        if isinstance(bad, dict):
            return self.command(method, values, attributes=bad)
        if bad == 'twice':
            name = rng.choice(['specversion', 'type', 'correlationid', 'actor', 'replyto', 'expectedversion'])
            old = {'specversion': b'1.0', 'type': method.encode()}.get(name, b'1')
            return self.force_binary(method, values, [('ce_' + name, old)], {name: old})
        if bad == 'content':
            return self.force_binary(method, values, [('content-type', rng.choice(
                [b'text/plain', b'application/xml', b'application/octet-stream']))], {'specversion': b'1.0'})
        if bad == 'batch':
            step = self.force_binary(method, values, [('content-type', rng.choice(
                [b'application/cloudevents-batch+json', b'application/cloudevents+avro']))],
                {'specversion': b'1.0'})
            step['value'] = b'[]'
            return step
        if bad == 'big':
            return self.force_binary(method, values, [('x-big', b'x' * 65536)], {'specversion': b'1.0'})
        return self.force_binary(method, values, [], {rng.choice(['correlationid', 'actor', 'replyto']): None})

    def force_binary(self, method, values, more, attributes):
        """A binary record without a content type of its own; attributes as bytes, None = a null header."""
        nulls = {name for name, value in attributes.items() if value is None}
        given = {name: b'' if value is None else value for name, value in attributes.items()}
        step = self.command(method, values, attributes=given)
        step['headers'] = [(name, None if name[3:] in nulls and name.startswith('ce_') else value)
                           for name, value in step['headers'] if name != 'content-type'] + more
        return step

    def broken_record(self):
        """A record from which id and source cannot be known, or barely."""
        rng = self.rng
        key = rng.choice([None, b'device:1', b'policy', b'\xff', b'k' * 70000])
        headers = [('ce_specversion', b'1.0'), ('ce_id', b'b1'), ('ce_source', b'/hr'), ('ce_type', b'Tick')]
        value = rng.choice([None, b'', b'garbage', b'\x00\x00\x00\x00\x07{}', b'"{\\"specversion\\":\\"1.0\\"}"',
                            b'{"schema":{},"payload":{"specversion":"1.0"}}', b'[]', b'{}', b'\xff', b'x' * 900000,
                            b'{"specversion":"1.0","id":"b1","source":"/hr","type":"RemoveDevice","data":[' +
                            b'[' * 40 + b']' * 40 + b']}'])
        kind = rng.randrange(5)
        if kind == 0:
            headers = rng.choice([[], [('content-type', b'application/json')], [('other', b'x')],
                                  [('content-type', b'application/cloudevents+json')],
                                  [('content-type', b'application/cloudevents-batch+json')]])
        elif kind == 1:
            name = rng.choice(['ce_id', 'ce_source'])
            bad = rng.choice([None, b'', b'x' * 256, b'\xff', b'a\x00b', b'a\x7fb', b'\xc2\x85'])
            headers = [(n, bad if n == name else v) for n, v in headers]
        elif kind == 2:
            name = rng.choice(['ce_id', 'ce_source'])
            headers = [(n, v) for n, v in headers if n != name] if rng.random() < 0.5 else \
                headers + [(name, b'again')]
        else:
            headers, value = [], self.broken_structured()
        return self.record(key, value, headers, rng.randrange(self.shards))

    def broken_structured(self):
        """Structured, mostly with an id or source that is none; sometimes only with doubtful data."""
        rng = self.rng
        members = {'specversion': '"1.0"', 'id': '"s%d"' % rng.randrange(10 ** 9), 'source': '"/hr"',
                   'type': '"RemoveDevice"', 'data': '{"ResourceID":1}'}
        name = rng.choice(list(members))
        choices = {'id': ['7', 'null', '""', '"' + 'x' * 256 + '"', '"a\\u0000b"', '"\\ud800"', '"\\n"', '["a"]'],
                   'specversion': ['1.0', 'null', '"2.0"'], 'type': ['7', 'null', '""', '{}'],
                   'data': ['null', '"{}"', '[]', '{"ResourceID":1,"resourceid":1}', '{"ResourceID":"\\u0000"}',
                            '{"ResourceID": 1, "ResourceID": 1}', '{"ResourceID":1,"x":"\\ud800"}', '0']}
        choices['source'] = choices['id']
        if rng.random() < 0.7:
            members[name] = rng.choice(choices[name])
        elif rng.random() < 0.5:
            del members[name]
        text = '{' + ','.join('"%s":%s' % item for item in members.items()) + '}'
        if rng.random() < 0.15:
            text = text[:-1] + ',"%s":"twice"}' % rng.choice(['id', 'source', 'actor', 'correlationid'])
        if rng.random() < 0.1:
            text = text[:-1] + rng.choice([',"x":"\udcff"}', ']', ',"x":' + '[' * 31 + ']' * 31 + '}'])
        return text.encode('utf-8', 'surrogateescape')
