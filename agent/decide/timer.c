/* timer.c - Tick: time that passes without a message.
 *
 * Rules 1 set no timer, so nothing is ever due under them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/decide/decide_internal.h"

#include "projections/timer_view.h"

int tick_decide(struct deciding *deciding)
{
    struct buf name = BUF_INIT;
    int64_t due_ms;
    int code = timer_due(deciding->views, deciding->command->record_time_ms, &due_ms,
                         &name, deciding->err);

    buf_release(&name);
    if (code != 0)
        return code < 0 ? code : 0;
    return error_set(
        deciding->err, ERROR_VERSION,
        "a timer is due that this version does not know; a newer version set it");
}
