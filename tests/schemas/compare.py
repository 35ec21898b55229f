#!/usr/bin/python3
"""Compares the compiled validators of all messages with Python's jsonschema.

    compare.py PROGRAM      SEED=n repeats a run, ROUNDS=n sets the random documents per schema

Over the hostile corpus (tests/data/hostile), and random and mutated documents. Where Kinlog is stricter
than jsonschema on purpose (limits, twins, NUL, surrogates), or reads commands more widely (spelling of
members, null), strict_parse() and spelled() below say so in Python. What is compared: taken or refused;
which member is named, that is the first in declared order; and what the struct holds, encoded again.

SPDX-License-Identifier: Apache-2.0
"""
import decimal
import json
import os
import random
import sys

import jsonschema

import checker
import make_hostile
import rfc8785

ROOT = checker.ROOT
BYTES_MAX, DEPTH_MAX, VALUES_MAX = 256 * 1024, 32, 4096


class Refused(Exception):
    """Not JSON for Kinlog, though Python may take it."""


# ---- JSON as Kinlog reads it

def pairs_to_object(pairs):
    found = {}
    for name, value in pairs:
        if name in found:
            raise Refused('twice')
        found[name] = value
    return found


def walk(value, depth=0):
    """Counts the values; refuses what no text may hold."""
    if isinstance(value, str):
        if '\0' in value or any('\ud800' <= c <= '\udfff' for c in value):
            raise Refused('NUL or a surrogate')
        return 1
    if not isinstance(value, (dict, list)):
        return 1
    if depth == DEPTH_MAX:
        raise Refused('depth')
    if isinstance(value, dict):
        for name in value:
            walk(name)
    inner = value.values() if isinstance(value, dict) else value
    return 1 + sum(walk(item, depth + 1) for item in inner)


def refuse_constant(_):
    raise Refused('NaN or Infinity')


DIGITS_MAX = 4000  # Python refuses to print integers of more than 4300, and jsonschema prints them


class Huge(Exception):
    """A number that Python cannot hold or print; none is compared."""


def number(text):
    """Numbers stay exact."""
    try:
        value = decimal.Decimal(text)
    except decimal.InvalidOperation as fault:
        raise Huge(text) from fault
    if value and not -DIGITS_MAX < value.adjusted() < DIGITS_MAX:
        raise Huge(text)
    return int(value) if value == value.to_integral_value() else value


def strict_parse(data):
    if len(data) > BYTES_MAX:
        raise Refused('size')
    try:
        text = data.decode('utf-8')
        value = json.loads(text, object_pairs_hook=pairs_to_object, parse_constant=refuse_constant,
                           parse_float=number, parse_int=number)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as fault:
        raise Refused(str(fault)) from fault
    if walk(value) > VALUES_MAX:
        raise Refused('values')
    return value


def fold(name):
    return ''.join(chr(ord(c) + 32) if 'A' <= c <= 'Z' else c for c in name)


def spelled(schema, value):
    """A command's members as the schema spells them, nulls left out. Names the twin in two spellings."""
    if not isinstance(value, dict):
        return value, None
    spelling = {fold(name): name for name in schema['properties']}
    found, seen, twins = {}, set(), set()
    for name, item in value.items():
        known = spelling.get(fold(name))
        if known is None:
            found[name] = item
        elif known in seen:
            twins.add(known)
        else:
            seen.add(known)
            if item is not None:
                found[known] = item
    return found, twins


# ---- what should come out

def is_integer(_, instance):
    return isinstance(instance, int) and not isinstance(instance, bool)


def is_number(_, instance):
    return isinstance(instance, (int, decimal.Decimal)) and not isinstance(instance, bool)


Validator = jsonschema.validators.extend(
    jsonschema.Draft7Validator,
    type_checker=jsonschema.Draft7Validator.TYPE_CHECKER.redefine('integer', is_integer)
    .redefine('number', is_number))


def faulty_members(validator, value):
    """The top-level members at fault; '' is the document itself or a member that it does not know."""
    found = set()
    for error in validator.iter_errors(value):
        if error.absolute_path:
            found.add(error.absolute_path[0])
        elif error.validator == 'required':
            found.update(name for name in error.validator_value if name not in value)
        else:
            found.add('')
    return found


def resolved(root, schema):
    while '$ref' in schema:
        schema = root['definitions'][schema['$ref'].rsplit('/', 1)[1]]
    return schema


