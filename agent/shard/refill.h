/* refill.h - reads a shard's log out of its events topic, without a claim: to compare a
 * store with it, or to fill a new one.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SHARD_REFILL_H
#define AGENT_SHARD_REFILL_H

#include "agent/config/config.h"
#include "agent/shard/store.h"
#include "projections/views.h"

struct refill {
    const struct store_folder *folder;
    const struct config *config;
    uint32_t shard;
    replay_progress_fn progress; /* over the records of the topic */
    void *context;
};

/* Does the topic still hold what the store's mark says it had? 0 = it does, 1 = it does
 * not (with the reason in ret_reason), or negative. Reads the whole topic only if the
 * record at the mark is not the one that was there. */
int refill_compare(const struct refill *refill, struct error *ret_reason,
                   struct error *err);

/* Makes a store in `path` and fills it with all that the topic holds: log, views,
 * receipts, mark. ret_end is where the topic's log ends. ERROR_CONFLICT: the topic lacks
 * its beginning, or holds no log. What was made stays where it fails. */
int refill_store(const struct refill *refill, const char *path, struct mark *ret_end,
                 struct error *err);

#endif
