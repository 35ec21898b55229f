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

/* The timers that are due at now_ms, the earliest first; 0, 1 = no more, or negative.
 * Close in any case. */
struct timer_scan;
int timer_scan_open(struct views *views, int64_t now_ms, struct timer_scan **ret_scan,
                    struct error *err);
int timer_scan_next(struct timer_scan *scan, int64_t *ret_due_ms,
                    struct bytes *ret_name, /* borrowed until the next call */
                    struct error *err);
void timer_scan_close(struct timer_scan *scan);

#endif