def encoded(root, schema, value):
    """The text that the codec writes for a value: members in declared order, lists for scalars, nulls if
    required, and the canonical form where the schema says nothing of what is inside."""
    schema = resolved(root, schema)
    if isinstance(value, dict) and 'properties' in schema:
        return '{%s}' % ','.join(
            rfc8785.string(name) + ':' + encoded(root, member, value.get(name))
            for name, member in schema['properties'].items()
            if value.get(name) is not None or name in schema.get('required', []))
    if value is not None and 'array' in schema.get('type', []):
        items = value if isinstance(value, list) else [value]
        return '[%s]' % ','.join(encoded(root, schema['items'], item) for item in items)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return rfc8785.canonical(value)


def expectation(validator, is_command, data):
    """(fault, member, the struct encoded again)"""
    try:
        value = strict_parse(data)
    except Refused:
        return 'no JSON', '', None
    twins = None
    if is_command:
        value, twins = spelled(validator.schema, value)
    faults = faulty_members(validator, value) | (twins or set())
    if not faults:
        try:
            return None, '', encoded(validator.schema, validator.schema, value)
        except (ValueError, OverflowError):  # a number beyond a double, for which there is no canonical form
            faults = {'Out'}
    order = list(validator.schema['properties'])
    named = [name for name in order if name in faults]
    return 'mismatch', named[0] if named and isinstance(value, dict) else '', None


def disagreement(verdict, wanted):
    fault, member, value = wanted
    if fault == 'no JSON':
        return None if verdict.fault in (checker.SYNTAX, checker.LIMIT) else 'taken as JSON'
    if fault == 'mismatch':
        if verdict.fault != checker.MISMATCH:
            return 'should be refused for its schema'
        return None if verdict.member == member else 'should name %r' % member
    if verdict.fault != checker.OK:
        return 'should be taken'
    return None if verdict.encoded == value else 'should hold %s' % value


# ---- documents

def random_string(rng, low, high):
    alphabet = 'ab\\"/ \u00e9\u1e9e\u20ac\U0001f600\x7f\n\t'
    return ''.join(rng.choice(alphabet) for _ in range(rng.randint(low, min(high, low + 12))))


ODD_NUMBERS = [0, -1, 1, 2, 9, 10, 239, 240, 1 << 31, (1 << 31) - 1, -(1 << 31), -(1 << 31) - 1, 1 << 32,
               (1 << 32) - 1, 1 << 53, (1 << 53) + 1, (1 << 63) - 1, 1 << 63, 1 << 64, -(1 << 63)]


def random_value(rng):
    """Any value, mostly unfit."""
    kind = rng.randrange(8)
    return [lambda: None, lambda: rng.random() < 0.5, lambda: rng.choice(ODD_NUMBERS),
            lambda: rng.choice([0.5, 1.5, 1e22, -2.5e-7]), lambda: random_string(rng, 0, 300),
            lambda: [random_value(rng) for _ in range(rng.randrange(3))],
            lambda: {random_string(rng, 0, 3): random_value(rng) for _ in range(rng.randrange(3))},
            lambda: str(rng.randrange(10))][kind]()


def fitting(rng, root, schema):
    """A value that fits, mostly at the edges of what fits."""
    schema = resolved(root, schema)
    if 'enum' in schema:
        return rng.choice(schema['enum'])
    types = schema.get('type')
    kind = rng.choice(types) if isinstance(types, list) else types
    if kind == 'integer':
        low, high = schema['minimum'], schema['maximum']
        return rng.choice([low, high, rng.randint(low, high), min(high, low + rng.randrange(9))])
    if kind == 'string':
        low, high = schema.get('minLength', 0), schema.get('maxLength', 400)
        return random_string(rng, *rng.choice([(low, low), (high, high), (low, high)]))
    if kind == 'array':
        low, high = schema.get('minItems', 0), schema.get('maxItems', 8)
        count = rng.choice([low, min(high, low + 1), rng.randint(low, high)])
        return [fitting(rng, root, schema['items']) for _ in range(count)]
    if kind == 'object' and 'properties' in schema:
        required = schema.get('required', [])
        return {name: fitting(rng, root, member) for name, member in schema['properties'].items()
                if name in required or rng.random() < 0.6}
    return {'object': {random_string(rng, 1, 4): rng.choice(ODD_NUMBERS) for _ in range(rng.randrange(4))},
            'boolean': rng.random() < 0.5, 'null': None}[kind]


def random_case(rng, name):
    return ''.join(rng.choice([c.upper(), c.lower()]) for c in name)


