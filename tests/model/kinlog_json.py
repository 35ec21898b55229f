# kinlog_json.py - a strict JSON reader for the model: keeps spans, duplicates, numbers as written.
#
# Python's own json module forgets what the model must judge: duplicate members, the bytes of one
# member as they stand, "2.0" against "2", depth. So this is a reader of its own, after RFC 8259.
#
# A Node is one value. Hard faults (not UTF-8, not the grammar, over a limit) raise JsonFault. Soft
# faults (a duplicate member, U+0000 or a lone surrogate in a string) are well-formed JSON; they only
# mark the value that holds them and all values around it (node.soft), so that a structured record
# whose data has one can still be decoded far enough to know id and source.
#
# SPDX-License-Identifier: Apache-2.0
import json
import re

BYTES_MAX = 256 * 1024
DEPTH_MAX = 32
VALUES_MAX = 4096


class JsonFault(Exception):
    """The bytes are no JSON text, or over a limit."""


class Node:
    """kind: object (value: list of (name, Node)), array, string, number (value: its text), true,
    false, null. raw: the text as it stands."""
    __slots__ = ('kind', 'value', 'raw', 'soft')

    def __init__(self, kind, value, raw, soft=False):
        self.kind, self.value, self.raw, self.soft = kind, value, raw, soft

    def members(self, name):
        """All members of an object with exactly this name."""
        return [node for member, node in self.value if member == name]


_SPACE = re.compile(r'[ \t\n\r]*')
_STRING = re.compile(r'"((?:[^"\\\x00-\x1f]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*)"')
_NUMBER = re.compile(r'-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?')
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(.))')
_SHORT = {'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}


def _unescape(body):
    """The string that a literal's body stands for, and whether it has a soft fault."""
    if '\\' not in body:
        return body, False
    text = _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else _SHORT.get(m[2], m[2]), body)
    try:
        # Pairs of surrogates become one code point; a lone one stays and cannot be encoded.
        text = text.encode('utf-16-le', 'surrogatepass').decode('utf-16-le')
    except UnicodeDecodeError:
        return text, True
    return text, '\0' in text


class _Reader:
    def __init__(self, text):
        self.text, self.at, self.values = text, 0, 0

    def skip(self):
        self.at = _SPACE.match(self.text, self.at).end()
        return self.text[self.at:self.at + 1]

    def expect(self, char):
        if self.skip() != char:
            raise JsonFault('syntax')
        self.at += 1

    def string(self):
        match = _STRING.match(self.text, self.at)
        if not match:
            raise JsonFault('syntax')
        self.at = match.end()
        return _unescape(match[1])

    def value_at(self, depth):
        char = self.skip()
        start = self.at
        self.values += 1
        if self.values > VALUES_MAX or (char in ('{', '[') and depth >= DEPTH_MAX):
            raise JsonFault('limit')
        if char == '{':
            kind, value, soft = 'object', *self.object(depth + 1)
        elif char == '[':
            kind, value, soft = 'array', *self.array(depth + 1)
        elif char == '"':
            kind, (value, soft) = 'string', self.string()
        else:
            kind, value, soft = *self.scalar(), False
        return Node(kind, value, self.text[start:self.at], soft)

    def scalar(self):
        for word in ('true', 'false', 'null'):
            if self.text.startswith(word, self.at):
                self.at += len(word)
                return word, None
        match = _NUMBER.match(self.text, self.at)
        if not match:
            raise JsonFault('syntax')
        self.at = match.end()
        return 'number', match[0]

    def object(self, depth):
        members, names, soft = [], set(), False
        self.at += 1
        if self.skip() == '}':
            self.at += 1
            return members, False
        while True:
            if self.skip() != '"':
                raise JsonFault('syntax')
            name, bad = self.string()
            self.expect(':')
            node = self.value_at(depth)
            soft = soft or bad or node.soft or name in names
            names.add(name)
            members.append((name, node))
            if self.skip() != ',':
                self.expect('}')
                return members, soft
            self.at += 1

    def array(self, depth):
        items, soft = [], False
        self.at += 1
        if self.skip() == ']':
            self.at += 1
            return items, False
        while True:
            items.append(self.value_at(depth))
            soft = soft or items[-1].soft
            if self.skip() != ',':
                self.expect(']')
                return items, soft
            self.at += 1


def parse(raw):
    """The Node of a JSON text in bytes, or JsonFault."""
    if len(raw) > BYTES_MAX:
        raise JsonFault('limit')
    try:
        text = raw.decode('utf-8')
    except UnicodeDecodeError:
        raise JsonFault('not UTF-8') from None
    reader = _Reader(text)
    node = reader.value_at(0)
    if reader.skip():
        raise JsonFault('syntax')
    return node


_PARTS = re.compile(r'(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?')


def integer(text):
    """The exact integer that a number's text stands for (2.0 and 2e0 are 2); None if it is none.
    What is far beyond every limit comes back as some number beyond every limit."""
    sign, whole, fraction, exponent = _PARTS.fullmatch(text).groups()
    fraction = (fraction or '').rstrip('0')
    digits = (whole + fraction).lstrip('0')
    if not digits:
        return 0
    power = int(exponent or 0) - len(fraction)
    if power > 40:
        value = 10 ** 40
    elif power >= 0:
        value = int(digits) * 10 ** power
    elif len(digits) > -power and not digits[power:].strip('0'):
        value = int(digits[:power])
    else:
        return None
    return -value if sign else value


def dump(value):
    """Compact JSON in the order of the dicts, escaping only what JSON demands."""
    return json.dumps(value, ensure_ascii=False, separators=(',', ':'))


def canonical(value):
    """RFC 8785 of strings, integers, booleans, lists, and objects with plain names: all that device
    commands hold."""
    return json.dumps(value, ensure_ascii=False, separators=(',', ':'), sort_keys=True).encode('utf-8')
