/* usage.c - ReportUsage, and the timers of usage: who uses a device long enough to be its
 * user.
 *
 * By the site's policies usage.minutes (M) and usage.days (D), M minutes within the last
 * D days, today being one of them, are enough. Days are UTC days, whatever their length on
 * a clock, and a report counts for the day in which it began. What has an effect is the
 * crossing: when the minutes become enough the usage agent (source 4) vouches for the
 * relationship, when they are enough no more it takes its word back. So what an
 * administrator has removed or denied stays away until the user has been away as well,
 * and what others say of source 4 is left alone. While a policy is off, or until the next
 * report or timer after it changed, nothing moves.
 *
 * The minutes of the past are known and those of the future are none, so each report tells
 * until when they are enough; a timer is set for that time.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/decide/decide_internal.h"

#include "events/base/datetime.h"
#include "events/base/user_name.h"
#include "projections/usage_view.h"
#include "schemas/commands.h"
#include "schemas/events.h"

/* domain.md 1.1 */
static const uint32_t usage_agent[] = {4};
static const uint32_t primary_user[] = {1};

struct rule {
    uint32_t minutes;
    uint32_t days;
};

/* ---- the parameters ---------------------------------------------------------------- */

struct param_fault report_usage_check(const void *params)
{
    const struct report_usage_v1 *report = params;
    const char *name_fault = user_name_fault(report->unique_user_name);
    int64_t start_ms;

    if (name_fault != NULL)
        return fault_of("UniqueUserName", name_fault);
    if (!rfc3339_parse(report->start, &start_ms))
        return fault_of(
            "Start", "must be a time as RFC 3339 has it, such as 2026-05-28T08:15:00Z");
    return (struct param_fault){0};
}

struct route report_usage_route(const void *params)
{
    const struct report_usage_v1 *report = params;

    return (struct route){.resource_id = report->resource_id};
}

static int64_t start_of(const struct report_usage_v1 *report)
{
    int64_t start_ms = 0;

    (void)rfc3339_parse(report->start, &start_ms); /* report_usage_check() did it */
    return start_ms;
}

/* ---- who is meant ------------------------------------------------------------------ */

/* The use of a device by one user is an aggregate of its own. Its subject names the device
 * alone: a user's name stands in no header. */
static int aim(struct deciding *deciding, uint32_t resource_id)
{
    struct aggregate *aggregate = &deciding->aggregate;
    struct buf subject = BUF_INIT;

    (void)buf_printf(&subject, "device/%u/usage", resource_id);
    aggregate->key = device_key(deciding->arena, resource_id);
    aggregate->subject = arena_copy(deciding->arena, buf_bytes(&subject));
    aggregate->version = deciding->usage != NULL ? deciding->usage->version : 0;
    bool failed =
        subject.failed || aggregate->key.data == NULL || aggregate->subject.data == NULL;
    buf_release(&subject);
    return failed ? decide_no_memory(deciding->err) : 0;
}

int report_usage_find(struct deciding *deciding)
{
    const struct report_usage_v1 *report = deciding->command->params;
    struct usage *usage = arena_alloc(deciding->arena, sizeof *usage);

    if (usage == NULL)
        return decide_no_memory(deciding->err);
    int code =
        find_pair(deciding, report->resource_id, report->unique_user_name, "ResourceID");
    if (code != 0)
        return code;
    code = usage_get(deciding->views, report->resource_id, report->unique_user_name,
                     deciding->arena, usage, deciding->err);
    if (code < 0)
        return code;
    deciding->usage = code == 0 ? usage : NULL;
    if (deciding->fault.description == NULL &&
        start_of(report) > deciding->command->record_time_ms)
        set_fault(deciding, RETURN_INVALID_PARAMETER, "Start",
                  "lies in the future: it is later than the time at which the broker "
                  "took the command");
    return aim(deciding, report->resource_id);
}

/* ---- the rule ---------------------------------------------------------------------- */

