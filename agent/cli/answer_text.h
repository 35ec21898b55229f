/* answer_text.h - an answer for people.
 *
 *     Refused: CreateRelationship, -2147217406 (not found)
 *       MachineResourceId: there is no such device; register it first
 *       event 0-7 CommandRejected
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_ANSWER_TEXT_H
#define AGENT_CLI_ANSWER_TEXT_H

#include <stdio.h>

#include "events/base/bytes.h"
#include "events/base/error.h"

/* What every user of an answer wants to know first. */
struct answer_summary {
    bool success; /* accepted or unchanged */
    bool accepted;
    uint32_t shard;
    uint64_t sequence;
    int64_t revision; /* Out.Revision, -1 if there is none */
};

/* value: JSON, schemas/answers/Answer.v1.json. ERROR_INVALID if it is something else. */
int answer_read(struct bytes value, struct answer_summary *ret_summary,
                struct error *err);
void answer_print(FILE *out, struct bytes value);

#endif
