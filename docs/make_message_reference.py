#!/usr/bin/python3
"""Writes docs/messages.md, the message reference, from schemas/.

    make_message_reference.py            writes it
    make_message_reference.py --check    1 if the file is not what would be written

SPDX-License-Identifier: Apache-2.0
"""
import json

from generated import ROOT, write_or_check

# In the order in which a reader meets them; what is not named here comes last.
ORDER = {
    'commands': ['RegisterDevice', 'RemoveDevice', 'ReplaceDevice', 'CreateRelationship', 'AddSource', 'RemoveSource',
                 'AddType', 'RemoveType', 'DeleteRelationship', 'ApproveRelationship', 'DenyRelationship',
                 'ReportUsage', 'AddAssociation', 'AddAssociationEx', 'ChangeAssociation', 'DeleteAssociation', 'StartCapture',
                 'CompleteCapture', 'CompleteRestore', 'DeleteStore', 'GetEncryptDecryptKey', 'SetPolicy', 'AdoptPolicy',
                 'RequestReference', 'ConfirmReference', 'RefuseReference', 'ReleaseReference', 'EndReference',
                 'AdoptRelationship', 'EndAdoption', 'ConfirmAdoption', 'Tick'],
    'events': ['LogStarted', 'DeviceRegistered', 'DeviceChanged', 'DeviceRemoved', 'RelationshipCreated',
               'SourceAdded', 'SourceRemoved', 'TypeAdded', 'TypeRemoved', 'RelationshipDeleted', 'ApprovalRequested',
               'ReplacementRequested', 'RelationshipMoved', 'RelationshipAdopted', 'DeviceReplaced', 'ReplacementCompleted',
               'UsageReported', 'UsageEvaluated', 'AssociationRequested', 'AssociationAdded', 'AssociationChanged',
               'AssociationDeleted', 'CaptureStarted', 'CaptureCompleted', 'RestoreCompleted', 'StoreDeleted',
               'EncryptDecryptKeyGiven', 'PolicyChanged', 'CommandUnchanged', 'CommandRejected', 'RequestRefused', 'ReferenceAdded',
               'ReferenceRefused', 'ReferenceReleased', 'ReferenceEnded', 'ReferenceUnwanted', 'AdoptionEnded',
               'PositionAdvanced',
               'RecordDeadLettered'],
}

HEAD = '''# Message reference

Made from `schemas/` by `docs/make_message_reference.py`; change the schemas, then run it. The JSON Schemas beside
it are the contract (`schemas/{commands,events,answers}/<Name>.v1.json`), `schemas/asyncapi.yaml` ties them to topics,
and `schemas/content-hash.vectors.json` holds test vectors of the content hash.

All messages are CloudEvents 1.0 in Kafka records; a schema describes the record's value (in structured mode: the
member `data`).

- In **commands** the spelling of members does not matter (`MachineResourceID` is `MachineResourceId`), but one member
  in two spellings is refused. `null` counts as absent. Unknown members are refused. A string never stands for a
  number; `2.0` and `2e0` are the integer 2. The ce_type is `kinlog.<Name>.v1`, or `<Name>` for short.
- A command's data is refused beyond 256 KiB, 32 levels, or 4096 values; when it is not UTF-8; when a string holds
  U+0000 or half of a surrogate pair; when a member is there twice.
- **Events** and **answers** always have all members, in this order, `null` where there is nothing to say.
- A refusal names the first member at fault, in the order of the tables.

*Personal* marks what may be a person's name: it is in no log line, error text or extended status.
*Key* marks the member that makes the record key, `device:<number>`.
'''

SECTIONS = [
    ('commands', 'Commands', 'Sent to `<prefix>.commands`.'),
    ('events', 'Events', 'Read from `<prefix>.events`. Lists are `null` when they are empty.'),
    ('answers', 'Answers', 'Read from `<prefix>.replies`, or from the topic that the command named in `ce_replyto`.'),
]


