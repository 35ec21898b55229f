/* test_usage.c - ReportUsage, the timers of usage, and the view of what was used.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "events/base/datetime.h"
#include "projections/timer_view.h"
#include "projections/usage_view.h"
#include "schemas/commands.h"
#include "schemas/events.h"
#include "tests/lib/decide_fixture.h"

#define ANN "Corp\\\\Ann" /* in JSON */
#define KEY "device:1"
#define TIMERS_PER_TICK 100
#define SUBJECT "device/1/usage"
#define RELATIONSHIP "device/1/relationship/222"
#define RELATIONSHIP_OF_ANN                                                              \
    "\"RelationshipResourceID\":222,\"ResourceID\":1,\"UniqueUserName\":\"" ANN "\""

static int64_t time_of(const char *text)
{
    int64_t time_ms;

    assert_true(rfc3339_parse(bytes_str(text), &time_ms));
    return time_ms;
}

/* The broker takes the next commands at this time. */
static void at(struct decide_fixture *fixture, const char *time)
{
    fixture->next.time_ms = time_of(time);
    fixture->next.record_time_ms = fixture->next.time_ms;
}

static void report_of(struct decide_fixture *fixture, const char *user, const char *start,
                      int minutes, int count)
{
    run_format(fixture, "ReportUsage",
               "{\"ResourceID\":1,\"UniqueUserName\":\"%s\",\"Start\":\"%s\",\"Minutes\":"
               "%d,\"Count\":%d}",
               user, start, minutes, count);
}

static void report(struct decide_fixture *fixture, const char *start, int minutes)
{
    report_of(fixture, ANN, start, minutes, 1);
}

static void tick(struct decide_fixture *fixture, const char *time)
{
    at(fixture, time);
    fixture->next.from_agents = true;
    fixture->next.from_owner = true;
    run(fixture, "Tick", "{}");
}

static void set_policy(struct decide_fixture *fixture, const char *name,
                       const char *value)
{
    run_format(fixture, "SetPolicy", "{\"Name\":\"%s\",\"Value\":\"%s\"}", name, value);
    assert_string_equal(fixture->events[0].type->name, "PolicyChanged");
}

/* Device 1 is registered; so many minutes in so many days are enough. */
static void begin(struct decide_fixture *fixture, const char *minutes, const char *days)
{
    run(fixture, "RegisterDevice", "{\"ResourceID\":1,\"Name\":\"PC1\"}");
    if (strcmp(minutes, "0") != 0)
        set_policy(fixture, "usage.minutes", minutes);
    if (strcmp(days, "0") != 0)
        set_policy(fixture, "usage.days", days);
}

static int get(struct decide_fixture *fixture, const char *user, struct usage *ret_usage)
{
    int code = usage_get(fixture->views, 1, bytes_str(user), &fixture->arena, ret_usage,
                         &fixture->err);

    assert_true(code >= 0);
    return code;
}

static const struct usage_reported_v1 *reported(const struct decide_fixture *fixture)
{
    size_t last = fixture->decision.count - 1;

    assert_string_equal(fixture->events[last].type->name, "UsageReported");
    assert_true(bytes_equal_str(fixture->events[last].key, KEY));
    assert_true(bytes_equal_str(fixture->events[last].subject, SUBJECT));
    return fixture->decision.events[last].data;
}

/* Until when the minutes are enough by the newest report; NULL = they are not. */
static void assert_enough_until(struct decide_fixture *fixture, const char *until)
{
    const struct usage_reported_v1 *data = reported(fixture);
    struct usage usage;
    int64_t due_ms;

    assert_int_equal(data->has_enough_until, until != NULL);
    if (until != NULL && !bytes_equal_str(data->enough_until, until))
        fail_msg("%.*s instead of %s", (int)data->enough_until.size,
                 (const char *)data->enough_until.data, until);
    assert_int_equal(get(fixture, "corp\\ann", &usage), 0);
    assert_int_equal(usage.enough_until_ms, until != NULL ? time_of(until) : 0);
    assert_int_equal(timer_next(fixture->views, &due_ms, &fixture->err), until == NULL);
    if (until != NULL)
        assert_int_equal(due_ms, usage.enough_until_ms);
}

