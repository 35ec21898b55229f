# usage.py - usage in the model: who uses a device enough to be its user.
#
# Decisions and rows of one shard, as a part of kinlog_model.Shard. Days are dates of the calendar, and
# what a window holds is counted day by day.
#
# SPDX-License-Identifier: Apache-2.0
import datetime
import re
import struct

from kinlog_parts import (INVALID_PARAMETER, RESOURCE, UINT32_MAX, Rejected, cim_datetime, fold_user_name,
                          integer_between, parse_rfc3339, rfc3339, text_between, user_name)

DAY_MS = 86_400_000
DAY_MINUTES = 24 * 60
DAYS_KEPT = 90
USAGE_SOURCE, PRIMARY = 4, 1


def time_text(node):
    text = text_between(20, 64)(node)
    if parse_rfc3339(text) is None:
        raise ValueError
    return text


COMMANDS = {
    'ReportUsage': [('ResourceID', RESOURCE, True), ('UniqueUserName', user_name, True),
                    ('Start', time_text, True), ('Minutes', integer_between(0, DAY_MINUTES), True),
                    ('Count', integer_between(0, 86400), True)],
}


def number_up_to(high):
    return lambda value: re.fullmatch('0|[1-9][0-9]{0,8}', value) is not None and int(value) <= high


POLICY_DEFAULTS = {'usage.days': '0', 'usage.minutes': '0'}
POLICY_FITS = {'usage.days': number_up_to(DAYS_KEPT), 'usage.minutes': number_up_to(DAYS_KEPT * DAY_MINUTES)}
EPOCH = datetime.date(1970, 1, 1)


