#!/usr/bin/env python3
# property_test.py - thousands of random command streams: the C core must do what the model does.
#
# The other side is a program (--driver) that reads a JSON object a line and writes what came of it:
#
#   {"op":"open","log","site","site_key":hex,"shards","prefix","reply_allow":[..],"batch",
#    "start_offset"}
#   {"op":"record","partition","offset","timestamp","key":base64|null,"value":base64|null,
#    "headers":[[name, base64|null], ..]}     put at the end of that partition
#   {"op":"run"}       shards in turn handle all they have, in batches, round after round until
#                      nothing is left; forwards go to the end of their partition, commands to other
#                      shards are only told: the stream brings them as records, as it pleases
#   {"op":"restart"}   every shard is closed and opened again from its store
#   {"op":"rebuild"}   every shard's views and receipts are made anew from its log
#   {"op":"kill","shard","steps","disk":bool,"lost"}   the shard dies before its so-manieth step from now
#                      (or from the kill before): it loses all but its store, or that too, and the last of what
#                      is under way, and begins again as the agent does. Only if "open" had "room": so many
#                      offsets stay free at the end of each run, for records that are forwarded once more,
#                      which come when all else is done
#   {"op":"views"}
#
# It answers with lines {"event"|"answer"|"forward"|"dead_letter"|"command"|"killed"|"views": {..}} and, after
# each op but open and record, {"done":true}. One process serves all: every open begins anew. The owner of
# every shard has the epoch `1;` and 32 zeros: a Tick with it in kinlog_epoch is the owner's.
#
# Each stream is run with batches of 1, 3 and 100 records, with and without restarts and rebuilds in
# the middle, over one shard or four. All of these must agree with each other byte for byte, and one
# of them with the model. A stream that shows a difference is shrunk before it is printed.
#
# Every so-manieth stream (--kills) is followed by one over two to four shards in which shards die, between
# and inside of commands (kills.py). Each event must come once and in order, and the views must be the model's;
# each answer, forward, dead letter and command to another shard must come at least once, and be the same. One
# conversation is run with a death before each of its steps.
#
# SPDX-License-Identifier: Apache-2.0
import argparse
import base64
import itertools
import json
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import generator  # noqa: E402
import kinlog_json  # noqa: E402
import kinlog_model as model  # noqa: E402
import kills  # noqa: E402

BATCHES = (100, 1, 3)
KINDS = ('event', 'answer', 'forward', 'dead_letter', 'command', 'killed', 'views')
PERSONAL = ('conto', 'stra', 'jq', 'ren\u00e9', 'central')  # what no free text may hold
RUN_SECONDS_MAX = 60


def encode(data):
    return None if data is None else base64.b64encode(data).decode('ascii')


class DriverDied(Exception):
    pass


class Driver:
    """The program on the other side of two pipes; started again when it died."""

    def __init__(self, path):
        self.command = [sys.executable, path] if path.endswith('.py') else [path]
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, encoding='utf-8')

    def stop(self):
        if self.process:
            self.process.stdin.close()
            self.process.stdout.close()
            self.process.wait()
            self.process = None

    def talk(self, lines, answers):
        """Writes lines, reads until that many {"done":true}; returns the lines before them."""
        if self.process is None:
            self.start()
        process, out = self.process, []
        watch = threading.Timer(RUN_SECONDS_MAX, process.kill)
        watch.start()
        writer = threading.Thread(target=self.write, args=(process, lines))
        writer.start()
        try:
            while answers:
                line = process.stdout.readline()
                if not line:
                    raise DriverDied('the driver ended (exit status %s)' % process.wait())
                if line.startswith('{"done"'):
                    answers -= 1
                else:
                    out.append(line)
        except DriverDied:
            self.process = None
            raise
        finally:
            watch.cancel()
            writer.join()
        return out

    @staticmethod
    def write(process, lines):
        try:
            process.stdin.write(''.join(line + '\n' for line in lines))
            process.stdin.flush()
        except OSError:
            pass  # it ended: reading says so


