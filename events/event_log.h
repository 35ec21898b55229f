/* event_log.h - the log of one shard: events by sequence, dense from 1, each chained to
 * the one before.
 *
 * It lives in KV_LOG of the shard's kv. Appending goes through the batch under
 * construction; reading borrows from the cursor, or copies into an arena.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef EVENTS_EVENT_LOG_H
#define EVENTS_EVENT_LOG_H

#include "events/base/kv.h"
#include "events/event.h"

int event_log_append(struct kv_batch *batch, const struct event *event,
                     struct error *err);

/* Copies the event's text into arena. batch may be NULL. 0, 1 = no such sequence, or
 * negative. */
int event_log_read(struct kv *kv, struct kv_batch *batch, uint64_t sequence,
                   struct arena *arena, struct event *ret_event, struct error *err);

/* The newest sequence, 0 = empty (not through a batch). */
int event_log_last(struct kv *kv, uint64_t *ret_sequence, struct error *err);

/* From `from` up to and including `to`. */
struct event_scan;
int event_scan_open(struct kv *kv, struct kv_batch *batch, uint64_t from, uint64_t to,
                    struct event_scan **ret_scan, struct error *err);
/* 0 and the next event (borrowed until the next call), 1 = no more, ERROR_CORRUPT for a
 * hole too. */
int event_scan_next(struct event_scan *scan, struct event *ret_event, struct error *err);
void event_scan_close(struct event_scan *scan);

#endif
