#!/usr/bin/python3
"""Writes tests/data/hostile/*.json: documents that no decoder may stumble over, most of them refused.

The files are data of a CreateRelationship unless they are no object at all; any test may use them for
anything. Two more are too large for the repository and are made when needed: deep() and wide().

    make_hostile.py            writes the files
    make_hostile.py --check    1 if a file is not what would be written

SPDX-License-Identifier: Apache-2.0
"""
import pathlib
import sys

FOLDER = pathlib.Path(__file__).resolve().parents[1] / 'data' / 'hostile'


def deep(levels=10000):
    return b'[' * levels + b']' * levels


def wide(size=1 << 20):
    return (b'[' + b'{},{},' * (size // 6))[:size]


def relationship(**changes):
    """A good command with members replaced; values are JSON text, None leaves one out."""
    values = {'MachineResourceId': '1', 'UserAccountName': r'"contoso\\anna"', 'SourceId': '2', 'TypeId': '1'}
    values.update(changes)
    return '{%s}' % ','.join('"%s":%s' % item for item in values.items() if item[1] is not None)


def usage(**changes):
    values = {'ResourceID': '1', 'UniqueUserName': r'"contoso\\anna"', 'Start': '"2026-05-28T08:15:00Z"',
              'Minutes': '480', 'Count': '1'}
    values.update(changes)
    return '{%s}' % ','.join('"%s":%s' % item for item in values.items() if item[1] is not None)


def name(text):
    return relationship(UserAccountName='"%s"' % text)


def cases():
    yield 'good', relationship()
    # not JSON
    yield 'not-json-text', 'hello'
    yield 'not-json-empty', ''
    yield 'not-json-blank', ' \n'
    yield 'not-json-cut', relationship()[:-1]
    yield 'not-json-twice', relationship() * 2
    yield 'not-json-comma-last', relationship()[:-1] + ',}'
    yield 'not-json-comma-first', '{,' + relationship()[1:]
    yield 'not-json-single-quotes', relationship().replace('"', "'")
    yield 'not-json-comment', relationship() + '/* x */'
    yield 'not-json-nan', relationship(SourceId='NaN')
    yield 'not-json-infinity', relationship(SourceId='-Infinity')
    yield 'not-json-plus', relationship(SourceId='+2')
    yield 'not-json-leading-zero', relationship(SourceId='02')
    yield 'not-json-minus-zero-one', relationship(SourceId='-01')
    yield 'not-json-point-first', relationship(SourceId='.2')
    yield 'not-json-point-last', relationship(SourceId='2.')
    yield 'not-json-exponent-cut', relationship(SourceId='2e')
    yield 'not-json-hex', relationship(SourceId='0x2')
    yield 'not-json-word', relationship(SourceId='nul')
    yield 'not-json-word-long', relationship(SourceId='nulll')
    yield 'not-json-key-number', '{1:2}'
    yield 'not-json-colon-missing', '{"SourceId" 2}'
    yield 'not-json-line-break-in-string', name('contoso\\\\an\nna')
    yield 'not-json-escape', name('contoso\\anna')  # \a is no escape
    yield 'not-json-escape-cut', name('contoso\\\\\\u00e')
    yield 'not-json-escape-x', name('contoso\\\\\\x41')
    yield 'byte-order-mark', b'\xef\xbb\xbf' + relationship().encode()
    yield 'utf-16', relationship().encode('utf-16-le')
    yield 'form-feed-as-blank', relationship() + '\f'
    # another kind of value
    for kind, text in (('null', 'null'), ('true', 'true'), ('number', '1'), ('list', '[]'), ('empty', '{}'),
                       ('string', '"x"')):
        yield 'document-' + kind, text
    yield 'double-encoded', '"%s"' % relationship().replace('\\', '\\\\').replace('"', '\\"')
    yield 'connect-envelope', '{"schema":{"type":"struct"},"payload":%s}' % relationship()
    yield 'registry-framing', b'\x00\x00\x00\x00\x07' + relationship().encode()
    # UTF-8
    for what, raw in (('continuation', b'\x80'), ('overlong-2', b'\xc0\xaf'), ('overlong-3', b'\xe0\x80\xaf'),
                      ('overlong-4', b'\xf0\x80\x80\xaf'), ('overlong-nul', b'\xc0\x80'),
                      ('surrogate', b'\xed\xa0\x80'), ('too-high', b'\xf4\x90\x80\x80'),
                      ('lead-f5', b'\xf5\x80\x80\x80'), ('lead-ff', b'\xff'), ('latin-1', b'\xe9')):
        yield 'utf-8-' + what, name('contoso\\\\ANNA').encode().replace(b'ANNA', raw)
    yield 'utf-8-cut-at-end', relationship().encode()[:-20] + b'\xe2\x82'
    yield 'utf-8-in-key', '{"SourceId\udcff":1}'.encode('utf-8', 'surrogateescape')
    # NUL and surrogates
    yield 'nul-byte-in-string', name('contoso\\\\an\0na')
    yield 'nul-escaped-in-string', name('contoso\\\\an\\u0000na')
    yield 'nul-escaped-in-key', '{"SourceId\\u0000":1}'
    yield 'nul-after-end', relationship() + '\0'
    yield 'surrogate-high-alone', name('contoso\\\\\\ud83d')
    yield 'surrogate-low-alone', name('contoso\\\\\\ude00')
    yield 'surrogate-wrong-order', name('contoso\\\\\\ude00\\ud83d')
    yield 'surrogate-high-high', name('contoso\\\\\\ud83d\\ud83d')
    yield 'surrogate-then-escape', name('contoso\\\\\\ud83d\\n')
    yield 'surrogate-pair', name('contoso\\\\\\ud83d\\ude00')
    # twice
    yield 'twice-same', relationship()[:-1] + ',"SourceId":2}'
    yield 'twice-escaped', relationship()[:-1] + ',"Source\\u0049d":2}'
    yield 'twice-in-two-spellings', relationship()[:-1] + ',"sourceid":2}'
    yield 'twice-null-and-value', relationship(TypeId='null')[:-1] + ',"TYPEID":1}'
    yield 'twice-unknown', relationship()[:-1] + ',"x":1,"x":1}'
    yield 'twice-deep-inside', relationship(SourceId='{"a":[{"b":1,"b":2}]}')
    yield 'twice-among-many', '{%s,"m00":1}' % ','.join('"m%02d":1' % i for i in range(40))
    # limits
    yield 'depth-32', '[' * 32 + ']' * 32
    yield 'depth-33', '[' * 33 + ']' * 33
    yield 'values-4096', '[%s]' % ','.join(['1'] * 4095)
    yield 'values-4097', '[%s]' % ','.join(['1'] * 4096)
    yield 'items-65', relationship(SourceId='[%s]' % ','.join(['1'] * 65))
    yield 'items-64', relationship(SourceId='[%s]' % ','.join(['1'] * 64))
    # numbers
    for what, text in (('2-to-32', '4294967296'), ('2-to-32-less-1', '4294967295'), ('negative', '-1'),
                       ('zero', '0'), ('minus-zero', '-0'), ('fraction', '1.5'), ('1e400', '1e400'),
                       ('1e-400', '1e-400'), ('minus-1e400', '-1e400'), ('string', '"1"'), ('integer-as-real', '2.0'),
                       ('integer-as-exponent', '2e0'), ('integer-as-shifted', '0.2e1'), ('20-digits', '1' * 20),
                       ('2-to-63', '9223372036854775808'), ('2-to-64', '18446744073709551616'),
                       ('nearly-an-integer', '1.00000000000000000000000000000000001'),
                       ('huge-exponent', '1e99999999999999999999'), ('tiny-exponent', '1e-99999999999999999999'),
                       ('zero-huge-exponent', '0e99999999999999999999'), ('trailing-zeros', '10000e-4'),
                       ('300-digits', '1' * 300), ('true', 'true'), ('null', 'null'), ('list', '[1]'),
                       ('object', '{}')):
        yield 'number-' + what, relationship(MachineResourceId=text)
    for source in ('0', '3', '9', '10', '[]', '[0]', '[1,10]', '[[1]]', '["1"]', '[null]', '[1.0,2e0]', 'null'):
        yield 'source-%s' % source.replace('[', 'list-').replace(']', '').replace(',', '-').replace('"', 'q'), \
            relationship(SourceId=source)
    for kind in ('0', '2', '[]', '[1,1]', 'null'):
        yield 'type-%s' % kind.replace('[', 'list-').replace(']', '').replace(',', '-'), relationship(TypeId=kind)
    yield 'usage-good', usage()
    for minutes in ('-1', '-0', '1440', '1441', '1.5', '"480"', '1e400', 'null'):
        yield 'usage-minutes-' + minutes.strip('"'), usage(Minutes=minutes)
    for count in ('-1', '0', '86400', '86401', '[1]'):
        yield 'usage-count-' + count.strip('[]'), usage(Count=count)
    for what, start in (('number', '1780000000000'), ('short', '"2026-05-28"'),
                        ('long', '"2026-05-28T08:15:00.%sZ"' % ('0' * 64)), ('null', 'null'),
                        ('list', '["2026-05-28T08:15:00Z"]'), ('missing', None)):
        yield 'usage-start-' + what, usage(Start=start)
    # members
    yield 'member-unknown', relationship()[:-1] + ',"Nmae":"x"}'
    yield 'member-unknown-null', relationship()[:-1] + ',"Nmae":null}'
    yield 'member-unknown-empty', relationship()[:-1] + ',"":1}'
    yield 'member-missing', relationship(UserAccountName=None)
    yield 'member-null', relationship(UserAccountName='null')
    yield 'member-upper-case', relationship().upper().replace('CONTOSO', 'contoso')
    yield 'member-turkish-i', relationship().replace('SourceId', 'Source\u0130d')
    yield 'member-kelvin', relationship().replace('MachineResourceId', 'MachineResourceId\u212a')
    yield 'member-proto', relationship()[:-1] + ',"__proto__":{}}'
    # names of users: JSON's view of them; most are judged after the schema
    yield 'name-no-backslash', name('anna')
    yield 'name-two-backslashes', name('contoso\\\\eu\\\\anna')
    yield 'name-trailing-backslash', name('contoso\\\\')
    yield 'name-2-characters', name('a\\\\')
    yield 'name-256-characters', name('c\\\\' + 'a' * 254)
    yield 'name-257-characters', name('c\\\\' + 'a' * 255)
    yield 'name-256-code-points-of-4-bytes', name('c\\\\' + '\U0001f600' * 254)
    yield 'name-10-kb', name('contoso\\\\' + 'a' * 10240)
    yield 'name-control', name('contoso\\\\an\\u0007na')
    yield 'name-zero-width', name('contoso\\\\an\u200bna')
    yield 'name-line-separator', name('contoso\\\\an\u2028na')
    yield 'name-composed', name('contoso\\\\j\u00f8rg\u00e9')
    yield 'name-decomposed', name('contoso\\\\j\u00f8rge\u0301')
    yield 'name-upper-case', name('CONTOSO\\\\ANNA')
    yield 'name-unassigned', name('contoso\\\\\u0378')
    yield 'name-noncharacter', name('contoso\\\\\uffff')
    yield 'name-blank-half', name(' \\\\anna')


def files():
    for case, content in cases():
        yield case, content if isinstance(content, bytes) else content.encode('utf-8')


def main():
    wanted = dict(files())
    if sys.argv[1:] == ['--check']:
        present = {path.stem: path.read_bytes() for path in FOLDER.glob('*.json')}
        if present != wanted:
            sys.exit('tests/data/hostile is not what tests/schemas/make_hostile.py writes')
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    for case, content in wanted.items():
        (FOLDER / (case + '.json')).write_bytes(content)


if __name__ == '__main__':
    main()
