# kinlog_parts.py - the small parts that kinlog_model.py and associations.py stand on: numbers, hashes,
# times, user names, and the checks of single members of a command's data.
#
# SPDX-License-Identifier: Apache-2.0
import base64
import calendar
import re
import struct
import time
import unicodedata

import kinlog_json

SLOTS = 240
RULES = 1
INVALID_PARAMETER = -2147217400
NOT_FOUND = -2147217406
ACCESS_DENIED = -2147217405
NOT_SUPPORTED = -2147217396
OTHER_FAILURE = -2147217407
ALREADY_EXISTS = -2147217383
STALE_VERSION = 40003
HEADERS_MAX = 64 * 1024
ATTRIBUTE_MAX = 255
TRACESTATE_MAX = 512
RECORDS_WITHOUT_EVENT = 10_000
HOUR_MS = 3_600_000
ANSWER_EVENTS_MAX = 100
UINT32_MAX = 2 ** 32 - 1
SEQUENCE_MAX = 2 ** 53 - 1

# ---- small parts -----------------------------------------------------------------------

def murmur2(data):
    """Kafka's default partitioner's hash, before masking."""
    m, mask = 0x5bd1e995, 0xffffffff
    h = 0x9747b28c ^ len(data)
    whole = len(data) & ~3
    for (k,) in struct.iter_unpack('<I', data[:whole]):
        k = k * m & mask
        k ^= k >> 24
        h = (h * m & mask) ^ (k * m & mask)
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, 'little')) * m & mask
    h ^= h >> 13
    h = h * m & mask
    return h ^ h >> 15


def slot_of_key(key):
    return (murmur2(key) & 0x7fffffff) % SLOTS


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode('ascii')


def rfc3339(time_ms):
    seconds, ms = divmod(time_ms, 1000)
    return time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds)) + '.%03dZ' % ms


def cim_datetime(time_ms):
    seconds, ms = divmod(time_ms, 1000)
    return time.strftime('%Y%m%d%H%M%S', time.gmtime(seconds)) + '.%03d000+000' % ms


_RFC3339 = re.compile(r'(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:Z|([+-])(\d\d):(\d\d))',
                      re.ASCII | re.IGNORECASE)


def parse_rfc3339(text):
    """Milliseconds since 1970, cut; None if text is no RFC 3339 time. Second 60 counts as 59.999."""
    match = _RFC3339.fullmatch(text)
    if not match:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    zone_hour, zone_minute = int(match[9] or 0), int(match[10] or 0)
    if not (1 <= month <= 12 and 1 <= day <= calendar.monthrange(year or 4, month)[1] and hour < 24
            and minute < 60 and second <= 60 and zone_hour < 24 and zone_minute < 60):
        return None
    ms = int(((match[7] or '') + '000')[:3])
    if second == 60:
        second, ms = 59, 999
    seconds = calendar.timegm((year, month, day, hour, minute, second))
    offset = (zone_hour * 60 + zone_minute) * 60 * (-1 if match[8] == '-' else 1)
    return (seconds - offset) * 1000 + ms


# White_Space of the Unicode Character Database.
BLANKS = frozenset(chr(c) for c in (*range(9, 14), 0x20, 0x85, 0xa0, 0x1680, *range(0x2000, 0x200b),
                                    0x2028, 0x2029, 0x202f, 0x205f, 0x3000))
FORBIDDEN = frozenset(('Cc', 'Cf', 'Zl', 'Zp', 'Cs', 'Cn'))


def user_name_fits(name):
    """Decision D6. Python 3.11 knows Unicode 14, rules 1 pin 15.0: the two differ only in code points
    that 15.0 has added, which callers keep out of their way."""
    if len(name.encode('utf-8')) > 256 or name.count('\\') != 1:
        return False
    for half in name.split('\\'):
        if not half or half[0] in BLANKS or half[-1] in BLANKS:
            return False
    return not any(unicodedata.category(char) in FORBIDDEN for char in name)


def fold_user_name(name):
    folded = unicodedata.normalize('NFC', name).casefold()
    return unicodedata.normalize('NFC', folded).encode('utf-8')


def has_control(text):
    return any(unicodedata.category(char) == 'Cc' for char in text)


# ---- members of a command, each with its check -----------------------------------------

class Fault(Exception):
    """A command's data does not fit; parameter is the member to name, or None."""

    def __init__(self, parameter):
        super().__init__(parameter)
        self.parameter = parameter


def integer_between(low, high):
    def check(node):
        value = kinlog_json.integer(node.value) if node.kind == 'number' else None
        if value is None or not low <= value <= high:
            raise ValueError
        return value
    return check


def text_between(low, high):
    def check(node):
        if node.kind != 'string' or not low <= len(node.value) <= high:
            raise ValueError
        return node.value
    return check


def list_of(item, low, high):
    def check(node):
        if node.kind != 'array' or not low <= len(node.value) <= high:
            raise ValueError
        return [item(node) for node in node.value]
    return check


def one_or_list_of(item, high):
    """A number counts as the list of that number."""
    def check(node):
        return list_of(item, 1, high)(node) if node.kind == 'array' else [item(node)]
    return check


def user_name(node):
    name = text_between(3, 256)(node)
    if not user_name_fits(name):
        raise ValueError
    return name


def boolean(node):
    if node.kind not in ('true', 'false'):
        raise ValueError
    return node.kind == 'true'


def one_of(*words):
    def check(node):
        if node.kind != 'string' or node.value not in words:
            raise ValueError
        return node.value
    return check


RESOURCE = integer_between(1, UINT32_MAX)


def ascii_lower(text):
    return ''.join(chr(ord(c) + 32) if 'A' <= c <= 'Z' else c for c in text)


def or_null(items):
    return list(items) if items else None


_CIM_DATETIME = re.compile(r'(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)\.(\d{6})([+-])(\d{3})', re.ASCII)


def cim_datetime_text(node):
    """A CIM datetime that names a moment. READING: as cim_datetime() writes it, in UTC."""
    text = text_between(25, 25)(node)
    match = _CIM_DATETIME.fullmatch(text)
    if not match or match[8] + match[9] != '+000' or match[7][3:] != '000':
        raise ValueError
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    if not (1 <= month <= 12 and 1 <= day <= calendar.monthrange(year or 4, month)[1] and hour < 24
            and minute < 60 and second < 60):
        raise ValueError
    return text


# ---- decisions -------------------------------------------------------------------------

class Rejected(Exception):
    def __init__(self, value, parameter):
        super().__init__(value, parameter)
        self.value, self.parameter = value, parameter


class Unchanged(Exception):
    """The command is fine and there is nothing to do."""


def extended_status(operation, parameter, status):
    return {'Description': '', 'Operation': operation or '-', 'ParameterInfo': parameter,
            'StatusCode': status}
