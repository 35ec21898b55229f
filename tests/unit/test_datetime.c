/* test_datetime.c - times as text, in RFC 3339 and CIM form.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "events/base/datetime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MIN_MS INT64_C(-62167219200000)
#define MAX_MS INT64_C(253402300799999)

static int64_t rfc3339(const char *text)
{
    int64_t time_ms = INT64_MIN;

    return rfc3339_parse(bytes_str(text), &time_ms) ? time_ms : INT64_MIN;
}

static int64_t cim(const char *text)
{
    int64_t time_ms = INT64_MIN;

    return cim_datetime_parse(bytes_str(text), &time_ms) ? time_ms : INT64_MIN;
}

/* Known instants in both forms; times out of range are written as the nearest in range.
 * */
static void test_format(void **state)
{
    static const struct {
        int64_t time_ms;
        const char *rfc3339;
        const char *cim;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z", "19700101000000.000000+000"},
        {-1, "1969-12-31T23:59:59.999Z", "19691231235959.999000+000"},
        {INT64_C(951782400123), "2000-02-29T00:00:00.123Z", "20000229000000.123000+000"},
        {INT64_C(1767225599999), "2025-12-31T23:59:59.999Z", "20251231235959.999000+000"},
        {INT64_C(4107542400000), "2100-03-01T00:00:00.000Z", "21000301000000.000000+000"},
        {MIN_MS, "0000-01-01T00:00:00.000Z", "00000101000000.000000+000"},
        {MAX_MS, "9999-12-31T23:59:59.999Z", "99991231235959.999000+000"},
        {INT64_MIN, "0000-01-01T00:00:00.000Z", "00000101000000.000000+000"},
        {INT64_MAX, "9999-12-31T23:59:59.999Z", "99991231235959.999000+000"},
    };
    char text[RFC3339_SIZE];
    char cim_text[CIM_DATETIME_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        rfc3339_format(cases[i].time_ms, text);
        assert_string_equal(text, cases[i].rfc3339);
        cim_datetime_format(cases[i].time_ms, cim_text);
        assert_string_equal(cim_text, cases[i].cim);
    }
}

/* Every day of ten thousand years, counted by hand, comes back from text as it was. */
static void test_every_day(void **state)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t time_ms = MIN_MS;

    (void)state;
    for (int year = 0; year < 10000; year++) {
        bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

        for (int month = 1; month <= 12; month++) {
            for (int day = 1; day <= days[month - 1] + (leap && month == 2); day++) {
                char text[RFC3339_SIZE];

                rfc3339_format(time_ms, text);
                int number = ((text[0] - '0') * 1000 + (text[1] - '0') * 100 +
                              (text[2] - '0') * 10 + text[3] - '0') *
                                 10000 +
                             ((text[5] - '0') * 10 + text[6] - '0') * 100 +
                             (text[8] - '0') * 10 + text[9] - '0';

                if (number != year * 10000 + month * 100 + day ||
                    rfc3339(text) != time_ms) {
                    fail_msg("%d-%d-%d is written as %s", year, month, day, text);
                }
                time_ms += INT64_C(86400000);
            }
        }
    }
    assert_true(time_ms == MAX_MS + 1);
}

/* Offsets, fractions, leap seconds and lower case letters of RFC 3339 are understood. */
static void test_rfc3339_parse(void **state)
{
    (void)state;
    assert_true(rfc3339("1985-04-12T23:20:50.52Z") == INT64_C(482196050520));
    assert_true(rfc3339("1996-12-19T16:39:57-08:00") == INT64_C(851042397000));
    assert_true(rfc3339("1990-12-31T23:59:60Z") == INT64_C(662687999999));
    assert_true(rfc3339("1990-12-31T15:59:60.25-08:00") == INT64_C(662687999999));
    assert_true(rfc3339("1937-01-01T12:00:27.87+00:20") == INT64_C(-1041337172130));
    assert_true(rfc3339("1970-01-01t00:00:00z") == 0);
    assert_true(rfc3339("1970-01-01T00:00:00-00:00") == 0);
    assert_true(rfc3339("1970-01-01T23:59:00+23:59") == 0);
    assert_true(rfc3339("1970-01-01T00:00:00.1Z") == 100);
    assert_true(rfc3339("1970-01-01T00:00:00.0019999999999999999999Z") == 1);
    assert_true(rfc3339("1969-12-31T23:59:59.9999Z") == -1);
    assert_true(rfc3339("0000-01-01T00:00:00Z") == MIN_MS);
    assert_true(rfc3339("9999-12-31T23:59:59.999Z") == MAX_MS);
}

/* Whatever is not RFC 3339, or not within the years 0000 to 9999 in UTC, is refused. */
static void test_rfc3339_refuses(void **state)
{
    static const char *const texts[] = {
        "",
        "2026",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-01-01 00:00:00Z",
        "2026-01-01T00:00Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00,5Z",
        "2026-01-01T00:00:00Zz",
        "2026-01-01T00:00:00+0100",
        "2026-01-01T00:00:00+01",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00+01:60",
        "2026-00-01T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:61Z",
        "+2026-01-01T00:00:00Z",
        " 2026-01-01T00:00:00Z",
        "12026-01-01T00:00:00Z",
        "2026-1-01T00:00:00Z",
        "0000-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "20\xd9\xa2\xd9\xa6-01-01T00:00:00Z",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (rfc3339(texts[i]) != INT64_MIN) {
            fail_msg("accepted: %s", texts[i]);
        }
    }
    int64_t time_ms = 5;

    assert_false(rfc3339_parse(BYTES_ABSENT, &time_ms));
    assert_false(rfc3339_parse(bytes_of("2026-01-01T00:00:00Z\0", 21), &time_ms));
    assert_true(time_ms == 5);
}

/* CIM datetimes: six digits of fraction and an offset in minutes. */
static void test_cim_parse(void **state)
{
    (void)state;
    assert_true(cim("19700101000000.000000+000") == 0);
    assert_true(cim("20000229000000.123999+000") == INT64_C(951782400123));
    assert_true(cim("19700101010000.000000+060") == 0);
    assert_true(cim("19691231160000.000000-480") == 0);
    assert_true(cim("19700101000000.000000") == INT64_MIN);
    assert_true(cim("19700101000000.000+000") == INT64_MIN);
    assert_true(cim("19700101000000.******+***") == INT64_MIN);
    assert_true(cim("00000001000000.000000:000") == INT64_MIN);
    assert_true(cim("19700101000000.000000+0000") == INT64_MIN);
    assert_true(cim("19700230000000.000000+000") == INT64_MIN);
}

/* Days are counted from 1970 in both directions. */
static void test_utc_day(void **state)
{
    (void)state;
    assert_true(utc_day(0) == 0);
    assert_true(utc_day(DAY_MS - 1) == 0);
    assert_true(utc_day(DAY_MS) == 1);
    assert_true(utc_day(-1) == -1);
    assert_true(utc_day(-DAY_MS) == -1);
    assert_true(utc_day(-DAY_MS - 1) == -2);
    assert_true(utc_day(rfc3339("2026-01-01T00:30:00+01:00")) == 20453);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format),        cmocka_unit_test(test_every_day),
        cmocka_unit_test(test_rfc3339_parse), cmocka_unit_test(test_rfc3339_refuses),
        cmocka_unit_test(test_cim_parse),     cmocka_unit_test(test_utc_day),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