class Taken(model.Hints):
    """Free text as the other side chose it."""

    def __init__(self, output, shards):
        self.events = [[] for _ in range(shards)]
        for event in output['event']:
            self.events[event['shard']].append(event)

    def description(self, shard, sequence, member):
        events = self.events[shard]
        try:
            data = json.loads(events[sequence - 1]['data'])
            text = (data if member in data else data['ExtendedStatus'])[member]
        except (IndexError, KeyError, TypeError, ValueError):
            return ''
        return text if isinstance(text, str) else ''


def blank(value):
    """Without the wording of descriptions."""
    if isinstance(value, dict):
        return {name: '' if name == 'Description' and isinstance(item, str) else blank(item)
                for name, item in value.items()}
    return value


def compact(text):
    """A JSON text with its descriptions blanked; as it is if it is not the compact form."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return kinlog_json.dump(blank(value)) if kinlog_json.dump(value) == text else text


def without_epoch(headers):
    return [list(pair) for pair in headers if pair[0] != 'kinlog_epoch']


def text_or_none(data):
    return None if data is None else data.decode('utf-8', 'surrogateescape')


def normal(kind, item):
    """What the driver said of one thing, in the form for comparison."""
    item = dict(item)
    if kind in ('forward', 'dead_letter'):
        item['headers'] = [[n, '' if n == 'kinlog_reason' else v] for n, v in without_epoch(item['headers'])]
    elif kind in ('event', 'answer'):
        item['headers'] = without_epoch(item['headers'])
    if kind == 'answer':
        item['value'] = compact(item['value'])
    return item


def raw_headers(headers):
    return [[name, '' if name == 'kinlog_reason' else encode(value)] for name, value in headers
            if name != 'kinlog_epoch']


def said_by_model(site):
    """The same of the model: kind -> list per shard (one list for views)."""
    said = {kind: [] for kind in KINDS}
    for shard in site.shards:
        said['event'].append([{
            'shard': shard.number, 'key': encode(None if event.key is None else event.key.encode()),
            'headers': without_epoch(event.headers()), 'data': event.data_text()}
            for event in shard.events])
        said['answer'].append([{
            **answer, 'key': encode(None if answer['key'] is None else answer['key'].encode()),
            'headers': without_epoch(answer['headers']),
            'value': kinlog_json.dump(blank(answer['value']))} for answer in shard.answers])
        for kind, things in (('forward', shard.forwards), ('dead_letter', shard.dead_letters)):
            said[kind].append([{**thing, 'headers': raw_headers(thing['headers'])} for thing in things])
        said['command'].append([{**command, 'key': encode(command['key']), 'value': encode(command['value']),
                                 'headers': raw_headers(command['headers'])} for command in shard.commands])
    said['views'] = site.views()
    return said


PLACE = {'event': 'shard', 'answer': 'shard', 'forward': 'from', 'dead_letter': 'from', 'command': 'from'}


def said_by_driver(output, shards):
    said = {kind: [[] for _ in range(shards)] for kind in PLACE}
    for kind, place in PLACE.items():
        for item in output[kind]:
            said[kind][item[place]].append(normal(kind, item))
    said['views'] = output['views'][-1] if output['views'] else None
    return said


def same_item(ours, theirs):
    """Every member that the model knows must be there and equal; the driver may say more."""
    return isinstance(theirs, dict) and all(name in theirs and theirs[name] == value
                                            for name, value in ours.items())


def row_order(row):
    return json.dumps(row, sort_keys=True)


def compare(ours, theirs, kinds=tuple(PLACE)):
    """The first difference as text, or None."""
    for kind in kinds:
        for number, (mine, other) in enumerate(zip(ours[kind], theirs[kind])):
            for index, (a, b) in enumerate(itertools.zip_longest(mine, other)):
                if a is None or b is None or not same_item(a, b):
                    return difference('%s %d of shard %d' % (kind, index + 1, number), a, b)
    if theirs['views'] is None:
        return 'no views'
    for view, rows in ours['views'].items():
        other = theirs['views'].get(view)
        if other is None or sorted(map(row_order, rows)) != sorted(map(row_order, other)):
            return difference('view ' + view, rows, other)
        if rows and any(list(row) != list(rows[0]) for row in other):
            return difference('members of view ' + view, list(rows[0]), [list(row) for row in other])
    return None


def short(value):
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 4000 else text[:2000] + ' ... ' + text[-1000:]


def difference(place, ours, theirs):
    lines = ['%s differs' % place, '  model:  ' + short(ours), '  driver: ' + short(theirs)]
    if isinstance(ours, dict) and isinstance(theirs, dict):
        names = [name for name in ours if theirs.get(name) != ours[name]]
        lines.append('  in:     ' + ', '.join(names))
        for name in names:
            if name == 'headers':
                pairs = itertools.zip_longest(ours[name], theirs.get(name) or [])
                lines += ['    %s / %s' % (short(a), short(b)) for a, b in pairs if a != b]
    return '\n'.join(lines)


def promises(output):
    """What holds whatever the model says: answers with the same id have the same bytes, apart from
    ce_repeated and kinlog_forwarded; free text holds nobody's name. A difference as text, or None."""
    first = {}
    for answer in output['answer']:
        headers = [h for h in answer['headers'] if h[0] not in ('ce_repeated', 'kinlog_forwarded',
                                                                'kinlog_epoch')]
        identity = next((value for name, value in headers if name == 'ce_id'), None)
        content = (answer['topic'], answer['partition'], answer['key'], headers, answer['value'])
        if first.setdefault((answer['shard'], identity), content) != content:
            return difference('a repeated answer', list(first[answer['shard'], identity]), list(content))
    for event in output['event']:
        if '"Description":"' in event['data'] or '"Reason":"' in event['data']:
            data = json.loads(event['data'])
            text = (data.get('ExtendedStatus') or data).get('Description', data.get('Reason', ''))
            if any(name in text.lower() for name in PERSONAL):
                return 'a name in free text: ' + short(event)
    return None


