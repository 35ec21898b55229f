/* timer.c - Tick: time that passes without a message.
 *
 * A timer's name begins with the kind of what it is for; each kind judges its own timers
 * and gives at least one event for each, which clears the timer or sets it anew.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/decide/decide_internal.h"

#include "projections/timer_view.h"
#include "projections/usage_view.h"

struct timer_kind {
    const char *prefix;
    /* name: what follows the prefix */
    int (*decide)(struct deciding *deciding, struct bytes name, int64_t due_ms);
};

static const struct timer_kind timer_kinds[] = {
    {USAGE_TIMER_PREFIX, usage_timer_decide},
};

static int decide_timer(void *context, struct bytes name, int64_t due_ms)
{
    struct deciding *deciding = context;

    for (size_t i = 0; i < sizeof timer_kinds / sizeof timer_kinds[0]; i++) {
        struct bytes prefix = bytes_str(timer_kinds[i].prefix);
        if (bytes_has_prefix(name, prefix))
            return timer_kinds[i].decide(
                deciding, bytes_of(name.data + prefix.size, name.size - prefix.size),
                due_ms);
    }
    return error_set(
        deciding->err, ERROR_VERSION,
        "a timer is due that this version does not know; a newer version set it");
}

int tick_decide(struct deciding *deciding)
{
    return timer_due_scan(deciding->views, deciding->command->record_time_ms,
                          decide_timer, deciding, deciding->err);
}
