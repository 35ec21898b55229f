# associations.py - computer associations in the model: from which device to which a user's state moves.
#
# Decisions and rows of one shard, as a part of kinlog_model.Shard. Where the restoring device is at home
# in another shard, conversations.py asks there first.
#
# SPDX-License-Identifier: Apache-2.0
import re

from kinlog_parts import (ALREADY_EXISTS, INVALID_PARAMETER, NOT_FOUND, OTHER_FAILURE, RESOURCE, SEQUENCE_MAX,
                          UINT32_MAX, Fault, Rejected, Unchanged, ascii_lower, cim_datetime, fold_user_name,
                          integer_between, list_of, or_null, text_between, user_name)

USERS_MAX = 1000
SIDE_BY_SIDE, IN_PLACE = 1, 2
NEVER = '00000000000000.000000+***'
NOT_STARTED, IN_PROGRESS, COMPLETED = 0, 1, 2


# ---- commands --------------------------------------------------------------------------

def migration_id(node):
    """<shard>-<sequence>, both decimal without leading zeros."""
    text = text_between(1, 255)(node)
    match = re.fullmatch('(0|[1-9][0-9]{0,9})-([1-9][0-9]{0,15})', text, re.ASCII)
    if not match or int(match[1]) > UINT32_MAX or int(match[2]) > SEQUENCE_MAX:
        raise ValueError
    return text


def user_entry(node):
    """One user: {LocaleID?, UserName}, its members read like those of a command."""
    if node.kind != 'object':
        raise ValueError
    given = {}
    for name, member in node.value:
        known = {'localeid': 'LocaleID', 'username': 'UserName'}.get(ascii_lower(name))
        if known is None or known in given:
            raise ValueError
        given[known] = member
    given = {name: member for name, member in given.items() if member.kind != 'null'}
    if 'UserName' not in given:
        raise ValueError
    checks = {'LocaleID': integer_between(0, UINT32_MAX), 'UserName': user_name}
    return {name: check(given[name]) for name, check in checks.items() if name in given}


def user_list(node):
    """READING: an empty list is none (`NULL/empty`, domain.md 5.3), not a fault."""
    users = list_of(user_entry, 0, USERS_MAX)(node)
    if len({fold_user_name(user['UserName']) for user in users}) < len(users):
        raise ValueError
    return users


PAIR = [('SourceClientResourceID', RESOURCE), ('RestoreClientResourceID', RESOURCE)]
ADDED = [(name, check, True) for name, check in PAIR]
MEANT = [(name, check, False) for name, check in [('MigrationID', migration_id)] + PAIR]
BEHAVIOUR = integer_between(0, 2)
COMMANDS = {
    'AddAssociation': ADDED + [('UserNames', user_list, False)],
    'AddAssociationEx': ADDED + [('MigrationBehavior', BEHAVIOUR, True), ('UserNames', user_list, False)],
    'DeleteAssociation': MEANT,
    'ChangeAssociation': MEANT + [('MigrationBehavior', BEHAVIOUR, False),
                                  ('AddUserNames', user_list, False), ('RemoveUserNames', user_list, False)],
    'StartCapture': MEANT + [('StorePath', text_between(1, 1024), True)],
    'CompleteCapture': MEANT,
    'CompleteRestore': MEANT,
    'DeleteStore': MEANT,
}
ADDING = ('AddAssociation', 'AddAssociationEx')


def missing_side(method, given):
    """The member of who is meant that is missing, or None."""
    if method in ADDING or method not in COMMANDS or 'MigrationID' in given:
        return None
    if 'SourceClientResourceID' not in given:
        return 'SourceClientResourceID' if 'RestoreClientResourceID' in given else 'MigrationID'
    if 'RestoreClientResourceID' in given or method == 'StartCapture':
        return None
    return 'RestoreClientResourceID'


def check_together(method, values):
    """What holds between members that fit one by one."""
    if method == 'AddAssociationEx' and values['MigrationBehavior'] and not values.get('UserNames'):
        raise Fault('UserNames')


# ---- users -----------------------------------------------------------------------------

