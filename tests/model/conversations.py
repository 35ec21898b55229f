# conversations.py - what shards ask of each other, in the model: request, confirm or refuse, release.
#
# The asking shard keeps requests, the one that has the object keeps references to it. All that travels
# between them is commands, and those of this model go nowhere by themselves: follow_ups() tells what is
# to be sent, and the stream brings it, once, twice, late or never.
#
# SPDX-License-Identifier: Apache-2.0
import re

import kinlog_json
from associations import device_place, migration_id, pair_place
from kinlog_parts import (ACCESS_DENIED, NOT_FOUND, OTHER_FAILURE, UINT32_MAX, Rejected, Unchanged,
                          extended_status, integer_between, one_of, parse_rfc3339, slot_of_key, text_between)

TIMED_OUT = 3
DUE_MAX = 100
FAULTY_SIDE = 'RestoreClientResourceID'


def object_key(node):
    """device:<ResourceID>, the only kind of object so far."""
    text = text_between(8, 255)(node)
    match = re.fullmatch('device:([1-9][0-9]{0,9})', text, re.ASCII)
    if not match or int(match[1]) > UINT32_MAX:
        raise ValueError
    return text


BOTH = [('Request', migration_id, True), ('Object', object_key, True)]
COMMANDS = {
    'RequestReference': [BOTH[0], ('Kind', one_of('association'), True), BOTH[1]],
    'ConfirmReference': BOTH,
    'RefuseReference': BOTH + [('ReturnValue', integer_between(-2 ** 31, 2 ** 31 - 1), True),
                               ('Description', text_between(1, 1024), True)],
    'ReleaseReference': BOTH,
    'EndReference': BOTH,
}
TO_OBJECT = ('RequestReference', 'ReleaseReference')


def number_of(key):
    return int(key.partition(':')[2])


def asking_shard(request):
    return int(request.partition('-')[0])


def position(request):
    """What requests are ordered by: (shard, sequence)."""
    return tuple(int(part) for part in request.split('-'))


class Request:
    """What this shard asked. outcome: None as long as it waits, then 'added' or 'refused'."""

    def __init__(self, event):
        data = event.data
        self.id, self.object = data['MigrationID'], data['Object']
        self.source, self.restore = data['SourceClientResourceID'], data['RestoreClientResourceID']
        self.added = {name: value for name, value in data.items() if name not in ('Object', 'TimeoutSeconds')}
        self.command = event.attributes['ce_command'].split(';')[3]
        self.due = parse_rfc3339(event.attributes['ce_time']) + 1000 * data['TimeoutSeconds']
        self.outcome = None
        self.receipt = None  # of the command that asked; whoever makes it puts it here