# ---- one stream ------------------------------------------------------------------------

def feed(site, steps, hold=None, room=0):
    """The stream into the model; hold collects the offset of each record. room: offsets that stay free after
    each run."""
    for step in steps:
        if step['op'] == 'record':
            offset = site.append(step['partition'], step['timestamp'], step['key'], step['value'],
                                 step['headers'], step['gap'])
            if hold is not None:
                hold.append(offset)
        elif step['op'] == 'run':
            site.run()
            site.next_offsets = [offset + room for offset in site.next_offsets]
    site.run()


def new_site(shards, hints=None):
    return model.Site(generator.LOG_ID, generator.SITE, generator.SITE_KEY, shards,
                      reply_allow=generator.REPLY_ALLOW, hints=hints)


def opening(shards, batch, room=0):
    return json.dumps({'op': 'open', 'log': generator.LOG_ID, 'site': generator.SITE,
                       'site_key': generator.SITE_KEY.hex(), 'shards': shards, 'prefix': 'kinlog',
                       'reply_allow': generator.REPLY_ALLOW, 'batch': batch, 'start_offset': 0,
                       'room': room})


def record_line(step, offset):
    return json.dumps({'op': 'record', 'partition': step['partition'], 'offset': offset,
                       'timestamp': step['timestamp'], 'key': encode(step['key']),
                       'value': encode(step['value']),
                       'headers': [[name, encode(value)] for name, value in step['headers']]})


def lines_of(steps, offsets):
    """The lines of the stream: (line, is it a restart or rebuild)."""
    offsets, lines = iter(offsets), []
    for step in steps:
        if step['op'] == 'record':
            lines.append((record_line(step, next(offsets)), False))
        else:
            lines.append((json.dumps(step), step['op'] != 'run'))
    return lines + [('{"op":"run"}', False), ('{"op":"views"}', False)]


def run_driver(driver, shards, batch, lines, upkeep, room=0):
    chosen = [line for line, is_upkeep in lines if upkeep or not is_upkeep]
    answers = sum(not line.startswith('{"op": "record"') for line in chosen)
    return driver.talk([opening(shards, batch, room)] + chosen, answers)


def sorted_lines(lines):
    """Lines by kind: the order between kinds depends on the size of batches."""
    kinds = {}
    for line in lines:
        kinds.setdefault(line[:line.find('"', 2)], []).append(line)
    return kinds


