/* core.h - the pure part of a shard's pipeline: from a command's record to events, views
 * and receipts in one batch (design section 5, steps 2 to 5).
 *
 * No clock, no network, no thread: time is the record's timestamp, the store is whatever
 * kv it is given. The property tests, the simulation and the running agent drive the same
 * code.
 *
 *     core_open, then per batch:  core_record (each record, in offset order)
 *                                 forwards and dead letters are sent and acknowledged by the caller
 *                                 core_commit: one WriteBatch, one fsync
 *                                 core_events: what is to be published; core_next_batch
 *
 * When anything fails, core_abandon forgets the batch; the records are given again later.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SHARD_CORE_H
#define AGENT_SHARD_CORE_H

#include "agent/kafka/kafka.h"
#include "agent/shard/store.h"
#include "events/event.h"
#include "projections/views.h"

/* When more records than this, or more time, went by without an event, PositionAdvanced
 * says how far the shard is (design section 4). */
#define POSITION_RECORDS_MAX 10000
#define POSITION_TIME_MAX_MS 3600000

struct core_settings {
    struct log_identity identity;
    const uint8_t *site_key;    /* SITE_KEY_SIZE bytes; borrowed */
    const char *commands_topic; /* for RecordDeadLettered; borrowed */
    const char *replies_topic;  /* the default of replyto; borrowed */
    char *const *reply_allow;   /* topics that replyto may name; borrowed */
    size_t reply_allow_count;
};

enum core_result {
    CORE_DECIDED,     /* events were added: first_sequence, count */
    CORE_REPEATED,    /* a known id: to be answered again from first_sequence, count */
    CORE_FORWARD,     /* belongs to shard `target` */
    CORE_DEAD_LETTER, /* `reason`; RecordDeadLettered was added */
    CORE_NOTHING      /* a Tick with nothing due; a repeat while the first waits */
};

struct core_outcome {
    enum core_result result;
    uint64_t first_sequence; /* of the command's events; 0 = none */
    uint32_t count;
    bool each_alone; /* each of the events concludes something of its own */
    uint32_t target;
    const char *reason; /* static */
    /* kinlog_forwarded of this delivery; good as long as the record; may be absent */
    struct bytes forwarded;
};

/* An event of the batch, rendered; borrowed until core_next_batch. */
struct core_event {
    struct event event;
    struct event_record record;
    const void *data; /* the struct that event.data was made from; NULL in a notice */
};

struct core;
/* kv is borrowed. Loads head and views. */
int core_open(struct kv *kv, const struct core_settings *settings, struct core **ret_core,
              struct error *err);
void core_close(struct core *core);

/* The owner's present epoch, against which a Tick's is held. */
void core_set_epoch(struct core *core, const struct epoch *epoch);
/* of the batch under construction */
const struct head *core_head(const struct core *core);
struct views *core_views(struct core *core);
struct kv *core_kv(struct core *core);
/* for rows that ride along (mark, status) */
struct kv_batch *core_batch(struct core *core);

/* Sequence 1 of an empty log. */
int core_start_log(struct core *core, int64_t start_offset, struct error *err);

/* The record must outlive the batch: its events borrow text from it, and its anchor is made
 * of the last one. */
int core_record(struct core *core, const struct record *record,
                struct core_outcome *ret_outcome, struct error *err);
/* A record that another owner took before this one: is it a repeat, which leaves no event?
 * CORE_REPEATED, to be answered again, or CORE_NOTHING. Decides nothing. */
int core_recall(struct core *core, const struct record *record,
                struct core_outcome *ret_outcome, struct error *err);
/* Puts a record aside without looking into it: CORE_DEAD_LETTER, for a reason (static)
 * that the owner knows. */
int core_put_aside(struct core *core, const struct record *record, const char *reason,
                   struct core_outcome *ret_outcome, struct error *err);

/* An event that was decided elsewhere (read from the topic): checked against sequence and
 * chain, then stored and applied. */
int core_adopt(struct core *core, const struct event *event,
               const struct event_record *record, struct error *err);

/* The events of the batch so far. */
const struct core_event *core_events(const struct core *core, size_t *ret_count);
/* Views' digests, head, anchor and all rows in one atomic batch. */
int core_commit(struct core *core, bool sync, struct error *err);
/* After a commit, when its events are no longer needed. */
void core_next_batch(struct core *core);
/* Forgets everything since the last commit. */
int core_abandon(struct core *core, struct error *err);

#endif
