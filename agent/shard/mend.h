/* mend.h - what `kinlog repair` does to one shard: finds out what is damaged and makes it
 * anew from what is sound, the log or the events topic. It never decides about history:
 * what topic, store and witness do not agree upon is refused.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SHARD_MEND_H
#define AGENT_SHARD_MEND_H

#include <limits.h>

#include "agent/config/config.h"
#include "agent/shard/store.h"
#include "projections/views.h"

enum mended {
    MENDED_NOTHING,  /* all is sound, and nothing was changed */
    MENDED_WITNESS,  /* written anew from the store */
    MENDED_DERIVED,  /* views, receipts, digests and head made anew from the log */
    MENDED_REFILLED, /* a new store, filled from the events topic */
    MENDED_REFUSED   /* topic, store and witness disagree: somebody must decide */
};

struct mend_report {
    enum mended mended;
    uint64_t events;      /* that the store holds now */
    char found[1024];     /* what was damaged; "" = nothing */
    char refused[1024];   /* why, and which command decides */
    char aside[PATH_MAX]; /* where the damaged store was put; "" = there was none */
    uint64_t lost_from;   /* events that only the damaged store had: they were never */
    uint64_t lost_to;     /* published, so never answered; 0 = none */
};

/* The folder must be open for writing. Negative: it could not be done (no broker, no
 * space); the shard's store is then as it was. */
int mend_shard(const struct store_folder *folder, const struct config *config,
               uint32_t shard, replay_progress_fn progress, void *context,
               struct mend_report *ret_report, struct error *err);

#endif
