#!/usr/bin/env python3
"""Writes schemas/content-hash.vectors.json: content hashes of commands, computed without Kinlog's C.

The content hash of a command is the first 16 bytes of HMAC-SHA-256 with the site key, base64url without
padding, over the type, NUL, and per member that is not null, sorted by the schema's spelling: name, NUL,
canonical JSON (RFC 8785), NUL. A number where the schema allows a list counts as that list. Data that does
not fit its schema is covered as it is: type, NUL, raw bytes.

    make_vectors.py            writes the file
    make_vectors.py --check    1 if the file is not what would be written

SPDX-License-Identifier: Apache-2.0
"""
import base64
import hashlib
import hmac
import json
import pathlib
import sys

import rfc8785

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILE = ROOT / 'schemas' / 'content-hash.vectors.json'
KEY = bytes(range(32))

# (what it shows, command, data as text or bytes, does it fit the schema)
CASES = [
    ('one number for a list', 'CreateRelationship',
     r'{"MachineResourceId":16777222,"UserAccountName":"contoso\\jqpublic","SourceId":2,"TypeId":1}', True),
    ('the same as lists', 'CreateRelationship',
     r'{"MachineResourceId":16777222,"UserAccountName":"contoso\\jqpublic","SourceId":[2],"TypeId":[1]}', True),
    ('the same in another order, spelling and spacing, with a null', 'CreateRelationship',
     ' { "typeid" : 1.0 , "SOURCEID":2e0,"useraccountname":"contoso\\u005cjqpublic",\n'
     ' "MachineResourceID": 16777222.0 } ', True),
    ('without the optional member', 'CreateRelationship',
     r'{"MachineResourceId":16777222,"UserAccountName":"contoso\\jqpublic","SourceId":2}', True),
    ('null counts as absent', 'CreateRelationship',
     r'{"MachineResourceId":16777222,"UserAccountName":"contoso\\jqpublic","SourceId":2,"TypeId":null}', True),
    ('a list keeps its order and its twins', 'CreateRelationship',
     r'{"MachineResourceId":1,"UserAccountName":"a\\b","SourceId":[4,2,4]}', True),
    ('user names are hashed as sent: upper case', 'CreateRelationship',
     r'{"MachineResourceId":1,"UserAccountName":"A\\B","SourceId":[1]}', True),
    ('beyond ASCII, as UTF-8', 'CreateRelationship',
     '{"MachineResourceId":1,"UserAccountName":"b\u00fcro\\\\j\u00f8rn \U0001f600","SourceId":1}', True),
    ('the same, escaped', 'CreateRelationship',
     r'{"MachineResourceId":1,"UserAccountName":"b\u00fcro\\j\u00f8rn \ud83d\ude00","SourceId":1}', True),
    ('largest id', 'RemoveDevice', '{"ResourceID":4294967295}', True),
    ('no member at all', 'Tick', '{}', True),
    ('a device with everything', 'RegisterDevice',
     '{"ResourceID":7,"Name":"PC \\"7\\"\\t/","ClientType":3,'
     '"MACAddresses":["00:11:22:33:44:55","66:77:88:99:aa:bb"],"Domain":"contoso"}', True),
    ('an empty list of addresses stays in the hash', 'RegisterDevice',
     '{"ResourceID":7,"Name":"PC","MACAddresses":[]}', True),
    ('an instance by its id', 'AddSource', '{"RelationshipResourceID":23,"SourceId":4}', True),
    ('an instance by its names', 'RemoveSource',
     r'{"ResourceID":1,"UniqueUserName":"a\\b","SourceId":[4,1]}', True),
    ('a type', 'AddType', '{"RelationshipResourceID":23,"TypeId":1}', True),
    ('use of a device; times are hashed as sent', 'ReportUsage',
     r'{"ResourceID":7,"UniqueUserName":"a\\b","Start":"2026-05-28T08:15:00+02:00","Minutes":480,"Count":2}', True),
    ('more minutes than the day has: raw', 'ReportUsage',
     r'{"ResourceID":7,"UniqueUserName":"a\\b","Start":"2026-05-28T08:15:00Z","Minutes":1441,"Count":2}', False),
    ('an approval', 'ApproveRelationship', '{"RelationshipResourceID":23}', True),
    ('the largest integer that a double holds with all smaller ones', 'AdoptPolicy',
     '{"Name":"devices.unknown","Value":"stub","Revision":9007199254740991}', True),
    ('a larger one: raw', 'AdoptPolicy',
     '{"Name":"devices.unknown","Value":"stub","Revision":9007199254740993}', False),
    ('objects in a list keep their order', 'AddAssociation',
     r'{"SourceClientResourceID":1,"RestoreClientResourceID":2,"UserNames":[{"LocaleID":1033,"UserName":"a\\b"},'
     r'{"LocaleID":0,"UserName":"c\\d"}]}', True),
    ('an empty string is not null', 'SetPolicy', '{"Name":"devices.unknown","Value":""}', True),
    ('too large a number: raw', 'RemoveDevice', '{"ResourceID":4294967296}', False),
    ('a string for a number: raw', 'RemoveDevice', '{"ResourceID":"1"}', False),
    ('an unknown member: raw', 'RemoveDevice', '{"ResourceID":1,"Nmae":2}', False),
    ('the blanks of raw data count', 'RemoveDevice', ' {"ResourceID":"1"}', False),
    ('twice in two spellings: raw', 'RemoveDevice', '{"ResourceID":1,"resourceid":1}', False),
    ('not JSON: raw', 'RemoveDevice', '{"ResourceID":', False),
    ('not UTF-8: raw', 'SetPolicy', b'{"Name":"\xff","Value":""}', False),
    ('nothing: raw', 'Tick', '', False),
]


