/* verify.h - is a shard's log whole, and is everything else what the log makes of it?
 *
 * On a frozen view of the store: chain, density and the order of each command's events;
 * the head row; witness and mark, which know the head from outside the log; views,
 * receipts and digests against a replay into memory.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SHARD_VERIFY_H
#define AGENT_SHARD_VERIFY_H

#include "agent/shard/store.h"
#include "projections/views.h"

/* What is damaged, and so from what it can be made anew. */
enum damage {
    DAMAGE_NONE,
    DAMAGE_WITNESS, /* the witness cannot be read; the store is sound */
    DAMAGE_DERIVED, /* views, receipts, digests or head are not what the log gives */
    DAMAGE_STORE    /* the log, or the store as a whole */
};

struct verdict {
    enum damage damage;
    uint64_t events;    /* of a sound log */
    struct error fault; /* code 0 = none */
};

/* 0 and the verdict; negative (with err) if it could not be found out: no memory, no
 * right to read. */
int verify_shard(const struct store_folder *folder, uint32_t shard,
                 replay_progress_fn progress, void *context, struct verdict *ret_verdict,
                 struct error *err);

#endif
