/* prepared.h - two shards in memory, owner and follower, with the same few things in them: devices,
 * relationships, a policy, commands that were answered.
 *
 * What an input does to them is forgotten before the next one, so that each stands for itself.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FUZZ_PREPARED_H
#define TESTS_FUZZ_PREPARED_H

#include "agent/shard/answer.h"
#include "agent/shard/core.h"

struct side {
    struct kv *kv;
    struct core *core;
    struct answer_maker *maker;
};

struct prepared {
    struct core_settings settings;
    struct epoch epoch; /* the owner's */
    struct side owner;
    struct side follower;
    int64_t next_offset; /* of commands */
};

/* Made once; shard 2 of 4, to which policies and the devices 4, 5 and 10 belong. */
struct prepared *prepared_get(void);
/* Both sides are again as they were made. */
void prepared_reset(struct prepared *prepared);

/* Gives the owner's events from the count-th on to the follower, and checks that each can be read back
 * from its record and from its stored form. */
void prepared_follow(struct prepared *prepared, size_t from);
/* Both sides have the same head and the same digests. */
void prepared_compare(struct prepared *prepared);

/* An event reads back as itself from both its forms. */
void check_event(const struct log_identity *identity, const struct event *event,
                 const struct event_record *record);

#endif
