# kinlog_model.py - what an agent must do with a stream of Kafka records, told a second time.
#
# Written from the description of the outside (topics, commands, events, answers) alone and kept apart
# from the C code and from schemas/: it takes nothing from there, so that a slip in one of the two shows
# as a difference. Python's standard library only, but for what keys.py says; plain and slow on purpose.
#
#   site = Site(log_id, site, site_key, shards)
#   site.append(partition, timestamp_ms, key, value, headers)    puts a record at the end of a partition
#   site.run()                                                    every shard handles all it has
#   site.shards[n].events, .answers, .forwards, .dead_letters, .commands     what came of it, in order
#   site.views()
#
# Free text (ExtendedStatus.Description, Reason) is not the model's business, but chains cover it. So a
# Site may be given hints (class Hints): asked for the text, where the other side has made up its mind.
#
# Commands of one shard to another (.commands) go nowhere by themselves: whoever writes the stream puts
# them into their partitions, in any order, more than once or not at all.
#
# Devices, relationships, policies and the pipeline stand here, associations.py, conversations.py and
# usage.py and keys.py are more parts of a shard, kinlog_parts.py is what all of them stand on.
#
# Where the description leaves a choice, a comment that begins with READING says what was chosen.
#
# SPDX-License-Identifier: Apache-2.0
import hashlib
import hmac
import re
import struct

import associations
import conversations
import keys
import kinlog_json
import replacements
import usage
from kinlog_parts import (ACCESS_DENIED, ANSWER_EVENTS_MAX, ATTRIBUTE_MAX, HEADERS_MAX, HOUR_MS,
                          INVALID_PARAMETER, NOT_FOUND, NOT_SUPPORTED, OTHER_FAILURE, RECORDS_WITHOUT_EVENT,
                          RESOURCE, RULES, SEQUENCE_MAX, SLOTS, STALE_VERSION, TRACESTATE_MAX, UINT32_MAX,
                          Fault, Rejected, Unchanged, ascii_lower, base64url, boolean, cim_datetime, extended_status,
                          fold_user_name, has_control, integer_between, list_of, one_or_list_of, or_null,
                          parse_rfc3339, rfc3339, slot_of_key, text_between, user_name)


# ---- commands: members in declared order, each with its check --------------------------

SOURCES = one_or_list_of(integer_between(1, 9), 64)
TYPES = one_or_list_of(integer_between(1, 1), 64)
POLICY_NAME = text_between(1, 64)
POLICY_VALUE = text_between(0, 256)
TARGET = [('RelationshipResourceID', RESOURCE, False), ('ResourceID', RESOURCE, False),
          ('UniqueUserName', user_name, False)]
COMMANDS = {
    'CreateRelationship': [('MachineResourceId', RESOURCE, True), ('UserAccountName', user_name, True),
                           ('SourceId', SOURCES, True), ('TypeId', TYPES, False)],
    'AddSource': TARGET + [('SourceId', SOURCES, True)],
    'RemoveSource': TARGET + [('SourceId', SOURCES, True)],
    'AddType': TARGET + [('TypeId', TYPES, True)],
    'RemoveType': TARGET + [('TypeId', TYPES, True)],
    'DeleteRelationship': TARGET,
    'ApproveRelationship': TARGET,
    'DenyRelationship': TARGET,
    'RegisterDevice': [('ResourceID', RESOURCE, True), ('Name', text_between(1, 256), True),
                       ('ClientType', integer_between(0, UINT32_MAX), False),
                       ('MACAddresses', list_of(text_between(1, 64), 0, 32), False),
                       ('Domain', text_between(1, 256), False)],
    'RemoveDevice': [('ResourceID', RESOURCE, True), ('Force', boolean, False)],
    'SetPolicy': [('Name', POLICY_NAME, True), ('Value', POLICY_VALUE, True)],
    'AdoptPolicy': [('Name', POLICY_NAME, True), ('Value', POLICY_VALUE, True),
                    ('Revision', integer_between(1, SEQUENCE_MAX), True)],
    'Tick': [],
    **associations.COMMANDS,
    **replacements.COMMANDS,
    **conversations.COMMANDS,
    **usage.COMMANDS,
}
INSTANCE_METHODS = ('AddSource', 'RemoveSource', 'AddType', 'RemoveType', 'DeleteRelationship',
                    'ApproveRelationship', 'DenyRelationship')
AGENTS_ONLY = ('AdoptPolicy', 'Tick', *conversations.COMMANDS)
TIMERS_PER_TICK = 100


def missing_target(method, given):
    """The member of an instance method's target that is missing, or None."""
    if method not in INSTANCE_METHODS or 'RelationshipResourceID' in given:
        return None
    if 'ResourceID' not in given:
        return 'ResourceID' if 'UniqueUserName' in given else 'RelationshipResourceID'
    return None if 'UniqueUserName' in given else 'UniqueUserName'


def check_data(method, node):
    """The parameters by the schema's spelling, nulls left out; or Fault. First fault in declared order.

    READING: what makes the text doubtful as a whole (the very same member twice, U+0000, a lone
    surrogate) names no parameter and goes before the faults of single members. A parameter given in
    two spellings is that parameter's fault.
    READING: a Connect envelope, a string, an array, absent data name no parameter. Neither do unknown
    members, which come last: their names are the sender's.
    READING: the target of an instance method (one of two ways) and D6 are judged at the place of the
    member that is named, since D6 and ranges are part of the schema and members go in declared order."""
    if node.soft or node.kind != 'object':
        raise Fault(None)
    given, twice, unknown = {}, set(), False
    declared = {ascii_lower(name): name for name, _, _ in COMMANDS[method]}
    for name, member in node.value:
        known = declared.get(ascii_lower(name))
        if known is None:
            unknown = True
        elif known in given:
            twice.add(known)
        else:
            given[known] = member
    if sorted(name for name, _ in node.value) == ['payload', 'schema']:
        raise Fault(None)
    given = {name: member for name, member in given.items() if member.kind != 'null'}
    lacking = missing_target(method, given) or associations.missing_side(method, given)
    values = {}
    for name, check, required in COMMANDS[method]:
        if name == lacking or name in twice or (required and name not in given):
            raise Fault(name)
        if name in given:
            try:
                values[name] = check(given[name])
            except ValueError:
                raise Fault(name) from None
    associations.check_together(method, values)
    replacements.check_devices(method, values)
    if unknown:
        raise Fault(None)
    return values


