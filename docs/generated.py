"""What the generators of pages have in common: they write their file, or with --check tell whether it is current.

SPDX-License-Identifier: Apache-2.0
"""
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]


def write_or_check(name, text):
    """name: of the file, below the repository."""
    path = ROOT / name
    if sys.argv[1:] != ['--check']:
        path.write_text(text, 'utf-8')
    elif not path.exists() or path.read_text('utf-8') != text:
        sys.exit('%s is not what %s writes: run it' % (name, pathlib.Path(sys.argv[0]).resolve().relative_to(ROOT)))
    else:
        print('%s is current' % name)
