#!/usr/bin/python3
"""Is what is made from the schemas, or refers to them, current?

SPDX-License-Identifier: Apache-2.0
"""
import json
import subprocess
import sys

import checker

ROOT = checker.ROOT
ANNOTATIONS = {'$schema', '$id', 'title', 'description'}


def made(*command):
    """A generator's --check."""
    done = subprocess.run([sys.executable, *command, '--check'], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    return done.stderr.strip() if done.returncode else None


def same_in_both_drafts(schema, place):
    """draft-07 ignores what stands beside $ref, 2020-12 does not; a list of schemas in items is gone there."""
    if not isinstance(schema, dict):
        return
    beside = set(schema) - ANNOTATIONS - {'$ref', 'x-key', 'x-personal'}
    if '$ref' in schema and beside:
        raise ValueError('%s: %s beside $ref' % (place, sorted(beside)))
    if isinstance(schema.get('items'), list):
        raise ValueError('%s: items is a list' % place)
    for keyword in ('properties', 'definitions'):
        for name, member in schema.get(keyword, {}).items():
            same_in_both_drafts(member, '%s/%s/%s' % (place, keyword, name))
    for keyword in ('items', 'additionalProperties'):
        same_in_both_drafts(schema.get(keyword), '%s/%s' % (place, keyword))


def every_schema_is_plain():
    for path in sorted((ROOT / 'schemas').glob('*/*.v*.json')):
        schema = json.loads(path.read_text('utf-8'))
        if schema.get('$id') != 'urn:kinlog:schema:' + path.name[:-len('.json')]:
            return '%s: wrong $id' % path.name
        try:
            same_in_both_drafts(schema, path.name + '#')
        except ValueError as fault:
            return str(fault)
    return None


def events_have_all_members():
    for kind in ('events', 'answers'):
        for path in (ROOT / 'schemas' / kind).glob('*.json'):
            schema = json.loads(path.read_text('utf-8'))
            if list(schema['properties']) != schema['required']:
                return '%s: every member is required, in declared order' % path.name
    return None


CHECKS = [
    lambda: made('tests/schemas/make_vectors.py'),
    lambda: made('tests/schemas/make_hostile.py'),
    lambda: made('docs/make_message_reference.py'),
    lambda: made('docs/make_asyncapi.py'),
    every_schema_is_plain,
    events_have_all_members,
]


def main():
    faults = [fault for fault in (check() for check in CHECKS) if fault]
    for fault in faults:
        print('failed: ' + fault)
    print('made from schemas: %d passed, %d failed' % (len(CHECKS) - len(faults), len(faults)))
    sys.exit(1 if faults else 0)


if __name__ == '__main__':
    main()