# ---- the envelope ----------------------------------------------------------------------

class Undecodable(Exception):
    """Id and source cannot be known: a dead letter."""


class Record:
    """One record of <prefix>.commands. headers: list of (name, bytes or None)."""

    def __init__(self, partition, offset, timestamp_ms, key, value, headers):
        self.partition, self.offset, self.timestamp_ms = partition, offset, timestamp_ms
        self.key, self.value, self.headers = key, value, [(n, v) for n, v in headers]

    def header(self, name):
        """The first value of a header; b'' for a null one; None without it."""
        for header, value in self.headers:
            if header == name:
                return value or b''
        return None


# In the order of the table of attributes: of several faults the first in this order is named
# (READING: rather than the first in the order of headers).
ATTRIBUTES = ('specversion', 'type', 'time', 'subject', 'datacontenttype', 'dataschema',
              'correlationid', 'causationid', 'traceparent', 'tracestate', 'expirytime', 'actor',
              'expectedversion', 'replyto')
# READING: these four have no limit of their own within that of all headers.
UNLIMITED = ('time', 'subject', 'datacontenttype', 'dataschema')


def attribute_text(name, raw):
    """The text of an attribute's bytes; None if absent; ValueError if bad.
    READING: an empty optional attribute counts as absent; control characters are category Cc."""
    if raw is None:
        return None
    limit = TRACESTATE_MAX if name == 'tracestate' else ATTRIBUTE_MAX
    if name not in UNLIMITED and len(raw) > limit:
        raise ValueError
    text = raw.decode('utf-8')
    if has_control(text):
        raise ValueError
    return text or None


def is_json(media_type):
    """READING: any media type with subtype json or suffix +json, parameters do not matter."""
    essence = ascii_lower(media_type.partition(';')[0].strip(' \t'))
    return essence.partition('/')[2] == 'json' or essence.endswith('+json')


def attribute_meaning(name, text):
    """What an attribute's text means; ValueError if it means nothing."""
    if name == 'specversion' and text != '1.0':
        raise ValueError
    if name == 'type' and text is None:
        # READING: a missing required attribute is a fault of the envelope, not an unknown type.
        raise ValueError
    if text is None:
        return None
    if name == 'datacontenttype' and not is_json(text):
        raise ValueError
    if name == 'expirytime':
        text = parse_rfc3339(text)
        if text is None:
            raise ValueError
    if name == 'expectedversion':
        # READING: at most 19 digits, which is more than any log will have.
        if not re.fullmatch('[0-9]{1,19}', text):
            raise ValueError
        return int(text)
    return text


class Command:
    """A record decoded as far as it goes. fault: the first bad attribute; values: the parameters, or
    None with data_fault = the parameter to name; raw: what stands for undecodable data."""

    def __init__(self, identity, source):
        self.id, self.source = identity, source
        self.attributes, self.fault = {}, None
        self.type, self.method = '-', None
        self.values, self.data_fault, self.raw = None, None, b''

    def take_attributes(self, get):
        """get(name): list of values as bytes or None, or ValueError."""
        for name in ATTRIBUTES:
            try:
                found = get(name)
                if len(found) > 1:
                    raise ValueError
                text = attribute_text(name, found[0] if found else None)
                self.attributes[name] = attribute_meaning(name, text)
            except ValueError:
                self.attributes[name] = None
                self.fault = self.fault or name

    def take_type(self):
        sent = self.attributes['type']
        if sent is None:
            return
        for method in COMMANDS:
            if sent in (method, 'kinlog.%s.v1' % method):
                self.method, self.type = method, 'kinlog.%s.v1' % method
                return
        # READING: printable means visible, a blank does not count.
        if re.fullmatch('[!-~]{1,255}', sent):
            self.type = sent

    def take_data(self, node):
        """node: Node, or None if there is none that can be read."""
        if self.method is None:
            return
        try:
            if node is None:
                raise Fault(None)
            self.values = check_data(self.method, node)
        except Fault as fault:
            self.data_fault = fault.parameter

    def content_hash(self, site_key):
        message = self.type.encode('utf-8') + b'\0'
        if self.values is None:
            message += self.raw
        else:
            for name in sorted(self.values):
                message += name.encode() + b'\0' + kinlog_json.canonical(self.values[name]) + b'\0'
        return base64url(hmac.new(site_key, message, hashlib.sha256).digest()[:16])


def identity_text(raw):
    """READING: null and empty are missing alike."""
    if not raw or len(raw) > ATTRIBUTE_MAX:
        raise Undecodable
    try:
        text = raw.decode('utf-8')
    except UnicodeDecodeError:
        raise Undecodable from None
    if has_control(text):
        raise Undecodable
    return text


def only(found):
    if len(found) != 1:
        raise Undecodable
    return found[0]


def decode_binary(record, unsupported):
    """unsupported: the content type claims a form of CloudEvents that is not read here."""
    def header(name):
        return [value for found, value in record.headers if found == name]

    def get(name):
        if name == 'datacontenttype':
            if unsupported:
                raise ValueError
            return [v for found, v in record.headers if ascii_lower(found) == 'content-type']
        return header('ce_' + name)

    command = Command(identity_text(only(header('ce_id'))), identity_text(only(header('ce_source'))))
    command.take_attributes(get)
    command.take_type()
    command.raw = record.value or b''
    try:
        # READING: with a bad content type the data is still read as JSON, for hash and aggregate:
        # the bad attribute counts as absent.
        node = kinlog_json.parse(command.raw)
    except kinlog_json.JsonFault:
        node = None
    command.take_data(node)
    return command