def resolved(root, schema):
    while '$ref' in schema:
        schema = root['definitions'][schema['$ref'].rsplit('/', 1)[1]]
    return schema


def types_of(schema):
    types = schema.get('type', [])
    return types if isinstance(types, list) else [types]


def type_text(root, schema):
    names = []
    for kind in types_of(schema):
        if kind == 'array':
            items = resolved(root, schema['items'])
            names.append('list' if 'number' in names or 'integer' in names else
                         'list of ' + type_text(root, items) + 's')
        elif kind != 'null':
            names.append(kind)
    return ' or '.join(names)


def count_text(low, high, unit):
    if low is None and high is None:
        return None
    if low == high:
        return '%d %s%s' % (low, unit, '' if low == 1 else 's')
    if high is None:
        return 'at least %d %s%s' % (low, unit, '' if low == 1 else 's')
    return '%s%d %ss' % ('%d to ' % low if low is not None else 'at most ', high, unit)


def limits_text(root, schema):
    limits = []
    if 'enum' in schema:
        limits.append(', '.join('`%s`' % value for value in schema['enum']))
    if 'minimum' in schema and schema['minimum'] == schema['maximum']:
        limits.append('only %d' % schema['minimum'])
    elif 'minimum' in schema:
        limits.append('%d to %d' % (schema['minimum'], schema['maximum']))
    limits.append(count_text(schema.get('minLength'), schema.get('maxLength'), 'character'))
    limits.append(count_text(schema.get('minItems'), schema.get('maxItems'), 'item'))
    items = schema.get('items')
    if items and 'integer' not in types_of(schema):
        inner = limits_text(root, resolved(root, items))
        if inner:
            limits.append('each ' + inner)
    return '; '.join(limit for limit in limits if limit)


def member_rows(root, schema, prefix, is_command):
    for name, declared in schema['properties'].items():
        member = resolved(root, declared)
        marks = [text for mark, text in (('x-key', 'Key.'), ('x-personal', 'Personal.')) if declared.get(mark)]
        meaning = ' '.join([declared.get('description') or member.get('description', '')] + marks)
        null = 'null' in types_of(member)
        if is_command:
            presence = 'yes' if name in schema.get('required', []) else 'no'
        else:
            presence = 'may be null' if null else 'yes'
        yield prefix + name, type_text(root, member), presence, limits_text(root, member), meaning
        inner = member
        if 'items' in member:
            inner = resolved(root, member['items'])
            name += '[]'
        if 'properties' in inner:
            yield from member_rows(root, inner, prefix + name + '.', is_command)


def message(path, kind):
    schema = json.loads(path.read_text('utf-8'))
    yield '### %s' % schema['title'].rsplit('.', 1)[0]
    yield ''
    yield '`kinlog.%s` - %s' % (schema['title'], schema['description'])
    yield ''
    if not schema['properties']:
        yield 'No members: `{}`.'
        yield ''
        return
    yield '| member | type | %s | limits | meaning |' % ('required' if kind == 'commands' else 'there')
    yield '|---|---|---|---|---|'
    for name, type_name, presence, limits, meaning in member_rows(schema, schema, '', kind == 'commands'):
        yield '| `%s` | %s | %s | %s | %s |' % (name, type_name, presence, limits.replace('|', '\\|'),
                                               meaning.replace('|', '\\|'))
    yield ''


def reference():
    yield HEAD
    for kind, title, text in SECTIONS:
        yield '## %s' % title
        yield ''
        yield text
        yield ''
        order = ORDER.get(kind, [])
        paths = sorted((ROOT / 'schemas' / kind).glob('*.json'))
        names = {path: path.name.split('.')[0] for path in paths}
        for path in sorted(paths, key=lambda path: (order.index(names[path]) if names[path] in order
                                                    else len(order), path)):
            yield from message(path, kind)


def main():
    write_or_check('docs/messages.md', '\n'.join(reference()).rstrip('\n') + '\n')


if __name__ == '__main__':
    main()
