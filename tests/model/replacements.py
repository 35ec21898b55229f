# replacements.py - devices that are replaced, in the model: what their users have moves to the new one.
#
# Decisions of one shard, as a part of kinlog_model.Shard. Where the new device is at home in another
# shard, conversations.py asks there first, and each relationship follows in a command of its own.
#
# SPDX-License-Identifier: Apache-2.0
from associations import COMPLETED, device_place
from conversations import number_of
from kinlog_parts import (ACCESS_DENIED, NOT_FOUND, OTHER_FAILURE, RESOURCE, SLOTS, UINT32_MAX, Fault, Rejected,
                          Unchanged, fold_user_name, or_null, slot_of_key)

RELATIONSHIPS_MAX = 10_000
COMMANDS = {'ReplaceDevice': [('ResourceID', RESOURCE, True), ('NewResourceID', RESOURCE, True)]}


def check_devices(method, values):
    if method == 'ReplaceDevice' and values['NewResourceID'] == values['ResourceID']:
        raise Fault('NewResourceID')


class Replacements:
    """The part of a Shard that replaces devices. self.adoptions: (ResourceID, id of the request) ->
    [how many were taken over, how many there are or None], for references of this kind."""

    def users_of(self, number):
        return sorted((row for row in self.relationships.values() if row.device == number),
                      key=lambda row: row.folded)

    def being_replaced(self, number):
        return any(request.kind == 'replacement' and request.source == number and request.outcome is None
                   for request in self.requests.values())

    def takes_over(self, number):
        return any(device == number for device, _ in self.adoptions)

    def check_replaced(self, values):
        """Things referred to."""
        if values['ResourceID'] not in self.devices:
            raise Rejected(NOT_FOUND, 'ResourceID')
        if self.is_here(values['NewResourceID']):
            self.check_known(values['NewResourceID'], 'NewResourceID')

    def stands_in_the_way(self, old):
        rows = self.of_source(old)
        return (any(row.pending or (row.restore == old and row.status != COMPLETED) for row in rows)
                or self.references_to(old) or len(self.users_of(old)) > RELATIONSHIPS_MAX)

    def replace_device(self, values, now):
        old, new = values['ResourceID'], values['NewResourceID']
        if self.being_replaced(old) or self.stands_in_the_way(old):
            raise Rejected(OTHER_FAILURE, 'ResourceID')
        request = self.next_request()
        if not self.is_here(new):
            return [('ReplacementRequested', *device_place(old), {
                'ResourceID': old, 'NewResourceID': new, 'Request': request, 'Object': 'device:%d' % new,
                'TimeoutSeconds': int(self.policy('requests.timeout'))})]
        slot = slot_of_key(b'device:%d' % new)
        rows = self.users_of(old)
        if rows and self.number_in_slot(slot, len(rows) - 1) > UINT32_MAX:
            # READING: judged as if the new device had none of the users.
            raise Rejected(OTHER_FAILURE, None)
        drafts, made = self.stubs(new), 0
        device = self.devices[new].data if new in self.devices else drafts[0][3]
        for row in rows:
            drafts.append(self.moved(row, new, request))
            more = self.adopted(new, device, row.user, row.sources, row.types, row.pending, row.created, made,
                                (old, row.id, request))
            made += more[0][0] == 'RelationshipCreated'
            drafts += more
        return drafts + self.gone(old, new, request, len(rows))

    def gone(self, old, new, request, count):
        return [('DeviceReplaced', *device_place(old), {
            'ResourceID': old, 'NewResourceID': new, 'Request': request, 'Count': count}),
                ('DeviceRemoved', *device_place(old), {'ResourceID': old})]

    def give_up(self, request):
        """Drafts of the old device's shard, once the new one is kept."""
        rows = self.users_of(request.source)
        return [self.moved(row, request.restore, request.id) for row in rows] + \
            self.gone(request.source, request.restore, request.id, len(rows))

    def moved(self, row, new, request):
        return ('RelationshipMoved', *self.place(row), {
            'RelationshipResourceID': row.id, 'ResourceID': row.device, 'UniqueUserName': row.user,
            'NewResourceID': new, 'CreationTime': row.created, 'Sources': or_null(row.sources),
            'Types': or_null(row.types), 'Pending': row.pending, 'Request': request})

    def number_in_slot(self, slot, after):
        return (self.created.get(slot, 0) + after) * SLOTS + slot + 1

    def adopted(self, number, device, user, sources, types, pending, created, made, origin):
        """Drafts by which a device takes over one relationship; made: how many drafts before make one."""
        row = self.pairs.get((number, fold_user_name(user)))
        key, subject = device_place(number)
        drafts, identity = [], None
        if row is not None:
            identity = row.id
            drafts = self.set_events(row, 'Source', sources, []) + self.set_events(row, 'Type', types, [])
        else:
            wanted = self.number_in_slot(slot_of_key(key.encode()), made)
            if wanted <= UINT32_MAX:
                identity = wanted
                place = key, 'device/%d/relationship/%d' % (number, identity)
                drafts.append(('RelationshipCreated', *place, {
                    'ResourceID': number, 'UniqueUserName': user, 'RelationshipResourceID': identity,
                    'ResourceName': device['Name'], 'ResourceClientType': device['ClientType'],
                    'CreationTime': created, 'IsActive': True, 'Sources': list(dict.fromkeys(sources)),
                    'Types': or_null(dict.fromkeys(types))}))
                if pending:
                    drafts.append(('ApprovalRequested', *place, {
                        'RelationshipResourceID': identity, 'ResourceID': number, 'UniqueUserName': user}))
        if identity is not None:
            subject = 'device/%d/relationship/%d' % (number, identity)
        return drafts + [('RelationshipAdopted', key, subject, {
            'RelationshipResourceID': identity, 'ResourceID': number, 'OldRelationshipResourceID': origin[1],
            'OldResourceID': origin[0], 'Request': origin[2]})]

    # -- what shards say to each other ---------------------------------------------------

    def adoption(self, values):
        number, request = number_of(values['Object']), values['Request']
        if (number, request) not in self.adoptions:
            raise Rejected(ACCESS_DENIED, 'Request')
        return number, request, self.adoptions[number, request]

    def adopt_relationship(self, values, now):
        number, request, (taken, wanted) = self.adoption(values)
        drafts = self.adopted(number, self.devices[number].data, values['UniqueUserName'], values['Sources'],
                              values.get('Types', []), values['Pending'], values['CreationTime'], 0,
                              (values['ResourceID'], values['RelationshipResourceID'], request))
        if wanted is not None and taken + 1 >= wanted:
            drafts.append(self.reference_over('ReferenceReleased', request, number))
        return drafts

    def end_adoption(self, values, now):
        number, request, (taken, _) = self.adoption(values)
        if taken >= values['Count']:
            return [self.reference_over('ReferenceReleased', request, number)]
        return [('AdoptionEnded', *device_place(number), {
            'Request': request, 'Object': values['Object'], 'Count': values['Count']})]

    def confirm_adoption(self, values, now):
        request = self.requests.get(values['Request'])
        if request is None or request.outcome != 'granted':
            raise Unchanged
        return [('ReplacementCompleted', *device_place(request.source), {
            'ResourceID': request.source, 'NewResourceID': request.restore, 'Request': request.id})]

    # -- views ---------------------------------------------------------------------------

    def apply_replacement(self, event):
        data = event.data
        if event.type == 'DeviceReplaced' and data['Request'] in self.requests:
            self.requests[data['Request']].outcome = 'granted'
        elif event.type == 'RelationshipAdopted':
            found = self.adoptions.get((data['ResourceID'], data['Request']))
            if found is not None:
                found[0] += 1
        elif event.type == 'AdoptionEnded':
            self.adoptions[number_of(data['Object']), data['Request']][1] = data['Count']