def decode_structured(record):
    """READING: a document against JSON's grammar or over a limit is a dead letter as a whole. A soft
    fault inside `data` is a fault of the data, and the command is answered: it was decoded far enough
    to know id and source. A doubled attribute is that attribute's fault."""
    try:
        node = kinlog_json.parse(record.value or b'')
    except kinlog_json.JsonFault:
        raise Undecodable from None
    if node.kind != 'object':
        raise Undecodable

    def identity(name):
        member = only(node.members(name))
        if member.kind != 'string' or member.soft:
            raise Undecodable
        return identity_text(member.value.encode('utf-8'))

    def get(name):
        values = []
        for member in node.members(name):
            if member.kind == 'null':
                values.append(None)
            elif member.kind == 'string' and not member.soft:
                values.append(member.value.encode('utf-8'))
            elif member.kind == 'number' and name == 'expectedversion':
                values.append(str(kinlog_json.integer(member.value)).encode())
            else:
                raise ValueError
        return values

    command = Command(identity('id'), identity('source'))
    command.take_attributes(get)
    command.take_type()
    data = node.members('data')
    # READING: `"data": null` is absent data.
    data = [member for member in data if member.kind != 'null']
    command.raw = data[0].raw.encode('utf-8') if data else b''
    command.take_data(data[0] if len(data) == 1 else None)
    return command


def decode(record):
    """The Command in a record, or Undecodable."""
    content_type = ''
    for name, value in record.headers:
        if ascii_lower(name) == 'content-type':
            content_type = ascii_lower((value or b'').decode('latin-1'))
            break
    names = {name for name, _ in record.headers}
    if content_type.startswith('application/cloudevents+json'):
        return decode_structured(record)
    if content_type.startswith('application/cloudevents'):
        if not {'ce_id', 'ce_source'} <= names:
            raise Undecodable
        return decode_binary(record, unsupported=True)
    if names & {'ce_id', 'ce_source', 'ce_type', 'ce_specversion'}:
        return decode_binary(record, unsupported=False)
    try:
        node = kinlog_json.parse(record.value or b'')
    except kinlog_json.JsonFault:
        raise Undecodable from None
    if node.kind != 'object' or not node.members('specversion'):
        raise Undecodable
    return decode_structured(record)


# ---- events and answers ----------------------------------------------------------------

EVENT_HEADERS = ('ce_specversion', 'content-type', 'ce_id', 'ce_source', 'ce_type', 'ce_time',
                 'ce_subject', 'ce_causationid', 'ce_causationsource', 'ce_command', 'ce_chain',
                 'ce_actor', 'ce_correlationid', 'ce_replyto', 'ce_traceparent', 'ce_tracestate')


class Event:
    """attributes: header name -> text, those that are there. key: text or None. data: dict."""

    def __init__(self, sequence, event_type, key, attributes, data):
        self.sequence, self.type, self.key = sequence, event_type, key
        self.attributes, self.data = attributes, data

    def headers(self):
        return [(name, self.attributes[name]) for name in EVENT_HEADERS if name in self.attributes]

    def data_text(self):
        return kinlog_json.dump(self.data)

    def seal(self, previous_chain):
        """Puts ce_chain in, returns the chain's bytes."""
        parts = [self.key] + [self.attributes.get(name) for name in EVENT_HEADERS if name != 'ce_chain']
        message = previous_chain + struct.pack('>Q', self.sequence)
        for part in parts + [self.data_text()]:
            part = (part or '').encode('utf-8')
            message += struct.pack('>I', len(part)) + part
        chain = hashlib.sha256(message).digest()
        self.attributes['ce_chain'] = base64url(chain)
        return chain


ASKING = ('AssociationRequested', 'ReplacementRequested')


class Receipt:
    """All events of one command, from which its answer is made again. A command that asked another
    shard is answered once there is a conclusion: an event that some other command has caused."""

    def __init__(self, command, offset, reply_to, events):
        self.offset, self.reply_to, self.events, self.conclusion = offset, reply_to, events, None
        self.id, self.source, self.type, self.method = command.id, command.source, command.type, \
            command.method
        self.correlation = command.attributes['correlationid'] or command.id
        self.traces = [(name, command.attributes[name]) for name in ('traceparent', 'tracestate')
                       if command.attributes[name] is not None]

    def waits(self):
        return self.events[-1].type in ASKING and self.conclusion is None

    def all_events(self):
        return self.events + ([self.conclusion] if self.conclusion else [])


def deprecated_source(event):
    """Does an accepted command's event tell of SourceId 3?"""
    if event.type == 'RelationshipCreated':
        return 3 in (event.data['Sources'] or [])
    return event.type in ('SourceAdded', 'SourceRemoved') and event.data['SourceId'] == 3


def answer_value(receipt, shard, site_key):
    """A pure function of the command's events and, where a key is given, of the site key."""
    events = receipt.all_events()
    last = events[-1]
    outcome, value, version, out, status = 'accepted', 0, last.sequence, {}, None
    if last.type == 'CommandRejected':
        outcome, value = last.data['Outcome'], last.data['ReturnValue']
    elif last.type == 'CommandUnchanged':
        outcome, out = 'unchanged', last.data['Out']
    elif last.type == 'RequestRefused':
        outcome, value = 'refused', last.data['ReturnValue']
    if last.type in ('CommandRejected', 'CommandUnchanged', 'RequestRefused'):
        version, status = last.data['Version'], last.data['ExtendedStatus']
    else:
        if receipt.method == 'CreateRelationship':
            out = {'RelationshipResourceID': last.data['RelationshipResourceID']}
        elif receipt.method in associations.ADDING:
            out = {'MigrationID': last.data['MigrationID']}
        elif last.type == 'EncryptDecryptKeyGiven':
            out = keys.answer_out(last, shard, site_key)
        elif last.type == 'PolicyChanged':
            out = {'Revision': last.data['Revision']}
        # READING: whoever replaces a device names no source.
        if receipt.method != 'ReplaceDevice' and any(deprecated_source(event) for event in events):
            status = extended_status(receipt.method, 'SourceId', 0)
    return {'Command': receipt.type, 'ReturnValue': value, 'Outcome': outcome, 'Shard': shard,
            'Sequence': last.sequence, 'Version': version, 'EventCount': len(events),
            'Events': [{'Sequence': event.sequence, 'Type': 'kinlog.%s.v1' % event.type}
                       for event in events[:ANSWER_EVENTS_MAX]],
            'Out': out, 'ExtendedStatus': status}


