#!/usr/bin/python3
# make_seeds.py FOLDER - writes inputs for every fuzzer into FOLDER/<fuzzer>/, to begin a corpus with: random streams
# of the model's generator as commands and as the events that come of them, the examples in tests/data, the
# sample configuration, and a few feeds, stores and command lines.
#
# The form of an input is that of tests/fuzz/pieces.h; what marks mean stands at the head of each fuzzer.
#
# SPDX-License-Identifier: Apache-2.0
import hashlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'model'))
import generator  # noqa: E402
import kinlog_model as model  # noqa: E402

SHARDS, SHARD = 4, 2  # as tests/fuzz/prepared.c has them
generator.DEVICES = [4, 5, 10, 16, 1]  # but for the last one they belong to that shard
STREAMS = 40
EVENT_HEADERS = [
    'ce_specversion', 'content-type', 'ce_id', 'ce_source', 'ce_type', 'ce_time', 'ce_subject',
    'ce_causationid', 'ce_causationsource', 'ce_command', 'ce_chain', 'ce_actor', 'ce_correlationid',
    'ce_replyto', 'ce_traceparent', 'ce_tracestate']


def text(data):
    if data is None:
        return b'\xfe'
    if isinstance(data, str):
        data = data.encode()
    if len(data) < 240:
        return bytes([len(data)]) + data
    return b'\xff' + len(data).to_bytes(2, 'big') + data if len(data) < 65536 else b''


def mark(number, argument=0):
    return bytes([240 + number, argument])


class Seeds:
    def __init__(self, folder):
        self.folder = folder

    def add(self, target, data):
        folder = os.path.join(self.folder, 'fuzz_' + target)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, hashlib.sha1(data).hexdigest()), 'wb') as file:
            file.write(data)


def record_pieces(step):
    pieces = mark(0) + text(step['key']) + text(step['value'])
    return pieces + b''.join(text(name) + text(value) for name, value in step['headers'])


def event_pieces(number, event):
    headers = dict(event.headers())
    return mark(number) + text(event.key) + text(event.data_text()) + b''.join(
        text(headers.get(name)) for name in EVENT_HEADERS)


def stored(event):
    """The form of events/event.h."""
    headers = dict(event.headers())
    offset, place, content_hash, command_type = headers.get('ce_command', '-1;0/0;;').split(';', 3)
    index, count = map(int, place.split('/'))
    out = b'\1' + bytes(32) + (1780000000000).to_bytes(8, 'big') + (int(offset) + 1).to_bytes(8, 'big')
    out += index.to_bytes(4, 'big') + count.to_bytes(4, 'big')
    for value in (headers['ce_type'], event.key, headers.get('ce_subject'), headers.get('ce_causationid'),
                  headers.get('ce_causationsource'), content_hash or None, command_type or None,
                  *(headers.get(name) for name in EVENT_HEADERS[11:])):
        length = 0 if value is None else len(value.encode()) + 1
        while length >= 0x80:
            out += bytes([0x80 | length & 0x7f])
            length >>= 7
        out += bytes([length]) + (value or '').encode()
    return out + event.data_text().encode()


def add_streams(seeds):
    for seed in range(STREAMS):
        steps = generator.Generator(seed, SHARDS).stream()
        records = [step for step in steps if step['op'] == 'record']
        for step in records:
            if len(step['value'] or b'') < 4096:
                seeds.add('command', record_pieces(step))
                if step['value']:
                    seeds.add('codec', step['value'])
        mine = [step for step in records if step['partition'] == SHARD]
        for first in range(0, len(mine), 5):
            seeds.add('command', b''.join(record_pieces(step) for step in mine[first:first + 5]))
        site = model.Site(generator.LOG_ID, generator.SITE, generator.SITE_KEY, SHARDS,
                          reply_allow=generator.REPLY_ALLOW)
        for step in records:
            site.append(step['partition'], step['timestamp'], step['key'], step['value'],
                        step['headers'], step['gap'])
        site.run()
        events = site.shards[SHARD].events
        for event in events:
            seeds.add('event', mark(0) + text(stored(event)))
            seeds.add('event', event_pieces(1, event))
            seeds.add('event', event_pieces(2, event))
            seeds.add('codec', event.data_text().encode())
        seeds.add('event', b''.join(event_pieces(2, event) for event in events[1:12]))
        for answer in site.shards[SHARD].answers:
            value = model_text(answer['value'])
            seeds.add('codec', value)
            seeds.add('text', text(value))