def with_locale(users):
    return [{'LocaleID': user.get('LocaleID', 0), 'UserName': user['UserName']} for user in users or ()]


def as_set(users):
    return {(fold_user_name(user['UserName']), user['LocaleID']) for user in users}


def changed_users(users, add, remove):
    """Removed first, then added. An added one that is there keeps its place and its spelling."""
    gone = {fold_user_name(user['UserName']) for user in remove}
    left = {}
    for user in users:
        if fold_user_name(user['UserName']) not in gone:
            left[fold_user_name(user['UserName'])] = dict(user)
    for user in add:
        left.setdefault(fold_user_name(user['UserName']), dict(user))['LocaleID'] = user['LocaleID']
    return list(left.values())


# ---- one shard's associations ----------------------------------------------------------

class Association:
    """One row; pending as long as another shard was asked and has not answered."""

    def __init__(self, data, version, pending):
        self.source, self.restore = data['SourceClientResourceID'], data['RestoreClientResourceID']
        self.id, self.type = data['MigrationID'], data['MigrationType']
        self.behaviour, self.users = data['MigrationBehavior'], list(data['UserNames'] or [])
        self.pending, self.version = pending, version
        self.status, self.store_path = NOT_STARTED, None
        self.created = self.released = self.deleted = NEVER

    def names(self):
        """The members that each of its events begins with."""
        return {'SourceClientResourceID': self.source, 'RestoreClientResourceID': self.restore,
                'MigrationID': self.id}

    def has_store(self):
        """Is a capture under way whose store was neither released nor deleted?"""
        return self.store_path is not None and self.released == NEVER and self.deleted == NEVER

    def row(self, shard):
        return {**self.names(), 'MigrationBehavior': self.behaviour, 'MigrationType': self.type,
                'MigrationStatus': self.status, 'StorePath': self.store_path,
                'StoreCreationDate': self.created, 'StoreReleaseDate': self.released,
                'StoreDeletionDate': self.deleted, 'UserNames': or_null(self.users),
                'Pending': self.pending, 'Version': self.version, 'Shard': shard}


def pair_place(source, restore):
    """(key, subject) of an association."""
    return 'device:%d' % source, 'device/%d/association/%d' % (source, restore)


def device_place(number):
    return 'device:%d' % number, 'device/%d' % number