class Hints:
    """What the other side chose where it is free. This one leaves all at the defaults."""

    def description(self, shard, sequence, member):
        """The free text of an event: of ExtendedStatus.Description or of Reason."""
        return ''


# ---- one shard -------------------------------------------------------------------------

class Relationship:
    def __init__(self, data, version):
        self.id, self.device, self.user = (data['RelationshipResourceID'], data['ResourceID'],
                                           data['UniqueUserName'])
        self.created, self.sources = data['CreationTime'], list(data['Sources'])
        self.types, self.version = list(data['Types'] or []), version
        self.folded = fold_user_name(self.user)
        self.pending = False


class Device:
    def __init__(self, data, version):
        self.data, self.version = dict(data), version


class Policy:
    def __init__(self, data, version):
        self.data, self.version = dict(data), version


POLICY_DEFAULTS = {'devices.unknown': 'refuse', 'core.rules': '1', 'approval.sources': '',
                   'requests.timeout': '30', 'keys.recipients': '', **usage.POLICY_DEFAULTS}


def is_source_list(value):
    sources = value.split(',')
    return value == '' or (all(re.fullmatch('[1-9]', source) for source in sources)
                           and len(set(sources)) == len(sources))


# READING: a number of seconds is written in one way only, without leading zeros.
POLICY_FITS = {'devices.unknown': ('refuse', 'stub').__contains__, 'core.rules': '1'.__eq__,
               'approval.sources': is_source_list, 'keys.recipients': keys.Recipients().__contains__,
               'requests.timeout': [str(seconds) for seconds in range(1, 3601)].__contains__, **usage.POLICY_FITS}