def parsed(lines):
    output = {kind: [] for kind in KINDS}
    for line in lines:
        for kind, item in json.loads(line).items():
            if kind not in output:
                raise DriverDied('a line that nobody asked for: ' + line[:500])
            output[kind].append(item)
    return output


def strip_epoch(kinds):
    """For the comparison of two runs, when their lines differ as they stand."""
    return {kind: [normal_line(line) for line in lines] for kind, lines in kinds.items()}


def normal_line(line):
    item = json.loads(line)
    for thing in item.values():
        if isinstance(thing, dict) and 'headers' in thing:
            thing['headers'] = without_epoch(thing['headers'])
    return item


def fault_of(driver, shards, steps):
    """What is wrong with the driver's work on a stream, as text; None if nothing."""
    offsets = []
    feed(new_site(shards), steps, offsets)
    lines = lines_of(steps, offsets)
    upkeeps = (False, True) if any(is_upkeep for _, is_upkeep in lines) else (False,)
    first = None
    try:
        for upkeep in upkeeps:
            for batch in BATCHES:
                got = sorted_lines(run_driver(driver, shards, batch, lines, upkeep))
                if first is None:
                    first = got
                elif got != first and strip_epoch(got) != strip_epoch(first):
                    return 'batches of %d%s differ from batches of %d:\n%s' % (
                        batch, ' with restarts and rebuilds' if upkeep else '', BATCHES[0],
                        between_runs(first, got))
        output = parsed([line for kind in first.values() for line in kind])
        fault = promises(output)
        if fault:
            return fault
        site = new_site(shards, Taken(output, shards))
        feed(site, steps)
        return compare(said_by_model(site), said_by_driver(output, shards))
    except (DriverDied, ValueError, KeyError, TypeError, AttributeError) as error:
        return '%s: %s' % (type(error).__name__, error)


def fault_with_kills(driver, shards, batch, steps, count):
    """The same of a stream with kills."""
    offsets = []
    feed(new_site(shards), steps, offsets, kills.ROOM)
    try:
        output = parsed(run_driver(driver, shards, batch, lines_of(steps, offsets), True, kills.ROOM))
        count.add(output['killed'])
        fault = promises(output)
        if fault:
            return fault
        site = new_site(shards, Taken(output, shards))
        feed(site, steps, room=kills.ROOM)
        ours, theirs = said_by_model(site), said_by_driver(output, shards)
        return compare(ours, theirs, ('event',)) or kills.compare(ours, theirs, difference)
    except (DriverDied, ValueError, KeyError, TypeError, AttributeError) as error:
        return '%s: %s' % (type(error).__name__, error)


def between_runs(first, got):
    first, got = strip_epoch(first), strip_epoch(got)
    for kind in sorted(set(first) | set(got)):
        pairs = itertools.zip_longest(first.get(kind, []), got.get(kind, []))
        for index, (a, b) in enumerate(pairs):
            if a != b:
                return '%s %d\n  first: %s\n  here:  %s' % (kind, index + 1, short(a), short(b))
    return 'no difference'


