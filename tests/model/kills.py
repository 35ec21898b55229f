# kills.py - random deaths of shards in a stream, and what must hold however often they die.
#
# A kill is a step of the stream like any other, so that it shrinks with it:
#   {'op': 'kill', 'shard', 'steps', 'disk', 'lost'}   the shard dies before its so-manieth step from now, or
#       from the kill before; disk: another agent takes over, without its files; lost: so many of the newest
#       records that are under way never arrive
# The model knows of no death: it says once what there is to be, and that must have come of it.
#
# SPDX-License-Identifier: Apache-2.0
import collections
import json
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import generator  # noqa: E402
import kinlog_model as model  # noqa: E402

ROOM = 100  # offsets left free after each run: what a dead shard had forwarded it forwards once more
SHARDS = (2, 3, 4)
BATCHES = (1, 2, 3, 5, 100)
OF_A_DELIVERY = ('ce_repeated', 'kinlog_forwarded', 'kinlog_epoch')


def chosen(seed):
    """(shards, batch) of a seed."""
    rng = random.Random('site %d' % seed)
    return rng.choice(SHARDS), rng.choice(BATCHES)


def scattered(seed, shards, steps):
    """The stream with kills before its runs. Few steps hit the decision, more the commit, the answers, the
    restart after the last kill, and the next run."""
    rng, out = random.Random('kills %d' % seed), []
    rate = rng.choice([0.3, 1, 3])
    for step in steps:
        if step['op'] == 'run':
            for _ in range(int(rng.expovariate(1 / rate) + 0.5)):
                out.append(kill(rng.randrange(shards), 1 + int(rng.expovariate(1 / rng.choice([1, 4, 12]))),
                                rng.random() < 0.25, rng.choice([0, 1, 2, 100])))
        out.append(step)
    return out


def kill(shard, steps, disk, lost):
    return {'op': 'kill', 'shard': shard, 'steps': steps, 'disk': disk, 'lost': lost}


def conversation():
    """(the asking shard, steps) of a stream over four shards: three requests, of which one is confirmed, and two
    are concluded by one Tick; a misplaced command; repeats of all that came before."""
    source = generator.Generator(1, 4)
    place = {number: model.slot_of_key(b'device:%d' % number) % 4 for number in generator.DEVICES}
    asking = place[generator.DEVICES[0]]
    others = [number for number in generator.DEVICES if place[number] != asking]
    steps = []

    def command(method, values, **more):
        source.add(steps, {**source.command(method, values, attributes=generator.PLAIN, **more), 'gap': 0})

    source.misplacing = False
    for number in [generator.DEVICES[0], *others]:
        command('RegisterDevice', {'ResourceID': number, 'Name': 'PC'})
    source.run(steps)
    for number in (others * 3)[:3]:
        command('AddAssociationEx', {'SourceClientResourceID': generator.DEVICES[0], 'MigrationBehavior': 1,
                                     'RestoreClientResourceID': number, 'UserNames': [{'UserName': 'a\\b'}]})
    command('RegisterDevice', {'ResourceID': others[0], 'Name': 'misplaced'}, partition=asking)
    source.run(steps)
    source.mail = source.mail[:1]
    source.deliver(steps)
    source.deliver(steps)
    source.now = max(row['Due'] for row in source.site.shards[asking].request_rows())
    source.add(steps, {**source.tick_at(asking), 'timestamp': source.now, 'gap': 0})
    source.run(steps)
    source.mail = []
    for step in [step for step in steps if step['op'] == 'record']:
        source.add(steps, {**step, 'timestamp': source.now})
    source.run(steps)
    return asking, steps


def key(value):
    return json.dumps(value, sort_keys=True)


def identity(answer):
    return dict(map(tuple, answer['headers'])).get('ce_id')


def without_delivery(answer):
    return {**answer, 'headers': [pair for pair in answer['headers'] if pair[0] not in OF_A_DELIVERY]}


def unmarked_twice(answers):
    """An id that was answered twice as if for the first time, or None."""
    marked = collections.Counter(identity(answer) for answer in answers
                                 if not any(name == 'ce_repeated' for name, _ in answer['headers']))
    return next((name for name, count in marked.items() if count > 1), None)


def at_least_once(kind, mine, other, difference):
    """What the model says in no order, each as often at least; nothing that it does not say."""
    wanted, found = (collections.Counter(map(key, items)) for items in (mine, other))
    for text in wanted:
        if found[text] < wanted[text]:
            return difference('%s (%d times, not %d)' % (kind, found[text], wanted[text]), json.loads(text), None)
    for text in found:
        if text not in wanted:
            return difference('%s (another, or another value)' % kind, None, json.loads(text))
    return None


def compare(ours, theirs, difference):
    """Beside events and views, which are compared as in any stream. The first difference as text, or None."""
    for number, (mine, other) in enumerate(zip(ours['answer'], theirs['answer'])):
        fault = at_least_once('answer of shard %d' % number, map(without_delivery, mine),
                              map(without_delivery, other), difference)
        twice = unmarked_twice(other)
        if fault is None and twice is not None:
            fault = 'answer %s of shard %d came twice without ce_repeated' % (twice, number)
        if fault is not None:
            return fault
    for kind in ('forward', 'dead_letter', 'command'):
        for number, (mine, other) in enumerate(zip(ours[kind], theirs[kind])):
            fault = at_least_once('%s of shard %d' % (kind, number), mine, other, difference)
            if fault is not None:
                return fault
    return None


class Count:
    """Before which steps shards died, to see that all were hit."""

    def __init__(self):
        self.before = collections.Counter()

    def add(self, killed):
        self.before.update(item['before'] for item in killed)
        self.before.update('(and the disk is lost)' for item in killed if item['disk'])

    def total(self):
        return sum(self.before.values())

    def __str__(self):
        return 'kills: ' + ', '.join('%d before %s' % (count, name) if name[0] != '(' else '%d %s' % (count, name[1:-1])
                                     for name, count in sorted(self.before.items()))