class Shard(associations.Associations, replacements.Replacements, conversations.Conversations, usage.Use,
            keys.Keys):
    def __init__(self, site, number):
        self.site, self.number = site, number
        self.events, self.answers, self.forwards = [], [], []
        self.dead_letters, self.commands = [], []
        self.receipts = {}       # (source, id) -> {content hash: Receipt}, the original first
        self.devices = {}        # ResourceID -> Device
        self.relationships = {}  # RelationshipResourceID -> Relationship
        self.pairs = {}          # (ResourceID, folded name) -> Relationship
        self.created = {}        # slot -> how many relationships were ever created there
        self.usage = {}          # (ResourceID, folded name) -> usage.UseOfDevice
        self.policies = {}       # name -> Policy
        self.associations = {}   # (source, restore) -> Association
        self.requests = {}       # id -> Request, of this shard to others
        self.references = set()  # (ResourceID, id of the request), to devices of this shard
        self.adoptions = {}      # those of them that take over: -> [taken, how many there are]
        self.released_early = set()  # the same, where the release came first
        self.concluded_now = []  # requests that the command at hand has concluded
        self.revision = 0
        self.core_time = 0
        self.position = site.start_offset - 1  # offset of the record of the last event
        log, name = site.log_id.encode(), site.site.encode()
        # READING: the log id's 32 characters are hashed, not the 16 bytes that they stand for.
        self.chain = hashlib.sha256(struct.pack('>I', len(log)) + log + struct.pack('>I', len(name))
                                    + name + struct.pack('>II', number, site.shard_count)).digest()
        self.log_started()

    # -- events --------------------------------------------------------------------------

    def append(self, event_type, key, subject, data, time_ms, more):
        """Adds one event to the log; more: its remaining headers."""
        sequence = len(self.events) + 1
        attributes = {'ce_specversion': '1.0', 'content-type': 'application/json',
                      'ce_id': '%d-%d' % (self.number, sequence), 'ce_source': self.site.source,
                      'ce_type': 'kinlog.%s.v1' % event_type, 'ce_time': rfc3339(time_ms)}
        if subject is not None:
            attributes['ce_subject'] = subject
        attributes.update((name, value) for name, value in more.items() if value is not None)
        hint = self.site.hints.description
        if 'Reason' in data and event_type == 'RecordDeadLettered':
            data['Reason'] = hint(self.number, sequence, 'Reason')
        for described in (data, data.get('ExtendedStatus') or {}):
            if described.get('Description') == '':
                described['Description'] = hint(self.number, sequence, 'Description')
        event = Event(sequence, event_type, key, attributes, data)
        self.chain = event.seal(self.chain)
        self.events.append(event)
        self.apply(event)
        return event

    def log_started(self):
        site = self.site
        data = {'Log': site.log_id, 'Site': site.site, 'Shard': self.number,
                'Shards': site.shard_count, 'StartOffset': site.start_offset,
                'SiteKeyFingerprint': site.fingerprint, 'Rules': RULES}
        self.append('LogStarted', None, None, data, 0, {})

    def append_bare(self, event_type, data, record, now):
        """An event about a record rather than of a command."""
        self.core_time, self.position = now, record.offset
        self.append(event_type, None, None, data, now, {'ce_command': '%d;1/1;-;-' % record.offset})

    def append_all(self, command, record, now, content, drafts):
        """The events of one command, and its receipt. drafts: (type, key, subject, data)."""
        attributes = command.attributes

        def unless(value, default):
            return value if value != default else None

        reply_to = attributes['replyto']
        if reply_to != '-' and reply_to not in self.site.reply_allow:
            reply_to = None
        reply_to = reply_to or self.site.replies
        self.core_time, self.position = now, record.offset
        events = []
        for index, (event_type, key, subject, data) in enumerate(drafts, 1):
            more = {'ce_causationid': command.id, 'ce_causationsource': command.source,
                    'ce_command': '%d;%d/%d;%s;%s' % (record.offset, index, len(drafts), content,
                                                      command.type),
                    'ce_actor': unless(attributes['actor'], command.source),
                    'ce_correlationid': unless(attributes['correlationid'], command.id),
                    'ce_replyto': unless(reply_to, self.site.replies),
                    'ce_traceparent': attributes['traceparent'],
                    'ce_tracestate': attributes['tracestate']}
            events.append(self.append(event_type, key or self.own_key(record), subject, data, now, more))
        receipt = Receipt(command, record.offset, reply_to, events)
        self.receipts.setdefault((command.source, command.id), {})[content] = receipt
        if events[-1].type in ASKING:
            data = events[-1].data
            self.requests[data.get('MigrationID') or data['Request']].receipt = receipt
        self.answer(receipt, record.header('kinlog_forwarded'), repeated=False)
        for request in self.concluded_now:
            self.answer(request.receipt, None, repeated=False)
        self.concluded_now = []
        self.send(events)

    def answer(self, receipt, forwarded, repeated):
        """forwarded: the header of this delivery; one of a command that waited is long past."""
        if receipt.reply_to == '-' or receipt.waits():
            return
        last = receipt.all_events()[-1]
        headers = [('ce_specversion', '1.0'), ('content-type', 'application/json'),
                   ('ce_id', '%d-%d' % (self.number, receipt.offset)), ('ce_source', self.site.source),
                   ('ce_type', 'kinlog.Answer.v1'), ('ce_time', last.attributes['ce_time']),
                   ('ce_causationid', receipt.id), ('ce_causationsource', receipt.source),
                   ('ce_correlationid', receipt.correlation)]
        headers += [('ce_' + name, value) for name, value in receipt.traces]
        # READING: a forged one that no agent would write (long, or with what is not visible) stays out.
        if re.fullmatch(b'[!-~]{1,64}', forwarded or b''):
            headers.append(('kinlog_forwarded', forwarded.decode('ascii')))
        if repeated:
            headers.append(('ce_repeated', 'true'))
        self.answers.append({'shard': self.number, 'topic': receipt.reply_to, 'partition': self.number,
                             'key': last.key, 'headers': headers,
                             'value': answer_value(receipt, self.number, self.site.site_key)})

    # -- one record ----------------------------------------------------------------------

    def handle(self, record):
        # READING: "previous" core time is that of the last event. What left no event left no time
        # either, else it could not be known again from the log.
        now = max(self.core_time, record.timestamp_ms)
        before = len(self.events)
        try:
            self.handle_command(decode(record), record, now)
        except Undecodable:
            self.dead_letter(record, now)
        if len(self.events) == before:
            # READING: counted from the offset and time of the last event in the log; LogStarted
            # stands at the offset before StartOffset, its 1970 is no time to count from.
            if (record.offset - self.position > RECORDS_WITHOUT_EVENT
                    or 0 < self.core_time < now - HOUR_MS):
                self.append_bare('PositionAdvanced', {'Offset': record.offset}, record, now)

    def dead_letter(self, record, now):
        digest = hashlib.sha256(record.value or b'').hexdigest()
        topic = self.site.prefix + '.commands'
        data = {'Topic': topic, 'Partition': record.partition, 'Offset': record.offset,
                'Sha256': digest, 'Reason': ''}
        self.append_bare('RecordDeadLettered', data, record, now)
        more = [('kinlog_reason', data['Reason']), ('kinlog_topic', topic),
                ('kinlog_partition', str(record.partition)), ('kinlog_offset', str(record.offset)),
                ('kinlog_sha256', digest)]
        self.dead_letters.append({'from': record.partition, 'offset': record.offset,
                                  'headers': record.headers + [(n, v.encode()) for n, v in more]})

    def handle_command(self, command, record, now):
        content = command.content_hash(self.site.site_key)
        # READING: ids are compared within the shard that the command belongs to, so what is fit to be
        # decided elsewhere goes there before its id is looked up; what is to be refused is looked up
        # where it lies.
        misplaced = self.misplaced(command, record)
        if misplaced is not None and record.header('kinlog_forwarded') is None:
            self.forward(record, misplaced)
            return
        known = self.receipts.get((command.source, command.id))
        if known and content in known:
            self.answer(known[content], record.header('kinlog_forwarded'), repeated=True)
            if command.method in conversations.SAID_AGAIN:
                # what concludes a request is another command's
                self.send([event for event in known[content].events if event.type != 'RequestRefused'])
            return
        try:
            outcome = 'conflict' if known else 'refused'
            if known:
                raise Rejected(OTHER_FAILURE, None)
            self.check_envelope(command, record)
            if misplaced is not None:
                raise Rejected(OTHER_FAILURE, None)
            drafts = self.decide(command, record, now)
            if drafts is None:
                return
        except Rejected as rejected:
            key, subject, version = self.aggregate(command)
            data = {'Command': command.type, 'Outcome': outcome, 'ReturnValue': rejected.value,
                    'Version': version,
                    'ExtendedStatus': extended_status(command.method, rejected.parameter,
                                                      rejected.value)}
            drafts = [('CommandRejected', key, subject, data)]
        except Unchanged:
            drafts = [self.unchanged(command)]
        self.append_all(command, record, now, content, drafts)

    def check_envelope(self, command, record):
        """READING: attributes go before the limit of key and headers, so that one that is far too long
        is named."""
        if command.fault:
            raise Rejected(INVALID_PARAMETER, command.fault)
        size = len(record.key or b'')
        size += sum(len(name.encode('utf-8')) + len(value or b'') for name, value in record.headers)
        if size > HEADERS_MAX:
            raise Rejected(INVALID_PARAMETER, None)
        if command.method is None:
            # READING: no parameter is named.
            raise Rejected(NOT_SUPPORTED, None)
        if command.values is None:
            raise Rejected(INVALID_PARAMETER, command.data_fault)

    def misplaced(self, command, record):
        """The other shard that a command belongs to which is not to be refused here; else None."""
        try:
            self.check_envelope(command, record)
        except Rejected:
            return None
        target = self.shard_of(command)
        return target if target != self.number else None

    def forward(self, record, target):
        mark = ('%d-%d' % (record.partition, record.offset)).encode()
        headers = record.headers + [('kinlog_forwarded', mark)]
        self.forwards.append({'from': record.partition, 'offset': record.offset, 'to': target,
                              'headers': headers})
        self.site.append(target, record.timestamp_ms, record.key, record.value, headers)

    def send(self, events):
        """What the events tell other shards."""
        for event in events:
            for shard, key, method, identity, data, answered in self.follow_ups(event):
                headers = [('ce_id', identity), ('ce_source', self.site.source),
                           ('ce_type', 'kinlog.%s.v1' % method)] + ([] if answered else [('ce_replyto', '-')])
                self.commands.append({'from': self.number, 'to': shard, 'key': key, 'value': data.encode(),
                                      'headers': [(name, value.encode()) for name, value in headers]})

    # -- who is meant --------------------------------------------------------------------

    def shard_of(self, command):
        """Judged from the parameters alone."""
        values = command.values
        if command.method in ('AdoptPolicy', 'Tick'):
            return self.number
        if command.method in conversations.TO_OBJECT:
            slot = slot_of_key(values['Object'].encode())
        elif command.method in conversations.COMMANDS:
            slot = conversations.asking_shard(values['Request'])
        elif 'MigrationID' in values:
            slot = conversations.asking_shard(values['MigrationID'])
        elif command.method in associations.COMMANDS:
            slot = slot_of_key(b'device:%d' % values['SourceClientResourceID'])
        elif command.method == 'SetPolicy':
            slot = slot_of_key(b'policy')
        elif command.method in INSTANCE_METHODS and 'RelationshipResourceID' in values:
            slot = (values['RelationshipResourceID'] - 1) % SLOTS
        else:
            slot = slot_of_key(b'device:%d' % values.get('MachineResourceId', values.get('ResourceID')))
        return slot % self.site.shard_count

    def find(self, values):
        """The relationship that an instance method means, or Rejected.
        READING: besides RelationshipResourceID, each of the others that is given must agree."""
        number, device, user = (values.get(name) for name in ('RelationshipResourceID', 'ResourceID',
                                                               'UniqueUserName'))
        if number is None:
            if device not in self.devices:
                raise Rejected(NOT_FOUND, 'ResourceID')
            row = self.pairs.get((device, fold_user_name(user)))
            if row is None:
                raise Rejected(NOT_FOUND, 'UniqueUserName')
            return row
        row = self.relationships.get(number)
        if (row is None or device not in (None, row.device)
                or (user is not None and fold_user_name(user) != row.folded)):
            raise Rejected(NOT_FOUND, 'RelationshipResourceID')
        return row

    def aggregate(self, command):
        """(key, subject, present version) of what a refused or idle command is about.

        READING: a relationship that does not exist leaves its device as the subject, without version.
        The subject of an unknown policy name is absent: the name is the sender's text."""
        values, method = command.values, command.method
        if values is None or method == 'Tick':
            return None, None, None
        if method in ('SetPolicy', 'AdoptPolicy'):
            name = values['Name']
            policy = self.policies.get(name)
            return ('policy', 'policy/' + name if name in POLICY_DEFAULTS else None,
                    policy.version if policy else None)
        if method in ('RegisterDevice', 'RemoveDevice', 'ReplaceDevice'):
            device = self.devices.get(values['ResourceID'])
            number = values['ResourceID']
            return 'device:%d' % number, 'device/%d' % number, device.version if device else None
        if method in associations.COMMANDS:
            return self.association_place(method, values)
        if method in conversations.COMMANDS:
            return self.conversation_place(method, values)
        if method == 'ReportUsage':
            return self.usage_place(values)
        row = self.meant(method, values)
        if row is not None:
            return self.place(row) + (row.version,)
        number = values.get('MachineResourceId', values.get('ResourceID'))
        if number is not None:
            return 'device:%d' % number, 'device/%d' % number, None
        return None, None, None

    def meant(self, method, values):
        """The relationship of a command that may be refused, or None."""
        if method == 'CreateRelationship':
            return self.pairs.get((values['MachineResourceId'], fold_user_name(values['UserAccountName'])))
        try:
            return self.find(values)
        except Rejected:
            return None

    @staticmethod
    def own_key(record):
        """The record's, where nothing else says a key. READING: device:<number> without leading zeros,
        1 to 2^32-1."""
        key = record.key or b''
        match = re.fullmatch(rb'device:([1-9][0-9]{0,9})', key)
        if key == b'policy' or (match and int(match[1]) <= UINT32_MAX):
            return key.decode()
        return None

    @staticmethod
    def place(row):
        """(key, subject) of a relationship."""
        return 'device:%d' % row.device, 'device/%d/relationship/%d' % (row.device, row.id)

    # -- decisions -----------------------------------------------------------------------

    def decide(self, command, record, now):
        """Drafts of events; None for a Tick with nothing due; Rejected or Unchanged."""
        attributes, values, method = command.attributes, command.values, command.method
        expiry = attributes['expirytime']
        if expiry is not None and record.timestamp_ms > expiry:
            raise Rejected(OTHER_FAILURE, 'expirytime')
        epoch = record.header('kinlog_epoch')
        if method in AGENTS_ONLY and (command.source != self.site.source or not epoch):
            raise Rejected(ACCESS_DENIED, None)
        if method == 'Tick':
            if epoch.decode('utf-8', 'replace') != OWNER_EPOCH:
                raise Rejected(ACCESS_DENIED, None)
            return self.due_timers(record.timestamp_ms, now) or None
        if method in conversations.TO_OBJECT:
            self.check_asking(values['Request'])
        elif method in associations.COMMANDS:
            self.check_devices(method, values)
        elif method in INSTANCE_METHODS:
            self.find(values)
        elif method == 'CreateRelationship':
            self.check_device(values, 'MachineResourceId')
        elif method == 'ReportUsage':
            self.check_device(values, 'ResourceID')
            self.check_start(values, record.timestamp_ms)
        elif method == 'RemoveDevice':
            if values['ResourceID'] not in self.devices:
                raise Rejected(NOT_FOUND, 'ResourceID')
        elif method == 'ReplaceDevice':
            self.check_replaced(values)
        elif method in ('SetPolicy', 'AdoptPolicy'):
            # READING: names and values of policies are things referred to, before expectedversion.
            if values['Name'] not in POLICY_FITS:
                raise Rejected(INVALID_PARAMETER, 'Name')
            if not POLICY_FITS[values['Name']](values['Value']):
                raise Rejected(INVALID_PARAMETER, 'Value')
        expected = attributes['expectedversion']
        if expected is not None and expected != (self.aggregate(command)[2] or 0):
            raise Rejected(STALE_VERSION, 'expectedversion')
        decision = re.sub('(?<!^)([A-Z])', r'_\1', method).lower()  # AddSource: add_source
        return getattr(self, decision)(values, now)

    def due_timers(self, record_time, now):
        """Drafts of a Tick, whose own time counts. READING: the earliest first, then by name."""
        due = sorted(self.due_requests(record_time) + self.due_usage(record_time, now), key=lambda timer: timer[:2])
        return [draft for _, _, drafts in due[:TIMERS_PER_TICK] for draft in drafts()]

    def check_device(self, values, parameter):
        if values[parameter] not in self.devices and self.policy('devices.unknown') != 'stub':
            raise Rejected(NOT_FOUND, parameter)

    def policy(self, name):
        return self.policies[name].data['Value'] if name in self.policies else POLICY_DEFAULTS[name]

    def unchanged(self, command):
        key, subject, version = self.aggregate(command)
        values, out, status = command.values, {}, None
        if command.method == 'CreateRelationship':
            out = {'RelationshipResourceID': self.meant(command.method, values).id}
        elif command.method in ('SetPolicy', 'AdoptPolicy'):
            # READING: the shard's present revision over all names, 0 before the first.
            out = {'Revision': self.revision}
        elif command.method in associations.ADDING:
            pair = values['SourceClientResourceID'], values['RestoreClientResourceID']
            out = {'MigrationID': self.associations[pair].id}
        if 3 in values.get('SourceId', ()):
            status = extended_status(command.method, 'SourceId', 0)
        return ('CommandUnchanged', key, subject, {'Command': command.type, 'Out': out,
                                                   'Version': version, 'ExtendedStatus': status})

    def set_events(self, row, kind, add, remove):
        """Drafts of SourceAdded/SourceRemoved (kind Source) or TypeAdded/TypeRemoved, left to right."""
        key, subject = self.place(row)
        members = list(row.sources if kind == 'Source' else row.types)
        drafts = []
        for verb, wanted in (('Added', add), ('Removed', remove)):
            for value in wanted:
                if (value in members) == (verb == 'Added'):
                    continue
                if verb == 'Added':
                    members.append(value)
                else:
                    members.remove(value)
                drafts.append((kind + verb, key, subject, {
                    'RelationshipResourceID': row.id, 'ResourceID': row.device,
                    'UniqueUserName': row.user, kind + 'Id': value, kind + 's': or_null(members)}))
        return drafts

    def deleted(self, row, reason):
        return ('RelationshipDeleted', *self.place(row), {
            'RelationshipResourceID': row.id, 'ResourceID': row.device, 'UniqueUserName': row.user,
            'Reason': reason})

    def create_relationship(self, values, now):
        drafts = self.vouch(values['MachineResourceId'], values['UserAccountName'], values['SourceId'],
                            values.get('TypeId', []), now)
        if not drafts:
            raise Unchanged
        return drafts

    def vouch(self, number, user, sources, types, now):
        """Drafts by which all the sources vouch for a relationship, with these types.

        READING: sources that all wait for approval give nobody a type, in a relationship that exists
        already neither; only a new one waits."""
        sources, types = list(dict.fromkeys(sources)), list(dict.fromkeys(types))
        waits = set(map(str, sources)) <= set(self.policy('approval.sources').split(','))
        if waits:
            types = []
        row = self.pairs.get((number, fold_user_name(user)))
        if row is not None:
            return self.set_events(row, 'Source', sources, []) + self.set_events(row, 'Type', types, [])
        key, drafts = 'device:%d' % number, []
        slot = slot_of_key(key.encode())
        identity = self.created.get(slot, 0) * SLOTS + slot + 1
        if identity > UINT32_MAX:
            raise Rejected(OTHER_FAILURE, None)
        if number in self.devices:
            device = self.devices[number].data
        else:
            drafts += self.stubs(number)
            device = drafts[0][3]
        drafts.append(('RelationshipCreated', key, 'device/%d/relationship/%d' % (number, identity), {
            'ResourceID': number, 'UniqueUserName': user, 'RelationshipResourceID': identity,
            'ResourceName': device['Name'], 'ResourceClientType': device['ClientType'],
            'CreationTime': cim_datetime(now), 'IsActive': True, 'Sources': sources,
            'Types': or_null(types)}))
        if waits:
            drafts.append(('ApprovalRequested', *drafts[-1][1:3], {
                'RelationshipResourceID': identity, 'ResourceID': number, 'UniqueUserName': user}))
        return drafts

    def changed_set(self, values, kind, adding):
        row, wanted = self.find(values), values[kind + 'Id']
        drafts = self.set_events(row, kind, wanted if adding else [], [] if adding else wanted)
        if not drafts:
            raise Unchanged
        return row, drafts

    def add_source(self, values, now):
        return self.changed_set(values, 'Source', True)[1]

    def add_type(self, values, now):
        return self.changed_set(values, 'Type', True)[1]

    def remove_type(self, values, now):
        return self.changed_set(values, 'Type', False)[1]

    def remove_source(self, values, now):
        row, drafts = self.changed_set(values, 'Source', False)
        return self.with_end(row, drafts)

    def with_end(self, row, drafts):
        """After SourceRemoved: the relationship ends with its last source."""
        if drafts and drafts[-1][3]['Sources'] is None:
            return drafts + [self.deleted(row, 'last_source')]
        return drafts

    def delete_relationship(self, values, now):
        return [self.deleted(self.find(values), 'explicit')]

    def approve_relationship(self, values, now):
        row = self.find(values)
        if row.pending:
            return self.set_events(row, 'Type', [usage.PRIMARY], [])
        if usage.PRIMARY in row.types:
            raise Unchanged
        raise Rejected(OTHER_FAILURE, None)

    def deny_relationship(self, values, now):
        row = self.find(values)
        if not row.pending:
            raise Rejected(OTHER_FAILURE, None)
        return [self.deleted(row, 'denied')]

    def register_device(self, values, now):
        number = values['ResourceID']
        data = {'ResourceID': number, 'Name': values['Name'], 'ClientType': values.get('ClientType', 1),
                'MACAddresses': or_null(values.get('MACAddresses')), 'Domain': values.get('Domain')}
        old = self.devices.get(number)
        if old is not None and old.data == data:
            raise Unchanged
        return [('DeviceChanged' if old else 'DeviceRegistered', 'device:%d' % number,
                 'device/%d' % number, data)]

    def remove_device(self, values, now):
        number = values['ResourceID']
        if self.being_replaced(number) or self.takes_over(number):
            raise Rejected(OTHER_FAILURE, 'ResourceID')
        rows = [row for row in self.relationships.values() if row.device == number]
        drafts = [self.deleted(row, 'device_removed') for row in sorted(rows, key=lambda r: r.folded)]
        drafts += self.associations_of_removed(number, values.get('Force', False))
        return drafts + [('DeviceRemoved', 'device:%d' % number, 'device/%d' % number,
                          {'ResourceID': number})]

    def policy_changed(self, values, revision):
        return [('PolicyChanged', 'policy', 'policy/' + values['Name'],
                 {'Name': values['Name'], 'Value': values['Value'], 'Revision': revision})]

    def set_policy(self, values, now):
        if self.policy(values['Name']) == values['Value']:
            raise Unchanged
        return self.policy_changed(values, self.revision + 1)

    def adopt_policy(self, values, now):
        if values['Revision'] <= self.revision:
            raise Unchanged
        return self.policy_changed(values, values['Revision'])

    # -- views ---------------------------------------------------------------------------

    def apply(self, event):
        data, version = event.data, event.sequence
        if event.type in ('DeviceRegistered', 'DeviceChanged'):
            self.devices[data['ResourceID']] = Device(data, version)
        elif event.type == 'DeviceRemoved':
            del self.devices[data['ResourceID']]
            self.forget_usage(data['ResourceID'])
        elif event.type in ('UsageReported', 'UsageEvaluated'):
            self.apply_usage(event)
        elif event.type == 'ApprovalRequested':
            row = self.relationships[data['RelationshipResourceID']]
            row.pending, row.version = True, version
        elif event.type == 'RelationshipCreated':
            row = Relationship(data, version)
            self.relationships[row.id] = self.pairs[row.device, row.folded] = row
            slot = (row.id - 1) % SLOTS
            self.created[slot] = self.created.get(slot, 0) + 1
        elif event.type in ('RelationshipDeleted', 'RelationshipMoved'):
            row = self.relationships.pop(data['RelationshipResourceID'])
            del self.pairs[row.device, row.folded]
        elif event.type in ('SourceAdded', 'SourceRemoved', 'TypeAdded', 'TypeRemoved'):
            row = self.relationships[data['RelationshipResourceID']]
            row.version = version
            if 'Sources' in data:
                row.sources = list(data['Sources'] or [])
            else:
                row.types = list(data['Types'] or [])
                row.pending = row.pending and not row.types
        elif event.type == 'PolicyChanged':
            self.policies[data['Name']] = Policy(data, version)
            self.revision = data['Revision']
        self.apply_association(event.type, data, version)
        self.apply_replacement(event)
        concluded = self.apply_conversation(event)
        if concluded is not None:
            self.concluded_now.append(concluded)

    def rows(self):
        """Each view's rows, in the order of VIEWS.
        READING: ResourceName and ResourceClientType are the device's present ones."""
        relationships = []
        for row in sorted(self.relationships.values(), key=lambda r: (r.device, r.folded)):
            device = self.devices[row.device].data
            relationships.append({
                'ResourceID': row.device, 'UniqueUserName': row.user, 'RelationshipResourceID': row.id,
                'ResourceName': device['Name'], 'ResourceClientType': device['ClientType'],
                'CreationTime': row.created, 'IsActive': True, 'Sources': or_null(row.sources),
                'Types': or_null(row.types), 'Pending': row.pending, 'Version': row.version,
                'Shard': self.number})
        devices = [{**device.data, 'Version': device.version, 'Shard': self.number}
                   for _, device in sorted(self.devices.items())]
        policy = [{**policy.data, 'Version': policy.version, 'Shard': self.number}
                  for _, policy in sorted(self.policies.items())]
        pairs = [row.row(self.number) for _, row in sorted(self.associations.items())]
        return (relationships, devices, policy, pairs, self.reference_rows(), self.request_rows(),
                self.usage_rows())