def shrunk(steps, is_bad, deadline):
    """The smallest stream found that is still bad: chunks are left out, then smaller ones."""
    size = max(1, len(steps) // 2)
    while True:
        index, smaller = 0, False
        while index < len(steps) and time.monotonic() < deadline:
            rest = steps[:index] + steps[index + size:]
            if is_bad(rest):
                steps, smaller = rest, True
            else:
                index += size
        if time.monotonic() >= deadline or (size == 1 and not smaller):
            return steps
        if size > 1:
            size //= 2


def tell(steps):
    lines = []
    for step in steps:
        if step['op'] != 'record':
            lines.append(' '.join('%s' % value if name == 'op' else '%s=%s' % (name, value)
                                  for name, value in step.items()))
            continue
        headers = ', '.join('%s=%s' % (name, text(value)) for name, value in step['headers'])
        lines.append('record on %d at %d, key %s\n    %s\n    %s' % (
            step['partition'], step['timestamp'], text(step['key']), headers, text(step['value'])))
    return '\n'.join('  ' + line for line in lines)


def text(data):
    if data is None:
        return 'null'
    shown = data if len(data) <= 600 else data[:400] + b'...%d bytes...' % len(data)
    return ascii(shown.decode('utf-8', 'backslashreplace'))


def long_stream(records):
    """One command again and again: more records without an event than may go unmarked."""
    one = generator.Generator(1, 1)
    step = one.command('RegisterDevice', {'ResourceID': 1, 'Name': 'PC'}, attributes=generator.PLAIN)
    step = {**step, 'gap': 0, 'partition': 0}
    return [step] * records + [{'op': 'run'}]


def main():
    parser = argparse.ArgumentParser(description='Compares the C core with the model on random streams.')
    parser.add_argument('--driver', default='build/tests/core_driver', help='the program to test')
    parser.add_argument('--seed', type=int, default=None, help='the first seed (default: from the clock)')
    parser.add_argument('--count', type=int, default=2000, help='how many streams')
    parser.add_argument('--time-limit', type=float, default=None, metavar='S', help='stop after S seconds')
    parser.add_argument('--failures', type=int, default=3, help='stop after so many failures')
    parser.add_argument('--no-long', action='store_true', help='leave out what no seed changes: the stream of 10,002 records, the conversation')
    parser.add_argument('--usage', action='store_true', help='streams of usage over weeks, no others')
    parser.add_argument('--kills', type=int, default=5, metavar='N',
                        help='after each Nth stream one in which shards die; 0: none')
    parser.add_argument('--kills-alone', action='store_true', help='streams in which shards die, no others')
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else int(time.time())
    print('seed %d: run again with --seed %d' % (seed, seed), flush=True)
    if not os.path.exists(options.driver):
        print('there is no driver at %s: build it with make test-programs' % options.driver)
        return 2
    driver = Driver(options.driver)
    begun, passed, failed, count = time.monotonic(), 0, 0, kills.Count()

    def check(name, shards, steps, fault_of=fault_of):
        nonlocal passed, failed
        fault = fault_of(driver, shards, steps)
        if fault is None:
            passed += 1
            return
        failed += 1
        print('\n%s, %d shard(s), %d steps: %s' % (name, shards, len(steps),
                                                   fault.splitlines()[0]), flush=True)
        small = shrunk(steps, lambda some: fault_of(driver, shards, some) is not None,
                       time.monotonic() + 30)
        print('the least stream that shows it:\n%s\n%s' % (
            tell(small[:40]), fault_of(driver, shards, small)), flush=True)

    def check_with_kills(number):
        shards, batch = kills.chosen(number)
        source = generator.Generator(number, shards)
        steps = kills.scattered(number, shards, source.usage_stream() if options.usage else source.stream())
        check('seed %d with kills, batches of %d' % (number, batch), shards, steps,
              lambda driver, shards, some: fault_with_kills(driver, shards, batch, some, count))

    def check_each_step():
        """One conversation, with one death before each step of either side."""
        asking, steps = kills.conversation()
        for shard, disk, (lost, batch) in itertools.product((asking, (asking + 2) % 4), (False, True),
                                                            ((0, 4), (100, 1))):
            for number in itertools.count(1):
                reached = count.total()
                check('a death before step %d' % number, 4, [kills.kill(shard, number, disk, lost)] + steps,
                      lambda driver, shards, some: fault_with_kills(driver, shards, batch, some, count))
                if count.total() == reached or failed >= options.failures:
                    break

    if not options.no_long and not options.usage and (options.kills or options.kills_alone):
        check_each_step()
    for number in range(options.count):
        if failed >= options.failures:
            break
        if options.time_limit is not None and time.monotonic() - begun > options.time_limit:
            break
        if options.kills_alone or (options.kills and (seed + number) % options.kills == 0):
            check_with_kills(seed + number)
        if options.kills_alone:
            continue
        shards = 4 if (seed + number) % 2 else 1
        source = generator.Generator(seed + number, shards)
        check('seed %d' % (seed + number), shards,
              source.usage_stream() if options.usage else source.stream())
    if not options.no_long and not options.kills_alone and failed < options.failures:
        check('the long stream', 1, long_stream(10_002))
    driver.stop()
    if count.before:
        print(count)
    print('%d passed, %d failed' % (passed, failed))
    return 1 if failed or not passed else 0


if __name__ == '__main__':
    sys.exit(main())
