#!/usr/bin/python3
"""Runs compiled validators over Debian's json-schema-test-suite (draft-07).

    suite.py compile SCHEMAC FOLDER   compiles every group of the suite that the compiler takes, into
                                      FOLDER/validators.c, and writes FOLDER/groups.json
    suite.py run PROGRAM FOLDER       runs the tests of these groups, prints "N passed, N failed"

A group whose schema the compiler refuses is counted, and must be refused for one of the known reasons. Each
keyword of KEYWORDS is tested by groups that it takes.

SPDX-License-Identifier: Apache-2.0
"""
import collections
import json
import pathlib
import re
import subprocess
import sys

import checker

SUITE = pathlib.Path('/usr/share/json-schema-test-suite/tests/draft7')

# What the compiler must know; the suite has a file for each.
KEYWORDS = ['type', 'properties', 'required', 'additionalProperties', 'enum', 'const', 'minimum', 'maximum', 'minLength',
            'maxLength', 'items', 'minItems', 'maxItems', 'uniqueItems', 'ref']

# What the compiler may refuse of a schema that draft-07 allows, and why that is no loss.
KNOWN_REASONS = [
    ('another keyword', r'keyword "[^"]*" is not one that this compiler knows'),
    ('$ref out of the file', r'\$ref may only point into its own file'),
    ('$ref to no schema', r'\$ref "[^"]*": no schema stands there'),
    ('$id below the root', r'below the root \$id changes what \$ref means'),
    ('U+0000 in a schema', r'\\u0000 is not allowed'),
]


def groups():
    for file in sorted(SUITE.glob('*.json')):
        for index, group in enumerate(json.loads(file.read_text('utf-8'))):
            yield '%s-%d' % (file.stem, index), group


def compile_groups(schemac, folder):
    taken, refused, faults = [], collections.Counter(), []
    for name, group in groups():
        path = folder / (name + '.json')
        path.write_text(json.dumps(group['schema']), 'utf-8')
        done = subprocess.run([schemac, '--validators', '/dev/null', str(path)],
                              stderr=subprocess.PIPE, text=True)
        if done.returncode == 0:
            taken.append((name, path, group))
            continue
        reasons = [reason for reason, pattern in KNOWN_REASONS if re.search(pattern, done.stderr)]
        if done.returncode != 1 or not reasons:
            faults.append(done.stderr.strip() or '%s: the compiler crashed' % name)
            continue
        refused[reasons[0]] += len(group['tests'])
    tested = {name.rsplit('-', 1)[0] for name, _, _ in taken}
    faults += ['no schema of %s.json is taken' % keyword for keyword in KEYWORDS if keyword not in tested]
    if faults:
        sys.exit('the compiler refuses too much:\n' + '\n'.join(faults))
    subprocess.run([schemac, '--validators', str(folder / 'validators.c')]
                   + [str(path) for _, path, _ in taken], check=True)
    (folder / 'groups.json').write_text(json.dumps({
        'refused': refused, 'groups': [[name, group] for name, _, group in taken]}), 'utf-8')


def run_groups(program, folder):
    compiled = json.loads((folder / 'groups.json').read_text('utf-8'))
    cases = [(name, group['description'], test)
             for name, group in compiled['groups'] for test in group['tests']]
    verdicts = checker.ask(program, [(name, json.dumps(test['data'], ensure_ascii=False).encode())
                                     for name, _, test in cases])
    failed = 0
    for (name, description, test), verdict in zip(cases, verdicts):
        wanted = checker.OK if test['valid'] else checker.MISMATCH
        if verdict.fault != wanted:
            failed += 1
            print('failed: %s: %s: %s: %r %s' % (name, description, test['description'], test['data'],
                                                 verdict.text))
    refused = compiled['refused']
    print('json-schema-test-suite: %d passed, %d failed (%d groups); %d tests of refused schemas: %s' % (
        len(cases) - failed, failed, len(compiled['groups']), sum(refused.values()),
        ', '.join('%d %s' % (count, reason) for reason, count in sorted(refused.items()))))
    if failed or not cases:
        sys.exit(1)


if __name__ == '__main__':
    action = {'compile': compile_groups, 'run': run_groups}[sys.argv[1]]
    action(sys.argv[2], pathlib.Path(sys.argv[3]))