# ---- all shards ------------------------------------------------------------------------

VIEWS = ('relationships', 'devices', 'policy', 'associations', 'references', 'requests', 'usage')


OWNER_EPOCH = '1;' + '0' * 32


def headers_between(command):
    """The headers of a record that brings one of Shard.commands to its shard."""
    return [('ce_specversion', b'1.0'), *command['headers'], ('kinlog_epoch', OWNER_EPOCH.encode())]


class Site:
    """site_key: 32 bytes. reply_allow: topics that replyto may name. The owner of every shard has the
    kinlog_epoch OWNER_EPOCH."""

    def __init__(self, log_id, site, site_key, shards, prefix='kinlog', reply_allow=(), start_offset=0,
                 hints=None):
        self.log_id, self.site, self.site_key = log_id, site, site_key
        self.shard_count, self.prefix, self.reply_allow = shards, prefix, tuple(reply_allow)
        self.start_offset, self.hints = start_offset, hints or Hints()
        self.source = '/kinlog/%s/%s' % (site, log_id)
        self.replies = prefix + '.replies'
        digest = hashlib.sha256(b'kinlog site key\0' + site_key).digest()
        self.fingerprint = base64url(digest[:16])
        self.shards = [Shard(self, number) for number in range(shards)]
        self.queues = [[] for _ in range(shards)]
        self.next_offsets = [start_offset] * shards

    def append(self, partition, timestamp_ms, key, value, headers, gap=0):
        """Puts a record at the end of a partition, gap offsets after the last; returns its offset."""
        offset = self.next_offsets[partition] + gap
        self.queues[partition].append(Record(partition, offset, timestamp_ms, key, value, headers))
        self.next_offsets[partition] = offset + 1
        return offset

    def run(self):
        """Every shard in turn handles all it has, round after round until nothing is left."""
        while any(self.queues):
            for shard, queue in zip(self.shards, self.queues):
                while queue:
                    shard.handle(queue.pop(0))

    def views(self):
        rows = [shard.rows() for shard in self.shards]
        return {name: [row for shard in rows for row in shard[index]]
                for index, name in enumerate(VIEWS)}
