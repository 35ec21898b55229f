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
    REFERENCE_RELEASED, /* before it was asked for: it will be refused */
    REFERENCE_ADOPTING  /* held until the object has taken over what it is to */
};

/* For whatever: its object is not removed just so. */
bool reference_is_held(enum reference_state state);

#define REFERENCE_COUNT_UNKNOWN UINT32_MAX

struct reference {
    struct bytes object; /* borrowed */
    struct position request;
    enum reference_state state;
    uint32_t adopted; /* REFERENCE_ADOPTING: how many relationships so far... */
    uint32_t wanted;  /* ... and in all; REFERENCE_COUNT_UNKNOWN = not told yet */
};

/* object: its record key. 0, 1 = there is none (its state is REFERENCE_NONE), or negative.
 */
int reference_get(struct views *views, struct bytes object,
                  const struct position *request, struct reference *ret_reference,
                  struct error *err);

/* Those held to one object (absent: to any), for whatever, in key order; 0, 1 = no more, or
 * negative; borrowed until the next call. Close in any case. */
struct reference_scan;
int reference_scan_open(struct views *views, struct bytes object,
                        struct reference_scan **ret_scan, struct error *err);
int reference_scan_next(struct reference_scan *scan, struct reference *ret_reference,
                        struct error *err);
void reference_scan_close(struct reference_scan *scan);

#endif
