#!/usr/bin/python3
"""What the schema compiler refuses, where, and why.

    test_compiler.py SCHEMAC FOLDER

SPDX-License-Identifier: Apache-2.0
"""
import json
import pathlib
import subprocess
import sys

GOOD = {'title': 'Try.v1', 'description': 'A try.', 'type': 'object', 'additionalProperties': False,
        'properties': {'A': {'type': 'integer'}}, 'required': ['A']}


def with_member(schema, **more):
    return {**GOOD, 'properties': {'A': schema}, **more}


# (schema, the place named in the message, a part of the reason)
REFUSED = [
    ({**GOOD, 'oneOf': []}, '#/oneOf', 'keyword "oneOf"'),
    (with_member({'type': 'string', 'pattern': 'x'}), '#/properties/A/pattern', 'keyword "pattern"'),
    (with_member({'type': 'string', 'minimun': 1}), '#/properties/A/minimun', 'keyword "minimun"'),
    (with_member({'type': 'text'}), '#/properties/A/type', 'types of JSON Schema'),
    (with_member({'type': ['string', 'string']}), '#/properties/A/type', 'twice'),
    (with_member({'type': []}), '#/properties/A/type', 'at least one'),
    (with_member({'type': 'string', 'maxLength': -1}), '#/properties/A/maxLength', 'from 0'),
    (with_member({'type': 'string', 'maxLength': 1.5}), '#/properties/A/maxLength', 'integer'),
    (with_member({'type': 'integer', 'minimum': '1'}), '#/properties/A/minimum', 'number'),
    (with_member({'type': 'integer', 'minimum': 0.5}), '#/properties/A', 'must be integers'),
    (with_member({'type': 'string', 'enum': []}), '#/properties/A/enum', 'at least one'),
    (with_member({'type': 'string', 'x-personal': 'yes'}), '#/properties/A/x-personal', 'true or false'),
    (with_member({'$ref': 'http://example.org/x.json'}), '#/properties/A', 'its own file'),
    (with_member({'$ref': '#/definitions/none'}), '#/properties/A', 'no schema stands there'),
    (with_member({'$ref': '#/properties/A'}), '#/properties/A', 'circle'),
    (with_member({'$ref': '#'}), '#', 'cannot hold itself'),
    (with_member({'type': 'integer', '$id': 'urn:x'}), '#/properties/A/$id', 'below the root'),
    (with_member({'type': ['integer', 'string']}), '#/properties/A', 'no type in C'),
    (with_member({'type': 'array'}), '#/properties/A', 'one schema for all its items'),
    (with_member({'type': 'array', 'items': [{'type': 'integer'}]}), '#/properties/A', 'one schema for all'),
    (with_member({'type': 'array', 'items': {'type': ['integer', 'null']}}), '#/properties/A/items', 'not null'),
    (with_member({'type': ['integer', 'array'], 'items': {'type': 'string'}}), '#/properties/A', 'same type in C'),
    (with_member({'type': 'object', 'properties': {}}), '#/properties/A', 'additionalProperties false'),
    (with_member(7), '#/properties/A', 'must be an object, true or false'),
    ({**GOOD, 'required': ['B']}, '#', '"B" is required but not listed'),
    ({**GOOD, 'required': ['A', 'A']}, '#/required', 'twice'),
    ({**GOOD, 'properties': {'ResourceID': True, 'ResourceId': True}, 'required': []}, '#', 'too alike'),
    ({**GOOD, 'properties': {'A': True, 'HasA': True}, 'required': []}, '#', 'too alike'),
    ({**GOOD, 'properties': {'A b': True}, 'required': []}, '#', 'no identifier'),
    ({**GOOD, 'title': 'Other.v1'}, '#/title', 'must be "Try.v1"'),
    ({**GOOD, 'description': 1}, '#/description', 'string'),
    ({key: value for key, value in GOOD.items() if key != 'description'}, '#/description', 'missing'),
    ({**GOOD, 'type': 'string'}, '#', 'object with properties'),
    (True, '#/title', 'must be'),
]

TAKEN = [
    GOOD,
    with_member({'type': ['integer', 'array', 'null'], 'items': {'type': 'integer'}}),
    with_member({'type': 'integer', 'minimum': 0}),
    with_member({'type': 'array', 'items': {'$ref': '#/definitions/B'}},
                definitions={'B': {'type': 'object', 'properties': {'Default': {'type': 'number'}},
                                   'additionalProperties': False}}),
    with_member(True),
    with_member({'description': 'a */ in a comment? and "quotes" \\', 'type': 'boolean'}),
]


def compiled(schemac, folder, text):
    path = folder / 'commands' / 'Try.v1.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, 'utf-8')
    return subprocess.run([schemac, str(folder), str(path)], stderr=subprocess.PIPE, text=True)


def main():
    schemac, folder = sys.argv[1], pathlib.Path(sys.argv[2]) / 'compiler'
    failed = 0
    for schema, place, reason in REFUSED:
        done = compiled(schemac, folder, json.dumps(schema))
        if done.returncode != 1 or 'Try.v1.json: %s: ' % place not in done.stderr or reason not in done.stderr:
            failed += 1
            print('failed: %s\n  should be refused at %s for: %s\n  %d %s' % (
                json.dumps(schema), place, reason, done.returncode, done.stderr))
    for text in ('{', '{"type":"object","type":"object"}', ''):
        done = compiled(schemac, folder, text)
        if done.returncode != 1 or 'Try.v1.json:' not in done.stderr:
            failed += 1
            print('failed: %r is no JSON: %d %s' % (text, done.returncode, done.stderr))
    for schema in TAKEN:
        done = compiled(schemac, folder, json.dumps(schema))
        if done.returncode == 0:
            done = subprocess.run(
                ['cc', '-std=c17', '-Wall', '-Wextra', '-Wpedantic', '-Wconversion', '-Werror', '-fsyntax-only',
                 '-I.', '-I%s' % folder, str(folder / 'schemas' / 'commands.c'),
                 str(folder / 'schemas' / 'registry.c')], stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            failed += 1
            print('failed: %s\n  should be taken: %s' % (json.dumps(schema), done.stderr))
    count = len(REFUSED) + 3 + len(TAKEN)
    print('schema compiler: %d passed, %d failed' % (count - failed, failed))
    if failed:
        sys.exit(1)


if __name__ == '__main__':
    main()