static int read_rule(struct deciding *deciding, struct rule *ret_rule)
{
    int code = policy_number(deciding, USAGE_MINUTES, &ret_rule->minutes);

    return code != 0 ? code : policy_number(deciding, USAGE_DAYS, &ret_rule->days);
}

static bool is_off(const struct rule *rule)
{
    return rule->minutes == 0 || rule->days == 0;
}

/* When the minutes will be enough no more: the beginning of the day in which too many of
 * them lie too far back; 0 = they are not enough today, or the rule is off. */
static int64_t enough_until(const struct usage *usage, const struct rule *rule,
                            int64_t today)
{
    int64_t oldest = today - (int64_t)rule->days + 1; /* that counts */

    if (is_off(rule) || usage_minutes(usage, oldest, today) < rule->minutes)
        return 0;
    while (usage_minutes(usage, oldest, today) >= rule->minutes)
        oldest++;
    return (oldest - 1 + (int64_t)rule->days) * DAY_MS;
}

/* Has the usage agent vouch for the relationship at hand, or take its word back, when the
 * minutes have become enough, or are enough no more. 1 as vouch(). */
static int follow(struct deciding *deciding, const struct usage *before,
                  const struct usage *after, const struct rule *rule)
{
    const bool was_enough = before != NULL && before->enough_until_ms != 0;
    const bool is_enough = after->enough_until_ms != 0;
    const struct vouching vouching = {
        .resource_id = after->resource_id,
        .unique_user_name = after->unique_user_name,
        .sources = {usage_agent, 1},
        .types = {primary_user, 1},
    };

    if (is_enough && !was_enough)
        return vouch(deciding, &vouching);
    if (was_enough && !is_enough && !is_off(rule) && deciding->has_relationship)
        return withdraw(deciding, vouching.sources);
    return 0;
}

/* ---- ReportUsage ------------------------------------------------------------------- */

/* What was known before the report, of the days that are kept. */
static struct usage known(const struct usage *before,
                          const struct report_usage_v1 *report, int64_t today)
{
    if (before == NULL)
        return (struct usage){.resource_id = report->resource_id,
                              .unique_user_name = report->unique_user_name};
    struct usage usage = *before;
    usage_forget_days(&usage, today);
    return usage;
}

static void count_logins(struct usage *usage, const struct report_usage_v1 *report)
{
    int64_t start_ms = start_of(report);

    if (report->count == 0)
        return;
    if (usage->login_count == 0 || usage->last_login_ms < start_ms)
        usage->last_login_ms = start_ms;
    usage->login_count = report->count <= UINT32_MAX - usage->login_count
                             ? usage->login_count + report->count
                             : UINT32_MAX;
}

/* All that was reported for the day of the report. */
static uint32_t day_minutes(const struct usage *usage,
                            const struct report_usage_v1 *report)
{
    int64_t day = utc_day(start_of(report));

    return usage_minutes(usage, day, day);
}

static void add_report(struct usage *usage, const struct report_usage_v1 *report,
                       int64_t today)
{
    int64_t day = utc_day(start_of(report));

    count_logins(usage, report);
    if (usage_day_is_kept(day, today))
        usage_set_day(usage, day, day_minutes(usage, report) + report->minutes);
}

/* Absent = out of memory. */
static struct bytes rfc3339_text(struct arena *arena, int64_t time_ms)
{
    char text[RFC3339_SIZE];

    rfc3339_format(time_ms, text);
    return arena_copy(arena, bytes_str(text));
}

static struct bytes cim_text(struct arena *arena, int64_t time_ms)
{
    char text[CIM_DATETIME_SIZE];

    cim_datetime_format(time_ms, text);
    return arena_copy(arena, bytes_str(text));
}