def model_text(value):
    import json
    return value if isinstance(value, bytes) else json.dumps(value, separators=(',', ':')).encode()


def add_examples(seeds):
    hostile = os.path.join(ROOT, 'tests', 'data', 'hostile')
    for name in sorted(os.listdir(hostile)):
        with open(os.path.join(hostile, name), 'rb') as file:
            data = file.read()
        seeds.add('codec', data)
        seeds.add('command', text('device:3') + text(data) + b''.join(map(text, (
            'ce_specversion', '1.0', 'ce_id', '1', 'ce_source', '/s', 'ce_type', 'RegisterDevice'))))


def add_feeds(seeds):
    claim, event, again, copy, answered, writer, gap, resume, damage = range(1, 10)
    first = mark(claim) + text('a') + mark(event) + text('{}') + mark(event, 2)
    for tail in (
            first, first + mark(again) + mark(event), first + mark(answered, 1) + mark(resume, 2),
            first + mark(writer, 1) + mark(copy, 0) + mark(claim, 9) + mark(event) + mark(writer, 0) + mark(event),
            first + mark(event, 4) + mark(gap, 7) + mark(event) + mark(resume, 3),
            first + mark(damage, 10) + text('x') + mark(event),
            first + mark(0, 17) + text('kinlog:claim') + text('{}') + text('a') + text('b'),
            mark(event) + first):
        seeds.add('claim', tail)


def add_stores(seeds):
    sound = mark(0)
    head = bytes(7) + b'\x05' + bytes(32) + bytes(7 * 8 - 4 - 8)
    described = ('{"Format": 2, "Log": "00112233445566778899aabbccddeeff", "Site": "hq", "Shards": 4, '
                 '"SiteKeyFingerprint": "AAAAAAAAAAAAAAAAAAAAAA"}')
    for data in (
            sound, sound + mark(2, 9), sound + mark(4, 20) + text(b'\x04\x01'), mark(1) + text('head') + text(head),
            mark(1) + text('anchor') + text(bytes(48)), mark(1) + text('mark') + text(bytes(88)),
            mark(1) + text('status') + text(bytes(61) + b'reason'),
            mark(5) + text(described) + mark(5, 1) + text('00' * 32 + '\n') + mark(5, 2) + text(
                '5 ' + '00' * 32 + ' 7\n')):
        seeds.add('store', data)
    for row in range(64):
        seeds.add('store', sound + mark(4, row) + text(bytes([row * 7 % 64, 1])))
        seeds.add('store', sound + mark(2, row))


def add_texts(seeds):
    with open(os.path.join(ROOT, 'packaging', 'kinlog.conf'), 'rb') as file:
        sample = file.read()
    seeds.add('config', text(sample))
    small = '[agent]\nsite = hq ; here\n[kafka]\nbootstrap.servers = localhost:9\n'
    seeds.add('config', text(small))
    seeds.add('config', text(None) + text('KINLOG_AGENT_SITE=a') + text('KINLOG_KAFKA_CONSUMER_FETCH_WAIT_MAX_MS=1')
              + mark(1) + text('topics.partitions=6') + text('kafka.producer.linger.ms=2') + mark(2)
              + text('sasl.password'))
    for line in (['2026-01-31T23:59:60.5+05:30'], ['20260131235959.999000+000'], ['contoso\\jq', 'contoso\\jq'],
                 ['', '-15m'], ['', '240'], ['', 'get', 'relationship', '--shard', '2', '--json'],
                 ['', 'send', '-X', 'agent.site=x', 'SourceId=2,4', 'UserAccountName=a\\b'],
                 ['', '--config=x', 'list', 'devices', '--ndjson']):
        seeds.add('text', b''.join(map(text, line)))
    for file in (b'hq\\ann,PC1\r\n"hq\\b""ob",PC2\r\n', b'1,PC1,1,00:11;"2;3",hq\n2,PC2\n', b'ResourceID,Name\n1,a\n',
                 b'a"b,c\n"d\ne",f\n"g"h,i\rj,k', b'\n \t\n,,\n""\n"open,x\ny\n', b'a\0b\n\xff\n'):
        seeds.add('csv', file)


def main():
    seeds = Seeds(sys.argv[1])
    add_streams(seeds)
    add_examples(seeds)
    add_feeds(seeds)
    add_stores(seeds)
    add_texts(seeds)


if __name__ == '__main__':
    main()
