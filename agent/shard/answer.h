/* answer.h - the answer to a command: a pure function of the command's events, of the event
 * that concluded what the command asked of another shard (docs/conversations.md), and, where
 * a key is handed out, of the site key.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SHARD_ANSWER_H
#define AGENT_SHARD_ANSWER_H

#include "events/base/kv.h"
#include "events/event.h"

#define ANSWER_EVENTS_MAX 100 /* messages.md 4: the first 100 are listed */

enum answer_header_index {
    ANSWER_SPECVERSION,
    ANSWER_CONTENT_TYPE,
    ANSWER_ID,
    ANSWER_SOURCE,
    ANSWER_TYPE,
    ANSWER_TIME,
    ANSWER_CAUSATION_ID,
    ANSWER_CAUSATION_SOURCE,
    ANSWER_CORRELATION_ID,
    ANSWER_TRACEPARENT,
    ANSWER_TRACESTATE,
    ANSWER_HEADERS
};
extern const char *const answer_header_names[ANSWER_HEADERS];

/* Without kinlog_epoch, kinlog_forwarded and ce_repeated, which belong to a delivery. */
struct answer {
    bool waits;            /* the command asked another shard: this is no answer yet */
    struct bytes reply_to; /* the wanted topic; absent = the default, "-" = none */
    struct bytes key;      /* may be absent */
    struct bytes headers[ANSWER_HEADERS];
    struct bytes value; /* JSON, schemas/answers/Answer.v1.json */
};

/* Made event by event, so that a command of 50,000 events needs no room for them all. */
struct answer_maker;
/* site_key: for answers that hold a sealed key; borrowed. NULL: answer_end() fails for those
 * with ERROR_NOT_FOUND. NULL is returned when memory is out. */
struct answer_maker *answer_maker_new(const struct log_identity *identity,
                                      const uint8_t *site_key);
void answer_maker_free(struct answer_maker *maker);
void answer_begin(struct answer_maker *maker);
/* Each event of the command in order. data: the struct that event->data was made from, or
 * NULL to decode it here. Copies what it needs. */
int answer_add(struct answer_maker *maker, const struct event *event, const void *data,
               struct error *err);
/* After the last one. Borrowed until the next answer_begin. */
int answer_end(struct answer_maker *maker, struct answer *ret_answer, struct error *err);

/* A copy in one piece; NULL = out of memory. */
struct answer *answer_copy(const struct answer *answer);

/* Does the event conclude what an earlier command asked of another shard? Returns the
 * sequence of that command's first event, 0 = it does not. data: as in answer_add. */
int answer_concludes(const struct event *event, const void *data, uint64_t *ret_number,
                     struct error *err);

/* Reads the events first..first+count-1 and makes their answer; of an event that concludes
 * a request, that of the command that asked. */
int answer_from_log(struct answer_maker *maker, struct kv *kv, struct kv_batch *batch,
                    uint64_t first, uint32_t count, struct answer *ret_answer,
                    struct error *err);

#endif
