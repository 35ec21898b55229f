#!/usr/bin/env python3
# model_driver.py - the model behind the driver's protocol, to test property_test.py itself.
#
# It says what the model says, with texts of its own where the wording is free.
# KINLOG_MODEL_WRONG=<name> plants one of the slips in WRONG, which property_test.py must find.
#
# SPDX-License-Identifier: Apache-2.0
import base64
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import kinlog_json  # noqa: E402
import kinlog_model as model  # noqa: E402
import usage  # noqa: E402


def encode(data):
    if isinstance(data, str):
        data = data.encode()
    return None if data is None else base64.b64encode(data).decode('ascii')


def decode(text):
    return None if text is None else base64.b64decode(text)


class Texts(model.Hints):
    def description(self, shard, sequence, member):
        return '%s %d: "free" text' % (member, sequence)


def remove_last_source(shard, values, now):
    """Forgets that the relationship ends with its last source."""
    return shard.changed_set(values, 'Source', False)[1]


def raise_core_time(shard, record):
    """Lets a record without an event move core time."""
    shard.core_time = max(shard.core_time, record.timestamp_ms)
    honest_handle(shard, record)


def count_30_day_months(use, last, count):
    """A window in which all months have 30 days."""
    def number(date):
        return 360 * date.year + 30 * date.month + date.day
    return sum(minutes for day, minutes in use.days.items() if 0 <= number(last) - number(day) < count)


def fold_ascii(name):
    return name.lower().encode()


def confirm_anything(shard, values, now):
    """Takes a late confirmation for a repeated one, so that the other shard keeps the reference."""
    if shard.waiting(values['Request']) is None:
        raise model.Unchanged
    return honest_confirm(shard, values, now)


def forget_early_releases(shard, event):
    """Does not note a release that overtook its request."""
    concluded = honest_apply(shard, event)
    shard.released_early.clear()
    return concluded


def wait_longer(shard, record_time):
    """Lets a request live for one millisecond more."""
    return honest_due(shard, record_time - 1)


def established(shard, number):
    """Overlooks associations that are pending."""
    return [row for row in honest_of_source(shard, number) if not row.pending]
def take_one_less(shard, values, now):
    """Gives a new device up before the last relationship is there."""
    return honest_end(shard, {**values, 'Count': max(values['Count'] - 1, 0)}, now)


def widen_resource_ids():
    """By one at both ends."""
    wide = model.integer_between(0, 2 ** 32)
    for members in model.COMMANDS.values():
        members[:] = [(name, wide if check is model.RESOURCE else check, required)
                      for name, check, required in members]


honest_handle = model.Shard.handle
honest_confirm = model.Shard.confirm_reference
honest_apply = model.Shard.apply_conversation
honest_end = model.Shard.end_adoption
honest_due = model.Shard.due_requests
honest_of_source = model.Shard.of_source
WRONG = {
    'last-source': lambda: setattr(model.Shard, 'remove_source', remove_last_source),
    'core-time': lambda: setattr(model.Shard, 'handle', raise_core_time),
    'months': lambda: setattr(usage.UseOfDevice, 'minutes', count_30_day_months),
    'fold': lambda: setattr(model, 'fold_user_name', fold_ascii),
    'range': widen_resource_ids,
    'conflict': lambda: setattr(model.Command, 'content_hash', lambda self, key: 'x'),
    'late-confirm': lambda: setattr(model.Shard, 'confirm_reference', confirm_anything),
    'early-release': lambda: setattr(model.Shard, 'apply_conversation', forget_early_releases),
    'due': lambda: setattr(model.Shard, 'due_requests', wait_longer),
    'pending': lambda: setattr(model.Shard, 'of_source', established),
    'answered-early': lambda: setattr(model.Receipt, 'waits', lambda receipt: False),
    'adoption': lambda: setattr(model.Shard, 'end_adoption', take_one_less),
    'derived': lambda: setattr(model.keys, 'derived', lambda site_key, *place: site_key),
    'locale': lambda: setattr(model.associations, 'as_set', lambda users: {
        model.fold_user_name(user['UserName']) for user in users}),
}


class Served:
    def __init__(self, op):
        self.site = model.Site(op['log'], op['site'], bytes.fromhex(op['site_key']), op['shards'],
                               op['prefix'], op['reply_allow'], op['start_offset'], hints=Texts())
        self.room = op['room']
        self.told = {}

    def new(self, shard, kind, things):
        at = self.told.get((shard, kind), 0)
        self.told[shard, kind] = len(things)
        return things[at:]

    def record(self, op):
        site, partition = self.site, op['partition']
        site.append(partition, op['timestamp'], decode(op['key']), decode(op['value']),
                    [(name, decode(value)) for name, value in op['headers']],
                    op['offset'] - site.next_offsets[partition])

    def run(self):
        self.site.run()
        self.site.next_offsets = [offset + self.room for offset in self.site.next_offsets]

    def tell(self):
        for shard in self.site.shards:
            for event in self.new(shard.number, 'event', shard.events):
                headers = event.headers() + [('kinlog_epoch', '1;' + '0' * 32)]
                yield {'event': {'shard': shard.number, 'key': encode(event.key),
                                 'headers': headers, 'data': event.data_text()}}
            for answer in self.new(shard.number, 'answer', shard.answers):
                yield {'answer': {**answer, 'key': encode(answer['key']),
                                  'value': kinlog_json.dump(answer['value'])}}
            for kind, things in (('forward', shard.forwards), ('dead_letter', shard.dead_letters),
                                 ('command', shard.commands)):
                for thing in self.new(shard.number, kind, things):
                    thing = dict(thing, headers=[[n, encode(v)] for n, v in thing['headers']])
                    for name in ('key', 'value'):
                        if name in thing:
                            thing[name] = encode(thing[name])
                    yield {kind: thing}


def main():
    WRONG.get(os.environ.get('KINLOG_MODEL_WRONG'), lambda: None)()
    served = None
    for line in sys.stdin:
        op = json.loads(line)
        if op['op'] == 'open':
            served = Served(op)
        elif op['op'] == 'record':
            served.record(op)
        else:
            if op['op'] == 'run':
                served.run()
                for item in served.tell():
                    print(json.dumps(item))
            elif op['op'] == 'views':
                print(json.dumps({'views': served.site.views()}))
            print('{"done":true}', flush=True)


if __name__ == '__main__':
    main()
