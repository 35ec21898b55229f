# conversations.py - what shards ask of each other, in the model: request, confirm or refuse, release.
#
# The asking shard keeps requests, the one that has the object keeps references to it. All that travels
# between them is commands, and those of this model go nowhere by themselves: follow_ups() tells what is
# to be sent, and the stream brings it, once, twice, late or never.
#
# SPDX-License-Identifier: Apache-2.0
import re
import struct

import kinlog_json
from associations import device_place, migration_id, pair_place
from kinlog_parts import (ACCESS_DENIED, NOT_FOUND, OTHER_FAILURE, RESOURCE, UINT32_MAX, Rejected, Unchanged, boolean,
                          cim_datetime_text, extended_status, integer_between, list_of, one_of, parse_rfc3339,
                          slot_of_key, text_between, user_name)

TIMED_OUT = 3
FAULTY_SIDE = {'association': 'RestoreClientResourceID', 'replacement': 'NewResourceID'}


def object_key(node):
    """device:<ResourceID>, the only kind of object so far."""
    text = text_between(8, 255)(node)
    match = re.fullmatch('device:([1-9][0-9]{0,9})', text, re.ASCII)
    if not match or int(match[1]) > UINT32_MAX:
        raise ValueError
    return text


BOTH = [('Request', migration_id, True), ('Object', object_key, True)]
COMMANDS = {
    'RequestReference': [BOTH[0], ('Kind', one_of('association', 'replacement'), True), BOTH[1]],
    'ConfirmReference': BOTH,
    'RefuseReference': BOTH + [('ReturnValue', integer_between(-2 ** 31, 2 ** 31 - 1), True),
                               ('Description', text_between(1, 1024), True)],
    'ReleaseReference': BOTH,
    'EndReference': BOTH,
    'AdoptRelationship': BOTH + [('ResourceID', RESOURCE, True), ('RelationshipResourceID', RESOURCE, True),
                                 ('UniqueUserName', user_name, True), ('CreationTime', cim_datetime_text, True),
                                 ('Sources', list_of(integer_between(1, 9), 1, 9), True),
                                 ('Types', list_of(integer_between(1, 1), 1, 9), False),
                                 ('Pending', boolean, True)],
    'EndAdoption': BOTH + [('Count', integer_between(0, UINT32_MAX - 1), True)],
    'ConfirmAdoption': BOTH,
}
TO_OBJECT = ('RequestReference', 'ReleaseReference', 'AdoptRelationship', 'EndAdoption')
# What they made leave, leaves again whenever they come again.
SAID_AGAIN = ('RequestReference', 'ConfirmReference', 'AdoptRelationship', 'EndAdoption')


def number_of(key):
    return int(key.partition(':')[2])


def asking_shard(request):
    return int(request.partition('-')[0])


def position(request):
    """What requests are ordered by: (shard, sequence)."""
    return tuple(int(part) for part in request.split('-'))


