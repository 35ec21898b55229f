/* datetime.c - times as text.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "events/base/datetime.h"

#define ERA_DAYS INT64_C(146097) /* in 400 years */

struct civil {
    int year, month, day, hour, minute, second, ms;
};

/* Here and in civil_of_time() days are counted from March 1st of the year -400, so that
 * the leap day ends a year and nothing is negative. Returns days since 1970-01-01. */
static int64_t days_of_date(int year, int month, int day)
{
    int64_t y = year + 400 - (month <= 2);
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - ERA_DAYS - 719468;
}

static struct civil civil_of_time(int64_t time_ms)
{
    if (time_ms < TIME_MS_MIN) {
        time_ms = TIME_MS_MIN;
    } else if (time_ms > TIME_MS_MAX) {
        time_ms = TIME_MS_MAX;
    }
    int64_t days = (time_ms - TIME_MS_MIN) / DAY_MS + ERA_DAYS - 31 - 29;
    int ms = (int)((time_ms - TIME_MS_MIN) % DAY_MS);
    int64_t era = days / ERA_DAYS;
    int64_t in_era = days % ERA_DAYS;
    int64_t year_of_era =
        (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    int64_t in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * in_year + 2) / 153;
    int month =
        (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);

    return (struct civil){
        .year = (int)(year_of_era + era * 400 - 400) + (month <= 2),
        .month = month,
        .day = (int)(in_year - (153 * month_from_march + 2) / 5 + 1),
        .hour = ms / 3600000,
        .minute = ms / 60000 % 60,
        .second = ms / 1000 % 60,
        .ms = ms % 1000,
    };
}

static int days_of_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap);
}

/* Checks the ranges; offset is what local time is ahead of UTC. */
static bool time_of_civil(const struct civil *civil, int offset_minutes,
                          int64_t *ret_time_ms)
{
    if (civil->month < 1 || civil->month > 12 || civil->day < 1 ||
        civil->day > days_of_month(civil->year, civil->month) || civil->hour > 23 ||
        civil->minute > 59 || civil->second > 60) {
        return false;
    }
    bool leap_second = civil->second == 60;
    int64_t second = leap_second ? 59 : civil->second;
    int64_t ms = leap_second ? 999 : civil->ms;
    int64_t minutes = civil->hour * 60 + civil->minute - offset_minutes;
    int64_t days = days_of_date(civil->year, civil->month, civil->day);
    int64_t time_ms = days * DAY_MS + minutes * 60000 + second * 1000 + ms;

    if (time_ms < TIME_MS_MIN || time_ms > TIME_MS_MAX) {
        return false;
    }
    *ret_time_ms = time_ms;
    return true;
}

int64_t utc_day(int64_t time_ms)
{
    return time_ms / DAY_MS - (time_ms % DAY_MS < 0);
}

