"""Asks the compiled schemas (the program check.c) about documents.

SPDX-License-Identifier: Apache-2.0
"""
import collections
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
OK, SYNTAX, LIMIT, MISMATCH = range(4)  # enum codec_fault

Verdict = collections.namedtuple('Verdict', 'fault member text encoded')


def ask(program, requests):
    """requests: pairs of a schema's name and a document's bytes. One Verdict each."""
    stream = b''.join(b'%s %d\n%s' % (name.encode(), len(data), data) for name, data in requests)
    done = subprocess.run([program], input=stream, stdout=subprocess.PIPE, check=True)
    lines = done.stdout.decode('utf-8').split('\n')[:-1]
    if len(lines) != len(requests):
        raise SystemExit('check.c answered %d of %d requests' % (len(lines), len(requests)))
    verdicts = []
    for line in lines:
        fault, member, text, encoded = line.split('\t', 3)
        verdicts.append(Verdict(int(fault), member, text, encoded))
    return verdicts
