#!/usr/bin/python3
"""Writes schemas/asyncapi.yaml, the AsyncAPI 3.0 document, from schemas/ and docs/asyncapi.in.yaml.

    make_asyncapi.py            writes it
    make_asyncapi.py --check    1 if the file is not what would be written

The schemas are not copied: the document refers to the files beside it.

SPDX-License-Identifier: Apache-2.0
"""
import json

from generated import ROOT, write_or_check

HEAD = '''# asyncapi.yaml - Kinlog's topics and messages for AsyncAPI tools; the schemas are the files beside it.
# Made by docs/make_asyncapi.py; change the schemas or docs/asyncapi.in.yaml, then run it.
#
# SPDX-License-Identifier: Apache-2.0
'''
TRAITS = {'commands': 'command', 'events': 'event', 'answers': 'answer'}


def schemas(kind):
    for path in sorted((ROOT / 'schemas' / kind).glob('*.json')):
        yield path, json.loads(path.read_text('utf-8'))


def message_id(path):
    """The first version of a message goes by its name alone, a later one is another message."""
    name, version, _ = path.name.split('.')
    return name if version == 'v1' else name + '_' + version


def references(kind):
    for path, _ in schemas(kind):
        yield '      %s:' % message_id(path)
        yield "        $ref: '#/components/messages/%s'" % message_id(path)


def quoted(text):
    return json.dumps(text, ensure_ascii=False)


def key_binding(schema):
    """Of a message that has a member which makes the record key; of what is only sometimes there nothing is promised."""
    for name, member in schema['properties'].items():
        if member.get('x-key') and name in schema.get('required', []):
            yield '      bindings:'
            yield '        kafka:'
            yield '          key:'
            yield '            type: string'
            yield "            pattern: '^device:[1-9][0-9]*$'"
            yield '            description: "`device:` and the value of `%s`."' % name
            yield "          bindingVersion: '0.5.0'"


def component(kind, path, schema):
    yield '    %s:' % message_id(path)
    yield '      name: kinlog.%s' % schema['title']
    yield '      summary: %s' % quoted(schema['description'])
    yield '      traits:'
    yield "        - $ref: '#/components/messageTraits/%s'" % TRAITS[kind]
    yield from key_binding(schema)
    yield '      payload:'
    yield '        schemaFormat: application/schema+json;version=draft-07'
    yield '        schema:'
    yield "          $ref: './%s/%s'" % (kind, path.name)


def document():
    for line in (ROOT / 'docs' / 'asyncapi.in.yaml').read_text('utf-8').split('\nasyncapi:', 1)[1].splitlines():
        words = line.split()
        if words[:1] == ['#messages#']:
            yield from references(words[1])
        elif words == ['#components#']:
            for kind in TRAITS:
                for path, schema in schemas(kind):
                    yield from component(kind, path, schema)
        else:
            yield line


def main():
    write_or_check('schemas/asyncapi.yaml', HEAD + 'asyncapi:' + '\n'.join(document()) + '\n')


if __name__ == '__main__':
    main()