class Conversations:
    """The part of a Shard that asks and answers other shards. self.requests: id -> Request;
    self.references: (ResourceID, id of the request); self.released_early: the same, of releases that came
    before their requests. READING: "released before" means these, until the request comes; what was held
    and is over has a receipt, since the id of a RequestReference is its request's."""

    def next_request(self):
        """The id of a request or association that the command at hand will make."""
        return '%d-%d' % (self.number, len(self.events) + 1)

    def is_here(self, number):
        return self.home_of(number) == self.number

    def home_of(self, number):
        return slot_of_key(b'device:%d' % number) % self.site.shard_count

    def asked_here(self, request):
        return asking_shard(request) == self.number

    def references_to(self, number):
        """Requests that hold on to a device. READING: key order is that of (shard, sequence)."""
        return sorted((request for device, request in self.references if device == number), key=position)

    # -- drafts --------------------------------------------------------------------------

    @staticmethod
    def reference_added(request, number):
        return 'ReferenceAdded', *device_place(number), {
            'Request': request, 'Kind': 'association', 'Object': 'device:%d' % number}

    @staticmethod
    def reference_over(event_type, request, number):
        return event_type, *device_place(number), {'Request': request, 'Object': 'device:%d' % number}

    @staticmethod
    def request_refused(request, value, status, reason, description=''):
        operation = request.command.split('.')[1]
        return 'RequestRefused', *pair_place(request.source, request.restore), {
            'Request': request.id, 'Object': request.object, 'Command': request.command, 'ReturnValue': value,
            'Version': None, 'ExtendedStatus': {**extended_status(operation, FAULTY_SIDE, status),
                                                'Description': description}, 'Reason': reason}

    # -- decisions of the shard that has the object --------------------------------------

    def check_asking(self, request):
        """READING: no agent lets a shard ask itself, or one that the log does not have ask anything, so
        whoever does is no agent."""
        if asking_shard(request) == self.number or asking_shard(request) >= self.site.shard_count:
            raise Rejected(ACCESS_DENIED, None)

    def request_reference(self, values, now):
        request, number = values['Request'], number_of(values['Object'])
        if (number, request) in self.references:
            raise Unchanged
        if (number, request) in self.released_early:
            return [self.reference_refused(values, OTHER_FAILURE)]
        if number not in self.devices and self.policy('devices.unknown') != 'stub':
            return [self.reference_refused(values, NOT_FOUND)]
        return self.stubs(number) + [self.reference_added(request, number)]

    @staticmethod
    def reference_refused(values, value):
        return 'ReferenceRefused', *device_place(number_of(values['Object'])), {
            'Request': values['Request'], 'Object': values['Object'], 'ReturnValue': value, 'Description': ''}

    def release_reference(self, values, now):
        request, number = values['Request'], number_of(values['Object'])
        if (number, request) not in self.references and (
                (self.site.source, request) in self.receipts or (number, request) in self.released_early):
            raise Unchanged
        return [self.reference_over('ReferenceReleased', request, number)]

    # -- decisions of the shard that asked -----------------------------------------------

    def confirm_reference(self, values, now):
        request = self.requests.get(values['Request'])
        if request is None or request.outcome == 'refused':
            return [('ReferenceUnwanted', None, None, dict(values))]
        if request.outcome == 'added':
            raise Unchanged
        return [('AssociationAdded', *pair_place(request.source, request.restore), dict(request.added))]

    def refuse_reference(self, values, now):
        request = self.waiting(values['Request'])
        if request is None:
            raise Unchanged
        return [self.request_refused(request, values['ReturnValue'], values['ReturnValue'], 'refused',
                                     values['Description'])]

    def end_reference(self, values, now):
        request = self.waiting(values['Request'])
        if request is not None:
            return [self.request_refused(request, NOT_FOUND, NOT_FOUND, 'ended')]
        row = self.asked_for(values['Request'])
        if row is None:
            raise Unchanged
        return [self.about(row, 'AssociationDeleted', Reason='restore_removed')]

    def asked_for(self, identity):
        """READING: only an association that another shard was asked for is what such commands can mean."""
        return self.with_id(identity) if identity in self.requests else None

    def waiting(self, identity):
        request = self.requests.get(identity)
        return request if request is not None and request.outcome is None else None

    def due_requests(self, record_time):
        """Drafts of a Tick: its record's own time counts. READING: earliest first, then by sequence."""
        due = [request for request in self.requests.values()
               if request.outcome is None and request.due <= record_time]
        due.sort(key=lambda request: (request.due, position(request.id)))
        return [self.request_refused(request, OTHER_FAILURE, TIMED_OUT, 'timeout')
                for request in due[:DUE_MAX]]

    # -- what such a command is about ----------------------------------------------------

    def conversation_place(self, method, values):
        """(key, subject, version); (None, None, None) if nothing is known here. READING: the shard of the
        object names the object, known or not; a reference is no part of the device, whose version stays."""
        number, identity = number_of(values['Object']), values['Request']
        if method in TO_OBJECT:
            return device_place(number) + (None,)
        row = self.asked_for(identity)
        return (None, None, None) if row is None else pair_place(row.source, row.restore) + (row.version,)

    # -- what is to be sent to other shards ----------------------------------------------

    def follow_ups(self, event):
        """Commands that an event asks for: (shard, key, method, id, data as text, is it answered)."""
        data, sequence_id = event.data, event.attributes['ce_id']
        asked_by = event.attributes.get('ce_command', ';;;').split(';')[3]
        if event.type == 'PolicyChanged' and asked_by == 'kinlog.SetPolicy.v1':
            return [(shard, b'policy', 'AdoptPolicy', sequence_id, event.data_text(), True)
                    for shard in range(self.site.shard_count) if shard != self.number]
        if event.type == 'AssociationRequested':
            return self.told(data['Object'], 'RequestReference', data['MigrationID'], {
                'Request': data['MigrationID'], 'Kind': 'association', 'Object': data['Object']})
        both = {name: data[name] for name in ('Request', 'Object') if name in data}
        if asked_by == 'kinlog.RequestReference.v1' and event.type == 'ReferenceAdded':
            return self.told(data['Request'], 'ConfirmReference', sequence_id, both)
        if event.type == 'ReferenceRefused':
            return self.told(data['Request'], 'RefuseReference', sequence_id, {
                **both, 'ReturnValue': data['ReturnValue'], 'Description': data['Description']})
        if event.type == 'ReferenceEnded':
            return self.told(data['Request'], 'EndReference', sequence_id, both)
        if event.type == 'ReferenceUnwanted':
            return self.told(data['Object'], 'ReleaseReference', sequence_id, both)
        if event.type == 'RequestRefused' and data['Reason'] == 'timeout':
            return self.told(data['Object'], 'ReleaseReference', sequence_id, both)
        if event.type == 'AssociationDeleted' and data['Reason'] != 'restore_removed':
            key = 'device:%d' % data['RestoreClientResourceID']
            return self.told(key, 'ReleaseReference', sequence_id, {'Request': data['MigrationID'], 'Object': key})
        return []

    def told(self, whom, method, identity, data):
        """One command to the shard of an object or of a request; none to this shard itself."""
        if whom.startswith('device:'):
            shard, key = self.home_of(number_of(whom)), whom.encode()
        else:
            shard, key = asking_shard(whom) % self.site.shard_count, None
        if shard == self.number:
            return []
        return [(shard, key, method, identity, kinlog_json.dump(data), False)]

    # -- views ---------------------------------------------------------------------------

    def apply_conversation(self, event):
        """Returns the request that the event concludes, or None."""
        data = event.data
        if event.type == 'AssociationRequested':
            self.requests[data['MigrationID']] = Request(event)
        elif event.type == 'ReferenceAdded':
            self.references.add((number_of(data['Object']), data['Request']))
        elif event.type == 'ReferenceRefused':
            self.released_early.discard((number_of(data['Object']), data['Request']))
        elif event.type in ('ReferenceReleased', 'ReferenceEnded'):
            reference = number_of(data['Object']), data['Request']
            if reference in self.references:
                self.references.remove(reference)
            else:
                self.released_early.add(reference)
        elif event.type == 'AssociationAdded':
            return self.concluded(data['MigrationID'], 'added', event)
        elif event.type == 'RequestRefused':
            request = self.concluded(data['Request'], 'refused', event)
            del self.associations[request.source, request.restore]
            return request
        return None

    def concluded(self, identity, outcome, event):
        request = self.waiting(identity)
        if request is not None:
            request.outcome = outcome
            request.receipt.conclusion = event
        return request

    def reference_rows(self):
        return [{'Object': 'device:%d' % number, 'Request': request, 'Shard': self.number}
                for number, request in sorted(self.references, key=lambda r: (r[0], position(r[1])))]

    def request_rows(self):
        """Those that wait."""
        return [{'Request': request.id, 'Due': request.due, 'Shard': self.number}
                for request in sorted(self.requests.values(), key=lambda r: position(r.id))
                if request.outcome is None]
