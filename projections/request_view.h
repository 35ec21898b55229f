/* request_view.h - what this shard has asked of others (docs/conversations.md): each
 * request waits until it is concluded, and its outcome is kept for good, since the answer
 * to the command that asked is made of it.
 *
 * A request is known by the sequence of the first event of the command that asked.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PROJECTIONS_REQUEST_VIEW_H
#define PROJECTIONS_REQUEST_VIEW_H

#include "projections/views.h"

/* Timers of requests are named by this and the number as u64 big-endian. */
#define REQUEST_TIMER "request/"

enum request_state {
    REQUEST_NONE,
    REQUEST_PENDING,
    REQUEST_ADDED,
    REQUEST_REFUSED,
    REQUEST_GRANTED /* it cannot be refused any more, and is not concluded yet */
};
/* What was asked for; stands in rows, so numbers are never used anew. */
enum request_kind { REQUEST_OF_ASSOCIATION = 1, REQUEST_OF_REPLACEMENT = 2 };

struct request {
    enum request_state state;
    enum request_kind kind;
    int64_t due_ms;            /* when it times out, or would have */
    uint64_t outcome;          /* sequence of the event that concluded it, 0 = none yet */
    struct bytes command_type; /* of the command that asked */
};

/* 0, 1 = there is no such request (its state is REQUEST_NONE), or negative. Text goes into
 * arena. */
int request_get(struct views *views, uint64_t number, struct arena *arena,
                struct request *ret_request, struct error *err);

/* Those that are not concluded, from `from` on: the first number, 0; 1 = no more, or
 * negative. */
int request_next_pending(struct views *views, uint64_t from, uint64_t *ret_number,
                         struct error *err);

/* For folds: the number of the request that an event names. */
int request_number(const struct event *event, struct bytes request, uint64_t *ret_number,
                   struct error *err);
/* Likewise: the event asks, and sets a timer; the event grants or concludes, and clears
 * it. */
int request_open(struct views *views, const struct event *event, enum request_kind kind,
                 uint64_t number, uint32_t timeout_seconds, struct error *err);
int request_grant(struct views *views, const struct event *event, uint64_t number,
                  struct error *err);
int request_conclude(struct views *views, const struct event *event, uint64_t number,
                     enum request_state state, struct error *err);

#endif