static void assert_types(const struct decide_fixture *fixture, const char *first,
                         const char *second, const char *third)
{
    const char *const types[] = {first, second, third};
    size_t count = third != NULL ? 3 : second != NULL ? 2 : 1;

    assert_event_count(fixture, count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(fixture->events[i].type->name, types[i]);
}

/* A replay of the log gives the views that there are. */
static void assert_replayed(struct decide_fixture *fixture)
{
    struct buf difference = BUF_INIT;
    struct kv *shadow;

    commit(fixture);
    if (views_replay(fixture->kv, NULL, NULL, &shadow, &fixture->err) != 0)
        fail_msg("%s", fixture->err.text);
    if (views_compare(fixture->kv, shadow, &difference, &fixture->err) != 0)
        fail_msg("%s", buf_cstr(&difference));
    kv_close(shadow);
    buf_release(&difference);
}

/* Logins and minutes add up, the last login is the latest; without a policy nothing
 * follows. */
static void test_report(void **state)
{
    struct decide_fixture *fixture = *state;
    struct usage usage;

    begin(fixture, "0", "0");
    at(fixture, "2026-03-01T12:00:00Z");
    assert_int_equal(get(fixture, "corp\\ann", &usage), 1);
    report_of(fixture, ANN, "2026-03-01T08:15:00.5+01:00", 90, 2);
    assert_event_count(fixture, 1);
    assert_event(fixture, 0, "UsageReported", KEY, SUBJECT,
                 "{\"ResourceID\":1,\"UniqueUserName\":\"" ANN
                 "\",\"Start\":\"2026-03-01T07:15:00.500Z\",\"Minutes\":90,\"Count\":2,"
                 "\"DayMinutes\":90,\"LastLoginTime\":\"20260301071500.500000+000\","
                 "\"LoginCount\":2,\"EnoughUntil\":null}");
    report_of(fixture, "CORP\\\\ANN", "2026-03-01T06:00:00Z", 30, 1);
    assert_event(fixture, 0, "UsageReported", KEY, SUBJECT,
                 "{\"ResourceID\":1,\"UniqueUserName\":\"" ANN
                 "\",\"Start\":\"2026-03-01T06:00:00.000Z\",\"Minutes\":30,\"Count\":1,"
                 "\"DayMinutes\":120,\"LastLoginTime\":\"20260301071500.500000+000\","
                 "\"LoginCount\":3,\"EnoughUntil\":null}");
    assert_int_equal(get(fixture, "corp\\ann", &usage), 0);
    assert_true(bytes_equal_str(usage.unique_user_name, "Corp\\Ann"));
    assert_int_equal(usage.login_count, 3);
    assert_int_equal(usage.last_login_ms, time_of("2026-03-01T07:15:00.5Z"));
    assert_int_equal(usage.day_count, 1);
    assert_int_equal(usage.days[0].minutes, 120);
    assert_int_equal(usage.version, 3);
    assert_replayed(fixture);
}

/* A use without a login tells of none. The count stays at its highest. */
static void test_logins(void **state)
{
    struct decide_fixture *fixture = *state;
    struct usage usage;

    begin(fixture, "0", "0");
    at(fixture, "2026-03-01T12:00:00Z");
    report_of(fixture, ANN, "2026-03-01T08:00:00Z", 5, 0);
    assert_false(reported(fixture)->has_last_login_time);
    assert_int_equal(reported(fixture)->login_count, 0);
    report_of(fixture, ANN, "1969-12-31T23:59:59Z", 5, 1);
    assert_true(
        bytes_equal_str(reported(fixture)->last_login_time, "19691231235959.000000+000"));
    report_of(fixture, ANN, "2026-03-01T08:00:00Z", 5, 0);
    assert_true(
        bytes_equal_str(reported(fixture)->last_login_time, "19691231235959.000000+000"));
    for (int i = 0; i < 3; i++) {
        struct event event = {
            .sequence = 100 + (uint64_t)i,
            .time_ms = fixture->next.time_ms,
            .type = event_type_find(bytes_str("kinlog.UsageReported.v1")),
            .data = bytes_str("{\"ResourceID\":1,\"UniqueUserName\":\"" ANN
                              "\",\"Start\":\"2026-03-01T08:00:00.000Z\",\"Minutes\":0,"
                              "\"Count\":1,\"DayMinutes\":5,\"LastLoginTime\":"
                              "\"20260301080000.000000+000\",\"LoginCount\":4294967290,"
                              "\"EnoughUntil\":null}"),
        };
        assert_int_equal(views_apply(fixture->views, &event, NULL, &fixture->err), 0);
    }
    report_of(fixture, ANN, "2026-03-01T08:00:00Z", 5, 86400);
    assert_int_equal(reported(fixture)->login_count, 4294967295);
    assert_int_equal(get(fixture, "corp\\ann", &usage), 0);
    assert_int_equal(usage.login_count, 4294967295);
}

/* The minutes become enough: source 4 and type 1. Time passes: a Tick takes them back. */
static void test_enough(void **state)
{
    struct decide_fixture *fixture = *state;
    struct relationship relationship;
    int64_t due_ms;

    begin(fixture, "120", "7");
    at(fixture, "2026-02-26T12:00:00Z");
    report(fixture, "2026-02-26T08:00:00Z", 60);
    assert_event_count(fixture, 1);
    assert_enough_until(fixture, NULL);
    at(fixture, "2026-02-28T12:00:00Z");
    report(fixture, "2026-02-28T08:00:00Z", 60);
    assert_types(fixture, "RelationshipCreated", "UsageReported", NULL);
    assert_event(fixture, 0, "RelationshipCreated", KEY, RELATIONSHIP,
                 "{\"ResourceID\":1,\"UniqueUserName\":\"" ANN
                 "\",\"RelationshipResourceID\":222,\"ResourceName\":\"PC1\","
                 "\"ResourceClientType\":1,\"CreationTime\":"
                 "\"20260228120000.000000+000\",\"IsActive\":true,\"Sources\":[4],"
                 "\"Types\":[1]}");
    assert_enough_until(fixture, "2026-03-05T00:00:00.000Z");
    /* More of it changes nothing but until when. */
    at(fixture, "2026-03-03T12:00:00Z");
    report(fixture, "2026-03-03T08:00:00Z", 59);
    assert_event_count(fixture, 1);
    assert_enough_until(fixture, "2026-03-05T00:00:00.000Z");
    report(fixture, "2026-03-03T08:00:00Z", 1);
    assert_event_count(fixture, 1);
    assert_enough_until(fixture, "2026-03-07T00:00:00.000Z");

    tick(fixture, "2026-03-06T23:59:59.999Z");
    assert_event_count(fixture, 0);
    tick(fixture, "2026-03-07T00:00:00Z");
    assert_types(fixture, "SourceRemoved", "RelationshipDeleted", "UsageEvaluated");
    assert_event(fixture, 0, "SourceRemoved", KEY, RELATIONSHIP,
                 "{" RELATIONSHIP_OF_ANN ",\"SourceId\":4,\"Sources\":null}");
    assert_event(fixture, 1, "RelationshipDeleted", KEY, RELATIONSHIP,
                 "{" RELATIONSHIP_OF_ANN ",\"Reason\":\"last_source\"}");
    assert_event(fixture, 2, "UsageEvaluated", KEY, SUBJECT,
                 "{\"ResourceID\":1,\"UniqueUserName\":\"" ANN
                 "\",\"EnoughUntil\":null}");
    assert_int_equal(timer_next(fixture->views, &due_ms, &fixture->err), 1);
    assert_int_equal(relationship_get(fixture->views, 1, bytes_str("Corp\\Ann"),
                                      &fixture->arena, &relationship, &fixture->err),
                     1);
    tick(fixture, "2026-03-08T00:00:00Z");
    assert_event_count(fixture, 0);
    assert_replayed(fixture);
}

/* What others say of the relationship stays when the usage agent takes its word back, be
 * it at a Tick or, if that is late, at a report. */
static void test_word_of_others(void **state)
{
    struct decide_fixture *fixture = *state;

    begin(fixture, "60", "2");
    run(fixture, "CreateRelationship",
        "{\"MachineResourceId\":1,\"UserAccountName\":\"" ANN "\",\"SourceId\":2}");
    at(fixture, "2026-03-01T12:00:00Z");
    report(fixture, "2026-03-01T08:00:00Z", 60);
    assert_types(fixture, "SourceAdded", "TypeAdded", "UsageReported");
    tick(fixture, "2026-03-03T00:00:00Z");
    assert_types(fixture, "SourceRemoved", "UsageEvaluated", NULL);
    assert_event(fixture, 0, "SourceRemoved", KEY, RELATIONSHIP,
                 "{" RELATIONSHIP_OF_ANN ",\"SourceId\":4,\"Sources\":[2]}");
    report(fixture, "2026-03-03T00:00:00Z", 60);
    assert_types(fixture, "SourceAdded", "UsageReported", NULL);
    at(fixture, "2026-03-05T00:00:00Z");
    report(fixture, "2026-03-05T00:00:00Z", 59);
    assert_types(fixture, "SourceRemoved", "UsageReported", NULL);
    assert_enough_until(fixture, NULL);
    assert_replayed(fixture);
}

/* What was removed by hand stays away until the minutes were too few and are enough
 * again. */
static void test_removed_by_hand(void **state)
{
    struct decide_fixture *fixture = *state;

    begin(fixture, "60", "2");
    at(fixture, "2026-03-01T12:00:00Z");
    report(fixture, "2026-03-01T08:00:00Z", 60);
    run(fixture, "DeleteRelationship", "{\"RelationshipResourceID\":222}");
    report(fixture, "2026-03-01T08:00:00Z", 60);
    assert_event_count(fixture, 1);
    tick(fixture, "2026-03-03T00:00:00Z");
    assert_types(fixture, "UsageEvaluated", NULL, NULL);
    report(fixture, "2026-03-03T00:00:00Z", 60);
    assert_types(fixture, "RelationshipCreated", "UsageReported", NULL);
    assert_replayed(fixture);
}

/* A day leaves the window at the right midnight, whatever the calendar does there. */
static void test_calendar(void **state)
{
    static const struct {
        const char *days;
        const char *used;
        const char *until;
    } cases[] = {
        {"1", "2026-12-31T23:59:59.999Z", "2027-01-01T00:00:00.000Z"},
        {"7", "2026-02-26T10:00:00Z", "2026-03-05T00:00:00.000Z"},
        {"7", "2028-02-26T10:00:00Z", "2028-03-04T00:00:00.000Z"},
        {"2", "2028-02-28T00:00:00Z", "2028-03-01T00:00:00.000Z"},
        {"2", "2100-02-28T00:00:00Z", "2100-03-02T00:00:00.000Z"},
        {"30", "2026-04-30T10:00:00Z", "2026-05-30T00:00:00.000Z"},
        {"30", "2026-07-31T10:00:00Z", "2026-08-30T00:00:00.000Z"},
        {"90", "2027-12-31T10:00:00Z", "2028-03-30T00:00:00.000Z"},
        {"90", "2026-12-31T10:00:00Z", "2027-03-31T00:00:00.000Z"},
        /* A day is one of UTC: this one is the day before. */
        {"1", "2026-03-01T00:30:00+01:00", "2026-03-01T00:00:00.000Z"},
        {"1", "2026-02-28T23:30:00-01:00", "2026-03-02T00:00:00.000Z"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct decide_fixture *fixture;
        decide_fixture_setup(state);
        fixture = *state;
        begin(fixture, "60", cases[i].days);
        at(fixture, cases[i].used);
        report(fixture, cases[i].used, 60);
        assert_enough_until(fixture, cases[i].until);
        decide_fixture_teardown(state);
    }
}

/* A late report counts for its day while that is in the window, and tells of logins at
 * any time. */
static void test_late(void **state)
{
    struct decide_fixture *fixture = *state;
    struct usage usage;

    begin(fixture, "120", "7");
    at(fixture, "2026-03-03T12:00:00Z");
    report(fixture, "2026-03-03T08:00:00Z", 60);
    /* The seventh day back is in the window, the eighth is not. */
    report(fixture, "2026-02-24T23:59:59Z", 1000);
    assert_int_equal(reported(fixture)->day_minutes, 1000);
    assert_enough_until(fixture, NULL);
    report(fixture, "2026-02-25T00:00:00Z", 60);
    assert_types(fixture, "RelationshipCreated", "UsageReported", NULL);
    assert_enough_until(fixture, "2026-03-04T00:00:00.000Z");
    assert_int_equal(get(fixture, "corp\\ann", &usage), 0);
    assert_int_equal(usage.last_login_ms, time_of("2026-03-03T08:00:00Z"));
    assert_int_equal(usage.login_count, 3);
    assert_int_equal(usage.day_count, 3);
    /* The 90th day back is kept, the one before it is not. */
    report(fixture, "2025-12-04T00:00:00Z", 7);
    assert_true(reported(fixture)->has_day_minutes);
    report(fixture, "2025-12-03T23:59:59Z", 7);
    assert_false(reported(fixture)->has_day_minutes);
    assert_int_equal(get(fixture, "corp\\ann", &usage), 0);
    assert_int_equal(usage.day_count, 4);
    assert_int_equal(usage.login_count, 5);
    /* A longer window sees the days that are kept, from the next report on. */
    set_policy(fixture, "usage.days", "90");
    set_policy(fixture, "usage.minutes", "1128");
    report(fixture, "2026-03-03T08:00:00Z", 1);
    assert_enough_until(fixture, "2026-03-04T00:00:00.000Z");
    /* Days that are kept no more go. */
    at(fixture, "2026-03-04T00:00:00Z");
    report(fixture, "2026-03-04T00:00:00Z", 1);
    assert_types(fixture, "SourceRemoved", "RelationshipDeleted", "UsageReported");
    assert_int_equal(get(fixture, "corp\\ann", &usage), 0);
    assert_int_equal(usage.day_count, 4);
    assert_int_equal(usage.days[0].minutes, 1000);
    /* They count no more for what a day may have. */
    at(fixture, "2026-06-30T00:00:00Z");
    report(fixture, "2026-02-24T00:00:00Z", 1000);
    assert_false(reported(fixture)->has_day_minutes);
    assert_int_equal(get(fixture, "corp\\ann", &usage), 0);
    assert_int_equal(usage.day_count, 0);
    assert_replayed(fixture);
}

/* All days that are kept, one by one and last to first. */
static void test_all_days(void **state)
{
    struct decide_fixture *fixture = *state;
    struct usage usage;
    char start[RFC3339_SIZE];

    begin(fixture, "0", "0");
    at(fixture, "2026-03-31T12:00:00Z");
    for (int ago = 0; ago < USAGE_DAYS_MAX + 2; ago++) {
        rfc3339_format(fixture->next.time_ms - ago * DAY_MS, start);
        report(fixture, start, 1000 + ago);
    }
    assert_int_equal(get(fixture, "corp\\ann", &usage), 0);
    assert_int_equal(usage.day_count, USAGE_DAYS_MAX);
    int64_t today = utc_day(fixture->next.time_ms);
    for (size_t i = 0; i < USAGE_DAYS_MAX; i++) {
        assert_int_equal(usage.days[i].day, today - (USAGE_DAYS_MAX - 1) + (int64_t)i);
        assert_int_equal(usage.days[i].minutes, 1000 + USAGE_DAYS_MAX - 1 - i);
    }
    assert_int_equal(usage_minutes(&usage, today - 1, today), 2001);
    assert_replayed(fixture);
}

/* A day has no more than its minutes, and no use begins in the future. */
static void test_refused(void **state)
{
    struct decide_fixture *fixture = *state;
    struct usage usage;

    begin(fixture, "0", "0");
    at(fixture, "2026-03-01T12:00:00Z");
    report(fixture, "2026-03-01T12:00:00.001Z", 1);
    assert_refused(fixture, RETURN_INVALID_PARAMETER, "Start", 0);
    assert_true(bytes_equal_str(fixture->events[0].key, KEY));
    assert_true(bytes_equal_str(fixture->events[0].subject, SUBJECT));
    assert_int_equal(get(fixture, "corp\\ann", &usage), 1);
    /* It is the record's own time that counts, even if core time is later. */
    fixture->next.record_time_ms -= 1;
    report(fixture, "2026-03-01T12:00:00Z", 1);
    assert_refused(fixture, RETURN_INVALID_PARAMETER, "Start", 0);
    at(fixture, "2026-03-01T12:00:00Z");
    report(fixture, "2026-03-01T12:00:00Z", 1);
    report(fixture, "2026-03-01T00:00:00Z", 1439);
    report(fixture, "2026-03-01T06:00:00Z", 1);
    assert_refused(fixture, RETURN_INVALID_PARAMETER, "Minutes", 4 + 1);
    report(fixture, "2026-03-01T06:00:00Z", 0);
    assert_int_equal(reported(fixture)->day_minutes, 1440);
    fixture->next.has_expected_version = true;
    fixture->next.expected_version = 5;
    report(fixture, "2026-03-01T06:00:00Z", 0);
    assert_refused(fixture, RETURN_STALE_VERSION, "expectedversion", 7);
    run(fixture, "ReportUsage",
        "{\"ResourceID\":2,\"UniqueUserName\":\"" ANN
        "\",\"Start\":\"2027-03-01T06:00:00Z\",\"Minutes\":1,\"Count\":1}");
    assert_refused(fixture, RETURN_NOT_FOUND, "ResourceID", 0);
}

/* What does not fit the schema, or what a schema cannot say. */
static void test_parameters(void **state)
{
    static const struct {
        const char *start, *minutes, *count;
    } misfits[] = {
        {"2026-03-01T06:00:00Z", "-1", "1"},   {"2026-03-01T06:00:00Z", "1441", "1"},
        {"2026-03-01T06:00:00Z", "1.5", "1"},  {"2026-03-01T06:00:00Z", "\"1\"", "1"},
        {"2026-03-01T06:00:00Z", "1", "-1"},   {"2026-03-01T06:00:00Z", "1", "86401"},
        {"2026-03-01T06:00:00Z", "null", "1"}, {"2026-03-01", "1", "1"},
    };
    static const char *const no_times[] = {
        "2026-02-29T06:00:00Z", "2026-03-01T24:00:00Z", "2026-03-01T06:00:00.Z",
        "20260301060000.000000+000", "2026-03-01 06:00:00Z"};
    struct decide_fixture *fixture = *state;
    const struct schema_entry *type = command_type("ReportUsage");
    struct report_usage_v1 params;
    struct codec_error fault;
    struct param_fault found;
    char json[256];

    for (size_t i = 0; i < sizeof misfits / sizeof misfits[0]; i++) {
        (void)snprintf(json, sizeof json,
                       "{\"ResourceID\":1,\"UniqueUserName\":\"" ANN
                       "\",\"Start\":\"%s\",\"Minutes\":%s,\"Count\":%s}",
                       misfits[i].start, misfits[i].minutes, misfits[i].count);
        assert_int_equal(codec_decode(type->schema, CODEC_IGNORE_CASE, bytes_str(json),
                                      &fixture->arena, &params, &fault),
                         CODEC_MISMATCH);
    }
    for (size_t i = 0; i < sizeof no_times / sizeof no_times[0]; i++) {
        (void)snprintf(json, sizeof json,
                       "{\"ResourceID\":1,\"UniqueUserName\":\"" ANN
                       "\",\"Start\":\"%s\",\"Minutes\":1,\"Count\":1}",
                       no_times[i]);
        found = command_check(type, decode_command(fixture, type, json), NULL);
        assert_string_equal(found.parameter, "Start");
        assert_non_null(found.text);
    }
    found = command_check(type,
                          decode_command(fixture, type,
                                         "{\"ResourceID\":1,\"UniqueUserName\":\"Ann\","
                                         "\"Start\":\"2026-02-29T06:00:00Z\","
                                         "\"Minutes\":1,\"Count\":1}"),
                          NULL);
    assert_string_equal(found.parameter, "UniqueUserName");
}

/* An unknown device is refused, or becomes a stub. */
static void test_unknown_device(void **state)
{
    struct decide_fixture *fixture = *state;

    at(fixture, "2026-03-01T12:00:00Z");
    set_policy(fixture, "devices.unknown", "stub");
    report(fixture, "2026-03-01T08:00:00Z", 60);
    assert_types(fixture, "DeviceRegistered", "UsageReported", NULL);
    run(fixture, "RemoveDevice", "{\"ResourceID\":1}");
    set_policy(fixture, "usage.minutes", "60");
    set_policy(fixture, "usage.days", "7");
    report(fixture, "2026-03-01T08:00:00Z", 60);
    assert_types(fixture, "DeviceRegistered", "RelationshipCreated", "UsageReported");
}

/* What a device was used for goes with it, the timers as well; others stay. */
static void test_device_removed(void **state)
{
    struct decide_fixture *fixture = *state;
    struct usage_scan *scan;
    struct usage usage;
    int64_t due_ms;
    char before[65], after[65];

    begin(fixture, "60", "7");
    run(fixture, "RegisterDevice", "{\"ResourceID\":2,\"Name\":\"PC2\"}");
    at(fixture, "2026-03-01T12:00:00Z");
    run(fixture, "ReportUsage",
        "{\"ResourceID\":2,\"UniqueUserName\":\"" ANN
        "\",\"Start\":\"2026-02-28T06:00:00Z\",\"Minutes\":60,\"Count\":1}");
    views_digest(fixture->views, VIEW_USAGE, before);
    report(fixture, "2026-02-26T08:00:00Z", 60);
    report_of(fixture, "Corp\\\\Ben", "2026-02-27T08:00:00Z", 60, 1);
    report_of(fixture, "Corp\\\\Cid", "2026-02-27T08:00:00Z", 59, 1);
    run(fixture, "RemoveDevice", "{\"ResourceID\":1}");
    assert_event_count(fixture, 3);
    views_digest(fixture->views, VIEW_USAGE, after);
    assert_string_equal(before, after);
    assert_int_equal(timer_next(fixture->views, &due_ms, &fixture->err), 0);
    assert_int_equal(due_ms, time_of("2026-03-07T00:00:00Z"));
    assert_int_equal(usage_scan_open(fixture->views, 0, &scan, &fixture->err), 0);
    assert_int_equal(usage_scan_next(scan, &usage, &fixture->err), 0);
    assert_int_equal(usage.resource_id, 2);
    assert_int_equal(usage_scan_next(scan, &usage, &fixture->err), 1);
    usage_scan_close(scan);
    /* Nothing of it comes back with a device of the same id. */
    run(fixture, "RegisterDevice", "{\"ResourceID\":1,\"Name\":\"PC1\"}");
    report(fixture, "2026-03-01T08:00:00Z", 59);
    assert_event_count(fixture, 1);
    assert_replayed(fixture);
}

/* A changed policy counts at the next report, or when the timer is due. */
static void test_policy_changes(void **state)
{
    struct decide_fixture *fixture = *state;
    int64_t due_ms;

    begin(fixture, "60", "2");
    at(fixture, "2026-03-01T12:00:00Z");
    report(fixture, "2026-03-01T08:00:00Z", 60);
    set_policy(fixture, "usage.days", "7");
    tick(fixture, "2026-03-03T00:00:00Z");
    assert_types(fixture, "UsageEvaluated", NULL, NULL);
    assert_event(fixture, 0, "UsageEvaluated", KEY, SUBJECT,
                 "{\"ResourceID\":1,\"UniqueUserName\":\"" ANN
                 "\",\"EnoughUntil\":\"2026-03-08T00:00:00.000Z\"}");
    assert_int_equal(timer_next(fixture->views, &due_ms, &fixture->err), 0);
    assert_int_equal(due_ms, time_of("2026-03-08T00:00:00Z"));
    /* Off: what there is stays, and the timer has nothing to do. */
    set_policy(fixture, "usage.minutes", "0");
    tick(fixture, "2026-03-08T00:00:00Z");
    assert_types(fixture, "UsageEvaluated", NULL, NULL);
    assert_int_equal(timer_next(fixture->views, &due_ms, &fixture->err), 1);
    /* On again, and not enough: nobody said that it was, since. */
    set_policy(fixture, "usage.minutes", "100");
    report(fixture, "2026-03-08T00:00:00Z", 99);
    assert_event_count(fixture, 1);
    report(fixture, "2026-03-08T00:00:00Z", 1);
    assert_event_count(fixture, 1); /* source 4 and type 1 are there */
    assert_enough_until(fixture, "2026-03-15T00:00:00.000Z");
    set_policy(fixture, "usage.minutes", "101");
    report(fixture, "2026-03-08T00:00:00Z", 0);
    assert_types(fixture, "SourceRemoved", "RelationshipDeleted", "UsageReported");
    assert_replayed(fixture);
}

/* However many timers are due, a Tick handles so many of them, the earliest first. */
static void test_tick_is_bounded(void **state)
{
    struct decide_fixture *fixture = *state;
    char user[32];

    begin(fixture, "60", "7");
    at(fixture, "2026-03-03T12:00:00Z");
    for (int i = 0; i < TIMERS_PER_TICK + 50; i++) {
        (void)snprintf(user, sizeof user, "corp\\\\u%d", i);
        report_of(fixture, user,
                  i == 120 ? "2026-02-27T08:00:00Z" : "2026-03-02T08:00:00Z", 60, 1);
    }
    tick(fixture, "2026-04-01T00:00:00Z");
    assert_event_count(fixture, 3 * (size_t)TIMERS_PER_TICK);
    const struct usage_evaluated_v1 *first = fixture->decision.events[2].data;
    assert_true(bytes_equal_str(first->unique_user_name, "corp\\u120"));
    tick(fixture, "2026-04-01T00:00:00Z");
    assert_event_count(fixture, 3 * 50);
    tick(fixture, "2026-04-01T00:00:00Z");
    assert_event_count(fixture, 0);
}

/* Without a number for the relationship the report is refused as a whole. */
static void test_used_up(void **state)
{
    static const uint8_t key[] = {'S', 221}, row[] = {0x01, 0x11, 0x11, 0x11};
    struct decide_fixture *fixture = *state;

    begin(fixture, "60", "7");
    at(fixture, "2026-03-01T12:00:00Z");
    assert_int_equal(kv_batch_put(fixture->batch, KV_VIEWS, bytes_of(key, sizeof key),
                                  bytes_of(row, sizeof row), &fixture->err),
                     0);
    report(fixture, "2026-03-01T08:00:00Z", 60);
    assert_refused(fixture, RETURN_OTHER_FAILURE, NULL, 0);
    report(fixture, "2026-03-01T08:00:00Z", 59);
    assert_types(fixture, "UsageReported", NULL, NULL);
}

static void assert_misfit(struct decide_fixture *fixture, const char *type,
                          const char *data)
{
    struct event event = {
        .sequence = fixture->sequence + 1,
        .time_ms = time_of("2026-03-01T12:00:00Z"),
        .type = event_type_find(bytes_str(type)),
        .data = bytes_str(data),
    };

    assert_int_equal(views_apply(fixture->views, &event, NULL, &fixture->err),
                     ERROR_CORRUPT);
    error_clear(&fixture->err);
}

#define REPORTED(start, day_minutes, last, until)                                        \
    "{\"ResourceID\":1,\"UniqueUserName\":\"" ANN "\",\"Start\":\"" start                \
    "\",\"Minutes\":1,\"Count\":1,\"DayMinutes\":" day_minutes                           \
    ",\"LastLoginTime\":" last ",\"LoginCount\":1,\"EnoughUntil\":" until "}"

/* Events that cannot be in the log. */
static void test_misfit(void **state)
{
    struct decide_fixture *fixture = *state;
    static const char *const reports[] = {
        REPORTED("2026-03-01T12:00:00.00zz", "1", "\"20260301120000.000000+000\"",
                 "null"),
        REPORTED("2026-03-01T12:00:00.000Z", "null", "\"20260301120000.000000+000\"",
                 "null"),
        REPORTED("2026-03-02T12:00:00.000Z", "1", "\"20260301120000.000000+000\"",
                 "null"),
        REPORTED("2025-12-01T12:00:00.000Z", "1", "\"20260301120000.000000+000\"",
                 "null"),
        REPORTED("2026-03-01T12:00:00.000Z", "1", "null", "null"),
        REPORTED("2026-03-01T12:00:00.000Z", "1", "\"2026030112000x.000000+000\"",
                 "null"),
        REPORTED("2026-03-01T12:00:00.000Z", "1", "\"20260301120000.000000+000\"",
                 "\"1970-01-01T00:00:00.000Z\""),
    };

    begin(fixture, "60", "7");
    for (size_t i = 0; i < sizeof reports / sizeof reports[0]; i++)
        assert_misfit(fixture, "kinlog.UsageReported.v1", reports[i]);
    assert_misfit(fixture, "kinlog.UsageEvaluated.v1",
                  "{\"ResourceID\":1,\"UniqueUserName\":\"" ANN
                  "\",\"EnoughUntil\":null}");
}

/* A timer that belongs to no use, and a row that is cut, are damage. */
static void test_damage(void **state)
{
    static const uint8_t name[] = {'u', 's', 'a', 'g', 'e', '/', 0, 0, 0, 1, 'x'};
    static const uint8_t key[] = {'U', 0, 0, 0, 1, 'x'};
    static const uint8_t row[28] = {0};
    struct decide_fixture *fixture = *state;
    struct usage usage;

    begin(fixture, "60", "7");
    assert_int_equal(
        timer_set(fixture->views, 1, bytes_of(name, sizeof name), &fixture->err), 0);
    struct decision decision;
    decision_init(&decision, &fixture->arena);
    fixture->next.type = command_type("Tick");
    fixture->next.from_agents = true;
    fixture->next.from_owner = true;
    assert_int_equal(decide(fixture->views, &fixture->next, &decision, &fixture->err),
                     ERROR_CORRUPT);
    error_clear(&fixture->err);
    assert_int_equal(kv_batch_put(fixture->batch, KV_VIEWS, bytes_of(key, sizeof key),
                                  bytes_of(row, sizeof row), &fixture->err),
                     0);
    assert_int_equal(usage_get_by_timer(fixture->views, bytes_of(name + 6, 5),
                                        &fixture->arena, &usage, &fixture->err),
                     ERROR_CORRUPT);
    error_clear(&fixture->err);
}

#define TEST(function)                                                                   \
    cmocka_unit_test_setup_teardown(function, decide_fixture_setup,                      \
                                    decide_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_report),
        TEST(test_logins),
        TEST(test_enough),
        TEST(test_word_of_others),
        TEST(test_removed_by_hand),
        TEST(test_late),
        TEST(test_all_days),
        TEST(test_refused),
        TEST(test_parameters),
        TEST(test_unknown_device),
        TEST(test_device_removed),
        TEST(test_policy_changes),
        TEST(test_tick_is_bounded),
        TEST(test_used_up),
        TEST(test_misfit),
        TEST(test_damage),
        cmocka_unit_test(test_calendar),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