def members(command, data):
    """The data's members by the schema's spelling, as they count."""
    schema = json.loads((ROOT / 'schemas' / 'commands' / (command + '.v1.json')).read_text('utf-8'))
    spelling = {name.lower(): name for name in schema['properties']}
    found = {}
    for name, value in json.loads(data).items():
        declared = schema['properties'][spelling[name.lower()]]
        if value is None:
            continue
        if 'array' in declared['type'] and not isinstance(value, list):
            value = [value]
        found[spelling[name.lower()]] = value
    return found


def content_hash(command, data, fits):
    covered = b'kinlog.%s.v1\0' % command.encode()
    if fits:
        for name, value in sorted(members(command, data).items()):
            covered += name.encode() + b'\0' + rfc8785.canonical(value).encode() + b'\0'
    else:
        covered += data
    mac = hmac.new(KEY, covered, hashlib.sha256).digest()[:16]
    return base64.urlsafe_b64encode(mac).decode().rstrip('=')


def vectors():
    for name, command, data, fits in CASES:
        raw = data if isinstance(data, bytes) else data.encode()
        vector = {'name': name, 'type': 'kinlog.%s.v1' % command}
        if isinstance(data, bytes):
            vector['dataHex'] = raw.hex()
        else:
            vector['data'] = data
        vector['decodable'] = fits
        vector['hash'] = content_hash(command, raw, fits)
        yield vector


def main():
    content = {
        'description': 'Content hashes of commands, made by tests/schemas/make_vectors.py. siteKey and '
                       'dataHex are hexadecimal; data is text, to be taken as UTF-8.',
        'siteKey': KEY.hex(),
        'vectors': list(vectors()),
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + '\n'
    if sys.argv[1:] == ['--check']:
        if FILE.read_text('utf-8') != text:
            sys.exit('schemas/content-hash.vectors.json is not what tests/schemas/make_vectors.py writes')
        print('%d content hash vectors are current' % len(CASES))
        return
    FILE.write_text(text, 'utf-8')


if __name__ == '__main__':
    main()
