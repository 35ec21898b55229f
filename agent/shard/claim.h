/* claim.h - who may write a shard's log: claims and epochs (design section 5; model:
 * tests/claims).
 *
 * A claim is a record of key `kinlog:claim` in the shard's events partition. From its
 * offset on, only events whose kinlog_epoch names it are valid, until the next claim.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SHARD_CLAIM_H
#define AGENT_SHARD_CLAIM_H

#include "agent/kafka/kafka.h"
#include "agent/shard/store.h"

#define CLAIM_KEY "kinlog:claim"
#define ANSWERED_KEY "kinlog:answered"
#define EPOCH_HEADER "kinlog_epoch"
#define EPOCH_TEXT_SIZE (20 + 1 + CLAIM_ID_SIZE)

struct claim {
    char id[CLAIM_ID_SIZE];
    uint64_t floor; /* highest epoch number known to the claimant, plus one */
    char agent[256];
    char log[LOG_ID_SIZE];
    uint32_t rules;
};

/* A random id. ERROR_IO if the system has no randomness. */
int claim_new_id(char ret_id[CLAIM_ID_SIZE], struct error *err);
/* The JSON value of a claim record. 0 or ERROR_NO_MEMORY. */
int claim_write(const struct claim *claim, const char *version, struct buf *out);
/* ERROR_INVALID: no claim. */
int claim_read(struct bytes value, struct claim *ret_claim, struct error *err);
/* The epoch that a claim begins at its offset. */
struct epoch claim_epoch(const struct claim *claim, int64_t offset);

/* "<number>;<claim id>", as in kinlog_epoch. */
void epoch_text(const struct epoch *epoch, char ret_text[EPOCH_TEXT_SIZE]);
bool epoch_equal(const struct epoch *a, const struct epoch *b);

/* The owner's answer cursor, value of a record of key kinlog:answered. */
int answered_write(uint64_t sequence, struct buf *out);
int answered_read(struct bytes value, uint64_t *ret_sequence);

/* Is this the record of the event that the mark is about? */
bool mark_is_record(const struct mark *mark, const struct record *record);

/* A header's value; absent if there is no such header. */
struct bytes record_header(const struct record *record, const char *name);

#endif