class Request:
    """What this shard asked. outcome: None as long as it waits, then 'added' or 'refused', for a
    replacement (source: the old device, restore: the new one) 'granted' before it is 'added'."""

    def __init__(self, event):
        data = event.data
        self.object = data['Object']
        self.kind = 'association' if event.type == 'AssociationRequested' else 'replacement'
        if self.kind == 'association':
            self.id = data['MigrationID']
            self.source, self.restore = data['SourceClientResourceID'], data['RestoreClientResourceID']
        else:
            self.id, self.source, self.restore = data['Request'], data['ResourceID'], data['NewResourceID']
        self.added = {name: value for name, value in data.items() if name not in ('Object', 'TimeoutSeconds')}
        self.command = event.attributes['ce_command'].split(';')[3]
        self.due = parse_rfc3339(event.attributes['ce_time']) + 1000 * data['TimeoutSeconds']
        self.outcome = None
        self.place = (pair_place(self.source, self.restore) if self.kind == 'association'
                      else device_place(self.source))
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
    def reference_added(request, number, kind='association'):
        return 'ReferenceAdded', *device_place(number), {
            'Request': request, 'Kind': kind, 'Object': 'device:%d' % number}

    @staticmethod
    def reference_over(event_type, request, number):
        return event_type, *device_place(number), {'Request': request, 'Object': 'device:%d' % number}

    @staticmethod
    def request_refused(request, value, status, reason, description='', parameter=None):
        operation = request.command.split('.')[1]
        return 'RequestRefused', *request.place, {
            'Request': request.id, 'Object': request.object, 'Command': request.command, 'ReturnValue': value,
            'Version': None, 'ExtendedStatus': {**extended_status(operation, parameter or FAULTY_SIDE[request.kind], status),
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
        return self.stubs(number) + [self.reference_added(request, number, values['Kind'])]

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
        if request.outcome is not None:
            raise Unchanged
        if request.kind == 'replacement':
            if self.stands_in_the_way(request.source):
                return [self.request_refused(request, OTHER_FAILURE, OTHER_FAILURE, 'refused', parameter='ResourceID')]
            return self.give_up(request)
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
        """The timers that are due: (when, name, what makes the drafts)."""
        return [(request.due, b'request/' + struct.pack('>Q', position(request.id)[1]),
                 lambda request=request: [self.request_refused(request, OTHER_FAILURE, TIMED_OUT, 'timeout')])
                for request in self.requests.values() if request.outcome is None and request.due <= record_time]

    # -- what such a command is about ----------------------------------------------------

    def conversation_place(self, method, values):
        """(key, subject, version); (None, None, None) if nothing is known here. READING: the shard of the
        object names the object, known or not; a reference is no part of the device, whose version stays."""
        number, identity = number_of(values['Object']), values['Request']
        if method in TO_OBJECT:
            return device_place(number) + (None,)
        request = self.requests.get(identity)
        if request is not None and request.kind == 'replacement' and request.outcome in (None, 'granted'):
            device = self.devices.get(request.source)
            return request.place + (device.version if device else None,)
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
        if event.type == 'ReplacementRequested':
            return self.told(data['Object'], 'RequestReference', data['Request'], {
                'Request': data['Request'], 'Kind': 'replacement', 'Object': data['Object']})
        if event.type == 'RelationshipMoved':
            key = 'device:%d' % data['NewResourceID']
            return self.told(key, 'AdoptRelationship', sequence_id, {
                'Request': data['Request'], 'Object': key, **{name: data[name] for name in (
                    'ResourceID', 'RelationshipResourceID', 'UniqueUserName', 'CreationTime', 'Sources', 'Types',
                    'Pending')}})
        if event.type == 'DeviceReplaced':
            key = 'device:%d' % data['NewResourceID']
            return self.told(key, 'EndAdoption', sequence_id, {
                'Request': data['Request'], 'Object': key, 'Count': data['Count']})
        both = {name: data[name] for name in ('Request', 'Object') if name in data}
        if asked_by == 'kinlog.RequestReference.v1' and event.type == 'ReferenceAdded':
            return self.told(data['Request'], 'ConfirmReference', sequence_id, both)
        if event.type == 'ReferenceReleased' and asked_by in ('kinlog.AdoptRelationship.v1', 'kinlog.EndAdoption.v1'):
            return self.told(data['Request'], 'ConfirmAdoption', sequence_id, both)
        if event.type == 'ReferenceRefused':
            return self.told(data['Request'], 'RefuseReference', sequence_id, {
                **both, 'ReturnValue': data['ReturnValue'], 'Description': data['Description']})
        if event.type == 'ReferenceEnded':
            return self.told(data['Request'], 'EndReference', sequence_id, both)
        if event.type == 'ReferenceUnwanted':
            return self.told(data['Object'], 'ReleaseReference', sequence_id, both)
        if event.type == 'RequestRefused' and (data['Reason'] == 'timeout'
                                               or asked_by == 'kinlog.ConfirmReference.v1'):
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
        given = {name: value for name, value in data.items() if value is not None}
        return [(shard, key, method, identity, kinlog_json.dump(given), False)]

    # -- views ---------------------------------------------------------------------------

    def apply_conversation(self, event):
        """Returns the request that the event concludes, or None."""
        data = event.data
        if event.type in ('AssociationRequested', 'ReplacementRequested'):
            request = Request(event)
            self.requests[request.id] = request
        elif event.type == 'ReferenceAdded':
            self.references.add((number_of(data['Object']), data['Request']))
            if data['Kind'] == 'replacement':
                self.adoptions[number_of(data['Object']), data['Request']] = [0, None]
        elif event.type == 'ReferenceRefused':
            self.released_early.discard((number_of(data['Object']), data['Request']))
        elif event.type in ('ReferenceReleased', 'ReferenceEnded'):
            reference = number_of(data['Object']), data['Request']
            if reference in self.references:
                self.references.remove(reference)
                self.adoptions.pop(reference, None)
            else:
                self.released_early.add(reference)
        elif event.type == 'AssociationAdded':
            return self.concluded(data['MigrationID'], 'added', event)
        elif event.type == 'RequestRefused':
            request = self.concluded(data['Request'], 'refused', event)
            if request.kind == 'association':
                del self.associations[request.source, request.restore]
            return request
        elif event.type == 'ReplacementCompleted':
            return self.concluded(data['Request'], 'added', event)
        return None

    def concluded(self, identity, outcome, event):
        request = self.requests.get(identity)
        if request is not None and request.outcome not in (None, 'granted'):
            return None
        if request is not None:
            request.outcome = outcome
            request.receipt.conclusion = event
        return request

    def reference_rows(self):
        return [{'Object': 'device:%d' % number, 'Request': request, 'Shard': self.number}
                for number, request in sorted(self.references, key=lambda r: (r[0], position(r[1])))]

    def request_rows(self):
        """Those that are not concluded."""
        return [{'Request': request.id, 'Due': request.due, 'Shard': self.number}
                for request in sorted(self.requests.values(), key=lambda r: position(r.id))
                if request.outcome in (None, 'granted')]