static char *put_digits(char *out, int value, int count)
{
    for (int i = count - 1; i >= 0; i--) {
        out[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return out + count;
}

void rfc3339_format(int64_t time_ms, char ret_text[RFC3339_SIZE])
{
    struct civil civil = civil_of_time(time_ms);
    char *out = put_digits(ret_text, civil.year, 4);

    *out++ = '-';
    out = put_digits(out, civil.month, 2);
    *out++ = '-';
    out = put_digits(out, civil.day, 2);
    *out++ = 'T';
    out = put_digits(out, civil.hour, 2);
    *out++ = ':';
    out = put_digits(out, civil.minute, 2);
    *out++ = ':';
    out = put_digits(out, civil.second, 2);
    *out++ = '.';
    out = put_digits(out, civil.ms, 3);
    *out++ = 'Z';
    *out = '\0';
}

void cim_datetime_format(int64_t time_ms, char ret_text[CIM_DATETIME_SIZE])
{
    struct civil civil = civil_of_time(time_ms);
    char *out = put_digits(ret_text, civil.year, 4);

    out = put_digits(out, civil.month, 2);
    out = put_digits(out, civil.day, 2);
    out = put_digits(out, civil.hour, 2);
    out = put_digits(out, civil.minute, 2);
    out = put_digits(out, civil.second, 2);
    *out++ = '.';
    out = put_digits(out, civil.ms, 3);
    out = put_digits(out, 0, 3);
    *out++ = '+';
    out = put_digits(out, 0, 3);
    *out = '\0';
}

/* What is left of the text while it is taken apart. */
struct scan {
    const uint8_t *next;
    const uint8_t *end;
    bool ok;
};

static struct scan scan_of(struct bytes text)
{
    return (struct scan){text.data, text.data ? text.data + text.size : NULL,
                         text.data != NULL};
}

static bool scan_digit(struct scan *scan, int *ret_digit)
{
    if (scan->next == scan->end || *scan->next < '0' || *scan->next > '9') {
        return false;
    }
    *ret_digit = *scan->next++ - '0';
    return true;
}

/* Exactly count digits. */
static int scan_number(struct scan *scan, int count)
{
    int value = 0;

    for (int i = 0; i < count; i++) {
        int digit = 0;

        if (!scan_digit(scan, &digit)) {
            scan->ok = false;
            return 0;
        }
        value = value * 10 + digit;
    }
    return value;
}

/* One of two characters; the second in lower case, or the same. */
static bool scan_either(struct scan *scan, char a, char b)
{
    if (scan->next == scan->end ||
        (*scan->next != (uint8_t)a && *scan->next != (uint8_t)b)) {
        return false;
    }
    scan->next++;
    return true;
}

static void scan_char(struct scan *scan, char a, char b)
{
    if (!scan_either(scan, a, b)) {
        scan->ok = false;
    }
}

/* At least one digit after a point; what is finer than a millisecond is cut. */
static int scan_fraction_ms(struct scan *scan)
{
    int ms = 0;
    int digit = 0;
    int count = 0;

    while (scan_digit(scan, &digit)) {
        if (count < 3) {
            ms = ms * 10 + digit;
            count++;
        }
    }
    if (count == 0) {
        scan->ok = false;
    }
    for (; count < 3; count++) {
        ms *= 10;
    }
    return ms;
}

static int scan_sign(struct scan *scan)
{
    if (scan_either(scan, '+', '+')) {
        return 1;
    }
    scan_char(scan, '-', '-');
    return -1;
}

static int scan_rfc3339_offset(struct scan *scan)
{
    if (scan_either(scan, 'Z', 'z')) {
        return 0;
    }
    int sign = scan_sign(scan);
    int hours = scan_number(scan, 2);

    scan_char(scan, ':', ':');
    int minutes = scan_number(scan, 2);

    if (hours > 23 || minutes > 59) {
        scan->ok = false;
    }
    return sign * (hours * 60 + minutes);
}

bool rfc3339_parse(struct bytes text, int64_t *ret_time_ms)
{
    struct scan scan = scan_of(text);
    struct civil civil = {0};

    civil.year = scan_number(&scan, 4);
    scan_char(&scan, '-', '-');
    civil.month = scan_number(&scan, 2);
    scan_char(&scan, '-', '-');
    civil.day = scan_number(&scan, 2);
    scan_char(&scan, 'T', 't');
    civil.hour = scan_number(&scan, 2);
    scan_char(&scan, ':', ':');
    civil.minute = scan_number(&scan, 2);
    scan_char(&scan, ':', ':');
    civil.second = scan_number(&scan, 2);
    if (scan_either(&scan, '.', '.')) {
        civil.ms = scan_fraction_ms(&scan);
    }
    int offset_minutes = scan_rfc3339_offset(&scan);

    return scan.ok && scan.next == scan.end &&
           time_of_civil(&civil, offset_minutes, ret_time_ms);
}

bool cim_datetime_parse(struct bytes text, int64_t *ret_time_ms)
{
    struct scan scan = scan_of(text);
    struct civil civil = {0};

    civil.year = scan_number(&scan, 4);
    civil.month = scan_number(&scan, 2);
    civil.day = scan_number(&scan, 2);
    civil.hour = scan_number(&scan, 2);
    civil.minute = scan_number(&scan, 2);
    civil.second = scan_number(&scan, 2);
    scan_char(&scan, '.', '.');
    civil.ms = scan_number(&scan, 6) / 1000;
    int sign = scan_sign(&scan);
    int offset_minutes = sign * scan_number(&scan, 3);

    return scan.ok && scan.next == scan.end &&
           time_of_civil(&civil, offset_minutes, ret_time_ms);
}
