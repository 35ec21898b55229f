/* replacement_view.h - devices that wait to be replaced by one of another shard
 * (docs/conversations.md): what the request (request_view.h) is about.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PROJECTIONS_REPLACEMENT_VIEW_H
#define PROJECTIONS_REPLACEMENT_VIEW_H

#include "projections/views.h"

struct replacement {
    uint64_t number; /* of the request */
    uint32_t old_device;
    uint32_t new_device;
};

/* The one of a request that is not concluded; 0, 1 = there is none, or negative. */
int replacement_get(struct views *views, uint64_t number,
                    struct replacement *ret_replacement, struct error *err);
/* The request that waits for leave to replace the device; likewise. */
int replacement_of_device(struct views *views, uint32_t old_device, uint64_t *ret_number,
                          struct error *err);

/* Ends one whose request was refused (request_view.c). */
int replacement_drop(struct views *views, const struct event *event, uint64_t number,
                     struct error *err);

#endif
