/* timer_view.h - setting and clearing timers; timer_next() of views.h tells when a Tick
 * is worth sending.
 *
 * A timer is (due time, name); folds set and clear it, deciding a Tick reads what is due.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PROJECTIONS_TIMER_VIEW_H
#define PROJECTIONS_TIMER_VIEW_H

#include "projections/views.h"

/* Setting a timer that is set, or clearing one that is not, changes nothing. due_ms >= 0.
 * */
int timer_set(struct views *views, int64_t due_ms, struct bytes name, struct error *err);
int timer_clear(struct views *views, int64_t due_ms, struct bytes name,
                struct error *err);

/* The earliest timer that is due at now_ms; its name is copied into ret_name (cleared
 * first). 0, 1 = nothing is due, or negative. */
int timer_due(struct views *views, int64_t now_ms, int64_t *ret_due_ms,
              struct buf *ret_name, struct error *err);

#endif
