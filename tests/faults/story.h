/* story.h - a short fixed story of commands, and what a shard makes of it: told over any
 * store, stopped and gone on with at any command, always with the same log.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FAULTS_STORY_H
#define TESTS_FAULTS_STORY_H

#include "agent/shard/core.h"

#define STORY_COMMANDS 40
#define STORY_BATCH 5
#define STORY_EVENTS_MAX 200
#define STORY_HEADERS_MAX 8

extern const struct log_identity story_identity;
extern const uint8_t story_site_key[SITE_KEY_SIZE];

/* The command at an offset; some are refused, repeated, or belong to the dead letters. */
struct story_record {
    struct record record;
    struct header headers[STORY_HEADERS_MAX];
    char id[32]; /* "" = it has none */
};
void story_record(int64_t offset, struct story_record *ret_record);

struct core_settings story_settings(void);

/* What the story comes to when nothing fails: chains by sequence, the sequence after each
 * batch, digests, the answers' hash, by command offset the first event that answers. */
struct story_truth {
    uint64_t events;
    uint8_t chains[STORY_EVENTS_MAX + 1][SHA256_SIZE];
    uint64_t batch_ends[STORY_COMMANDS / STORY_BATCH];
    uint64_t first_sequences[STORY_COMMANDS];
    char digests[VIEWS][65];
    uint8_t answers[SHA256_SIZE];
};
/* In memory. 0, or an error. */
int story_tell(struct story_truth *ret_truth, struct error *err);

/* A core on the store, whose log has begun. Close it after an error, too. */
int story_start(struct kv *kv, struct core **ret_core, struct error *err);
/* The next batch from the head on, decided and committed; 1 = the story is over. */
int story_batch(struct core *core, struct error *err);

/* Compares all that a store holds with the truth: 0, 1 = different: err->text says how,
 * or negative. For a store whose story is over. */
int story_compare(struct kv *kv, const struct story_truth *truth, struct error *err);

#endif