def utc_date(time_ms):
    return EPOCH + datetime.timedelta(days=time_ms // DAY_MS)


def beginning_of(date):
    return (date - EPOCH).days * DAY_MS


def days_before(date, count):
    return date - datetime.timedelta(days=count)


class UseOfDevice:
    """By one user. last_ms, until_ms: None = never, not enough."""

    def __init__(self, device, user):
        self.device, self.user, self.folded = device, user, fold_user_name(user)
        self.logins, self.last_ms, self.until_ms, self.version = 0, None, None, 0
        self.days = {}  # date -> minutes

    def days_kept(self, today):
        return {day: minutes for day, minutes in self.days.items()
                if days_before(today, DAYS_KEPT) < day}

    def minutes(self, last, count):
        """Of the days up to and including the last."""
        return sum(self.days.get(days_before(last, n), 0) for n in range(count))


class Use:
    """A part of Shard: .usage is (ResourceID, folded name) -> UseOfDevice."""

    def usage_place(self, values):
        """READING: a user's name stands in no subject, so all use of a device has one subject; the version
        is that of the user's own."""
        number = values['ResourceID']
        use = self.usage.get((number, fold_user_name(values['UniqueUserName'])))
        return 'device:%d' % number, 'device/%d/usage' % number, use.version if use else None

    @staticmethod
    def check_start(values, time_ms):
        """READING: the record's own time, as for expirytime."""
        if parse_rfc3339(values['Start']) > time_ms:
            raise Rejected(INVALID_PARAMETER, 'Start')

    def report_usage(self, values, now):
        number, today = values['ResourceID'], utc_date(now)
        start_ms = parse_rfc3339(values['Start'])
        day = utc_date(start_ms)
        old = self.usage.get((number, fold_user_name(values['UniqueUserName'])))
        new = UseOfDevice(number, old.user if old else values['UniqueUserName'])
        if old:
            new.days, new.logins, new.last_ms = old.days_kept(today), old.logins, old.last_ms
        if new.days.get(day, 0) + values['Minutes'] > DAY_MINUTES:
            raise Rejected(INVALID_PARAMETER, 'Minutes')
        counts = days_before(today, DAYS_KEPT) < day
        if counts:
            new.days[day] = new.days.get(day, 0) + values['Minutes']
        if values['Count']:
            new.last_ms = start_ms if new.last_ms is None else max(new.last_ms, start_ms)
            new.logins = min(new.logins + values['Count'], UINT32_MAX)
        new.until_ms = self.enough_until(new, today)
        drafts = self.follow_usage(old.until_ms if old else None, new, now)
        if number not in self.devices and not drafts:
            drafts = self.stubs(number)
        return drafts + [('UsageReported', 'device:%d' % number, 'device/%d/usage' % number, {
            'ResourceID': number, 'UniqueUserName': new.user, 'Start': rfc3339(start_ms),
            'Minutes': values['Minutes'], 'Count': values['Count'],
            'DayMinutes': new.days[day] if counts else None,
            'LastLoginTime': None if new.last_ms is None else cim_datetime(new.last_ms),
            'LoginCount': new.logins,
            'EnoughUntil': None if new.until_ms is None else rfc3339(new.until_ms)})]

    def usage_is_off(self):
        return 0 in (int(self.policy('usage.minutes')), int(self.policy('usage.days')))

    def enough_until(self, use, today):
        """The beginning of the first day on which the minutes are too few, or None if they are today."""
        minutes, count = int(self.policy('usage.minutes')), int(self.policy('usage.days'))
        if self.usage_is_off() or use.minutes(today, count) < minutes:
            return None
        day = today
        while use.minutes(day, count) >= minutes:
            day += datetime.timedelta(days=1)
        return beginning_of(day)

    def follow_usage(self, old_until_ms, use, now):
        """READING: only when the minutes become enough does source 4 come, and only when they are no
        more does it go; so what was removed by hand stays away until then. With the policy off nothing
        goes."""
        row = self.pairs.get((use.device, use.folded))
        if use.until_ms is not None and old_until_ms is None:
            return self.vouch(use.device, use.user, [USAGE_SOURCE], [PRIMARY], now)
        if use.until_ms is None and old_until_ms is not None and row and not self.usage_is_off():
            return self.with_end(row, self.set_events(row, 'Source', [], [USAGE_SOURCE]))
        return []

    def due_usage(self, time_ms, now):
        """The timers that are due: (when, name, what makes the drafts)."""
        return [(use.until_ms, b'usage/' + struct.pack('>I', use.device) + use.folded,
                 lambda use=use: self.evaluated(use, now))
                for use in self.usage.values() if use.until_ms is not None and use.until_ms <= time_ms]

    def evaluated(self, use, now):
        new = UseOfDevice(use.device, use.user)
        new.days = use.days
        new.until_ms = self.enough_until(new, utc_date(now))
        return self.follow_usage(use.until_ms, new, now) + [
            ('UsageEvaluated', 'device:%d' % use.device, 'device/%d/usage' % use.device, {
                'ResourceID': use.device, 'UniqueUserName': use.user,
                'EnoughUntil': None if new.until_ms is None else rfc3339(new.until_ms)})]

    def apply_usage(self, event):
        data = event.data
        key = data['ResourceID'], fold_user_name(data['UniqueUserName'])
        use = self.usage.setdefault(key, UseOfDevice(data['ResourceID'], data['UniqueUserName']))
        use.version = event.sequence
        use.until_ms = data['EnoughUntil'] and parse_rfc3339(data['EnoughUntil'])
        if event.type == 'UsageReported':
            start_ms, today = parse_rfc3339(data['Start']), utc_date(self.core_time)
            if data['Count']:
                use.last_ms = start_ms if use.last_ms is None else max(use.last_ms, start_ms)
            use.logins = data['LoginCount']
            if data['DayMinutes'] is not None:
                use.days[utc_date(start_ms)] = data['DayMinutes']
            use.days = use.days_kept(today)

    def forget_usage(self, number):
        self.usage = {key: use for key, use in self.usage.items() if key[0] != number}

    def usage_rows(self):
        return [{'UniqueUserName': use.user, 'ResourceID': use.device,
                 'ResourceName': self.devices[use.device].data['Name'],
                 'LastLoginTime': None if use.last_ms is None else cim_datetime(use.last_ms),
                 'LoginCount': use.logins, 'Version': use.version, 'Shard': self.number}
                for _, use in sorted(self.usage.items())]
