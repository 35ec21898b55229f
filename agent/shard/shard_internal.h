/* shard_internal.h - a shard's insides, for shard.c, takeover.c and position.c only.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SHARD_SHARD_INTERNAL_H
#define AGENT_SHARD_SHARD_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "agent/shard/core.h"
#include "agent/shard/effects.h"
#include "agent/shard/in_hand.h"
#include "agent/shard/outbox.h"
#include "agent/shard/publisher.h"
#include "agent/shard/reader.h"
#include "agent/shard/shard.h"

#define ALARM_REPEAT_MS 60000
/* Positive result: it may follow, not own. Another agent has claimed the shard, or its
 * rules are not known here; the status says which. */
#define DEPOSED 2

struct shard {
    struct shard_settings settings;
    struct log_identity identity;
    char name[16]; /* "shard 3", in log lines */
    pthread_t thread;
    int wake_fd;
    atomic_bool stop_wanted;
    atomic_bool reopen_wanted;
    atomic_int role;
    /* since when its store is being closed; 0 = it is not */
    atomic_int_least64_t closing_ms;
    int64_t tried_ms;      /* when the last try began, 0 = none failed yet */
    int64_t retry_wait_ms; /* how long the last one was waited for */

    /* Open from shard_open to shard_close. */
    struct kv *kv;
    struct core *core;
    struct shard_status status;
    struct mark mark; /* durable: the row in the store */
    /* what the topic was last known to hold; rides in the next commit */
    struct mark topic_end;

    /* Only while it claims or owns. */
    struct publisher *publisher;
    struct outbox *outbox;
    struct source *commands;
    struct in_hand *hand; /* NULL: the file could not be made */
    struct epoch epoch;
    /* when the last alarm about unpublished events was given, 0 = never */
    int64_t alarm_ms;
    int64_t cursor_sent_ms;
    uint64_t cursor_sent;
    int64_t position_sent;
    int64_t batch_ms; /* when records were last asked for, and how many there were */
    size_t batch_records;
    struct effects effects; /* of the batch under construction; its memory is kept */
    int64_t witness_ms;
    struct anchor seen_anchor; /* consumed before the last recheck, or first of all */
    int64_t recheck_ms;
    int64_t space_checked_ms;
    bool space_short;
};

bool shard_stopping(const struct shard *shard);
/* Sleeps until the wake descriptor is written to, at most timeout_ms. */
void shard_wait(struct shard *shard, int timeout_ms);
/* Opens the core on the store; what was open is closed by the caller. */
int shard_open_core(struct shard *shard, struct error *err);
/* Commits the core's batch together with mark and status. */
int shard_commit(struct shard *shard, bool sync, struct error *err);

/* takeover.c: claims the shard and brings its store to what the topic says, up to the
 * claim. 0: it may own; DEPOSED: the log's rules are not known; ERROR_STOPPED; or
 * negative. */
int shard_take_over(struct shard *shard, struct error *err);
/* Follows the topic until stop or reopen is wanted. */
int shard_follow(struct shard *shard, struct error *err);
/* Looks at what stands in a hole between delivery reports: 0, DEPOSED or negative. */
int shard_inspect_hole(struct shard *shard, int64_t from, int64_t to, struct error *err);

/* position.c: is the commands topic still the one that the position belongs to? Opens the
 * source there; or before it, if another agent decided what lies before it: there may be
 * repeats that it did not answer. */
int shard_find_position(struct shard *shard, struct error *err);
/* While owning, now and then: is a record consumed some time ago still there as it was?
 * The library does not notice a topic that was deleted and made anew with as many
 * records. */
int shard_recheck_position(struct shard *shard, struct error *err);
/* Are the brokers those of the log? */
int shard_check_cluster(struct shard *shard, struct error *err);

#endif
