"""RFC 8785 (canonical JSON), written from the text of the RFC and of ECMAScript, for tests only.

Numbers may come as int, float or Decimal; all go through a double, as the RFC demands.

SPDX-License-Identifier: Apache-2.0
"""
import re

ESCAPES = {'"': '\\"', '\\': '\\\\', '\b': '\\b', '\f': '\\f', '\n': '\\n', '\r': '\\r', '\t': '\\t'}


def number(value):
    """ECMAScript's Number::toString."""
    value = float(value)
    if value != value or value in (float('inf'), float('-inf')):
        raise ValueError('no form for a number beyond a double')
    if value == 0:
        return '0'
    if value < 0:
        return '-' + number(-value)
    # repr() gives the shortest digits that read back as the same double.
    whole, fraction, exponent = re.fullmatch(r'(\d+)(?:\.(\d+))?(?:e([+-]\d+))?', repr(value)).groups()
    digits = whole + (fraction or '')
    n = len(whole) + int(exponent or 0)  # value = 0.digits * 10^n
    n -= len(digits) - len(digits.lstrip('0'))
    digits = digits.strip('0')
    k = len(digits)
    if k <= n <= 21:
        return digits + '0' * (n - k)
    if 0 < n <= 21:
        return digits[:n] + '.' + digits[n:]
    if -6 < n <= 0:
        return '0.' + '0' * -n + digits
    sign = '+' if n > 0 else '-'
    return digits[0] + ('.' + digits[1:] if k > 1 else '') + 'e' + sign + str(abs(n - 1))


def string(value):
    return '"' + ''.join(ESCAPES.get(c, c if c >= ' ' else '\\u%04x' % ord(c)) for c in value) + '"'


def canonical(value):
    if value is None:
        return 'null'
    if value is True or value is False:
        return 'true' if value else 'false'
    if isinstance(value, str):
        return string(value)
    if isinstance(value, (list, tuple)):
        return '[' + ','.join(canonical(item) for item in value) + ']'
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode('utf-16-be'))
        return '{' + ','.join(string(name) + ':' + canonical(value[name]) for name in names) + '}'
    return number(value)
