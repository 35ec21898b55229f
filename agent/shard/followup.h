/* followup.h - which command to other shards an event makes its owner send: a pure
 * function of the event (design section 4; docs/conversations.md).
 *
 * Follow-ups leave with the answers, when the event is on disk and in the topic, and
 * behind the answer cursor they leave again: at least once, in any order.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SHARD_FOLLOWUP_H
#define AGENT_SHARD_FOLLOWUP_H

#include "events/event.h"

struct followup {
    bool all_others;   /* to every other shard; else to `shard` */
    uint32_t shard;    /* never the event's own */
    struct bytes key;  /* may be absent */
    const char *type;  /* of the command, static */
    struct bytes id;   /* its ce_id */
    struct bytes data; /* JSON */
    bool answered;     /* false: nobody reads its answer (ce_replyto is "-") */
    /* on whose word, and in which context: of the command behind the event; may be absent */
    struct bytes actor, correlation_id, traceparent, tracestate;
};

/* data: the struct that event->data was made from, or NULL to decode it here. Text is
 * borrowed from event or lives in arena. 0, 1 = nothing follows, or negative. */
int followup_of(const struct log_identity *identity, const struct event *event,
                const void *data, struct arena *arena, struct followup *ret_followup,
                struct error *err);

/* May something follow from events of this type? */
bool followup_possible(const struct schema_entry *type);
/* Does it follow again whenever the event's command is repeated? The one who asks must
 * hear the same again. */
bool followup_repeats(const struct event *event);

#endif