static int emit_reported(struct deciding *deciding, const struct report_usage_v1 *report,
                         const struct usage *after, int64_t today)
{
    struct usage_reported_v1 *data = event_data(deciding, sizeof *data);
    int64_t start_ms = start_of(report);

    if (data == NULL)
        return decide_no_memory(deciding->err);
    data->resource_id = after->resource_id;
    data->unique_user_name = after->unique_user_name;
    data->start = rfc3339_text(deciding->arena, start_ms);
    data->minutes = report->minutes;
    data->count = report->count;
    data->has_day_minutes = usage_day_is_kept(utc_day(start_ms), today);
    data->day_minutes = day_minutes(after, report);
    data->has_last_login_time = after->login_count > 0;
    data->last_login_time = cim_text(deciding->arena, after->last_login_ms);
    data->login_count = after->login_count;
    data->has_enough_until = after->enough_until_ms != 0;
    data->enough_until = rfc3339_text(deciding->arena, after->enough_until_ms);
    if (data->start.data == NULL || data->last_login_time.data == NULL ||
        data->enough_until.data == NULL)
        return decide_no_memory(deciding->err);
    return emit(deciding, &usage_reported_v1_schema, data);
}

int report_usage_decide(struct deciding *deciding)
{
    const struct report_usage_v1 *report = deciding->command->params;
    int64_t today = utc_day(deciding->command->time_ms);
    struct usage after = known(deciding->usage, report, today);
    struct rule rule;

    if (day_minutes(&after, report) + report->minutes > DAY_MINUTES)
        return refuse(deciding, RETURN_INVALID_PARAMETER, "Minutes",
                      "with what was reported before they are more minutes than the day "
                      "of Start has");
    int code = read_rule(deciding, &rule);
    if (code != 0)
        return code;
    add_report(&after, report, today);
    after.enough_until_ms = enough_until(&after, &rule, today);
    code = follow(deciding, deciding->usage, &after, &rule);
    if (code == 1)
        return refuse_used_up(deciding);
    if (code == 0 && !deciding->has_device && deciding->decision->count == 0)
        code = register_unknown_device(deciding, report->resource_id);
    return code != 0 ? code : emit_reported(deciding, report, &after, today);
}

/* ---- Tick -------------------------------------------------------------------------- */

static int emit_evaluated(struct deciding *deciding, const struct usage *after)
{
    struct usage_evaluated_v1 *data = event_data(deciding, sizeof *data);

    if (data == NULL)
        return decide_no_memory(deciding->err);
    data->resource_id = after->resource_id;
    data->unique_user_name = after->unique_user_name;
    data->has_enough_until = after->enough_until_ms != 0;
    data->enough_until = rfc3339_text(deciding->arena, after->enough_until_ms);
    if (data->enough_until.data == NULL)
        return decide_no_memory(deciding->err);
    return emit(deciding, &usage_evaluated_v1_schema, data);
}

/* Sets usage and relationship of the pair whose timer is due. */
static int find_by_timer(struct deciding *deciding, struct bytes name)
{
    struct usage *usage = arena_alloc(deciding->arena, sizeof *usage);

    if (usage == NULL)
        return decide_no_memory(deciding->err);
    int code =
        usage_get_by_timer(deciding->views, name, deciding->arena, usage, deciding->err);
    if (code == 1)
        return error_set(deciding->err, ERROR_CORRUPT,
                         "a timer of usage belongs to nobody; `rebuild` makes the views "
                         "anew");
    if (code < 0)
        return code;
    deciding->usage = usage;
    code = relationship_get(deciding->views, usage->resource_id, usage->unique_user_name,
                            deciding->arena, &deciding->relationship, deciding->err);
    if (code < 0)
        return code;
    deciding->has_relationship = code == 0;
    return aim(deciding, usage->resource_id);
}

/* The days are counted anew: the policy may have changed. */
int usage_timer_decide(struct deciding *deciding, struct bytes name)
{
    struct rule rule;
    int code = find_by_timer(deciding, name);

    if (code == 0)
        code = read_rule(deciding, &rule);
    if (code != 0)
        return code;
    struct usage after = *deciding->usage;
    after.enough_until_ms =
        enough_until(&after, &rule, utc_day(deciding->command->time_ms));
    code = follow(deciding, deciding->usage, &after, &rule);
    return code != 0 ? code : emit_evaluated(deciding, &after);
}
