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

#define TIMERS_PER_SCAN 100 /* what is left is still due afterwards */

/* name is borrowed. 0 = go on, or negative. */
typedef int (*timer_visit_fn)(void *context, struct bytes name, int64_t due_ms);

/* Visits the timers that are due at now_ms, the earliest first, at most TIMERS_PER_SCAN.
 * The visitor may read the views, not change them. 0, or negative. */
int timer_due_scan(struct views *views, int64_t now_ms, timer_visit_fn visit,
                   void *context, struct error *err);

#endif