def mutated(rng, value, top=True):
    """One random change somewhere in an object."""
    if not isinstance(value, dict) or not value:
        return random_value(rng)
    name = rng.choice(list(value))
    changed = dict(value)
    kind = rng.randrange(7)
    if kind == 0:
        del changed[name]
    elif kind == 1:
        changed[random_case(rng, name) if rng.random() < 0.5 else random_string(rng, 0, 5)] = random_value(rng)
    elif kind == 2 and isinstance(value[name], dict):
        changed[name] = mutated(rng, value[name], False)
    elif kind == 2 and isinstance(value[name], list) and value[name]:
        changed[name] = [mutated(rng, item, False) if rng.random() < 0.4 else item for item in value[name]]
    elif kind == 3 and isinstance(value[name], str):
        changed[name] = value[name] + random_string(rng, 1, 300)
    elif kind == 4:
        changed[name] = [value[name]] * rng.randrange(3)
    elif kind == 5:
        changed[name] = None
    else:
        changed[name] = random_value(rng)
    return changed


def written(rng, value):
    """JSON text in one of its many spellings."""
    if isinstance(value, dict):
        items = list(value.items())
        rng.shuffle(items)
        return '{%s}' % ','.join(blank(rng) + written(rng, str(name)) + blank(rng) + ':' + written(rng, item)
                                 for name, item in items)
    if isinstance(value, list):
        return '[%s]' % ','.join(written(rng, item) for item in value)
    if isinstance(value, int) and not isinstance(value, bool) and rng.random() < 0.2:
        return rng.choice(['%d.0', '%de0', '%d0E-1', '%d.000e+00']) % value
    return blank(rng) + json.dumps(value, ensure_ascii=rng.random() < 0.3) + blank(rng)


def blank(rng):
    return rng.choice([' ', '\n', '\t', '\r']) if rng.random() < 0.1 else ''


def damaged(rng, data):
    """A few bytes changed, cut or doubled."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        if not data:
            break
        at = rng.randrange(len(data))
        kind = rng.randrange(5)
        if kind == 0:
            data[at] = rng.randrange(256)
        elif kind == 1:
            del data[at:at + rng.randint(1, 8)]
        elif kind == 2:
            data[at:at] = data[at:at + rng.randint(1, 30)]
        elif kind == 3:
            data[at:at] = rng.choice([b'{', b'}', b'[', b']', b',', b':', b'"', b'\\', b'0', b'-', b'e9', b'null',
                                      b'\\u0000', b'\\ud800', b'\x80', b'\xc3', b'.5'])
        else:
            del data[at:]
    return bytes(data)


def documents(rng, schema, rounds):
    for _ in range(rounds):
        value = fitting(rng, schema, schema)
        yield written(rng, value).encode()
        for _ in range(rng.randint(1, 3)):
            value = mutated(rng, value)
        yield written(rng, value).encode('utf-8', 'surrogatepass')
        yield damaged(rng, written(rng, value).encode('utf-8', 'surrogatepass'))
    names = {fold(name): name for name in schema['properties']}
    if len(names) > 1:
        for _ in range(rounds // 4):
            value = fitting(rng, schema, schema)
            yield written(rng, {random_case(rng, name): item for name, item in value.items()}).encode()


def main():
    program = sys.argv[1]
    seed = int(os.environ.get('SEED') or random.randrange(1 << 32))
    rounds = int(os.environ.get('ROUNDS') or 250)
    print('comparison with jsonschema: SEED=%d ROUNDS=%d' % (seed, rounds))
    rng = random.Random(seed)
    hostile = list(make_hostile.files())
    hostile += [('depth-10000', make_hostile.deep()), ('wide-1-mb', make_hostile.wide())]
    requests, wanted = [], []
    for path in sorted((ROOT / 'schemas').glob('*/*.v1.json')):
        schema = json.loads(path.read_text('utf-8'))
        Validator.check_schema(schema)
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = Validator(schema)
        for data in [data for _, data in hostile] + list(documents(rng, schema, rounds)):
            try:
                wanted.append(expectation(validator, path.parent.name == 'commands', data))
            except Huge:
                continue
            requests.append((path.name[:-len('.json')], data))
    verdicts = checker.ask(program, requests)
    failed = 0
    for (name, data), verdict, wish in zip(requests, verdicts, wanted):
        trouble = disagreement(verdict, wish)
        if trouble:
            failed += 1
            if failed <= 10:
                print('failed: %s: %s\n  document: %r\n  codec: %r' % (name, trouble[:500], data[:1000], verdict[:3]))
    kinds = [wish[0] for wish in wanted]
    print('comparison with jsonschema: %d passed, %d failed (%d fit, %d do not, %d are no JSON)' % (
        len(wanted) - failed, failed, kinds.count(None), kinds.count('mismatch'), kinds.count('no JSON')))
    if failed:
        sys.exit(1)


if __name__ == '__main__':
    main()
