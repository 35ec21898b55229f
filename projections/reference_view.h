/* reference_view.h - references that other shards have to objects of this one
 * (docs/conversations.md): an object that is referred to is not removed just so.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PROJECTIONS_REFERENCE_VIEW_H
#define PROJECTIONS_REFERENCE_VIEW_H

#include "events/position.h"
#include "projections/views.h"

enum reference_state {
    REFERENCE_NONE,
    REFERENCE_HELD,
    REFERENCE_RELEASED /* before it was asked for: it will be refused */
};

/* object: its record key. 0, 1 = there is none (*ret_state is REFERENCE_NONE), or
 * negative. */
int reference_get(struct views *views, struct bytes object,
                  const struct position *request, enum reference_state *ret_state,
                  struct error *err);

/* Those held to one object (absent: to any), in key order; 0, 1 = no more, or negative.
 * Close in any case. */
struct reference {
    struct bytes object; /* borrowed until the next call */
    struct position request;
};
struct reference_scan;
int reference_scan_open(struct views *views, struct bytes object,
                        struct reference_scan **ret_scan, struct error *err);
int reference_scan_next(struct reference_scan *scan, struct reference *ret_reference,
                        struct error *err);
void reference_scan_close(struct reference_scan *scan);

#endif
