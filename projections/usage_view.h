/* usage_view.h - what is known of the use of devices: one row per user and device, which
 * is an SMS_UserMachineIntelligence, and the minutes of the last days.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PROJECTIONS_USAGE_VIEW_H
#define PROJECTIONS_USAGE_VIEW_H

#include "projections/views.h"

/* How many days are kept, today being one of them; no window of usage.days is longer. */
#define USAGE_DAYS_MAX 90
#define DAY_MINUTES 1440
/* A timer's name: this, u32 resource id, folded user name. */
#define USAGE_TIMER_PREFIX "usage/"

struct usage_day {
    int64_t day; /* as utc_day() counts */
    uint32_t minutes;
};

struct usage {
    uint32_t resource_id;
    struct bytes unique_user_name; /* the spelling first seen */
    uint32_t login_count;
    int64_t last_login_ms; /* if login_count > 0 */
    /* until when the minutes are enough, and when the timer is due; 0 = they are not */
    int64_t enough_until_ms;
    struct usage_day
        days[USAGE_DAYS_MAX]; /* ascending; those of which minutes are known */
    size_t day_count;
    uint64_t version;
};

/* 0, 1 = nothing is known of this user on this device, or negative. Text goes into arena.
 */
int usage_get(struct views *views, uint32_t resource_id, struct bytes user_name,
              struct arena *arena, struct usage *ret_usage, struct error *err);
/* name: that of a timer, behind its prefix. */
int usage_get_by_timer(struct views *views, struct bytes name, struct arena *arena,
                       struct usage *ret_usage, struct error *err);

/* All of one device (0 = of all devices), as relationship_scan_open() of views.h. */
struct usage_scan;
int usage_scan_open(struct views *views, uint32_t resource_id,
                    struct usage_scan **ret_scan, struct error *err);
int usage_scan_next(struct usage_scan *scan, struct usage *ret_usage, struct error *err);
void usage_scan_close(struct usage_scan *scan);

/* The minutes of the days from..to. */
uint32_t usage_minutes(const struct usage *usage, int64_t from, int64_t to);
/* Is the day one of those that are kept today? */
bool usage_day_is_kept(int64_t day, int64_t today);
/* Forgets the days that are kept no more. */
void usage_forget_days(struct usage *usage, int64_t today);
/* Gives a day its minutes: one that is kept, after usage_forget_days(). */
void usage_set_day(struct usage *usage, int64_t day, uint32_t minutes);

#endif