class Associations:
    """The part of a Shard that decides about associations. self.associations: (source, restore) -> row."""

    def of_source(self, number):
        """In key order."""
        return [row for (source, _), row in sorted(self.associations.items()) if source == number]

    def with_id(self, identity):
        return next((row for row in self.associations.values() if row.id == identity), None)

    # -- who is meant --------------------------------------------------------------------

    def find_association(self, values, may_make=False):
        """The row that a command means; None where there is none and it may make one; or Rejected.
        READING: who is meant is a thing referred to, so `several` goes before expectedversion."""
        identity, source, restore = (values.get(name) for name, _, _ in MEANT)
        if identity is not None:
            row = self.with_id(identity)
            if row is None or source not in (None, row.source) or restore not in (None, row.restore):
                raise Rejected(NOT_FOUND, 'MigrationID')
            return row
        if may_make and restore in (None, source):
            rows = self.of_source(source)
            if not rows:
                return None
            if restore is None:
                if len(rows) > 1:
                    raise Rejected(INVALID_PARAMETER, 'RestoreClientResourceID')
                return rows[0]
        row = self.associations.get((source, restore))
        if row is None:
            known = source in self.devices
            raise Rejected(NOT_FOUND, 'RestoreClientResourceID' if known else 'SourceClientResourceID')
        return row

    def association_place(self, method, values):
        """(key, subject, version) of what a command is about; (None, None, None) if nothing says."""
        source, restore = (values.get(name) for name, _ in PAIR)
        try:
            row = (self.associations.get((source, restore)) if method in ADDING
                   else self.find_association(values, method == 'StartCapture'))
        except Rejected:
            row = None
        if row is not None:
            return pair_place(row.source, row.restore) + (row.version,)
        if source is not None and restore is not None:
            return pair_place(source, restore) + (None,)
        if source is not None:
            return device_place(source) + (None,)
        return None, None, None

    def check_devices(self, method, values):
        """Things referred to: the association, or the devices that are to have one."""
        source, restore = (values.get(name) for name, _ in PAIR)
        if method not in ADDING:
            if self.find_association(values, method == 'StartCapture') is None:
                self.check_known(source, 'SourceClientResourceID')
            return
        self.check_known(source, 'SourceClientResourceID')
        if self.is_here(restore):
            self.check_known(restore, 'RestoreClientResourceID')

    def check_known(self, number, parameter):
        if number not in self.devices and self.policy('devices.unknown') != 'stub':
            raise Rejected(NOT_FOUND, parameter)

    def stubs(self, *numbers):
        """Drafts that make devices of those that are not known."""
        return [('DeviceRegistered', *device_place(number), {
            'ResourceID': number, 'Name': None, 'ClientType': 1, 'MACAddresses': None, 'Domain': None})
                for number in dict.fromkeys(numbers) if number not in self.devices]

    # -- adding --------------------------------------------------------------------------

    def add_association(self, values, now):
        source, restore = (values[name] for name, _ in PAIR)
        users = with_locale(values.get('UserNames'))
        behaviour = values.get('MigrationBehavior', 2 if users else 0)
        if behaviour == 0:
            users = []
        row = self.associations.get((source, restore))
        if row is not None:
            if not row.pending and row.behaviour == behaviour and as_set(row.users) == as_set(users):
                raise Unchanged
            raise Rejected(ALREADY_EXISTS, 'RestoreClientResourceID')
        others = self.of_source(source)
        if others and (behaviour == 2 or any(other.behaviour == 2 for other in others)):
            raise Rejected(ALREADY_EXISTS,
                           'MigrationBehavior' if 'MigrationBehavior' in values else 'UserNames')
        return self.added(source, restore, behaviour, users)

    add_association_ex = add_association

    def added(self, source, restore, behaviour, users):
        """Drafts of a new association, or of the request that it needs."""
        identity = self.next_request()
        place = pair_place(source, restore)
        data = {'SourceClientResourceID': source, 'RestoreClientResourceID': restore, 'MigrationID': identity,
                'MigrationBehavior': behaviour, 'MigrationType': IN_PLACE if source == restore else SIDE_BY_SIDE,
                'UserNames': or_null(users)}
        if not self.is_here(restore):
            return self.stubs(source) + [('AssociationRequested', *place, {
                **data, 'Object': 'device:%d' % restore,
                'TimeoutSeconds': int(self.policy('requests.timeout'))})]
        drafts = self.stubs(source, restore)
        if source != restore:
            drafts.append(self.reference_added(identity, restore))
        return drafts + [('AssociationAdded', *place, data)]

    # -- changing and ending -------------------------------------------------------------

    def change_association(self, values, now):
        row = self.find_association(values)
        if row.pending:
            raise Rejected(OTHER_FAILURE, None)
        add, remove = with_locale(values.get('AddUserNames')), values.get('RemoveUserNames') or []
        behaviour = values.get('MigrationBehavior', row.behaviour)
        users = changed_users(row.users, add, remove) if behaviour else []
        if behaviour and not users:
            # READING: an empty RemoveUserNames removes nothing.
            raise Rejected(INVALID_PARAMETER, 'RemoveUserNames' if remove else 'AddUserNames')
        # READING: what is wrong with the parameters goes before what other associations forbid.
        if len(users) > USERS_MAX:
            raise Rejected(INVALID_PARAMETER, 'AddUserNames')
        # READING: "nothing differs" as for AddAssociation, users as a set.
        if behaviour == row.behaviour and as_set(users) == as_set(row.users):
            raise Unchanged
        if behaviour == 2 and len(self.of_source(row.source)) > 1:
            raise Rejected(ALREADY_EXISTS, 'MigrationBehavior')
        return [self.about(row, 'AssociationChanged', MigrationBehavior=behaviour, UserNames=or_null(users))]

    def delete_association(self, values, now):
        row = self.find_association(values)
        if row.pending or row.has_store():
            raise Rejected(OTHER_FAILURE, None)
        return self.ended_by_source(row, 'explicit')

    def ended_by_source(self, row, reason):
        """Drafts; a reference that another shard keeps is released once this is in the log."""
        drafts = [self.about(row, 'AssociationDeleted', Reason=reason)]
        if row.restore != row.source and self.is_here(row.restore):
            drafts.insert(0, self.reference_over('ReferenceReleased', row.id, row.restore))
        return drafts

    @staticmethod
    def about(row, event_type, **more):
        return event_type, *pair_place(row.source, row.restore), {**row.names(), **more}

    def associations_of_removed(self, number, force):
        """Drafts that end all that holds on to a device."""
        rows, held = self.of_source(number), self.references_to(number)
        if (rows or held) and not force or any(row.pending for row in rows):
            raise Rejected(OTHER_FAILURE, 'ResourceID')
        drafts = [draft for row in rows for draft in self.ended_by_source(row, 'source_removed')]
        for request in held:
            if not self.asked_here(request):
                drafts.append(self.reference_over('ReferenceEnded', request, number))
                continue
            drafts.append(self.about(self.with_id(request), 'AssociationDeleted', Reason='restore_removed'))
            drafts.append(self.reference_over('ReferenceReleased', request, number))
        return drafts

    # -- the life of a migration ---------------------------------------------------------

    def start_capture(self, values, now):
        row, path = self.find_association(values, may_make=True), values['StorePath']
        if row is None:
            source = values['SourceClientResourceID']
            drafts = self.added(source, source, 0, [])
            names = Association(drafts[-1][3], 0, False)
            return drafts + [self.about(names, 'CaptureStarted', StorePath=path)]
        if row.pending:
            raise Rejected(OTHER_FAILURE, None)
        if row.store_path == path:
            raise Unchanged
        if row.store_path is not None:
            raise Rejected(OTHER_FAILURE, 'StorePath')
        return [self.about(row, 'CaptureStarted', StorePath=path)]

    def complete_capture(self, values, now):
        row = self.find_association(values)
        if row.store_path is None:
            raise Rejected(OTHER_FAILURE, None)
        return self.dated(row, row.created, 'CaptureCompleted', 'StoreCreationDate', now)

    def complete_restore(self, values, now):
        row = self.find_association(values)
        # READING: in the order of the description, so a deleted store goes before "done already".
        if row.created == NEVER or row.deleted != NEVER:
            raise Rejected(OTHER_FAILURE, None)
        return self.dated(row, row.released, 'RestoreCompleted', 'StoreReleaseDate', now)

    def delete_store(self, values, now):
        row = self.find_association(values)
        if row.created == NEVER:
            raise Rejected(OTHER_FAILURE, None)
        return self.dated(row, row.deleted, 'StoreDeleted', 'StoreDeletionDate', now)

    def dated(self, row, present, event_type, member, now):
        if present != NEVER:
            raise Unchanged
        return [self.about(row, event_type, **{member: cim_datetime(now)})]

    # -- the view ------------------------------------------------------------------------

    def apply_association(self, event_type, data, version):
        if 'MigrationID' not in data:
            return
        pair = data['SourceClientResourceID'], data['RestoreClientResourceID']
        if event_type in ('AssociationRequested', 'AssociationAdded'):
            self.associations[pair] = Association(data, version, event_type == 'AssociationRequested')
            return
        if event_type == 'AssociationDeleted':
            del self.associations[pair]
            return
        row = self.associations[pair]
        row.version = version
        if event_type == 'AssociationChanged':
            row.behaviour, row.users = data['MigrationBehavior'], list(data['UserNames'] or [])
        elif event_type == 'CaptureStarted':
            row.store_path = data['StorePath']
        elif event_type == 'CaptureCompleted':
            row.status, row.created = IN_PROGRESS, data['StoreCreationDate']
        elif event_type == 'RestoreCompleted':
            row.status, row.released = COMPLETED, data['StoreReleaseDate']
        elif event_type == 'StoreDeleted':
            row.deleted = data['StoreDeletionDate']
