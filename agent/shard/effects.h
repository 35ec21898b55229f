/* effects.h - what commands have for effect outside the log: answers, and commands to other
 * shards. Those of a batch wait here until it is on disk, then in the outbox; after a crash
 * they are found again from what is on disk: the log behind the answer cursor, the requests
 * that are open, and rows of repeats, which leave no event.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SHARD_EFFECTS_H
#define AGENT_SHARD_EFFECTS_H

#include "agent/shard/core.h"
#include "agent/shard/outbox.h"

/* Of the batch under construction: at least one for each record that leaves an event. */
struct effects {
    struct effect *items;
    size_t count; /* the caller sets it to 0 before each batch */
    size_t capacity;
};
void effects_release(struct effects *effects);

/* Hands a record to the core. What lies before the position was decided by another owner:
 * only the repeats among it may have no answer yet (effects_look_back). aside (static): why
 * it is put aside unread; NULL = it is not. */
int effects_take(struct core *core, const struct record *record, const char *aside,
                 struct core_outcome *ret_outcome, struct error *err);
/* Adds what a decided or repeated record has for effect. Of a repeat a row goes into the
 * core's batch: it is answered even if the agent dies first. */
int effects_add(struct effects *effects, struct core *core, const struct record *record,
                const struct core_outcome *outcome, struct error *err);
/* After the commit, and before core_next_batch: to the outbox. */
int effects_queue(const struct effects *effects, const struct core *core,
                  struct outbox *outbox, struct error *err);
/* Deletes, in the core's batch, the rows of repeats that were answered. */
int effects_forget_repeats(struct core *core, struct outbox *outbox, struct error *err);

/* A new owner, whose outbox is empty and knows the answer cursor, queues what may not have
 * left. *ret_count: how many commands are answered again since the cursor does not know of
 * their answers. */
int effects_queue_again(struct core *core, struct outbox *outbox, uint64_t *ret_count,
                        struct error *err);
/* Moves the position of an owner that adopted the log back to where there may be repeats
 * that the owner before it took and did not answer. low: the first offset that there is. */
int effects_look_back(struct kv *kv, uint64_t answered, int64_t low, int64_t *position,
                      struct error *err);

#endif
