/* timer.c - Tick: time that passes without a message. What is due is decided, the earliest
 * first.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/decide/decide_internal.h"

#include "projections/timer_view.h"
#include "projections/usage_view.h"

#define TICK_TIMERS_MAX 100 /* more are left for the next Tick */

static const struct timer_kind kinds[] = {
    {REQUEST_TIMER, time_out_request},
    {USAGE_TIMER_PREFIX, usage_timer_decide},
};

static int decide_timer(struct deciding *deciding, struct bytes name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct bytes prefix = bytes_str(kinds[i].prefix);
        if (bytes_has_prefix(name, prefix))
            return kinds[i].decide(
                deciding, bytes_of(name.data + prefix.size, name.size - prefix.size));
    }
    return error_set(
        deciding->err, ERROR_VERSION,
        "a timer is due that this version does not know; a newer version set it");
}

int tick_decide(struct deciding *deciding)
{
    struct timer_scan *scan = NULL;
    struct bytes name;
    int64_t due_ms;
    int code = timer_scan_open(deciding->views, deciding->command->record_time_ms, &scan,
                               deciding->err);

    for (int i = 0; code == 0 && i < TICK_TIMERS_MAX; i++) {
        code = timer_scan_next(scan, &due_ms, &name, deciding->err);
        if (code == 0)
            code = decide_timer(deciding, name);
    }
    timer_scan_close(scan);
    return code < 0 ? code : 0;
}
