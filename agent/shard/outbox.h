/* outbox.h - what leaves a shard besides its log: answers, commands to other shards,
 * forwards, dead letters (design section 5, step 7).
 *
 * Answers and commands wait in a queue until the events on which they rest are on disk
 * here and in the topic, and leave in the order of the queue. An answer is made while its
 * events are at hand and kept, or else made from the log when it leaves. The answer cursor
 * is how far the queue's beginning has been acknowledged. Forwards and dead letters are
 * sent at once; the caller waits for them
 * (outbox_settled) before it commits the batch that moves past them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SHARD_OUTBOX_H
#define AGENT_SHARD_OUTBOX_H

#include "agent/kafka/kafka.h"
#include "agent/shard/claim.h"
#include "agent/shard/core.h"

struct outbox_settings {
    const struct kafka_settings *kafka; /* borrowed */
    struct topic_names topics;          /* borrowed text */
    struct log_identity identity;
    const uint8_t *site_key; /* borrowed */
    /* the largest that any of the topics takes; 0 = not known */
    size_t max_message_bytes;
    size_t dead_letter_bytes; /* the largest that the dead letters take; 0 = not known */
    int wake_fd;
};

struct outbox;
int outbox_open(const struct outbox_settings *settings, struct outbox **ret_outbox,
                struct error *err);
void outbox_close(struct outbox *outbox);

/* The answer (and what follows) of a command: leaves once the topic holds
 * its events. */
struct effect {
    uint64_t first_sequence;
    uint32_t count;
    bool repeated;
    char forwarded[65]; /* "" = none */
    /* of a repeated command's record, -1 = none: see outbox_repeats_done */
    int64_t repeat_offset;
};
/* events: the command's, if they are at hand; NULL = the answer is made from the log. */
int outbox_add(struct outbox *outbox, const struct effect *effect,
               const struct core_event *events, struct error *err);

/* Hands over all that may leave: those whose last event <= durable_sequence. */
int outbox_release(struct outbox *outbox, struct kv *kv, uint64_t durable_sequence,
                   const struct epoch *epoch, struct error *err);
/* Serves acknowledgements. After a fatal error the producer is replaced, and what was not
 * acknowledged leaves again with the next release. Negative when what must not get lost
 * was refused: all but an answer. */
int outbox_poll(struct outbox *outbox, int timeout_ms, struct error *err);
size_t outbox_waiting(const struct outbox *outbox);
/* Everything up to this sequence is answered and acknowledged. */
uint64_t outbox_answered(const struct outbox *outbox);
void outbox_set_answered(struct outbox *outbox, uint64_t sequence);
/* The offsets of repeated commands that were answered since the last call (borrowed until
 * the next). */
const int64_t *outbox_repeats_done(struct outbox *outbox, size_t *ret_count);

int outbox_forward(struct outbox *outbox, const struct record *record, uint32_t target,
                   struct error *err);
/* Whole, unless its topic does not take it: a record that came compressed may be many
 * times larger than any topic's limit. Then without its value, or with nothing of it, and
 * kinlog_left_out says so. */
int outbox_dead_letter(struct outbox *outbox, const struct record *record,
                       const char *reason, struct error *err);
/* A Tick to this shard's own partition. */
int outbox_tick(struct outbox *outbox, const struct epoch *epoch, int64_t now_ms,
                struct error *err);
/* Are all forwards, dead letters and ticks acknowledged? 0, 1 = not yet, negative = one
 * was refused. */
int outbox_settled(const struct outbox *outbox, struct error *err);

#endif
